//! Bodies as they come, in both directions: nothing waits for the whole, and nothing is kept.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::server::SECRET_KEY;
use nango_runtime_tests::{TestRuntime, Wire, WireUpstream};

use crate::fixture::{CONNECTION, INTEGRATION, prepared, with_upstream};

/// Far longer than anything here takes; it only matters to tests that fail.
const SOON: Duration = Duration::from_secs(10);
const PIECE_BYTES: usize = 64 << 10;
/// 256 MiB.
const PIECES: usize = 4096;
const GROWTH_BYTES_MAX: u64 = 16 << 20;

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it happens soon")
}

#[tokio::test]
async fn events_arrive_while_the_upstream_holds_the_connection() {
    let (allow, allowed) = tokio::sync::watch::channel(false);
    let upstream = WireUpstream::start(move |mut wire| {
        let mut allowed = allowed.clone();
        async move {
            wire.head().await;
            wire.send(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                 transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
            )
            .await;
            let _ = allowed.wait_for(|allowed| *allowed).await;
            wire.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n").await;
            wire.until_closed().await;
        }
    })
    .await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let request = client.proxy(Method::GET, INTEGRATION, CONNECTION, "/events");
    let mut events = soon(request.send()).await.expect("the head comes before the body ends");
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    assert_eq!(events.headers()["cache-control"], "no-cache");
    let first = soon(events.chunk()).await.expect("an event comes");
    assert_eq!(
        first.as_deref(),
        Some(&b"data: 1\n\n"[..]),
        "and nobody has allowed the second"
    );
    allow.send(true).expect("the upstream waits");
    assert_eq!(
        soon(events.chunk()).await.expect("another comes").as_deref(),
        Some(&b"data: 2\n\n"[..])
    );
    assert_eq!(soon(events.chunk()).await.expect("the end comes"), None);
}

#[tokio::test]
async fn an_upload_arrives_while_the_caller_still_sends() {
    let (arrived, mut arrives) = tokio::sync::mpsc::unbounded_channel();
    let upstream = WireUpstream::start(move |mut wire| {
        let arrived = arrived.clone();
        async move {
            let head = wire.head().await;
            assert!(head.contains("transfer-encoding: chunked"), "{head}");
            let _ = arrived.send(String::from_utf8_lossy(&wire.read().await).into_owned());
            let mut rest = String::new();
            while !rest.ends_with("0\r\n\r\n") {
                rest.push_str(&String::from_utf8_lossy(&wire.read().await));
            }
            wire.send("HTTP/1.1 201 Created\r\ncontent-length: 4\r\n\r\ndone").await;
            let _ = arrived.send(rest);
        }
    })
    .await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let (pieces, body) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
    let body = stream::unfold(body, |mut body| async move {
        let piece = body.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from_static(piece.as_bytes())), body))
    });
    let request = client.proxy(Method::POST, INTEGRATION, CONNECTION, "/upload");
    let sending = tokio::spawn(send(request.body(reqwest::Body::wrap_stream(body))));
    pieces.send("first").expect("the caller sends");
    assert_eq!(soon(arrives.recv()).await.as_deref(), Some("5\r\nfirst\r\n"));
    pieces.send("second").expect("the caller sends");
    drop(pieces);
    assert_eq!(soon(arrives.recv()).await.as_deref(), Some("6\r\nsecond\r\n0\r\n\r\n"));
    let answer = soon(sending).await.expect("the call ends");
    assert_eq!((answer.status, answer.text().as_str()), (201, "done"));
}

#[tokio::test]
async fn a_caller_who_stops_reading_is_let_go() {
    let (left, mut leaves) = tokio::sync::mpsc::unbounded_channel();
    let upstream = WireUpstream::start(move |mut wire| {
        let left = left.clone();
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\n\r\n").await;
            while wire.send([7; PIECE_BYTES]).await {}
            let _ = left.send(());
        }
    })
    .await;
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_SEND_TIMEOUT_MS", "300");
    let (server, _client) = prepared(runtime, &upstream.url()).await;
    let mut caller = Wire::connect(server.base_url()).await;
    caller
        .send(format!(
            "GET /proxy/endless HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET_KEY}\r\n\
             provider-config-key: {INTEGRATION}\r\nconnection-id: {CONNECTION}\r\n\r\n"
        ))
        .await;
    let head = soon(caller.head()).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // It reads no further, and holds its connection.
    soon(leaves.recv()).await.expect("the upstream is let go");
    drop(caller);
}

/// A server that gives and takes large bodies and keeps none: `GET /` and `POST /`, which answers the number of bytes.
async fn large_upstream() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let url = format!(
        "http://{}",
        listener.local_addr().expect("a bound socket has an address")
    );
    let piece = Bytes::from(vec![7; PIECE_BYTES]);
    let give = move || {
        let pieces = std::iter::repeat_n(piece.clone(), PIECES).map(Ok::<_, Infallible>);
        std::future::ready(Body::from_stream(stream::iter(pieces)))
    };
    let take = |body: Body| async move {
        let pieces = body.into_data_stream();
        let count = pieces.fold(
            0,
            |count, piece| async move { count + piece.map_or(0, |piece| piece.len()) },
        );
        count.await.to_string()
    };
    let router = Router::new().route("/", get(give)).route("/", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_take_no_memory() {
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_REQUEST_BODY_BYTES", "1000");
    let (server, client) = prepared(runtime, &large_upstream().await).await;
    let download = async || {
        let request = client.proxy(Method::GET, INTEGRATION, CONNECTION, "/");
        let mut response = request.send().await.expect("a head comes");
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await.expect("the whole body comes") {
            bytes += chunk.len();
        }
        bytes
    };
    let upload = async |pieces: usize| {
        let piece = Bytes::from(vec![7; PIECE_BYTES]);
        let body = stream::iter(std::iter::repeat_n(piece, pieces).map(Ok::<_, Infallible>));
        let request = client.proxy(Method::POST, INTEGRATION, CONNECTION, "/");
        send(request.body(reqwest::Body::wrap_stream(body))).await.text()
    };
    // Warm: connections, buffers and the log are there.
    assert_eq!(upload(16).await, (16 * PIECE_BYTES).to_string());
    let before = server.resident_bytes();
    server.forget_peak();
    assert_eq!(download().await, PIECES * PIECE_BYTES);
    assert_eq!(upload(PIECES).await, (PIECES * PIECE_BYTES).to_string());
    let growth = server.peak_resident_bytes().saturating_sub(before);
    assert!(
        growth <= GROWTH_BYTES_MAX,
        "256 MiB each way took {growth} bytes of memory"
    );
}
