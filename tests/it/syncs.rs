//! Syncs over HTTP: records, their changes, checkpoints, what is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nango_runtime_tests::{Reply, Upstream};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, with_guest};

/// What `GET /items` of the upstream gives; the guest's sync `items` saves it as model `Item`.
async fn items(list: impl Fn() -> Value + Send + Sync + 'static) -> Upstream {
    Upstream::handling(move |_| Reply::json(200, &list())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn records_change_as_the_upstream_does() {
    let round = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&round);
    let upstream = items(move || match seen.load(Ordering::SeqCst) {
        0 => json!([{"id": "1", "name": "one"}, {"id": "2", "name": "two"}]),
        1 => json!([{"id": "1", "name": "one"}, {"id": "2", "name": "zwei"}, {"id": "3", "name": "three"}]),
        _ => json!([]),
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let first = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    assert_eq!(first["status"], "SUCCESS", "{first}");
    assert_eq!(first["recordCount"], json!({"Item": 2}));

    round.store(1, Ordering::SeqCst);
    let second = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    assert_eq!(
        second["latestResult"]["Item"],
        json!({"added": 1, "updated": 1, "deleted": 0}),
        "{second}"
    );
    let page = client
        .records(INTEGRATION, CONNECTION, "Item", "&filter=updated")
        .await
        .ok();
    assert_eq!(page["records"].as_array().map(Vec::len), Some(1), "{page}");
    assert_eq!(page["records"][0]["name"], "zwei");
    assert_eq!(page["records"][0]["_nango_metadata"]["last_action"], "UPDATED");

    let third = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    assert_eq!(
        third["latestResult"]["Item"],
        json!({"added": 0, "updated": 0, "deleted": 0}),
        "{third}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_records_are_complete() {
    let upstream = items(|| (0..250).map(|id| json!({"id": format!("{id}"), "name": "x"})).collect()).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let status = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    assert_eq!(status["recordCount"], json!({"Item": 250}), "{status}");
    let mut seen = std::collections::BTreeSet::new();
    let mut query = "&limit=90".to_owned();
    loop {
        let page = client.records(INTEGRATION, CONNECTION, "Item", &query).await.ok();
        for record in page["records"].as_array().expect("records") {
            assert!(seen.insert(record["id"].to_string()), "{record} comes twice");
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("&limit=90&cursor={cursor}");
    }
    assert_eq!(seen.len(), 250);
}

/// Runs a sync that must fail; gives the messages of its log.
async fn failure(upstream: &Upstream, sync: &str) -> (Value, String) {
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let status = client.run_sync(INTEGRATION, CONNECTION, sync).await;
    assert_eq!(status["status"], "ERROR", "{status}");
    let operations = client.get("/logs/operations").await;
    (status, operations.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_id_fails_the_run_and_saves_none_of_its_batch() {
    let upstream = items(|| json!([{"id": "1", "name": "one"}, {"name": "two"}])).await;
    let (status, log) = failure(&upstream, "items").await;
    assert_eq!(status["recordCount"], json!({}), "all or none: {status}");
    assert!(log.contains("id"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_too_large_fails_the_run() {
    let upstream = items(|| json!([])).await;
    let (status, log) = failure(&upstream, "large-checkpoint").await;
    assert_eq!(status["checkpoint"], Value::Null);
    assert!(
        log.contains("4,000") || log.contains("4000"),
        "the limit is named: {log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_says_so_and_may_succeed_later() {
    let upstream = Upstream::replying([
        Reply::json(500, &json!({"message": "boom"})),
        Reply::json(200, &json!([{"id": "1", "name": "one"}])),
    ])
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let first = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    assert_eq!(first["status"], "ERROR", "{first}");
    let second = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    assert_eq!(
        (&second["status"], &second["recordCount"]),
        (&json!("SUCCESS"), &json!({"Item": 1})),
        "{second}"
    );
}
