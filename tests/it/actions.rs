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
    assert_eq!(
        (&answer.ok()["status"], &answer.ok()["body"]),
        (&json!(200), &json!({"login": "octocat"}))
    );
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
    assert_eq!(
        answer.json()["error"]["payload"],
        json!({"code": 42, "message": "bad thing"})
    );
}

#[tokio::test]
async fn an_upstreams_error_reaches_the_caller() {
    let upstream = Upstream::replying([Reply::json(404, &json!({"error": "not found"}))]).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "http-error", json!({"path": "/nope"}))
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
async fn an_action_knows_for_which_connection_it_runs() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let context = client
        .trigger_action(INTEGRATION, CONNECTION, "context", json!(null))
        .await
        .ok();
    let expected = json!({
        "connection_id": CONNECTION, "provider_config_key": INTEGRATION, "provider": "bearer", "environment": "prod",
        "config": {},
    });
    let named = ["connection_id", "provider_config_key", "provider", "config"];
    assert!(named.iter().all(|name| context[name] == expected[name]), "{context}");
}

#[tokio::test]
async fn an_action_reads_and_changes_metadata() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let _ = client.set_metadata(INTEGRATION, CONNECTION, json!({"a": 1})).await.ok();
    let merged = client
        .trigger_action(INTEGRATION, CONNECTION, "metadata", json!({"b": {"c": 2}}))
        .await
        .ok();
    assert_eq!(merged, json!({"a": 1, "b": {"c": 2}}));
    let path = format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}");
    assert_eq!(client.get(&path).await.ok()["metadata"], merged);
}

#[tokio::test]
async fn an_action_has_time_randomness_and_rest() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let run = async || {
        client
            .trigger_action(INTEGRATION, CONNECTION, "surroundings", json!(null))
            .await
            .ok()
    };
    let (first, second) = (run().await, run().await);
    assert!(
        first["slept_ms"].as_u64().is_some_and(|slept_ms| slept_ms >= 20),
        "{first}"
    );
    assert!(second["now_ms"].as_u64() > first["now_ms"].as_u64(), "{first} {second}");
    assert_ne!(first["random"], second["random"]);
}

#[tokio::test]
async fn requests_of_a_batch_overlap() {
    let upstream = Upstream::replying([Reply::status(204).after(std::time::Duration::from_millis(200))]).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    for action in ["fetch-many", "start-wait"] {
        let input = json!({"paths": (0..8).map(|n| format!("/{n}")).collect::<Vec<_>>(), "max_in_flight": 8});
        let started = std::time::Instant::now();
        let answer = client.trigger_action(INTEGRATION, CONNECTION, action, input).await;
        assert_eq!(answer.ok(), json!(vec![204; 8]), "{action}");
        assert!(
            started.elapsed().as_millis() < 1_200,
            "{action} sent them one after the other"
        );
    }
}

#[tokio::test]
async fn a_checkpoint_of_an_action_lives_from_save_to_clear() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let steps = async |steps| {
        client
            .trigger_action(INTEGRATION, CONNECTION, "checkpoint", steps)
            .await
            .ok()
    };
    assert_eq!(steps(json!([{"save": {"page": 3}}, "get"])).await, json!({"page": 3}));
    assert_eq!(steps(json!(["get"])).await, json!({"page": 3}), "the next run finds it");
    assert_eq!(steps(json!(["clear"])).await, json!(null));
}

#[tokio::test]
async fn a_checkpoint_that_is_too_large_is_refused() {
    let (_server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "big-checkpoint", json!(null))
        .await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(
        answer.text().contains("4,000") || answer.text().contains("4000"),
        "the limit is named: {}",
        answer.text()
    );
    let kept = client
        .trigger_action(INTEGRATION, CONNECTION, "checkpoint", json!(["get"]))
        .await;
    assert_eq!(kept.ok(), json!(null), "nothing was saved");
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
