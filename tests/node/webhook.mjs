// Whether the published @nangohq/node takes webhooks for genuine. RECEIVED: JSON, a list of {body, headers}; KEY: the signing key.
// Prints for each [verifyIncomingWebhookRequest, verifyWebhookSignature, the first with the body changed].
import { Nango } from '@nangohq/node';

const { RECEIVED, KEY, NANGO_HOSTPORT, NANGO_SECRET_KEY } = process.env;
const nango = new Nango({ host: NANGO_HOSTPORT, secretKey: NANGO_SECRET_KEY, webhookSigningKey: KEY });

console.log(
    JSON.stringify(
        JSON.parse(RECEIVED).map(({ body, headers }) => [
            nango.verifyIncomingWebhookRequest(body, headers),
            nango.verifyWebhookSignature(headers['x-nango-signature'], JSON.parse(body)),
            nango.verifyIncomingWebhookRequest(`${body} `, headers)
        ])
    )
);
