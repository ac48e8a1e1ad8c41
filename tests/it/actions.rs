//! Actions over HTTP: input, output, errors, versions.

use nango_runtime_tests::{Reply, Upstream, guest};
use serde_json::json;

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, with_guest};

#[tokio::test]
async fn the_output_is_the_answer() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    for value in [
        json!({"n": 1}),
        json!([1, "two", null]),
        json!("text"),
        json!({}),
        json!({"deep": {"er": "ünï"}}),
    ] {
        assert_eq!(
            client
                .trigger_action(INTEGRATION, CONNECTION, "echo", value.clone())
                .await
                .ok(),
            value
        );
    }
}

#[tokio::test]
async fn an_action_reaches_the_upstream_with_the_connections_credentials() {
    let upstream = Upstream::replying([Reply::json(200, &json!({"login": "octocat"}))]).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", json!({"path": "/user?x=1"}))
        .await;
    assert_eq!(answer.ok(), json!({"login": "octocat"}));
    let received = upstream.received();
    assert_eq!(received[0].target, "/user?x=1");
    assert_eq!(received[0].header("authorization"), format!("Bearer {API_KEY}"));
}

#[tokio::test]
async fn a_refusal_reaches_the_caller() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "refuse", json!({}))
        .await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (500, "action_script_runtime_error".into())
    );
    assert!(
        answer.json()["error"]["payload"]["message"].is_string(),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn an_upstreams_error_reaches_the_caller() {
    let upstream = Upstream::replying([Reply::json(404, &json!({"error": "not found"}))]).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", json!({"path": "/nope"}))
        .await;
    assert_eq!((answer.status, answer.error_code()), (424, "script_http_error".into()));
    let upstream = answer.json()["error"]["upstream"].clone();
    assert_eq!(
        (&upstream["status"], &upstream["body"]),
        (&json!(404), &json!({"error": "not found"}))
    );
}

#[tokio::test]
async fn input_that_does_not_fit_the_schema_is_refused_before_the_run() {
    let upstream = Upstream::replying([Reply::status(200)]).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", json!({"path": 7}))
        .await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (400, "invalid_action_input".into()),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("path"), "the field is named: {}", answer.text());
    assert_eq!(upstream.received().len(), 0);
}

#[tokio::test]
async fn deploying_the_same_again_makes_no_new_version() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let again = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    for function in again["functions"].as_array().expect("functions") {
        assert_eq!(function["version"], 1, "{function}");
    }
}

#[tokio::test]
async fn runs_do_not_see_each_other() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    for _ in 0..5 {
        // Counts in a static of the guest: a fresh instance counts from 0.
        let answer = client
            .trigger_action(INTEGRATION, CONNECTION, "count", json!(null))
            .await;
        assert_eq!(answer.ok(), json!(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_at_once_wait_for_their_turn() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let runs = (0..200).map(|n| {
        let client = client.clone();
        tokio::spawn(async move {
            client
                .trigger_action(INTEGRATION, CONNECTION, "echo", json!({"n": n}))
                .await
                .ok()
        })
    });
    for (n, run) in runs.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(run.await.expect("the request ends"), json!({"n": n}));
    }
}
