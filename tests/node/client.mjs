// Calls each method of the published client that the runtime serves and prints what came of it, as one JSON object:
// a name for each call, with `status` and `data` (or `returned` where the client unwraps the answer).
//
// NANGO_HOSTPORT, NANGO_SECRET_KEY: the server. INTEGRATION, CONNECTION: what is prepared there.
import { Nango } from '@nangohq/node';

const { NANGO_HOSTPORT: host, NANGO_SECRET_KEY: secretKey, INTEGRATION, CONNECTION } = process.env;
const nango = new Nango({ host, secretKey });
const target = { providerConfigKey: INTEGRATION, connectionId: CONNECTION };
const results = {};

const isAxios = (value) => value !== null && typeof value === 'object' && 'status' in value && 'config' in value;

async function call(name, run) {
    try {
        const value = await run();
        results[name] = isAxios(value) ? { status: value.status, data: value.data } : { returned: value };
    } catch (error) {
        results[name] = { threw: true, status: error.response?.status ?? null, data: error.response?.data ?? String(error) };
    }
    return results[name];
}

async function syncEnded(name) {
    for (let attempt = 0; attempt < 600; attempt++) {
        const { syncs } = await nango.syncStatus(INTEGRATION, [name], CONNECTION);
        if (['SUCCESS', 'ERROR'].includes(syncs[0]?.latestExecutionStatus)) {
            return;
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

await call('listProviders', () => nango.listProviders({ search: 'github' }));
await call('getProvider', () => nango.getProvider({ provider: 'github' }));
await call('getProviderUnknown', () => nango.getProvider({ provider: 'nope' }));
await call('getProviderTemplates', () => nango.getProviderTemplates({ provider: 'github' }));

await call('createIntegration', () => nango.createIntegration({ provider: 'unauthenticated', unique_key: 'tmp', display_name: 'Tmp' }));
await call('createIntegrationAgain', () => nango.createIntegration({ provider: 'unauthenticated', unique_key: 'tmp' }));
await call('createIntegrationBad', () => nango.createIntegration({ provider: 'nope', unique_key: 'other' }));
await call('listIntegrations', () => nango.listIntegrations());
await call('getIntegration', () => nango.getIntegration({ uniqueKey: 'tmp' }));
// Of a list, the client sends the last only.
await call('getIntegrationWebhook', () => nango.getIntegration({ uniqueKey: 'tmp' }, { include: ['webhook'] }));
await call('getIntegrationCredentials', () => nango.getIntegration({ uniqueKey: 'tmp' }, { include: ['credentials'] }));
await call('getIntegrationUnknown', () => nango.getIntegration({ uniqueKey: 'nope' }));
await call('updateIntegration', () => nango.updateIntegration({ uniqueKey: 'tmp' }, { display_name: 'Renamed' }));
await call('deleteIntegration', () => nango.deleteIntegration('tmp'));

await call('getEnvironmentVariables', () => nango.getEnvironmentVariables());

await call('listConnections', () => nango.listConnections());
await call('listConnectionsFiltered', () => nango.listConnections({ integrationId: INTEGRATION, limit: 5 }));
await call('getConnection', () => nango.getConnection(INTEGRATION, CONNECTION));
await call('getConnectionUnknown', () => nango.getConnection(INTEGRATION, 'nope'));
await call('getRawTokenResponse', () => nango.getRawTokenResponse(INTEGRATION, CONNECTION));
const endUser = { id: 'u7', email: 'u7@example.com', display_name: 'Seven' };
await call('patchConnection', () =>
    nango.patchConnection({ connectionId: CONNECTION, provider_config_key: INTEGRATION }, { end_user: endUser, tags: { plan: 'pro' } })
);
await call('patchConnectionUnknown', () =>
    nango.patchConnection({ connectionId: 'nope', provider_config_key: INTEGRATION }, { tags: { plan: 'pro' } })
);
await call('listConnectionsOfUser', () => nango.listConnections({ userId: 'u7', tags: { Plan: 'pro' }, integrationId: [INTEGRATION, 'nope'] }));
await call('listConnectionsSearch', () => nango.listConnections(undefined, 'SEVEN', { endUserId: 'u7', limit: 3 }));
await call('listConnectionsOfOrganization', () => nango.listConnections(undefined, undefined, { endUserOrganizationId: 'nope' }));
await call('listConnectionsPage', () => nango.listConnections({ limit: 1, page: 1 }));
await call('waitForConnection', () => nango.waitForConnection(INTEGRATION, 'u7'));
await call('getToken', () => nango.getToken(INTEGRATION, CONNECTION));
await call('setMetadata', () => nango.setMetadata(INTEGRATION, CONNECTION, { b: 2 }));
await call('updateMetadata', () => nango.updateMetadata(INTEGRATION, CONNECTION, { c: 3 }));
await call('getMetadata', () => nango.getMetadata(INTEGRATION, CONNECTION));
await call('setMetadataUnknown', () => nango.setMetadata(INTEGRATION, 'nope', { b: 2 }));

await call('get', () => nango.get({ ...target, endpoint: '/get?x=1', headers: { 'X-Custom': 'v' } }));
await call('getParams', () => nango.get({ ...target, endpoint: '/get', params: { a: 'b c' } }));
await call('post', () => nango.post({ ...target, endpoint: '/post', data: { hello: 'world' } }));
await call('postForm', () =>
    nango.post({ ...target, endpoint: '/post', data: 'a=1&b=2', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } })
);
await call('put', () => nango.put({ ...target, endpoint: '/put', data: { n: 1 } }));
await call('patch', () => nango.patch({ ...target, endpoint: '/patch', data: { n: 2 } }));
await call('delete', () => nango.delete({ ...target, endpoint: '/delete' }));
await call('proxy', () => nango.proxy({ ...target, method: 'POST', endpoint: '/anything', data: [1, 2], retries: 1 }));
await call('notFound', () => nango.get({ ...target, endpoint: '/status/404' }));
await call('noContent', () => nango.get({ ...target, endpoint: '/status/204' }));
await call('gzip', () => nango.get({ ...target, endpoint: '/gzip' }));
await call('binary', async () => {
    const answer = await nango.get({ ...target, endpoint: '/bytes/64?seed=1', responseType: 'arraybuffer' });
    return { status: answer.status, length: answer.data.length, config: null, data: answer.data.length };
});
await call('proxyUnknownConnection', () => nango.get({ ...target, connectionId: 'nope', endpoint: '/get' }));
await call('proxyUnknownIntegration', () => nango.get({ ...target, providerConfigKey: 'nope', endpoint: '/get' }));

await call('triggerAction', () => nango.triggerAction(INTEGRATION, CONNECTION, 'echo', { n: 1 }));
await call('triggerActionRefuses', () => nango.triggerAction(INTEGRATION, CONNECTION, 'refuse', {}));
await call('triggerActionUpstream404', () => nango.triggerAction(INTEGRATION, CONNECTION, 'http-error', { path: '/status/404' }));
await call('triggerActionUnknown', () => nango.triggerAction(INTEGRATION, CONNECTION, 'nope', {}));
await call('triggerActionUnknownConnection', () => nango.triggerAction(INTEGRATION, 'nope', 'echo', {}));

// An action in the background has no output yet for a while: as with Nango, that is a 404.
async function asyncResult(name, props) {
    for (let attempt = 0; attempt < 600; attempt++) {
        await call(name, () => nango.getAsyncActionResult(props));
        if (results[name].data?.error?.payload?.state === undefined) {
            return;
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}
await call('triggerActionWithoutInput', () => nango.triggerAction(INTEGRATION, CONNECTION, 'nothing'));
await call('triggerActionInvalidInput', () => nango.triggerAction(INTEGRATION, CONNECTION, 'fetch', { path: 7 }));
await call('triggerActionAsync', () => nango.triggerActionAsync(INTEGRATION, CONNECTION, 'echo', { n: 2 }));
await asyncResult('getAsyncActionResult', { id: results.triggerActionAsync.returned?.id });
await asyncResult('getAsyncActionResultByUrl', { statusUrl: results.triggerActionAsync.returned?.statusUrl });
await call('triggerActionAsyncNull', () => nango.triggerActionAsync(INTEGRATION, CONNECTION, 'nothing', null));
await asyncResult('getAsyncActionResultNull', results.triggerActionAsyncNull.returned);
await call('triggerActionAsyncRefuses', () => nango.triggerActionAsync(INTEGRATION, CONNECTION, 'refuse', {}));
await asyncResult('getAsyncActionResultRefused', results.triggerActionAsyncRefuses.returned);
await call('triggerActionAsyncUpstream404', () => nango.triggerActionAsync(INTEGRATION, CONNECTION, 'http-error', { path: '/status/404' }));
await asyncResult('getAsyncActionResultUpstream404', results.triggerActionAsyncUpstream404.returned);
await call('triggerActionAsyncUnknown', () => nango.triggerActionAsync(INTEGRATION, CONNECTION, 'nope', {}));
await call('getAsyncActionResultUnknown', () => nango.getAsyncActionResult({ id: 'af95401b-1676-4e78-a6c4-510a0ce76217' }));
await call('getAsyncActionResultNoId', () => nango.getAsyncActionResult({ id: '7' }));

await call('setSyncMetadata', () => nango.setMetadata(INTEGRATION, CONNECTION, { pages: 2, records: 3, value: 1 }));
await call('triggerSync', () => nango.triggerSync(INTEGRATION, ['items'], CONNECTION));
await call('syncEnded', () => syncEnded('items'));
await call('syncStatus', () => nango.syncStatus(INTEGRATION, ['items'], CONNECTION));
await call('syncStatusAll', () => nango.syncStatus(INTEGRATION, '*'));
await call('listRecords', () => nango.listRecords({ ...target, model: 'Item' }));
await call('listRecordsLimit', () => nango.listRecords({ ...target, model: 'Item', limit: 2 }));
const cursor = results.listRecordsLimit.returned?.next_cursor;
await call('listRecordsCursor', () => nango.listRecords({ ...target, model: 'Item', cursor }));
await call('listRecordsUnknownModel', () => nango.listRecords({ ...target, model: 'Nope' }));

await call('listRecordsIds', () => nango.listRecords({ ...target, model: 'Item', ids: ['1', '4', 'nope'], filter: 'added' }));
await call('listRecordsDeleted', () => nango.listRecords({ ...target, model: 'Item', filter: 'deleted' }));
await call('listRecordsModifiedAfter', () => nango.listRecords({ ...target, model: 'Item', modifiedAfter: '2099-01-01T00:00:00.000Z' }));
await call('listRecordsBadCursor', () => nango.listRecords({ ...target, model: 'Item', cursor: 'nope' }));
await call('pruneRecords', () => nango.pruneRecords({ ...target, model: 'Item', untilCursor: cursor }));
await call('pruneRecordsAgain', () => nango.pruneRecords({ ...target, model: 'Item', untilCursor: cursor, limit: 1 }));

await call('getScriptsConfig', () => nango.getScriptsConfig());
await call('getScriptsConfigOpenai', () => nango.getScriptsConfig('openai'));
await call('listFunctions', () => nango.listFunctions({ uniqueKey: INTEGRATION }, { type: 'sync', search: 'items', limit: 1, page: 0 }));
await call('getFunction', () => nango.getFunction({ uniqueKey: INTEGRATION, name: 'greet' }, { type: 'action' }));
await call('getFunctionUnknown', () => nango.getFunction({ uniqueKey: INTEGRATION, name: 'nope' }));

const items = ['items'];
await call('startSync', () => nango.startSync(INTEGRATION, items, CONNECTION));
await call('startedEnded', () => syncEnded('items'));
await call('syncStatusStarted', () => nango.syncStatus(INTEGRATION, items, CONNECTION));
const every = (frequency, sync = 'items') => nango.updateSyncConnectionFrequency(INTEGRATION, sync, CONNECTION, frequency);
await call('frequency', () => every('every 2 hours'));
await call('frequencyCron', () => every('0 9 * * MON-FRI Europe/Berlin'));
await call('syncStatusCron', () => nango.syncStatus(INTEGRATION, items, CONNECTION));
await call('frequencyRestored', () => every(null));
await call('frequencyBad', () => every('every fortnight'));
await call('frequencyShort', () => every('every 5 seconds'));
await call('frequencyUnknown', () => every('every hour', 'nope'));
const variant = { provider_config_key: INTEGRATION, connection_id: CONNECTION, name: 'items', variant: 'v2' };
await call('createSyncVariant', () => nango.createSyncVariant(variant));
await call('createSyncVariantAgain', () => nango.createSyncVariant(variant));
await call('createSyncVariantBase', () => nango.createSyncVariant({ ...variant, variant: 'base' }));
await call('createSyncVariantUnknown', () => nango.createSyncVariant({ ...variant, name: 'nope' }));
await call('frequencyOfVariant', () => every('every day', { name: 'items', variant: 'v2' }));
await call('syncStatusVariant', () => nango.syncStatus(INTEGRATION, [{ name: 'items', variant: 'v2' }], CONNECTION));
await call('deleteSyncVariant', () => nango.deleteSyncVariant(variant));
await call('deleteSyncVariantAgain', () => nango.deleteSyncVariant(variant));
await call('triggerSyncReset', () => nango.triggerSync(INTEGRATION, items, CONNECTION, { reset: true, emptyCache: true }));
await call('resetEnded', () => syncEnded('items'));
await call('syncStatusReset', () => nango.syncStatus(INTEGRATION, items, CONNECTION));
await call('triggerSyncIncremental', () => nango.triggerSync(INTEGRATION, items, CONNECTION, 'incremental'));
await call('incrementalEnded', () => syncEnded('items'));
await call('triggerSyncUnknown', () => nango.triggerSync(INTEGRATION, ['nope'], CONNECTION));
await call('pauseSync', () => nango.pauseSync(INTEGRATION, items, CONNECTION));
await call('syncStatusPaused', () => nango.syncStatus(INTEGRATION, items, CONNECTION));
await call('pauseSyncUnknownConnection', () => nango.pauseSync(INTEGRATION, items, 'nope'));

await call('deleteConnectionUnknown', () => nango.deleteConnection(INTEGRATION, 'nope'));
await call('deleteConnection', () => nango.deleteConnection(INTEGRATION, CONNECTION));

console.log(JSON.stringify(results));
