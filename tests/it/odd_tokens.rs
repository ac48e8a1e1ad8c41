//! Token endpoints that answer oddly, when a customer connects and when a token is refreshed: each comes to a clear end.

use std::time::Duration;

use nango_runtime_tests::odd_tokens::OddTokens;
use nango_runtime_tests::oidc::now_ms;
use nango_runtime_tests::{Browser, Client, Page, Server, TestRuntime};
use serde_json::{Value, json};

async fn serving(provider: &OddTokens) -> (Server, Client) {
    let url = &provider.url;
    let yaml = format!(
        "odd:\n  display_name: Odd\n  auth_mode: OAUTH2\n  authorization_url: {url}/authorize\n  token_url: {url}/token\n  proxy:\n    base_url: {url}\n"
    );
    let server = TestRuntime::new().egress_loopback().provider_yaml(&yaml).start();
    let client = server.client();
    let app = json!({"type": "OAUTH2", "client_id": "c", "client_secret": "s3cret-of-the-client", "scopes": "a"});
    let integration = json!({"unique_key": "odd", "provider": "odd", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    (server, client)
}

/// A customer goes there and comes back.
async fn connect(client: &Client) -> Page {
    let opened = client
        .post("/connect/sessions", &json!({"end_user": {"id": "u1"}}))
        .await
        .ok();
    let token = opened["data"]["token"].as_str().expect("a token");
    let url = format!("{}/oauth/connect/odd?connect_session_token={token}", client.base_url());
    Browser::new().open(&url).await
}

/// The connection that a customer made, with its tokens.
async fn connected(client: &Client) -> Value {
    let page = connect(client).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let id = page.data("connectionId").expect("an id");
    client
        .get(&format!("/connections/{id}?provider_config_key=odd&refresh_token=true"))
        .await
        .ok()
}

/// Milliseconds until the token ends.
fn lives_ms(connection: &Value) -> Option<i64> {
    let at = connection["credentials"]["expires_at"].as_str()?;
    let at: jiff::Timestamp = at.parse().expect("a moment");
    Some(at.as_millisecond() - now_ms())
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetimes() {
    let provider = OddTokens::start();
    let (_server, client) = serving(&provider).await;
    for (odd, seconds) in [
        (json!({}), Some(3_600)),
        (json!({"set": {"expires_in": "1800"}}), Some(1_800)),
        (json!({"set": {"expires_in": 90.5}}), Some(90)),
        (json!({"remove": ["expires_in"]}), None),
        (json!({"set": {"expires_in": null}}), None),
        (json!({"set": {"expires_in": 0}}), None),
        (json!({"set": {"expires_in": -5}}), None),
        (json!({"set": {"expires_in": "soon"}}), None),
        (json!({"set": {"expires_in": {"seconds": 5}}}), None),
        (
            json!({"set": {"expires_at": now_ms() / 1_000 + 7_200, "expires_in": 5}}),
            Some(7_200),
        ),
        (json!({"form": true, "set": {"expires_in": "1800"}}), Some(1_800)),
    ] {
        provider.answer(&odd).await;
        let connection = connected(&client).await;
        let found = lives_ms(&connection);
        match (seconds, found) {
            (None, None) => {}
            (Some(seconds), Some(ms)) if ((seconds - 60) * 1_000..=seconds * 1_000 + 500).contains(&ms) => {}
            (_, found) => panic!("{odd}: {found:?} ms of {seconds:?} s"),
        }
        let id = connection["connection_id"].as_str().expect("an id").to_owned();
        assert_eq!(client.proxy_get("odd", &id, "/userinfo").await.status, 200, "{odd}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_token() {
    let provider = OddTokens::start();
    let (server, client) = serving(&provider).await;
    for (odd, said) in [
        (
            json!({"set": {"error": "invalid_scope", "error_description": "No such scope"}, "remove": ["access_token"]}),
            "invalid_scope (No such scope)",
        ),
        (
            json!({"form": true, "set": {"error": "invalid_scope"}, "remove": ["access_token"]}),
            "invalid_scope",
        ),
        (
            json!({"status": 400, "set": {"error": "invalid_grant"}}),
            "answered 400: invalid_grant",
        ),
        (json!({"status": 503}), "answered 503"),
        (json!({"remove": ["access_token"]}), "gave no token"),
        (json!({"set": {"access_token": ""}}), "gave no token"),
        (json!({"set": {"access_token": 7}}), "gave no token"),
        (json!({"set": {"access_token": "x".repeat(40_000)}}), "cannot be stored"),
        (json!({"set": {"padding": "x".repeat(300_000)}}), "is larger than"),
        (json!({"status": 302}), "redirects"),
        (json!({"abort": "head"}), "no answer from the token endpoint"),
        (json!({"abort": "body"}), "no answer from the token endpoint"),
    ] {
        provider.answer(&odd).await;
        let page = connect(&client).await;
        let found = (page.status, page.data("errorType"));
        assert_eq!(found, (400, Some("token_err".to_owned())), "{said}: {}", page.text);
        assert!(page.text.contains(said), "{said}: {}", page.text);
    }
    let listed = client.get("/connections").await.ok();
    assert_eq!(listed["connections"], json!([]));
    // Each code was used once, whatever came of it.
    let asked = provider.asked().await;
    let mut codes: Vec<&str> = asked.iter().filter_map(|form| form["code"].as_str()).collect();
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!((codes.len(), count), (12, 12));
    assert!(!server.log().contains("s3cret-of-the-client"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_answer() {
    let provider = OddTokens::start();
    let (_server, client) = serving(&provider).await;
    provider.answer(&json!({"after_ms": 60_000})).await;
    let page = tokio::time::timeout(Duration::from_secs(50), connect(&client))
        .await
        .expect("an end in time");
    assert_eq!(
        (page.status, page.data("errorType")),
        (400, Some("token_err".to_owned())),
        "{}",
        page.text
    );
    assert!(page.text.contains("did not answer within 20000 ms"), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn refresh_tokens() {
    let provider = OddTokens::start();
    let (_server, client) = serving(&provider).await;
    let ends_at_once =
        |token: &str| json!({"set": {"access_token": token, "expires_in": 1, "refresh_token": "refresh-1"}});
    provider.answer(&ends_at_once("access-1")).await;
    let connection = connected(&client).await;
    let id = connection["connection_id"].as_str().expect("an id").to_owned();
    let path = format!("/connections/{id}?provider_config_key=odd&refresh_token=true&force_refresh=true");
    let refreshed = async |odd: Value| {
        provider.answer(&odd).await;
        let answer = client.get(&path).await;
        let form = provider.asked().await.pop().expect("a request");
        (answer, form["refresh_token"].as_str().unwrap_or_default().to_owned())
    };
    let tokens = |connection: &Value| {
        let text = |name: &str| connection["credentials"][name].as_str().unwrap_or_default().to_owned();
        (text("access_token"), text("refresh_token"))
    };
    let pair = |access: &str, refresh: &str| (access.to_owned(), refresh.to_owned());

    // Another one comes back.
    let (answer, sent) = refreshed(json!({"set": {"access_token": "access-2", "refresh_token": "refresh-2"}})).await;
    assert_eq!(
        (tokens(&answer.ok()), sent.as_str()),
        (pair("access-2", "refresh-2"), "refresh-1")
    );
    // None comes back, or an empty one: the old one stays.
    for odd in [
        json!({"set": {"access_token": "access-3"}, "remove": ["refresh_token"]}),
        json!({"set": {"access_token": "access-3", "refresh_token": ""}}),
        json!({"set": {"access_token": "access-3", "refresh_token": null}}),
    ] {
        let (answer, sent) = refreshed(odd).await;
        assert_eq!(
            (tokens(&answer.ok()), sent.as_str()),
            (pair("access-3", "refresh-2"), "refresh-2")
        );
    }
    // As a form.
    let (answer, _) =
        refreshed(json!({"form": true, "set": {"access_token": "access-4", "refresh_token": "refresh-4"}})).await;
    assert_eq!(tokens(&answer.ok()), pair("access-4", "refresh-4"));
    // No token: an error that says so, and what was there stays and is used.
    let (answer, sent) = refreshed(json!({"set": {"error": "invalid_grant"}, "remove": ["access_token"]})).await;
    assert_eq!(sent, "refresh-4");
    assert!(
        answer.status >= 400 && answer.text().contains("invalid_grant"),
        "{}",
        answer.text()
    );
    let (answer, sent) = refreshed(json!({"abort": "body"})).await;
    assert_eq!(sent, "refresh-4");
    assert!(
        answer.status >= 400 && answer.text().contains("no answer from the token endpoint"),
        "{}",
        answer.text()
    );
    assert_eq!(
        client.proxy_get("odd", &id, "/userinfo").await.status,
        200,
        "the old token lives for an hour"
    );
    let (answer, sent) = refreshed(json!({"set": {"access_token": "access-5"}})).await;
    assert_eq!(
        (tokens(&answer.ok()).0.as_str(), sent.as_str()),
        ("access-5", "refresh-4")
    );
}
