//! Writing functions, from an empty folder to an answer: `new`, `test`, `deploy`, `invoke`, and `dev` on the way.

use std::path::{Path, PathBuf};

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::process::Stream;
use nango_runtime_tests::{Reply, Server, TestRuntime, Upstream, repository};
use serde_json::json;

use crate::fixture::{CONNECTION, DEPLOY_KEY, INTEGRATION, SIGNING_KEY, prepared, with_upstream};

fn cli(server: &Server, arguments: &[&str]) -> Cli {
    repository::guest_compiler()
        .iter()
        .fold(Cli::of(server, arguments), |cli, (name, value)| {
            cli.environment(name, value)
        })
}

/// Makes a project in the server's folder.
fn project(server: &Server, name: &str, kind: &str) -> PathBuf {
    let root = repository::root();
    let made = Cli::of(server, &["new", name, "--kind", kind, "--sdk", &root.to_string_lossy()]).run();
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let folder = server.folder().join(name);
    // The versions that are there already: the tests need no registry.
    std::fs::copy(root.join("tests/guests/Cargo.lock"), folder.join("Cargo.lock")).expect("a file can be copied");
    folder
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).expect("a source file");
    assert!(text.contains(from), "{from} is not in\n{text}");
    std::fs::write(path, text.replace(from, to)).expect("a file can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_action_is_green_and_answers_when_deployed() {
    let upstream = Upstream::replying([Reply::json(200, &json!({"id": "5", "name": "fifth"}))]).await;
    let (server, _) = with_upstream(&upstream.url()).await;
    let _ = project(&server, "get-item", "action");
    let tested = cli(&server, &["test", "get-item"]).run();
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
    assert!(tested.stdout.contains("1 passed, 0 failed"), "{}", tested.stdout);
    let deployed = cli(&server, &["deploy", "get-item", "--integration", INTEGRATION]).run();
    assert_eq!(deployed.code, Some(0), "{}", deployed.stderr);
    let invoke = [
        "invoke",
        INTEGRATION,
        "get-item",
        "--connection",
        CONNECTION,
        "--input",
        r#"{"id":"5"}"#,
    ];
    assert_eq!(cli(&server, &invoke).run().json(), json!({"id": "5", "name": "fifth"}));
    assert_eq!(upstream.received()[0].target, "/items/5");

    let again = cli(&server, &["new", "get-item", "--kind", "sync"]).run();
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
    // Nobody said where the SDK comes from: it is the one beside the program.
    let found = cli(&server, &["new", "other", "--kind", "action"]).run();
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    let sdk = repository::root().join("guest-sdk");
    assert!(found.stdout.contains(&*sdk.to_string_lossy()), "{}", found.stdout);
    let odd = cli(&server, &["new", "../x", "--kind", "sync"]).run();
    assert_eq!(odd.code, Some(2));
    assert!(odd.stderr.contains("lower-case letters"), "{}", odd.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_sync_is_green_and_saves_records() {
    let page = json!([{"id": "1", "name": "one"}]);
    let upstream = Upstream::replying([Reply::json(200, &page)]).await;
    let (server, client) = with_upstream(&upstream.url()).await;
    let _ = project(&server, "keep-items", "sync");
    let tested = cli(&server, &["test", "keep-items"]).run();
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
    let deployed = cli(&server, &["deploy", "keep-items", "--integration", INTEGRATION]).run();
    assert_eq!(deployed.code, Some(0), "{}", deployed.stderr);
    let status = client.run_sync(INTEGRATION, CONNECTION, "keep-items").await;
    assert_eq!(status["recordCount"], json!({"Item": 1}), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_on_event_function_is_green_and_runs() {
    let upstream = Upstream::replying([Reply::json(200, &json!({"id": "7", "name": "Acme"}))]).await;
    let (server, client) = with_upstream(&upstream.url()).await;
    let _ = project(&server, "know-account", "on-event");
    let tested = cli(&server, &["test", "know-account"]).run();
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
    let deployed = cli(&server, &["deploy", "know-account", "--integration", INTEGRATION]).run();
    assert_eq!(deployed.code, Some(0), "{}", deployed.stderr);
    let dry = cli(
        &server,
        &["dryrun", "know-account", CONNECTION, "--integration", INTEGRATION],
    )
    .run();
    assert_eq!(dry.code, Some(0), "{}{}", dry.stdout, dry.stderr);
    let credentials = json!({"type": "API_KEY", "apiKey": "k"});
    let _ = client.import_connection(INTEGRATION, "new", credentials).await.ok();
    let path = format!("/connections/new?provider_config_key={INTEGRATION}");
    for _ in 0..500 {
        if client.get(&path).await.ok()["metadata"] == json!({"account_id": "7"}) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the function did not run: {}", client.logs().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_builds_deploys_and_runs_on_every_change() {
    let upstream = Upstream::replying([Reply::json(200, &json!({"id": "5", "name": "fifth"}))]).await;
    // It signs what it deploys where that is wanted.
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_DEPLOY_KEYS", DEPLOY_KEY);
    let (server, client) = prepared(runtime, &upstream.url()).await;
    std::fs::write(server.folder().join("deploy.pem"), SIGNING_KEY).expect("a file can be written");
    let folder = project(&server, "look-up", "action");
    let source = folder.join("src/lib.rs");
    // So that dev finds the dependencies built.
    let built = cli(&server, &["build", "look-up"]).run();
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let arguments = [
        "dev",
        "look-up",
        "--integration",
        INTEGRATION,
        "--invoke",
        "look-up",
        "--connection",
        CONNECTION,
        "--signing-key",
        "deploy.pem",
    ];
    let mut dev = cli(&server, &[&arguments[..], &["--input", r#"{"id":"5"}"#]].concat()).start();
    let wait = |text: &str| dev.wait_for_line(|line| line.contains(text).then_some(()));
    wait("deployed look-up v1");
    wait("GET    /items/5  200");
    wait("watching look-up");

    edit(&source, "/items/{}", "/things/{}");
    wait("deployed look-up v2");
    wait("GET    /things/5  200");

    edit(&source, "Ok(answer.json()?)", "Ok(answer.jsan()?)");
    wait("no method named `jsan`");
    wait("the last version that was built stays deployed");
    let functions = client.get(&format!("/integrations/{INTEGRATION}/functions")).await.ok();
    assert_eq!(functions["data"][0]["version"], 2, "{functions}");

    edit(&source, "answer.jsan()", "answer.json()");
    edit(&source, "/things/{}", "/thoughts/{}");
    wait("deployed look-up v3");
    wait("GET    /thoughts/5  200");
    dev.signal("INT");
    let status = dev.wait();
    assert_eq!(status.code(), Some(0), "{}", dev.text(Some(Stream::Stderr)));

    // What ran last is what is run when nothing is named.
    let arguments = [
        "dev",
        "look-up",
        "--integration",
        INTEGRATION,
        "--input",
        r#"{"id":"6"}"#,
        "--signing-key",
        "deploy.pem",
    ];
    let mut dev = cli(&server, &arguments).start();
    dev.wait_for_line(|line| line.contains("GET    /thoughts/6  200").then_some(()));
    dev.signal("INT");
    assert_eq!(dev.wait().code(), Some(0), "{}", dev.text(Some(Stream::Stderr)));
}
