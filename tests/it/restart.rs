//! What is there is there again after a restart, and soon.

use std::time::{Duration, Instant};

use nango_runtime_tests::{Reply, TestRuntime, Upstream, guest};
use serde_json::json;

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

/// Generous: `make bench` measures the figure, this notices a start that compiles what is compiled already.
const START_MS_MAX: u128 = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_all_and_compiles_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let runtime = || TestRuntime::new().egress_loopback().data(folder.path());
    let (server, client) = prepared(runtime(), "http://127.0.0.1:9").await;
    for index in 0..20 {
        let integration = format!("integration-{index}");
        let _ = client.create_integration(&integration, "unauthenticated").await.ok();
        let _ = client.deploy(&integration, guest::component("basic")).await.ok();
    }
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    drop(server);

    let started = Instant::now();
    let server = runtime()
        .provider_yaml(&crate::fixture::providers("http://127.0.0.1:9"))
        .start();
    let health = server.client().get("/health").await;
    let took_ms = started.elapsed().as_millis();
    assert_eq!(health.snapshot(), json!({"status": 200, "body": {"result": "ok"}}));
    assert!(took_ms < START_MS_MAX, "{took_ms} ms until /health answered");
    let answer = server
        .client()
        .trigger_action(INTEGRATION, CONNECTION, "echo", json!({"n": 1}))
        .await;
    assert_eq!(answer.ok(), json!({"n": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_ends_in_order() {
    let mut server = TestRuntime::new().start();
    assert_eq!(server.client().get("/health").await.status, 200);
    server.process().signal("TERM");
    assert!(server.process().wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_answers_what_it_was_asked_before() {
    let late = Reply::status(200).body("late").after(Duration::from_millis(300));
    let upstream = Upstream::replying([late]).await;
    let (mut server, client) = prepared(TestRuntime::new().egress_loopback(), &upstream.url()).await;
    let asked = tokio::spawn(async move { client.proxy_get(INTEGRATION, CONNECTION, "/late").await });
    while upstream.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.process().signal("TERM");
    assert_eq!(asked.await.expect("the request ends").text(), "late");
    assert!(server.process().wait().success());
}
