//! The order to stop while actions and syncs run in the background: what can end in time does, the rest goes on at the next start.

use std::time::Duration;

use nango_runtime_tests::{Client, Database, Server, TestRuntime, for_each_database, guest};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared, providers};

const DEAD_UPSTREAM: &str = "http://127.0.0.1:9";

for_each_database! {
    what_does_not_end_in_time_is_tried_again,
    a_sync_that_stops_in_time_goes_on,
}

fn runtime(database: &Database) -> TestRuntime {
    database
        .serve(TestRuntime::new())
        .environment("NANGO_LIMITS_SHUTDOWN_TIMEOUT_MS", "500")
        .environment("NANGO_LIMITS_ASYNC_RETRY_WAIT_MS", "10")
        .environment("NANGO_LIMITS_CONCURRENT_ASYNC_ACTIONS", "2")
}

async fn queue(client: &Client, action: &str, input: Value, retries: u32) -> String {
    let retries = u8::try_from(retries).expect("a small number");
    let accepted = client
        .trigger_async(INTEGRATION, CONNECTION, action, input, retries.into())
        .await;
    accepted.json()["id"].as_str().expect("an id").to_owned()
}

async fn shown(client: &Client, id: &str) -> Value {
    client.get(&format!("/actions/{id}")).await.ok()["data"].clone()
}

fn restart(mut server: Server, database: &Database) -> Server {
    server.process().signal("TERM");
    assert!(server.process().wait().success());
    drop(server);
    runtime(database).provider_yaml(&providers(DEAD_UPSTREAM)).start()
}

async fn what_does_not_end_in_time_is_tried_again(database: Database) {
    let (server, client) = prepared(runtime(&database), DEAD_UPSTREAM).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let told = queue(&client, "until-told", json!(null), 0).await;
    let late = queue(&client, "rest", json!({"ms": 2_000}), 1).await;
    for id in [&told, &late] {
        while shown(&client, id).await["state"] != "running" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let waiting = queue(&client, "echo", json!("later"), 0).await;
    let server = restart(server, &database);
    let client = server.client();
    let answer = client.wait_for_action(&told).await;
    assert_eq!(answer.ok()["reason"], "shutdown", "it ended in time");
    assert_eq!(shown(&client, &told).await["attempts"], 1);
    assert_eq!(client.wait_for_action(&late).await.ok(), json!({"rested": 2_000}));
    assert_eq!(
        shown(&client, &late).await["attempts"],
        2,
        "it was ended and tried again"
    );
    assert_eq!(client.wait_for_action(&waiting).await.ok(), json!("later"));
    assert_eq!(shown(&client, &waiting).await["attempts"], 1);
}

async fn a_sync_that_stops_in_time_goes_on(database: Database) {
    let (server, client) = prepared(runtime(&database), DEAD_UPSTREAM).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let metadata = json!({"pages": 60, "records": 1, "value": 1});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let _ = client.trigger_sync(INTEGRATION, CONNECTION, "patient-items").await.ok();
    let page = async |client: &Client| {
        let status = client.sync_status(INTEGRATION, CONNECTION, "patient-items").await;
        status["checkpoint"]["page"].as_u64().unwrap_or(0)
    };
    while page(&client).await < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let server = restart(server, &database);
    // Nobody triggers it.
    let ended = |status: &Value| status["latestExecutionStatus"] == "SUCCESS" && status["checkpoint"] == Value::Null;
    let done = server
        .client()
        .wait_for_sync(INTEGRATION, CONNECTION, "patient-items", ended)
        .await;
    assert_eq!(done["recordCount"], json!({"Item": 60}), "{done}");
    let added = done["latestResult"]["Item"]["added"].as_u64().unwrap_or(u64::MAX);
    assert!(added < 58, "it went on from its checkpoint: {done}");
}
