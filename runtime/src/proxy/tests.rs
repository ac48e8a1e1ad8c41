//! Whole calls against a scripted server on loopback, on a clock moved by hand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::call::{Call, Shared};
use super::client::HttpClient;
use super::rate_limit::RateLimits;
use super::testing::{api_key, bearer, options, provider, request, target};
use super::{Body, ByteStream, Proxy, ProxyError, ProxyOptions, ProxyRequest, ProxyResponse};
use crate::clock::{Clock, Entropy, ManualClock};
use crate::connections::Target;
use crate::metrics::Metrics;
use crate::model::{ExecutionContext, Level, Message};

mod identity;
mod rebinding;
mod redirects;

const NOW_MS: i64 = 1_800_000_000_000;

/// What the server does with a request.
#[derive(Clone)]
enum Reply {
    Send(String),
    Bytes(Vec<u8>),
    /// Closes the connection without an answer.
    Close,
    /// Never answers.
    Hang,
}

fn reply(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Send(format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"
    ))
}

/// Answers requests in the order of its script and keeps what it was sent.
struct Upstream {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    async fn start(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(script.into_iter()));
        let noted = seen.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, script.clone(), noted.clone()));
            }
        });
        Self { port, seen }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    mut connection: TcpStream,
    script: Arc<Mutex<std::vec::IntoIter<Reply>>>,
    seen: Arc<Mutex<Vec<String>>>,
) {
    let mut received = Vec::new();
    loop {
        while !is_whole(&received) {
            if connection.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
        }
        seen.lock()
            .unwrap()
            .push(String::from_utf8_lossy(&received).into_owned());
        received.clear();
        let next = script.lock().unwrap().next();
        match next {
            Some(Reply::Send(text)) => connection.write_all(text.as_bytes()).await.unwrap(),
            Some(Reply::Bytes(bytes)) => connection.write_all(&bytes).await.unwrap(),
            Some(Reply::Hang) => std::future::pending().await,
            Some(Reply::Close) | None => return,
        }
    }
}

fn is_whole(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with("0\r\n\r\n");
    }
    length.is_none_or(|length| body.len() >= length.parse().unwrap())
}

struct Harness {
    shared: Shared,
    manual: ManualClock,
    clock: Clock,
    messages: Arc<Mutex<Vec<Message>>>,
}

fn allowing() -> ProxyOptions {
    ProxyOptions {
        egress_allow: vec!["127.0.0.0/8".parse().unwrap()],
        ..options()
    }
}

impl Harness {
    fn new(options: ProxyOptions) -> Self {
        let (clock, manual) = Clock::manual(NOW_MS);
        let messages = Arc::new(Mutex::new(Vec::new()));
        let noted = messages.clone();
        let shared = Shared {
            client: HttpClient::new(&options, clock.clone()).unwrap(),
            rate_limits: RateLimits::new(clock.clone(), &options, Metrics::new(|| 0)),
            metrics: Metrics::new(|| 0),
            clock: clock.clone(),
            entropy: Entropy::seeded(7),
            options,
            log: Box::new(move |note| noted.lock().unwrap().push(note.message())),
            renew: Box::new(|_| Box::pin(std::future::ready(false))),
        };
        Self {
            shared,
            manual,
            clock,
            messages,
        }
    }

    /// Makes the call; whenever nothing moves for a moment of real time, the manual clock jumps `step_ms`.
    async fn send_stepping(
        &self,
        target: Target,
        request: ProxyRequest,
        step_ms: i64,
    ) -> Result<ProxyResponse, ProxyError> {
        let ctx = ExecutionContext {
            environment_id: "env_1".into(),
            provider_config_key: "testing".into(),
            connection_id: "customer-1".into(),
            connection_key: None,
            run_id: None,
            operation_id: "op_1".into(),
        };
        let target = Arc::new(target);
        let mut call = Call::new(&self.shared, &ctx, request);
        let calling = async {
            loop {
                if let Some(outcome) = call.attempt(&target).await {
                    return outcome;
                }
            }
        };
        tokio::pin!(calling);
        loop {
            tokio::select! {
                outcome = &mut calling => return outcome,
                () = tokio::time::sleep(Duration::from_millis(30)) => self.manual.advance_ms(step_ms),
            }
        }
    }

    async fn send(&self, target: Target, request: ProxyRequest) -> Result<ProxyResponse, ProxyError> {
        self.send_stepping(target, request, 1_000).await
    }

    fn log(&self) -> Vec<(Level, String)> {
        let messages = self.messages.lock().unwrap();
        messages
            .iter()
            .map(|message| (message.level, message.text.clone()))
            .collect()
    }
}

