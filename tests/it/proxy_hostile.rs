//! Upstreams and clients that misbehave: the server says what happened, gives up in time and goes on.

use std::time::Duration;

use http::Method;
use nango_runtime_tests::client::{json_body, send};
use nango_runtime_tests::server::SECRET_KEY;
use nango_runtime_tests::upstream::closed_port;
use nango_runtime_tests::{Answer, Client, Reply, Server, TestRuntime, Upstream, Wire, WireUpstream};
use serde_json::json;

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

/// How long a provider may take to begin its answer, in these tests.
const FIRST_BYTE_TIMEOUT_MS: u64 = 1_000;
/// For what happens soon, or the test fails.
const SOON: Duration = Duration::from_secs(20);

async fn impatient() -> (Server, Client) {
    let runtime = TestRuntime::new().egress_loopback().environment(
        "NANGO_LIMITS_PROXY_FIRST_BYTE_TIMEOUT_MS",
        &FIRST_BYTE_TIMEOUT_MS.to_string(),
    );
    // Every test gives its own upstream as the override.
    prepared(runtime, "http://127.0.0.1:9").await
}

fn to(client: &Client, method: Method, upstream: &str) -> reqwest::RequestBuilder {
    client
        .proxy(method, INTEGRATION, CONNECTION, "/x")
        .header("Base-Url-Override", upstream)
}

async fn get(client: &Client, upstream: &str) -> Answer {
    send(to(client, Method::GET, upstream)).await
}

/// The body as far as it came, and whether it came to its end.
async fn body(mut response: reqwest::Response) -> (String, bool) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (String::from_utf8_lossy(&body).into_owned(), true),
            Err(_) => return (String::from_utf8_lossy(&body).into_owned(), false),
        }
    }
}

/// Host and port of a URL, as messages have them.
fn at(url: &str) -> String {
    format!("{:?}", url.trim_start_matches("http://"))
}

fn failure(code: &str, message: String) -> serde_json::Value {
    json!({"status": 500, "body": {"message": message, "code": code, "method": "get"}})
}

