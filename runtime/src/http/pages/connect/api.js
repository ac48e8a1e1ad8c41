// The runtime's HTTP API. It is asked where this page came from, whatever `apiURL` says in the address: an address is
// written by anybody, and credentials must not go where a link says.
const API = location.pathname.replace(/\/connect\/?$/, '');
const TIMEOUT_MS = 90_000;

// The token outlives a reload, but leaves the address bar, the history and what is copied from them.
let token = query.get('session_token') ?? history.state?.token ?? null;
query.delete('session_token');
keepToken(token);

function keepToken(given) {
    token = given;
    const rest = query.toString();
    history.replaceState({ token }, '', location.pathname + (rest ? `?${rest}` : ''));
}

class ApiError extends Error {
    constructor(code, message, { status = 0, faults = [] } = {}) {
        super(message);
        Object.assign(this, { code, status, faults });
    }
    get isExpired() {
        return this.status === 401;
    }
}

async function ask(path, init = {}) {
    let response;
    try {
        response = await fetch(API + path, { ...init, credentials: 'omit', signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch (error) {
        throw new ApiError('unreachable', String(error));
    }
    const body = await response.json().catch(() => null);
    if (response.ok && body) return body;
    const { code = 'unknown_error', message, errors = [] } = body?.error ?? {};
    throw new ApiError(code, message ?? `The server answered ${response.status}`, { status: response.status, faults: errors });
}

const read = async (path) => (await ask(path, { headers: { authorization: `Bearer ${token}` } })).data;

// What names the session and the values of connection_config, as the SDK writes it.
function sessionQuery(config, more = {}) {
    const parameters = new URLSearchParams({ connect_session_token: token, ...more });
    for (const [name, value] of Object.entries(config)) parameters.set(`params[${name}]`, value);
    return parameters;
}

// The routes that take credentials, by auth mode, and the fields where the provider declares none.
const FORMS = {
    API_KEY: { path: '/api-auth/api-key', fields: ['apiKey'] },
    BASIC: { path: '/api-auth/basic', fields: ['username', 'password'] },
    OAUTH2_CC: { path: '/oauth2/auth', fields: ['client_id', 'client_secret'] },
    TWO_STEP: { path: '/auth/two-step', fields: [] },
    JWT: { path: '/auth/jwt', fields: [] },
    BILL: { path: '/auth/bill', fields: ['username', 'password', 'organization_id', 'dev_key'] },
    TBA: { path: '/auth/tba', fields: ['token_id', 'token_secret'] },
    SIGNATURE: { path: '/auth/signature', fields: ['username', 'password'] },
    AWS_SIGV4: { path: '/auth/aws-sigv4', fields: ['role_arn', 'region'] },
    NONE: { path: '/auth/unauthenticated', fields: [] },
};

// Of a provider that the customer goes to by himself: the connection is made when its webhook tells that he has installed the app.
const OUTBOUND = { path: '/auth/oauth-outbound', fields: [] };

// Where what is filled in goes; nothing where the customer is sent to the provider.
const formOf = (provider) => (provider.installation === 'outbound' ? OUTBOUND : Object.hasOwn(FORMS, provider.auth_mode) ? FORMS[provider.auth_mode] : null);

function create(key, provider, credentials, config) {
    return ask(`${formOf(provider).path}/${encodeURIComponent(key)}?${sessionQuery(config)}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(credentials),
    });
}
