//! A guest that misbehaves hurts only its own run and leaves a clear error.

use std::time::Duration;

use nango_runtime_tests::{Answer, Client, Reply, Server, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared, with_guest};

/// The server's memory after any of this. The pool keeps some pages of the instances it had.
const RESIDENT_BYTES_MAX: u64 = 600 << 20;

/// A server with short limits, the guest deployed, and a second guest that behaves.
async fn tortured(base_url: &str) -> (Server, Client) {
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_ACTION_TIMEOUT_MS", "2000")
        .environment("NANGO_LIMITS_RUN_MEMORY_BYTES", "67108864")
        .environment("NANGO_LIMITS_CONCURRENT_RUNS", "8");
    let (server, client) = prepared(runtime, base_url).await;
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
async fn torture(function: &str, input: Value) -> Answer {
    let upstream = Upstream::replying([Reply::status(200).body(vec![b'x'; 1 << 20])]).await;
    let (server, client) = tortured(&upstream.url()).await;
    let run = {
        let (client, function) = (client.clone(), function.to_owned());
        tokio::spawn(async move { client.trigger_action(INTEGRATION, CONNECTION, &function, input).await })
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

async fn fails(function: &str, input: Value, status: u16, code: &str, words: &[&str]) {
    let answer = torture(function, input).await;
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
    fails("spin", Value::Null, 500, "execution_timeout", &["2000 ms"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_sleeps() {
    fails("sleep-forever", Value::Null, 500, "execution_timeout", &["2000 ms"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_allocates_without_end() {
    fails(
        "allocate",
        Value::Null,
        500,
        "function_runtime_out_of_memory",
        &["67108864"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_recurses() {
    fails("recurse", Value::Null, 500, "script_internal_error", &["call stack"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_traps() {
    fails("trap", Value::Null, 500, "script_internal_error", &["unreachable"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_asks_for_too_much_at_once() {
    fails("greedy-random", Value::Null, 500, "script_internal_error", &["65536"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_keeps_all_answers() {
    let answer = torture("many-handles", json!({"path": "/large"})).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_for_nothing_it_starts() {
    let answer = torture("many-pending", json!({"path": "/large"})).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_logs_a_million_lines() {
    let answer = torture("log-million", Value::Null).await;
    assert!(
        answer.status == 200 || answer.error_code() == "execution_timeout",
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_returns_a_gigabyte() {
    let answer = torture("return-gigabyte", Value::Null).await;
    assert_eq!(
        answer.error_code(),
        "function_runtime_out_of_memory",
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_returns_more_than_it_may() {
    fails(
        "return-bytes",
        json!({"bytes": 12_000_000}),
        400,
        "script_output_too_large",
        &["10485760"],
    )
    .await;
}

#[tokio::test]
async fn one_that_panics_is_heard() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "panics", json!("this"))
        .await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    for word in ["no idea what to do with", "lib.rs:"] {
        assert!(
            answer.text().contains(word),
            "message and place reach the caller: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn one_that_lies_about_itself_is_not_deployed() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let functions = format!("/integrations/{INTEGRATION}/functions");
    let before = client.get(&functions).await.ok();
    for (liar, words) in [
        ("liar-garbage", "JSON"),
        ("liar-duplicates", "noop"),
        ("liar-calls", "connection"),
        (
            "liar-loops",
            "`describe` failed: the function did not end within 5000 ms\"",
        ),
    ] {
        let answer = client.deploy(INTEGRATION, guest::component(liar)).await;
        assert_eq!(answer.status, 400, "{liar}: {}", answer.text());
        assert!(
            answer.text().contains(words),
            "{liar} should say {words:?}: {}",
            answer.text()
        );
    }
    assert_eq!(client.get(&functions).await.ok(), before, "nothing changed");
}

#[tokio::test]
async fn one_whose_output_is_no_json() {
    let (_server, client) = with_guest("liar-output", "http://127.0.0.1:9").await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "noop", json!(null))
        .await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(answer.text().contains("JSON"), "{}", answer.text());
}
