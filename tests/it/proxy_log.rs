//! Which operation of the log a proxy call belongs to, and what is marked there.

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::{Client, Reply, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, with_upstream};

async fn operations(client: &Client) -> Vec<Value> {
    let list = client.get("/logs/operations").await.ok();
    list["data"].as_array().cloned().unwrap_or_default()
}

async fn messages(client: &Client, operation: &Value) -> Vec<String> {
    let id = operation["id"].as_str().expect("an operation has an id");
    let list = client.get(&format!("/logs/messages?operation_id={id}")).await.ok();
    let text = |message: &Value| message["message"].as_str().unwrap_or_default().to_owned();
    list["data"].as_array().into_iter().flatten().map(text).collect()
}

async fn call(client: &Client, headers: &[(&str, &str)]) -> u16 {
    let mut request = client.proxy(Method::GET, INTEGRATION, CONNECTION, "/x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await.status
}

async fn upstream() -> Upstream {
    Upstream::replying([Reply::json(200, &json!({"ok": true}))]).await
}

#[tokio::test]
async fn a_call_joins_the_operation_that_it_names() {
    let upstream = upstream().await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let run = client.trigger_action(INTEGRATION, CONNECTION, "echo", json!(1)).await;
    assert_eq!(run.status, 200);
    let before = operations(&client).await;
    let action = before
        .iter()
        .find(|operation| operation["type"] == "action:run")
        .expect("the run is there");
    let id = action["id"].as_str().expect("an operation has an id");

    assert_eq!(call(&client, &[("Nango-Activity-Log-Id", id)]).await, 200);
    let joined = messages(&client, action).await;
    let sent = joined.iter().filter(|message| message.contains("/x → 200"));
    assert_eq!(sent.count(), 1, "{joined:?}");
    assert_eq!(operations(&client).await.len(), before.len(), "no operation of its own");

    let unknown = client
        .proxy(Method::GET, INTEGRATION, "nope", "/x")
        .header("Nango-Activity-Log-Id", id);
    assert_eq!(send(unknown).await.status, 400);
    let joined = messages(&client, action).await;
    assert!(
        joined.iter().any(|message| message.contains("\"nope\"")),
        "a call that was never sent is noted: {joined:?}"
    );
    let after = operations(&client).await;
    assert_eq!(after.len(), before.len());
    let still = after
        .iter()
        .find(|operation| operation["id"] == id)
        .expect("it is there");
    assert_eq!(still, action, "the outcome of the operation is its own");
}

#[tokio::test]
async fn an_operation_that_is_not_there_is_said() {
    let upstream = upstream().await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    assert_eq!(
        call(&client, &[("Nango-Activity-Log-Id", "op_of_another_place")]).await,
        200
    );
    let operations = operations(&client).await;
    assert_eq!(operations[0]["type"], "proxy:call");
    let messages = messages(&client, &operations[0]).await;
    let expected = "The environment has no operation op_of_another_place: this call got one of its own";
    assert!(messages.iter().any(|message| message == expected), "{messages:?}");
}

#[tokio::test]
async fn marks_are_in_the_operation() {
    let upstream = upstream().await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    for (headers, expected) in [
        (&[][..], "Proxy call answered with 200"),
        (
            &[("Nango-Is-Dry-Run", "true")],
            "Proxy call (dry run) answered with 200",
        ),
        (
            &[
                ("Nango-Is-Sync", "true"),
                ("Nango-Is-Script", "true"),
                ("Nango-Is-Dry-Run", "false"),
            ][..],
            "Proxy call (from a sync, from a function) answered with 200",
        ),
    ] {
        assert_eq!(call(&client, headers).await, 200);
        assert_eq!(operations(&client).await[0]["message"], expected);
    }
    for request in upstream.received() {
        for name in [
            "nango-is-dry-run",
            "nango-is-sync",
            "nango-is-script",
            "nango-activity-log-id",
        ] {
            assert_eq!(request.header(name), "", "{name} is no business of the provider");
        }
    }
}
