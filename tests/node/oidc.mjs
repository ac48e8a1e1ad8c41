// Runs oidc-provider, a certified OAuth 2 server with rotating refresh tokens, on a free port of loopback and prints its URL.
//
// Besides the server's own routes (POST /token, GET /me …) there are, for tests:
//   POST /grants           a new refresh token and an access token of one user
//   GET  /stats            what the token endpoint granted and refused, how many wait for it, and the newest refresh token
//   ANY  /mcp              an MCP server as far as logging in goes: takes only tokens for itself (RFC 8707)
//   POST /forget           the clients that registered themselves are unknown from now on
//   POST /hold?before_ms=&after_ms=   how long the next requests to /token wait before and after they are worked on
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import Provider, { errors } from 'oidc-provider';

const CLIENT = 'client-5c1f';
const SECRET = 'client-secret-93b2';
const SCOPE = 'openid offline_access';

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
    clients: [
        {
            client_id: CLIENT,
            client_secret: SECRET,
            redirect_uris: ['https://app.test/callback'],
            grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
            response_types: ['code'],
            // Both ways are taken: in the body here, Basic by the client below.
            token_endpoint_auth_method: 'client_secret_post',
        },
        {
            client_id: 'client:basic',
            client_secret: 'p+s/ w%rd',
            redirect_uris: [],
            grant_types: ['client_credentials'],
            response_types: [],
            token_endpoint_auth_method: 'client_secret_basic',
        },
    ],
    features: {
        // Pages to log in and to consent at, and clients that register themselves.
        devInteractions: { enabled: true },
        registration: { enabled: true },
        clientCredentials: { enabled: true },
        revocation: { enabled: true },
        resourceIndicators: {
            enabled: true,
            getResourceServerInfo: (_, resource) => {
                if (resource !== `${issuer}/mcp`) throw new errors.InvalidTarget();
                return { scope: 'mcp:read', audience: resource, accessTokenFormat: 'opaque', accessTokenTTL: 60 };
            },
        },
    },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    ttl: { AccessToken: 3600, ClientCredentials: 600, RefreshToken: 86400, Grant: 86400 },
    findAccount: async (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
});

const stats = { registrations: 0, authorization_code: 0, refresh_token: 0, client_credentials: 0, errors: 0, waiting: 0, newest_refresh_token: null };
const hold = { before_ms: 0, after_ms: 0 };
provider.on('grant.success', (ctx) => {
    stats[ctx.oidc.params.grant_type] += 1;
});
const registered = [];
provider.on('registration_create.success', (_, client) => {
    stats.registrations += 1;
    registered.push(client.clientId);
});
provider.on('grant.error', () => {
    stats.errors += 1;
});

provider.use(async (ctx, next) => {
    if (ctx.path === '/grants') {
        const client = await provider.Client.find(CLIENT);
        const grant = new provider.Grant({ accountId: 'user-1', clientId: CLIENT });
        grant.addOIDCScope(SCOPE);
        const common = {
            accountId: 'user-1', client, grantId: await grant.save(), scope: SCOPE, gty: 'authorization_code',
        };
        const refreshToken = new provider.RefreshToken({
            ...common, expiresWithSession: false, rotations: 0, authTime: Math.floor(Date.now() / 1000),
        });
        const accessToken = new provider.AccessToken({ ...common, expiresWithSession: false });
        stats.newest_refresh_token = await refreshToken.save();
        ctx.body = { refresh_token: stats.newest_refresh_token, access_token: await accessToken.save() };
    } else if (ctx.path === '/stats') {
        ctx.body = stats;
    } else if (ctx.path === '/hold') {
        hold.before_ms = Number(ctx.query.before_ms ?? 0);
        hold.after_ms = Number(ctx.query.after_ms ?? 0);
        ctx.body = {};
    } else if (ctx.path === '/forget') {
        for (const id of registered.splice(0)) await provider.Client.adapter.destroy(id);
        ctx.body = {};
    } else if (ctx.path === '/.well-known/oauth-protected-resource/mcp') {
        ctx.body = { resource: `${issuer}/mcp`, authorization_servers: [issuer], scopes_supported: ['mcp:read'] };
    } else if (ctx.path === '/mcp' || ctx.path.startsWith('/mcp/')) {
        const token = await provider.AccessToken.find(ctx.get('authorization').replace(/^Bearer /, '') || 'none');
        if (token?.aud === `${issuer}/mcp`) {
            ctx.body = { user: token.accountId, scope: token.scope };
        } else {
            ctx.status = 401;
            ctx.set('www-authenticate', `Bearer resource_metadata="${issuer}/.well-known/oauth-protected-resource/mcp"`);
        }
    } else if (ctx.path === '/token') {
        stats.waiting += 1;
        await sleep(hold.before_ms);
        stats.waiting -= 1;
        await next();
        stats.newest_refresh_token = ctx.body?.refresh_token ?? stats.newest_refresh_token;
        await sleep(hold.after_ms);
    } else {
        await next();
    }
});

server.on('request', provider.callback());
console.log(issuer);
