// Keys for signed tokens, and whether tokens are signed with them, by node's own crypto: another implementation than the
// runtime's. Prints JSON.
//
// TOKEN, PUBLIC_KEY (PEM): a token to verify; prints {valid, header, claims}. Without: prints new keys.
import { generateKeyPairSync, verify } from 'node:crypto';

const { TOKEN, PUBLIC_KEY } = process.env;

function keys() {
    const pair = (type, options) => {
        const { publicKey, privateKey } = generateKeyPairSync(type, options);
        return {
            public: publicKey.export({ type: 'spki', format: 'pem' }),
            private: privateKey.export({ type: 'pkcs8', format: 'pem' }),
            pkcs1: type === 'rsa' ? privateKey.export({ type: 'pkcs1', format: 'pem' }) : null,
            jwk: { ...privateKey.export({ format: 'jwk' }), kid: 'key-1' }
        };
    };
    return { rsa: pair('rsa', { modulusLength: 2048 }), ec: pair('ec', { namedCurve: 'P-256' }) };
}

function verified() {
    const [header, claims, signature] = TOKEN.split('.');
    const read = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());
    const key = { key: PUBLIC_KEY, dsaEncoding: 'ieee-p1363' };
    const valid = verify('sha256', Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, 'base64url'));
    return { valid, header: read(header), claims: read(claims) };
}

console.log(JSON.stringify(TOKEN ? verified() : keys()));
