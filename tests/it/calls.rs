//! Functions that call functions, locks, deadlines that a function sees, and what a run took.

use std::time::Duration;

use nango_runtime_tests::{Reply, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared, with_guest};

const DEAD_UPSTREAM: &str = "http://127.0.0.1:9";

#[tokio::test(flavor = "multi_thread")]
async fn functions_call_functions() {
    let (_server, client) = with_guest("basic", DEAD_UPSTREAM).await;
    let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
    let _ = client.import_connection(INTEGRATION, "other", credentials).await.ok();
    let call = async |input: Value| client.trigger_action(INTEGRATION, CONNECTION, "call", input).await.ok();
    let echoed = call(json!({"action": "echo", "input": {"n": 1}})).await;
    assert_eq!(echoed, json!({"output": {"n": 1}}));
    let here = call(json!({"action": "context", "input": null})).await;
    assert_eq!(here["output"]["connection_id"], CONNECTION);
    let there = call(json!({"action": "context", "input": null, "elsewhere": [INTEGRATION, "other"]})).await;
    assert_eq!(there["output"]["connection_id"], "other");
    let refused = call(json!({"action": "refuse", "input": {}})).await;
    assert_eq!(refused["code"], "action_script_runtime_error", "{refused}");
    assert!(refused["details"].to_string().contains("bad thing"), "{refused}");
    for (input, code) in [
        (json!({"action": "nope", "input": {}}), "not_found"),
        (json!({"action": "fetch", "input": {"path": 7}}), "invalid_action_input"),
        (json!({"action": "call", "input": {}}), "invoke_cycle"),
        (
            json!({"action": "echo", "input": {}, "elsewhere": [INTEGRATION, "gone"]}),
            "unknown_connection",
        ),
        (
            json!({"action": "echo", "input": {}, "elsewhere": ["gone", "gone"]}),
            "unknown_provider_config",
        ),
    ] {
        assert_eq!(call(input.clone()).await["code"], code, "{input}");
    }
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "call-sync", json!({"sync": "items"}))
        .await
        .ok();
    let ended = |status: &Value| {
        ["SUCCESS", "ERROR"]
            .map(Value::from)
            .contains(&status["latestExecutionStatus"])
    };
    client.wait_for_sync(INTEGRATION, CONNECTION, "items", ended).await;
}

/// `a` calls `b` of the next connection, and so on.
#[tokio::test(flavor = "multi_thread")]
async fn calls_have_a_depth() {
    let (_server, client) = with_guest("basic", DEAD_UPSTREAM).await;
    let mut input = json!({"action": "echo", "input": "deep"});
    for n in (1..6).rev() {
        let connection = format!("c{n}");
        let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
        let _ = client
            .import_connection(INTEGRATION, &connection, credentials)
            .await
            .ok();
        input = json!({"action": "call", "input": input, "elsewhere": [INTEGRATION, connection]});
    }
    let answer = client.trigger_action(INTEGRATION, CONNECTION, "call", input).await;
    assert!(answer.ok().to_string().contains("invoke_too_deep"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_wait_for_one_another_find_slots() {
    let runtime = TestRuntime::new().environment("NANGO_LIMITS_CONCURRENT_RUNS", "2");
    let (_server, client) = prepared(runtime, DEAD_UPSTREAM).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let input = json!({"action": "rest", "input": {"ms": 50}});
    let calls = (0..8).map(|_| {
        let (client, input) = (client.clone(), input.clone());
        tokio::spawn(async move { client.trigger_action(INTEGRATION, CONNECTION, "call", input).await.ok() })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.expect("it ends"), json!({"output": {"rested": 50}}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_keeps_others_out_until_its_run_ends() {
    let (_server, client) = with_guest("basic", DEAD_UPSTREAM).await;
    let lock = |hold_ms: u64, ttl_ms: u64, release: bool| {
        let client = client.clone();
        let input = json!({"key": "k", "ttl_ms": ttl_ms, "hold_ms": hold_ms, "release": release});
        tokio::spawn(async move { client.trigger_action(INTEGRATION, CONNECTION, "lock", input).await })
    };
    let first = lock(700, 60_000, false);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = lock(0, 60_000, true).await.expect("it ends").ok();
    assert_eq!(second, json!({"taken": false, "released": false}));
    assert_eq!(
        first.await.expect("it ends").ok(),
        json!({"taken": true, "released": null})
    );
    let third = lock(0, 60_000, true).await.expect("it ends").ok();
    assert_eq!(third, json!({"taken": true, "released": true}), "released with its run");
    let short = lock(30, 1, true).await.expect("it ends").ok();
    assert_eq!(short, json!({"taken": true, "released": false}), "it ends by itself");
    let refused = lock(0, 0, false).await.expect("it ends");
    assert!(refused.text().contains("invalid_lock"), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_sees_its_deadline_coming() {
    let runtime = TestRuntime::new().environment("NANGO_LIMITS_ACTION_TIMEOUT_MS", "1500");
    let (_server, client) = prepared(runtime, DEAD_UPSTREAM).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let told = client
        .trigger_action(INTEGRATION, CONNECTION, "until-told", json!(null))
        .await
        .ok();
    assert_eq!(told["reason"], "deadline");
    assert!(told["left_ms"].as_u64().is_some_and(|left_ms| left_ms <= 300), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_told_of_a_shutdown_and_ends() {
    let (mut server, client) = with_guest("basic", DEAD_UPSTREAM).await;
    let run = {
        let client = client.clone();
        tokio::spawn(async move {
            client
                .trigger_action(INTEGRATION, CONNECTION, "until-told", json!(null))
                .await
        })
    };
    tokio::time::sleep(Duration::from_millis(400)).await;
    server.process().signal("TERM");
    assert_eq!(run.await.expect("it is answered").ok()["reason"], "shutdown");
    assert!(server.process().wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_what_a_run_took() {
    let upstream = Upstream::replying([Reply::status(200).body(vec![b'x'; 5_000])]).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let fetched = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", json!({"path": "/"}))
        .await;
    assert_eq!(fetched.status, 200, "{}", fetched.text());
    let operations = client.get("/logs/operations?function=fetch").await.ok();
    let usage = &operations["data"][0]["usage"];
    assert_eq!(
        (&usage["requests"], &usage["received_bytes"]),
        (&json!(1), &json!(5_000)),
        "{operations}"
    );
    assert!(
        usage["memory_bytes"].as_u64().is_some_and(|bytes| bytes >= 1 << 16),
        "{usage}"
    );
    assert!(usage["cpu_us"].as_u64().is_some_and(|us| us > 0), "{usage}");
    assert_eq!(usage["output_bytes"], fetched.body.len(), "{usage}");
}
