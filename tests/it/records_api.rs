//! Records over HTTP: pages by size, pruning, export.

use nango_runtime_tests::{Answer, Client, Server, TestRuntime, client, guest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

/// A server with this many records of the model `Item`.
async fn with_items(runtime: TestRuntime, records: u64) -> (Server, Client) {
    let (server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let metadata = json!({"pages": 1, "records": records, "value": 1});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let status = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    assert_eq!(status["latestExecutionStatus"], "SUCCESS", "{status}");
    (server, client)
}

async fn prune(client: &Client, body: &Value) -> Answer {
    let request = client.request(Method::PATCH, "/records/prune");
    let request = client::for_connection(request, INTEGRATION, CONNECTION);
    client::send(client::json_body(request, body)).await
}

async fn export(client: &Client, query: &str) -> Answer {
    let request = client.request(Method::GET, &format!("/records/export?model=Item{query}"));
    client::send(client::for_connection(request, INTEGRATION, CONNECTION)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_is_as_nangos() {
    let (_server, client) = with_items(TestRuntime::new(), 5).await;
    let records = client.records(INTEGRATION, CONNECTION, "Item", "").await.ok();
    let cursor = records["records"][2]["_nango_metadata"]["cursor"].clone();
    let body = |limit: u64| json!({"model": "Item", "until_cursor": cursor, "limit": limit});
    assert_eq!(
        prune(&client, &body(2)).await.ok(),
        json!({"count": 2, "has_more": true})
    );
    assert_eq!(
        prune(&client, &body(2)).await.ok(),
        json!({"count": 1, "has_more": false})
    );
    let after = client.records(INTEGRATION, CONNECTION, "Item", "").await.ok();
    let first = &after["records"][0];
    assert_eq!(first["value"], Value::Null);
    assert!(first["_nango_metadata"]["pruned_at"].is_string(), "{first}");
    assert_eq!(after["records"][3]["value"], 1);
    assert_eq!(after["records"][3]["_nango_metadata"]["pruned_at"], Value::Null);

    let again = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    assert_eq!(
        again["latestResult"]["Item"],
        json!({"added": 0, "updated": 0, "deleted": 0}),
        "what was pruned is not taken for changed"
    );
    let wrong = prune(&client, &json!({"model": "item", "until_cursor": ""})).await;
    assert_eq!((wrong.status, wrong.error_code()), (400, "invalid_body".into()));
    let wrong = prune(&client, &json!({"model": "Item", "until_cursor": "nonsense"})).await;
    assert_eq!((wrong.status, wrong.error_code()), (400, "invalid_body".into()));
    assert_eq!(wrong.json()["error"]["errors"][0]["path"], json!(["until_cursor"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_keeps_to_its_bytes() {
    let runtime = TestRuntime::new().environment("NANGO_LIMITS_RECORDS_PAGE_BYTES", "100");
    let (_server, client) = with_items(runtime, 20).await;
    let (mut seen, mut pages, mut query) = (0, 0, String::new());
    loop {
        let page = client.records(INTEGRATION, CONNECTION, "Item", &query).await.ok();
        let records = page["records"].as_array().map_or(0, Vec::len);
        assert!((1..20).contains(&records), "{page}");
        seen += records;
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("&cursor={cursor}");
    }
    assert_eq!(seen, 20);
    assert!(pages > 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_every_record_once_on_a_line() {
    let (_server, client) = with_items(TestRuntime::new(), 2_500).await;
    let all = export(&client, "").await;
    assert_eq!(all.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = all
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is a record"))
        .collect();
    let ids: std::collections::BTreeSet<&str> = lines.iter().filter_map(|line| line["id"].as_str()).collect();
    assert_eq!((lines.len(), ids.len()), (2_500, 2_500));

    let cursor = lines[2_399]["_nango_metadata"]["cursor"].as_str().unwrap_or_default();
    let rest = export(&client, &format!("&cursor={cursor}")).await;
    assert_eq!(rest.text().lines().count(), 100, "goes on where the reader was");
    assert_eq!(export(&client, "&filter=deleted").await.text(), "");
    let limited = export(&client, "&limit=5").await;
    assert_eq!(
        (limited.status, limited.error_code()),
        (400, "invalid_query_params".into())
    );
}
