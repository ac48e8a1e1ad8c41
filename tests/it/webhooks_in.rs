//! Webhooks of providers: what is taken and what is not, what functions make of them, what the application is told, and that nothing
//! that was taken is lost.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use nango_runtime_tests::client::{Answer, send};
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream, guest};
use ring::hmac;
use serde_json::{Value, json};

use crate::webhooks::{assert_genuine, set_address};

pub const WAIT: Duration = Duration::from_secs(30);
pub const LOOK_INTERVAL: Duration = Duration::from_millis(20);
const SECRET: &str = "the-acme-webhook-secret-5b1c";

/// `acme` signs; `silent` says nothing of its webhooks; `shared` sends a token along.
const PROVIDERS: &str = r#"
acme:
  display_name: Acme
  auth_mode: API_KEY
  webhook:
    verification:
      scheme: hmac
      proof: header.x-acme-signature
      prefix: sha256=
    handshakes:
      - when: body.type
        is: hello
        json:
          challenge: body.challenge
      - when: query.validationToken
        signed: false
        text: query.validationToken
    events: [body.type, header.x-acme-event]
    connections:
      - from: body.account
        equals: ${connectionConfig.account}
      - from: body.team
        equals: ${metadata.team}
  proxy:
    base_url: https://acme.test
silent:
  display_name: Silent
  auth_mode: API_KEY
  proxy:
    base_url: https://silent.test
shared:
  display_name: Shared
  auth_mode: API_KEY
  webhook:
    verification:
      scheme: token
      proof: header.x-shared-token
  proxy:
    base_url: https://shared.test
"#;

pub async fn prepare(runtime: TestRuntime) -> (Server, Client) {
    let server = runtime.provider_yaml(PROVIDERS).start();
    let client = server.client();
    let integration = json!({"unique_key": "acme", "provider": "acme", "custom": {"webhookSecret": SECRET}});
    let _ = client.post("/integrations", &integration).await.ok();
    for (connection_id, account) in [("one", "a-1"), ("two", "a-2"), ("again", "a-1")] {
        let connection = json!({
            "provider_config_key": "acme", "connection_id": connection_id, "connection_config": {"account": account},
            "credentials": {"type": "API_KEY", "apiKey": "an-api-key-8d2e"},
        });
        let _ = client.post("/connections", &connection).await.ok();
    }
    let _ = client.deploy("acme", guest::component("hooks")).await.ok();
    (server, client)
}

