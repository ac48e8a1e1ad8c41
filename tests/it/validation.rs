//! What functions take and give must fit what they declare.

use nango_runtime_tests::{Client, TestRuntime, guest};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared, with_guest};

const SYNC: &str = "bounded-records";

async fn run(client: &Client, metadata: Value) -> Value {
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    client.run_sync(INTEGRATION, CONNECTION, SYNC).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_does_not_fit_is_refused_with_the_place_of_the_fault() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let trigger = async |n: u64| {
        client
            .trigger_action(INTEGRATION, CONNECTION, "bounded-output", json!(n))
            .await
    };
    assert_eq!(trigger(10).await.ok(), json!({"n": 10}));
    let refused = trigger(11).await;
    assert_eq!(
        (refused.status, refused.error_code()),
        (400, "invalid_action_output".into())
    );
    assert_eq!(
        refused.json()["error"]["payload"],
        json!([{"message": "/n: 11 is greater than the maximum of 10"}]),
        "{}",
        refused.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_checkpoints_and_metadata_that_do_not_fit_end_the_sync() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let stored = async || {
        let page = client.records(INTEGRATION, CONNECTION, "Small", "").await.ok();
        page["records"].as_array().map_or(0, Vec::len)
    };

    let status = run(&client, json!({"save": 11})).await;
    assert_eq!(status["latestExecutionStatus"], "ERROR", "{status}");
    assert_eq!(stored().await, 0, "the whole batch is refused");
    fails_with(
        &client,
        "invalid_sync_record",
        "/1/n: 11 is greater than the maximum of 10",
    )
    .await;

    let status = run(&client, json!({"update": 12})).await;
    assert_eq!(status["latestExecutionStatus"], "ERROR", "{status}");
    assert_eq!(stored().await, 2);
    fails_with(
        &client,
        "invalid_sync_record",
        "/0/n: 12 is greater than the maximum of 10",
    )
    .await;

    let status = run(&client, json!({"page": 13})).await;
    assert_eq!(
        (&status["latestExecutionStatus"], &status["checkpoint"]),
        (&json!("ERROR"), &Value::Null)
    );
    fails_with(
        &client,
        "invalid_checkpoint",
        "/page: 13 is greater than the maximum of 10",
    )
    .await;

    let status = run(&client, json!({"save": 1001})).await;
    assert_eq!(status["latestExecutionStatus"], "ERROR", "{status}");
    fails_with(
        &client,
        "invalid_metadata",
        "/save: 1001 is greater than the maximum of 1000",
    )
    .await;

    let status = run(&client, json!({"save": 10, "update": 10, "page": 10})).await;
    assert_eq!(
        (&status["latestExecutionStatus"], &status["checkpoint"]),
        (&json!("SUCCESS"), &json!({"page": 10}))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_checked_when_it_is_switched_off() {
    let runtime = TestRuntime::new().environment("NANGO_VALIDATION", "off");
    let (_server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let output = client
        .trigger_action(INTEGRATION, CONNECTION, "bounded-output", json!(11))
        .await;
    assert_eq!(output.ok(), json!({"n": 11}));
    let status = run(&client, json!({"save": 2000, "update": 12, "page": 13})).await;
    assert_eq!(
        (&status["latestExecutionStatus"], &status["checkpoint"]),
        (&json!("SUCCESS"), &json!({"page": 13}))
    );
}

/// The last run's operation says so.
async fn fails_with(client: &Client, code: &str, place: &str) {
    let text = client.logs().await;
    assert!(
        text.contains(code) && text.contains(place),
        "{code} at {place} is not in {text}"
    );
}
