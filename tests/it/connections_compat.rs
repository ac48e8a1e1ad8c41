//! The calls about providers, integrations and connections that the published client makes, one after the other, against
//! what Nango answered: the same status, codes and keys. The numbers are those of the recorded calls. Where the answer
//! differs on purpose, the row says so in `better`, and `docs/compatibility.md` lists it.

use http::Method;
use nango_runtime_tests::{Client, Server, TestRuntime};
use serde_json::{Value, json};

/// One recorded call.
struct Recorded {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
    status: u16,
    /// JSON. `"*"` stands for any value, and `"..."` in a list or as a key for others that may be there as well.
    expected: &'static str,
    /// What differs from Nango on purpose.
    better: &'static str,
}

const fn call(
    name: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
    status: u16,
    expected: &'static str,
) -> Recorded {
    Recorded {
        name,
        method,
        path,
        body,
        status,
        expected,
        better: "",
    }
}

impl Recorded {
    const fn better(mut self, better: &'static str) -> Self {
        self.better = better;
        self
    }
}

const SUCCESS: &str = r#"{"success":true}"#;
const FLAGS: &str = "&force_refresh=false&refresh_token=false&refresh_github_app_jwt_token=false";

const RECORDED: &[Recorded] = &[
    call(
        "001 providers", "GET", "/providers?search=github", "", 200,
        r#"{"data":[{"name":"github","display_name":"*","auth_mode":"OAUTH2","categories":"*","docs":"*","...":""},"..."]}"#,
    )
    .better("no logos; the catalogue is our own"),
    call(
        "002 provider", "GET", "/providers/github", "", 200,
        r#"{"data":{"name":"github","display_name":"*","auth_mode":"OAUTH2","authorization_url":"https://github.com/login/oauth/authorize","token_url":"https://github.com/login/oauth/access_token","proxy":"*","categories":"*","docs":"*","...":""}}"#,
    ),
    call("003 unknown provider", "GET", "/providers/nope", "", 404, r#"{"error":{"code":"not_found","message":"*"}}"#),
    call("004 templates", "GET", "/providers/github/templates", "", 200, r#"{"data":[]}"#),
    call(
        "010 integrations", "GET", "/integrations", "", 200,
        r#"{"data":[{"unique_key":"private-api-bearer","provider":"private-api-bearer","display_name":"*","logo":"*","forward_webhooks":true,"created_at":"*","updated_at":"*"},
            {"unique_key":"github","provider":"github","display_name":"GitHub bench","logo":"*","forward_webhooks":true,"created_at":"*","updated_at":"*"}]}"#,
    )
    .better("newest first, as all lists"),
    call(
        "011 integration", "GET", "/integrations/github", "", 200,
        r#"{"data":{"unique_key":"github","provider":"github","display_name":"GitHub bench","logo":"*","forward_webhooks":true,"created_at":"*","updated_at":"*"}}"#,
    ),
    call(
        "012 integration with webhook", "GET", "/integrations/github?include=webhook", "", 200,
        r#"{"data":{"unique_key":"github","provider":"github","display_name":"GitHub bench","logo":"*","webhook_url":null,"forward_webhooks":true,"created_at":"*","updated_at":"*"}}"#,
    ),
    call("013 unknown integration", "GET", "/integrations/nope", "", 404, r#"{"error":{"code":"not_found","message":"*"}}"#),
    call(
        "014 create", "POST", "/integrations", r#"{"provider":"unauthenticated","unique_key":"tmp-int","display_name":"Tmp"}"#, 200,
        r#"{"data":{"unique_key":"tmp-int","provider":"unauthenticated","display_name":"Tmp","logo":"*","forward_webhooks":true,"created_at":"*","updated_at":"*"}}"#,
    ),
    call(
        "015 create again", "POST", "/integrations", r#"{"provider":"unauthenticated","unique_key":"tmp-int"}"#, 400,
        r#"{"error":{"code":"invalid_body","errors":[{"code":"invalid_string","message":"*","path":["uniqueKey"]}]}}"#,
    ),
    call(
        "016 bad body", "POST", "/integrations", r#"{"provider":"nope","unique_key":"x y"}"#, 400,
        r#"{"error":{"code":"invalid_body","errors":[{"code":"invalid_string","message":"*","path":["provider"]}]}}"#,
    ),
    call(
        "017 update", "PATCH", "/integrations/tmp-int", r#"{"display_name":"Renamed"}"#, 200,
        r#"{"data":{"unique_key":"tmp-int","provider":"unauthenticated","display_name":"Renamed","logo":"*","forward_webhooks":true,"created_at":"*","updated_at":"*"}}"#,
    ),
    call("018 delete", "DELETE", "/integrations/tmp-int", "", 200, SUCCESS),
    call(
        "019 create with an app", "POST", "/integrations",
        r#"{"provider":"github","unique_key":"tmp-gh","credentials":{"type":"OAUTH2","client_id":"cid","client_secret":"csecret","scopes":"repo,user"}}"#, 200,
        r#"{"data":{"unique_key":"tmp-gh","provider":"github","display_name":"GitHub (User OAuth)","logo":"*","forward_webhooks":true,"created_at":"*","updated_at":"*"}}"#,
    ),
    call("019b delete it", "DELETE", "/integrations/tmp-gh", "", 200, SUCCESS),
    call(
        "020 import", "POST", "/connections",
        r#"{"provider_config_key":"github","connection_id":"tmp-conn","credentials":{"type":"OAUTH2","access_token":"tmp-token","refresh_token":"tmp-refresh","expires_at":"2130-01-01T00:00:00Z"},"metadata":{"a":1},"connection_config":{"sub":"x"},"tags":{"end_user_id":"u9","plan":"pro"}}"#, 201,
        r#"{"id":"*","connection_id":"tmp-conn","provider_config_key":"github","provider":"github","errors":[],"end_user":null,"tags":{"plan":"pro","end_user_id":"u9"},"metadata":{"a":1},"connection_config":{"sub":"x"},"webhook_url_override":null,"created_at":"*","updated_at":"*","last_fetched_at":"*",
            "credentials":{"type":"OAUTH2","access_token":"tmp-token","refresh_token":"tmp-refresh","expires_at":"2130-01-01T00:00:00.000Z","raw":{"type":"OAUTH2","access_token":"tmp-token","refresh_token":"tmp-refresh","expires_at":"*"}}}"#,
    ),
    call(
        "021 connections", "GET", "/connections", "", 200,
        r#"{"connections":[{"id":"*","connection_id":"tmp-conn","provider_config_key":"github","provider":"github","errors":[],"end_user":null,"tags":{"plan":"pro","end_user_id":"u9"},"metadata":{"a":1},"created":"*"},
            {"id":"*","connection_id":"conn-key","provider_config_key":"private-api-bearer","provider":"private-api-bearer","errors":[],"end_user":null,"tags":{},"metadata":{},"created":"*"},
            {"id":"*","connection_id":"conn-oauth","provider_config_key":"github","provider":"github","errors":[],"end_user":null,"tags":{"end_user_id":"u1"},"metadata":{"team":"bench"},"created":"*"}]}"#,
    ),
    call(
        "022 filtered", "GET", "/connections?integrationId=github&tags%5Bend_user_id%5D=u9&limit=5", "", 200,
        r#"{"connections":[{"id":"*","connection_id":"tmp-conn","provider_config_key":"github","provider":"github","errors":[],"end_user":null,"tags":{"plan":"pro","end_user_id":"u9"},"metadata":{"a":1},"created":"*"}]}"#,
    ),
    call(
        "023 by id", "GET", "/connections?connectionId=conn-oauth", "", 200,
        r#"{"connections":[{"id":"*","connection_id":"conn-oauth","provider_config_key":"github","provider":"github","errors":[],"end_user":null,"tags":{"end_user_id":"u1"},"metadata":{"team":"bench"},"created":"*"}]}"#,
    ),
    call(
        "024, 029, 030 one", "GET", "/connections/conn-oauth?provider_config_key=github", "", 200,
        r#"{"id":"*","connection_id":"conn-oauth","provider_config_key":"github","provider":"github","errors":[],"end_user":null,"tags":{"end_user_id":"u1"},"metadata":{"team":"bench"},"connection_config":{},"webhook_url_override":null,"created_at":"*","updated_at":"*","last_fetched_at":"*",
            "credentials":{"type":"OAUTH2","access_token":"fake-access-token","raw":{"type":"OAUTH2","access_token":"fake-access-token"}}}"#,
    ),
    call(
        "025 with refresh token", "GET", "/connections/tmp-conn?provider_config_key=github&refresh_token=true", "", 200,
        r#"{"id":"*","connection_id":"tmp-conn","provider_config_key":"github","provider":"github","errors":[],"end_user":null,"tags":{"plan":"pro","end_user_id":"u9"},"metadata":{"a":1},"connection_config":{"sub":"x"},"webhook_url_override":null,"created_at":"*","updated_at":"*","last_fetched_at":"*",
            "credentials":{"type":"OAUTH2","access_token":"tmp-token","refresh_token":"tmp-refresh","expires_at":"2130-01-01T00:00:00.000Z","raw":{"type":"OAUTH2","access_token":"tmp-token","refresh_token":"tmp-refresh","expires_at":"*"}}}"#,
    ),
    call(
        "026 api key", "GET", "/connections/conn-key?provider_config_key=private-api-bearer", "", 200,
        r#"{"id":"*","connection_id":"conn-key","provider_config_key":"private-api-bearer","provider":"private-api-bearer","errors":[],"end_user":null,"tags":{},"metadata":{},"connection_config":{},"webhook_url_override":null,"created_at":"*","updated_at":"*","last_fetched_at":"*","credentials":{"type":"API_KEY","apiKey":"fake-api-key"}}"#,
    ),
    call(
        "027 unknown connection", "GET", "/connections/nope?provider_config_key=github", "", 404,
        r#"{"error":{"code":"not_found","message":"*"}}"#,
    ),
    call(
        "028 unknown integration", "GET", "/connections/nope?provider_config_key=nope", "", 400,
        r#"{"error":{"code":"unknown_provider_config","message":"*"}}"#,
    ),
    call(
        "031 set metadata", "POST", "/connections/metadata",
        r#"{"metadata":{"b":2},"connection_id":"tmp-conn","provider_config_key":"github"}"#, 201,
        r#"{"metadata":{"b":2},"connection_id":"tmp-conn","provider_config_key":"github"}"#,
    ),
    call(
        "032 merge metadata", "PATCH", "/connections/metadata",
        r#"{"metadata":{"c":3},"connection_id":"tmp-conn","provider_config_key":"github"}"#, 200,
        r#"{"metadata":{"c":3},"connection_id":"tmp-conn","provider_config_key":"github"}"#,
    ),
    call(
        "033 metadata", "GET", "/connections/tmp-conn?provider_config_key=github", "", 200,
        r#"{"id":"*","connection_id":"tmp-conn","provider_config_key":"github","provider":"github","errors":[],"end_user":null,"tags":{"plan":"pro","end_user_id":"u9"},"metadata":{"b":2,"c":3},"connection_config":{"sub":"x"},"webhook_url_override":null,"created_at":"*","updated_at":"*","last_fetched_at":"*",
            "credentials":{"type":"OAUTH2","access_token":"tmp-token","expires_at":"2130-01-01T00:00:00.000Z","raw":{"type":"OAUTH2","access_token":"tmp-token","expires_at":"*"}}}"#,
    ),
    call(
        "034 metadata of none", "POST", "/connections/metadata",
        r#"{"metadata":{"b":2},"connection_id":"nope","provider_config_key":"github"}"#, 404,
        r#"{"error":{"code":"unknown_connection","message":"*"}}"#,
    ),
    call(
        "035 patch", "PATCH", "/connections/tmp-conn?provider_config_key=github", r#"{"tags":{"end_user_id":"u10"}}"#, 200, SUCCESS,
    ),
    call("036 delete", "DELETE", "/connections/tmp-conn?provider_config_key=github", "", 200, SUCCESS),
    call(
        "037 delete none", "DELETE", "/connections/nope?provider_config_key=github", "", 400,
        r#"{"error":{"code":"unknown_connection","message":"*"}}"#,
    )
    .better("a message"),
    call(
        "308 a page", "GET", "/connections?limit=1&page=1", "", 200,
        r#"{"connections":[{"id":"*","connection_id":"conn-oauth","provider_config_key":"github","provider":"github","errors":[],"end_user":null,"tags":{"end_user_id":"u1"},"metadata":{"team":"bench"},"created":"*"}]}"#,
    ),
    call(
        "309 wrong type", "POST", "/connections",
        r#"{"provider_config_key":"github","credentials":{"type":"API_KEY","apiKey":"x"}}"#, 400,
        r#"{"error":{"code":"invalid_body","message":"*"}}"#,
    ),
];

