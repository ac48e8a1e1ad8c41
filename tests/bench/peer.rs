//! The other side of comparisons, each in a process of its own like the server itself: a bare axum server, which also is
//! the upstream of proxies, and nginx.

use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::routing::{get, post};
use nango_runtime_tests::process::{Process, loopback_url};
use nango_runtime_tests::repository;

/// The argument that makes this program the bare server.
pub const ROLE: &str = "--bare-server";

/// What the trivial action answers.
pub const ANSWER: &str = r#"{"ok":true}"#;
/// Bytes of the body that proxies are asked for.
const BODY_BYTES: usize = 1024;

/// Runs until killed.
pub async fn serve() {
    let body: &'static str = "x".repeat(BODY_BYTES).leak();
    let router = Router::new()
        .route(
            "/action/trigger",
            post(|_: axum::body::Bytes| async { ([("content-type", "application/json")], ANSWER) }),
        )
        .route("/1k", get(move || async move { body }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    println!(
        "http://{}",
        listener.local_addr().expect("a bound socket has an address")
    );
    axum::serve(listener, router).await.expect("the bare server runs");
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
    let program = std::env::current_exe().expect("the running program has a path");
    let process = Process::start("the bare server", Command::new(program).arg(ROLE));
    let url = process.wait_for_line(loopback_url);
    Peer { _process: process, url }
}

/// Starts nginx as a proxy in front of `upstream`: a worker for each core, kept connections, one header added, a log.
#[must_use]
pub fn nginx(folder: &Path, upstream: &str) -> Peer {
    let program = repository::require(repository::cache().join("nginx/usr/sbin/nginx"), "nginx");
    // nginx takes no port 0; this one was free a moment ago.
    let port = nango_runtime_tests::upstream::closed_port();
    let at = folder.display();
    let workers = std::thread::available_parallelism().expect("the machine has cores");
    let upstream = upstream.trim_start_matches("http://");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .collect();
    let configuration = format!(
        "daemon off;\nworker_processes {workers};\npid {at}/nginx.pid;\nerror_log stderr notice;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n{temporary}access_log {at}/access.log;\nkeepalive_requests 1000000000;\n\
         upstream peer {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{\nlisten 127.0.0.1:{port};\nlocation / {{\nproxy_pass http://peer;\nproxy_http_version 1.1;\n\
         proxy_set_header Connection \"\";\nproxy_set_header Authorization \"Bearer key\";\n}}\n}}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration).expect("the configuration can be written");
    let mut command = Command::new(program);
    command
        .arg("-e")
        .arg("stderr")
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&file);
    let process = Process::start("nginx", &mut command);
    process.wait_for_line(|line| line.contains("start worker process").then_some(()));
    Peer {
        _process: process,
        url: format!("http://127.0.0.1:{port}"),
    }
}
