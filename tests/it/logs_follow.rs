//! `nango-runtime logs --follow`: everything, once, also across a restart of the server.

use std::collections::BTreeSet;
use std::time::Duration;

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::process::{Process, Stream};
use nango_runtime_tests::upstream::closed_port;
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared, providers};

fn follow(server: &Server, arguments: &[&str]) -> Process {
    Cli::of(server, &[&["logs", "--follow"], arguments].concat()).start()
}

/// The lines of JSON so far.
fn told(process: &Process) -> Vec<Value> {
    let text = process.text(Some(Stream::Stdout));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect()
}

fn wait_for(process: &Process, text: &str) {
    process.wait_for_line(|line| line.contains(text).then_some(()));
}

async fn echo(client: &Client, count: u32) {
    for n in 0..count {
        let _ = client
            .trigger_action(INTEGRATION, CONNECTION, "echo", json!({"n": n}))
            .await
            .ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_told_once_each_also_across_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let port = closed_port();
    let runtime = || TestRuntime::new().egress_loopback().data(folder.path()).port(port);
    let (mut server, client) = prepared(runtime(), "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    echo(&client, 30).await;
    let mut process = follow(&server, &["--json", "--type", "action"]);
    wait_for(&process, "echo");
    echo(&client, 200).await;
    // What was answered is in the log a moment later; kill -9 may take the last moment with it.
    server.process().signal("TERM");
    let _ = server.process().wait();
    wait_for(&process, "waiting for it to come back");
    let server = runtime().provider_yaml(&providers("http://127.0.0.1:9")).start();
    wait_for(&process, "answers again");
    echo(&server.client(), 100).await;
    let _ = server
        .client()
        .trigger_action(INTEGRATION, CONNECTION, "refuse", Value::Null)
        .await;
    wait_for(&process, "refuse");
    let operations = told(&process);
    let ids: BTreeSet<&str> = operations.iter().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!((operations.len(), ids.len()), (10 + 200 + 100 + 1, operations.len()));
    process.signal("INT");
    assert_eq!(process.wait().code(), Some(0));
    let notes = process.text(Some(Stream::Stderr));
    assert_eq!(notes.lines().count(), 2, "{notes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_told_at_its_beginning_and_at_its_end() {
    let upstream = Upstream::replying([Reply::json(200, &json!([])).after(Duration::from_secs(2))]).await;
    let (server, client) = prepared(TestRuntime::new().egress_loopback(), &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let _ = client
        .set_metadata(INTEGRATION, CONNECTION, json!({"path": "/slow"}))
        .await
        .ok();
    let mut process = follow(&server, &["--type", "sync"]);
    let _ = client.trigger_sync(INTEGRATION, CONNECTION, "pages").await.ok();
    wait_for(&process, "running");
    // Others come and go meanwhile.
    echo(&client, 3).await;
    wait_for(&process, "success");
    process.signal("INT");
    assert_eq!(process.wait().code(), Some(0));
    let text = process.text(Some(Stream::Stdout));
    let states: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(states, ["running", "success"], "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_an_operation_come_until_it_ends() {
    let upstream = Upstream::replying([
        Reply::json(503, &json!({})).header("retry-after", "1"),
        Reply::json(503, &json!({})).header("retry-after", "1"),
        Reply::json(200, &json!([])),
    ])
    .await;
    let (server, client) = prepared(TestRuntime::new().egress_loopback(), &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let _ = client
        .set_metadata(INTEGRATION, CONNECTION, json!({"path": "/slow"}))
        .await
        .ok();
    let _ = client.trigger_sync(INTEGRATION, CONNECTION, "pages").await.ok();
    let id = loop {
        let found = client.get("/logs/operations?type=sync").await.ok();
        if let Some(id) = found["data"][0]["id"].as_str() {
            break id.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let mut process = follow(&server, &["--json", "--operation", &id]);
    assert_eq!(process.wait().code(), Some(0), "it ends with the operation");
    let lines = told(&process);
    let codes: Vec<&Value> = lines[..3]
        .iter()
        .map(|one| &one["fields"]["response"]["code"])
        .collect();
    assert_eq!(codes, [503, 503, 200]);
    assert_eq!((lines.len(), &lines[3]["state"]), (4, &json!("success")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_an_error_at_the_beginning() {
    let nowhere = format!("http://127.0.0.1:{}", closed_port());
    let ended = Cli::new(&["logs", "--follow"])
        .environment("NANGO_HOSTPORT", &nowhere)
        .environment("NANGO_SECRET_KEY", nango_runtime_tests::server::SECRET_KEY)
        .run();
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
}
