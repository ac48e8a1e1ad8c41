//! Secrets that webhooks of providers are signed with: of connections, each of which may have several, and those that come with a
//! handshake.

use std::time::Instant;

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::{Client, Server, TestRuntime, guest};
use ring::hmac;
use serde_json::{Value, json};

use crate::webhooks_in::{LOOK_INTERVAL, WAIT, hook, operations};

/// One that gives each webhook a secret, and one that sends a secret once.
const PROVIDERS: &str = r#"
asana-like:
  display_name: A secret for each webhook
  auth_mode: API_KEY
  webhook:
    verification:
      scheme: hmac
      proof: header.x-hook-signature
      secret: [connection]
    handshakes:
      - when: header.x-hook-secret
        signed: false
        keep: header.x-hook-secret
        headers:
          x-hook-secret: header.x-hook-secret
    empty_answer: true
    events: [body.type]
  proxy:
    base_url: https://asana.test
notion-like:
  display_name: A secret that comes once
  auth_mode: API_KEY
  webhook:
    verification:
      scheme: hmac
      proof: header.x-signature
    handshakes:
      - when: body.verification_token
        signed: false
        keep: body.verification_token
    events: [body.type]
  proxy:
    base_url: https://notion.test
"#;

fn signed_with(secret: &str, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn start() -> (Server, Client) {
    let server = TestRuntime::new().provider_yaml(PROVIDERS).start();
    let client = server.client();
    (server, client)
}

/// An integration of one provider with the connections `one` and `two`.
async fn with_two(client: &Client, provider: &str) {
    let _ = client.create_integration(provider, provider).await.ok();
    for connection in ["one", "two"] {
        let credentials = json!({"type": "API_KEY", "apiKey": "an-api-key-8d2e"});
        let _ = client.import_connection(provider, connection, credentials).await.ok();
    }
    let _ = client.deploy(provider, guest::component("hooks")).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_webhook_has_a_secret_of_its_own_that_comes_with_its_handshake() {
    let (_server, client) = start();
    let provider = "asana-like";
    with_two(&client, provider).await;
    with_two(&client, "notion-like").await;
    let address = async |connection: &str| {
        let url = client
            .trigger_action(provider, connection, "address", Value::Null)
            .await
            .ok();
        let url = url.as_str().expect("an address").to_owned();
        url.split_once("/webhook/")
            .map(|(_, path)| format!("/webhook/{path}"))
            .expect("a path")
    };
    let (one, two) = (address("one").await, address("two").await);
    assert_ne!(one, two);
    assert_eq!(one, address("one").await, "it stays the same");
    let told = client
        .json(
            Method::PUT,
            &format!("/connections/one/webhook?provider_config_key={provider}"),
            &json!({}),
        )
        .await
        .ok();
    assert!(
        told["data"]["url"].as_str().is_some_and(|url| url.ends_with(&one)),
        "{told}"
    );

    // Two webhooks of one connection.
    for secret in ["secret-of-the-first-0001", "secret-of-the-second-0002"] {
        let shaken = hook(&client, &one, &[("x-hook-secret", secret)], "").await;
        assert_eq!((shaken.status, shaken.text().as_str()), (200, ""));
        assert_eq!(shaken.header("x-hook-secret"), Some(secret));
    }
    let integrations = format!("/webhook/dev/{provider}");
    assert_eq!(
        hook(&client, &integrations, &[("x-hook-secret", "anybody")], "")
            .await
            .status,
        404
    );
    assert_eq!(
        hook(
            &client,
            &format!("{integrations}/guessed"),
            &[("x-hook-secret", "s")],
            ""
        )
        .await
        .status,
        404
    );
    // Of another integration.
    let there = one.replace(provider, "notion-like");
    assert_eq!(hook(&client, &there, &[("x-hook-secret", "s")], "").await.status, 404);

    let send_to = async |path: &str, secret: &str, id: &str| {
        let body = json!({"type": "thing.made", "id": id}).to_string();
        hook(
            &client,
            path,
            &[("x-hook-signature", &signed_with(secret, &body))],
            &body,
        )
        .await
    };
    let taken = send_to(&one, "secret-of-the-first-0001", "t1").await;
    assert_eq!(
        (taken.status, taken.text().as_str()),
        (200, ""),
        "without a body, as this provider wants it"
    );
    assert_eq!(send_to(&one, "secret-of-the-second-0002", "t2").await.status, 200);
    assert_eq!(
        send_to(&one, "another", "t3").await.error_code(),
        "webhook_invalid_signature"
    );
    assert_eq!(
        send_to(&two, "secret-of-the-first-0001", "t3").await.error_code(),
        "webhook_missing_secret"
    );
    let records = async |connection: &str, count: usize| {
        let deadline = Instant::now() + WAIT;
        loop {
            let found = client.records(provider, connection, "Thing", "").await.ok();
            let found = found["records"].as_array().map_or(0, Vec::len);
            if found >= count {
                break found;
            }
            assert!(Instant::now() < deadline, "{found} of {count}");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    assert_eq!((records("one", 2).await, records("two", 0).await), (2, 0));

    // A secret by hand, for those that choose it themselves.
    let by_hand = json!({"secret": "chosen-by-the-application"});
    let path = format!("/connections/two/webhook?provider_config_key={provider}");
    let told = client.json(Method::PUT, &path, &by_hand).await.ok();
    assert!(!told.to_string().contains("chosen"), "{told}");
    assert_eq!(send_to(&two, "chosen-by-the-application", "t4").await.status, 200);
    let empty = client.json(Method::PUT, &path, &json!({"secret": ""})).await;
    assert_eq!((empty.status, empty.error_code()), (400, "invalid_body".into()));

    // What is deleted receives nothing.
    let _ = client
        .delete(&format!("/connections/one?provider_config_key={provider}"))
        .await
        .ok();
    assert_eq!(send_to(&one, "secret-of-the-first-0001", "t5").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_that_a_provider_sends_first_is_kept_and_no_other() {
    let (server, client) = start();
    let provider = "notion-like";
    with_two(&client, provider).await;
    let path = format!("/webhook/dev/{provider}");
    let token = async |token: &str| hook(&client, &path, &[], &json!({"verification_token": token}).to_string()).await;
    assert_eq!(token("secret_first").await.status, 200);
    assert_eq!(token("secret_first").await.status, 200, "the same again");
    let other = token("secret_of_a_stranger").await;
    assert_eq!((other.status, other.error_code()), (409, "conflict".into()));
    let shown = client
        .get(&format!("/integrations/{provider}?include=credentials"))
        .await
        .ok();
    assert!(
        shown.to_string().contains("secret_first"),
        "whoever makes the subscription types it in: {shown}"
    );
    let body = json!({"type": "page.made"}).to_string();
    let taken = hook(
        &client,
        &path,
        &[("x-signature", &signed_with("secret_first", &body))],
        &body,
    )
    .await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let forged = hook(
        &client,
        &path,
        &[("x-signature", &signed_with("secret_of_a_stranger", &body))],
        &body,
    )
    .await;
    assert_eq!(forged.error_code(), "webhook_invalid_signature");
    let noted = operations(&client, "webhook:incoming", 1).await;
    assert!(
        noted
            .iter()
            .any(|it| it["message"].to_string().contains("webhookSecret now")),
        "{noted:?}"
    );
    assert!(!client.logs().await.contains("secret_first") && !server.log().contains("secret_first"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_whether_webhooks_are_received_is_told() {
    let (_server, client) = start();
    with_two(&client, "notion-like").await;
    let asked = async |path: &str| send(client.with_key(None).request(Method::HEAD, path)).await.status;
    assert_eq!(asked("/webhook/dev/notion-like").await, 200);
    assert_eq!(asked("/webhook/dev/nope").await, 404);
}
