//! Connect sessions: what their tokens open, and what they do not.

use http::Method;
use nango_runtime_tests::client::{json_body, send};
use nango_runtime_tests::{Answer, Client, Server, TestRuntime};
use serde_json::{Value, json};

use crate::fixture::providers;

const UNKNOWN: &str = "nango_connect_session_0000000000000000000000000000000000000000000000000000000000000000";

/// A server with the integrations `bearer` and `basic`.
async fn serving() -> (Server, Client) {
    let server = TestRuntime::new()
        .provider_yaml(&providers("http://127.0.0.1:9"))
        .start();
    let client = server.client();
    for name in ["bearer", "basic"] {
        let _ = client.create_integration(name, name).await.ok();
    }
    (server, client)
}

async fn open(client: &Client, body: Value) -> String {
    let opened = client.post("/connect/sessions", &body).await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    let data = opened.json()["data"].clone();
    data["token"].as_str().expect("a token").to_owned()
}

/// As a browser with the session would connect with an API key.
async fn connect(client: &Client, token: &str, integration: &str, more: &str) -> Answer {
    let path = format!("/api-auth/api-key/{integration}?connect_session_token={token}{more}");
    let request = client.with_key(None).request(Method::POST, &path);
    send(json_body(request, &json!({"apiKey": "typed-by-a-user"}))).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (status, code),
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_from_its_opening_to_its_end() {
    let (_server, client) = serving().await;
    let body = json!({
        "end_user": {"id": "u1", "email": "a@b.co", "display_name": "Ann", "tags": {"team": "x"}},
        "organization": {"id": "o1", "display_name": "Org"},
        "allowed_integrations": ["bearer"],
        "integrations_config_defaults": {"bearer": {"user_scopes": "a,b", "connection_config": {"appSecret": "hidden-default"}}},
        "overrides": {"bearer": {"docs_connect": "https://docs.test"}},
    });
    let opened = client.post("/connect/sessions", &body).await;
    assert_eq!(opened.status, 201);
    let data = opened.json()["data"].clone();
    let token = data["token"].as_str().expect("a token");
    let link = format!("{}/connect?session_token={token}", client.base_url());
    assert_eq!(data["connect_link"], link);
    assert!(
        data["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{data}"
    );

    let browser = client.with_key(Some(token));
    let mut shown = browser.get("/connect/session").await.ok();
    // It is another one on each server.
    assert_eq!(shown["data"]["external_id"].take().as_str().map(str::len), Some(36));
    insta::assert_json_snapshot!(shown, @r##"
    {
      "data": {
        "allowed_integrations": [
          "bearer"
        ],
        "connectUISettings": {
          "defaultTheme": "system",
          "showWatermark": false,
          "theme": {
            "dark": {
              "primary": "#9db6ff"
            },
            "light": {
              "primary": "#1f4fd8"
            }
          }
        },
        "endUser": {
          "display_name": "Ann",
          "email": "a@b.co",
          "id": "u1",
          "organization": {
            "display_name": "Org",
            "id": "o1"
          },
          "tags": {
            "team": "x"
          }
        },
        "external_id": null,
        "integrations_config_defaults": {
          "bearer": {
            "connection_config": {
              "appSecret": "***"
            },
            "user_scopes": "a,b"
          }
        },
        "overrides": {
          "bearer": {
            "docs_connect": "https://docs.test"
          }
        }
      }
    }
    "##);
    let listed = browser.get("/integrations").await.ok();
    let keys: Vec<&Value> = listed["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["unique_key"])
        .collect();
    assert_eq!(keys, ["bearer"]);
    assert_eq!(
        browser.get("/providers/bearer").await.ok()["data"]["auth_mode"],
        "API_KEY"
    );
    refused(&browser.get("/providers/basic").await, 404, "not_found");
    refused(&browser.get("/providers/github").await, 404, "not_found");

    assert_eq!(browser.delete("/connect/session").await.status, 204);
    refused(
        &browser.get("/connect/session").await,
        401,
        "unknown_connect_session_token",
    );
    refused(
        &connect(&client, token, "bearer", "").await,
        401,
        "unknown_connect_session_token",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_begins_with_the_public_url() {
    let server = TestRuntime::new()
        .argument("--public-url")
        .argument("https://connect.example.com/nango/")
        .start();
    let request = server.client().request(Method::POST, "/connect/sessions");
    let request = request
        .header("host", "evil.test")
        .header("x-forwarded-host", "evil.test");
    let opened = send(json_body(request, &json!({"tags": {}}))).await;
    let link = opened.json()["data"]["connect_link"]
        .as_str()
        .expect("a link")
        .to_owned();
    assert!(
        link.starts_with("https://connect.example.com/nango/connect?session_token=nango_connect_session_"),
        "{link}"
    );
    let (code, text) = TestRuntime::new()
        .argument("--public-url")
        .argument("example.com")
        .fail();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("public_url"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_token_opens_nothing_else() {
    let (_server, client) = serving().await;
    let token = open(&client, json!({"tags": {"a": "b"}})).await;
    let browser = client.with_key(Some(&token));
    let document = client.get("/openapi.json").await.ok();
    let mut refusals = 0;
    for (path, item) in document["paths"].as_object().expect("a document has paths") {
        for (method, operation) in item.as_object().expect("a path is an object") {
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).expect("it is a method");
            let filled = path.replace(['{', '}'], "");
            let security = operation["security"].to_string();
            let takes_session = security.contains("connect_session");
            if takes_session || security == "null" || security == "[{}]" {
                continue;
            }
            let answer = browser.json(method.clone(), &filled, &json!({})).await;
            assert_eq!(answer.status, 401, "{method} {filled}: {}", answer.text());
            // The path to the query is no way round either.
            let in_query = format!("{filled}?connect_session_token={token}");
            let answer = client.with_key(None).json(method.clone(), &in_query, &json!({})).await;
            assert_eq!(answer.status, 401, "{method} {in_query}");
            refusals += 1;
        }
    }
    assert!(refusals > 30, "{refusals}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_none() {
    let (_server, client) = serving().await;
    let open_path = "/connect/session";
    // A key is no token, and the other way round.
    refused(
        &client.get(open_path).await,
        401,
        "invalid_connect_session_token_format",
    );
    refused(&client.with_key(None).get(open_path).await, 401, "missing_auth_header");
    let unknown = client.with_key(Some(UNKNOWN));
    refused(&unknown.get(open_path).await, 401, "unknown_connect_session_token");
    refused(
        &unknown.get("/integrations").await,
        401,
        "unknown_connect_session_token",
    );
    let malformed = client.with_key(Some("nango_connect_session_xyz"));
    refused(
        &malformed.get("/integrations").await,
        401,
        "invalid_connect_session_token_format",
    );
    refused(
        &connect(&client, UNKNOWN, "bearer", "").await,
        401,
        "unknown_connect_session_token",
    );
    let key = client.key().unwrap_or_default();
    refused(
        &connect(&client, key, "bearer", "").await,
        401,
        "invalid_connect_session_token_format",
    );
    let public = client
        .with_key(None)
        .post("/api-auth/api-key/bearer?public_key=x", &json!({"apiKey": "k"}))
        .await;
    refused(&public, 401, "invalid_public_key");
    assert!(public.text().contains("connect session"), "{}", public.text());
    // The key itself opens no way for browsers.
    let keyed = client.post("/api-auth/api-key/bearer", &json!({"apiKey": "k"})).await;
    refused(&keyed, 401, "missing_public_key");
    assert_eq!(client.get("/connections").await.ok()["connections"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_for_its_integrations_and_its_connection() {
    let (_server, client) = serving().await;
    let token = open(&client, json!({"tags": {}, "allowed_integrations": ["basic"]})).await;
    refused(
        &connect(&client, &token, "bearer", "").await,
        400,
        "integration_not_allowed",
    );
    refused(
        &connect(&client, &token, "nope", "").await,
        400,
        "integration_not_allowed",
    );
    refused(&connect(&client, &token, "basic", "").await, 400, "invalid_auth_mode");
    let all = open(&client, json!({"tags": {}})).await;
    refused(
        &connect(&client, &all, "nope", "").await,
        404,
        "unknown_provider_config",
    );
    refused(
        &connect(&client, &all, "bearer", "&connection_id=mine").await,
        400,
        "invalid_query_params",
    );

    let made = connect(&client, &all, "bearer", "").await.ok();
    let id = made["connectionId"].as_str().expect("an id");
    assert_eq!(made, json!({"connectionId": id, "providerConfigKey": "bearer"}));
    let body = json!({"connection_id": id, "integration_id": "bearer"});
    let reopened = client.post("/connect/sessions/reconnect", &body).await;
    assert_eq!(reopened.status, 201);
    let reopened = reopened.json()["data"]["token"].as_str().expect("a token").to_owned();
    let shown = client.with_key(Some(&reopened)).get("/connect/session").await.ok();
    assert_eq!(shown["data"]["isReconnecting"], true);
    refused(
        &connect(&client, &reopened, "basic", "").await,
        400,
        "integration_not_allowed",
    );
    assert_eq!(
        connect(&client, &reopened, "bearer", "").await.ok()["connectionId"],
        *id
    );
    let path = format!("/connections/{id}?provider_config_key=bearer");
    assert_eq!(client.delete(&path).await.status, 200);
    refused(
        &connect(&client, &reopened, "bearer", "").await,
        400,
        "invalid_connection",
    );
    assert_eq!(client.get("/connections").await.ok()["connections"], json!([]));
    let unknown = client.post("/connect/sessions/reconnect", &body).await;
    refused(&unknown, 400, "invalid_body");
    assert!(
        unknown.text().contains(r#""path":["connection_id"]"#),
        "{}",
        unknown.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_opens_no_session_beyond_its_limits() {
    let (_server, client) = serving().await;
    let limited = |limits: Value| {
        let client = client.clone();
        async move {
            let body = json!({"name": "n", "scopes": ["environment:connect_sessions:write"], "limits": limits});
            let made = client.post("/api-keys", &body).await.ok();
            client.with_key(made["data"]["key"].as_str())
        }
    };
    for connection in ["c1", "c2"] {
        let credentials = json!({"type": "API_KEY", "apiKey": "k"});
        let _ = client.import_connection("bearer", connection, credentials).await.ok();
    }
    let session = |allowed: Value| json!({"tags": {}, "allowed_integrations": allowed});
    let reconnect = |id: &str| json!({"connection_id": id, "integration_id": "bearer"});

    let free = limited(Value::Null).await;
    assert_eq!(free.post("/connect/sessions", &session(Value::Null)).await.status, 201);
    let one = limited(json!({"integrations": ["bearer"]})).await;
    assert_eq!(
        one.post("/connect/sessions", &session(json!(["bearer"]))).await.status,
        201
    );
    for allowed in [Value::Null, json!(["basic"]), json!(["bearer", "basic"])] {
        refused(
            &one.post("/connect/sessions", &session(allowed)).await,
            403,
            "forbidden",
        );
    }
    assert_eq!(
        one.post("/connect/sessions/reconnect", &reconnect("c1")).await.status,
        201
    );

    let connection = limited(json!({"connections": ["c1"]})).await;
    for allowed in [Value::Null, json!(["bearer"])] {
        refused(
            &connection.post("/connect/sessions", &session(allowed)).await,
            403,
            "forbidden",
        );
    }
    assert_eq!(
        connection
            .post("/connect/sessions/reconnect", &reconnect("c1"))
            .await
            .status,
        201
    );
    refused(
        &connection.post("/connect/sessions/reconnect", &reconnect("c2")).await,
        403,
        "forbidden",
    );
    let other = limited(json!({"integrations": ["basic"]})).await;
    refused(
        &other.post("/connect/sessions/reconnect", &reconnect("c1")).await,
        403,
        "forbidden",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_outlive_a_restart() {
    let folder = tempfile::TempDir::with_prefix("nango-runtime-test-").expect("a temporary folder can be made");
    let token = {
        let mut server = TestRuntime::new().data(folder.path()).start();
        let token = open(&server.client(), json!({"tags": {}})).await;
        server.process().signal("TERM");
        let _ = server.process().wait();
        token
    };
    let server = TestRuntime::new().data(folder.path()).start();
    let browser = server.client().with_key(Some(&token));
    assert_eq!(browser.get("/connect/session").await.status, 200);
}
