//! The log as one reads it: through the API, and with `nango-runtime logs`.

use std::time::Duration;

use nango_runtime_tests::command::{Cli, Ended};
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared, providers, with_upstream};

/// A server with an operation of each kind: a deploy, proxied requests that succeed and fail, actions that do, and a sync.
async fn busy() -> (Server, Client, Upstream) {
    let upstream = Upstream::handling(|request| {
        let status = if request.target.contains("missing") { 404 } else { 200 };
        Reply::json(status, &json!({"path": request.target}))
    })
    .await;
    let (server, client) = with_upstream(&upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let _ = client.proxy_get(INTEGRATION, CONNECTION, "/widgets?page=2").await;
    let _ = client.proxy_get(INTEGRATION, CONNECTION, "/missing").await;
    let _ = client.trigger_action(INTEGRATION, CONNECTION, "echo", json!({})).await;
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "refuse", json!(null))
        .await;
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "log-lines", json!({"n": 1}))
        .await;
    let metadata = json!({"pages": 1, "records": 1, "value": 7});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let _ = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    (server, client, upstream)
}

fn logs(server: &Server, arguments: &[&str]) -> Ended {
    Cli::of(server, &[&["logs"], arguments].concat()).run()
}

/// Type and function of each operation, the oldest first.
fn listed(ended: &Ended) -> Vec<String> {
    let list = ended.json();
    let operations = list["data"].as_array().expect("a list").iter().rev();
    let name = |operation: &Value| {
        let function = operation["function"].as_str().unwrap_or_default();
        format!("{} {function}", operation["type"].as_str().unwrap_or_default())
    };
    operations
        .map(|operation| name(operation).trim_end().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_finds_operations_by_what_they_are() {
    let (server, _, _upstream) = busy().await;
    let find = |arguments: &[&str]| listed(&logs(&server, &[arguments, &["--json"]].concat()));
    let all = [
        "auth:create_connection",
        "deploy:custom",
        "proxy:call",
        "proxy:call",
        "action:run echo",
        "action:run refuse",
        "action:run log-lines",
        "sync:run items",
    ];
    assert_eq!(find(&[]), all);
    assert_eq!(find(&["--integration", INTEGRATION]), all);
    assert_eq!(find(&["--integration", "other"]), [""; 0]);
    assert_eq!(find(&["--connection", CONNECTION]), [&all[..1], &all[2..]].concat());
    assert_eq!(find(&["--connection", "other"]), [""; 0]);
    assert_eq!(find(&["--function", "echo"]), all[4..5]);
    assert_eq!(find(&["--type", "action"]), all[4..7]);
    assert_eq!(find(&["--type", "sync:run"]), all[7..]);
    assert_eq!(find(&["--state", "failed"]), ["proxy:call", "action:run refuse"]);
    assert_eq!(find(&["--since", "1h"]), all);
    assert_eq!(find(&["--until", "1h"]), [""; 0]);
    assert_eq!(find(&["--search", "WIDGETS"]), ["proxy:call"], "in a message");
    assert_eq!(find(&["--limit", "2"]), all[6..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_without_gap() {
    let (server, client, _upstream) = busy().await;
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut arguments = vec!["--json", "--limit", "2"];
        if !cursor.is_empty() {
            arguments.extend(["--cursor", &cursor]);
        }
        let page = logs(&server, &arguments).json();
        ids.extend(
            page["data"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|one| one["id"].clone()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    let all = client.get("/logs/operations").await.ok();
    let expected: Vec<Value> = all["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["id"].clone())
        .collect();
    assert_eq!((ids.len(), ids), (8, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_has_its_messages() {
    let (server, client, _upstream) = busy().await;
    let find = |arguments: &[&str]| logs(&server, &[arguments, &["--json"]].concat()).json();
    let id = find(&["--function", "log-lines"])["data"][0]["id"].clone();
    let id = id.as_str().expect("an id");
    let one = client.get(&format!("/logs/operations/{id}")).await.ok();
    assert_eq!((&one["id"], &one["state"]), (&json!(id), &json!("success")), "{one}");
    let none = client.get("/logs/operations/op_none").await;
    assert_eq!((none.status, none.error_code().as_str()), (404, "not_found"));

    let levels = |arguments: &[&str]| {
        let messages = find(&[&["--operation", id], arguments].concat());
        let messages = messages["data"].as_array().expect("a list").clone();
        messages
            .iter()
            .map(|one| one["level"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(levels(&[]), ["debug", "info", "warn", "error"]);
    assert_eq!(levels(&["--level", "warn"]), ["warn", "error"]);
    assert_eq!(levels(&["--search", "LINE 0"]).len(), 4);
    assert_eq!(levels(&["--search", "line 1"]), [""; 0]);

    let sync = find(&["--type", "sync"])["data"][0]["id"].clone();
    let messages = find(&["--operation", sync.as_str().expect("an id")]);
    assert_eq!(
        messages["data"][0]["message"], "page 0: 1 added, 0 updated",
        "{messages}"
    );

    // Each attempt of a request is a message of its operation.
    let failed = find(&["--type", "proxy", "--state", "failed"])["data"][0]["id"].clone();
    let messages = find(&["--operation", failed.as_str().expect("an id")]);
    assert_eq!(messages["data"][0]["fields"]["response"]["code"], 404, "{messages}");
}

/// Ids, times and durations are different each time.
fn settled(ended: &Ended) -> Value {
    let text = |text: &str| {
        let mut lines = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
            let mut settled: Vec<&str> = Vec::new();
            for (at, word) in words.iter().enumerate() {
                let next = words.get(at + 1);
                settled.push(match *word {
                    word if word.starts_with("op_") => "ID",
                    word if word.starts_with("20") && word.contains('T') && word.contains(':') => "TIME",
                    word if word.starts_with("http://127.0.0.1") => "URL",
                    // Durations, and how many functions the guest holds today.
                    word if matches!(next, Some(&"ms" | &"functions"))
                        && word.starts_with(|c: char| c.is_ascii_digit()) =>
                    {
                        "N"
                    }
                    word => word,
                });
            }
            lines.push(settled.join(" "));
        }
        lines
    };
    json!({"code": ended.code, "stdout": text(&ended.stdout), "stderr": text(&ended.stderr)})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_sees() {
    let (server, _, _upstream) = busy().await;
    insta::assert_json_snapshot!("operations", settled(&logs(&server, &[])));
    insta::assert_json_snapshot!("no_operations", settled(&logs(&server, &["--function", "nope"])));
    let id = logs(&server, &["--function", "log-lines", "--json"]).json()["data"][0]["id"].clone();
    let id = id.as_str().expect("an id");
    insta::assert_json_snapshot!("messages", settled(&logs(&server, &["--operation", id])));
    insta::assert_json_snapshot!("wrong_time", settled(&logs(&server, &["--since", "yesterday"])));
    insta::assert_json_snapshot!("wrong_type", settled(&logs(&server, &["--type", "script"])));
    insta::assert_json_snapshot!(
        "unknown_operation",
        settled(&logs(&server, &["--operation", "op_none", "--follow"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_running_when_the_process_died_is_interrupted() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let runtime = || TestRuntime::new().egress_loopback().data(folder.path());
    let upstream = Upstream::replying([Reply::json(200, &json!([])).after(Duration::from_secs(60))]).await;
    let (mut server, client) = prepared(runtime(), &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let metadata = json!({"path": "/slow"});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let _ = client.trigger_sync(INTEGRATION, CONNECTION, "pages").await.ok();
    let running = loop {
        let found = client.get("/logs/operations?type=sync&state=running").await.ok();
        if let Some(id) = found["data"][0]["id"].as_str() {
            break id.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    server.process().kill();
    let server = runtime().provider_yaml(&providers(&upstream.url())).start();
    let found = server.client().get(&format!("/logs/operations/{running}")).await.ok();
    assert_eq!(found["state"], "failed", "{found}");
    assert!(
        found["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("Interrupted"))
            && found["ended_at"].is_string(),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operation_is_shown_whole_though_it_has_no_messages() {
    let (server, client, _upstream) = busy().await;
    let _ = client.run_sync(INTEGRATION, CONNECTION, "bad-record").await;
    let found = logs(&server, &["--function", "bad-record", "--json"]).json();
    let id = found["data"][0]["id"].as_str().expect("an id").to_owned();
    let shown = logs(&server, &[&id]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let end = "give every record a non-empty string or a number as `id`";
    assert!(
        shown.stdout.contains(&id) && shown.stdout.contains(end),
        "{}",
        shown.stdout
    );
}