/// Says where `actual` is not what `expected` asks for.
fn differs(expected: &Value, actual: &Value, at: &str) -> Option<String> {
    let other = || (expected != actual).then(|| format!("{at}: expected {expected}, got {actual}"));
    match (expected, actual) {
        (Value::String(any), _) if any == "*" => None,
        (Value::Object(expected), Value::Object(actual)) => {
            let open = expected.contains_key("...");
            if let Some(extra) = actual.keys().find(|key| !open && !expected.contains_key(*key)) {
                return Some(format!("{at}: {extra:?} is too much"));
            }
            let mut members = expected.iter().filter(|(key, _)| *key != "...");
            members.find_map(|(key, expected)| match actual.get(key) {
                Some(actual) => differs(expected, actual, &format!("{at}.{key}")),
                None => Some(format!("{at}: {key:?} is missing")),
            })
        }
        (Value::Array(expected), Value::Array(actual)) => {
            let open = expected.last() == Some(&json!("..."));
            let count = expected.len() - usize::from(open);
            if actual.len() < count || (!open && actual.len() > count) {
                return Some(format!("{at}: expected {count}, got {}", actual.len()));
            }
            let mut pairs = expected.iter().take(count).zip(actual).enumerate();
            pairs.find_map(|(index, (expected, actual))| differs(expected, actual, &format!("{at}[{index}]")))
        }
        _ => other(),
    }
}

