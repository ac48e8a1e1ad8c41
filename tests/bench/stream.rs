//! A gigabyte down and a gigabyte up through `/proxy`, against nginx with one worker before the same upstream: the time it
//! takes, and the memory.

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use nango_runtime_tests::{Client, TestRuntime};
use serde_json::json;

use crate::report::{Figure, Target};
use crate::{Effort, peer};

/// Ours as a share of nginx's throughput, in either direction.
const TARGET: f64 = 0.5;
/// Resident memory at its highest, over that before.
const GROWTH_MIB_MAX: f64 = 16.0;

pub async fn measure(effort: Effort) -> Vec<Figure> {
    let upstream = peer::bare();
    let provider = format!(
        "upstream:\n  display_name: Upstream\n  auth_mode: NONE\n  proxy:\n    base_url: {}\n",
        upstream.url
    );
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&provider)
        .environment("NANGO_LOG", "warn")
        .start();
    let client = server.client();
    let _ = client.create_integration("bench", "upstream").await.ok();
    let _ = client
        .import_connection("bench", "conn", json!({"type": "NONE"}))
        .await
        .ok();
    let nginx = peer::nginx(server.folder(), &upstream.url);
    let nginx = Client::new(nginx.url(), None);
    let ours = |method: Method, path: &str| client.proxy(method, "bench", "conn", path);
    let theirs = |method: Method, path: &str| nginx.request(method, path);

    // A small one each, so that connections and buffers are there.
    let (_, _) = (
        down(ours(Method::GET, "/stream?bytes=1000000")).await,
        up(ours(Method::POST, "/sink"), 1_000_000).await,
    );
    let before = server.resident_bytes();
    server.forget_peak();
    let path = format!("/stream?bytes={}", effort.stream_bytes);
    let our_down = down(ours(Method::GET, &path)).await;
    let their_down = down(theirs(Method::GET, &path)).await;
    let our_up = up(ours(Method::POST, "/sink"), effort.stream_bytes).await;
    let their_up = up(theirs(Method::POST, "/sink"), effort.stream_bytes).await;
    let growth_kib = server.peak_resident_bytes().saturating_sub(before) >> 10;
    let growth_mib = f64::from(u32::try_from(growth_kib).unwrap_or(u32::MAX)) / 1024.0;
    let share = |name: &str, ours: f64, theirs: f64| Figure {
        name: name.to_owned(),
        unit: "x",
        value: ours / theirs,
        target: Target::AtLeast(TARGET),
        detail: format!("{ours:.0} : {theirs:.0} MB/s of {} MB", effort.stream_bytes / 1_000_000),
    };
    vec![
        share("large download : nginx", our_down, their_down),
        share("large upload : nginx", our_up, their_up),
        Figure {
            name: "memory for large bodies".to_owned(),
            unit: "MiB",
            value: growth_mib,
            target: Target::AtMost(GROWTH_MIB_MAX),
            detail: format!("over {} MiB before", before >> 20),
        },
    ]
}

/// Megabytes a second.
fn rate(bytes: u64, started: Instant) -> f64 {
    let megabytes = f64::from(u32::try_from(bytes / 1_000).unwrap_or(u32::MAX)) / 1_000.0;
    megabytes / started.elapsed().as_secs_f64()
}

async fn down(request: reqwest::RequestBuilder) -> f64 {
    let started = Instant::now();
    let mut response = request.send().await.expect("the upstream answers");
    assert_eq!(response.status(), 200);
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await.expect("the whole body comes") {
        bytes += chunk.len() as u64;
    }
    rate(bytes, started)
}

async fn up(request: reqwest::RequestBuilder, bytes: u64) -> f64 {
    let started = Instant::now();
    let pieces = peer::pieces(bytes).map(Ok::<Bytes, Infallible>);
    let response = request
        .body(reqwest::Body::wrap_stream(stream::iter(pieces)))
        .send()
        .await;
    let response = response.expect("the upstream answers");
    let taken = response.text().await.expect("the upstream says how much");
    assert_eq!(taken, bytes.to_string());
    rate(bytes, started)
}
