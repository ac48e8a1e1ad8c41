//! Changing, listing and deleting connections and integrations, over REST.

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream};
use serde_json::{Value, json};

use crate::api_keys::with_key;

/// Two integrations with a connection each, the second pair later than the first.
pub async fn recorded_environment() -> (Server, Client) {
    let server = TestRuntime::new().start();
    let client = server.client();
    let github = json!({"provider": "github", "unique_key": "github", "display_name": "GitHub bench"});
    let _ = client.post("/integrations", &github).await.ok();
    let connection = json!({
        "provider_config_key": "github", "connection_id": "conn-oauth", "tags": {"end_user_id": "u1"},
        "metadata": {"team": "bench"}, "credentials": {"type": "OAUTH2", "access_token": "fake-access-token"},
    });
    let _ = client.post("/connections", &connection).await.ok();
    later(&client, "github", "conn-oauth").await;
    let _ = client
        .create_integration("private-api-bearer", "private-api-bearer")
        .await
        .ok();
    let key = json!({"type": "API_KEY", "apiKey": "fake-api-key"});
    let _ = client
        .import_connection("private-api-bearer", "conn-key", key)
        .await
        .ok();
    later(&client, "private-api-bearer", "conn-key").await;
    (server, client)
}

/// Asks until the server's clock is past the millisecond in which the connection was made.
async fn later(client: &Client, integration: &str, connection: &str) {
    loop {
        let path = format!("/connections/{connection}?provider_config_key={integration}");
        let shown = client.get(&path).await.ok();
        if shown["last_fetched_at"] != shown["created_at"] {
            return;
        }
    }
}

#[tokio::test]
async fn a_patch_changes_end_user_and_tags_and_is_in_the_log() {
    let (_server, client) = recorded_environment().await;
    let path = "/connections/conn-oauth?provider_config_key=github";
    let patch = json!({
        "end_user": {"id": "u7", "email": "u7@example.com", "organization": {"id": "o1", "display_name": "One"}},
        "tags": {"Plan": "pro"},
    });
    let answer = client.json(Method::PATCH, path, &patch).await;
    assert_eq!(answer.snapshot(), json!({"status": 200, "body": {"success": true}}));
    let shown = client.get(path).await.ok();
    assert_eq!(shown["tags"], json!({"plan": "pro"}));
    assert_eq!(
        shown["end_user"],
        json!({"id": "u7", "email": "u7@example.com", "display_name": null, "tags": {}, "organization": {"id": "o1", "display_name": "One"}})
    );
    assert_eq!(shown["credentials"]["access_token"], "fake-access-token", "they stay");
    for (filter, count) in [
        ("endUserId=u7", 1),
        ("endUserOrganizationId=o1", 1),
        ("endUserOrganizationId=o", 0),
        ("search=EXAMPLE.com", 1),
        ("tags[PLAN]=pro", 1),
        ("integrationId=private-api-bearer,github", 2),
    ] {
        let listed = client.get(&format!("/connections?{filter}")).await.ok();
        assert_eq!(
            listed["connections"].as_array().map(Vec::len),
            Some(count),
            "{filter}: {listed}"
        );
    }

    for (path, body, status, code) in [
        (
            path,
            json!({"end_user": {"id": "u7", "email": "nobody"}}),
            400,
            "invalid_body",
        ),
        (path, json!({"credentials": {}}), 400, "invalid_body"),
        (path, json!({"tags": {"1": "x"}}), 400, "invalid_body"),
        (path, json!({"webhook_url_override": "x"}), 400, "invalid_body"),
        ("/connections/conn-oauth", json!({}), 400, "invalid_query_params"),
        (
            "/connections/nope?provider_config_key=github",
            json!({"tags": {}}),
            404,
            "not_found",
        ),
        (
            "/connections/nope?provider_config_key=nope",
            json!({"tags": {}}),
            400,
            "unknown_provider_config",
        ),
    ] {
        let refused = client.json(Method::PATCH, path, &body).await;
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (status, code),
            "{}",
            refused.text()
        );
    }
    let refused = client
        .json(
            Method::PATCH,
            path,
            &json!({"tags": {"a": "b"}, "end_user": {"id": ""}}),
        )
        .await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        client.get(path).await.ok()["tags"],
        json!({"plan": "pro"}),
        "all or nothing"
    );

    let operations = client.get("/logs/operations?type=connection:patch").await.ok();
    let operations = operations["data"].as_array().expect("a list").clone();
    assert_eq!(operations.len(), 1, "what was refused changed nothing: {operations:?}");
    assert!(
        !operations[0].to_string().contains("u7"),
        "no values: {}",
        operations[0]
    );
    assert!(
        operations[0].to_string().contains("tags, end_user"),
        "{}",
        operations[0]
    );

    let taken_away = client.json(Method::PATCH, path, &json!({"end_user": null})).await;
    assert_eq!(taken_away.status, 200);
    assert_eq!(client.get(path).await.ok()["end_user"], Value::Null);
}

