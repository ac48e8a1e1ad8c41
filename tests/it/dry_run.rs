//! Dry runs, fixtures and offline tests: what runs for real writes nothing, and what it did once runs again without anybody.

use std::path::Path;

use nango_runtime_tests::command::{Cli, Ended};
use nango_runtime_tests::{Reply, Server, Upstream, guest, repository};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, with_guest, with_upstream};

fn dryrun(server: &Server, arguments: &[&str]) -> Ended {
    Cli::of(server, &[&["dryrun"], arguments].concat()).run()
}

fn component_file(server: &Server, name: &str) -> String {
    let path = server.folder().join(format!("{name}.wasm"));
    std::fs::write(&path, guest::component(name)).expect("a file can be written");
    path.to_string_lossy().into_owned()
}

/// `nango-runtime test` without any server.
fn offline(component: &str, path: &Path, arguments: &[&str]) -> Ended {
    let path = path.to_string_lossy().into_owned();
    Cli::new(&[&["test", &path, "--component", component], arguments].concat()).run()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_a_sync_shows_what_it_would_write_and_writes_nothing() {
    let (server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let metadata = json!({"pages": 2, "records": 3, "value": 7, "delete": ["0"]});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let report = dryrun(&server, &["items", CONNECTION, "--json"]).json();
    assert_eq!(report["success"], true, "{report}");
    let item = &report["effects"]["records"]["Item"];
    assert_eq!(item["saved"].as_array().map(Vec::len), Some(6), "{report}");
    assert_eq!(item["saved"][0], json!({"id": "0", "value": 7}));
    assert_eq!(item["deleted"], json!([{"id": "0"}]));
    assert_eq!(
        report["effects"]["checkpoint_after"],
        json!({"json": null}),
        "it was cleared"
    );
    assert_eq!(report["effects"]["logs"][0]["message"], "page 0: 3 added, 0 updated");

    let from_page_1 = dryrun(
        &server,
        &["items", CONNECTION, "--checkpoint", r#"{"page":1}"#, "--json"],
    )
    .json();
    let saved = &from_page_1["effects"]["records"]["Item"]["saved"];
    assert_eq!(
        saved.as_array().map(Vec::len),
        Some(3),
        "it went on from there: {from_page_1}"
    );
    let other = [
        "items",
        CONNECTION,
        "--metadata",
        r#"{"pages":1,"records":1,"value":1}"#,
    ];
    let shown = dryrun(&server, &other);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    for text in [
        "Item: 1 saved (1 added)",
        r#"{"id":"0","value":1}"#,
        "page 0: 1 added",
        "Checkpoint: none",
        "Dry run: ",
    ] {
        assert!(shown.stdout.contains(text), "{text} is not in\n{}", shown.stdout);
    }

    let records = client.records(INTEGRATION, CONNECTION, "Item", "").await.ok();
    assert_eq!(records["records"], json!([]));
    let _ = client
        .set_metadata(INTEGRATION, CONNECTION, json!({"pages": 1, "records": 2}))
        .await
        .ok();
    let _ = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    let over = dryrun(
        &server,
        &[
            "items",
            CONNECTION,
            "--metadata",
            r#"{"pages":1,"records":3,"value":1}"#,
        ],
    );
    assert!(
        over.stdout.contains("page 0: 1 added, 2 updated"),
        "it knows what is there: {}",
        over.stdout
    );
    let status = client.sync_status(INTEGRATION, CONNECTION, "items").await;
    assert_eq!(status["checkpoint"], Value::Null, "{status}");
    let log = client.get("/logs/operations?function=items").await.text();
    assert!(log.contains("Dry run: nothing was written"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_an_action_leaves_metadata_and_checkpoint_alone() {
    let (server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let _ = client.set_metadata(INTEGRATION, CONNECTION, json!({"a": 1})).await.ok();
    let report = dryrun(&server, &["metadata", CONNECTION, "--input", r#"{"b":2}"#, "--json"]).json();
    assert_eq!(
        report["output"],
        json!({"a": 1, "b": 2}),
        "it reads what it wrote: {report}"
    );
    let steps = r#"[{"save":{"page":3}},"get"]"#;
    let report = dryrun(&server, &["checkpoint", CONNECTION, "--input", steps, "--json"]).json();
    assert_eq!(report["output"], json!({"page": 3}));
    let path = format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}");
    assert_eq!(client.get(&path).await.ok()["metadata"], json!({"a": 1}));
    let kept = client
        .trigger_action(INTEGRATION, CONNECTION, "checkpoint", json!(["get"]))
        .await;
    assert_eq!(kept.ok(), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dry_run_saved_runs_again_without_server_and_upstream() {
    let reply = Reply::json(200, &json!({"n": 1, "echo": API_KEY}));
    let upstream = Upstream::replying([reply]).await;
    let (server, _) = with_guest("basic", &upstream.url()).await;
    let input = r#"{"path":"/things?a=1"}"#;
    let fixture = server.folder().join("tests/fetch.test.json");
    let saved = dryrun(&server, &["fetch", CONNECTION, "--input", input, "--save"]);
    assert_eq!(saved.code, Some(0), "{}", saved.stderr);
    let random = server.folder().join("tests/surroundings.test.json");
    let saved = dryrun(
        &server,
        &["surroundings", CONNECTION, "--save", "tests/surroundings.test.json"],
    );
    assert_eq!(saved.code, Some(0), "{}", saved.stderr);
    let text = std::fs::read_to_string(&fixture).expect("the fixture was saved");
    assert!(!text.contains(API_KEY), "a credential was saved:\n{text}");
    let written: Value = serde_json::from_str(&text).expect("a fixture is JSON");
    assert_eq!(
        written["api"]["get"]["/things"][0]["request"]["params"],
        json!({"a": "1"}),
        "{written}"
    );
    assert_eq!(upstream.received().len(), 1);
    drop(upstream);

    let component = component_file(&server, "basic");
    let ran = offline(&component, server.folder(), &[]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("2 passed, 0 failed"), "{}", ran.stdout);

    // Time and randomness are the recorded ones: another expectation fails, with what was found.
    let edit = |path: &Path, change: &dyn Fn(&mut Value)| {
        let mut value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(path, value.to_string()).unwrap();
    };
    edit(&random, &|value| value["output"]["now_ms"] = json!(5));
    edit(&fixture, &|value| value["input"]["path"] = json!("/thinks?a=1"));
    let junit = server.folder().join("junit.xml");
    let ran = offline(&component, server.folder(), &["--junit", &junit.to_string_lossy()]);
    assert_eq!(ran.code, Some(1));
    for text in [
        "0 passed, 2 failed",
        "output/now_ms",
        "    - 5",
        "GET /thinks?a=1 was not recorded; the nearest recorded request is GET /things?a=1: the path differs",
    ] {
        assert!(ran.stdout.contains(text), "{text} is not in\n{}", ran.stdout);
    }
    let report = std::fs::read_to_string(junit).expect("a report was written");
    assert!(report.contains(r#"tests="2" failures="2""#), "{report}");

    edit(&fixture, &|value| value["input"]["path"] = json!("/things?a=1"));
    let updated = offline(&component, server.folder(), &["--update"]);
    assert_eq!(updated.code, Some(0), "{}{}", updated.stdout, updated.stderr);
    assert_eq!(offline(&component, server.folder(), &[]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_not_deployed_can_be_run_dry() {
    let upstream = Upstream::replying([Reply::json(200, &json!({"ok": true}))]).await;
    let (server, client) = with_upstream(&upstream.url()).await;
    let component = component_file(&server, "basic");
    let input = r#"{"path":"/x"}"#;
    let arguments = [
        "fetch",
        CONNECTION,
        "--component",
        &component,
        "--input",
        input,
        "--json",
    ];
    assert_eq!(dryrun(&server, &arguments).json()["output"]["status"], 200);
    let functions = client.get(&format!("/integrations/{INTEGRATION}/functions")).await.ok();
    assert_eq!(functions["data"], json!([]), "nothing was deployed");

    let key = async |scopes: Value| {
        let body = json!({"name": scopes.to_string(), "scopes": scopes});
        client.post("/api-keys", &body).await.ok()["data"]["key"]
            .as_str()
            .expect("a key")
            .to_owned()
    };
    let path = format!("/integrations/{INTEGRATION}/functions/fetch/dry-run");
    let without = client.with_key(Some(&key(json!(["environment:functions:read"])).await));
    let refused = without.post(&path, &json!({"connection_id": CONNECTION})).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let dry_only = client.with_key(Some(&key(json!(["environment:functions:dry_run"])).await));
    let refused = dry_only
        .post(&path, &json!({"connection_id": CONNECTION, "component": "AAAA"}))
        .await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("environment:deploy"), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_that_fails_says_how() {
    let upstream = Upstream::replying([Reply::json(404, &json!({"error": "gone"}))]).await;
    let (server, _) = with_guest("basic", &upstream.url()).await;
    let failed = dryrun(
        &server,
        &["http-error", CONNECTION, "--input", r#"{"path":"/nope"}"#, "--save"],
    );
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.stdout.contains("404") && failed.stdout.contains("script_http_error"),
        "{}",
        failed.stdout
    );
    let component = component_file(&server, "basic");
    let ran = offline(&component, server.folder(), &[]);
    assert_eq!(
        ran.code,
        Some(0),
        "the fixture expects the failure: {}{}",
        ran.stdout,
        ran.stderr
    );
    let unknown = dryrun(&server, &["no-such", CONNECTION]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("no-such"), "{}", unknown.stderr);
    let nobody = dryrun(&server, &["echo", "nobody"]);
    assert!(
        nobody.stderr.contains("there is no connection \"nobody\""),
        "{}",
        nobody.stderr
    );
}

#[test]
fn the_fixtures_of_the_example_pass() {
    let root = repository::root();
    let component = root.join("target/guests/github.wasm");
    let component = repository::require(component, "guests");
    let ran = offline(
        &component.to_string_lossy(),
        &root.join("examples/github/tests"),
        &["--json"],
    );
    let report = ran.json();
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&json!(4), &json!(0)),
        "{report:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_starts_no_other_function_and_locks_nobody_out() {
    let (server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    for (function, input) in [
        ("call-through", r#"{"action":"echo","input":1}"#),
        ("call-sync", r#"{"sync":"items"}"#),
    ] {
        let ended = dryrun(&server, &[function, CONNECTION, "--input", input, "--json"]);
        assert_eq!(ended.code, Some(1), "{function}: {}", ended.stdout);
        assert!(
            ended.stderr.contains("a dry run starts no other function"),
            "{function}: {}",
            ended.stderr
        );
    }
    let log = client.get("/logs/operations?function=echo").await.ok();
    assert_eq!(log["data"], json!([]), "nothing was started: {log}");

    let held = {
        let client = client.clone();
        let input = json!({"key": "k", "ttl_ms": 60_000, "hold_ms": 1_500, "release": true});
        tokio::spawn(async move {
            loop {
                let held = client
                    .trigger_action(INTEGRATION, CONNECTION, "lock", input.clone())
                    .await
                    .ok();
                // A probe may have been faster.
                if held["taken"] == true {
                    return held;
                }
            }
        })
    };
    let taken = |ttl_ms: u64| json!({"key": "k", "ttl_ms": ttl_ms, "hold_ms": 0, "release": true});
    loop {
        let probe = client
            .trigger_action(INTEGRATION, CONNECTION, "lock", taken(1_000))
            .await
            .ok();
        if probe["taken"] == false {
            break;
        }
    }
    let input = taken(1_000).to_string();
    let report = dryrun(&server, &["lock", CONNECTION, "--input", &input, "--json"]).json();
    assert_eq!(
        report["output"],
        json!({"taken": true, "released": true}),
        "its locks are its own: {report}"
    );
    assert_eq!(held.await.expect("it ends"), json!({"taken": true, "released": true}));
}
