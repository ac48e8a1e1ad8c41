//! Each time limit of the proxy, against an upstream that stalls just there.

use std::time::{Duration, Instant};

use http::Method;
use nango_runtime_tests::{Client, Server, TestRuntime, WireUpstream};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

/// What a test waits for when the limit does not hold.
const FAR: Duration = Duration::from_secs(20);

async fn limited(limits: &[(&str, u64)], upstream: &str) -> (Server, Client) {
    let runtime = limits
        .iter()
        .fold(TestRuntime::new().egress_loopback(), |runtime, (name, ms)| {
            runtime.environment(&format!("NANGO_LIMITS_PROXY_{name}_TIMEOUT_MS"), &ms.to_string())
        });
    prepared(runtime, upstream).await
}

async fn failure(client: &Client) -> Value {
    let started = Instant::now();
    let answer = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert!(started.elapsed() < FAR);
    answer.snapshot()
}

fn timed_out(url: &str, message: &str) -> Value {
    let (_, at) = url.split_once("://").expect("it is a URL");
    let message = format!("{at:?} {message}");
    json!({"status": 500, "body": {"message": message, "code": "ETIMEDOUT", "method": "get"}})
}

/// Reads until the body ends or breaks off; whether it ended.
async fn ends(client: &Client) -> bool {
    let request = client.proxy(Method::GET, INTEGRATION, CONNECTION, "/x");
    let mut response = request.send().await.expect("a head comes");
    let reading = async {
        loop {
            match response.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    };
    tokio::time::timeout(FAR, reading).await.expect("the limit holds")
}

#[tokio::test]
async fn connecting() {
    // Takes the connection and never says its part of the TLS handshake.
    let upstream = WireUpstream::start(|mut wire| async move { wire.until_closed().await }).await;
    let (_server, client) = limited(&[("CONNECT", 300)], &upstream.https_url()).await;
    assert_eq!(
        failure(&client).await,
        timed_out(&upstream.https_url(), "did not accept a connection within 300 ms")
    );
}

#[tokio::test]
async fn the_first_byte() {
    let upstream = WireUpstream::start(|mut wire| async move { wire.until_closed().await }).await;
    let (_server, client) = limited(&[("FIRST_BYTE", 300)], &upstream.url()).await;
    assert_eq!(
        failure(&client).await,
        timed_out(&upstream.url(), "did not begin to answer within 300 ms")
    );
}

#[tokio::test]
async fn silence_in_the_answer() {
    let upstream = WireUpstream::saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let (_server, client) = limited(&[("IDLE", 300)], &upstream.url()).await;
    assert!(!ends(&client).await, "the answer breaks off");
    let log = client.logs().await;
    assert!(log.contains("the answer was silent for 300 ms"), "{log}");
}

#[tokio::test]
async fn the_whole_of_a_call() {
    let upstream = WireUpstream::start(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            .await;
        while wire.send("data: x\n\n").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let limits = [("CONNECT", 700), ("FIRST_BYTE", 700), ("TOTAL", 700)];
    let (_server, client) = limited(&limits, &upstream.url()).await;
    assert!(!ends(&client).await, "the answer breaks off");
    let log = client.logs().await;
    assert!(log.contains("the answer took longer than 700 ms"), "{log}");
}

#[tokio::test]
async fn redirects_share_the_time_of_one_call() {
    let upstream = WireUpstream::start(|mut wire| async move {
        wire.head().await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        wire.send("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
    })
    .await;
    let limits = [("CONNECT", 600), ("FIRST_BYTE", 600), ("TOTAL", 600)];
    let (_server, client) = limited(&limits, &upstream.url()).await;
    assert_eq!(
        failure(&client).await,
        timed_out(&upstream.url(), "did not finish its answer within 600 ms")
    );
}