/// Two integrations with a connection each, the second pair later than the first.
async fn recorded_environment() -> (Server, Client) {
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
    let _ = client.create_integration("private-api-bearer", "private-api-bearer").await.ok();
    let key = json!({"type": "API_KEY", "apiKey": "fake-api-key"});
    let _ = client.import_connection("private-api-bearer", "conn-key", key).await.ok();
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
async fn recorded_calls_are_answered_as_by_nango_or_better() {
    let (_server, client) = recorded_environment().await;
    for recorded in RECORDED {
        let method = Method::from_bytes(recorded.method.as_bytes()).expect("a method");
        let path = match recorded.path {
            // What the published client always sends along.
            path if path.ends_with("provider_config_key=github") && recorded.method == "GET" => format!("{path}{FLAGS}"),
            path => path.to_owned(),
        };
        let answer = if recorded.body.is_empty() {
            nango_runtime_tests::client::send(client.request(method, &path)).await
        } else {
            let body = serde_json::from_str(recorded.body).expect("the row's body is JSON");
            client.json(method, &path, &body).await
        };
        let told = format!("{} (on purpose: {:?}): {}", recorded.name, recorded.better, answer.text());
        assert_eq!(answer.status, recorded.status, "{told}");
        let expected = serde_json::from_str(recorded.expected).expect("the row is JSON");
        assert_eq!(differs(&expected, &answer.json(), "body"), None, "{told}");
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
        assert_eq!(listed["connections"].as_array().map(Vec::len), Some(count), "{filter}: {listed}");
    }

    for (path, body, status, code) in [
        (path, json!({"end_user": {"id": "u7", "email": "nobody"}}), 400, "invalid_body"),
        (path, json!({"credentials": {}}), 400, "invalid_body"),
        (path, json!({"tags": {"1": "x"}}), 400, "invalid_body"),
        (path, json!({"webhook_url_override": "https://x"}), 501, "not_implemented"),
        ("/connections/conn-oauth", json!({}), 400, "invalid_query_params"),
        ("/connections/nope?provider_config_key=github", json!({"tags": {}}), 404, "not_found"),
        ("/connections/nope?provider_config_key=nope", json!({"tags": {}}), 400, "unknown_provider_config"),
    ] {
        let refused = client.json(Method::PATCH, path, &body).await;
        assert_eq!((refused.status, refused.error_code().as_str()), (status, code), "{}", refused.text());
    }
    let refused = client.json(Method::PATCH, path, &json!({"tags": {"a": "b"}, "end_user": {"id": ""}})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(client.get(path).await.ok()["tags"], json!({"plan": "pro"}), "all or nothing");

    let operations = client.get("/logs/operations?type=connection:patch").await.ok();
    let operations = operations["data"].as_array().expect("a list").clone();
    assert_eq!(operations.len(), 1, "what was refused changed nothing: {operations:?}");
    assert!(!operations[0].to_string().contains("u7"), "no values: {}", operations[0]);
    assert!(operations[0].to_string().contains("tags, end_user"), "{}", operations[0]);

    let taken_away = client.json(Method::PATCH, path, &json!({"end_user": null})).await;
    assert_eq!(taken_away.status, 200);
    assert_eq!(client.get(path).await.ok()["end_user"], Value::Null);
}

#[tokio::test]
async fn the_older_routes_are_the_same() {
    let (_server, client) = recorded_environment().await;
    assert_eq!(
        client.get("/connection?connectionId=conn-key").await.ok(),
        client.get("/connections?connectionId=conn-key").await.ok()
    );
    let shown = client.get("/connection/conn-key?provider_config_key=private-api-bearer").await.ok();
    assert_eq!(shown["credentials"]["apiKey"], "fake-api-key");

    let body = json!({"metadata": {"a": 1}, "connection_id": ["conn-oauth"], "provider_config_key": "github"});
    assert_eq!(client.post("/connection/metadata", &body).await.snapshot(), json!({"status": 201, "body": body}));
    let one = |method, metadata: Value| {
        let request = client.request(method, "/connection/conn-oauth/metadata").json(&metadata);
        nango_runtime_tests::client::send(request.header("provider-config-key", "github"))
    };
    let merged = one(Method::PATCH, json!({"b": 2})).await;
    assert_eq!(merged.snapshot(), json!({"status": 200, "body": {"b": 2}}));
    let path = "/connections/conn-oauth?provider_config_key=github";
    assert_eq!(client.get(path).await.ok()["metadata"], json!({"a": 1, "b": 2}));
    let replaced = one(Method::POST, json!({"c": 3})).await;
    assert_eq!(replaced.snapshot(), json!({"status": 201, "body": {"c": 3}}));
    assert_eq!(client.get(path).await.ok()["metadata"], json!({"c": 3}));
    let nameless = client.post("/connection/conn-oauth/metadata", &json!({})).await;
    assert_eq!((nameless.status, nameless.error_code().as_str()), (400, "invalid_headers"));

    let deleted = client.delete("/connection/conn-key?provider_config_key=private-api-bearer").await;
    assert_eq!(deleted.snapshot(), json!({"status": 200, "body": {"success": true}}));
    let gone = client.get("/connections?connectionId=conn-key").await.ok();
    assert_eq!(gone["connections"], json!([]));
}

#[tokio::test]
async fn an_integration_shows_its_credentials_to_who_asks() {
    let (_server, client) = recorded_environment().await;
    let path = "/integrations/github?include=credentials&include=webhook";
    assert_eq!(client.get(path).await.ok()["data"]["credentials"], Value::Null, "there are none");
    let app = json!({"type": "OAUTH2", "client_id": "cid", "client_secret": "csecret", "scopes": "repo"});
    let updated = client.json(Method::PATCH, "/integrations/github", &json!({"credentials": app})).await.ok();
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
        assert_eq!((refused.status, refused.error_code().as_str()), (400, code), "{body}: {}", refused.text());
    }
    assert_eq!(client.get(path).await.ok()["data"]["display_name"], "GitHub bench", "nothing was changed");
}