#[tokio::test]
async fn a_head_that_drips_is_given_up() {
    let upstream = WireUpstream::start(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\nx-slow: ").await;
        while wire.send("x").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (_server, client) = impatient().await;
    let message = format!(
        "{} did not begin to answer within {FIRST_BYTE_TIMEOUT_MS} ms",
        at(&upstream.url())
    );
    assert_eq!(
        get(&client, &upstream.url()).await.snapshot(),
        failure("ETIMEDOUT", message)
    );
}

#[tokio::test]
async fn interim_answers_are_skipped_but_not_for_ever() {
    let polite = WireUpstream::saying(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone",
    )
    .await;
    let endless = WireUpstream::start(|mut wire| async move {
        wire.head().await;
        while wire.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n").await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let (_server, client) = impatient().await;
    let answer = get(&client, &polite.url()).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert_eq!(answer.header("link"), None);
    assert_eq!(get(&client, &endless.url()).await.json()["code"], "ETIMEDOUT");
}

#[tokio::test]
async fn what_is_no_http_is_named_so() {
    let large = format!("HTTP/1.1 200 OK\r\nx-large: {}\r\n\r\n", "x".repeat(1 << 20));
    let (_server, client) = impatient().await;
    for wrong in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", large.as_str()] {
        let upstream = WireUpstream::saying(wrong).await;
        let message = format!("{} answered with what is no HTTP response", at(&upstream.url()));
        let answer = get(&client, &upstream.url()).await.snapshot();
        assert_eq!(answer, failure("HPE_INVALID_CONSTANT", message), "{:.40}", wrong);
        assert_eq!(upstream.connections(), 1, "asking again gives the same");
    }
    assert!(client.logs().await.contains("upstream_invalid_answer"));
}

#[tokio::test]
async fn bodies_that_break_off_are_seen_to_break_off() {
    let (_server, client) = impatient().await;
    let head = "HTTP/1.1 200 OK\r\n";
    for (answer, expected) in [
        ("content-length: 100\r\n\r\nhalf", "half"),
        ("transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "half"),
        (
            "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nXYZ\r\nnot a chunk",
            "half",
        ),
    ] {
        for reset in [true, false] {
            let text = format!("{head}{answer}");
            let upstream = WireUpstream::start(move |mut wire| {
                let text = text.clone();
                async move {
                    wire.head().await;
                    wire.send(&text).await;
                    // Time for what was sent to arrive before the end of the connection does.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    if reset {
                        wire.reset();
                    }
                }
            })
            .await;
            let response = to(&client, Method::GET, &upstream.url())
                .send()
                .await
                .expect("a head comes");
            assert_eq!(response.status(), 200);
            assert_eq!(body(response).await, (expected.to_owned(), false), "{answer:?}");
        }
    }
    assert!(
        client.logs().await.contains("The body of the answer broke off"),
        "the log says so: {}",
        client.logs().await
    );
}

#[tokio::test]
async fn an_answer_may_end_with_its_connection() {
    let (_server, client) = impatient().await;
    for head in [
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
    ] {
        let upstream = WireUpstream::start(move |mut wire| async move {
            wire.head().await;
            wire.send(format!("{head}all of it")).await;
        })
        .await;
        let answer = get(&client, &upstream.url()).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "all of it"));
        assert_eq!(answer.header("connection"), None);
        assert_eq!(get(&client, &upstream.url()).await.status, 200, "over a new connection");
    }
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let (_server, client) = impatient().await;
    let upstream = Upstream::handling(|_| Reply::status(302).header("location", "/x")).await;
    let message = "\"127.0.0.1\" redirected more than 5 times".to_owned();
    let answer = get(&client, &upstream.url()).await.snapshot();
    assert_eq!(answer, failure("ERR_FR_TOO_MANY_REDIRECTS", message));
    assert_eq!(upstream.received().len(), 6);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let (left, mut leaves) = tokio::sync::mpsc::unbounded_channel();
    let upstream = WireUpstream::start(move |mut wire| {
        let left = left.clone();
        async move {
            let head = wire.head().await;
            if head.contains("x-begin: 1") {
                wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
                    .await;
            }
            left.send("arrived").expect("the test waits");
            wire.until_closed().await;
            let _ = left.send("left");
        }
    })
    .await;
    let (_server, client) = prepared(TestRuntime::new().egress_loopback(), &upstream.url()).await;
    let mut next = async || {
        tokio::time::timeout(SOON, leaves.recv())
            .await
            .expect("it happens soon")
    };

    let before_the_head = client.clone();
    let asking = tokio::spawn(async move { before_the_head.proxy_get(INTEGRATION, CONNECTION, "/x").await });
    assert_eq!(next().await, Some("arrived"));
    asking.abort();
    assert_eq!(next().await, Some("left"), "before the head of the answer");
    let log = client.logs().await;
    assert!(
        log.contains("Proxy call ended without an answer: the caller left"),
        "{log}"
    );

    let request = client.proxy(Method::GET, INTEGRATION, CONNECTION, "/x");
    let mut response = request
        .header("Nango-Proxy-X-Begin", "1")
        .send()
        .await
        .expect("a head comes");
    assert_eq!(
        response.chunk().await.expect("a chunk comes").as_deref(),
        Some(&b"half"[..])
    );
    assert_eq!(next().await, Some("arrived"));
    drop(response);
    assert_eq!(next().await, Some("left"), "in the middle of the answer");
}

