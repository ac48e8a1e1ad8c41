//! Syncs over HTTP: records, their changes, checkpoints, what is refused.

use nango_runtime_tests::{Client, Reply, Server, Upstream};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, with_guest};

/// A server with the guest, whose sync `items` saves what the connection's metadata says.
async fn with_items() -> (Server, Client) {
    with_guest("basic", "http://127.0.0.1:9").await
}

async fn run_items(client: &Client, metadata: Value) -> Value {
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    client.run_sync(INTEGRATION, CONNECTION, "items").await
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_added_updated_left_alone_and_deleted() {
    let (_server, client) = with_items().await;
    let counts = |status: &Value| status["latestResult"]["Item"].clone();
    let first = run_items(&client, json!({"pages": 2, "records": 3, "value": 1})).await;
    assert_eq!(
        (&first["latestExecutionStatus"], &first["recordCount"]),
        (&json!("SUCCESS"), &json!({"Item": 6})),
        "{first}"
    );
    assert_eq!(first["status"], "PAUSED", "`auto_start = false`: {first}");
    assert_eq!(counts(&first), json!({"added": 6, "updated": 0, "deleted": 0}));
    assert_eq!(first["checkpoint"], Value::Null, "the sync cleared it");

    let same = run_items(&client, json!({"pages": 2, "records": 3, "value": 1})).await;
    assert_eq!(counts(&same), json!({"added": 0, "updated": 0, "deleted": 0}), "{same}");

    let more = run_items(
        &client,
        json!({"pages": 3, "records": 3, "value": 2, "delete": ["0", "4"]}),
    )
    .await;
    assert_eq!(counts(&more), json!({"added": 3, "updated": 6, "deleted": 2}), "{more}");
    assert_eq!(more["recordCount"], json!({"Item": 7}));

    let deleted = client
        .records(INTEGRATION, CONNECTION, "Item", "&filter=deleted")
        .await
        .ok();
    let ids: Vec<&Value> = deleted["records"]
        .as_array()
        .expect("records")
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(json!(ids), json!(["0", "4"]), "{deleted}");
    assert_eq!(deleted["records"][0]["_nango_metadata"]["last_action"], "DELETED");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_records_are_complete() {
    let (_server, client) = with_items().await;
    let status = run_items(&client, json!({"pages": 5, "records": 50})).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_keeps_its_checkpoint_for_the_next() {
    let (_server, client) = with_items().await;
    let failed = run_items(&client, json!({"pages": 4, "records": 10, "fail_at": 2})).await;
    assert_eq!(
        (&failed["latestExecutionStatus"], &failed["checkpoint"]),
        (&json!("ERROR"), &json!({"page": 2})),
        "{failed}"
    );
    assert_eq!(
        failed["recordCount"],
        json!({"Item": 20}),
        "what was saved before stays"
    );
    let resumed = run_items(&client, json!({"pages": 4, "records": 10})).await;
    assert_eq!(
        (&resumed["latestExecutionStatus"], &resumed["recordCount"]),
        (&json!("SUCCESS"), &json!({"Item": 40})),
        "{resumed}"
    );
    assert_eq!(
        resumed["latestResult"]["Item"]["added"], 20,
        "it went on where the other stopped"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_an_upstream_become_records() {
    let upstream = Upstream::handling(|request| {
        let items =
            |from: u64| json!([{"id": format!("{from}"), "value": 1}, {"id": format!("{}", from + 1), "value": 1}]);
        match request.target.as_str() {
            "/items" => Reply::json(200, &items(0)).header("link", "</items?page=2>; rel=\"next\""),
            "/items?page=2" => Reply::json(200, &items(2)),
            other => Reply::json(404, &json!({"unexpected": other})),
        }
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let _ = client
        .set_metadata(INTEGRATION, CONNECTION, json!({"path": "/items"}))
        .await
        .ok();
    let status = client.run_sync(INTEGRATION, CONNECTION, "pages").await;
    assert_eq!(
        (&status["latestExecutionStatus"], &status["recordCount"]),
        (&json!("SUCCESS"), &json!({"Item": 4})),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_id_fails_the_run_and_says_why() {
    let (_server, client) = with_items().await;
    let status = client.run_sync(INTEGRATION, CONNECTION, "bad-record").await;
    assert_eq!(
        (&status["latestExecutionStatus"], &status["recordCount"]),
        (&json!("ERROR"), &json!({})),
        "{status}"
    );
    let log = client.logs().await;
    assert!(log.contains("has no `id`"), "{log}");
}
