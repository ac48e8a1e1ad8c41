//! Passes that tell which records are gone, and runs that leave alone what others changed, through a guest over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Client, Reply, Upstream};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, with_guest};

async fn wish(client: &Client, metadata: Value) {
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
}

async fn run(client: &Client, metadata: Value) -> Value {
    wish(client, metadata).await;
    client.run_sync(INTEGRATION, CONNECTION, "all-things").await
}

/// Ids of records that are not deleted.
async fn ids(client: &Client, query: &str) -> Vec<String> {
    let records = client.records(INTEGRATION, CONNECTION, "Thing", query).await.ok();
    let records = records["records"].as_array().expect("records").iter();
    let mut ids: Vec<String> = records
        .map(|record| record["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_whole_pass_has_not_seen_is_deleted_at_its_end() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let first = run(&client, json!({"things": ["a", "b", "c", "d", "e"]})).await;
    let counts = |status: &Value| status["latestResult"]["Thing"].clone();
    assert_eq!(
        counts(&first),
        json!({"added": 5, "updated": 0, "deleted": 0}),
        "{first}"
    );
    let logs = client.logs().await;
    assert!(
        logs.contains("ended twice: ") && logs.contains("track_deletes_not_started"),
        "{logs}"
    );

    // The pass goes on in the next run, which sees only the second page.
    let failed = run(&client, json!({"things": ["a", "b", "e", "f"], "fail_at_page": 1})).await;
    assert_eq!(failed["latestExecutionStatus"], "ERROR", "{failed}");
    assert_eq!(ids(&client, "&filter=added,updated").await, ["a", "b", "c", "d", "e"]);
    let ended = run(&client, json!({"things": ["a", "b", "e", "f"]})).await;
    assert_eq!(
        counts(&ended),
        json!({"added": 1, "updated": 0, "deleted": 2}),
        "{ended}"
    );
    assert_eq!(ids(&client, "&filter=added,updated").await, ["a", "b", "e", "f"]);
    assert_eq!(ids(&client, "&filter=deleted").await, ["c", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_after_the_end_of_a_pass_does_not_have_the_next_delete_everything() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let things = json!(["a", "b", "c", "d", "e"]);
    let failed = run(&client, json!({"things": things, "fail_after_end": true})).await;
    assert_eq!(failed["latestExecutionStatus"], "ERROR", "{failed}");
    assert_eq!(failed["checkpoint"], Value::Null, "{failed}");
    let next = run(&client, json!({"things": things})).await;
    assert_eq!(next["latestExecutionStatus"], "SUCCESS", "{next}");
    assert_eq!(ids(&client, "&filter=added,updated").await, ["a", "b", "c", "d", "e"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_ends_the_pass_and_a_variant_has_its_own() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let _ = run(&client, json!({"things": ["a", "b", "c"]})).await;
    // Sees `a` and `b`, then fails.
    let _ = run(&client, json!({"things": ["a", "b", "c"], "fail_at_page": 1})).await;
    wish(&client, json!({"things": ["c"]})).await;
    let reset = json!({
        "provider_config_key": INTEGRATION, "connection_id": CONNECTION, "syncs": ["all-things"], "opts": {"reset": true},
    });
    let _ = client.post("/sync/trigger", &reset).await.ok();
    let ended = |status: &Value| status["status"] != "RUNNING";
    let status = client.wait_for_sync(INTEGRATION, CONNECTION, "all-things", ended).await;
    assert_eq!(
        status["latestResult"]["Thing"]["deleted"], 2,
        "what the pass saw before counts no more: {status}"
    );

    let variant = json!({"provider_config_key": INTEGRATION, "connection_id": CONNECTION});
    let _ = client.post("/sync/all-things/variant/eu", &variant).await.ok();
    wish(&client, json!({"things": ["x"]})).await;
    let trigger = json!({
        "provider_config_key": INTEGRATION, "connection_id": CONNECTION, "syncs": [{"name": "all-things", "variant": "eu"}],
    });
    let _ = client.post("/sync/trigger", &trigger).await.ok();
    let ran = |status: &Value| status["status"] != "RUNNING" && status["finishedAt"].is_string();
    let _ = client
        .wait_for_sync(INTEGRATION, CONNECTION, "all-things::eu", ran)
        .await;
    assert_eq!(ids(&client, "&variant=eu").await, ["x"]);
    assert_eq!(
        ids(&client, "&filter=added,updated").await,
        ["c"],
        "the base is another model"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_the_end_of_a_pass_would_delete() {
    let (server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let _ = run(&client, json!({"things": ["a", "b", "c"]})).await;
    wish(&client, json!({"things": ["a", "n"]})).await;
    let report = Cli::of(&server, &["dryrun", "all-things", CONNECTION, "--json"])
        .run()
        .json();
    assert_eq!(report["success"], true, "{report}");
    let counts = &report["effects"]["records"]["Thing"]["counts"];
    assert_eq!(
        (&counts["added"], &counts["unchanged"], &counts["deleted"]),
        (&json!(1), &json!(1), &json!(2)),
        "{report}"
    );
    assert_eq!(ids(&client, "&filter=added,updated").await, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_run_leaves_alone_what_others_changed_meanwhile() {
    let go = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&go);
    let upstream =
        Upstream::handling(move |_| Reply::status(if gate.load(Ordering::SeqCst) { 200 } else { 202 })).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let _ = run(&client, json!({"things": ["a", "b", "c"], "value": 1})).await;

    wish(&client, json!({"things": ["a", "b", "c", "d"], "value": 2})).await;
    let _ = client.trigger_sync(INTEGRATION, CONNECTION, "slow-things").await.ok();
    while upstream.received().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let _ = run(&client, json!({"things": ["b", "d"], "value": 3})).await;
    go.store(true, Ordering::SeqCst);
    let ended = |status: &Value| status["status"] != "RUNNING";
    let status = client
        .wait_for_sync(INTEGRATION, CONNECTION, "slow-things", ended)
        .await;
    assert_eq!(
        status["latestResult"]["Thing"],
        json!({"added": 0, "updated": 0, "deleted": 0}),
        "{status}"
    );
    let logs = client.logs().await;
    assert!(
        logs.contains("b=3 d=3"),
        "listed without those that the pass deleted: {logs}"
    );
    assert!(logs.contains("override is ignored"), "{logs}");

    wish(&client, json!({"things": ["a"], "too_late": true})).await;
    let late = client.run_sync(INTEGRATION, CONNECTION, "slow-things").await;
    assert_eq!(late["latestExecutionStatus"], "ERROR", "{late}");
    assert!(client.logs().await.contains("merging_strategy_too_late"));
}