async fn text(response: ProxyResponse) -> String {
    let (_, _, body) = response.collect(1_000_000).await.unwrap();
    String::from_utf8_lossy(&body).into_owned()
}

#[test]
fn a_call_can_be_awaited_on_any_thread() {
    fn is_send<T: Send>(_: &T) {}
    fn check(proxy: &Proxy, ctx: &ExecutionContext) {
        is_send(&proxy.send(ctx, request("/")));
    }
    let _ = check;
}

#[tokio::test]
async fn the_answer_comes_through_as_it_is() {
    let headers = "x-a: 1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nconnection: keep-alive\r\n";
    let upstream = Upstream::start(vec![reply("201 Created", headers, "made")]).await;
    let harness = Harness::new(allowing());
    let mut request = request("/x?q='a'");
    request.method = Method::POST;
    request.body = Body::Bytes(Bytes::from_static(b"{}"));
    request
        .headers
        .insert("content-type", "application/json".parse().unwrap());
    let response = harness
        .send(target(provider(&upstream.url()), bearer("tok")), request)
        .await
        .unwrap();
    assert_eq!(response.status, StatusCode::CREATED);
    assert_eq!(response.headers.get_all("set-cookie").iter().count(), 2);
    assert!(!response.headers.contains_key("connection"));
    assert_eq!(response.headers["content-length"], "4");
    assert_eq!(text(response).await, "made");
    let sent = upstream.seen().remove(0);
    assert!(sent.starts_with("POST /x?q='a' HTTP/1.1\r\n"), "{sent}");
    assert!(sent.contains("authorization: Bearer tok\r\n"), "{sent}");
    assert!(sent.contains("content-length: 2\r\n"), "{sent}");
    assert!(!sent.contains("accept-encoding"), "{sent}");
    assert!(sent.ends_with("\r\n\r\n{}"), "{sent}");
    let log = harness.log();
    assert_eq!(log.len(), 1);
    let expected = format!("POST {}/x?q='a' → 201 in ", upstream.url());
    assert!(log[0].0 == Level::Info && log[0].1.starts_with(&expected), "{log:?}");
}

#[tokio::test]
async fn a_429_is_waited_out_unasked() {
    let limited = reply("429 Too Many Requests", "retry-after: 7\r\n", "");
    let upstream = Upstream::start(vec![limited, reply("200 OK", "", "done")]).await;
    let harness = Harness::new(allowing());
    let response = harness
        .send(target(provider(&upstream.url()), bearer("t")), request("/"))
        .await
        .unwrap();
    assert_eq!(text(response).await, "done");
    assert!(harness.clock.now_ms() >= NOW_MS + 7_000);
    let log = harness.log();
    assert_eq!((log.len(), log[0].0, log[2].0), (3, Level::Warn, Level::Info));
    let waiting = "Waiting 7000 ms in line for the rate limit of connection \"customer-1\" (position 1)";
    assert_eq!(log[1], (Level::Info, waiting.into()));
    assert!(log[0].1.ends_with("trying again in 7000 ms (retry_after)"), "{log:?}");
}

#[tokio::test]
async fn a_429_that_asks_for_too_much_is_passed_back_with_its_headers() {
    let upstream = Upstream::start(vec![reply(
        "429 Too Many Requests",
        "retry-after: 3600\r\n",
        "slow down",
    )])
    .await;
    let harness = Harness::new(allowing());
    let response = harness
        .send(target(provider(&upstream.url()), bearer("t")), request("/"))
        .await
        .unwrap();
    assert_eq!(response.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers["retry-after"], "3600");
    assert_eq!(text(response).await, "slow down");
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn an_asked_retry_sends_the_same_body_again() {
    let upstream = Upstream::start(vec![reply("502 Bad Gateway", "", "oh"), reply("200 OK", "", "done")]).await;
    let harness = Harness::new(allowing());
    let mut request = request("/x");
    request.method = Method::POST;
    request.body = Body::Bytes(Bytes::from_static(b"payload"));
    request.retries = 1;
    let response = harness
        .send(target(provider(&upstream.url()), bearer("t")), request)
        .await
        .unwrap();
    assert_eq!(text(response).await, "done");
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|sent| sent.ends_with("payload")), "{seen:?}");
}

