//! Limits that an operator sets, at their edges.

use nango_runtime_tests::{Reply, TestRuntime, Upstream, guest};
use serde_json::json;

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

#[tokio::test]
async fn an_answer_that_is_too_large_for_a_function() {
    let upstream = Upstream::replying([Reply::status(200).body(vec![b'x'; 1 << 16]).repeat(64)]).await;
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_RESPONSE_BODY_BYTES", "1000000");
    let (_server, client) = prepared(runtime, &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", json!({"path": "/large"}))
        .await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(
        answer.text().contains("1000000"),
        "the limit is named: {}",
        answer.text()
    );
    // The proxy streams: the same answer goes through.
    assert_eq!(
        client.proxy_get(INTEGRATION, CONNECTION, "/large").await.body.len(),
        64 << 16
    );
}

#[tokio::test]
async fn a_component_that_is_too_large() {
    let component = guest::component("basic");
    let limit = (component.len() - 1).to_string();
    let runtime = TestRuntime::new().environment("NANGO_LIMITS_COMPONENT_BYTES", &limit);
    let (_server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let answer = client.deploy(INTEGRATION, component).await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains(&limit), "the limit is named: {}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn more_runs_than_places_wait() {
    let runtime = TestRuntime::new().environment("NANGO_LIMITS_CONCURRENT_RUNS", "1");
    let (_server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let runs = (0..20).map(|n| {
        let client = client.clone();
        tokio::spawn(async move {
            client
                .trigger_action(INTEGRATION, CONNECTION, "echo", json!(n))
                .await
                .ok()
        })
    });
    for (n, run) in runs.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(run.await.expect("the request ends"), json!(n));
    }
}

#[tokio::test]
async fn queries_out_of_bounds() {
    let (_server, client) = prepared(TestRuntime::new(), "http://127.0.0.1:9").await;
    for query in [
        "&limit=0",
        "&limit=10001",
        "&limit=x",
        "&filter=sometimes",
        "&cursor=",
        "&unknown=1",
    ] {
        let answer = client.records(INTEGRATION, CONNECTION, "Item", query).await;
        assert_eq!(
            (answer.status, answer.error_code()),
            (400, "invalid_query_params".into()),
            "{query}"
        );
    }
    let answer = client.records(INTEGRATION, CONNECTION, "lower", "").await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (400, "invalid_query_params".into())
    );
}
