//! `kill -9` in the middle of actions in the background: each that was accepted ends once, as done or as failed, after no more
//! attempts than it may have.

use std::path::Path;
use std::time::Duration;

use nango_runtime_tests::{Client, Server, TestRuntime, guest};
use serde_json::json;

use crate::fixture::{CONNECTION, INTEGRATION, prepared, providers};

const DEAD_UPSTREAM: &str = "http://127.0.0.1:9";
/// Actions accepted before each kill.
const BATCH: usize = 24;

/// How often the server is killed.
fn kills() -> u32 {
    let soak = std::env::var_os("NANGO_SOAK").map(|_| 200);
    soak.unwrap_or(5)
}

fn runtime(data: &Path) -> TestRuntime {
    TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_ASYNC_RETRY_WAIT_MS", "10")
        .data(data)
}

fn start(data: &Path) -> Server {
    runtime(data).provider_yaml(&providers(DEAD_UPSTREAM)).start()
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

#[tokio::test(flavor = "multi_thread")]
async fn accepted_actions_end_once() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (mut server, client) = prepared(runtime(folder.path()), DEAD_UPSTREAM).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let mut accepted = Vec::new();
    for kill in 0..kills() {
        accept(&server.client(), &mut accepted).await;
        // Another moment each time: in the queue, in a run, at its end.
        tokio::time::sleep(Duration::from_millis(u64::from(kill * 13 % 70))).await;
        server.process().kill();
        server = start(folder.path());
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
