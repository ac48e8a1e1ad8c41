//! Retries, rate limits, redirects to other origins, timeouts and the egress policy, with scripted upstreams.

use std::time::Duration;

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::{Reply, TestRuntime, Upstream};
use serde_json::json;

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared, with_upstream};

/// Waits of the exponential backoff are seconds long; `retry-after: 0` keeps tests quick.
fn at_once(status: u16) -> Reply {
    Reply::json(status, &json!({"message": "no"})).header("retry-after", "0")
}

#[tokio::test]
async fn a_failing_request_is_sent_once_without_retries() {
    let upstream = Upstream::replying([Reply::json(502, &json!({"message": "boom"})), Reply::status(200)]).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let answer = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert_eq!(answer.snapshot(), json!({"status": 502, "body": {"message": "boom"}}));
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn a_failing_request_is_retried_as_often_as_asked() {
    let upstream = Upstream::replying([at_once(503), at_once(502), Reply::json(200, &json!({"ok": true}))]).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let request = client
        .proxy(Method::POST, INTEGRATION, CONNECTION, "/x")
        .header("Retries", "2")
        .body("the body");
    assert_eq!(send(request).await.ok(), json!({"ok": true}));
    let received = upstream.received();
    assert_eq!(received.len(), 3);
    assert!(
        received.iter().all(|request| request.body == "the body"),
        "each attempt carries the whole body"
    );
    assert!(
        received
            .iter()
            .all(|request| request.header("authorization") == format!("Bearer {API_KEY}"))
    );
}

#[tokio::test]
async fn further_statuses_are_retried_on_request() {
    let upstream = Upstream::replying([at_once(409), Reply::status(204)]).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let request = client
        .proxy(Method::GET, INTEGRATION, CONNECTION, "/x")
        .header("Retries", "1")
        .header("Retry-On", "409,410");
    assert_eq!(send(request).await.status, 204);
}

#[tokio::test]
async fn rate_limits_are_waited_for_whatever_retries_says() {
    let upstream = Upstream::replying([at_once(429), at_once(429), Reply::json(200, &json!({"ok": true}))]).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    assert_eq!(
        client.proxy_get(INTEGRATION, CONNECTION, "/x").await.ok(),
        json!({"ok": true})
    );
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test]
async fn rate_limits_are_waited_for_three_times_at_most() {
    let upstream = Upstream::replying([at_once(429)]).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    assert_eq!(client.proxy_get(INTEGRATION, CONNECTION, "/x").await.status, 429);
    assert_eq!(upstream.received().len(), 4, "the first attempt and three more");
}

#[tokio::test]
async fn a_long_rate_limit_is_passed_back_at_once() {
    let upstream = Upstream::replying([Reply::status(429).header("retry-after", "3600")]).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let answer = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("3600")));
    assert_eq!(upstream.received().len(), 1);
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let other = Upstream::replying([Reply::json(200, &json!({"ok": true}))]).await;
    let upstream = Upstream::replying([Reply::status(302).header("location", &format!("{}/y", other.url()))]).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let _ = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    for request in other.received() {
        assert_eq!(
            request.header("authorization"),
            "",
            "the credential crossed to another origin"
        );
    }
}

#[tokio::test]
async fn an_upstream_that_never_answers_is_given_up() {
    let upstream = Upstream::replying([Reply::status(200).after(Duration::from_secs(600))]).await;
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_PROXY_FIRST_BYTE_TIMEOUT_MS", "300");
    let (_server, client) = prepared(runtime, &upstream.url()).await;
    let answer = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert!(answer.status >= 500, "{}", answer.text());
    assert_eq!(answer.json()["code"], "ETIMEDOUT", "{}", answer.text());
}

#[tokio::test]
async fn loopback_is_refused_unless_allowed() {
    let upstream = Upstream::replying([Reply::status(200)]).await;
    let (_server, client) = prepared(TestRuntime::new(), &upstream.url()).await;
    let answer = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.text().contains("--egress-allow"),
        "a refusal says how to allow it: {}",
        answer.text()
    );
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test]
async fn the_override_is_under_the_same_policy() {
    let upstream = Upstream::replying([Reply::status(200)]).await;
    let other = Upstream::replying([Reply::json(200, &json!({"other": true}))]).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let overridden = |url: &str| {
        client
            .proxy(Method::GET, INTEGRATION, CONNECTION, "/x")
            .header("Base-Url-Override", url)
    };
    assert_eq!(send(overridden(&other.url())).await.ok(), json!({"other": true}));
    for refused in ["http://10.0.0.1", "http://169.254.169.254", "http://[::1]:1"] {
        let answer = send(overridden(refused)).await;
        assert_eq!(
            (answer.status, answer.error_code()),
            (400, "base_url_override_not_allowed".into()),
            "{refused}"
        );
    }
    let answer = send(overridden("not a url")).await;
    assert_eq!((answer.status, answer.error_code()), (400, "invalid_headers".into()));
}
