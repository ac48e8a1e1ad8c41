//! Actions in the background: accepted, run, retried, cancelled, and the same again under one idempotency key.

use std::time::{Duration, Instant};

use http::Method;
use nango_runtime_tests::client::{for_connection, json_body, send};
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Answer, Client, Reply, Server, TestRuntime, Upstream, guest, soak};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared, with_guest};

const DEAD_UPSTREAM: &str = "http://127.0.0.1:9";

fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

async fn with_settings(base_url: &str, settings: &[(&str, &str)]) -> (Server, Client) {
    let mut runtime = TestRuntime::new().egress_loopback();
    for (name, value) in settings {
        runtime = runtime.environment(&format!("NANGO_LIMITS_{name}"), value);
    }
    let (server, client) = prepared(runtime, base_url).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    (server, client)
}

async fn with_key(client: &Client, key: &str, is_async: bool, action: &str, input: Value) -> Answer {
    let request = client
        .request(Method::POST, "/action/trigger")
        .header("Idempotency-Key", key)
        .header("X-Async", is_async.to_string());
    let body = json!({"action_name": action, "input": input});
    send(json_body(for_connection(request, INTEGRATION, CONNECTION), &body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn result_failure_and_waiting_are_told_apart() {
    let (_server, client) = with_guest("basic", DEAD_UPSTREAM).await;
    let run = async |action: &str, input: Value| {
        let accepted = client.trigger_async(INTEGRATION, CONNECTION, action, input, 0).await;
        let id = id_of(&accepted);
        assert_eq!(accepted.json(), json!({"id": id, "statusUrl": format!("/action/{id}")}));
        assert_eq!(accepted.header("location"), Some(format!("/action/{id}").as_str()));
        client.wait_for_action(&id).await
    };
    let done = run("echo", json!({"n": 1})).await;
    assert_eq!((done.status, done.json()), (200, json!({"n": 1})));
    let null = run("nothing", json!(null)).await;
    assert_eq!((null.status, null.json()), (200, json!(null)), "a null is a result");
    let failed = run("refuse", json!({})).await;
    let direct = client
        .trigger_action(INTEGRATION, CONNECTION, "refuse", json!({}))
        .await;
    assert_eq!(
        (failed.status, failed.json()),
        (direct.status, direct.json()),
        "a failure is told as its caller would be told"
    );

    let id = id_of(
        &client
            .trigger_async(INTEGRATION, CONNECTION, "rest", json!({"ms": 500}), 0)
            .await,
    );
    let waiting = client.get(&format!("/action/{id}")).await;
    assert_eq!((waiting.status, waiting.error_code()), (404, "not_found".into()));
    assert!(waiting.header("x-action-state").is_some() && waiting.header("retry-after").is_some());
    assert_eq!(client.wait_for_action(&id).await.json(), json!({"rested": 500}));

    let nobody = client.get("/action/af95401b-1676-4e78-a6c4-510a0ce76217").await;
    assert_eq!(
        nobody.snapshot(),
        json!({"status": 404, "body": {"error": {"code": "not_found",
            "message": "No action 'af95401b-1676-4e78-a6c4-510a0ce76217' found"}}})
    );
    assert_eq!(nobody.header("x-action-state"), None);
    assert_eq!(client.get("/action/7").await.error_code(), "invalid_uri_params");
    let unknown = client
        .trigger_async(INTEGRATION, CONNECTION, "nope", json!({}), 0)
        .await;
    assert_eq!((unknown.status, unknown.error_code()), (404, "not_found".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_made_again_within_the_retries() {
    let replies = [
        Reply::status(503),
        Reply::status(503),
        Reply::json(200, &json!({"ok": 1})),
    ];
    let upstream = Upstream::replying(replies).await;
    let (_server, client) = with_settings(&upstream.url(), &[("ASYNC_RETRY_WAIT_MS", "10")]).await;
    let input = json!({"path": "/"});
    let once = client
        .trigger_async(INTEGRATION, CONNECTION, "http-error", input.clone(), 0)
        .await;
    assert_eq!(
        client.wait_for_action(&id_of(&once)).await.error_code(),
        "script_http_error"
    );
    let twice = client
        .trigger_async(INTEGRATION, CONNECTION, "http-error", input, 3)
        .await;
    let answer = client.wait_for_action(&id_of(&twice)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = client.get(&format!("/actions/{}", id_of(&twice))).await.ok();
    assert_eq!(shown["data"]["attempts"], 2, "{shown}");
    assert_eq!(shown["data"]["state"], "succeeded", "{shown}");

    let refused = client
        .trigger_async(INTEGRATION, CONNECTION, "refuse", json!({}), 5)
        .await;
    client.wait_for_action(&id_of(&refused)).await;
    let shown = client.get(&format!("/actions/{}", id_of(&refused))).await.ok();
    assert_eq!(
        shown["data"]["attempts"], 1,
        "what a function refuses it refuses again: {shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_ends_what_runs_and_what_waits() {
    let (_server, client) = with_settings(DEAD_UPSTREAM, &[("CONCURRENT_ASYNC_ACTIONS", "1")]).await;
    let long = async || {
        let accepted = client
            .trigger_async(INTEGRATION, CONNECTION, "rest", json!({"ms": 60_000}), 5)
            .await;
        id_of(&accepted)
    };
    let (running, waiting) = (long().await, long().await);
    while client.get(&format!("/actions/{running}")).await.ok()["data"]["state"] != "running" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for id in [&waiting, &running] {
        let started = Instant::now();
        let _ = client.post(&format!("/action/{id}/cancel"), &json!({})).await.ok();
        let answer = client.wait_for_action(id).await;
        assert_eq!((answer.status, answer.error_code()), (410, "script_aborted".into()));
        assert_eq!(answer.header("x-action-state"), Some("cancelled"));
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    let list = client.get("/actions?state=cancelled").await.ok();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(2), "{list}");
    let done = client.trigger_async(INTEGRATION, CONNECTION, "echo", json!(1), 0).await;
    client.wait_for_action(&id_of(&done)).await;
    let late = client
        .post(&format!("/action/{}/cancel", id_of(&done)), &json!({}))
        .await
        .ok();
    assert_eq!(late["data"]["state"], "succeeded", "what has ended stays: {late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_shows_and_cancels() {
    let (server, client) = with_guest("basic", DEAD_UPSTREAM).await;
    let runs = |arguments: &[&str]| {
        let ended = Cli::of(&server, &[&["runs"], arguments].concat()).run();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    assert!(runs(&["list"]).contains("No actions in the background"));
    let queue = async |action, input| id_of(&client.trigger_async(INTEGRATION, CONNECTION, action, input, 1).await);
    let done = queue("echo", json!({"n": 1})).await;
    let _ = client.wait_for_action(&done).await.ok();
    let long = queue("rest", json!({"ms": 60_000})).await;
    let list = runs(&["list", "--integration", INTEGRATION]);
    assert!(list.contains(&done) && list.contains(&long), "{list}");
    assert!(!runs(&["list", "--state", "succeeded"]).contains(&long));
    let shown = runs(&["show", &done]);
    for text in ["succeeded", "1/2", r#"{"n":1}"#] {
        assert!(shown.contains(text), "{text} is not in\n{shown}");
    }
    runs(&["cancel", &long]);
    let of_history = Cli::of(&server, &["runs", "cancel", "run_01M8DX680MXEHHFPFCTC1S8P5F"]).run();
    assert!(
        of_history.stderr.contains("nango-runtime sync cancel"),
        "{}",
        of_history.stderr
    );
    let _ = client.wait_for_action(&long).await;
    let shown = runs(&["show", &long]);
    assert!(
        shown.contains("cancelled") && shown.contains("script_aborted"),
        "{shown}"
    );
    let unknown = Cli::of(&server, &["runs", "show", "af95401b-1676-4e78-a6c4-510a0ce76217"]).run();
    assert_eq!(unknown.code, Some(1), "{}", unknown.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_a_repetition_the_same_call() {
    let replies = [Reply::json(200, &json!({"first": true})), Reply::status(500)];
    let upstream = Upstream::replying(replies).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let input = json!({"path": "/once"});
    let first = with_key(&client, "\"k1\"", false, "fetch", input.clone()).await;
    let again = with_key(&client, "k1", false, "fetch", input.clone()).await;
    assert_eq!((first.status, first.json()), (again.status, again.json()));
    assert_eq!(upstream.received().len(), 1, "the second call ran nothing");
    let other = with_key(&client, "k1", false, "fetch", json!({"path": "/other"})).await;
    assert_eq!(
        (other.status, other.error_code()),
        (422, "idempotency_key_reused".into())
    );

    let refused = with_key(&client, "k2", false, "refuse", json!({})).await;
    let again = with_key(&client, "k2", false, "refuse", json!({})).await;
    assert_eq!(
        (refused.status, refused.json()),
        (again.status, again.json()),
        "errors, too"
    );

    let invalid = with_key(&client, "k3", false, "fetch", json!({"path": 7})).await;
    assert_eq!(invalid.error_code(), "invalid_action_input");
    let valid = with_key(&client, "k3", false, "echo", json!(1)).await;
    assert_eq!(valid.ok(), json!(1), "a call that was never run leaves the key free");

    let queued = with_key(&client, "k4", true, "echo", json!(1)).await;
    let again = with_key(&client, "k4", true, "echo", json!(1)).await;
    assert_eq!(id_of(&queued), id_of(&again));

    let slow = {
        let client = client.clone();
        tokio::spawn(async move { with_key(&client, "k5", false, "rest", json!({"ms": 800})).await })
    };
    tokio::time::sleep(Duration::from_millis(250)).await;
    let meanwhile = with_key(&client, "k5", false, "rest", json!({"ms": 800})).await;
    assert_eq!(
        (meanwhile.status, meanwhile.error_code()),
        (409, "idempotency_key_in_use".into())
    );
    assert_eq!(slow.await.expect("the request ends").ok(), json!({"rested": 800}));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_queue_takes_is_refused_loudly() {
    let settings = [("CONCURRENT_ASYNC_ACTIONS", "1"), ("QUEUED_ASYNC_ACTIONS", "3")];
    let (_server, client) = with_settings(DEAD_UPSTREAM, &settings).await;
    let mut refused = None;
    for _ in 0..6 {
        let answer = client
            .trigger_async(INTEGRATION, CONNECTION, "rest", json!({"ms": 3_000}), 0)
            .await;
        if answer.status != 202 {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("one is too many");
    assert_eq!((refused.status, refused.error_code()), (400, "action_failure".into()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(
        refused.text().contains("limits.queued_async_actions"),
        "{}",
        refused.text()
    );
}

/// Thousands on one connection (ten in a soak): none is lost, and another connection does not wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_on_one_connection_does_not_make_another_wait() {
    const CALLERS: usize = 64;
    let watch = soak::Watch::start("a_flood_on_one_connection_does_not_make_another_wait");
    let flood = usize::try_from(soak::rounds(2_000, 10_000)).expect("a small number");
    let settings = [("QUEUED_ASYNC_ACTIONS", "20000"), ("CONCURRENT_ASYNC_ACTIONS", "8")];
    let (_server, client) = with_settings(DEAD_UPSTREAM, &settings).await;
    let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
    let _ = client.import_connection(INTEGRATION, "calm", credentials).await.ok();
    let callers = (0..CALLERS).map(|caller| {
        let client = client.clone();
        tokio::spawn(async move {
            for n in (caller..flood).step_by(CALLERS) {
                let answer = client
                    .trigger_async(INTEGRATION, CONNECTION, "rest", json!({"ms": n % 3}), 0)
                    .await;
                assert_eq!(answer.status, 202, "{}", answer.text());
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("all are accepted");
    }
    let queued = async || client.get("/actions?state=queued&limit=1").await.ok()["data"].clone();
    let before = queued().await;
    let started = Instant::now();
    let calm = client.trigger_async(INTEGRATION, "calm", "echo", json!("me"), 0).await;
    let answer = client.wait_for_action(&id_of(&calm)).await;
    assert_eq!(answer.ok(), json!("me"));
    assert!(
        before == json!([]) || started.elapsed() < Duration::from_secs(5),
        "it waited {:?} behind others",
        started.elapsed()
    );
    while queued().await != json!([]) {
        watch.check();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (mut seen, mut cursor) = (0, String::new());
    loop {
        let page = client
            .get(&format!(
                "/actions?connection={CONNECTION}&integration={INTEGRATION}&limit=500{cursor}"
            ))
            .await
            .ok();
        let data = page["data"].as_array().expect("a page").clone();
        seen += data.len();
        assert!(data.iter().all(|one| one["attempts"] == 1), "each is attempted once");
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, flood);
}
