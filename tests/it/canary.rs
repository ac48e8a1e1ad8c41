//! Canaries: a deploy that a share of the connections tries, the same ones each time, on every node; rolled back when it fails,
//! promoted when it does not.

use std::collections::BTreeSet;
use std::time::Duration;

use nango_runtime::clock::{Clock, Entropy};
use nango_runtime::connections::{NewConnection, NewIntegration};
use nango_runtime::deploy::{CanaryOptions, Consent, NewComponent};
use nango_runtime::model::CanaryState;
use nango_runtime::{Runtime, config};
use nango_runtime_tests::client::send;
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Answer, Client, Database, Server, TestRuntime, guest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{INTEGRATION, prepared, providers, with_upstream};

const NOWHERE: &str = "http://127.0.0.1:9";
const CONNECTIONS: usize = 40;

async fn deploy(client: &Client, query: &str, component: &str) -> Answer {
    let path = format!("/integrations/{INTEGRATION}/functions?{query}");
    let request = client
        .request(Method::POST, &path)
        .header("content-type", "application/wasm")
        .body(guest::component(component));
    send(request).await
}

/// `steady` active, and [`CONNECTIONS`] connections.
async fn steady(runtime: TestRuntime) -> (Server, Client) {
    let (server, client) = prepared(runtime, NOWHERE).await;
    for number in 0..CONNECTIONS {
        let credentials = json!({"type": "API_KEY", "apiKey": "k"});
        let id = format!("c{number}");
        let _ = client.import_connection(INTEGRATION, &id, credentials).await.ok();
    }
    let _ = client.deploy(INTEGRATION, guest::component("steady")).await.ok();
    (server, client)
}

/// The connections for which the action answers as `risky` does.
async fn risky(client: &Client) -> BTreeSet<usize> {
    let mut tried = BTreeSet::new();
    for number in 0..CONNECTIONS {
        let answer = work(client, number, json!({})).await.ok();
        if answer == json!("risky") {
            tried.insert(number);
        }
    }
    tried
}

async fn work(client: &Client, number: usize, input: Value) -> Answer {
    let connection = format!("c{number}");
    client.trigger_action(INTEGRATION, &connection, "work", input).await
}

async fn canary(client: &Client) -> Value {
    let path = format!("/integrations/{INTEGRATION}/canary");
    client.get(&path).await.ok()["data"].clone()
}

