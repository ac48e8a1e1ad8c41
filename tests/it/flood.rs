//! Thousands of callers at once: the queue has a bound, nobody's answer is lost, and one connection's crowd does not keep another
//! one waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nango_runtime_tests::client::{for_connection, json_body, send};
use nango_runtime_tests::{Answer, Client, Server, TestRuntime, guest, soak};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared};

const DEAD_UPSTREAM: &str = "http://127.0.0.1:9";
/// The connection that shares the server with the crowd of [`CONNECTION`].
const CALM: &str = "calm";
/// How long one call takes: so long that calls come faster than they are served, also where machines are slow.
const REST_MS: u64 = 20;
/// How long a caller waits: ten thousand at four places take a minute at least.
const PATIENCE: Duration = Duration::from_secs(600);

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
    let request = client.request(Method::POST, "/action/trigger").timeout(PATIENCE);
    let body = json!({"action_name": "rest", "input": input});
    let request = json_body(for_connection(request, INTEGRATION, connection), &body);
    tokio::spawn(send(request))
}

/// Calls at once; counts those that are answered.
fn crowd(client: &Client, connection: &'static str, len: usize, served: &Arc<AtomicUsize>) -> Vec<JoinHandle<Answer>> {
    let calls = (0..len).map(|_| {
        let (answer, served) = (call(client, connection, json!({"ms": REST_MS})), Arc::clone(served));
        tokio::spawn(async move {
            let answer = answer.await.expect("it is answered");
            served.fetch_add(1, Ordering::SeqCst);
            answer
        })
    });
    calls.collect()
}

async fn until_served(served: &AtomicUsize, wanted: usize) {
    while served.load(Ordering::SeqCst) < wanted {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Ten thousand in a soak: all but a fifth are of one connection and come first.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_served_whole_and_lets_others_pass() {
    let watch = soak::Watch::start("a_crowd_is_served_whole_and_lets_others_pass");
    let all = usize::try_from(soak::rounds(1_000, 10_000)).expect("a small number");
    let (large, small) = (all - all / 5, all / 5);
    let (_server, client) = shared(10_000).await;
    let (of_large, of_small) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let first = crowd(&client, CONNECTION, large, &of_large);
    // From when on the crowd has filled all places.
    until_served(&of_large, 1).await;
    let second = crowd(&client, CALM, small, &of_small);
    // In turns with the first, as long as there are both. A part of them is served first, since it takes a while until all have come.
    until_served(&of_small, small / 4).await;
    let (large_before, small_before) = (of_large.load(Ordering::SeqCst), of_small.load(Ordering::SeqCst));
    until_served(&of_small, small * 3 / 4).await;
    let served = of_small.load(Ordering::SeqCst) - small_before;
    let meanwhile = of_large.load(Ordering::SeqCst) - large_before;
    assert!(
        meanwhile <= 2 * served + 100,
        "while {served} calls of one connection were served, {meanwhile} of the other one were"
    );
    for one in second {
        assert_eq!(one.await.expect("it is answered").ok(), json!({"rested": REST_MS}));
    }
    for one in first {
        assert_eq!(one.await.expect("it is answered").ok(), json!({"rested": REST_MS}));
    }
    assert_eq!(
        (of_large.load(Ordering::SeqCst), of_small.load(Ordering::SeqCst)),
        (large, small)
    );
    watch.check();
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
