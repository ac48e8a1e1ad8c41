//! Vendors with OAuth 2 in words of their own, in front of a token endpoint that takes no others.

use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream};
use serde_json::{Value, json};

use crate::fixture::CONNECTION;

fn providers(url: &str) -> String {
    format!(
        "
acme:
  auth_mode: OAUTH2
  authorization_url: {url}/authorize
  token_url: {url}/token
  refresh_url: {url}/refresh
  body_format: json
  token_headers: {{x-acme-version: '2'}}
  token_request_fields: {{client_id: app_id, client_secret: secret, code: auth_code, grant_type: null, redirect_uri: null}}
  refresh_request_fields: {{client_id: app_id, client_secret: null, grant_type: null}}
  token_response: {{token: data.token, refresh_token: data.refreshToken}}
  token_expires_in_ms: 3600000
  proxy: {{base_url: '{url}'}}
public:
  auth_mode: OAUTH2
  authorization_url: {url}/authorize
  token_url: {url}/public
  token_request_auth_method: none
  proxy: {{base_url: '{url}'}}
"
    )
}

/// What the vendor answers: at `/refresh` to the form of `acme`, at `/public` to a client without secret.
fn answer(request: &Received) -> Reply {
    let refused = |reason: &str| Reply::json(400, &json!({"error": "invalid_request", "error_description": reason}));
    let body = String::from_utf8_lossy(&request.body).into_owned();
    match request.target.as_str() {
        "/refresh" if request.header("x-acme-version") != "2" => refused("no version"),
        "/refresh" => match serde_json::from_str::<Value>(&body) {
            Ok(body) if body == json!({"app_id": "id", "refresh_token": "r1"}) => {
                Reply::json(200, &json!({"data": {"token": "t2", "refreshToken": "r2"}}))
            }
            _ => refused("other words"),
        },
        "/public" if body == "client_id=id&grant_type=refresh_token&refresh_token=r1" => {
            Reply::json(200, &json!({"access_token": "t2", "expires_in": 3600}))
        }
        "/me" => Reply::json(200, &json!({"authorization": request.header("authorization")})),
        _ => refused("nothing there"),
    }
}

async fn serving(provider: &str, app: Value) -> (Upstream, Server, Client) {
    let upstream = Upstream::handling(answer).await;
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&providers(&upstream.url()))
        .start();
    let client = server.client();
    let integration = json!({"unique_key": "it", "provider": provider, "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    let old = json!({
        "type": "OAUTH2", "access_token": "t1", "refresh_token": "r1", "expires_at": "2020-01-01T00:00:00Z",
    });
    let _ = client.import_connection("it", CONNECTION, old).await.ok();
    (upstream, server, client)
}

async fn shown(client: &Client) -> Value {
    let path = format!("/connections/{CONNECTION}?provider_config_key=it&refresh_token=true");
    client.get(&path).await.ok()["credentials"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_with_words_of_its_own_is_data() {
    let app = json!({"type": "OAUTH2", "client_id": "id", "client_secret": "secret"});
    let (_upstream, _server, client) = serving("acme", app).await;
    let me = client.proxy_get("it", CONNECTION, "/me").await.ok();
    assert_eq!(me["authorization"], "Bearer t2");
    let credentials = shown(&client).await;
    assert_eq!(
        (&credentials["access_token"], &credentials["refresh_token"]),
        (&json!("t2"), &json!("r2"))
    );
    // The answer did not say when the token ends.
    assert!(credentials["expires_at"].is_string(), "{credentials}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_client_needs_no_secret() {
    let (_upstream, _server, client) = serving("public", json!({"type": "OAUTH2", "client_id": "id"})).await;
    let me = client.proxy_get("it", CONNECTION, "/me").await.ok();
    assert_eq!(me["authorization"], "Bearer t2");
    assert_eq!(shown(&client).await["refresh_token"], "r1");
    // Of another provider it is an error that says so.
    let body = json!({"unique_key": "x", "provider": "acme", "credentials": {"type": "OAUTH2", "client_id": "id"}});
    let refused = client.post("/integrations", &body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("client_secret"), "{}", refused.text());
}
