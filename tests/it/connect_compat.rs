//! The recorded calls about connect sessions and environment variables, one after the other, against what Nango answered: as
//! `connections_compat.rs`, but for the tokens that one call gives and the next is made with.

use http::Method;
use nango_runtime_tests::client::{json_body, send};
use nango_runtime_tests::{Answer, Client};
use serde_json::{Value, json};

use crate::connections_api::recorded_environment;
use crate::connections_compat::differs;

#[track_caller]
fn answered(recorded: &str, answer: &Answer, status: u16, expected: &Value) {
    assert_eq!(answer.status, status, "{recorded}: {}", answer.text());
    let differs = differs(expected, &answer.json(), "body");
    assert_eq!(differs, None, "{recorded}: {}", answer.text());
}

/// Opens a session; gives its token.
async fn open(client: &Client, recorded: &str, path: &str, body: Value) -> String {
    let opened = client.post(path, &body).await;
    let expected = json!({"data": {"token": "*", "connect_link": "*", "expires_at": "*"}});
    answered(recorded, &opened, 201, &expected);
    let data = &opened.json()["data"];
    let token = data["token"].as_str().expect("a token").to_owned();
    let digits = token.strip_prefix("nango_connect_session_").expect("its beginning");
    assert!(
        digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
        "{token}"
    );
    let link = data["connect_link"].as_str().expect("a link");
    assert!(link.contains(&format!("session_token={token}")), "{link}");
    token
}

#[tokio::test]
async fn recorded_calls_about_connecting_are_answered_as_by_nango_or_better() {
    let (_server, client) = recorded_environment().await;
    let variables = client.get("/environment-variables").await;
    answered("120 variables", &variables, 200, &json!([]));

    let tags = json!({"tags": {"end_user_id": "u1", "end_user_email": "a@b.co"}, "allowed_integrations": ["private-api-bearer", "github"]});
    let token = open(&client, "121 session", "/connect/sessions", tags).await;
    let user = json!({"end_user": {"id": "u1", "email": "a@b.co"}, "allowed_integrations": ["private-api-bearer"]});
    let _ = open(&client, "121b session of a user", "/connect/sessions", user).await;

    let browser = client.with_key(Some(&token));
    let shown = browser.get("/connect/session").await;
    // There is no `websocketsPath`: the page knows where it comes from. What a role of AWS needs is told on top.
    let expected = json!({"data": {"endUser": null, "allowed_integrations": ["private-api-bearer", "github"],
        "connectUISettings": {"showWatermark": "*", "defaultTheme": "system", "theme": "*"}, "external_id": "*"}});
    answered("122 session", &shown, 200, &expected);
    let integrations = browser.get("/integrations").await;
    let of = |unique_key: &str| {
        json!({"unique_key": unique_key, "provider": unique_key, "display_name": "*", "logo": "*",
        "forward_webhooks": true, "created_at": "*", "updated_at": "*"})
    };
    // Newest first, as all lists.
    answered(
        "123 integrations",
        &integrations,
        200,
        &json!({"data": [of("private-api-bearer"), of("github")]}),
    );

    let path = format!("/api-auth/api-key/private-api-bearer?connect_session_token={token}");
    let typed = json_body(
        client.with_key(None).request(Method::POST, &path),
        &json!({"apiKey": "k-from-ui"}),
    );
    let connected = send(typed).await;
    let expected = json!({"connectionId": "*", "providerConfigKey": "private-api-bearer"});
    answered("124 API key", &connected, 200, &expected);
    let id = connected.json()["connectionId"].as_str().expect("an id").to_owned();
    let made = client
        .get(&format!("/connections/{id}?provider_config_key=private-api-bearer"))
        .await
        .ok();
    assert_eq!(made["tags"], json!({"end_user_id": "u1", "end_user_email": "a@b.co"}));

    let again = json!({"connection_id": "conn-key", "integration_id": "private-api-bearer"});
    let _ = open(&client, "125 reconnect", "/connect/sessions/reconnect", again).await;
    let refused = client.post("/connect/sessions", &json!({"bad": 1})).await;
    let expected = json!({"error": {"code": "invalid_body", "errors": "*"}});
    answered("126 a bad body", &refused, 400, &expected);
    let faults = refused.json()["error"]["errors"].clone();
    let codes: Vec<&str> = faults
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|fault| fault["code"].as_str())
        .collect();
    assert!(codes.contains(&"unrecognized_keys"), "{faults}");
}