/// A provider whose host the connection names, and who tries keys.
const CHANGING: &str = r"
changing:
  auth_mode: API_KEY
  proxy:
    base_url: http://${connectionConfig.host}
    headers: {authorization: 'Bearer ${apiKey}'}
    verification: {method: GET, endpoints: [/try]}
  connection_config:
    host: {type: string, title: Host, pattern: '^[a-z0-9.:]+$'}
    region: {type: string, title: Region, enum: [eu, us]}
";

#[tokio::test]
async fn a_patch_changes_config_and_credentials() {
    let upstream = Upstream::handling(|request| {
        let key = request.header("authorization").to_owned();
        let status = if request.target == "/try" && !key.contains("good") {
            401
        } else {
            200
        };
        Reply::json(status, &json!({"key": key}))
    })
    .await;
    let server = TestRuntime::new().egress_loopback().provider_yaml(CHANGING).start();
    let client = server.client();
    let _ = client.create_integration("changing", "changing").await.ok();
    let host = upstream.url().replace("http://", "");
    let import = json!({
        "provider_config_key": "changing", "connection_id": "c", "connection_config": {"host": host, "region": "eu", "own": 1},
        "credentials": {"type": "API_KEY", "apiKey": "a-good-key-no-1"}, "metadata": {"kept": true}, "tags": {"plan": "pro"},
        "end_user": {"id": "u1"}, "webhook_url_override": "https://hooks.test/a",
    });
    let _ = client.post("/connections", &import).await.ok();
    let path = "/connections/c?provider_config_key=changing";
    let patch = async |body: Value| client.json(Method::PATCH, path, &body).await;

    // Values are merged, and null takes one away; the credentials stay.
    assert_eq!(
        patch(json!({"connection_config": {"region": "us", "own": null, "more": "x"}}))
            .await
            .status,
        200
    );
    let shown = client.get(path).await.ok();
    assert_eq!(
        shown["connection_config"],
        json!({"host": host, "region": "us", "more": "x"})
    );
    assert_eq!(shown["credentials"]["apiKey"], "a-good-key-no-1");
    let asked = client.proxy_get("changing", "c", "/x").await.ok();
    assert_eq!(asked["key"], "Bearer a-good-key-no-1");

    // Others are tried first; the rest of the connection stays.
    let refused = patch(json!({"credentials": {"type": "API_KEY", "apiKey": "a-bad-key-no-2"}})).await;
    assert_eq!(
        (refused.status, refused.error_code().as_str()),
        (400, "connection_test_failed")
    );
    let both =
        json!({"credentials": {"type": "API_KEY", "apiKey": "a-good-key-no-3"}, "connection_config": {"more": null}});
    assert_eq!(patch(both).await.status, 200);
    let shown = client.get(path).await.ok();
    assert_eq!(shown["connection_config"], json!({"host": host, "region": "us"}));
    assert_eq!(shown["credentials"]["apiKey"], "a-good-key-no-3");
    assert_eq!(
        (&shown["metadata"], &shown["tags"]),
        (&json!({"kept": true}), &json!({"plan": "pro"}))
    );
    assert_eq!(shown["end_user"]["id"], "u1");
    assert_eq!(shown["webhook_url_override"], "https://hooks.test/a", "{shown}");
    let asked = client.proxy_get("changing", "c", "/x").await.ok();
    assert_eq!(asked["key"], "Bearer a-good-key-no-3");
    assert_eq!(
        client.get("/connections").await.ok()["connections"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );

    for (body, code) in [
        (json!({"connection_config": {"region": "asia"}}), "invalid_body"),
        (json!({"connection_config": {"host": "a/b"}}), "invalid_body"),
        (json!({"connection_config": []}), "invalid_body"),
        (
            json!({"credentials": {"type": "BASIC", "username": "u", "password": "p"}}),
            "invalid_body",
        ),
        (json!({"credentials": {"apiKey": "k"}}), "invalid_body"),
    ] {
        let refused = patch(body.clone()).await;
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (400, code),
            "{body}: {}",
            refused.text()
        );
    }
    let gone = client
        .json(
            Method::PATCH,
            "/connections/nope?provider_config_key=changing",
            &json!({"credentials": {"type": "API_KEY", "apiKey": "a-good-key"}}),
        )
        .await;
    assert_eq!(
        (gone.status, gone.error_code().as_str()),
        (404, "not_found"),
        "{}",
        gone.text()
    );
    let log = client
        .get("/logs/operations?type=connection:patch")
        .await
        .ok()
        .to_string();
    assert!(
        log.contains("connection_config") && log.contains("credentials") && !log.contains("-key-no-"),
        "{log}"
    );

    // Who may not read credentials cannot have them sent elsewhere; he may give others.
    let updater = with_key(&client, &["environment:connections:update"], Value::Null).await;
    let elsewhere = updater
        .json(
            Method::PATCH,
            path,
            &json!({"connection_config": {"host": "evil.test"}}),
        )
        .await;
    assert_eq!(
        (elsewhere.status, elsewhere.error_code().as_str()),
        (403, "forbidden"),
        "{}",
        elsewhere.text()
    );
    let tags = updater
        .json(Method::PATCH, path, &json!({"tags": {"plan": "free"}}))
        .await;
    assert_eq!(tags.status, 200, "{}", tags.text());
    let own =
        json!({"credentials": {"type": "API_KEY", "apiKey": "a-good-key-no-4"}, "connection_config": {"region": "eu"}});
    assert_eq!(updater.json(Method::PATCH, path, &own).await.status, 200);
}

