// Connects as a customer's back end and browser would, with the published clients, and prints what came of each call as one JSON
// object: `returned`, or the error's `status` and `data` (back end) or `type` and `message` (browser).
//
// NANGO_HOSTPORT, NANGO_SECRET_KEY: the server. SCENARIO: a JSON list of steps, see `steps`.
import { Nango } from '@nangohq/node';

// What the browser's client looks at when it is loaded.
globalThis.window = globalThis;
const { default: Frontend } = await import('@nangohq/frontend');

const { NANGO_HOSTPORT: host, NANGO_SECRET_KEY: secretKey, SCENARIO } = process.env;
const nango = new Nango({ host, secretKey });
const results = {};
let token;

const steps = {
    // Sessions are the back end's; what comes after happens in its browser.
    async open(body) {
        const session = await nango.createConnectSession(body);
        token = session.data.token;
        return session;
    },
    async reopen(body) {
        const session = await nango.createReconnectSession(body);
        token = session.data.token;
        return session;
    },
    auth: (...given) => new Frontend({ host, connectSessionToken: token }).auth(...given),
    reconnect: (key, options) => new Frontend({ host, connectSessionToken: token }).reconnect(key, options),
    create: (key, options) => new Frontend({ host, connectSessionToken: token }).create(key, options),
    withPublicKey: (key, options) => new Frontend({ host, publicKey: 'pk' }).auth(key, options)
};

for (const [name, step, ...given] of JSON.parse(SCENARIO)) {
    try {
        results[name] = { returned: await steps[step](...given) };
    } catch (error) {
        results[name] = {
            threw: true,
            status: error.response?.status,
            data: error.response?.data,
            type: error.type,
            message: error.message
        };
    }
}
console.log(JSON.stringify(results));
