//! Tokens are refreshed in time, once for everyone, and after a refusal, with a real OAuth 2 server that rotates refresh tokens
//! and takes everything back when one is used twice.

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::oidc::{self, BASIC_CLIENT_ID, BASIC_CLIENT_SECRET, CLIENT_ID, CLIENT_SECRET, Oidc, Tokens};
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream};
use serde_json::{Value, json};

use crate::fixture::CONNECTION;

const HOUR_MS: i64 = 60 * 60 * 1_000;
const CALLERS: usize = 1_000;

/// A server whose integration `oidc` refreshes at `oidc` and calls `api_url`.
pub async fn serving(runtime: TestRuntime, oidc: &Oidc, api_url: &str) -> (Server, Client) {
    let server = runtime
        .egress_loopback()
        .provider_yaml(&oidc::providers(&oidc.url, api_url))
        .start();
    let client = server.client();
    let app = json!({"type": "OAUTH2", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET});
    let integration = json!({"unique_key": "oidc", "provider": "oidc", "credentials": app});
    let _ = client.post("/integrations", &integration).await;
    (server, client)
}

/// The same, with the connection [`CONNECTION`] whose token ends `in_ms` from now.
async fn connected(oidc: &Oidc, tokens: &Tokens, in_ms: i64) -> (Server, Client) {
    let (server, client) = serving(TestRuntime::new(), oidc, &oidc.url).await;
    let _ = client
        .import_connection("oidc", CONNECTION, tokens.credentials(in_ms))
        .await
        .ok();
    (server, client)
}

pub async fn shown(client: &Client, query: &str) -> Value {
    client
        .get(&format!("/connections/{CONNECTION}?provider_config_key=oidc{query}"))
        .await
        .ok()
}