fn signature(body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// Names and values.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

pub async fn hook(client: &Client, path: &str, headers: Headers<'_>, body: &str) -> Answer {
    let mut request = client.with_key(None).request(Method::POST, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(
        request
            .header("content-type", "application/json")
            .body(Bytes::copy_from_slice(body.as_bytes())),
    )
    .await
}

/// A webhook as Acme sends it.
pub async fn acme(client: &Client, body: &Value) -> Answer {
    let body = body.to_string();
    let headers = [("x-acme-signature", &*signature(&body)), ("x-note", "hello")];
    hook(client, "/webhook/dev/acme", &headers, &body).await
}

/// Waits until there are so many records; gives them by id.
pub async fn things(client: &Client, connection_id: &str, model: &str, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + WAIT;
    loop {
        let found = client.records("acme", connection_id, model, "&limit=1000").await.ok();
        let mut records = found["records"].as_array().expect("a list").clone();
        if records.len() >= count {
            records.sort_by_key(|record| record["id"].to_string());
            return records;
        }
        assert!(Instant::now() < deadline, "{} of {count} records", records.len());
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

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

fn body(received: &Received) -> Value {
    serde_json::from_slice(&received.body).expect("a webhook is JSON")
}

/// Operations of one type, once there are so many that have ended.
pub async fn operations(client: &Client, kind: &str, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + WAIT;
    loop {
        let found = client.get(&format!("/logs/operations?type={kind}")).await.ok();
        let all = found["data"].as_array().expect("a list").clone();
        let ended = all.iter().filter(|operation| operation["state"] != "running").count();
        if ended >= count {
            return all;
        }
        assert!(Instant::now() < deadline, "{ended} of {count} operations: {found}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_handled_for_its_connections_and_passed_on() {
    let application = Upstream::replying([Reply::status(200)]).await;
    let (server, client) = prepare(TestRuntime::new().egress_loopback()).await;
    set_address(&client, &application.url()).await;

    let event = json!({"type": "thing.changed", "account": "a-1", "id": "t1"});
    let answer = acme(&client, &event).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "success"})));

    for connection_id in ["one", "again"] {
        let thing = &things(&client, connection_id, "Thing", 1).await[0];
        assert_eq!(
            (&thing["id"], &thing["by"], &thing["note"], &thing["count"]),
            (&json!("t1"), &json!("POST thing.changed"), &json!("hello"), &json!(1)),
            "{thing}"
        );
        let _ = things(&client, connection_id, "Event", 1).await;
    }
    // Another account's, whose connection hears of nothing.
    let found = client.records("acme", "two", "Thing", "").await.ok();
    assert_eq!(found["records"], json!([]));
    // Two connections, two syncs.
    let log = operations(&client, "webhook:incoming", 4).await;
    assert!(log.iter().all(|operation| operation["state"] == "success"), "{log:?}");
    assert!(log.iter().any(|operation| operation["function"] == "things"), "{log:?}");

    // They are runs like others.
    let ran = client.get("/runs?function=things&connection=one").await.ok();
    let run = &ran["data"][0];
    assert_eq!(
        (&run["type"], &run["trigger"], &run["state"], &run["version"]),
        (&json!("sync"), &json!("webhook"), &json!("succeeded"), &json!(1)),
        "{ran}"
    );
    assert_eq!(run["result"]["Thing"]["added"], 1, "{ran}");
    let operation = log.iter().find(|operation| operation["run_id"] == run["id"]);
    let shown = client
        .get(&format!("/runs/{}", run["id"].as_str().expect("an id")))
        .await
        .ok();
    assert_eq!(
        shown["data"]["operation_id"],
        operation.expect("it is in the log")["id"],
        "{shown}"
    );

    // Two forwarded, and what the four runs changed.
    let received = heard(&application, 6).await;
    let forwarded: Vec<&Received> = received.iter().filter(|one| body(one)["type"] == "forward").collect();
    assert_eq!(forwarded.len(), 2);
    let told = body(forwarded[0]);
    assert_eq!(
        (&told["from"], &told["providerConfigKey"]),
        (&json!("acme"), &json!("acme"))
    );
    assert_eq!(told["payload"], event);
    assert_eq!(forwarded[0].header("x-acme-signature"), signature(&event.to_string()));
    assert_eq!(forwarded[0].header("x-note"), "hello");
    let changed: Vec<Value> = received
        .iter()
        .map(body)
        .filter(|told| told["type"] == "sync")
        .collect();
    assert_eq!(changed.len(), 4);
    assert!(
        changed
            .iter()
            .all(|told| told["syncType"] == "WEBHOOK" && told["success"] == true),
        "{changed:?}"
    );
    let things_changed = changed
        .iter()
        .find(|told| told["model"] == "Thing")
        .expect("it changed");
    assert_eq!(things_changed["checkpoints"], json!({"from": null, "to": {"count": 1}}));
    assert_genuine(&server, &client, &received).await;

    // The sync's own run has a position of its own, and so have its webhooks.
    let _ = client.run_sync("acme", "one", "things").await;
    let _ = acme(&client, &json!({"type": "thing.made", "account": "a-1", "id": "t2"}))
        .await
        .ok();
    let all = things(&client, "one", "Thing", 3).await;
    assert_eq!((&all[2]["id"], &all[2]["count"]), (&json!("t2"), &json!(2)), "{all:?}");

    // What fails is told, and is in the log.
    let _ = acme(
        &client,
        &json!({"type": "thing.changed", "account": "a-2", "id": "t3", "fail": true}),
    )
    .await
    .ok();
    let deadline = Instant::now() + WAIT;
    loop {
        let all: Vec<Value> = application.received().iter().map(body).collect();
        if let Some(failed) = all.iter().find(|told| told["success"] == false) {
            assert_eq!(
                (&failed["syncName"], &failed["connectionId"]),
                (&json!("things"), &json!("two")),
                "{failed}"
            );
            let ran = client.get("/runs?connection=two&state=failed").await.ok();
            let run = &ran["data"][0];
            assert_eq!(
                (&run["function"], &run["trigger"]),
                (&json!("things"), &json!("webhook")),
                "{ran}"
            );
            assert_eq!(run["error"]["code"], "action_script_runtime_error", "{ran}");
            break;
        }
        assert!(Instant::now() < deadline, "{all:?}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_genuine_is_refused_and_leaves_nothing() {
    let (_server, client) =
        prepare(TestRuntime::new().environment("NANGO_LIMITS_INCOMING_WEBHOOK_BODY_BYTES", "1000")).await;
    for provider in ["silent", "shared"] {
        let _ = client.create_integration(provider, provider).await.ok();
    }
    let event = r#"{"type":"thing.changed","account":"a-1","id":"t1"}"#;
    let good = signature(event);
    let signed = [("x-acme-signature", &*good)];
    let other = signature("{}");
    let large = format!(r#"{{"type":"{}"}}"#, "x".repeat(1_000));
    let environment = client.get("/integrations/acme?include=webhook").await.ok();
    let url = environment["data"]["webhook_url"]
        .as_str()
        .expect("an address")
        .to_owned();
    let path = url
        .strip_prefix(client.base_url())
        .expect("it is this server's")
        .to_owned();
    assert!(path.starts_with("/webhook/env_"), "{path}");
    let silent = client.get("/integrations/silent?include=webhook").await.ok();
    assert_eq!(silent["data"]["webhook_url"], Value::Null);

    let cases: [(&str, Headers<'_>, &str, u16, &str); 9] = [
        ("/webhook/nowhere/acme", &signed[..], event, 404, "unknown_environment"),
        ("/webhook/dev/nothing", &signed, event, 404, "unknown_provider_config"),
        ("/webhook/dev/acme", &[], event, 401, "webhook_missing_signature"),
        (
            "/webhook/dev/acme",
            &[("x-acme-signature", &*other)],
            event,
            401,
            "webhook_invalid_signature",
        ),
        (
            "/webhook/dev/acme",
            &signed,
            r#"{"type":"thing.changed"}"#,
            401,
            "webhook_invalid_signature",
        ),
        (
            &*path,
            &[("x-acme-signature", &*other)],
            event,
            401,
            "webhook_invalid_signature",
        ),
        ("/webhook/dev/acme", &signed, &*large, 413, "request_too_large"),
        (
            "/webhook/dev/shared",
            &[("x-shared-token", "x")],
            event,
            401,
            "webhook_missing_secret",
        ),
        ("/webhook/dev/silent", &[], event, 204, ""),
    ];
    for (path, headers, body, status, code) in cases {
        let answer = hook(&client, path, headers, body).await;
        assert_eq!(
            (answer.status, &*answer.error_code()),
            (status, code),
            "{path}: {}",
            answer.text()
        );
        assert!(!answer.text().contains(SECRET), "{}", answer.text());
    }
    let patch = json!({"custom": {"webhookSecret": "shared-s3cret"}});
    let _ = client.json(Method::PATCH, "/integrations/shared", &patch).await.ok();
    let cases: [(Headers<'_>, u16, &str); 3] = [
        (&[], 401, "webhook_missing_token"),
        (&[("x-shared-token", "shared-s3cre")], 401, "webhook_invalid_signature"),
        (&[("x-shared-token", "shared-s3cret")], 200, ""),
    ];
    for (headers, status, code) in cases {
        let answer = hook(&client, "/webhook/dev/shared", headers, event).await;
        assert_eq!((answer.status, &*answer.error_code()), (status, code));
    }
    let found = client.records("acme", "one", "Thing", "").await.ok();
    assert_eq!(found["records"], json!([]));
    assert_eq!(
        hook(&client, &path, &signed, event).await.status,
        200,
        "by the environment's id"
    );
    let _ = things(&client, "one", "Thing", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_are_answered() {
    let (_server, client) = prepare(TestRuntime::new()).await;
    let hello = json!({"type": "hello", "challenge": "abc-123", "account": "a-1"});
    let answer = acme(&client, &hello).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"challenge": "abc-123"})));
    let unsigned = hook(&client, "/webhook/dev/acme", &[], &hello.to_string()).await;
    assert_eq!(unsigned.error_code(), "webhook_missing_signature");
    let open = hook(&client, "/webhook/dev/acme?validationToken=%3Cb%3E", &[], "").await;
    assert_eq!((open.status, &*open.text()), (200, "<b>"));
    assert_eq!(open.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(open.header("x-content-type-options"), Some("nosniff"));
    let found = client.records("acme", "one", "Event", "").await.ok();
    assert_eq!(found["records"], json!([]), "a handshake is no event");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_found_by_what_they_are_now() {
    let application = Upstream::replying([Reply::status(200)]).await;
    let (_server, client) = prepare(TestRuntime::new().egress_loopback()).await;
    set_address(&client, &application.url()).await;

    // Nobody's: it is passed on as it is.
    let stray = json!({"type": "thing.changed", "account": "a-9", "id": "t1"});
    let _ = acme(&client, &stray).await.ok();
    assert_eq!(body(&heard(&application, 1).await[0]), stray);
    let noted = operations(&client, "webhook:incoming", 1).await;
    assert!(
        noted[0]["message"]
            .as_str()
            .is_some_and(|it| it.contains("no connection fits")),
        "{noted:?}"
    );

    // By metadata, which changes; then by another value; then not at all.
    let _ = client.set_metadata("acme", "two", json!({"team": 7})).await.ok();
    let _ = acme(&client, &json!({"type": "thing.changed", "team": "7", "id": "t2"}))
        .await
        .ok();
    let _ = things(&client, "two", "Thing", 1).await;
    let _ = client.set_metadata("acme", "two", json!({"team": 8})).await.ok();
    let _ = acme(&client, &json!({"type": "thing.changed", "team": 7, "id": "t3"}))
        .await
        .ok();
    let _ = acme(&client, &json!({"type": "thing.changed", "team": 8, "id": "t4"}))
        .await
        .ok();
    let all = things(&client, "two", "Thing", 2).await;
    assert_eq!((&all[0]["id"], &all[1]["id"]), (&json!("t2"), &json!("t4")));

    // A connection that is made later, and one that is deleted.
    let connection = json!({
        "provider_config_key": "acme", "connection_id": "late", "connection_config": {"account": "a-9"},
        "credentials": {"type": "API_KEY", "apiKey": "an-api-key-8d2e"},
    });
    let _ = client.post("/connections", &connection).await.ok();
    let _ = acme(&client, &stray).await.ok();
    let _ = things(&client, "late", "Thing", 1).await;
    let _ = client.delete("/connections/late?provider_config_key=acme").await.ok();
    let _ = acme(&client, &stray).await.ok();
    let deadline = Instant::now() + WAIT;
    while application.received().iter().filter(|one| body(one) == stray).count() < 2 {
        assert!(Instant::now() < deadline, "it is nobody's again");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }

    // Functions hear of what is not passed on.
    let patch = json!({"forward_webhooks": false});
    let _ = client.json(Method::PATCH, "/integrations/acme", &patch).await.ok();
    let _ = acme(&client, &json!({"type": "quiet", "account": "a-2", "id": "t5"}))
        .await
        .ok();
    let all = things(&client, "two", "Event", 2).await;
    assert!(all.iter().any(|event| event["id"] == "quiet"), "{all:?}");
    assert!(
        !application
            .received()
            .iter()
            .any(|one| body(one)["payload"]["type"] == "quiet")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_knows_the_address() {
    let (_server, client) = prepare(TestRuntime::new()).await;
    let shown = client.get("/integrations/acme?include=webhook").await.ok();
    let told = client.trigger_action("acme", "one", "address", Value::Null).await.ok();
    assert_eq!(told, shown["data"]["webhook_url"]);
    let config = client.get("/scripts/config").await.ok();
    assert!(
        config
            .to_string()
            .contains(r#""webhookSubscriptions":["thing.changed","thing.made"]"#),
        "{config}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_bounded_and_what_was_taken_is_handled_in_order() {
    let runtime = TestRuntime::new()
        .environment("NANGO_LIMITS_QUEUED_WEBHOOK_RUNS", "40")
        .environment("NANGO_LIMITS_INCOMING_WEBHOOKS_PER_MINUTE", "60");
    let (_server, client) = prepare(runtime).await;
    // The first one holds the line, so that the queue fills.
    let _ = acme(
        &client,
        &json!({"type": "thing.changed", "account": "a-2", "id": "first", "wait_ms": 5_000}),
    )
    .await
    .ok();
    let mut taken = vec!["first".to_owned()];
    let mut codes = Vec::new();
    for n in 0..80 {
        let id = format!("t{n:02}");
        let answer = acme(&client, &json!({"type": "thing.changed", "account": "a-2", "id": id})).await;
        match answer.status {
            200 => taken.push(id),
            status => {
                assert_eq!(
                    (status, &*answer.error_code()),
                    (429, "too_many_request"),
                    "{}",
                    answer.text()
                );
                assert!(answer.header("retry-after").is_some());
                codes.push(answer.text());
            }
        }
    }
    assert!(
        codes.iter().any(|text| text.contains("limits.queued_webhook_runs")),
        "{codes:?}"
    );
    assert!(
        codes
            .iter()
            .any(|text| text.contains("limits.incoming_webhooks_per_minute")),
        "{codes:?}"
    );
    // Forgeries do not count, and are told what they are.
    let forged = hook(&client, "/webhook/dev/acme", &[("x-acme-signature", "sha256=00")], "{}").await;
    assert_eq!(forged.error_code(), "webhook_invalid_signature");
    let all = things(&client, "two", "Thing", taken.len()).await;
    assert_eq!(all.len(), taken.len());
    let mut by_count = all.clone();
    by_count.sort_by_key(|thing| thing["count"].as_u64());
    let order: Vec<&str> = by_count.iter().filter_map(|thing| thing["id"].as_str()).collect();
    assert_eq!(order, taken, "one after the other, as they came");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_survives_kills() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let runtime = || TestRuntime::new().egress_loopback().data(folder.path());
    let (mut server, _) = prepare(runtime()).await;
    let mut taken = 0;
    for round in 0..4_u32 {
        let client = server.client();
        for n in 0..12_u32 {
            let event =
                json!({"type": "thing.changed", "account": "a-1", "id": format!("{round}-{n}"), "wait_ms": n % 3 * 10});
            let _ = acme(&client, &event).await.ok();
            taken += 1;
        }
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 40)).await;
        server.process().kill();
        server = runtime().provider_yaml(PROVIDERS).start();
    }
    let client = server.client();
    for connection_id in ["one", "again"] {
        let all = things(&client, connection_id, "Thing", taken).await;
        assert_eq!(all.len(), taken, "{all:?}");
    }
}