#[tokio::test]
async fn a_caller_who_stops_in_the_middle_of_a_body_is_told() {
    let (server, _client) = impatient().await;
    let upstream = WireUpstream::start(|mut wire| async move { wire.until_closed().await }).await;
    let mut caller = Wire::connect(server.base_url()).await;
    caller
        .send(format!(
            "POST /proxy/x HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET_KEY}\r\n\
             provider-config-key: {INTEGRATION}\r\nconnection-id: {CONNECTION}\r\nbase-url-override: {}\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\n4\r\nhalf\r\n",
            upstream.url()
        ))
        .await;
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("request_body_failed"), "{answer}");
    assert!(
        answer.contains(&format!(
            "was sent nothing more of the request's body by the caller within {FIRST_BYTE_TIMEOUT_MS} ms"
        )),
        "{answer}"
    );
}

#[tokio::test]
async fn a_request_head_of_a_megabyte_is_refused() {
    let (_server, client) = impatient().await;
    let request = to(&client, Method::GET, "http://127.0.0.1:9").header("Nango-Proxy-X-Large", "x".repeat(1 << 20));
    assert_eq!(send(request).await.status, 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_upstream_takes_nobody_along() {
    let (_server, client) = impatient().await;
    let dead = format!("http://127.0.0.1:{}", closed_port());
    let alive = Upstream::replying([Reply::json(200, &json!({"ok": true}))]).await;
    let calls = (0..500).map(|_| {
        let (client, dead) = (client.clone(), dead.clone());
        tokio::spawn(async move { get(&client, &dead).await.snapshot() })
    });
    for call in calls.collect::<Vec<_>>() {
        let message = format!("no connection to {}: connection refused", at(&dead));
        assert_eq!(call.await.expect("it ends"), failure("ECONNREFUSED", message));
    }
    assert_eq!(get(&client, &alive.url()).await.ok(), json!({"ok": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_wait_for_a_silent_upstream_together() {
    let (_server, client) = impatient().await;
    let silent = WireUpstream::start(|mut wire| async move { wire.until_closed().await }).await;
    // Both ends of each are files of this process, and many systems give a thousand.
    let calls = (0..300).map(|_| {
        let (client, silent) = (client.clone(), silent.url());
        tokio::spawn(async move { get(&client, &silent).await.json()["code"].clone() })
    });
    let started = std::time::Instant::now();
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.expect("it ends"), "ETIMEDOUT");
    }
    assert!(started.elapsed() < SOON, "one after the other it would take minutes");
}

#[tokio::test]
async fn a_body_nobody_reads_does_not_hold_the_answer_back() {
    let (_server, client) = impatient().await;
    // Answers before it has read the body, and reads on no further.
    let upstream = WireUpstream::saying("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno").await;
    let request = json_body(to(&client, Method::POST, &upstream.url()), &json!("x".repeat(4 << 20)));
    let answer = send(request).await;
    assert_eq!((answer.status, answer.text().as_str()), (413, "no"));
}

#[tokio::test]
async fn a_refusal_reaches_who_still_sends() {
    let (_server, client) = impatient().await;
    let large = || vec![7; 16 << 20];
    let unknown = client.proxy(Method::POST, INTEGRATION, "nope", "/x").body(large());
    assert_eq!(send(unknown).await.status, 400);
    let stranger = client.with_key(Some("0d8b8e3c-6f0a-4b7e-9a51-0c2f4d6e8a10"));
    let request = stranger
        .proxy(Method::POST, INTEGRATION, CONNECTION, "/x")
        .body(large());
    assert_eq!(send(request).await.status, 401);
    let too_large = client.request(Method::POST, "/connections").body(large());
    assert_eq!(
        send(too_large.header("content-type", "application/json")).await.status,
        413
    );
}

#[tokio::test]
async fn who_asks_before_he_sends_is_refused_at_once() {
    let (server, _client) = impatient().await;
    let mut caller = Wire::connect(server.base_url()).await;
    let head = format!(
        "POST /proxy/x HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET_KEY}\r\n\
         provider-config-key: nope\r\nconnection-id: {CONNECTION}\r\ncontent-length: 100000000\r\n\
         expect: 100-continue\r\n\r\n"
    );
    caller.send(head).await;
    let answer = tokio::time::timeout(SOON, caller.head())
        .await
        .expect("it comes without the body");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
