// Runs oauth2-mock-server on a free port of loopback and prints its URL. What its token endpoint answers can be bent, for tests:
//   POST /odd   {status, set: {…}, remove: […], form: true, after_ms, abort: "head" | "body"}: how it answers from now on
//   GET  /asked the forms of the requests to /token, in order
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';

let odd = {};
const asked = [];
const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = new OAuth2Issuer();
issuer.url = `http://127.0.0.1:${server.address().port}`;
await issuer.keys.generate('RS256');
const service = new OAuth2Service(issuer);

service.on('beforeResponse', (answer, request) => {
    asked.push(request.body);
    if (odd.status) answer.statusCode = odd.status;
    Object.assign(answer.body, odd.set);
    for (const name of odd.remove ?? []) delete answer.body[name];
});

// The finished answer, sent in another way.
function bend(response) {
    const end = response.end.bind(response);
    response.end = async (chunk) => {
        await sleep(odd.after_ms ?? 0);
        if (odd.abort === 'head') return response.destroy();
        if (odd.abort === 'body') return response.write(chunk.slice(0, 20), () => response.destroy());
        if (!odd.form) return end(chunk);
        const form = new URLSearchParams(JSON.parse(chunk)).toString();
        response.setHeader('content-type', 'application/x-www-form-urlencoded; charset=utf-8');
        response.setHeader('content-length', Buffer.byteLength(form));
        return end(form);
    };
}

server.on('request', async (request, response) => {
    if (request.url === '/odd') {
        const chunks = [];
        for await (const chunk of request) chunks.push(chunk);
        odd = JSON.parse(Buffer.concat(chunks));
        response.setHeader('content-type', 'application/json').end('{}');
    } else if (request.url === '/asked') {
        response.setHeader('content-type', 'application/json').end(JSON.stringify(asked));
    } else {
        if (request.url === '/token') bend(response);
        service.requestHandler(request, response);
    }
});
console.log(issuer.url);
