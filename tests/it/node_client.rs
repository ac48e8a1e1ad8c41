//! The published `@nangohq/node` as client: statuses and the keys of bodies are those of Nango itself.

use std::collections::BTreeSet;

use nango_runtime_tests::{guest, httpbin, node};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, with_upstream};

/// The keys of an object, sorted.
fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"))
        .keys()
        .map(String::as_str)
        .collect()
}

#[track_caller]
fn has_keys(value: &Value, expected: &[&str]) {
    let missing: Vec<_> = expected.iter().filter(|key| value.get(key).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in {value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_works_against_the_runtime() {
    let (server, client) = with_upstream(httpbin::url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let value = json!({"value": "https://example.com"});
    let set = client.json(http::Method::PUT, "/environment-variables/BACK_END", &value);
    let _ = set.await.ok();
    let results = node::run(
        &server,
        "client.mjs",
        &[("INTEGRATION", INTEGRATION), ("CONNECTION", CONNECTION)],
    );
    providers_and_integrations(&results);
    assert_eq!(
        results["getEnvironmentVariables"]["returned"],
        json!([{"name": "BACK_END", "value": "https://example.com"}])
    );
    connections(&results);
    proxy(&results);
    actions(&results);
    actions_in_the_background(&results);
    syncs(&results);
    records(&results);
    functions(&results);
    schedules(&results);
}

fn providers_and_integrations(results: &Value) {
    has_keys(
        &results["listProviders"]["returned"]["data"][0],
        &["name", "display_name", "auth_mode"],
    );
    assert_eq!(results["getProvider"]["returned"]["data"]["auth_mode"], "OAUTH2");
    failed(results, "getProviderUnknown", 404, "not_found");

    assert_eq!(results["getProviderTemplates"]["returned"], json!({"data": []}));

    let integration = [
        "unique_key",
        "provider",
        "display_name",
        "logo",
        "created_at",
        "updated_at",
        "forward_webhooks",
    ];
    let created = &results["createIntegration"]["returned"]["data"];
    assert_eq!(keys(created), integration.into(), "as Nango gives them");
    failed(results, "createIntegrationAgain", 400, "invalid_body");
    failed(results, "createIntegrationBad", 400, "invalid_body");
    has_keys(&results["listIntegrations"]["returned"]["configs"][0], &integration);
    assert_eq!(results["getIntegration"]["returned"]["data"]["unique_key"], "tmp");
    for (name, field) in [
        ("getIntegrationWebhook", "webhook_url"),
        ("getIntegrationCredentials", "credentials"),
    ] {
        let included = &results[name]["returned"]["data"];
        assert_eq!(included.get(field), Some(&Value::Null), "{included}");
    }
    failed(results, "getIntegrationUnknown", 404, "not_found");
    assert_eq!(
        results["updateIntegration"]["returned"]["data"]["display_name"],
        "Renamed"
    );
    assert_eq!(
        results["deleteIntegration"],
        json!({"status": 200, "data": {"success": true}})
    );
}

fn connections(results: &Value) {
    let listed = [
        "id",
        "connection_id",
        "provider_config_key",
        "provider",
        "errors",
        "end_user",
        "tags",
        "metadata",
        "created",
    ];
    assert_eq!(
        keys(&results["listConnections"]["returned"]["connections"][0]),
        listed.into()
    );
    assert_eq!(
        results["listConnectionsFiltered"]["returned"]["connections"][0]["connection_id"],
        CONNECTION
    );
    let one = &results["getConnection"]["returned"];
    has_keys(
        one,
        &[
            "id",
            "connection_id",
            "provider_config_key",
            "provider",
            "errors",
            "end_user",
            "tags",
            "metadata",
        ],
    );
    has_keys(
        one,
        &[
            "connection_config",
            "webhook_url_override",
            "created_at",
            "updated_at",
            "last_fetched_at",
        ],
    );
    assert_eq!(one["credentials"], json!({"type": "API_KEY", "apiKey": API_KEY}));
    failed(results, "getConnectionUnknown", 404, "not_found");
    assert_eq!(results["getToken"]["returned"]["apiKey"], API_KEY);
    assert_eq!(
        results["getRawTokenResponse"],
        json!({}),
        "an API key has no token response"
    );
    let success = json!({"success": true});
    assert_eq!(results["patchConnection"]["returned"], success);
    failed(results, "patchConnectionUnknown", 404, "not_found");
    for (name, count) in [
        ("listConnectionsOfUser", 1),
        ("listConnectionsSearch", 1),
        ("listConnectionsOfOrganization", 0),
        ("listConnectionsPage", 0),
    ] {
        let listed = results[name]["returned"]["connections"].as_array();
        assert_eq!(listed.map(Vec::len), Some(count), "{name}: {}", results[name]);
    }
    assert_eq!(results["waitForConnection"]["returned"]["connection_id"], CONNECTION);
    let found = &results["listConnectionsOfUser"]["returned"]["connections"][0];
    assert_eq!(
        found["end_user"],
        json!({"id": "u7", "email": "u7@example.com", "display_name": "Seven", "tags": {}, "organization": null})
    );
    assert_eq!(found["tags"], json!({"plan": "pro"}));

    let echo = |metadata: Value| json!({"metadata": metadata, "connection_id": CONNECTION, "provider_config_key": INTEGRATION});
    assert_eq!(
        results["setMetadata"],
        json!({"status": 201, "data": echo(json!({"b": 2}))})
    );
    assert_eq!(
        results["updateMetadata"],
        json!({"status": 200, "data": echo(json!({"c": 3}))})
    );
    assert_eq!(results["getMetadata"]["returned"], json!({"b": 2, "c": 3}));
    failed(results, "setMetadataUnknown", 404, "unknown_connection");
    failed(results, "deleteConnectionUnknown", 400, "unknown_connection");
    assert_eq!(
        results["deleteConnection"],
        json!({"status": 200, "data": {"success": true}})
    );
}

fn proxy(results: &Value) {
    let data = |name: &str| {
        assert_eq!(results[name]["status"], 200, "{name}: {}", results[name]);
        results[name]["data"].clone()
    };
    assert_eq!(data("get")["args"], json!({"x": "1"}));
    assert_eq!(data("get")["headers"]["X-Custom"], "v");
    assert_eq!(data("get")["headers"]["Authorization"], format!("Bearer {API_KEY}"));
    assert_eq!(data("getParams")["args"], json!({"a": "b c"}));
    assert_eq!(data("post")["json"], json!({"hello": "world"}));
    assert_eq!(data("postForm")["form"], json!({"a": "1", "b": "2"}));
    assert_eq!(data("put")["json"], json!({"n": 1}));
    assert_eq!(data("patch")["json"], json!({"n": 2}));
    assert_eq!(data("delete")["url"], format!("{}/delete", httpbin::url()));
    assert_eq!(data("proxy")["json"], json!([1, 2]));
    assert_eq!(data("gzip")["gzipped"], true);
    assert_eq!(data("binary"), 64);
    assert_eq!(results["notFound"]["status"], 404);
    assert_eq!(results["noContent"]["status"], 204);
    failed(results, "proxyUnknownConnection", 400, "server_error");
    failed(results, "proxyUnknownIntegration", 404, "unknown_provider_config");
}

fn actions(results: &Value) {
    assert_eq!(results["triggerAction"]["returned"], json!({"n": 1}));
    let refused = failed(results, "triggerActionRefuses", 500, "action_script_runtime_error");
    assert_eq!(keys(&refused["error"]), ["code", "message", "payload"].into());
    let upstream = failed(results, "triggerActionUpstream404", 424, "script_http_error");
    assert_eq!(
        keys(&upstream["error"]["upstream"]),
        ["body", "headers", "status"].into()
    );
    assert_eq!(upstream["error"]["upstream"]["status"], 404);
    failed(results, "triggerActionUnknown", 404, "not_found");
    failed(results, "triggerActionUnknownConnection", 400, "unknown_connection");
    assert_eq!(results["triggerActionWithoutInput"]["returned"], Value::Null);
    failed(results, "triggerActionInvalidInput", 400, "invalid_action_input");
}

fn actions_in_the_background(results: &Value) {
    let accepted = &results["triggerActionAsync"]["returned"];
    assert_eq!(keys(accepted), ["id", "statusUrl"].into(), "as Nango gives them");
    let id = accepted["id"].as_str().expect("an id");
    assert_eq!(
        (id.len(), &accepted["statusUrl"]),
        (36, &json!(format!("/action/{id}")))
    );
    let output = json!({"returned": {"n": 2}});
    assert_eq!(results["getAsyncActionResult"], output);
    assert_eq!(results["getAsyncActionResultByUrl"], output);
    assert_eq!(results["getAsyncActionResultNull"], json!({"returned": null}));
    // A failure is told as who had waited would have been told.
    let refused = failed(
        results,
        "getAsyncActionResultRefused",
        500,
        "action_script_runtime_error",
    );
    assert_eq!(refused, &results["triggerActionRefuses"]["data"]);
    let upstream = failed(results, "getAsyncActionResultUpstream404", 424, "script_http_error");
    assert_eq!(upstream, &results["triggerActionUpstream404"]["data"]);
    failed(results, "triggerActionAsyncUnknown", 404, "not_found");
    let unknown = failed(results, "getAsyncActionResultUnknown", 404, "not_found");
    let message = "No action 'af95401b-1676-4e78-a6c4-510a0ce76217' found";
    assert_eq!(unknown["error"], json!({"code": "not_found", "message": message}));
    failed(results, "getAsyncActionResultNoId", 400, "invalid_uri_params");
}

fn syncs(results: &Value) {
    assert_eq!(
        results["triggerSync"],
        json!({"status": 200, "data": {"success": true}})
    );
    let status = &results["syncStatus"]["returned"]["syncs"][0];
    has_keys(
        status,
        &[
            "id",
            "connection_id",
            "name",
            "variant",
            "type",
            "status",
            "frequency",
            "finishedAt",
        ],
    );
    has_keys(
        status,
        &[
            "nextScheduledSyncAt",
            "latestResult",
            "latestExecutionStatus",
            "recordCount",
            "checkpoint",
        ],
    );
    assert_eq!(
        (&status["status"], &status["latestExecutionStatus"], &status["name"]),
        (&json!("PAUSED"), &json!("SUCCESS"), &json!("items")),
        "{status}"
    );
    assert_eq!(
        results["syncStatusAll"]["returned"]["syncs"][0]["connection_id"],
        CONNECTION
    );

    let page = &results["listRecords"]["returned"];
    assert_eq!(keys(page), ["next_cursor", "records"].into());
    let metadata = [
        "first_seen_at",
        "last_modified_at",
        "last_action",
        "deleted_at",
        "pruned_at",
        "cursor",
    ];
    assert_eq!(keys(&page["records"][0]["_nango_metadata"]), metadata.into());
    let count = page["records"].as_array().map_or(0, Vec::len);
    assert!(count > 2, "the sync saves some records: {page}");
    let first = &results["listRecordsLimit"]["returned"];
    assert!(first["next_cursor"].is_string(), "{first}");
    assert_eq!(first["records"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        results["listRecordsCursor"]["returned"]["records"]
            .as_array()
            .map(Vec::len),
        Some(count - 2)
    );
    assert_eq!(
        results["listRecordsUnknownModel"]["returned"],
        json!({"next_cursor": null, "records": []})
    );
}

fn records(results: &Value) {
    let ids = |name: &str| {
        let records = results[name]["returned"]["records"].as_array();
        let records = records.unwrap_or_else(|| panic!("{name}: {}", results[name]));
        records.iter().map(|record| record["id"].clone()).collect::<Value>()
    };
    assert_eq!(ids("listRecordsIds"), json!(["1", "4"]));
    assert_eq!(ids("listRecordsDeleted"), json!([]));
    assert_eq!(ids("listRecordsModifiedAfter"), json!([]));
    assert_eq!(results["listRecordsBadCursor"]["status"], 400);
    let pruned = |count: u32| json!({"count": count, "has_more": false});
    assert_eq!(results["pruneRecords"]["returned"], pruned(2));
    assert_eq!(results["pruneRecordsAgain"]["returned"], pruned(0));
}

fn functions(results: &Value) {
    let config = &results["getScriptsConfig"]["returned"][0];
    has_keys(config, &["providerConfigKey", "syncs", "actions", "on-events"]);
    let named = |list: &Value, name: &str| {
        let found = list
            .as_array()
            .and_then(|list| list.iter().find(|one| one["name"] == name));
        found.unwrap_or_else(|| panic!("no {name} in {list}")).clone()
    };
    let sync = named(&config["syncs"], "items");
    assert_eq!(
        (&sync["runs"], &sync["auto_start"]),
        (&json!("every hour"), &json!(false))
    );
    has_keys(&named(&config["actions"], "greet"), &["description", "type"]);
    let openai = named(&results["getScriptsConfigOpenai"]["returned"]["data"], "greet");
    assert_eq!(openai["parameters"]["type"], "object", "{openai}");
    let listed = &results["listFunctions"]["returned"];
    assert_eq!(listed["pagination"]["limit"], 1, "{listed}");
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1), "{listed}");
    has_keys(&listed["data"][0], &["name", "type", "enabled", "last_deployed"]);
    assert_eq!(results["getFunction"]["returned"]["data"]["name"], "greet");
    failed(results, "getFunctionUnknown", 404, "not_found");
}

fn schedules(results: &Value) {
    let done = json!({"status": 200, "data": {"success": true}});
    for name in ["startSync", "pauseSync", "triggerSyncReset", "triggerSyncIncremental"] {
        assert_eq!(results[name], done, "{name}");
    }
    let status = |name: &str| results[name]["returned"]["syncs"][0].clone();
    let started = status("syncStatusStarted");
    assert_eq!(started["status"], "SUCCESS", "{started}");
    assert!(started["nextScheduledSyncAt"].is_string(), "{started}");
    let paused = status("syncStatusPaused");
    assert_eq!(
        (&paused["status"], &paused["nextScheduledSyncAt"]),
        (&json!("PAUSED"), &Value::Null),
        "{paused}"
    );
    let cron = "0 9 * * MON-FRI Europe/Berlin";
    for (name, frequency) in [
        ("frequency", "2 hours"),
        ("frequencyCron", cron),
        ("frequencyRestored", "hour"),
        ("frequencyOfVariant", "day"),
    ] {
        assert_eq!(results[name]["returned"], json!({"frequency": frequency}), "{name}");
    }
    let scheduled = status("syncStatusCron");
    assert_eq!(scheduled["frequency"], cron);
    let next = scheduled["nextScheduledSyncAt"].as_str().unwrap_or_default();
    assert!(
        next.contains("T07:00:") || next.contains("T08:00:"),
        "9 o'clock in Berlin: {next}"
    );
    failed(results, "frequencyBad", 400, "invalid_body");
    failed(results, "frequencyShort", 400, "invalid_body");
    failed(results, "frequencyUnknown", 400, "unknown_sync");

    let created = &results["createSyncVariant"]["returned"];
    assert_eq!(keys(created), ["id", "name", "variant"].into());
    assert_eq!((&created["name"], &created["variant"]), (&json!("items"), &json!("v2")));
    failed(results, "createSyncVariantAgain", 400, "sync_variant_already_exists");
    failed(results, "createSyncVariantBase", 400, "invalid_variant");
    failed(results, "createSyncVariantUnknown", 400, "unknown_sync");
    let variant = status("syncStatusVariant");
    assert_eq!(
        (&variant["variant"], &variant["frequency"]),
        (&json!("v2"), &json!("every day")),
        "{variant}"
    );
    assert_eq!(results["deleteSyncVariant"]["returned"], json!({"success": true}));
    failed(results, "deleteSyncVariantAgain", 404, "not_found");

    let reset = status("syncStatusReset");
    assert_eq!(
        reset["latestResult"]["Item"]["added"], 6,
        "all are new after emptyCache: {reset}"
    );
    failed(results, "triggerSyncUnknown", 400, "no_syncs_found");
    failed(results, "pauseSyncUnknownConnection", 404, "unknown_connection");
}

/// The body of a call that failed as expected.
#[track_caller]
fn failed<'a>(results: &'a Value, name: &str, status: u16, code: &str) -> &'a Value {
    let result = &results[name];
    assert_eq!(
        (&result["status"], &result["data"]["error"]["code"]),
        (&json!(status), &json!(code)),
        "{name}: {result}"
    );
    &result["data"]
}