/// Patches at the same moment do not lose each other's values.
#[tokio::test(flavor = "multi_thread")]
async fn patches_at_once_are_all_there() {
    let (_server, client) = recorded_environment().await;
    let path = "/connections/conn-oauth?provider_config_key=github";
    let patches = (0..6).map(|number| {
        let client = client.clone();
        async move {
            let config = json!({"connection_config": {format!("value{number}"): number}});
            client.json(Method::PATCH, path, &config).await.status
        }
    });
    let statuses = futures_util::future::join_all(patches).await;
    assert_eq!(statuses, [200; 6]);
    let config = client.get(path).await.ok()["connection_config"].clone();
    assert_eq!(config.as_object().map(serde_json::Map::len), Some(6), "{config}");
}

#[tokio::test]
async fn the_older_routes_are_the_same() {
    let (_server, client) = recorded_environment().await;
    assert_eq!(
        client.get("/connection?connectionId=conn-key").await.ok(),
        client.get("/connections?connectionId=conn-key").await.ok()
    );
    assert_eq!(
        client.get("/config").await.ok()["configs"],
        client.get("/integrations").await.ok()["data"]
    );
    let integration = client.get("/integrations/github?include=credentials").await.ok();
    assert_eq!(
        client.get("/config/github?include_creds=true").await.ok()["config"],
        integration["data"]
    );
    assert!(client.get("/config/github").await.ok()["config"]["credentials"].is_null());
    assert_eq!(client.get("/config/none").await.error_code(), "not_found");
    let shown = client
        .get("/connection/conn-key?provider_config_key=private-api-bearer")
        .await
        .ok();
    assert_eq!(shown["credentials"]["apiKey"], "fake-api-key");

    let body = json!({"metadata": {"a": 1}, "connection_id": ["conn-oauth"], "provider_config_key": "github"});
    assert_eq!(
        client.post("/connection/metadata", &body).await.snapshot(),
        json!({"status": 201, "body": body})
    );
    let one = |method, metadata: Value| {
        let request = client
            .request(method, "/connection/conn-oauth/metadata")
            .header("content-type", "application/json")
            .body(metadata.to_string());
        send(request.header("provider-config-key", "github"))
    };
    let merged = one(Method::PATCH, json!({"b": 2})).await;
    assert_eq!(merged.snapshot(), json!({"status": 200, "body": {"b": 2}}));
    let path = "/connections/conn-oauth?provider_config_key=github";
    assert_eq!(client.get(path).await.ok()["metadata"], json!({"a": 1, "b": 2}));
    let replaced = one(Method::POST, json!({"c": 3})).await;
    assert_eq!(replaced.snapshot(), json!({"status": 201, "body": {"c": 3}}));
    assert_eq!(client.get(path).await.ok()["metadata"], json!({"c": 3}));
    let nameless = client.post("/connection/conn-oauth/metadata", &json!({})).await;
    assert_eq!(
        (nameless.status, nameless.error_code().as_str()),
        (400, "invalid_headers")
    );

    let deleted = client
        .delete("/connection/conn-key?provider_config_key=private-api-bearer")
        .await;
    assert_eq!(deleted.snapshot(), json!({"status": 200, "body": {"success": true}}));
    let gone = client.get("/connections?connectionId=conn-key").await.ok();
    assert_eq!(gone["connections"], json!([]));
}

