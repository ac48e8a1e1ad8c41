//! `kill -9` in the middle of actions in the background: each that was accepted ends once, as done or as failed, after no more
//! attempts than it may have.

use std::time::Duration;

use nango_runtime_tests::{Client, Database, Server, TestRuntime, for_each_database, guest, soak};
use serde_json::json;

use crate::fixture::{CONNECTION, INTEGRATION, prepared, providers};

const DEAD_UPSTREAM: &str = "http://127.0.0.1:9";
/// Actions accepted before each kill.
const BATCH: usize = 24;
/// The last moment after the last one was accepted at which a kill comes: by then all have ended.
const KILL_US_MAX: u64 = 70_000;

for_each_database! {
    accepted_actions_end_once,
}

fn runtime(database: &Database) -> TestRuntime {
    database
        .serve(TestRuntime::new())
        .egress_loopback()
        .environment("NANGO_LIMITS_ASYNC_RETRY_WAIT_MS", "10")
}

fn start(database: &Database) -> Server {
    runtime(database).provider_yaml(&providers(DEAD_UPSTREAM)).start()
}

/// Id and retries of each accepted action.
async fn accept(client: &Client, accepted: &mut Vec<(String, i64)>) {
    for n in 0..BATCH {
        let retries = [0, 1, 5][n % 3];
        let answer = client
            .trigger_async(INTEGRATION, CONNECTION, "rest", json!({"ms": n * 7 % 60}), retries)
            .await;
        let id = answer.ok()["id"].as_str().expect("an id").to_owned();
        accepted.push((id, retries.into()));
    }
}

async fn accepted_actions_end_once(database: Database) {
    let random = soak::random("accepted_actions_end_once");
    let (mut server, client) = prepared(runtime(&database), DEAD_UPSTREAM).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let mut accepted = Vec::new();
    for _ in soak::repeat("accepted_actions_end_once", 4, 200) {
        accept(&server.client(), &mut accepted).await;
        // Another moment each time: in the queue, in a run, at its end.
        tokio::time::sleep(Duration::from_micros(soak::micros(&random, 0..KILL_US_MAX))).await;
        server.process().kill();
        server = start(&database);
    }
    let client = server.client();
    let mut lost = 0;
    for (id, retries) in &accepted {
        let answer = client.wait_for_action(id).await;
        let shown = client.get(&format!("/actions/{id}")).await.ok()["data"].clone();
        let attempts = shown["attempts"].as_i64().expect("a number");
        assert!((1..=retries + 1).contains(&attempts), "{shown}");
        match shown["state"].as_str() {
            Some("succeeded") => assert_eq!(answer.status, 200, "{shown}"),
            Some("failed") => {
                assert_eq!(answer.error_code(), "action_script_failure", "{shown}");
                assert_eq!(attempts, retries + 1, "it was given up too early: {shown}");
                lost += 1;
            }
            state => panic!("{state:?}: {shown}"),
        }
        let again = client.wait_for_action(id).await;
        assert_eq!(
            (again.status, again.body),
            (answer.status, answer.body),
            "an end is final"
        );
    }
    assert!(
        lost < accepted.len() / 2,
        "{lost} of {} were killed: the test kills too early",
        accepted.len()
    );
}
