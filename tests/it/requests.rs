//! Requests of functions: bodies as httpbin's own parser reads them, options, and answers.

use nango_runtime_tests::{Reply, TestRuntime, Upstream, guest, httpbin};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared, with_guest};

#[tokio::test]
async fn bodies_arrive_as_they_are_meant() {
    let (_server, client) = with_guest("basic", httpbin::url()).await;
    let post = async |body: Value| {
        let answer = client.trigger_action(INTEGRATION, CONNECTION, "send-body", body).await;
        answer.ok()
    };

    let echoed = post(json!({"bytes": [0, 159, 255]})).await;
    assert_eq!(echoed["data"], "data:application/octet-stream;base64,AJ//");

    let echoed = post(json!({"form": [["a b", "c&d=é"], ["list", "1"], ["list", "2"]]})).await;
    assert_eq!(echoed["form"], json!({"a b": "c&d=é", "list": ["1", "2"]}));

    let parts = json!([
        {"name": "title", "content": "A \"chart\"\r\n--boundary"},
        {"name": "file", "content": "a,b\n1,2\n", "file": ["ünï \"1\".csv", "text/csv"]},
        {"name": "other", "content": "z", "file": ["other", "text/plain"]},
    ]);
    let echoed = post(json!({"multipart": parts})).await;
    assert_eq!(echoed["form"], json!({"title": "A \"chart\"\r\n--boundary"}));
    assert_eq!(echoed["files"], json!({"file": "a,b\n1,2\n", "other": "z"}));
    let content_type = echoed["headers"]["Content-Type"].as_str().unwrap_or_default();
    assert!(
        content_type.starts_with("multipart/form-data; boundary=nango-"),
        "{content_type}"
    );
    let again = post(json!({"multipart": []})).await;
    assert_ne!(again["headers"]["Content-Type"], content_type, "boundaries are random");

    let echoed = post(json!({"query": "a=1&b=%20x"})).await;
    assert_eq!(echoed["args"], json!({"a": "1", "b": " x"}));
    let echoed = post(json!({"list": [1, 2]})).await;
    assert_eq!(echoed["args"], json!({"each": ["1", "2"], "joined": "1,2"}));
}

#[tokio::test]
async fn encodings_are_decoded_unless_asked_otherwise() {
    let (_server, client) = with_guest("basic", httpbin::url()).await;
    let transfer = async |input: Value| {
        let answer = client.trigger_action(INTEGRATION, CONNECTION, "transfer", input).await;
        answer.ok()
    };
    let decoded = json!({"status": 200, "encoding": null, "begin": [b'{', b'\n']});
    assert_eq!(transfer(json!({"path": "/gzip"})).await, decoded);
    let magic = json!({"status": 200, "encoding": "gzip", "begin": [0x1f, 0x8b]});
    let raw = json!({"path": "/gzip", "decompress": false, "accept_encoding": "gzip"});
    assert_eq!(transfer(raw).await, magic);
}

#[tokio::test]
async fn credentials_follow_a_redirect_to_another_origin_only_when_asked() {
    let other = Upstream::replying([Reply::json(200, &json!({}))]).await;
    let upstream = Upstream::replying([Reply::status(302).header("location", &format!("{}/there", other.url()))]).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    for (forward, expected) in [
        (Value::Null, String::new()),
        (json!(false), String::new()),
        (json!(true), format!("Bearer {API_KEY}")),
    ] {
        let input = json!({"path": "/here", "forward_headers": forward});
        let _ = client
            .trigger_action(INTEGRATION, CONNECTION, "transfer", input)
            .await
            .ok();
        let received = other.received();
        let last = received.last().expect("the redirect was followed");
        assert_eq!(last.header("authorization"), expected, "{forward}");
    }
}

#[tokio::test]
async fn a_part_of_a_large_answer_needs_little_memory() {
    // 24 MiB of JSON for a run with 16 MiB of memory.
    let filler = "x".repeat(24 << 20);
    let upstream = Upstream::replying([Reply::json(200, &json!({"filler": filler, "wanted": {"id": 7}}))]).await;
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_RUN_MEMORY_BYTES", "16777216");
    let (_server, client) = prepared(runtime, &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    let transfer = async |pointer: Value| {
        let input = json!({"path": "/large", "pointer": pointer});
        client.trigger_action(INTEGRATION, CONNECTION, "transfer", input).await
    };
    assert_eq!(transfer(json!("/wanted/id")).await.ok(), json!(7));
    let whole = transfer(Value::Null).await;
    assert!(whole.status >= 500, "the whole does not fit: {}", whole.text());
}
