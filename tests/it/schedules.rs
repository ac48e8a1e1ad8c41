//! Schedules in real servers: two of them on one Postgres, a provider that says "come back later",
//! and the command line.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use http::Method;
use nango_runtime_tests::client::Answer;
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Reply, TestRuntime, Upstream, client, guest, repository};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared, providers, with_guest};

const CONNECTIONS: usize = 24;

fn of(connection: &str, syncs: &[&str]) -> Value {
    json!({"provider_config_key": INTEGRATION, "connection_id": connection, "syncs": syncs})
}

/// A database on the Postgres of the tests, removed at the end.
struct Database {
    name: String,
    url: String,
}

impl Database {
    fn create(name: &str) -> Self {
        let name = format!("{name}_{}", std::process::id());
        let url = postgres(&["start"]).and_then(|_| postgres(&["create", &name]));
        let url = url.expect("scripts/postgres makes a database");
        Self { name, url }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = postgres(&["drop", &self.name]);
    }
}

fn postgres(arguments: &[&str]) -> Option<String> {
    let output = Command::new(repository::root().join("scripts/postgres"))
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_one_database_run_each_sync_once() {
    let upstream =
        Upstream::handling(|_| Reply::json(200, &json!([{"id": "1", "value": 1}])).after(Duration::from_millis(100)))
            .await;
    let database = Database::create("schedules");
    let key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let node = || {
        TestRuntime::new()
            .egress_loopback()
            .environment("NANGO_ENCRYPTION_KEY", key)
            .environment("NANGO_DATABASE_URL", &database.url)
    };
    let (_first, client) = prepared(node(), &upstream.url()).await;
    let second = node().provider_yaml(&providers(&upstream.url())).start();
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let name = |number: usize| format!("customer-{number}");
    for number in 0..CONNECTIONS {
        let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
        let _ = client
            .import_connection(INTEGRATION, &name(number), credentials)
            .await
            .ok();
        let metadata = json!({"path": format!("/items/{number}")});
        let _ = client.set_metadata(INTEGRATION, &name(number), metadata).await.ok();
    }
    // The schedules of all are started, half of them here and half there; each is due.
    for number in 0..CONNECTIONS {
        let node = if number % 2 == 0 { &client } else { &second.client() };
        let _ = node.post("/sync/start", &of(&name(number), &["pages"])).await.ok();
    }
    for number in 0..CONNECTIONS {
        let ended = |status: &Value| status["status"] == "SUCCESS";
        let status = client.wait_for_sync(INTEGRATION, &name(number), "pages", ended).await;
        assert!(status["nextScheduledSyncAt"].is_string(), "{status}");
    }
    let mut requests = BTreeMap::<String, u32>::new();
    for received in upstream.received() {
        *requests.entry(received.target).or_default() += 1;
    }
    assert_eq!(requests.len(), CONNECTIONS, "{requests:?}");
    assert!(requests.values().all(|count| *count == 1), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_waits_long_for_a_rate_limit_leaves_memory_and_goes_on() {
    let refusals = std::sync::atomic::AtomicU32::new(0);
    let upstream = Upstream::handling(move |request| {
        let item = |id: u64| json!([{"id": id.to_string(), "value": id}]);
        match request.target.as_str() {
            "/items" => Reply::json(200, &item(1)).header("link", "</more>; rel=\"next\""),
            "/more" if refusals.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 => {
                Reply::status(429).header("retry-after", "3")
            }
            _ => Reply::json(200, &item(2)),
        }
    })
    .await;
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_SYNC_RATE_LIMIT_WAIT_MS", "500");
    let (server, client) = prepared(runtime, &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let metadata = json!({"path": "/items"});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let _ = client.trigger_sync(INTEGRATION, CONNECTION, "pages").await.ok();
    let waits = |status: &Value| status["rateLimitedUntil"].is_string();
    let waiting = client.wait_for_sync(INTEGRATION, CONNECTION, "pages", waits).await;
    assert_eq!(
        (&waiting["status"], &waiting["recordCount"]["Item"]),
        (&json!("RUNNING"), &json!(1)),
        "{waiting}"
    );
    let again = client.trigger_sync(INTEGRATION, CONNECTION, "pages").await;
    assert_eq!((again.status, again.error_code()), (409, "sync_already_running".into()));
    let ended = |status: &Value| status["latestExecutionStatus"] == "SUCCESS";
    let done = client.wait_for_sync(INTEGRATION, CONNECTION, "pages", ended).await;
    assert_eq!(done["recordCount"]["Item"], 2, "{done}");
    assert_eq!(
        done["latestResult"]["Item"]["added"], 2,
        "what it did before it waited counts: {done}"
    );
    let log = client.logs().await;
    assert!(log.contains("the sync is suspended"), "{log}");
    let log = server.log();
    let told = log
        .lines()
        .find_map(|line| line.split_once("waits until ")?.1.split(' ').next());
    let told = told.unwrap_or_else(|| panic!("until when it waits is not told: {log}"));
    assert!(
        told.len() == "2026-11-22T11:16:49.746Z".len() && told.starts_with("20") && told.ends_with('Z'),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setting_makes_a_refused_trigger_a_success() {
    let slow = Reply::json(200, &json!([])).after(Duration::from_secs(5));
    let upstream = Upstream::replying([slow]).await;
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_SYNC_ALREADY_RUNNING", "success");
    let (_server, client) = prepared(runtime, &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let metadata = json!({"path": "/items"});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    for _ in 0..2 {
        let answer = client.trigger_sync(INTEGRATION, CONNECTION, "pages").await;
        assert_eq!(answer.ok(), json!({"success": true}));
    }
    let _ = client.post("/sync/cancel", &of(CONNECTION, &["pages"])).await.ok();
    let stopped = |status: &Value| status["latestExecutionStatus"] == "STOPPED";
    let _ = client.wait_for_sync(INTEGRATION, CONNECTION, "pages", stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_leaves_the_frequency_of_a_connection_alone() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let body = json!({"sync_name": "items", "provider_config_key": INTEGRATION, "connection_id": CONNECTION,
        "frequency": "every 1.5 hours"});
    let set = client
        .json(Method::PUT, "/sync/update-connection-frequency", &body)
        .await;
    assert_eq!(set.ok(), json!({"frequency": "90 minutes"}));
    let _ = client.deploy(INTEGRATION, guest::component("changed")).await.ok();
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let status = client.sync_status(INTEGRATION, CONNECTION, "items").await;
    assert_eq!(status["frequency"], "every 90 minutes", "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn syncs_from_the_command_line() {
    let (server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let metadata = json!({"pages": 2, "records": 3, "value": 1});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let run = |arguments: &[&str]| {
        let all = [&["sync"], arguments, &["--connection", CONNECTION]].concat();
        let ended = Cli::of(&server, &all).run();
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
        ended.stdout
    };
    let listed = run(&["list", INTEGRATION]);
    assert!(listed.contains("items") && listed.contains("every hour"), "{listed}");
    let triggered = run(&["trigger", INTEGRATION, "items", "--wait"]);
    assert!(
        triggered.contains("PAUSED") && triggered.contains("SUCCESS"),
        "{triggered}"
    );
    let _ = run(&["start", INTEGRATION, "items"]);
    let watched = run(&["status", INTEGRATION, "items", "--watch", "--until-idle"]);
    assert!(watched.contains("items"), "{watched}");
    let _ = run(&["cancel", INTEGRATION, "items"]);
    let _ = run(&["reset", INTEGRATION, "items", "--empty-records"]);
    let _ = run(&["pause", INTEGRATION, "items"]);
    let status = run(&["status", INTEGRATION, "items"]);
    assert!(status.contains("PAUSED"), "{status}");
    let unknown = Cli::of(&server, &["sync", "pause", INTEGRATION, "nope"]).run();
    assert_eq!(unknown.code, Some(1), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_that_nobody_made_is_refused_and_not_made() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let body = |sync: &str| json!({"provider_config_key": INTEGRATION, "connection_id": CONNECTION, "syncs": [sync]});
    let refused = |answer: Answer, code: &str| {
        assert_eq!(
            (answer.status, answer.error_code()),
            (400, code.into()),
            "{}",
            answer.text()
        );
        let wanted = format!("there is no variant \"typo\" of the sync \"items\" of the connection \"{CONNECTION}\"");
        assert!(
            answer.text().replace("\\\"", "\"").contains(&wanted),
            "{}",
            answer.text()
        );
    };
    for command in ["trigger", "start", "pause", "cancel"] {
        let answer = client.post(&format!("/sync/{command}"), &body("items::typo")).await;
        refused(answer, "no_syncs_found");
    }
    let query = format!("provider_config_key={INTEGRATION}&connection_id={CONNECTION}");
    let status = client.get(&format!("/sync/status?{query}&syncs=items::typo")).await;
    refused(status, "no_syncs_found");
    let frequency = json!({
        "provider_config_key": INTEGRATION, "connection_id": CONNECTION, "sync_name": "items", "sync_variant": "typo",
        "frequency": "every day",
    });
    let request = client.request(Method::PUT, "/sync/update-connection-frequency");
    refused(
        client::send(client::json_body(request, &frequency)).await,
        "unknown_sync",
    );
    let all = client.get(&format!("/sync/status?{query}&syncs=*")).await.ok();
    let syncs = all["syncs"].as_array().expect("syncs");
    assert!(syncs.iter().all(|sync| sync["variant"] == "base"), "{all}");

    // One that somebody made is found, of this connection and of all.
    let of = json!({"provider_config_key": INTEGRATION, "connection_id": CONNECTION});
    let _ = client.post("/sync/items/variant/eu", &of).await.ok();
    for connection in [query.as_str(), &format!("provider_config_key={INTEGRATION}")] {
        let status = client
            .get(&format!("/sync/status?{connection}&syncs=items::eu,items"))
            .await
            .ok();
        let syncs = status["syncs"].as_array().expect("syncs").iter();
        let variants: Vec<_> = syncs.map(|sync| sync["variant"].as_str().unwrap_or_default()).collect();
        assert_eq!(variants, ["base", "eu"], "{status}");
    }
    let _ = client.post("/sync/trigger", &body("items::eu")).await.ok();
}
