//! The published `@nangohq/node` through the proxy to httpbin: each method, kind of body and kind of answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nango_runtime_tests::{httpbin, node};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, with_upstream};

/// The binary body that the script sends.
fn bytes_as_httpbin_shows(content_type: &str) -> String {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    format!("data:{content_type};base64,{}", BASE64.encode(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_sends_and_gets_everything() {
    let (server, _client) = with_upstream(httpbin::url()).await;
    let results = node::run(
        &server,
        "proxy.mjs",
        &[("INTEGRATION", INTEGRATION), ("CONNECTION", CONNECTION)],
    );
    methods(&results);
    queries(&results);
    bodies(&results);
    answers(&results);
    failures(&results);
}

/// The data of a call that was answered with 200.
#[track_caller]
fn data<'a>(results: &'a Value, name: &str) -> &'a Value {
    assert_eq!(results[name]["status"], 200, "{name}: {}", results[name]);
    &results[name]["data"]
}

fn methods(results: &Value) {
    for method in ["get", "post", "put", "patch", "delete"] {
        let own = data(results, method);
        assert_eq!(own["method"], method.to_uppercase());
        assert_eq!(own["url"], format!("{}/anything/x", httpbin::url()));
        assert_eq!(own["headers"]["X-Custom"], method);
        assert_eq!(own["headers"]["Authorization"], format!("Bearer {API_KEY}"));
        let general = data(results, &format!("proxy {method}"));
        assert_eq!(general["method"], method.to_uppercase());
        assert_eq!(general["url"], format!("{}/anything/y", httpbin::url()));
        let body = if method == "get" {
            json!(null)
        } else {
            json!({"method": method})
        };
        assert_eq!((&own["json"], &general["json"]), (&body, &body), "{method}");
    }
}

fn queries(results: &Value) {
    assert_eq!(data(results, "inside")["url"], format!("{}/get", httpbin::url()));
    assert_eq!(
        data(results, "params")["args"],
        json!({"a": "b c", "n": "1", "e": "ü&="})
    );
    assert_eq!(data(results, "params as text")["args"], json!({"a": ["1", "2"]}));
    assert_eq!(
        data(results, "query in the endpoint")["args"],
        json!({"a": "x/y", "b": " "})
    );
}

fn bodies(results: &Value) {
    for name in ["multipart", "multipart, retried"] {
        let multipart = data(results, name);
        assert_eq!(multipart["form"], json!({"field": "wört"}), "{name}");
        assert_eq!(multipart["files"]["text"], "some text");
        assert_eq!(
            multipart["files"]["binary"],
            bytes_as_httpbin_shows("application/octet-stream")
        );
        let content_type = multipart["headers"]["Content-Type"].as_str().unwrap_or_default();
        assert!(
            content_type.starts_with("multipart/form-data; boundary="),
            "{content_type}"
        );
    }
    for (name, content_type) in [
        ("buffer", "application/octet-stream"),
        ("stream", "application/octet-stream"),
        ("image", "image/png"),
    ] {
        let sent = data(results, name);
        assert_eq!(
            sent["data"],
            bytes_as_httpbin_shows("application/octet-stream"),
            "{name}"
        );
        assert_eq!(sent["headers"]["Content-Type"], content_type, "{name}");
    }
    let xml = data(results, "xml");
    assert_eq!(
        (&xml["data"], &xml["headers"]["Content-Type"]),
        (&json!("<a/>"), &json!("text/xml"))
    );
    assert_eq!(data(results, "form")["form"], json!({"a": "1", "b": "two words"}));
    // As text, because JSON numbers of this size are not all the same number to JavaScript.
    assert_eq!(data(results, "json text")["data"], r#"{"big": 9007199254740993}"#);
}

fn answers(results: &Value) {
    let alphabet = "abcdefghijklmnopqrstuvwxyz".repeat(10);
    assert_eq!(data(results, "answer as bytes"), &alphabet[..256]);
    assert_eq!(data(results, "answer as a stream"), 3);
    for (encoding, flag) in [("gzip", "gzipped"), ("deflate", "deflated"), ("brotli", "brotli")] {
        assert_eq!(data(results, encoding)[flag], true, "{encoding}");
        assert_eq!(
            data(results, &format!("{encoding}, decompress"))[flag],
            true,
            "{encoding}"
        );
    }
    let part = &results["part"];
    assert_eq!((&part["status"], &part["data"]), (&json!(206), &json!("abc")));
    assert_eq!(results["created"]["status"], 201);
    assert_eq!(data(results, "redirect")["url"], format!("{}/get", httpbin::url()));
}

fn failures(results: &Value) {
    for (name, status) in [("not modified", 304), ("teapot", 418), ("retry on", 404)] {
        let failed = &results[name];
        assert_eq!(
            (&failed["threw"], &failed["status"]),
            (&json!(true), &json!(status)),
            "{name}"
        );
    }
    assert!(
        results["teapot"]["data"]
            .as_str()
            .is_some_and(|body| body.contains("teapot")),
        "the body of a failure comes through: {}",
        results["teapot"]
    );
    for (name, code) in [
        ("bad override", "invalid_headers"),
        ("refused override", "base_url_override_not_allowed"),
    ] {
        let failed = &results[name];
        assert_eq!(
            (&failed["status"], &failed["data"]["error"]["code"]),
            (&json!(400), &json!(code)),
            "{name}"
        );
    }
    let refused = results["refused override"]["data"]["error"]["message"].as_str();
    assert!(
        refused.is_some_and(|message| message.contains("`--egress-allow 10.1.2.3/32`")),
        "the refusal says what would allow it: {refused:?}"
    );
}
