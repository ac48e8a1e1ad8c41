//! Runs that were recorded in production, run again with the upstream gone.

use nango_runtime_tests::command::{Cli, Ended};
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared, with_guest};

/// What an upstream says and nobody else.
const MARK: &str = "a-sentence-of-a-customers-customer";

async fn recording(which: &str, base_url: &str) -> (Server, Client) {
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_RECORD_RUNS", which);
    let (server, client) = prepared(runtime, base_url).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    (server, client)
}

/// The id of the last run of the function, which the log tells.
async fn last_run(client: &Client, function: &str) -> String {
    for _ in 0..200 {
        let operations = client.get(&format!("/logs/operations?function={function}")).await.ok();
        let ended = operations["data"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|it| it["state"] != "running");
        if let Some(run_id) = ended.and_then(|operation| operation["run_id"].as_str()) {
            return run_id.to_owned();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no run of {function} in the log");
}

/// A recording is written behind the back of its run.
async fn replay(server: &Server, run_id: &str, arguments: &[&str]) -> Ended {
    for _ in 0..200 {
        let ended = Cli::of(server, &[&["replay", run_id], arguments].concat()).run();
        if !ended.stderr.contains("there is no recording") {
            return ended;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the run {run_id} was not recorded");
}

fn changed(server: &Server) -> String {
    let path = server.folder().join("changed.wasm");
    std::fs::write(&path, guest::component("changed")).expect("a file can be written");
    path.to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_action_does_the_same_again_without_its_upstream() {
    let upstream = Upstream::replying([Reply::json(200, &json!({"text": MARK, "echo": API_KEY}))]).await;
    let (mut server, client) = recording("all", &upstream.url()).await;
    let input = json!({"path": "/customers"});
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", input)
        .await
        .ok();
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "surroundings", json!(null))
        .await
        .ok();
    let many = json!({"paths": ["/1", "/2", "/3"], "max_in_flight": 3});
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch-many", many.clone())
        .await
        .ok();
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "start-wait", many)
        .await
        .ok();
    drop(upstream);

    let run_id = last_run(&client, "fetch").await;
    let again = replay(&server, &run_id, &[]).await;
    assert_eq!(again.code, Some(0), "{}{}", again.stdout, again.stderr);
    for text in ["GET    /customers  200", "The same again: 1 call of the host", MARK] {
        assert!(again.stdout.contains(text), "{text} is not in\n{}", again.stdout);
    }
    assert!(
        !again.stdout.contains(API_KEY),
        "a credential is shown:\n{}",
        again.stdout
    );
    for function in ["surroundings", "fetch-many", "start-wait"] {
        let run_id = last_run(&client, function).await;
        let again = replay(&server, &run_id, &[]).await;
        assert_eq!(again.code, Some(0), "{function}: {}{}", again.stdout, again.stderr);
    }

    let changed = changed(&server);
    let other = replay(&server, &run_id, &["--with", &changed]).await;
    assert_eq!(other.code, Some(1), "{}", other.stdout);
    for text in [
        "The first call that differs is number 2:",
        "  - (no call)",
        "  + GET /customers/more",
        "Not recorded: GET /customers/more was not recorded; the nearest recorded request is GET /customers: ",
    ] {
        assert!(other.stdout.contains(text), "{text} is not in\n{}", other.stdout);
    }

    // Customers' data is not in the database in clear.
    server.process().signal("TERM");
    let _ = server.process().wait();
    for entry in std::fs::read_dir(server.data()).expect("the data folder is there") {
        let path = entry.expect("a folder can be listed").path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let found = bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes());
        assert!(!found, "{} holds what the upstream said", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_sync_shows_which_records_would_be_others() {
    let (server, client) = recording("all", "http://127.0.0.1:9").await;
    let metadata = json!({"pages": 1, "records": 2, "value": 5});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let _ = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    let run_id = last_run(&client, "items").await;
    let again = replay(&server, &run_id, &[]).await;
    assert_eq!(again.code, Some(0), "{}{}", again.stdout, again.stderr);
    let changed = changed(&server);
    let other = replay(&server, &run_id, &["--with", &changed, "--json"]).await;
    assert_eq!(other.code, Some(1));
    let report: Value = serde_json::from_str(&other.stdout).expect("a report");
    let comparison = &report["comparison"];
    let expected = json!([
        {"place": "record Item 0/value", "before": 5, "after": 6},
        {"place": "record Item 1/value", "before": 5, "after": 6},
    ]);
    assert_eq!(comparison["differences"], expected, "{report:#}");
    assert_eq!(comparison["first_call"]["number"], 3, "{comparison}");
    let records = client.records(INTEGRATION, CONNECTION, "Item", "").await.ok();
    assert_eq!(records["records"][0]["value"], 5, "nothing was written");

    let fixture = server.folder().join("items.test.json");
    let saved = replay(&server, &run_id, &["--save", &fixture.to_string_lossy()]).await;
    assert_eq!(saved.code, Some(0), "{}", saved.stderr);
    let run = |component: &str| Cli::new(&["test", &fixture.to_string_lossy(), "--component", component]).run();
    let basic = server.folder().join("basic.wasm");
    std::fs::write(&basic, guest::component("basic")).expect("a file can be written");
    let passed = run(&basic.to_string_lossy());
    assert_eq!(
        passed.code,
        Some(0),
        "a production run became a test: {}{}",
        passed.stdout,
        passed.stderr
    );
    let failed = run(&changed);
    assert_eq!(failed.code, Some(1));
    assert!(failed.stdout.contains("record Item 0/value"), "{}", failed.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_failed_runs_are_recorded_when_that_is_asked_for() {
    let (server, client) = recording("failed", "http://127.0.0.1:9").await;
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "echo", json!(1))
        .await
        .ok();
    let refused = client
        .trigger_action(INTEGRATION, CONNECTION, "refuse", json!(null))
        .await;
    assert_eq!(refused.status, 500);
    let run_id = last_run(&client, "refuse").await;
    let again = replay(&server, &run_id, &[]).await;
    assert_eq!(
        again.code,
        Some(0),
        "it fails the same way: {}{}",
        again.stdout,
        again.stderr
    );
    assert!(again.stdout.contains("bad thing"), "{}", again.stdout);
    let run_id = last_run(&client, "echo").await;
    let none = Cli::of(&server, &["replay", &run_id]).run();
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("record_runs"), "{}", none.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_is_recorded_unless_the_operator_says_so() {
    let (server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "echo", json!(1))
        .await
        .ok();
    let run_id = last_run(&client, "echo").await;
    let none = Cli::of(&server, &["replay", &run_id]).run();
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("there is no recording"), "{}", none.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_replays_only_what_it_may_see() {
    let (_server, client) = recording("all", "http://127.0.0.1:9").await;
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "echo", json!(1))
        .await
        .ok();
    let run_id = last_run(&client, "echo").await;
    let path = format!("/runs/{run_id}/replay");
    for _ in 0..200 {
        if client.post(&path, &json!(null)).await.status != 404 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let key = async |body: Value| {
        client.post("/api-keys", &body).await.ok()["data"]["key"]
            .as_str()
            .expect("a key")
            .to_owned()
    };
    let scopes = json!(["environment:runs:replay"]);
    let other = json!({"name": "other", "scopes": scopes, "limits": {"connections": ["somebody-else"]}});
    let own = json!({"name": "own", "scopes": scopes, "limits": {"connections": [CONNECTION]}});
    let post = async |body: Value| {
        let client = client.with_key(Some(&key(body).await));
        nango_runtime_tests::client::send(client.request(http::Method::POST, &path)).await
    };
    assert_eq!(post(other).await.status, 403);
    let answer = post(own).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["comparison"]["same"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_outlives_the_server_that_made_it() {
    let folder = tempfile::TempDir::with_prefix("nango-runtime-test-").expect("a temporary folder can be made");
    let upstream = Upstream::replying([Reply::json(200, &json!({"n": 1}))]).await;
    let runtime = || {
        let runtime = TestRuntime::new().egress_loopback().data(folder.path());
        runtime.environment("NANGO_RECORD_RUNS", "all")
    };
    let (mut server, client) = prepared(runtime(), &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", json!({"path": "/x"}))
        .await
        .ok();
    // What is not written yet is written before it ends.
    server.process().signal("TERM");
    let _ = server.process().wait();
    drop((server, upstream));

    let server = runtime()
        .provider_yaml(&crate::fixture::providers("http://127.0.0.1:9"))
        .start();
    let run_id = last_run(&server.client(), "fetch").await;
    let again = Cli::of(&server, &["replay", &run_id]).run();
    assert_eq!(again.code, Some(0), "{}{}", again.stdout, again.stderr);

    // It goes with the customer's connection.
    let path = format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}");
    assert_eq!(server.client().delete(&path).await.status, 200);
    let gone = Cli::of(&server, &["replay", &run_id]).run();
    assert!(gone.stderr.contains("there is no recording"), "{}", gone.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_locks_and_the_order_to_stop_are_told_again() {
    let (server, client) = recording("all", "http://127.0.0.1:9").await;
    for (function, input) in [
        ("call", json!({"action": "echo", "input": {"n": 1}})),
        ("call", json!({"action": "refuse", "input": {}})),
        (
            "lock",
            json!({"key": "k", "ttl_ms": 1_000, "hold_ms": 1, "release": true}),
        ),
        ("call-sync", json!({"sync": "items"})),
    ] {
        let _ = client
            .trigger_action(INTEGRATION, CONNECTION, function, input)
            .await
            .ok();
        let run_id = last_run(&client, function).await;
        let again = replay(&server, &run_id, &[]).await;
        assert_eq!(again.code, Some(0), "{function}: {}{}", again.stdout, again.stderr);
    }
    let log = client.get("/logs/operations?function=echo").await.ok();
    assert_eq!(
        log["data"].as_array().map(Vec::len),
        Some(1),
        "no replay started it: {log}"
    );
}
