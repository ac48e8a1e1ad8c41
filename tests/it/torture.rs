//! A guest that misbehaves hurts only its own run and leaves a clear error.

use std::time::Duration;

use nango_runtime_tests::{Answer, Client, Server, TestRuntime, guest};
use serde_json::json;

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

/// The server's memory after any of this. The pool keeps some pages of the instances it had.
const RESIDENT_BYTES_MAX: u64 = 600 << 20;

/// A server with short limits, the guest deployed, and a second guest that behaves.
async fn tortured() -> (Server, Client) {
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_ACTION_TIMEOUT_MS", "2000")
        .environment("NANGO_LIMITS_RUN_MEMORY_BYTES", "67108864")
        .environment("NANGO_LIMITS_CONCURRENT_RUNS", "8");
    let (server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("torture")).await.ok();
    let _ = client.create_integration("calm", "unauthenticated").await.ok();
    let _ = client
        .import_connection("calm", CONNECTION, json!({"type": "NONE"}))
        .await
        .ok();
    let _ = client.deploy("calm", guest::component("basic")).await.ok();
    (server, client)
}

/// Runs the function while others run; gives its answer once those came through unharmed.
async fn torture(function: &str) -> Answer {
    let (server, client) = tortured().await;
    let run = {
        let (client, function) = (client.clone(), function.to_owned());
        tokio::spawn(async move {
            client
                .trigger_action(INTEGRATION, CONNECTION, &function, json!(null))
                .await
        })
    };
    let mut beside = 0;
    while !run.is_finished() || beside < 3 {
        let answer = client
            .trigger_action("calm", CONNECTION, "echo", json!({"n": beside}))
            .await;
        assert_eq!(answer.ok(), json!({"n": beside}), "a run beside {function}");
        beside += 1;
        // Leaves the machine to the run under torture.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = run.await.expect("the request ends");
    let again = client.trigger_action("calm", CONNECTION, "echo", json!("after")).await;
    assert_eq!(again.ok(), json!("after"));
    let resident = server.resident_bytes();
    assert!(
        resident < RESIDENT_BYTES_MAX,
        "{function} leaves the server at {} MiB",
        resident >> 20
    );
    answer
}

async fn fails(function: &str, status: u16, code: &str, words: &[&str]) {
    let answer = torture(function).await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (status, code.to_owned()),
        "{function}: {}",
        answer.text()
    );
    for word in words {
        assert!(
            answer.text().contains(word),
            "{function} should say {word:?}: {}",
            answer.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_loops() {
    fails("spin", 500, "function_runtime_timed_out", &["2000 ms"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_sleeps() {
    fails("sleep-forever", 500, "function_runtime_timed_out", &["2000 ms"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_allocates_without_end() {
    fails("allocate", 500, "function_runtime_out_of_memory", &["67108864"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_recurses() {
    fails("recurse", 500, "function_runtime_other", &["stack"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_traps() {
    fails("trap", 500, "function_runtime_other", &["unreachable"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_panics_is_heard() {
    // The message and the place of the panic reach the caller.
    fails("panic", 500, "script_internal_error", &["at the disco", "lib.rs:"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_logs_a_million_lines() {
    let answer = torture("log-flood").await;
    assert!(
        answer.status == 200 || answer.error_code() == "function_runtime_timed_out",
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_returns_more_than_it_may() {
    fails("large-output", 400, "script_output_too_large", &["10485760"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_returns_no_json() {
    let answer = torture("no-json").await;
    assert_eq!(answer.status, 500, "{}", answer.text());
}