#[tokio::test]
async fn a_post_that_may_have_arrived_is_not_repeated_and_a_get_is() {
    let upstream = Upstream::start(vec![Reply::Close, Reply::Close, reply("200 OK", "", "done")]).await;
    let harness = Harness::new(allowing());
    let to = || target(provider(&upstream.url()), bearer("t"));
    let mut post = request("/x");
    post.method = Method::POST;
    post.retries = 3;
    post.body = Body::Bytes(Bytes::from_static(b"pay"));
    let error = harness.send(to(), post).await.unwrap_err();
    assert_eq!(
        (error.code(), error.node_error_name()),
        ("upstream_reset", Some("ECONNRESET"))
    );
    assert_eq!(upstream.seen().len(), 1);
    let mut get = request("/x");
    get.retries = 1;
    assert_eq!(text(harness.send(to(), get).await.unwrap()).await, "done");
}

#[tokio::test]
async fn a_post_with_an_idempotency_key_is_repeated_with_its_body() {
    let upstream = Upstream::start(vec![Reply::Hang, reply("200 OK", "", "done")]).await;
    let harness = Harness::new(ProxyOptions {
        first_byte_timeout_ms: 5_000,
        ..allowing()
    });
    let mut post = request("/x");
    post.method = Method::POST;
    post.retries = 1;
    post.body = Body::Bytes(Bytes::from_static(b"pay"));
    post.headers.insert("idempotency-key", "k".parse().unwrap());
    let to = target(provider(&upstream.url()), bearer("t"));
    assert_eq!(text(harness.send(to, post).await.unwrap()).await, "done");
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|sent| sent.ends_with("pay")), "{seen:?}");
    assert!(harness.log()[0].1.ends_with("(network_error)"), "{:?}", harness.log());
}

#[tokio::test]
async fn a_limit_that_an_answer_announces_holds_the_next_call() {
    let used_up = "ratelimit-remaining: 0\r\nratelimit-reset: 30\r\n";
    let upstream = Upstream::start(vec![reply("200 OK", used_up, "a"), reply("200 OK", "", "b")]).await;
    let harness = Harness::new(allowing());
    let to = || target(provider(&upstream.url()), bearer("t"));
    assert_eq!(text(harness.send(to(), request("/")).await.unwrap()).await, "a");
    assert_eq!(harness.clock.now_ms(), NOW_MS);
    assert_eq!(text(harness.send(to(), request("/")).await.unwrap()).await, "b");
    assert!(harness.clock.now_ms() >= NOW_MS + 30_000);
}

#[tokio::test]
async fn a_limit_longer_than_the_budget_is_an_error_at_once() {
    let limited = reply("429 Too Many Requests", "retry-after: 90\r\n", "slow down");
    let upstream = Upstream::start(vec![limited]).await;
    let harness = Harness::new(allowing());
    let to = || target(provider(&upstream.url()), bearer("t"));
    let first = harness.send(to(), request("/")).await.unwrap();
    assert_eq!(first.status, StatusCode::TOO_MANY_REQUESTS);
    let error = harness.send(to(), request("/")).await.unwrap_err();
    assert_eq!((error.code(), error.retry_after_s()), ("rate_limited", Some(90)));
    assert_eq!(upstream.seen().len(), 1);
    assert!(harness.log()[1].1.starts_with("Not sent: "), "{:?}", harness.log());
}

#[tokio::test]
async fn a_get_whose_connection_closed_is_mended_once() {
    let upstream = Upstream::start(vec![
        Reply::Close,
        reply("200 OK", "", "done"),
        Reply::Close,
        Reply::Close,
    ])
    .await;
    let harness = Harness::new(allowing());
    let to = || target(provider(&upstream.url()), bearer("t"));
    assert_eq!(text(harness.send(to(), request("/x")).await.unwrap()).await, "done");
    let error = harness.send(to(), request("/x")).await.unwrap_err();
    assert_eq!(error.code(), "upstream_reset");
    assert_eq!((upstream.seen().len(), harness.log().len()), (4, 2));
}

#[tokio::test]
async fn a_streamed_body_goes_out_in_pieces_and_only_once() {
    let upstream = Upstream::start(vec![reply("503 Service Unavailable", "", "later")]).await;
    let harness = Harness::new(allowing());
    let mut request = request("/x");
    request.method = Method::PUT;
    request.retries = 3;
    let pieces = ["one", "two"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
    request.body = Body::Stream(ByteStream::new(futures_util::stream::iter(pieces)));
    let response = harness
        .send(target(provider(&upstream.url()), bearer("t")), request)
        .await
        .unwrap();
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    let seen = upstream.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].contains("transfer-encoding: chunked") && seen[0].contains("one") && seen[0].contains("two"));
}

