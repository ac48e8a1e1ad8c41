// Deletes a connection, and with INTEGRATION_TOO its integration, through the published client and prints the statuses.
//
// NANGO_HOSTPORT, NANGO_SECRET_KEY: the server. INTEGRATION, CONNECTION: what is prepared there.
import { Nango } from '@nangohq/node';

const { NANGO_HOSTPORT: host, NANGO_SECRET_KEY: secretKey, INTEGRATION, CONNECTION } = process.env;
const nango = new Nango({ host, secretKey });

async function status(run) {
    try {
        return (await run()).status;
    } catch (error) {
        return error.response?.status ?? String(error);
    }
}

const deleted = await status(() => nango.deleteConnection(INTEGRATION, CONNECTION));
const again = await status(() => nango.deleteConnection(INTEGRATION, CONNECTION));
const { connections } = await nango.listConnections();
console.log(JSON.stringify({ deleted, again, listed: connections.length }));
