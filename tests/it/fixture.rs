//! Servers with something in them, as most tests need them.

use nango_runtime_tests::{Client, Server, TestRuntime, guest};
use serde_json::{Value, json};

/// The connection of [`with_guest`] and [`with_upstream`].
pub const CONNECTION: &str = "conn-1";
/// Their integration.
pub const INTEGRATION: &str = "upstream";
/// The API key that the host injects for that connection.
pub const API_KEY: &str = "upstream-api-key-7f3a";

/// A catalogue entry for each auth mode, all with the same base URL: `bearer`, `header-key`, `query-key`, `basic`, `oauth`
/// and `open`.
pub fn providers(base_url: &str) -> String {
    format!(
        r#"
bearer:
  display_name: Bearer
  auth_mode: API_KEY
  proxy:
    base_url: {base_url}
    headers:
      authorization: Bearer ${{apiKey}}
header-key:
  display_name: Key in a header
  auth_mode: API_KEY
  proxy:
    base_url: {base_url}
    headers:
      x-api-key: ${{apiKey}}
query-key:
  display_name: Key in the query
  auth_mode: API_KEY
  proxy:
    base_url: {base_url}
    query:
      api_key: ${{apiKey}}
basic:
  display_name: Basic
  auth_mode: BASIC
  proxy:
    base_url: {base_url}
oauth:
  display_name: OAuth
  auth_mode: OAUTH2
  authorization_url: {base_url}/authorize
  token_url: {base_url}/token
  proxy:
    base_url: {base_url}
open:
  display_name: No authentication
  auth_mode: NONE
  proxy:
    base_url: {base_url}
"#
    )
}

/// A private key and its public key, made by openssl for these tests.
pub const SIGNING_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIH41MgJqe8i1+64TNkcSQRk2QqPFmz0FP3z4Dnial1LD\n-----END PRIVATE KEY-----\n";
pub const DEPLOY_KEY: &str = "MCowBQYDK2VwAyEAiVdvqGNxzOYnbiLh/1ucFVtSN1jOmLXxXOoJcScrH3A=";

/// A server with all of [`providers`] as integrations of the same names, each with the connection [`CONNECTION`].
pub async fn with_providers(base_url: &str) -> (Server, Client) {
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&providers(base_url))
        .start();
    let client = server.client();
    let credentials: [(&str, Value); 6] = [
        ("bearer", json!({"type": "API_KEY", "apiKey": API_KEY})),
        ("header-key", json!({"type": "API_KEY", "apiKey": API_KEY})),
        ("query-key", json!({"type": "API_KEY", "apiKey": API_KEY})),
        (
            "basic",
            json!({"type": "BASIC", "username": "user", "password": "pass word"}),
        ),
        (
            "oauth",
            json!({"type": "OAUTH2", "access_token": "oauth-access-token-41c9"}),
        ),
        ("open", json!({"type": "NONE"})),
    ];
    for (name, credentials) in credentials {
        let _ = client.create_integration(name, name).await.ok();
        let _ = client.import_connection(name, CONNECTION, credentials).await.ok();
    }
    (server, client)
}

/// A server whose integration [`INTEGRATION`] reaches `base_url` with [`API_KEY`] as bearer token.
pub async fn with_upstream(base_url: &str) -> (Server, Client) {
    prepared(TestRuntime::new().egress_loopback(), base_url).await
}

/// The same, started as the caller likes.
pub async fn prepared(runtime: TestRuntime, base_url: &str) -> (Server, Client) {
    let server = runtime.provider_yaml(&providers(base_url)).start();
    let client = server.client();
    let _ = client.create_integration(INTEGRATION, "bearer").await.ok();
    let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
    let _ = client
        .import_connection(INTEGRATION, CONNECTION, credentials)
        .await
        .ok();
    (server, client)
}

/// [`with_upstream`] with a guest deployed to it.
pub async fn with_guest(name: &str, base_url: &str) -> (Server, Client) {
    let (server, client) = with_upstream(base_url).await;
    let _ = client.deploy(INTEGRATION, guest::component(name)).await.ok();
    (server, client)
}