/// States of the log's operations about refreshes, newest first.
async fn refreshes(client: &Client) -> Vec<String> {
    let operations = client
        .get("/logs/operations?limit=500&type=auth:refresh_token")
        .await
        .ok();
    let operations = operations["data"].as_array().expect("a list of operations").clone();
    operations
        .iter()
        .filter(|operation| operation.to_string().contains("auth:refresh_token"))
        .map(|operation| operation["state"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_cause_one_refresh() {
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let (_server, client) = connected(&oidc, &tokens, -1_000).await;
    // Long enough for all of them to meet.
    oidc.hold(0, 300).await;
    let calls = (0..CALLERS).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.proxy_get("oidc", CONNECTION, "/me").await })
    });
    let calls: Vec<_> = calls.collect();
    for call in calls {
        let answer = call.await.expect("a caller ends");
        assert_eq!(answer.ok(), json!({"sub": "user-1"}), "{}", answer.text());
    }
    let stats = oidc.stats().await;
    assert_eq!((&stats["refresh_token"], &stats["errors"]), (&json!(1), &json!(0)));
    assert_eq!(refreshes(&client).await, ["success"]);

    let connection = shown(&client, "&refresh_token=true").await;
    assert_eq!(
        connection["credentials"]["refresh_token"],
        stats["newest_refresh_token"]
    );
    assert_ne!(
        connection["credentials"]["refresh_token"],
        tokens.refresh_token.as_str()
    );
    assert!(connection["last_fetched_at"].is_string(), "{connection}");
    assert!(shown(&client, "").await["credentials"]["refresh_token"].is_null());
    let log = client.logs().await;
    for secret in [&tokens.refresh_token, &tokens.access_token, CLIENT_SECRET] {
        assert!(!log.contains(secret), "a secret is in the log: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_replaced_and_the_request_repeated() {
    let oidc = Oidc::start();
    let mut tokens = oidc.authorize().await;
    tokens.access_token = "no-token-of-this-server".to_owned();
    let (_server, client) = connected(&oidc, &tokens, HOUR_MS).await;
    let answer = client.proxy_get("oidc", CONNECTION, "/me").await;
    assert_eq!(answer.ok(), json!({"sub": "user-1"}));
    assert_eq!(oidc.stats().await["refresh_token"], 1);
    let log = client.logs().await;
    assert!(log.contains("credentials_refreshed"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_end_is_replaced_when_it_is_refused() {
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let (_server, client) = serving(TestRuntime::new(), &oidc, &oidc.url).await;
    let credentials = json!({
        "type": "OAUTH2", "access_token": "no-token-of-this-server", "refresh_token": tokens.refresh_token,
    });
    let _ = client.import_connection("oidc", CONNECTION, credentials).await.ok();
    let _ = client.proxy_get("oidc", CONNECTION, "/me").await.ok();
    assert_eq!(oidc.stats().await["refresh_token"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_refuses_every_token_is_asked_twice() {
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let api = Upstream::replying([Reply::json(401, &json!({"message": "no"}))]).await;
    let (_server, client) = serving(TestRuntime::new(), &oidc, &api.url()).await;
    let _ = client
        .import_connection("oidc", CONNECTION, tokens.credentials(HOUR_MS))
        .await
        .ok();
    let answer = client.proxy_get("oidc", CONNECTION, "/x").await;
    assert_eq!(answer.snapshot(), json!({"status": 401, "body": {"message": "no"}}));
    assert_eq!(api.received().len(), 2);
    // The token is new: another one would be refused as well.
    assert_eq!(client.proxy_get("oidc", CONNECTION, "/x").await.status, 401);
    assert_eq!(api.received().len(), 3);
    assert_eq!(oidc.stats().await["refresh_token"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_connections_fault_refreshes_nothing() {
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let (_server, client) = connected(&oidc, &tokens, HOUR_MS).await;
    let own = client
        .proxy(Method::GET, "oidc", CONNECTION, "/me")
        .header("Nango-Proxy-Authorization", "Bearer the-callers-own");
    assert_eq!(send(own).await.status, 401);
    let two_megabytes = vec![b'x'; 2 << 20];
    let api = Upstream::replying([Reply::status(401)]).await;
    let streamed = client
        .proxy(Method::POST, "oidc", CONNECTION, "/x")
        .header("Base-Url-Override", api.url())
        .body(two_megabytes);
    assert_eq!(send(streamed).await.status, 401);
    assert_eq!(api.received().len(), 1);
    assert_eq!(oidc.stats().await["refresh_token"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_still_works_is_used_when_it_cannot_be_refreshed() {
    let mut oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let api = Upstream::replying([Reply::json(200, &json!({"ok": true}))]).await;
    let (_server, client) = serving(TestRuntime::new(), &oidc, &api.url()).await;
    let _ = client
        .import_connection("oidc", CONNECTION, tokens.credentials(5 * 60 * 1_000))
        .await
        .ok();
    oidc.stop();
    for _ in 0..2 {
        let _ = client.proxy_get("oidc", CONNECTION, "/x").await.ok();
    }
    for request in api.received() {
        assert_eq!(
            request.header("authorization"),
            format!("Bearer {}", tokens.access_token)
        );
    }
    assert_eq!(refreshes(&client).await, ["failed"]);
    let connection = shown(&client, "").await;
    assert_eq!(connection["errors"][0]["type"], "auth", "{connection}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_that_cannot_be_refreshed_is_an_error() {
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let bad = Tokens {
        refresh_token: "never-issued-refresh-token".to_owned(),
        ..tokens.clone()
    };
    let (_server, client) = connected(&oidc, &bad, -1_000).await;
    let answer = client.proxy_get("oidc", CONNECTION, "/me").await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (400, "server_error".into()),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("invalid_grant"), "{}", answer.text());
    let answer = client.proxy_get("oidc", CONNECTION, "/me").await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (424, "connection_refresh_backoff".into()),
        "{}",
        answer.text()
    );
    assert_eq!(oidc.stats().await["errors"], 1, "the second call asked nobody");
    let path = format!("/connections/{CONNECTION}?provider_config_key=oidc&force_refresh=true");
    let answer = client.get(&path).await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (400, "refresh_token_external_error".into()),
        "{}",
        answer.text()
    );
    assert_eq!(oidc.stats().await["errors"], 2, "force asks in spite of the failure");

    // Connected anew: nothing of it is left.
    let _ = client
        .import_connection("oidc", CONNECTION, tokens.credentials(-1_000))
        .await
        .ok();
    let _ = client.proxy_get("oidc", CONNECTION, "/me").await.ok();
    assert_eq!(shown(&client, "").await["errors"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_can_be_forced() {
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let (_server, client) = connected(&oidc, &tokens, HOUR_MS).await;
    let before = shown(&client, "&refresh_token=true").await;
    assert_eq!(before["credentials"]["refresh_token"], tokens.refresh_token.as_str());
    let forced = shown(&client, "&force_refresh=true&refresh_token=true").await;
    assert_ne!(
        forced["credentials"]["access_token"],
        before["credentials"]["access_token"]
    );
    let stats = oidc.stats().await;
    assert_eq!(forced["credentials"]["refresh_token"], stats["newest_refresh_token"]);
    assert_eq!(stats["refresh_token"], 1);
    let _ = client.proxy_get("oidc", CONNECTION, "/me").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_are_exchanged_when_they_are_needed() {
    let oidc = Oidc::start();
    let api = Upstream::replying([Reply::json(200, &json!({"ok": true}))]).await;
    let (_server, client) = serving(TestRuntime::new(), &oidc, &api.url()).await;
    for (key, id, secret) in [
        ("machine", CLIENT_ID, CLIENT_SECRET),
        ("machine-basic", BASIC_CLIENT_ID, BASIC_CLIENT_SECRET),
    ] {
        let _ = client.create_integration(key, key).await.ok();
        let credentials = json!({"type": "OAUTH2_CC", "client_id": id, "client_secret": secret});
        let _ = client.import_connection(key, CONNECTION, credentials).await.ok();
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.proxy_get(key, CONNECTION, "/x").await.ok() })
            })
            .collect();
        for call in calls {
            let _ = call.await.expect("a caller ends");
        }
        let path = format!("/connections/{CONNECTION}?provider_config_key={key}");
        let connection = client.get(&path).await.ok();
        let token = connection["credentials"]["token"].as_str().expect("a token").to_owned();
        let received = api.received();
        let sent = received.last().expect("the API was called").header("authorization");
        assert_eq!(sent, format!("Bearer {token}"));
    }
    assert_eq!(oidc.stats().await["client_credentials"], 2, "once for each connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_endpoints_are_under_the_egress_policy() {
    let oidc = Oidc::start();
    let tokens = oidc.authorize().await;
    let server = TestRuntime::new()
        .provider_yaml(&oidc::providers(&oidc.url, "https://api.example.com"))
        .start();
    let client = server.client();
    let app = json!({"type": "OAUTH2", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET});
    let integration = json!({"unique_key": "oidc", "provider": "oidc", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    let _ = client
        .import_connection("oidc", CONNECTION, tokens.credentials(-1_000))
        .await
        .ok();
    let answer = client.proxy_get("oidc", CONNECTION, "/me").await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("--egress-allow"), "{}", answer.text());
    assert_eq!(oidc.stats().await["errors"], 0);
}
