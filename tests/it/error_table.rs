//! Each row of the table of errors of `POST /action/trigger`, as its caller sees it.

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Client, Database, Reply, Server, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

async fn with(guest: &str, base_url: &str) -> (Server, Client) {
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_ACTION_TIMEOUT_MS", "1000")
        .environment("NANGO_LIMITS_ACTION_OUTPUT_BYTES", "2000")
        .environment("NANGO_LIMITS_RUN_MEMORY_BYTES", "67108864");
    let (server, client) = prepared(runtime, base_url).await;
    let _ = client.deploy(INTEGRATION, guest::component(guest)).await.ok();
    (server, client)
}

async fn row(client: &Client, name: &str, action: &str, input: Value) {
    let answer = client.trigger_action(INTEGRATION, CONNECTION, action, input).await;
    let mut shown = answer.snapshot();
    // Where in the guest it happened is the compiler's business.
    for pointer in ["/body/error/message", "/body/error/payload/message"] {
        if let Some(Value::String(message)) = shown.pointer_mut(pointer)
            && let Some((before, _)) = message.split_once(", in ")
        {
            *message = format!("{before}, in …");
        }
    }
    insta::assert_json_snapshot!(format!("row_{name}"), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_reports() {
    let answer = json!({"message": "Not Found"});
    let upstream = Upstream::replying([Reply::json(404, &answer)]).await;
    let (_server, client) = with("basic", &upstream.url()).await;
    row(&client, "action_script_runtime_error", "refuse", json!({})).await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "http-error", json!({"path": "/nope"}))
        .await;
    let error = &answer.json()["error"];
    assert_eq!((answer.status, answer.error_code()), (424, "script_http_error".into()));
    assert_eq!(error.get("message"), None, "as with Nango");
    assert_eq!(error["upstream"]["status"], 404);
    row(&client, "invalid_action_input", "fetch", json!({"path": 7})).await;
    row(&client, "not_found", "nope", json!({})).await;
    let unknown = client.trigger_action(INTEGRATION, "nope", "noop", json!({})).await;
    insta::assert_json_snapshot!("row_unknown_connection", unknown.snapshot());
    let unknown = client.trigger_action("nope", CONNECTION, "noop", json!({})).await;
    insta::assert_json_snapshot!("row_unknown_provider", unknown.snapshot());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_function() {
    let (_server, client) = with("basic", "http://127.0.0.1:9").await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", json!({"path": "/"}))
        .await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (500, "script_network_error".into())
    );
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "panics", json!({}))
        .await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (500, "script_internal_error".into())
    );
    let accepted = client
        .trigger_async(INTEGRATION, CONNECTION, "rest", json!({"ms": 900}), 0)
        .await;
    let id = accepted.ok()["id"].as_str().expect("an id").to_owned();
    let _ = client.post(&format!("/action/{id}/cancel"), &json!({})).await.ok();
    let aborted = client.wait_for_action(&id).await;
    assert_eq!((aborted.status, aborted.error_code()), (410, "script_aborted".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_takes_too_much_of() {
    let (_server, client) = with("torture", "http://127.0.0.1:9").await;
    row(&client, "execution_timeout", "spin", Value::Null).await;
    row(
        &client,
        "script_output_too_large",
        "return-bytes",
        json!({"bytes": 2_000}),
    )
    .await;
    row(&client, "script_internal_error", "trap", Value::Null).await;
    let answer = client
        .trigger_action(INTEGRATION, CONNECTION, "allocate", Value::Null)
        .await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (500, "function_runtime_out_of_memory".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_function_of_the_sdk_says() {
    let runtime = TestRuntime::new();
    let (_server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::from_text("odd-errors")).await.ok();
    row(&client, "unhandled", "known", json!({})).await;
    row(&client, "unknown_empty_error", "silent", json!({})).await;
    row(&client, "script_invalid_error", "wild", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_runtime_has_no_room_for() {
    let runtime = TestRuntime::new()
        .environment("NANGO_LIMITS_CONCURRENT_RUNS", "1")
        .environment("NANGO_LIMITS_RUN_WAIT_MS", "50");
    let (_server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    // The second function has the one place of functions that are called, and calls a third.
    let input = json!({"action": "call-through", "input": {"action": "echo", "input": 1, "elsewhere": [INTEGRATION, "other"]}, "elsewhere": [INTEGRATION, "other"]});
    let credentials = json!({"type": "API_KEY", "apiKey": crate::fixture::API_KEY});
    let _ = client.import_connection(INTEGRATION, "other", credentials).await.ok();
    let limited = client
        .trigger_action(INTEGRATION, CONNECTION, "call-through", input)
        .await;
    assert_eq!(
        (limited.status, limited.error_code()),
        (424, "script_api_rate_limit_error".into()),
        "{}",
        limited.text()
    );
    let payload = limited.json()["error"]["payload"].to_string();
    assert!(payload.contains("limits.concurrent_runs"), "{payload}");

    let long = {
        let client = client.clone();
        tokio::spawn(async move {
            client
                .trigger_action(INTEGRATION, CONNECTION, "rest", json!({"ms": 3_000}))
                .await
        })
    };
    let late = loop {
        let late = client.trigger_action(INTEGRATION, CONNECTION, "echo", json!(1)).await;
        if late.status != 200 {
            break late;
        }
    };
    assert_eq!((late.status, late.error_code()), (500, "action_script_failure".into()));
    assert!(late.text().contains("limits.run_wait_ms"), "{}", late.text());
    let _ = long.await.expect("it ends").ok();
}

/// A component that was stored by a newer version, or by a disk that lies.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_runtime_cannot_load() {
    let database = Database::sqlite();
    let start = || database.serve(TestRuntime::new());
    let (mut server, client) = prepared(start(), "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    server.process().signal("TERM");
    let _ = server.process().wait();
    let _ = database.execute("UPDATE components SET bytes = x'00'").await;
    std::fs::remove_dir_all(database.data().join("compiled")).expect("compiled code is there");
    let server = start()
        .provider_yaml(&crate::fixture::providers("http://127.0.0.1:9"))
        .start();
    let answer = server
        .client()
        .trigger_action(INTEGRATION, CONNECTION, "echo", json!(1))
        .await;
    assert_eq!(
        (answer.status, answer.error_code()),
        (500, "function_runtime_other".into()),
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_disabled_is_not_run_and_what_cannot_be_queued_is_said() {
    let runtime = TestRuntime::new()
        .environment("NANGO_LIMITS_CONCURRENT_ASYNC_ACTIONS", "1")
        .environment("NANGO_LIMITS_QUEUED_ASYNC_ACTIONS", "1");
    let (server, client) = prepared(runtime, "http://127.0.0.1:9").await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let functions = |verb: &str, function: &str| Cli::of(&server, &["functions", verb, INTEGRATION, function]).run();
    let disabled = functions("disable", "echo");
    assert_eq!(disabled.code, Some(0), "{}", disabled.stderr);
    row(&client, "disabled_resource", "echo", json!(1)).await;
    let in_background = client.trigger_async(INTEGRATION, CONNECTION, "echo", json!(1), 0).await;
    assert_eq!(
        (in_background.status, in_background.error_code()),
        (404, "disabled_resource".into())
    );
    let nested = client
        .trigger_action(
            INTEGRATION,
            CONNECTION,
            "call-through",
            json!({"action": "echo", "input": 1}),
        )
        .await;
    assert!(nested.text().contains("is disabled"), "{}", nested.text());
    let shown = client
        .get(&format!("/integrations/{INTEGRATION}/functions/echo"))
        .await
        .ok();
    assert_eq!(shown["data"]["enabled"], false);
    // A deploy leaves it as it is.
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    assert_eq!(
        client
            .trigger_action(INTEGRATION, CONNECTION, "echo", json!(1))
            .await
            .status,
        404
    );
    assert_eq!(functions("enable", "echo").code, Some(0));
    let _ = client
        .trigger_action(INTEGRATION, CONNECTION, "echo", json!(1))
        .await
        .ok();
    assert!(functions("disable", "nope").stderr.contains("has no function"));

    let full = loop {
        let answer = client
            .trigger_async(INTEGRATION, CONNECTION, "rest", json!({"ms": 2_000}), 0)
            .await;
        if answer.status != 202 {
            break answer;
        }
    };
    insta::assert_json_snapshot!("row_action_failure", full.snapshot());
}
