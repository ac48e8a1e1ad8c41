//! Deploys: what they would change, what they need consent for, and that they happen whole or not at all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nango_runtime_tests::client::send;
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Answer, Client, TestRuntime, guest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, DEPLOY_KEY, INTEGRATION, SIGNING_KEY, prepared, with_upstream};

const NOWHERE: &str = "http://127.0.0.1:9";

async fn deploy(client: &Client, query: &str, component: &str) -> Answer {
    let path = format!("/integrations/{INTEGRATION}/functions?{query}");
    let request = client
        .request(Method::POST, &path)
        .header("content-type", "application/wasm")
        .body(guest::component(component));
    send(request).await
}

async fn active(client: &Client) -> Vec<(String, i64)> {
    let listed = client
        .get(&format!("/integrations/{INTEGRATION}/functions?limit=100"))
        .await
        .ok();
    let functions = listed["data"].as_array().cloned().unwrap_or_default();
    functions
        .iter()
        .map(|function| {
            (
                function["name"].as_str().unwrap_or_default().to_owned(),
                function["version"].as_i64().unwrap_or_default(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_functions_can_do_grows_with_consent_only() {
    let (_server, client) = with_upstream(NOWHERE).await;
    let first = deploy(&client, "", "noop").await.ok();
    assert_eq!(first["manifest"], json!(["cannot send requests", "cannot read tokens"]));
    assert_eq!(first["capabilities"], json!([]));

    let refused = deploy(&client, "", "basic").await;
    assert_eq!(
        (refused.status, refused.error_code()),
        (409, "capabilities_widened".into())
    );
    let gained = refused.json()["error"]["payload"].clone();
    assert!(gained.to_string().contains("records:write"), "{gained}");
    assert_eq!(active(&client).await, [("noop".to_owned(), 1)], "nothing was changed");
    let some = deploy(&client, "allow=records:write,requests:GET", "basic").await;
    assert_eq!(some.error_code(), "capabilities_widened", "not all of it is allowed");

    let plan = deploy(&client, "plan=true", "basic").await;
    assert_eq!(plan.status, 200);
    let plan = plan.json();
    assert_eq!(plan["integrations"][0]["gained"], gained);
    let noop = named(&plan, "noop");
    assert_eq!(noop["change"], "update");
    assert_eq!(named(&plan, "items")["change"], "create");
    assert_eq!(active(&client).await.len(), 1, "a plan changes nothing");

    assert_eq!(deploy(&client, "allow=all", "basic").await.status, 201);
    assert!(active(&client).await.contains(&("noop".to_owned(), 2)));
    let again = deploy(&client, "plan=true", "basic").await.json();
    let functions = again["integrations"][0]["functions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(functions.iter().all(|function| function["change"] == "keep"), "{again}");
}

fn named(plan: &Value, name: &str) -> Value {
    let functions = plan["integrations"][0]["functions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    functions
        .into_iter()
        .find(|function| function["name"] == name)
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_lost_needs_a_word() {
    let (_server, client) = with_upstream(NOWHERE).await;
    let _ = deploy(&client, "", "basic").await.ok();
    let before = active(&client).await;
    // Without `prune` the others stay.
    let _ = deploy(&client, "", "noop").await.ok();
    assert_eq!(active(&client).await.len(), before.len());

    let refused = deploy(&client, "prune=true", "noop").await;
    assert_eq!(
        (refused.status, refused.error_code()),
        (409, "destructive_change".into())
    );
    assert!(
        refused.text().contains("items: the sync is removed"),
        "{}",
        refused.text()
    );
    assert_eq!(active(&client).await.len(), before.len());

    let _ = deploy(&client, "prune=true&allow_destructive=true", "noop").await.ok();
    let names: Vec<String> = active(&client).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["noop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_components_are_deployed_whole_or_not_at_all() {
    let (_server, client) = with_upstream(NOWHERE).await;
    let _ = client.create_integration("second", "bearer").await.ok();
    let component =
        |integration: &str, bytes: Vec<u8>| json!({"integration": integration, "component": STANDARD.encode(bytes)});
    let good = component(INTEGRATION, guest::component("noop"));

    let bad = json!({"components": [good, component("second", guest::from_text("foreign"))]});
    let refused = client.post("/deployments", &bad).await;
    assert_eq!(
        (refused.status, refused.error_code()),
        (400, "invalid_component".into()),
        "{}",
        refused.text()
    );
    let message = refused.json()["error"]["message"].to_string();
    for part in [
        r#"component 2 of 2, for \"second\": "#,
        "acme:thing/keys",
        "; nothing was deployed",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(active(&client).await, []);

    let twice = json!({"components": [good, component(INTEGRATION, guest::component("basic"))]});
    let refused = client.post("/deployments", &twice).await;
    assert_eq!(refused.error_code(), "invalid_manifest", "{}", refused.text());
    assert!(refused.text().contains("two components"), "{}", refused.text());

    let both = json!({"components": [good, component("second", guest::component("basic"))]});
    let deployed = client.post("/deployments", &both).await.ok();
    assert_eq!(deployed["deployments"][1]["integration"], "second");
    assert_eq!(active(&client).await, [("noop".to_owned(), 1)]);

    let empty = client.post("/deployments", &json!({"components": []})).await;
    assert_eq!((empty.status, empty.error_code()), (400, "invalid_body".into()));
    let broken = json!({"components": [{"integration": INTEGRATION, "component": "%%%"}]});
    let broken = client.post("/deployments", &broken).await;
    assert!(broken.text().contains("components.0.component"), "{}", broken.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_signatures_takes_nothing_else() {
    let runtime = TestRuntime::new()
        .environment("NANGO_DEPLOY_KEYS", DEPLOY_KEY)
        .environment("NANGO_RECORD_RUNS", "all");
    let (server, client) = prepared(runtime, NOWHERE).await;
    let unsigned = deploy(&client, "", "noop").await;
    assert_eq!(
        (unsigned.status, unsigned.error_code()),
        (403, "component_not_signed".into())
    );

    let folder = server.folder();
    let component = folder.join("noop.wasm");
    std::fs::write(&component, guest::component("noop")).expect("a file can be written");
    std::fs::write(folder.join("deploy.pem"), SIGNING_KEY).expect("a file can be written");
    let component = component.to_string_lossy().into_owned();
    let arguments = [
        "deploy",
        &component,
        "--integration",
        INTEGRATION,
        "--signing-key",
        "deploy.pem",
    ];
    let deployed = Cli::of(&server, &arguments).run();
    assert_eq!(deployed.code, Some(0), "{}", deployed.stderr);
    assert_eq!(active(&client).await, [("noop".to_owned(), 1)]);

    // Nor does it run anything else without deploying it, for real or against a recording.
    let path = format!("/integrations/{INTEGRATION}/functions/greet/dry-run");
    let dry = json!({"connection_id": CONNECTION, "component": STANDARD.encode(guest::component("basic"))});
    let unsigned = client.post(&path, &dry).await;
    assert_eq!(
        (unsigned.status, unsigned.error_code()),
        (403, "component_not_signed".into())
    );
    let dryrun = ["dryrun", "noop", CONNECTION, "--component", &component];
    let signed = Cli::of(&server, &[&dryrun[..], &["--signing-key", "deploy.pem"]].concat()).run();
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "noop", json!(null))
        .await
        .ok();
    let ran = client.get("/runs?function=noop").await.ok();
    let run_id = ran["data"][0]["id"].as_str().expect("it ran").to_owned();
    let replay = ["replay", &run_id, "--with", &component];
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let unsigned = loop {
        let unsigned = Cli::of(&server, &replay).run();
        // A recording is written a moment after its run.
        if !unsigned.stderr.contains("there is no recording") {
            break unsigned;
        }
        assert!(std::time::Instant::now() < deadline, "{}", unsigned.stderr);
    };
    assert!(unsigned.stderr.contains("component_not_signed"), "{}", unsigned.stderr);
    let signed = Cli::of(&server, &[&replay[..], &["--signing-key", "deploy.pem"]].concat()).run();
    assert_eq!(signed.code, Some(0), "{}", signed.stderr);

    let signature = STANDARD.encode([7; 64]);
    let path = format!("/integrations/{INTEGRATION}/functions");
    let request = client
        .request(Method::POST, &path)
        .header("content-type", "application/wasm");
    let forged = send(
        request
            .header("nango-component-signature", signature)
            .body(guest::component("basic")),
    )
    .await;
    assert_eq!(
        (forged.status, forged.error_code()),
        (403, "invalid_component_signature".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_planned_and_deployed_from_the_command_line() {
    let (server, client) = with_upstream(NOWHERE).await;
    let folder = server.folder().join("functions").join(INTEGRATION);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    std::fs::write(folder.join("noop.wasm"), guest::component("noop")).expect("a file can be written");

    let planned = Cli::of(&server, &["deploy", "functions", "--plan"]).run();
    assert_eq!(planned.code, Some(0), "{}", planned.stderr);
    insta::assert_snapshot!(planned.stdout, @r"
    upstream

    FUNCTION  TYPE    CHANGE  WHAT
    noop      action  create

    The code cannot send requests; cannot read tokens.

    1 function would change; nothing was changed.
    ");
    assert_eq!(active(&client).await, []);
    let deployed = Cli::of(&server, &["deploy", "functions"]).run();
    assert_eq!(deployed.code, Some(0), "{}", deployed.stderr);
    assert_eq!(active(&client).await, [("noop".to_owned(), 1)]);

    let again = Cli::of(&server, &["deploy", "functions"]).run();
    assert!(
        again.stdout.starts_with("Nothing new for upstream: 1 function"),
        "{}",
        again.stdout
    );

    // One that is broken is named, and nothing else is deployed.
    std::fs::write(folder.join("broken.wasm"), b"hello").expect("a file can be written");
    std::fs::write(folder.join("steady.wasm"), guest::component("steady")).expect("a file can be written");
    let broken = Cli::of(&server, &["deploy", "functions"]).run();
    assert_eq!(broken.code, Some(1), "{}", broken.stdout);
    assert!(
        broken
            .stderr
            .starts_with("error: functions/upstream/broken.wasm: this is no WebAssembly"),
        "{}",
        broken.stderr
    );
    assert!(broken.stderr.contains("; nothing was deployed"), "{}", broken.stderr);
    assert_eq!(active(&client).await, [("noop".to_owned(), 1)]);

    let wrong = Cli::of(&server, &["deploy", "functions/upstream"]).run();
    assert_ne!(wrong.code, Some(0));
    assert!(wrong.stderr.contains("--integration"), "{}", wrong.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_a_folder_is_passed_over_without_a_word() {
    let (server, client) = with_upstream(NOWHERE).await;
    let folder = server.folder().join("functions");
    let make = |name: &str| {
        let made = folder.join(name);
        std::fs::create_dir_all(&made).expect("a folder can be made");
        made
    };
    let deploy = || {
        let deployed = Cli::of(&server, &["deploy", "functions"]).run();
        (deployed.code, deployed.stderr)
    };
    // Nothing at all, then only what is of tools.
    make("");
    let (code, stderr) = deploy();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("functions holds no folder with components"), "{stderr}");
    make(".git");
    let target = make("target");
    std::fs::write(target.join("CACHEDIR.TAG"), "Signature: …").expect("a file can be written");
    assert!(deploy().1.contains("functions holds no folder with components"));

    let upstream = make(INTEGRATION);
    std::fs::write(upstream.join("noop.wasm"), guest::component("noop")).expect("a file can be written");
    let slack = make("slack");
    make("slack/deeper");
    let (code, stderr) = deploy();
    assert_eq!(code, Some(1), "{stderr}");
    insta::assert_snapshot!(stderr, @r"
    error: no component (*.wasm) and no crate is in functions/slack; nothing was deployed
    hint: each folder in functions is an integration's: put its functions right into it, or take it away; only folders whose names begin with a dot, and cargo's `target`, are passed over
    ");
    std::fs::remove_dir_all(slack).expect("a folder can be removed");
    let loose = folder.join("basic.wasm");
    std::fs::write(&loose, guest::component("basic")).expect("a file can be written");
    let (code, stderr) = deploy();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("functions/basic.wasm is in no integration's folder"),
        "{stderr}"
    );
    assert_eq!(active(&client).await, []);

    std::fs::remove_file(loose).expect("a file can be removed");
    let (code, stderr) = deploy();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(active(&client).await, [("noop".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_capability_cannot_be_allowed() {
    let (server, client) = with_upstream(NOWHERE).await;
    let file = server.folder().join("noop.wasm");
    std::fs::write(&file, guest::component("noop")).expect("a file can be written");
    let file = file.to_string_lossy().into_owned();
    let deploy = |allowed: &str| {
        let arguments = ["deploy", &file, "--integration", INTEGRATION, "--allow", allowed];
        Cli::of(&server, &arguments).run()
    };
    // It could be deployed without.
    let refused = deploy("locks,request:GET");
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    insta::assert_snapshot!(refused.stderr, @r#"
    error: there is no capability "request:GET"; did you mean "requests:GET"?; there are requests:GET, requests:POST, requests:PUT, requests:PATCH, requests:DELETE, requests:any, records:read, records:write, metadata:read, metadata:write, invoke, invoke-elsewhere, environment, locks, connection-details, integration, token, fetch, anything, fetch:HOST, and `all` for every one (unknown_capability, status 400 Bad Request)
    "#);
    let host = deploy("fetch:https://a.test");
    assert!(host.stderr.contains("without scheme, port and path"), "{}", host.stderr);
    let noop = guest::component("noop");
    let bundled =
        json!({"components": [{"integration": INTEGRATION, "component": STANDARD.encode(&noop)}], "allow": ["al"]});
    let one = self::deploy(&client, "allow=tokens", "noop").await;
    let planned = self::deploy(&client, "plan=true&allow=tokens", "noop").await;
    let several = client.post("/deployments", &bundled).await;
    let path = format!("/integrations/{INTEGRATION}/functions/noop/dry-run");
    let dry = json!({"connection_id": CONNECTION, "component": STANDARD.encode(&noop), "allow": ["tokens"]});
    let dry = client.post(&path, &dry).await;
    for refused in [one, planned, several, dry] {
        assert_eq!(
            (refused.status, refused.error_code()),
            (400, "unknown_capability".into()),
            "{}",
            refused.text()
        );
    }
    assert_eq!(active(&client).await, []);
    let allowed = deploy("locks,fetch:*.a.test");
    assert_eq!(allowed.code, Some(0), "{}", allowed.stderr);
}
