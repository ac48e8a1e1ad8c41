//! A disk that is full and a database that is locked: requests go on, and the log says what happened.

use std::process::Command;
use std::time::{Duration, Instant};

use nango_runtime_tests::process::Process;
use nango_runtime_tests::{Client, Reply, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

/// Room for the schema and a little more.
const DISK_BYTES: u64 = 2 << 20;
/// A request that waited for the database would take longer.
const CALL_TIME_MAX: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes proxied requests until `done`; gives how many. None may wait.
async fn call_until(client: &Client, done: impl AsyncFn() -> bool) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    let mut calls = 0;
    loop {
        for _ in 0..100 {
            let started = Instant::now();
            assert_eq!(client.proxy_get(INTEGRATION, CONNECTION, "/x").await.status, 200);
            let took = started.elapsed();
            assert!(took < CALL_TIME_MAX, "a request took {took:?}");
            calls += 1;
        }
        if done().await {
            return calls;
        }
        assert!(Instant::now() < deadline, "it did not come to it after {calls} calls");
    }
}

async fn log_health(client: &Client) -> Value {
    client.get("/health").await.ok()["log"].clone()
}

async fn wait_for_health(client: &Client, wanted: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let health = log_health(client).await;
        if wanted(&health) {
            return;
        }
        assert!(Instant::now() < deadline, "{health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Number of operations of a type.
async fn count(client: &Client, kind: &str) -> u64 {
    let mut count = 0;
    let mut cursor = String::new();
    loop {
        let page = client
            .get(&format!("/logs/operations?limit=500&type={kind}{cursor}"))
            .await
            .ok();
        count += page["data"].as_array().map_or(0, |data| data.len() as u64);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_no_request_and_loses_nothing_soon() {
    let upstream = Upstream::replying([Reply::json(200, &json!({}))]).await;
    let runtime = TestRuntime::new().egress_loopback().full_disk(DISK_BYTES);
    let (server, client) = prepared(runtime, &upstream.url()).await;
    let mut calls = call_until(&client, async || log_health(&client).await["state"] == "failing").await;
    calls += call_until(&client, async || true).await;
    let health = log_health(&client).await;
    assert!(
        health["waiting"].as_u64().is_some_and(|waiting| waiting >= 100),
        "{health}"
    );
    let log = server.log();
    assert!(
        log.contains("The log cannot be written") && log.contains("entries wait"),
        "{log}"
    );

    server.free_disk();
    wait_for_health(&client, Value::is_null).await;
    assert!(
        server
            .log()
            .contains("The log can be written again; 0 entries were lost")
    );
    assert_eq!(count(&client, "proxy").await, calls);
}

/// Holds the lock of a SQLite database until it is dropped.
fn lock(database: &std::path::Path) -> Process {
    let script = "import sqlite3, sys, time\n\
        connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\n\
        connection.execute('BEGIN EXCLUSIVE')\n\
        print('locked', flush=True)\n\
        time.sleep(600)\n";
    let process = Process::start("python3", Command::new("python3").args(["-c", script]).arg(database));
    process.wait_for_line(|line| line.contains("locked").then_some(()));
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_stops_no_request_and_what_is_lost_is_told() {
    let upstream = Upstream::replying([Reply::json(200, &json!({}))]).await;
    let (server, client) = prepared(TestRuntime::new().egress_loopback(), &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    assert_eq!(client.proxy_get(INTEGRATION, CONNECTION, "/x").await.status, 200);
    let locked = lock(&server.data().join("nango.sqlite"));
    // More than the queue holds: what runs log is dropped then, what they do is not.
    for _ in 0..15 {
        let answer = client
            .trigger_action(INTEGRATION, CONNECTION, "log-lines", json!({"n": 2_500}))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let calls = call_until(&client, async || log_health(&client).await["state"] == "failing").await;
    let health = log_health(&client).await;
    assert!(
        health["dropped"].as_u64().is_some_and(|dropped| dropped > 0),
        "{health}"
    );

    drop(locked);
    wait_for_health(&client, |health| health["state"] == "ok" && health["waiting"] == 0).await;
    let dropped = log_health(&client).await["dropped"].as_u64().unwrap_or_default();
    let lost = client.get("/logs/operations?type=logs:lost").await.ok();
    let told: u64 = lost["data"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["message"].as_str()?.split(' ').next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(told, dropped, "{lost}");
    assert_eq!(count(&client, "proxy").await, calls + 1, "operations are not lost");
    assert_eq!(count(&client, "action").await, 15);
}
