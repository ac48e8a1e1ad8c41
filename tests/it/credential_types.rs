//! Every auth mode over REST: imported, shown as it was given, nowhere in clear in the database.

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::{Reply, TestRuntime, Upstream};
use serde_json::{Map, Value, json};

/// An auth mode, and credentials as they are imported. Values with `secret` in them are.
pub fn modes() -> Vec<(&'static str, Value)> {
    let at = "2030-01-01T00:00:00.000Z";
    vec![
        ("API_KEY", json!({"type": "API_KEY", "apiKey": "secret-01"})),
        (
            "APP",
            json!({"type": "APP", "access_token": "secret-02", "expires_at": at, "raw": {}}),
        ),
        (
            "AWS_SIGV4",
            json!({"type": "AWS_SIGV4", "region": "eu-west-1", "service": "s3", "access_key_id": "secret-03",
                "secret_access_key": "secret-04", "session_token": "secret-05", "expires_at": at, "raw": {}}),
        ),
        (
            "BASIC",
            json!({"type": "BASIC", "username": "user", "password": "secret-06"}),
        ),
        (
            "BILL",
            json!({"type": "BILL", "username": "user", "password": "secret-07", "organization_id": "o", "dev_key": "secret-08",
                "session_id": "secret-09", "expires_at": at}),
        ),
        ("CUSTOM", json!({"type": "APP", "access_token": "secret-10", "raw": {}})),
        (
            "INSTALL_PLUGIN",
            json!({"type": "BASIC", "username": "user", "password": "secret-11"}),
        ),
        (
            "JWT",
            json!({"type": "JWT", "privateKey": "secret-12", "token": "secret-13", "expires_at": at}),
        ),
        (
            "MCP_OAUTH2",
            json!({"type": "OAUTH2", "access_token": "secret-14", "raw": {}}),
        ),
        (
            "MCP_OAUTH2_GENERIC",
            json!({"type": "OAUTH2", "access_token": "secret-15", "raw": {}}),
        ),
        ("NONE", json!({})),
        (
            "OAUTH1",
            json!({"type": "OAUTH1", "oauth_token": "secret-16", "oauth_token_secret": "secret-17", "raw": {}}),
        ),
        (
            "OAUTH2",
            json!({"type": "OAUTH2", "access_token": "secret-18", "refresh_token": "secret-19", "expires_at": at,
                "raw": {"id": "secret-20"}}),
        ),
        (
            "OAUTH2_CC",
            json!({"type": "OAUTH2_CC", "token": "secret-21", "expires_at": at, "client_id": "id", "client_secret": "secret-22",
                "raw": {}}),
        ),
        (
            "SIGNATURE",
            json!({"type": "SIGNATURE", "username": "user", "password": "secret-23", "token": "secret-24", "expires_at": at}),
        ),
        (
            "TBA",
            json!({"type": "TBA", "token_id": "secret-25", "token_secret": "secret-26",
                "config_override": {"client_id": "id", "client_secret": "secret-27"}}),
        ),
        (
            "TWO_STEP",
            json!({"type": "TWO_STEP", "tenant": "secret-28", "token": "secret-29", "expires_at": at, "_cookies": "c=secret-30"}),
        ),
    ]
}

#[tokio::test]
async fn every_mode_is_imported_shown_used_and_sealed() {
    let upstream = Upstream::handling(|_| Reply::json(200, &json!({}))).await;
    let provider = |mode: &str| json!({"display_name": mode, "auth_mode": mode, "proxy": {"base_url": upstream.url()}});
    let providers: Map<String, Value> = modes()
        .iter()
        .map(|(mode, _)| ((*mode).to_owned(), provider(mode)))
        .collect();
    // JSON is YAML.
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&Value::Object(providers).to_string())
        .start();
    let client = server.client();
    for (mode, credentials) in modes() {
        let mut integration = json!({"unique_key": mode, "provider": mode});
        if mode == "OAUTH1" {
            integration["credentials"] = json!({"type": mode, "client_id": "id", "client_secret": "secret-31"});
        }
        let _ = client.post("/integrations", &integration).await.ok();
        let import = json!({"provider_config_key": mode, "connection_id": "c", "credentials": credentials,
            "connection_config": {"accountId": "1234567"}});
        let _ = client.post("/connections", &import).await.ok();
        let path = format!("/connections/c?provider_config_key={mode}&refresh_token=true");
        assert_eq!(client.get(&path).await.ok()["credentials"], credentials, "{mode}");
        let _ = client.proxy_get(mode, "c", &format!("/{mode}")).await.ok();
    }
    let sent: Vec<String> = upstream
        .received()
        .iter()
        .map(|request| {
            let shown = request.header("authorization").chars().take(16).collect::<String>();
            format!("{} {shown}", request.target)
        })
        .collect();
    let expected = [
        "/API_KEY ",
        "/APP Bearer secret-02",
        "/AWS_SIGV4 AWS4-HMAC-SHA256",
        "/BASIC Basic dXNlcjpzZW",
        "/BILL ",
        "/CUSTOM Bearer secret-10",
        "/INSTALL_PLUGIN Basic dXNlcjpzZW",
        "/JWT Bearer secret-13",
        "/MCP_OAUTH2 Bearer secret-14",
        "/MCP_OAUTH2_GENERIC Bearer secret-15",
        "/NONE ",
        "/OAUTH1 OAuth oauth_cons",
        "/OAUTH2 Bearer secret-18",
        "/OAUTH2_CC Bearer secret-21",
        "/SIGNATURE Bearer secret-24",
        "/TBA OAuth realm=\"123",
        "/TWO_STEP Bearer secret-29",
    ];
    assert_eq!(sent, expected);
    for file in std::fs::read_dir(server.data()).expect("the data folder can be read") {
        let path = file.expect("an entry can be read").path();
        if let Ok(bytes) = std::fs::read(&path) {
            let found = bytes.windows(7).any(|window| window == b"secret-");
            assert!(!found, "{} holds a secret", path.display());
        }
    }
}

#[tokio::test]
async fn the_old_form_of_an_import() {
    // GitHub is not there to be asked.
    let server = TestRuntime::new()
        .environment("NANGO_VERIFY_CONNECTIONS", "false")
        .start();
    let client = server.client();
    let _ = client.create_integration("github", "github").await.ok();
    let _ = client.create_integration("github-pat", "github-pat").await.ok();
    let token = json!({"provider_config_key": "github", "connection_id": "c", "access_token": "t", "no_expiration": true,
        "metadata": {"a": 1}});
    let made = client.post("/connection", &token).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()["credentials"]["access_token"], "t");
    assert_eq!(made.json()["metadata"], json!({"a": 1}));
    let key = json!({"provider_config_key": "github-pat", "connection_id": "c", "api_key": "k"});
    assert_eq!(
        client.post("/connection", &key).await.ok()["credentials"]["apiKey"],
        "k"
    );
    let wrong = json!({"provider_config_key": "github-pat", "connection_id": "c", "access_token": "t"});
    let wrong = client.post("/connection", &wrong).await;
    assert_eq!((wrong.status, wrong.error_code().as_str()), (400, "invalid_body"));
    let unknown = client
        .post("/connection", &json!({"provider_config_key": "nope"}))
        .await;
    assert_eq!(unknown.status, 404);
    let bare = send(
        client
            .request(Method::POST, "/connection")
            .header("content-type", "application/json")
            .body("{}"),
    )
    .await;
    assert_eq!(bare.status, 400);
}
