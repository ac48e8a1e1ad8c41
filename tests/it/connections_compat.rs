//! The calls about providers, integrations and connections that the published client makes, one after the other, against
//! what Nango answered: the same status, codes and keys. The numbers are those of the recorded calls. Where the answer
//! differs on purpose, the row says so in `better`, and `docs/compatibility.md` lists it.

use http::Method;
use nango_runtime_tests::client::send;
use serde_json::{Value, json};

use crate::connections_api::recorded_environment;

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
        r#"{"data":{"unique_key":"github","provider":"github","display_name":"GitHub bench","logo":"*","webhook_url":"*","forward_webhooks":true,"created_at":"*","updated_at":"*"}}"#,
    )
    .better("GitHub's webhooks are received for this provider, too"),
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
pub fn differs(expected: &Value, actual: &Value, at: &str) -> Option<String> {
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

#[tokio::test]
async fn recorded_calls_are_answered_as_by_nango_or_better() {
    let (_server, client) = recorded_environment().await;
    for recorded in RECORDED {
        let method = Method::from_bytes(recorded.method.as_bytes()).expect("a method");
        let path = match recorded.path {
            // What the published client always sends along.
            path if path.ends_with("provider_config_key=github") && recorded.method == "GET" => {
                format!("{path}{FLAGS}")
            }
            path => path.to_owned(),
        };
        let answer = if recorded.body.is_empty() {
            send(client.request(method, &path)).await
        } else {
            let body = serde_json::from_str(recorded.body).expect("the row's body is JSON");
            client.json(method, &path, &body).await
        };
        let told = format!(
            "{} (on purpose: {:?}): {}",
            recorded.name,
            recorded.better,
            answer.text()
        );
        assert_eq!(answer.status, recorded.status, "{told}");
        let expected = serde_json::from_str(recorded.expected).expect("the row is JSON");
        assert_eq!(differs(&expected, &answer.json(), "body"), None, "{told}");
    }
}
