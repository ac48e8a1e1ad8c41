//! Thousands of callers at once: the queue has a bound, nobody's answer is lost, and one connection's crowd does not keep another
//! one waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nango_runtime_tests::{Answer, Client, Server, TestRuntime, guest, soak};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared};

const DEAD_UPSTREAM: &str = "http://127.0.0.1:9";
/// The connection that shares the server with the crowd of [`CONNECTION`].
const CALM: &str = "calm";

/// A server with four places and two connections.
async fn shared(waiting_runs: u32) -> (Server, Client) {
    let runtime = TestRuntime::new()
        .environment("NANGO_LIMITS_CONCURRENT_RUNS", "4")
        .environment("NANGO_LIMITS_RUN_WAIT_MS", "600000")
        .environment("NANGO_LIMITS_WAITING_RUNS", &waiting_runs.to_string());
    let (server, client) = prepared(runtime, DEAD_UPSTREAM).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
    let _ = client.import_connection(INTEGRATION, CALM, credentials).await.ok();
    (server, client)
}

fn call(client: &Client, connection: &'static str, input: Value) -> JoinHandle<Answer> {
    let client = client.clone();
    tokio::spawn(async move { client.trigger_action(INTEGRATION, connection, "rest", input).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_served_whole_and_lets_others_pass() {
    let crowd_len = usize::try_from(soak::rounds(1_000, 9_900)).expect("a small number");
    let (_server, client) = shared(10_000).await;
    let served = Arc::new(AtomicUsize::new(0));
    let crowd = (0..crowd_len).map(|_| {
        let (answer, served) = (call(&client, CONNECTION, json!({"ms": 5})), Arc::clone(&served));
        tokio::spawn(async move {
            let answer = answer.await.expect("it is answered");
            served.fetch_add(1, Ordering::SeqCst);
            answer
        })
    });
    let crowd: Vec<_> = crowd.collect();
    // From when on the crowd has filled all places.
    while served.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        let answer = call(&client, CALM, json!({"ms": 0})).await.expect("it is answered");
        assert_eq!(answer.ok(), json!({"rested": 0}));
    }
    let before_the_last = served.load(Ordering::SeqCst);
    assert!(
        before_the_last < crowd_len,
        "ten calls of another connection took as long as {crowd_len} of the crowd"
    );
    for one in crowd {
        assert_eq!(one.await.expect("it is answered").ok(), json!({"rested": 5}));
    }
    assert_eq!(served.load(Ordering::SeqCst), crowd_len);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_is_too_large_turns_away_its_own() {
    const WAITING: usize = 20;
    let (_server, client) = shared(u32::try_from(WAITING).expect("a small number")).await;
    let crowd: Vec<_> = (0..200)
        .map(|_| call(&client, CONNECTION, json!({"ms": 100})))
        .collect();
    for _ in 0..5 {
        let answer = call(&client, CALM, json!({"ms": 0})).await.expect("it is answered");
        assert_eq!(answer.ok(), json!({"rested": 0}), "it is not its crowd");
    }
    let (mut done, mut refused) = (0, 0);
    for one in crowd {
        let answer = one.await.expect("it is answered");
        match answer.status {
            200 => done += 1,
            429 => {
                assert_eq!(answer.error_code(), "too_many_request");
                assert_eq!(answer.header("retry-after"), Some("1"));
                assert!(answer.text().contains("limits.waiting_runs"), "{}", answer.text());
                refused += 1;
            }
            status => panic!("{status}: {}", answer.text()),
        }
    }
    assert_eq!(done + refused, 200);
    assert!(done >= WAITING && refused > 0, "{done} done, {refused} refused");
}
