//! Bad input gets a clear answer and changes nothing.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use nango_runtime_tests::client::{for_connection, send};
use nango_runtime_tests::upstream::{closed_port, resetting};
use nango_runtime_tests::{Reply, TestRuntime, Upstream, guest};
use serde_json::json;

use crate::fixture::{CONNECTION, INTEGRATION, prepared, providers, with_guest, with_upstream};

#[tokio::test]
async fn keys() {
    let server = TestRuntime::new().start();
    let client = server.client();
    let without = client.with_key(None).get("/connections").await;
    insta::assert_json_snapshot!(without.snapshot(), @r#"
    {
      "body": {
        "error": {
          "code": "missing_auth_header",
          "message": "Authentication failed. The request has no Authorization header.",
          "payload": {}
        }
      },
      "status": 401
    }
    "#);
    let basic = client
        .with_key(None)
        .request(Method::GET, "/connections")
        .header("authorization", "Basic eDp5");
    assert_eq!((send(basic).await.status, "malformed"), (401, "malformed"));
    let no_uuid = client.with_key(Some("foo")).get("/connections").await;
    assert_eq!(
        (no_uuid.status, no_uuid.error_code()),
        (401, "invalid_secret_key_format".into())
    );
    let unknown = client
        .with_key(Some("11111111-1111-4111-8111-111111111111"))
        .get("/connections")
        .await;
    assert_eq!((unknown.status, unknown.error_code()), (401, "unknown_account".into()));
    assert_eq!(client.get("/connections").await.status, 200);
}

#[tokio::test]
async fn each_route_wants_a_key() {
    let server = TestRuntime::new().start();
    let client = server.client().with_key(None);
    let routes = [
        (Method::GET, "/proxy/x"),
        (Method::POST, "/action/trigger"),
        (Method::POST, "/sync/trigger"),
        (Method::GET, "/sync/status"),
        (Method::POST, "/sync/start"),
        (Method::POST, "/sync/pause"),
        (Method::POST, "/sync/cancel"),
        (Method::PUT, "/sync/update-connection-frequency"),
        (Method::POST, "/sync/x/variant/y"),
        (Method::DELETE, "/sync/x/variant/y"),
        (Method::GET, "/records"),
        (Method::GET, "/records/"),
        (Method::GET, "/connections"),
        (Method::POST, "/connections"),
        (Method::GET, "/connections/x"),
        (Method::DELETE, "/connections/x"),
        (Method::POST, "/connections/purge"),
        (Method::POST, "/connections/metadata"),
        (Method::PATCH, "/connections/metadata"),
        (Method::GET, "/integrations"),
        (Method::POST, "/integrations"),
        (Method::GET, "/integrations/x"),
        (Method::PATCH, "/integrations/x"),
        (Method::DELETE, "/integrations/x"),
        (Method::POST, "/integrations/x/functions"),
        (Method::GET, "/providers"),
    ];
    for (method, path) in routes {
        let answer = send(client.request(method.clone(), path)).await;
        assert_eq!(
            (answer.status, answer.error_code()),
            (401, "missing_auth_header".into()),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn unknown_names() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let check = |answer: nango_runtime_tests::Answer, status: u16, code: &str| {
        assert_eq!(
            (answer.status, answer.error_code()),
            (status, code.to_owned()),
            "{}",
            answer.text()
        );
    };
    check(
        client.proxy_get("nope", CONNECTION, "/x").await,
        404,
        "unknown_provider_config",
    );
    check(client.proxy_get(INTEGRATION, "nope", "/x").await, 400, "server_error");
    check(
        client.trigger_action("nope", CONNECTION, "noop", json!({})).await,
        400,
        "unknown_provider",
    );
    check(
        client.trigger_action(INTEGRATION, "nope", "noop", json!({})).await,
        400,
        "unknown_connection",
    );
    check(
        client.trigger_action(INTEGRATION, CONNECTION, "nope", json!({})).await,
        404,
        "not_found",
    );
    check(
        client.trigger_sync("nope", CONNECTION, "x").await,
        400,
        "unknown_provider_config",
    );
    check(
        client.trigger_sync(INTEGRATION, "nope", "x").await,
        404,
        "unknown_connection",
    );
    check(
        client.trigger_sync(INTEGRATION, CONNECTION, "nope").await,
        400,
        "no_syncs_found",
    );
    check(client.get("/integrations/nope").await, 404, "not_found");
    check(client.get("/providers/nope").await, 404, "not_found");
    check(
        client
            .get(&format!("/connections/nope?provider_config_key={INTEGRATION}"))
            .await,
        404,
        "not_found",
    );
    check(
        client.get("/connections/nope?provider_config_key=nope").await,
        400,
        "unknown_provider_config",
    );
    let delete = client
        .delete(&format!("/connections/nope?provider_config_key={INTEGRATION}"))
        .await;
    check(delete, 400, "unknown_connection");
    check(
        client.records(INTEGRATION, "nope", "Item", "").await,
        400,
        "unknown_connection",
    );
    check(client.create_integration("x", "nope").await, 400, "invalid_body");
    check(
        client.create_integration(INTEGRATION, "bearer").await,
        400,
        "invalid_body",
    );
    check(
        client.import_connection("nope", "x", json!({"type": "NONE"})).await,
        404,
        "not_found",
    );
    check(
        client
            .import_connection(INTEGRATION, "x", json!({"type": "BASIC"}))
            .await,
        400,
        "invalid_body",
    );
    check(client.deploy("nope", guest::component("basic")).await, 404, "not_found");
    assert_eq!(client.get("/no/such/route").await.status, 404);
}

#[tokio::test]
async fn missing_headers() {
    let (_server, client) = with_upstream("http://127.0.0.1:9").await;
    let without = client.get("/proxy/x").await;
    assert_eq!((without.status, without.error_code()), (400, "invalid_headers".into()));
    let paths: Vec<_> = without.json()["error"]["errors"].as_array().expect("a list").clone();
    assert_eq!(paths.len(), 2, "both headers are named: {}", without.text());
    for path in ["/records?model=Item", "/records/?model=Item"] {
        let answer = client.get(path).await;
        assert_eq!(
            (answer.status, answer.error_code()),
            (400, "invalid_headers".into()),
            "{path}"
        );
    }
    let action = client.post("/action/trigger", &json!({"action_name": "x"})).await;
    assert_eq!(action.status, 400, "{}", action.text());
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    let (_server, client) = with_upstream("http://127.0.0.1:9").await;
    for path in [
        "/action/trigger",
        "/sync/trigger",
        "/connections",
        "/connections/metadata",
        "/integrations",
    ] {
        for body in ["{", "nonsense", "\u{feff}{}", "[1,", "\"text\""] {
            let request = for_connection(client.request(Method::POST, path), INTEGRATION, CONNECTION);
            let answer = send(request.header("content-type", "application/json").body(body)).await;
            assert_eq!(answer.status, 400, "{path} {body}: {}", answer.text());
            assert!(!answer.error_code().is_empty(), "{path} {body}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_body_that_is_too_large() {
    let runtime = TestRuntime::new().environment("NANGO_LIMITS_REQUEST_BODY_BYTES", "100000");
    let (_server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let body = json!({"action_name": "x", "input": "x".repeat(200_000)});
    let answer = client.trigger_action(INTEGRATION, CONNECTION, "x", body).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
}

#[tokio::test]
async fn components_that_are_none() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let functions = format!("/integrations/{INTEGRATION}/functions");
    let before = client.get(&functions).await.ok();
    let refused = async |bytes: &[u8]| {
        let answer = client.deploy(INTEGRATION, bytes.to_vec()).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        answer.json()["error"]["message"]
            .as_str()
            .expect("a message")
            .to_owned()
    };
    let core = refused(&guest::from_text("core-module")).await;
    assert!(core.contains("core WebAssembly module"), "{core}");
    let random = refused(b"this is a text, and not short at all").await;
    assert!(random.contains("WebAssembly"), "{random}");
    assert!(!refused(b"").await.is_empty());
    assert!(!refused(&guest::from_text("empty")).await.is_empty());
    let whole = guest::component("basic");
    assert!(!refused(&whole[..whole.len() / 2]).await.is_empty());
    assert_eq!(client.get(&functions).await.ok(), before, "nothing changed");
}

#[tokio::test]
async fn a_component_with_foreign_imports() {
    let (_server, client) = with_upstream("http://127.0.0.1:9").await;
    let answer = client.deploy(INTEGRATION, guest::from_text("foreign")).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.text().contains("acme:thing/keys"),
        "the import is named: {}",
        answer.text()
    );
}

#[tokio::test]
async fn an_upstream_that_is_down_or_resets() {
    let (_server, client) = with_upstream(&format!("http://127.0.0.1:{}", closed_port())).await;
    let down = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert_eq!(
        (down.status, &down.json()["code"]),
        (500, &json!("ECONNREFUSED")),
        "{}",
        down.text()
    );
    assert_eq!(down.json()["method"], "get");

    let (_server, client) = with_upstream(&resetting().await).await;
    let reset = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert_eq!(
        (reset.status, &reset.json()["code"]),
        (500, &json!("ECONNRESET")),
        "{}",
        reset.text()
    );
}

#[tokio::test]
async fn an_upstream_that_is_slow() {
    let upstream = Upstream::replying([Reply::status(200).after(Duration::from_secs(600))]).await;
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_PROXY_FIRST_BYTE_TIMEOUT_MS", "200");
    let (_server, client) = prepared(runtime, &upstream.url()).await;
    let slow = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert_eq!(
        (slow.status, &slow.json()["code"]),
        (500, &json!("ETIMEDOUT")),
        "{}",
        slow.text()
    );
}

/// Starts a server that must refuse to: gives what it says.
#[track_caller]
fn refusal(runtime: TestRuntime, code: i32) -> String {
    let (ended, stderr) = runtime.fail();
    assert_eq!(ended, Some(code), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

#[test]
fn a_data_folder_that_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // Permissions mean nothing to root; what lies below a file nobody can make.
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file can be written");
    let stderr = refusal(TestRuntime::new().data(&file.join("data")), 1);
    assert!(
        stderr.contains(&*file.to_string_lossy()),
        "the folder is named: {stderr}"
    );
    let stderr = refusal(TestRuntime::new().data(Path::new("/proc/nango-runtime")), 1);
    assert!(stderr.contains("/proc/nango-runtime"), "the folder is named: {stderr}");
}

#[test]
fn a_data_folder_in_use() {
    let server = TestRuntime::new().start();
    let stderr = refusal(TestRuntime::new().data(server.data()), 1);
    assert!(stderr.contains("in use by another nango-runtime"), "{stderr}");
    assert!(
        stderr.contains(&*server.data().to_string_lossy()),
        "the folder is named: {stderr}"
    );
}

#[tokio::test]
async fn a_wrong_encryption_key() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let keyed = |byte: u8| {
        let key = BASE64.encode([byte; 32]);
        let runtime = TestRuntime::new().egress_loopback().data(folder.path());
        runtime
            .provider_yaml(&providers("http://127.0.0.1:9"))
            .environment("NANGO_ENCRYPTION_KEY", &key)
    };
    drop(prepared(keyed(1), "http://127.0.0.1:9").await);
    let stderr = refusal(keyed(2), 1);
    assert!(stderr.contains("encryption key"), "{stderr}");
    let server = keyed(1).start();
    let path = format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}");
    assert_eq!(
        server.client().get(&path).await.status,
        200,
        "the right key still opens it"
    );
}

#[test]
fn an_encryption_key_that_is_none() {
    let stderr = refusal(TestRuntime::new().environment("NANGO_ENCRYPTION_KEY", "c2hvcnQ="), 2);
    assert!(
        stderr.contains("encryption_key") && stderr.contains("32 bytes"),
        "{stderr}"
    );
    assert!(!stderr.contains("c2hvcnQ="), "the key is not repeated: {stderr}");
}

#[test]
fn a_port_in_use() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address")
        .to_string();
    let (command, args) = ("serve", ["--listen", &address]);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let data = folder.path().join("data");
    let data = data.to_string_lossy();
    let ended = nango_runtime_tests::command::Cli::new(&[command, args[0], args[1], "--data", &data]).run();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains(&format!("cannot listen on {address}")),
        "{}",
        ended.stderr
    );
}

#[test]
fn settings_that_are_none() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "lissten = \"127.0.0.1:1\"\n").expect("a file can be written");
    let stderr = refusal(TestRuntime::new().argument("--config").argument(&file), 2);
    assert!(
        stderr.contains("unknown setting `lissten`") && stderr.contains("did you mean `listen`"),
        "{stderr}"
    );
    let stderr = refusal(
        TestRuntime::new().environment("NANGO_LIMITS_CONCURRENT_RUNS", "many"),
        2,
    );
    assert!(stderr.contains("limits.concurrent_runs"), "{stderr}");
    let stderr = refusal(TestRuntime::new().argument("--egress-allow").argument("everything"), 2);
    assert!(stderr.contains("--egress-allow"), "{stderr}");
}
