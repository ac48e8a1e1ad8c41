//! No secret is readable anywhere: not in the data folder, not in what the server writes, not in what its log API shows.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use nango_runtime_tests::client::{json_body, send};
use nango_runtime_tests::server::SECRET_KEY;
use nango_runtime_tests::{Reply, TestRuntime, Upstream, guest};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

/// Characters that each encoding changes.
const KEY: &str = "s3cr3t/key+of=the?api&";
const PASSWORD: &str = "pässword of the user";
const TOKEN: &str = "oauth-token-8d1f.with~marks";
const REFRESH: &str = "oauth-refresh-77b2";
const CLIENT_SECRET: &str = "client-secret-c0ffee";

#[tokio::test(flavor = "multi_thread")]
async fn a_session_leaves_no_secret_behind() {
    let upstream = Upstream::handling(|request| {
        // An upstream that repeats what it got, as some do in their errors.
        let told = format!("you said {} and {}", request.header("authorization"), request.target);
        Reply::json(
            if request.target.contains("fail") { 400 } else { 200 },
            &json!({"told": told}),
        )
        .header("x-echo", "answer header")
    })
    .await;
    let runtime = TestRuntime::new().egress_loopback().environment("NANGO_LOG", "debug");
    let (mut server, client) = prepared(runtime, &upstream.url()).await;
    for (integration, provider, credentials) in [
        ("a", "query-key", json!({"type": "API_KEY", "apiKey": KEY})),
        (
            "b",
            "basic",
            json!({"type": "BASIC", "username": "user", "password": PASSWORD}),
        ),
        (
            "c",
            "oauth",
            json!({"type": "OAUTH2", "access_token": TOKEN, "refresh_token": REFRESH}),
        ),
    ] {
        let _ = client.create_integration(integration, provider).await.ok();
        let _ = client
            .import_connection(integration, CONNECTION, credentials)
            .await
            .ok();
        for path in ["/x?a=1", "/fail", "/fail/again?b=2"] {
            let _ = client.proxy_get(integration, CONNECTION, path).await;
        }
    }
    let oauth = json!({"unique_key": "d", "provider": "oauth", "credentials":
        {"type": "OAUTH2", "client_id": "id", "client_secret": CLIENT_SECRET, "scopes": "a,b"}});
    let _ = client.post("/integrations", &oauth).await.ok();
    // Bodies that are refused.
    let wrong = json!({"provider_config_key": "a", "credentials": {"type": "BASIC", "password": PASSWORD}});
    let _ = send(json_body(client.request(http::Method::POST, "/connections"), &wrong)).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", json!({"path": "/fail"}))
        .await;
    // A function that logs what an upstream repeated, and fails with it.
    let _ = client.deploy("a", guest::component("basic")).await.ok();
    for integration in ["a", INTEGRATION] {
        let answer = client
            .trigger_action(integration, CONNECTION, "repeat", json!({"path": "/x?b=2"}))
            .await;
        assert!(answer.text().contains("no idea"), "{}", answer.text());
    }
    let logged = client.logs().await;
    assert!(
        logged.contains("answered") && logged.contains("no idea") && logged.contains("REDACTED"),
        "{logged}"
    );

    // Stopped in order, so that everything is written.
    server.process().signal("TERM");
    let _ = server.process().wait();
    let log = server.log();
    for secret in [
        KEY,
        PASSWORD,
        TOKEN,
        REFRESH,
        CLIENT_SECRET,
        SECRET_KEY,
        crate::fixture::API_KEY,
    ] {
        for form in forms(secret) {
            assert!(!log.contains(&form), "{secret:?} is in the server's output as {form:?}");
            look_through(server.data(), form.as_bytes(), secret);
        }
    }
}

/// The ways a secret could be written down.
fn forms(secret: &str) -> Vec<String> {
    let basic = format!("user:{secret}");
    let json = serde_json::to_string(secret).expect("a text is JSON");
    vec![
        secret.to_owned(),
        json.trim_matches('"').to_owned(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        // Padding and the characters before it depend on what follows.
        STANDARD.encode(secret).trim_end_matches('=').to_owned(),
        URL_SAFE_NO_PAD.encode(secret),
        STANDARD.encode(basic).trim_end_matches('=').to_owned(),
    ]
}

fn look_through(folder: &Path, needle: &[u8], secret: &str) {
    for entry in std::fs::read_dir(folder).expect("the data folder can be listed") {
        let path = entry.expect("the data folder can be listed").path();
        if path.is_dir() {
            look_through(&path, needle, secret);
            continue;
        }
        let content = std::fs::read(&path).expect("a file of the data folder can be read");
        let found = content.windows(needle.len()).any(|window| window == needle);
        assert!(!found, "{secret:?} is in {}", path.display());
    }
}

#[test]
fn key_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = TestRuntime::new().start();
    let mut keys = 0;
    for entry in std::fs::read_dir(server.data()).expect("the data folder can be listed") {
        let entry = entry.expect("the data folder can be listed");
        if entry.file_name().to_string_lossy().contains("key") {
            keys += 1;
            let mode = entry.metadata().expect("a file has metadata").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", entry.path().display());
        }
    }
    assert_eq!(keys, 1, "the generated encryption key is in the data folder");
}