#[tokio::test]
async fn loopback_is_refused_and_the_setting_named() {
    let upstream = Upstream::start(Vec::new()).await;
    let harness = Harness::new(options());
    for base in [upstream.url(), format!("http://localhost:{}", upstream.port)] {
        let error = harness
            .send(target(provider(&base), bearer("t")), request("/"))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "base_url_override_not_allowed", "{error}");
        assert!(error.to_string().contains("--egress-allow"), "{error}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn an_override_reaches_allowed_addresses_by_number_and_by_name() {
    let upstream = Upstream::start(vec![reply("200 OK", "", "a"), reply("200 OK", "", "b")]).await;
    let harness = Harness::new(allowing());
    for base in [upstream.url(), format!("http://localhost:{}", upstream.port)] {
        let mut request = request("/x");
        request.base_url_override = Some(base);
        let target = target(provider("https://api.test"), bearer("t"));
        assert_eq!(harness.send(target, request).await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_slow_or_silent_has_its_own_code() {
    let harness = Harness::new(ProxyOptions {
        first_byte_timeout_ms: 500,
        ..allowing()
    });
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let down = target(provider(&format!("http://127.0.0.1:{closed}")), bearer("t"));
    let error = harness.send(down, request("/")).await.unwrap_err();
    assert_eq!(
        (error.code(), error.node_error_name()),
        ("upstream_unreachable", Some("ECONNREFUSED"))
    );

    let unknown = target(provider("http://no-such-host.invalid"), bearer("t"));
    let error = harness.send_stepping(unknown, request("/"), 0).await.unwrap_err();
    assert_eq!(
        (error.code(), error.node_error_name()),
        ("upstream_dns_failed", Some("ENOTFOUND"))
    );

    let slow = Upstream::start(vec![Reply::Hang]).await;
    let error = harness
        .send(target(provider(&slow.url()), bearer("t")), request("/"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.node_error_name()),
        ("upstream_timeout", Some("ETIMEDOUT"))
    );
}

#[tokio::test]
async fn a_body_that_falls_silent_ends_with_an_error() {
    let half = Reply::Send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".into());
    let upstream = Upstream::start(vec![half]).await;
    let harness = Harness::new(allowing());
    let mut response = harness
        .send(target(provider(&upstream.url()), bearer("t")), request("/"))
        .await
        .unwrap();
    assert_eq!(response.body.0.next().await.unwrap().unwrap(), "half");
    let rest = tokio::spawn(async move { response.collect(100).await });
    while !rest.is_finished() {
        harness.manual.advance_ms(10_000);
        tokio::task::yield_now().await;
    }
    assert_eq!(rest.await.unwrap().unwrap_err().code(), "upstream_timeout");
}

#[tokio::test]
async fn bodies_are_decoded_only_when_asked() {
    // `printf hello | gzip -n`
    const GZIP: &[u8] = &[
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0, 0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0,
    ];
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        GZIP.len()
    );
    let compressed = Reply::Bytes([head.as_bytes(), GZIP].concat());
    let upstream = Upstream::start(vec![compressed.clone(), compressed]).await;
    let harness = Harness::new(allowing());
    let to = || target(provider(&upstream.url()), bearer("t"));
    let plain = harness.send(to(), request("/")).await.unwrap();
    assert_eq!(plain.headers["content-encoding"], "gzip");
    assert_eq!(plain.collect(100).await.unwrap().2, GZIP);
    let mut request = request("/");
    request.decompress = true;
    let decoded = harness.send(to(), request).await.unwrap();
    assert!(!decoded.headers.contains_key("content-encoding") && !decoded.headers.contains_key("content-length"));
    assert_eq!(text(decoded).await, "hello");
    assert!(upstream.seen()[1].contains("accept-encoding: gzip, br, deflate, zstd"));
}

#[tokio::test]
async fn secrets_stay_out_of_the_log() {
    let upstream = Upstream::start(vec![reply("403 Forbidden", "x-echo: k-0123456789\r\n", "no")]).await;
    let harness = Harness::new(allowing());
    let mut request = request("/x?mine=k-0123456789");
    request.headers.insert("x-mine", "Key k-0123456789".parse().unwrap());
    let target = target(provider(&upstream.url()), api_key("k-0123456789"));
    harness.send(target, request).await.unwrap();
    let messages = harness.messages.lock().unwrap();
    let message = messages.first().unwrap();
    assert_eq!(message.level, Level::Error);
    let whole = format!("{} {}", message.text, message.fields.as_ref().unwrap().get());
    assert!(
        !whole.contains("0123456789") && whole.matches("REDACTED").count() >= 4,
        "{whole}"
    );
}