/// Waits until its last canary is like that.
async fn until(client: &Client, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..500 {
        let found = canary(client).await;
        if wanted(&found) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the canary is {}", canary(client).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_tried_is_refused() {
    let (server, client) = with_upstream(NOWHERE).await;
    let refused = async |query: &str, component: &str, status: u16, code: &str, words: &str| {
        let answer = deploy(&client, query, component).await;
        assert_eq!(
            (answer.status, answer.error_code()),
            (status, code.to_owned()),
            "{}",
            answer.text()
        );
        assert!(answer.text().contains(words), "{}", answer.text());
    };
    refused("canary=10", "steady", 400, "invalid_canary", "would be new").await;
    assert_eq!(
        client.get(&format!("/integrations/{INTEGRATION}/canary")).await.status,
        404
    );
    let _ = deploy(&client, "", "steady").await.ok();
    refused("canary=0", "risky", 400, "invalid_canary", "1 to 99 %").await;
    refused("canary=100", "risky", 400, "invalid_canary", "1 to 99 %").await;
    refused(
        "canary=10&canary_errors=100",
        "risky",
        400,
        "invalid_canary",
        "0 to 99 %",
    )
    .await;
    refused(
        "canary=10&canary_minutes=0",
        "risky",
        400,
        "invalid_canary",
        "1 to 10080 minutes",
    )
    .await;
    refused("canary=ten", "risky", 400, "invalid_query_params", "whole number").await;
    refused("canary_minutes=5", "risky", 400, "invalid_body", "how many percent").await;
    refused("canary=10", "steady", 400, "invalid_canary", "nothing to try").await;
    // A plan says so as well.
    refused("canary=10&plan=true", "steady", 400, "invalid_canary", "nothing to try").await;
    let plan = deploy(&client, "plan=true", "risky").await.ok();
    assert_eq!(plan.get("canary"), None, "{plan}");
    refused(
        "canary=10&prune=true",
        "risky",
        400,
        "invalid_canary",
        "removes no functions",
    )
    .await;
    let end = format!("/integrations/{INTEGRATION}/canary/promote");
    assert_eq!(client.post(&end, &json!({})).await.status, 404);

    let begun = deploy(&client, "canary=10", "risky").await.ok();
    assert_eq!(begun["functions"][0]["version"], 1, "active is the other one: {begun}");
    assert_eq!(begun["functions"][0]["canary"], json!({"version": 2, "percent": 10}));
    refused(
        "canary=20",
        "risky",
        409,
        "canary_running",
        "nango-runtime canary promote|abort",
    )
    .await;
    refused("", "risky", 409, "canary_running", "is running").await;
    refused("canary=20&plan=true", "risky", 409, "canary_running", "is running").await;
    let aborted = Cli::of(&server, &["canary", "abort", INTEGRATION]).run();
    assert_eq!(aborted.code, Some(0), "{}", aborted.stderr);
    assert!(aborted.stdout.contains("somebody aborted it"), "{}", aborted.stdout);
    assert_eq!(deploy(&client, "", "risky").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_connections_tries_it_until_it_is_promoted() {
    let (server, client) = steady(TestRuntime::new()).await;
    let file = server.folder().join("risky.wasm");
    std::fs::write(&file, guest::component("risky")).expect("a file can be written");
    let file = file.to_string_lossy().into_owned();
    let arguments = [
        "deploy",
        &file,
        "--integration",
        INTEGRATION,
        "--canary",
        "30",
        "--canary-errors",
        "5",
        "--canary-minutes",
        "30",
    ];
    let planned = Cli::of(&server, &[&arguments[..], &["--plan"]].concat()).run();
    assert_eq!(planned.code, Some(0), "{}", planned.stderr);
    insta::assert_snapshot!(planned.stdout, @r"
    upstream

    FUNCTION  TYPE    CHANGE  WHAT
    feed      sync    update  it runs every 30 minutes instead of every hour; its description is another
    work      action  update  its description is another

    The code cannot send requests; may write records Item; cannot read tokens.

    A canary: at first 30 % of the connections would run what is updated, after 30 minutes all of them; when more than 5 % of a function's runs fail, none.
    2 functions would change; nothing was changed.
    ");
    let planned = Cli::of(&server, &[&arguments[..], &["--plan", "--json"]].concat()).run();
    assert_eq!(
        planned.json()["canary"],
        json!({"percent": 30, "errors_percent": 5, "minutes": 30})
    );
    assert_eq!(
        client.get(&format!("/integrations/{INTEGRATION}/canary")).await.status,
        404,
        "a plan changes nothing"
    );
    let begun = Cli::of(&server, &arguments).run();
    assert_eq!(begun.code, Some(0), "{}", begun.stderr);
    assert!(begun.stdout.contains("1 (2: 30 %)"), "{}", begun.stdout);
    let listed = Cli::of(&server, &["functions", "list", INTEGRATION]).run();
    assert!(listed.stdout.contains("1 (2: 30 %)"), "{}", listed.stdout);

    let tried = risky(&client).await;
    assert!((3..25).contains(&tried.len()), "about a third: {tried:?}");
    assert_eq!(risky(&client).await, tried, "the same ones");
    let first = *tried.first().expect("some try it");
    let queued = client
        .trigger_async(INTEGRATION, &format!("c{first}"), "work", json!({}), 0)
        .await
        .ok();
    let done = client.wait_for_action(queued["id"].as_str().expect("an id")).await;
    assert_eq!(done.ok(), json!("risky"), "in the background as well");

    // Syncs likewise; when they run is not changed yet.
    let connection = format!("c{first}");
    let frequency = async || client.sync_status(INTEGRATION, &connection, "feed").await["frequency"].clone();
    assert_eq!(frequency().await, "every hour");
    let _ = client.run_sync(INTEGRATION, &connection, "feed").await;
    let records = client.records(INTEGRATION, &connection, "Item", "").await.ok();
    assert_eq!(records["records"][0]["from"], "risky", "{records}");
    let other = (0..CONNECTIONS)
        .find(|number| !tried.contains(number))
        .expect("some do not");
    let other = format!("c{other}");
    let _ = client.run_sync(INTEGRATION, &other, "feed").await;
    let records = client.records(INTEGRATION, &other, "Item", "").await.ok();
    assert_eq!(records["records"][0]["from"], "steady", "{records}");

    let tries = 2 * tried.len() + 1;
    let all = 2 * CONNECTIONS + 1;
    let counted = until(&client, |canary| {
        let of = |at: &str| canary.pointer(at).and_then(Value::as_u64).unwrap_or(0) as usize;
        of("/functions/1/runs/succeeded") == tries && of("/functions/1/active_runs/succeeded") == all - tries
    })
    .await;
    assert_eq!(
        (&counted["functions"][1]["name"], &counted["errors_percent"]),
        (&json!("work"), &json!(5))
    );
    let feed = &counted["functions"][0];
    assert_eq!(
        (&feed["runs"]["succeeded"], &feed["active_runs"]["succeeded"]),
        (&json!(1), &json!(1)),
        "{counted}"
    );
    let status = Cli::of(&server, &["canary", "status", INTEGRATION]).run();
    assert!(status.stdout.contains(&format!("0 of {tries}")), "{}", status.stdout);

    let promoted = Cli::of(&server, &["canary", "promote", INTEGRATION]).run();
    assert_eq!(promoted.code, Some(0), "{}", promoted.stderr);
    assert_eq!(risky(&client).await.len(), CONNECTIONS);
    for _ in 0..200 {
        if frequency().await == "every 30 minutes" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(frequency().await, "every 30 minutes");
    let log = client.get("/logs/operations?type=deploy:custom").await.text();
    assert!(
        log.contains("The canary is active for all: somebody promoted it"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_is_rolled_back_on_every_node() {
    let database = Database::postgres().await;
    let (_first, client) = steady(database.serve(TestRuntime::new())).await;
    let second = database
        .serve(TestRuntime::new())
        .provider_yaml(&providers(NOWHERE))
        .start();
    let other = second.client();
    let _ = deploy(&client, "canary=50&canary_errors=20", "risky").await.ok();
    let tried = risky(&client).await;
    assert_eq!(risky(&other).await, tried, "the same ones on both");

    // Whatever a function is told to do, only what is tried fails.
    let mut failed = 0;
    for round in 0..200 {
        for number in 0..CONNECTIONS {
            let node = if round % 2 == 0 { &client } else { &other };
            let answer = work(node, number, json!({"fail": true})).await;
            failed += usize::from(answer.status != 200);
        }
        if canary(&client).await["state"] != "running" {
            break;
        }
    }
    let ended = until(&client, |canary| canary["state"] != "running").await;
    assert_eq!(ended["state"], "rolled_back", "{ended}");
    assert!(
        ended["reason"]
            .to_string()
            .contains("of work in version 2 failed; 20 % may"),
        "{ended}"
    );
    assert!(failed >= 10, "{failed}");
    assert_eq!(ended["functions"][1]["active_runs"]["failed"], 0, "{ended}");
    for node in [&client, &other] {
        for _ in 0..400 {
            if risky(node).await.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(risky(node).await, BTreeSet::new(), "nobody runs it any more");
    }
    let log = client
        .get("/logs/operations?type=deploy:custom&state=failed")
        .await
        .ok();
    let told: Vec<&Value> = log["data"].as_array().expect("a list").iter().collect();
    assert_eq!(told.len(), 1, "one node did it, once: {log}");
    assert!(
        told[0]["message"].to_string().contains("The canary was rolled back: "),
        "{log}"
    );
}

/// In this process, so that an hour takes no time.
#[tokio::test(flavor = "multi_thread")]
async fn a_good_one_is_promoted_when_its_time_is_over() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut config = config::load(None, [], Vec::new())
        .expect("the defaults are valid")
        .config;
    config.data_dir = folder.path().join("data");
    let (clock, time) = Clock::manual(1_795_346_209_746);
    let runtime = Runtime::start_with(config, clock, Entropy::seeded(7))
        .await
        .expect("the runtime starts");
    let environment = runtime.default_environment().id.clone();
    let integration = NewIntegration {
        unique_key: INTEGRATION.to_owned(),
        provider: "unauthenticated".to_owned(),
        display_name: None,
        credentials: None,
        custom: serde_json::Map::new(),
        forward_webhooks: false,
    };
    let created = runtime.create_integration(&environment, integration).await;
    created.expect("the integration can be created");
    for number in 0..CONNECTIONS {
        let connection = NewConnection {
            provider_config_key: INTEGRATION.to_owned(),
            connection_id: Some(format!("c{number}")),
            credentials: json!({"type": "NONE"}),
            connection_config: serde_json::Map::new(),
            metadata: serde_json::Map::new(),
            tags: std::collections::BTreeMap::new(),
            end_user: None,
            webhook_url_override: None,
        };
        let imported = runtime.import_connection(&environment, connection).await;
        imported.expect("the connection can be imported");
    }
    let deploy = async |component: &str, canary: Option<CanaryOptions>| {
        let bytes = guest::component(component);
        let component = NewComponent {
            name: None,
            provider_config_key: INTEGRATION,
            bytes: &bytes,
            signature: None,
        };
        let consent = Consent {
            canary,
            ..Consent::default()
        };
        let deployed = runtime.deploy(&environment, &[component], &consent).await;
        deployed.expect("the component is deployed");
    };
    deploy("steady", None).await;
    deploy(
        "risky",
        Some(CanaryOptions::new(50, Some(0), Some(60)).expect("it is within its bounds")),
    )
    .await;
    let state = async || {
        let canary = runtime
            .canary(&environment, INTEGRATION)
            .await
            .expect("the database answers");
        canary.expect("there is one").state
    };
    // Time passes in steps, so that what waits for it can do its work in between.
    let pass = async |minutes: u32| {
        for _ in 0..minutes * 2 {
            time.advance_ms(30_000);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    pass(90).await;
    assert_eq!(state().await, CanaryState::Running, "nobody has tried it");
    for number in 0..CONNECTIONS {
        let connection = format!("c{number}");
        let done = runtime.invoke(&environment, INTEGRATION, &connection, "work", "{}".into());
        let _ = done.await.expect("both versions work");
    }
    for _ in 0..1_000 {
        pass(1).await;
        if state().await != CanaryState::Running {
            break;
        }
    }
    let canary = runtime
        .canary(&environment, INTEGRATION)
        .await
        .expect("the database answers");
    let canary = canary.expect("there is one");
    assert_eq!(canary.state, CanaryState::Promoted);
    let reason = canary.reason.unwrap_or_default();
    assert!(reason.contains("its time is over: 0 of "), "{reason}");
    let active = runtime
        .functions(&environment, None)
        .await
        .expect("the database answers");
    assert!(
        active
            .iter()
            .all(|function| function.version == 2 && function.canary.is_none()),
        "{active:?}"
    );
}
