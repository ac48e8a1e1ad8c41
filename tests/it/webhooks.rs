//! Webhooks to the customer's application: what it is told, that the published client takes it for genuine, and that nothing is
//! lost when the application or the server is away.

use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream, guest, node};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared, providers, with_upstream};

const WAIT: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

pub async fn set_address(client: &Client, url: &str) {
    let patch = json!({"primary_url": url});
    let _ = client.json(Method::PATCH, "/environment/webhooks", &patch).await.ok();
}

async fn connect(client: &Client, connection_id: &str) {
    let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
    let _ = client
        .import_connection(INTEGRATION, connection_id, credentials)
        .await
        .ok();
}

/// Waits until the application has heard so much.
async fn heard(application: &Upstream, count: usize) -> Vec<Received> {
    let deadline = Instant::now() + WAIT;
    loop {
        let received = application.received();
        if received.len() >= count {
            return received;
        }
        assert!(Instant::now() < deadline, "{} of {count} came", received.len());
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Waits until the newest webhook is in that state; gives it.
async fn newest(client: &Client, state: &str) -> Value {
    let deadline = Instant::now() + WAIT;
    loop {
        let list = client.get("/webhooks?limit=1").await.ok();
        if list["data"][0]["state"] == state {
            return list["data"][0].clone();
        }
        assert!(Instant::now() < deadline, "it is not {state}: {list}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn body(received: &Received) -> Value {
    serde_json::from_slice(&received.body).expect("a webhook is JSON")
}

fn text(received: &Received) -> String {
    String::from_utf8(received.body.to_vec()).expect("a webhook is text")
}

/// Whether `@nangohq/node` takes each of them for genuine, by both signatures, and none that was changed.
pub async fn assert_genuine(server: &Server, client: &Client, received: &[Received]) {
    let key = client.get("/environment/webhook-signing-key").await.ok();
    let key = key["data"]["signing_key"].as_str().expect("there is a key").to_owned();
    let headers = |one: &Received| {
        let names = ["x-nango-signature", "x-nango-hmac-sha256"];
        json!({names[0]: one.header(names[0]), names[1]: one.header(names[1])})
    };
    let all: Vec<Value> = received
        .iter()
        .map(|one| json!({"body": text(one), "headers": headers(one)}))
        .collect();
    let received = json!(all).to_string();
    let verdicts = node::run(server, "webhook.mjs", &[("RECEIVED", &received), ("KEY", &key)]);
    for verdict in verdicts.as_array().expect("a verdict for each") {
        assert_eq!(*verdict, json!([true, true, false]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_syncs_are_announced_as_the_published_client_expects() {
    let application = Upstream::replying([Reply::status(200)]).await;
    let (server, client) = with_upstream("http://127.0.0.1:9").await;
    let url = format!("{}/hook", application.url());
    let settings = Cli::of(&server, &["webhooks", "settings", "--primary-url", &url, "--json"])
        .run()
        .json();
    assert_eq!(settings["data"]["primary_url"], url.as_str());

    connect(&client, "new").await;
    let first = heard(&application, 1).await;
    assert_eq!(
        text(&first[0]),
        r#"{"authMode":"API_KEY","connectionId":"new","environment":"dev","from":"nango","operation":"creation","provider":"bearer","providerConfigKey":"upstream","success":true,"tags":{},"type":"auth"}"#
    );
    assert_eq!((first[0].method.as_str(), first[0].target.as_str()), ("POST", "/hook"));
    assert_eq!(first[0].header("content-type"), "application/json");
    assert!(first[0].header("x-nango-webhook-id").starts_with("evt_"));
    connect(&client, "new").await;
    assert_eq!(body(&heard(&application, 2).await[1])["operation"], "override");

    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let run = async |metadata: Value| {
        let _ = client.set_metadata(INTEGRATION, CONNECTION, metadata).await.ok();
        client.run_sync(INTEGRATION, CONNECTION, "items").await
    };
    let status = run(json!({"pages": 2, "records": 3, "value": 1})).await;
    let told = body(&heard(&application, 3).await[2]);
    assert_eq!(
        (
            &told["type"],
            &told["model"],
            &told["syncName"],
            &told["syncVariant"],
            &told["success"]
        ),
        (
            &json!("sync"),
            &json!("Item"),
            &json!("items"),
            &json!("base"),
            &json!(true)
        ),
        "{told}"
    );
    assert_eq!(
        told["responseResults"],
        json!({"added": 6, "updated": 0, "deleted": 0}),
        "{status}"
    );
    assert_eq!(told["modifiedAfter"], told["queryTimeStamp"]);
    let since = told["modifiedAfter"].as_str().expect("a moment");
    let changed = client
        .records(INTEGRATION, CONNECTION, "Item", &format!("&modified_after={since}"))
        .await
        .ok();
    assert_eq!(changed["records"].as_array().map(Vec::len), Some(6), "{changed}");

    // Nothing changed: nothing is told, unless that is wanted.
    let _ = run(json!({"pages": 2, "records": 3, "value": 1})).await;
    let _ = run(json!({"pages": 4, "records": 3, "value": 1, "fail_at": 3})).await;
    let failed = body(&heard(&application, 4).await[3]);
    assert_eq!(
        (&failed["success"], &failed["syncType"]),
        (&json!(false), &json!("INCREMENTAL")),
        "{failed}"
    );
    assert!(
        failed["error"]["type"].is_string() && failed["failedAt"].is_string(),
        "{failed}"
    );
    assert_eq!(
        failed["checkpoints"],
        json!({"from": null, "to": {"page": 3}}),
        "{failed}"
    );
    let always = json!({"on_sync_completion_always": true});
    let _ = client.json(Method::PATCH, "/environment/webhooks", &always).await.ok();
    let _ = run(json!({"pages": 3, "records": 3, "value": 1})).await;
    let quiet = body(&heard(&application, 5).await[4]);
    assert_eq!(quiet["success"], true, "{quiet}");

    assert_genuine(&server, &client, &application.received()).await;
    let log = client.logs().await;
    assert!(log.contains("The webhook was delivered to"), "{log}");
    let operations = client.get("/logs/operations?type=webhook:sync").await.ok();
    assert_eq!(operations["data"].as_array().map(Vec::len), Some(3), "{operations}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_may_have_its_own_address() {
    let (application, own) = (
        Upstream::replying([Reply::status(200)]).await,
        Upstream::replying([Reply::status(200)]).await,
    );
    let (_server, client) = with_upstream("http://127.0.0.1:9").await;
    set_address(&client, &application.url()).await;
    let session = json!({
        "end_user": {"id": "u1", "email": "a@b.co"}, "organization": {"id": "o1"}, "webhook_url_override": own.url(),
    });
    let session = client.post("/connect/sessions", &session).await.json();
    let token = session["data"]["token"].as_str().expect("a token");
    let path = format!("/api-auth/api-key/{INTEGRATION}?connect_session_token={token}");
    let created = client.with_key(None).post(&path, &json!({"apiKey": API_KEY})).await;
    assert_eq!(created.status, 200, "{}", created.text());
    let told = body(&heard(&own, 1).await[0]);
    let end_user = json!({"endUserId": "u1", "endUserEmail": "a@b.co", "organizationId": "o1", "tags": {}});
    assert_eq!(
        (&told["endUser"], &told["operation"]),
        (&end_user, &json!("creation")),
        "{told}"
    );
    assert!(application.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_cannot_be_refreshed_are_announced_once_a_day() {
    let application = Upstream::replying([Reply::status(200)]).await;
    let refusal = Reply::json(400, &json!({"error": "invalid_grant", "error_description": "revoked"}));
    let provider = Upstream::replying([refusal]).await;
    let runtime = TestRuntime::new().egress_loopback();
    let (_server, client) = prepared(runtime, &provider.url()).await;
    let app = json!({"type": "OAUTH2", "client_id": "id", "client_secret": "secret"});
    let integration = json!({"unique_key": "oauth", "provider": "oauth", "credentials": app});
    let _ = client.post("/integrations", &integration).await;
    let credentials = json!({
        "type": "OAUTH2", "access_token": "a", "refresh_token": "the-refresh-token", "expires_at": "2020-01-01T00:00:00Z",
    });
    let _ = client.import_connection("oauth", "c", credentials).await.ok();
    set_address(&client, &application.url()).await;
    for _ in 0..2 {
        let path = "/connections/c?provider_config_key=oauth&force_refresh=true";
        let refused = client.get(path).await;
        assert_eq!(
            (refused.status, refused.error_code()),
            (400, "refresh_token_external_error".into()),
            "{}",
            refused.text()
        );
    }
    let told = body(&heard(&application, 1).await[0]);
    assert_eq!(
        (&told["type"], &told["operation"], &told["success"], &told["authMode"]),
        (&json!("auth"), &json!("refresh"), &json!(false), &json!("OAUTH2")),
        "{told}"
    );
    assert_eq!(told["error"]["type"], "refresh_token_external_error");
    let why = told["error"]["description"].as_str().unwrap_or_default();
    assert!(
        why.contains("invalid_grant") && !why.contains("the-refresh-token"),
        "{why}"
    );
    let all = client.get("/webhooks").await.ok();
    assert_eq!(
        all["data"].as_array().map(Vec::len),
        Some(1),
        "the second failure is of the same day: {all}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_and_dead_letters_can_be_sent_again() {
    let application = Upstream::replying([
        Reply::status(503),
        Reply::status(429).header("retry-after", "1"),
        Reply::status(200),
        Reply::status(410),
        Reply::status(410),
        Reply::status(200),
    ])
    .await;
    let (server, client) = with_upstream("http://127.0.0.1:9").await;
    set_address(&client, &application.url()).await;
    connect(&client, "busy").await;
    let received = heard(&application, 3).await;
    assert!(
        received.iter().all(|one| one.body == received[0].body),
        "the same each time"
    );
    let id = received[0].header("x-nango-webhook-id");
    assert!(received.iter().all(|one| one.header("x-nango-webhook-id") == id));
    assert_eq!(newest(&client, "delivered").await["attempts"], 3);

    connect(&client, "gone").await;
    let dead = newest(&client, "dead").await;
    assert_eq!((&dead["attempts"], &dead["connection_id"]), (&json!(1), &json!("gone")));
    let id = dead["id"].as_str().expect("an id");
    let listed = Cli::of(&server, &["webhooks", "list", "--state", "dead"]).run();
    assert!(
        listed.stdout.contains(id) && listed.stdout.contains("410"),
        "{}",
        listed.stdout
    );
    let shown = client.get(&format!("/webhooks/{id}")).await.ok();
    assert_eq!(shown["data"]["body"]["connectionId"], "gone", "{shown}");

    let resent = Cli::of(&server, &["webhooks", "resend", id]).run();
    assert_eq!(resent.code, Some(0), "{}", resent.stderr);
    let _ = heard(&application, 5).await;
    let _ = newest(&client, "dead").await;
    let all = Cli::of(&server, &["webhooks", "resend", "--dead"]).run();
    assert!(all.stdout.contains("again: 1"), "{}{}", all.stdout, all.stderr);
    let received = heard(&application, 6).await;
    assert_eq!(received[5].body, received[3].body);
    let _ = newest(&client, "delivered").await;
    let unknown = client.post("/webhooks/whk_none/resend", &json!({})).await;
    assert_eq!((unknown.status, unknown.error_code()), (404, "not_found".into()));
    assert_genuine(&server, &client, &received).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_shows_when_it_is_sent_again() {
    let application = Upstream::replying([Reply::status(503).header("retry-after", "3600")]).await;
    let (server, client) = with_upstream("http://127.0.0.1:9").await;
    set_address(&client, &application.url()).await;
    connect(&client, "busy").await;
    let _ = heard(&application, 1).await;
    let deadline = Instant::now() + WAIT;
    let waiting = loop {
        let waiting = newest(&client, "pending").await;
        if waiting["attempts"] == 1 && waiting["problem"].is_string() {
            break waiting;
        }
        assert!(Instant::now() < deadline, "{waiting}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    };
    let id = waiting["id"].as_str().expect("an id");
    let next = waiting["next_attempt_at"].as_str().expect("a moment");
    let created = waiting["created_at"].as_str().expect("a moment");
    assert_ne!(&next[..13], &created[..13], "about an hour later");
    let shown = Cli::of(&server, &["webhooks", "show", id]).run();
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    for line in [
        format!("next       {next}\n"),
        "state      pending\n".to_owned(),
        "attempts   1\n".to_owned(),
    ] {
        assert!(shown.stdout.contains(&line), "{line}: {}", shown.stdout);
    }
    let listed = Cli::of(&server, &["webhooks", "list"]).run();
    assert!(listed.stdout.contains(next), "{}", listed.stdout);
}

fn start(data: &Path) -> Server {
    let providers = providers("http://127.0.0.1:9");
    TestRuntime::new()
        .egress_loopback()
        .data(data)
        .provider_yaml(&providers)
        .start()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_when_the_server_died_is_sent_after_it_is_back() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // Takes its time with the first: the server dies meanwhile.
    let application = Upstream::replying([Reply::status(200).after(WAIT), Reply::status(200)]).await;
    let runtime = TestRuntime::new().egress_loopback().data(folder.path());
    let (mut server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    set_address(&client, &application.url()).await;
    connect(&client, "c").await;
    // Its webhook waits behind the first, so it is committed and not sent.
    connect(&client, "c").await;
    let before = heard(&application, 1).await;
    let waiting = client.get("/webhooks?state=pending").await.ok();
    let ids: Vec<&str> = ["/data/1/id", "/data/0/id"]
        .iter()
        .filter_map(|at| waiting.pointer(at).and_then(Value::as_str))
        .collect();
    let mut bodies = Vec::new();
    for id in &ids {
        bodies.push(client.get(&format!("/webhooks/{id}")).await.ok()["data"]["body"].clone());
    }
    assert_eq!(
        (&bodies[0]["operation"], &bodies[1]["operation"]),
        (&json!("creation"), &json!("override"))
    );
    server.process().kill();

    let server = start(folder.path());
    let client = server.client();
    let received = heard(&application, 3).await;
    assert_eq!(
        received[1].body, before[0].body,
        "the one that was under way, as it was"
    );
    assert_eq!(
        received[1].header("x-nango-webhook-id"),
        before[0].header("x-nango-webhook-id")
    );
    assert_eq!(
        [body(&received[1]), body(&received[2])],
        [bodies[0].clone(), bodies[1].clone()]
    );
    let _ = newest(&client, "delivered").await;
    assert_eq!(application.received().len(), 3, "each once more, and no more");
    assert_genuine(&server, &client, &received).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_keys_are_for_those_who_may() {
    let (server, client) = with_upstream("http://127.0.0.1:9").await;
    let shown = client.get("/environment/webhooks").await.ok();
    assert_eq!(
        shown["data"],
        json!({
            "primary_url": null, "secondary_url": null, "on_auth_creation": true, "on_auth_refresh_error": true,
            "on_sync_completion_always": false, "on_sync_error": true, "on_async_action_completion": true,
        })
    );
    for (bad, path) in [
        (json!({"primary_url": "ftp://a.test"}), "primary_url"),
        (json!({"secondary_url": "https://me:s3cret@a.test"}), "secondary_url"),
        (json!({"on_sync_error": "yes"}), "on_sync_error"),
        (json!({"on_everything": true}), "on_everything"),
    ] {
        let refused = client.json(Method::PATCH, "/environment/webhooks", &bad).await;
        assert_eq!(
            (refused.status, refused.error_code()),
            (400, "invalid_body".into()),
            "{bad}"
        );
        assert!(
            refused.text().contains(path) && !refused.text().contains("s3cret"),
            "{}",
            refused.text()
        );
    }

    let key = client.get("/environment/webhook-signing-key").await.ok();
    let old = key["data"]["signing_key"].as_str().expect("a key").to_owned();
    let empty = client.request(Method::POST, "/environment/webhook-signing-key/rotate");
    let rotated = nango_runtime_tests::client::send(empty).await.ok();
    assert_ne!(
        rotated["data"]["signing_key"],
        old.as_str(),
        "without a body, as Nango's route"
    );
    let own = "a-key-that-was-in-use-before";
    let arguments = ["webhooks", "rotate-key", "--key", "env:OWN", "--activate-in", "3600"];
    let given = Cli::of(&server, &arguments).environment("OWN", own).run();
    assert_eq!(given.stdout.trim(), own, "{}", given.stderr);
    let waiting = client.get("/environment/webhook-signing-key").await.ok();
    assert_eq!(waiting["data"]["signing_key"], rotated["data"]["signing_key"]);
    assert_eq!(waiting["data"]["next"]["signing_key"], own);
    let short = json!({"key": "short"});
    let refused = client.post("/environment/webhook-signing-key/rotate", &short).await;
    assert_eq!((refused.status, refused.error_code()), (400, "invalid_body".into()));

    let scopes = json!({"name": "reader", "scopes": ["environment:webhooks:read"]});
    let reader = client.post("/api-keys", &scopes).await.ok();
    let reader = client.with_key(reader["data"]["key"].as_str());
    assert_eq!(reader.get("/webhooks").await.status, 200);
    assert_eq!(reader.get("/environment/webhook-signing-key").await.status, 403);
    assert_eq!(reader.post("/webhooks/resend", &json!({})).await.status, 403);
    let switch = json!({"on_sync_error": false});
    assert_eq!(
        reader
            .json(Method::PATCH, "/environment/webhooks", &switch)
            .await
            .status,
        403
    );

    // No key is in the database as it is.
    drop(client);
    let data = server.data().to_owned();
    for file in std::fs::read_dir(&data).expect("the data folder can be read").flatten() {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        for secret in [own, old.as_str()] {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "a signing key is in {}", file.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_action_in_the_background_is_announced() {
    let application = Upstream::replying([Reply::status(200)]).await;
    let (server, client) = with_upstream("http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    set_address(&client, &application.url()).await;
    let start = async |action: &str| {
        let accepted = client
            .trigger_async(INTEGRATION, CONNECTION, action, json!({}), 0)
            .await;
        accepted.json()["id"].as_str().unwrap_or_default().to_owned()
    };
    for action in ["echo", "refuse"] {
        let before = application.received().len();
        let id = start(action).await;
        let received = heard(&application, before + 1).await;
        assert_eq!(
            body(&received[before]),
            json!({
                "from": "nango", "type": "async_action", "connectionId": CONNECTION, "providerConfigKey": INTEGRATION,
                "payload": {"id": id, "statusUrl": format!("/action/{id}")},
            }),
            "the output is for who asks for it, and how it ended as well"
        );
    }
    // Whoever waits for the answer has it.
    let request = client
        .request(Method::POST, "/action/trigger")
        .header("Idempotency-Key", "once");
    let request = nango_runtime_tests::client::for_connection(request, INTEGRATION, CONNECTION);
    let input = json!({"action_name": "echo", "input": {}});
    let answer = nango_runtime_tests::client::send(nango_runtime_tests::client::json_body(request, &input)).await;
    assert_eq!(answer.status, 200);
    let id = start("echo").await;
    let received = heard(&application, 3).await;
    assert_eq!(body(&received[2])["payload"]["id"], id.as_str());
    assert_genuine(&server, &client, &received).await;
}
