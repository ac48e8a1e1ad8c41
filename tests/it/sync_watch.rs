//! `nango-runtime sync status --watch` beside a sync that is held back by its provider for a moment.

use std::sync::atomic::{AtomicU32, Ordering};

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::upstream::closed_port;
use nango_runtime_tests::{Reply, TestRuntime, Upstream, guest};
use serde_json::json;

use crate::fixture::{CONNECTION, INTEGRATION, prepared, providers};

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_sees_pages_requests_and_short_waits() {
    let refusals = AtomicU32::new(0);
    let upstream = Upstream::handling(move |request| match request.target.as_str() {
        "/items" => {
            let items = json!([{"id": "1", "value": 1}, {"id": "2", "value": 2}]);
            Reply::json(200, &items).header("link", "</more>; rel=\"next\"")
        }
        // Shorter than what makes a sync leave memory.
        "/more" if refusals.fetch_add(1, Ordering::SeqCst) == 0 => Reply::status(429).header("retry-after", "8"),
        _ => Reply::json(200, &json!([{"id": "3", "value": 3}])),
    })
    .await;
    let (server, client) = prepared(TestRuntime::new().egress_loopback(), &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let metadata = json!({"path": "/items"});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let _ = client.trigger_sync(INTEGRATION, CONNECTION, "pages").await.ok();
    let arguments = ["sync", "status", INTEGRATION, "pages", "--watch", "--until-idle"];
    let watched = Cli::of(&server, &arguments).run();
    assert_eq!(watched.code, Some(0), "{}", watched.stderr);

    let looks: Vec<String> = watched.stdout.split("SYNC ").map(settled).collect();
    let waiting = looks.iter().rfind(|look| look.contains("waits for"));
    insta::assert_snapshot!(waiting.map_or(watched.stdout.as_str(), String::as_str), @r#"
    VARIANT | CONNECTION | STATUS | RECORDS/S | PAGES | REQUESTS | WRITTEN | RECORDS | NEXT
    pages | base | conn-1 | waits for the rate limit until [time] | [records/s] | 1 | 2 | 2 | {"Item":2}
    "#);
    insta::assert_snapshot!(looks.last().map_or("", String::as_str), @r#"
    VARIANT | CONNECTION | STATUS | RECORDS/S | PAGES | REQUESTS | WRITTEN | RECORDS | NEXT
    pages | base | conn-1 | PAUSED | 3 | {"Item":3}
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_waits_for_a_server_that_is_away() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let port = closed_port();
    let runtime = || TestRuntime::new().data(folder.path()).port(port);
    let (mut server, client) = prepared(runtime(), "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let process = Cli::of(&server, &["sync", "status", INTEGRATION, "items", "--watch", "--json"]).start();
    let wait_for = |text: &str| process.wait_for_line(|line| line.contains(text).then_some(()));
    wait_for("\"PAUSED\"");
    server.process().kill();
    wait_for("waiting for it to come back");
    let server = runtime().provider_yaml(&providers("http://127.0.0.1:9")).start();
    wait_for("answers again");
    let client = server.client();
    let metadata = json!({"pages": 1, "records": 3, "value": 1});
    let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
    let _ = client.run_sync(INTEGRATION, CONNECTION, "items").await;
    wait_for("\"recordCount\":{\"Item\":3}");
}

/// Without what differs from run to run: times, the pace, and the blanks that depend on them.
fn settled(look: &str) -> String {
    let lines = look.lines().map(|line| {
        let words = line.split("  ").filter(|word| !word.trim().is_empty()).map(str::trim);
        let words = words.map(|word| match word.split_once("until ") {
            Some((waits, _time)) => format!("{waits}until [time]"),
            None => word.to_owned(),
        });
        let mut words: Vec<String> = words.collect();
        if line.contains("waits for") {
            words[4] = "[records/s]".to_owned();
        }
        words.join(" | ")
    });
    lines.collect::<Vec<_>>().join("\n")
}
