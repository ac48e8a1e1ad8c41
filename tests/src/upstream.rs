//! An upstream whose answers a test scripts and whose requests it can look at.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::told;

/// Bodies are kept whole; no test sends more.
const BODY_BYTES_MAX: usize = 64 << 20;

/// A server on a free port of 127.0.0.1. Dropping it stops it.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    script: Arc<Script>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Script {
    received: Mutex<Vec<Received>>,
    /// Answered in order; the last one again and again.
    replies: Mutex<VecDeque<Reply>>,
    handler: Option<Handler>,
}

type Handler = Box<dyn Fn(&Received) -> Reply + Send + Sync>;

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script")
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    /// Path and query, byte for byte.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    /// The value of a header, empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// An answer to give.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    delay: Duration,
    /// Sent as an endless or long body of this many chunks of `body`.
    repeat: usize,
}

impl Reply {
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            delay: Duration::ZERO,
            repeat: 1,
        }
    }

    #[must_use]
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        // Of token endpoints.
        told::heard(body);
        Self::status(status)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Waits before it answers.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Streams the body `times` over, without a length.
    #[must_use]
    pub fn repeat(mut self, times: usize) -> Self {
        self.repeat = times;
        self
    }
}

impl Upstream {
    /// Gives these answers in order, and the last one ever after.
    pub async fn replying(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::start(Script {
            replies: Mutex::new(replies.into_iter().collect()),
            ..Script::default()
        })
        .await
    }

    /// Answers as `handler` says.
    pub async fn handling(handler: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Script {
            handler: Some(Box::new(handler)),
            ..Script::default()
        })
        .await
    }

    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let script = Arc::new(script);
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&script));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { address, script, task }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.script.received).clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(script): State<Arc<Script>>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let target = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let received = Received {
        method: head.method,
        target,
        headers: head.headers,
        body,
    };
    let reply = script.reply(&received);
    lock(&script.received).push(received);
    tokio::time::sleep(reply.delay).await;
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = if reply.repeat == 1 {
        Body::from(reply.body)
    } else {
        let chunks = std::iter::repeat_n(reply.body, reply.repeat).map(Ok::<_, Infallible>);
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    response.body(body).expect("a scripted answer is well-formed")
}

impl Script {
    fn reply(&self, received: &Received) -> Reply {
        if let Some(handler) = &self.handler {
            return handler(received);
        }
        let mut replies = lock(&self.replies);
        let last = replies.len() <= 1;
        let next = if last {
            replies.front().cloned()
        } else {
            replies.pop_front()
        };
        next.unwrap_or_else(|| Reply::status(500).body("this upstream has no script"))
    }
}

// A std mutex: held for a push or a pop and never across an await.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A port of loopback on which nobody listens. It was free a moment ago and nothing here binds fixed ports.
///
/// # Panics
///
/// When no port is free.
#[must_use]
pub fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A server that resets every connection after it has read the request.
pub async fn resetting() -> String {
    use tokio::io::AsyncReadExt as _;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a bound socket has an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 1024]).await;
            // Closing with zero linger sends RST instead of FIN.
            let _ = socket.set_zero_linger();
        }
    });
    format!("http://{address}")
}
