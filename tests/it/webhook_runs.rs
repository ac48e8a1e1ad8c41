//! How runs of handlers of webhooks end: for a canary, after too long, and when they cannot begin.

use std::time::Instant;

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::{Client, Reply, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::webhooks::set_address;
use crate::webhooks_in::{LOOK_INTERVAL, WAIT, acme, operations, prepare, things};

/// `hooks` once more, in other bytes: with a section that nobody reads.
fn hooks_again() -> Vec<u8> {
    let mut component = guest::component("hooks");
    component.extend([0, 5, 4]);
    component.extend(b"note");
    component
}

/// Waits until there is what is looked for.
async fn until(what: &str, look: impl AsyncFn() -> Option<Value>) -> Value {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The one run of the sync `things` for a connection that failed.
async fn failed(client: &Client, connection_id: &str) -> Value {
    let path = format!("/runs?function=things&state=failed&connection={connection_id}");
    let run = async || {
        let ran = client.get(&path).await.ok();
        ran["data"].get(0).cloned()
    };
    until("no run has failed", run).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_whose_handler_fails_is_rolled_back() {
    let (_server, client) = prepare(TestRuntime::new()).await;
    let tried = client
        .request(Method::POST, "/integrations/acme/functions?canary=99&canary_errors=0")
        .header("content-type", "application/wasm")
        .body(hooks_again());
    let begun = send(tried).await.ok();
    assert_eq!(begun["changed"], 3, "{begun}");
    // More than a canary is judged by, for each of three connections.
    for number in 0..11 {
        for account in ["a-1", "a-2"] {
            let event = json!({"type": "thing.changed", "account": account, "id": format!("t{number}"), "fail": true});
            let _ = acme(&client, &event).await.ok();
        }
    }
    let ended = async || {
        let canary = client.get("/integrations/acme/canary").await.ok();
        (canary["data"]["state"] != "running").then(|| canary["data"].clone())
    };
    let ended = until("the canary goes on", ended).await;
    assert_eq!(ended["state"], "rolled_back", "{ended}");
    let reason = ended["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains(" runs of things in version 2 failed; 0 % may"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_takes_too_long_is_ended_and_says_which_limit_it_was() {
    let runtime = TestRuntime::new().environment("NANGO_LIMITS_WEBHOOK_RUN_TIMEOUT_MS", "300");
    let (_server, client) = prepare(runtime).await;
    let event = json!({"type": "thing.changed", "account": "a-2", "id": "t1", "wait_ms": 60_000});
    let _ = acme(&client, &event).await.ok();
    let run = failed(&client, "two").await;
    assert_eq!(
        (&run["error"]["code"], &run["error"]["message"]),
        (
            &json!("execution_timeout"),
            &json!("the function did not end within 300 ms (limits.webhook_run_timeout_ms)")
        ),
        "{run}"
    );
    // The sync itself may take as long as ever.
    let _ = client.run_sync("acme", "two", "things").await;
    let _ = things(&client, "two", "Thing", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_too_long_to_begin_is_a_failed_run() {
    let application = Upstream::replying([Reply::status(200)]).await;
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_WEBHOOK_RUN_WAIT_MS", "1000");
    let (_server, client) = prepare(runtime).await;
    let settings = json!({"forward_webhooks": false});
    let _ = client.json(Method::PATCH, "/integrations/acme", &settings).await.ok();
    set_address(&client, &application.url()).await;
    // The second one is behind the first in its line.
    for (id, wait_ms) in [("t1", 2_500), ("t2", 0)] {
        let event = json!({"type": "thing.changed", "account": "a-2", "id": id, "wait_ms": wait_ms});
        let _ = acme(&client, &event).await.ok();
    }
    let run = failed(&client, "two").await;
    assert_eq!(
        (&run["trigger"], &run["type"], &run["version"], &run["started_at"]),
        (&json!("webhook"), &json!("sync"), &json!(1), &Value::Null),
        "{run}"
    );
    let why = "it was not begun within 1000 ms (limits.webhook_run_wait_ms)";
    assert_eq!(run["error"]["message"], why, "{run}");
    let found = client
        .get("/logs/operations?type=webhook:incoming&state=failed")
        .await
        .ok();
    let operation = &found["data"][0];
    assert_eq!(
        (&operation["run_id"], &operation["connection_id"]),
        (&run["id"], &json!("two")),
        "{found}"
    );
    // As of every run that fails.
    let told = async || {
        let received = application.received();
        let mut bodies = received
            .iter()
            .filter_map(|one| serde_json::from_slice::<Value>(&one.body).ok());
        bodies.find(|told| told["success"] == false)
    };
    let told = until("nobody was told", told).await;
    assert_eq!(
        (&told["syncName"], &told["error"]["description"]),
        (&json!("things"), &json!(why)),
        "{told}"
    );
    assert_eq!(things(&client, "two", "Thing", 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_without_room_waits_however_often_it_is_tried() {
    let runtime = TestRuntime::new()
        .environment("NANGO_LIMITS_CONCURRENT_RUNS", "1")
        .environment("NANGO_LIMITS_RUN_WAIT_MS", "1");
    let (_server, client) = prepare(runtime).await;
    // Whoever asks does not wait for the answer.
    for (account, wait_ms) in [("a-2", 10_000), ("a-1", 0)] {
        let event = json!({"type": "thing.changed", "account": account, "id": account, "wait_ms": wait_ms});
        let _ = acme(&client, &event).await.ok();
    }
    let _ = things(&client, "one", "Thing", 1).await;
    let _ = things(&client, "again", "Thing", 1).await;
    let log = operations(&client, "webhook:incoming", 1).await;
    let refused = log.iter().filter(|operation| operation["state"] == "failed");
    let refused: Vec<&str> = refused.filter_map(|operation| operation["message"].as_str()).collect();
    assert!(
        refused.iter().all(|message| message.contains("limits.run_wait_ms")),
        "{refused:?}"
    );
}
