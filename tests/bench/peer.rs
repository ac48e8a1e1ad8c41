//! The other side of comparisons, each in a process of its own like the server itself: a bare axum server, which also is
//! the upstream of proxies, and nginx.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use crate::executor::Bare;
use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt as _;
use nango_runtime_tests::nginx::Nginx;
use nango_runtime_tests::process::{Process, loopback_url};

/// The argument that makes this program the bare server.
pub const ROLE: &str = "--bare-server";

/// What the trivial action answers.
pub const ANSWER: &str = r#"{"ok":true}"#;
/// What proxies authenticate with. As long as such keys are: a shorter one would not be looked for in what is logged.
pub const KEY: &str = "sk-bench-0123456789abcdef0123456789";
/// Bytes of the body that proxies are asked for.
const BODY_BYTES: usize = 1024;
/// Large bodies are made of such pieces.
const PIECE_BYTES: usize = 64 << 10;

/// Says how many pages of contacts the bare server has.
const PAGES: &str = "BENCH_PAGES";
/// Contacts of a page.
pub const PAGE_CONTACTS: u32 = 1_000;

/// Runs until killed.
pub async fn serve() {
    let pages = std::env::var(PAGES).ok().and_then(|pages| pages.parse().ok());
    let pages: u32 = pages.unwrap_or_default();
    let body: &'static str = "x".repeat(BODY_BYTES).leak();
    let router = Router::new()
        .route(
            "/action/trigger",
            post(|_: axum::body::Bytes| async { ([("content-type", "application/json")], ANSWER) }),
        )
        .route("/wasm/trigger", post(run))
        .route("/contacts", get(move |uri: axum::http::Uri| contacts(uri, pages)))
        .route("/1k", get(move || async move { body }))
        .route("/stream", get(give))
        .route("/sink", post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    println!(
        "http://{}",
        listener.local_addr().expect("a bound socket has an address")
    );
    axum::serve(listener, router).await.expect("the bare server runs");
}

/// A body of this many bytes in pieces.
pub fn pieces(bytes: u64) -> impl Iterator<Item = Bytes> + Send + 'static {
    let piece = Bytes::from(vec![7; PIECE_BYTES]);
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    std::iter::from_fn(move || {
        let length = left.min(piece.len());
        left -= length;
        (length > 0).then(|| piece.slice(..length))
    })
}

/// `?bytes=NUMBER`
async fn give(uri: axum::http::Uri) -> Body {
    let bytes = uri.query().and_then(|query| query.strip_prefix("bytes=")?.parse().ok());
    let pieces = pieces(bytes.unwrap_or_default()).map(Ok::<_, std::convert::Infallible>);
    Body::from_stream(futures_util::stream::iter(pieces))
}

/// Runs the action with nothing but wasmtime.
async fn run(_: Bytes) -> ([(&'static str, &'static str); 1], String) {
    static BARE: LazyLock<Bare> = LazyLock::new(Bare::new);
    ([("content-type", "application/json")], BARE.once())
}

/// A page of a long list, with a link to the next one.
async fn contacts(uri: axum::http::Uri, pages: u32) -> axum::response::Response {
    let page = uri.query().and_then(|query| query.strip_prefix("page=")?.parse().ok());
    let page: u32 = page.unwrap_or_default();
    let mut json = String::with_capacity(PAGE_CONTACTS as usize * CONTACT_BYTES);
    for number in page * PAGE_CONTACTS..(page + 1) * PAGE_CONTACTS {
        json.push(if json.is_empty() { '[' } else { ',' });
        push_contact(number, &mut json);
    }
    json.push(']');
    let mut response = axum::response::Response::builder().header("content-type", "application/json");
    if page + 1 < pages {
        response = response.header("link", format!("</contacts?page={}>; rel=\"next\"", page + 1));
    }
    response.body(json.into()).expect("these are headers")
}

/// What a contact has as JSON, about.
const CONTACT_BYTES: usize = 500;

fn push_contact(number: u32, out: &mut String) {
    let _ = write!(
        out,
        r#"{{"id":"con_{number:09}","name":"Contact Number {number:09}","email":"contact-{number:09}@example.com","phone":"+49 30 {number:09}","company":"Company {:05} of Somewhere","balance":{},"score":{}.5,"active":{},"tags":["customer","newsletter","region-{}"],"address":{{"street":"{} Long Street of a Quarter","city":"City {:04}","country":"DE"}},"notes":"Met at the fair; wants to hear of the new prices as soon as they are known, and \"soon\" means soon.","updated_at":"2026-11-22T11:{:02}:{:02}.000Z"}}"#,
        number % 10_007,
        u64::from(number) * 37 % 1_000_003,
        number % 100,
        number.is_multiple_of(3),
        number % 16,
        number % 500,
        number % 1_000,
        number / 60 % 60,
        number % 60,
    );
}

/// Answers how many bytes came.
async fn take(body: Body) -> String {
    let mut pieces = body.into_data_stream();
    let mut bytes = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        bytes += piece.len();
    }
    bytes.to_string()
}

/// A server of one's own and its URL.
#[derive(Debug)]
pub struct Peer {
    _process: Process,
    pub url: String,
}

/// Starts the bare axum server.
#[must_use]
pub fn bare() -> Peer {
    with_pages(0)
}

/// Starts the bare axum server with so many pages at `/contacts`.
#[must_use]
pub fn with_pages(pages: u32) -> Peer {
    let program = std::env::current_exe().expect("the running program has a path");
    let mut command = Command::new(program);
    command.arg(ROLE).env(PAGES, pages.to_string());
    let process = Process::start("the bare server", &mut command);
    let url = process.wait_for_line(loopback_url);
    Peer { _process: process, url }
}

/// Starts nginx as a proxy in front of `upstream`: a worker for each core, kept connections, one header added, a log.
#[must_use]
pub fn nginx(folder: &Path, upstream: &str) -> Nginx {
    let upstream = upstream.trim_start_matches("http://");
    let workers = std::thread::available_parallelism().expect("the machine has cores");
    Nginx::with_workers(
        folder,
        workers.get(),
        &format!(
            "keepalive_requests 1000000000;\nupstream peer {{ server {upstream}; keepalive 64; \
             keepalive_requests 1000000000; }}"
        ),
        &format!(
            "client_max_body_size 0;\nproxy_buffering off;\nproxy_request_buffering off;\nlocation / {{\nproxy_pass http://peer;\nproxy_http_version 1.1;\nproxy_set_header Connection \"\";\n\
             proxy_set_header Authorization \"Bearer {KEY}\";\n}}"
        ),
    )
}