#[tokio::test]
async fn an_integration_shows_its_credentials_to_who_asks() {
    let (_server, client) = recorded_environment().await;
    let path = "/integrations/github?include=credentials&include=webhook";
    assert_eq!(
        client.get(path).await.ok()["data"]["credentials"],
        Value::Null,
        "there are none"
    );
    let app = json!({"type": "OAUTH2", "client_id": "cid", "client_secret": "csecret", "scopes": "repo"});
    let updated = client
        .json(Method::PATCH, "/integrations/github", &json!({"credentials": app}))
        .await
        .ok();
    assert_eq!(updated["data"].get("credentials"), None, "not in other answers");
    assert_eq!(client.get(path).await.ok()["data"]["credentials"], app);
    for (body, code) in [
        (json!({"unique_key": "other"}), "invalid_body"),
        (json!({"unique_key": "private-api-bearer"}), "invalid_body"),
        (json!({"unique_key": "a/b"}), "invalid_body"),
        (json!({"display_name": ""}), "invalid_body"),
        (json!({"provider": "slack"}), "invalid_body"),
        (json!({"credentials": {"type": "BASIC"}}), "invalid_body"),
        (json!({"custom": {"nope": "x"}}), "invalid_body"),
        (json!({"display_name": 1}), "invalid_body"),
    ] {
        let refused = client.json(Method::PATCH, "/integrations/github", &body).await;
        assert_eq!(
            (refused.status, refused.error_code().as_str()),
            (400, code),
            "{body}: {}",
            refused.text()
        );
    }
    assert_eq!(
        client.get(path).await.ok()["data"]["display_name"],
        "GitHub bench",
        "nothing was changed"
    );
}
