// Sends every kind of request that the published client can send through the proxy, and prints what came back, as one JSON
// object: a name for each call, with `status`, `data` and the `headers` of the answer that the test looks at.
//
// NANGO_HOSTPORT, NANGO_SECRET_KEY: the server. INTEGRATION, CONNECTION: what is prepared there, with httpbin as upstream.
import { Readable } from 'node:stream';
import { Nango } from '@nangohq/node';

const { NANGO_HOSTPORT: host, NANGO_SECRET_KEY: secretKey, INTEGRATION, CONNECTION } = process.env;
const nango = new Nango({ host, secretKey });
const target = { providerConfigKey: INTEGRATION, connectionId: CONNECTION };
const results = {};
const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 256));

async function call(name, run) {
    try {
        const { status, data, headers } = await run();
        results[name] = { status, data, headers: { 'content-type': headers['content-type'], etag: headers['etag'] } };
    } catch (error) {
        results[name] = { threw: true, status: error.response?.status ?? null, data: error.response?.data ?? String(error) };
    }
}

async function text(stream) {
    let all = '';
    for await (const piece of stream) {
        all += piece;
    }
    return all;
}

// Each method, by its own function and by the general one.
for (const method of ['get', 'post', 'put', 'patch', 'delete']) {
    const data = method === 'get' ? undefined : { method };
    await call(method, () => nango[method]({ ...target, endpoint: '/anything/x', data, headers: { 'X-Custom': method } }));
    await call(`proxy ${method}`, () => nango.proxy({ ...target, method: method.toUpperCase(), endpoint: 'anything/y', data }));
}

// As the client does it inside a sync's dry run.
const inside = new Nango({ host, secretKey, activityLogId: 'of_another_server', isSync: true, dryRun: true });
await call('inside', () => inside.get({ ...target, endpoint: '/get' }));

// Queries.
await call('params', () => nango.get({ ...target, endpoint: '/get', params: { a: 'b c', n: 1, e: 'ü&=' } }));
await call('params as text', () => nango.get({ ...target, endpoint: '/get', params: 'a=1&a=2' }));
await call('query in the endpoint', () => nango.get({ ...target, endpoint: '/get?a=x%2Fy&b=+' }));

// Bodies.
const form = new FormData();
form.append('field', 'wört');
form.append('text', new Blob(['some text'], { type: 'text/plain' }), 'a.txt');
form.append('binary', new Blob([bytes]), 'b.bin');
const multipart = { 'Content-Type': 'multipart/form-data' };
await call('multipart', () => nango.post({ ...target, endpoint: '/post', data: form, headers: multipart }));
await call('multipart, retried', () => nango.post({ ...target, endpoint: '/post', data: form, headers: multipart, retries: 2 }));
const binary = { 'Content-Type': 'application/octet-stream' };
await call('buffer', () => nango.post({ ...target, endpoint: '/post', data: bytes, headers: binary }));
await call('stream', () => nango.put({ ...target, endpoint: '/put', data: Readable.from([bytes]), headers: binary }));
await call('image', () => nango.post({ ...target, endpoint: '/post', data: bytes, headers: { 'Content-Type': 'image/png' } }));
await call('xml', () => nango.post({ ...target, endpoint: '/post', data: '<a/>', headers: { 'Content-Type': 'text/xml' } }));
const urlencoded = { 'Content-Type': 'application/x-www-form-urlencoded' };
await call('form', () => nango.post({ ...target, endpoint: '/post', data: 'a=1&b=two%20words', headers: urlencoded }));
await call('json text', () =>
    nango.post({ ...target, endpoint: '/post', data: '{"big": 9007199254740993}', headers: { 'Content-Type': 'application/json' } })
);

// Answers.
await call('answer as bytes', async () => {
    const answer = await nango.get({ ...target, endpoint: '/range/256', responseType: 'arraybuffer' });
    return { ...answer, data: Buffer.from(answer.data).toString('latin1') };
});
await call('answer as a stream', async () => {
    const answer = await nango.get({ ...target, endpoint: '/stream/3', responseType: 'stream' });
    return { ...answer, data: (await text(answer.data)).trim().split('\n').length };
});
for (const encoding of ['gzip', 'deflate', 'brotli']) {
    await call(encoding, () => nango.get({ ...target, endpoint: `/${encoding}` }));
    await call(`${encoding}, decompress`, () => nango.get({ ...target, endpoint: `/${encoding}`, decompress: true }));
}
await call('part', () => nango.get({ ...target, endpoint: '/range/26', headers: { Range: 'bytes=0-2' } }));
await call('created', () => nango.post({ ...target, endpoint: '/status/201' }));
await call('not modified', () => nango.get({ ...target, endpoint: '/etag/v1', headers: { 'If-None-Match': 'v1' } }));
await call('teapot', () => nango.get({ ...target, endpoint: '/status/418' }));
await call('redirect', () => nango.get({ ...target, endpoint: '/redirect/2', forwardHeadersOnRedirect: true }));
await call('retry on', () => nango.get({ ...target, endpoint: '/status/404', retries: 1, retryOn: [409] }));
await call('bad override', () => nango.get({ ...target, endpoint: '/get', baseUrlOverride: 'nowhere' }));
await call('refused override', () => nango.get({ ...target, endpoint: '/get', baseUrlOverride: 'https://10.1.2.3' }));

console.log(JSON.stringify(results));
