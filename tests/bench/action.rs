//! `POST /action/trigger` of a trivial action against a bare axum handler that returns the same JSON.

use nango_runtime_tests::server::SECRET_KEY;
use nango_runtime_tests::{Server, TestRuntime, guest};
use serde_json::json;

use crate::load::{CONNECTIONS, Load};
use crate::report::{Figure, Target, median};
use crate::{Effort, peer};

/// Ours as a share of the bare handler's throughput.
const TARGET: f64 = 0.7;

/// Deploys the action; gives the load that calls it.
pub async fn prepare(server: &Server) -> Load {
    let client = server.client();
    let _ = client.create_integration("bench", "unauthenticated").await.ok();
    let _ = client
        .import_connection("bench", "conn", json!({"type": "NONE"}))
        .await
        .ok();
    let _ = client.deploy("bench", guest::component("noop")).await.ok();
    load(server.base_url())
}

fn load(url: &str) -> Load {
    let authorization = format!("Bearer {SECRET_KEY}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("provider-config-key", "bench"),
        ("connection-id", "conn"),
    ];
    Load::new("POST", url, "/action/trigger", &headers, r#"{"action_name":"noop"}"#)
}

pub async fn measure(effort: Effort) -> Vec<Figure> {
    let server = TestRuntime::new().environment("NANGO_LOG", "warn").start();
    let bare = peer::bare();
    let (ours, theirs) = (prepare(&server).await, load(&bare.url));
    // Caches fill, connections open.
    ours.run(CONNECTIONS, effort.round_ms / 4).await;
    theirs.run(CONNECTIONS, effort.round_ms / 4).await;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        a.push(ours.run(CONNECTIONS, effort.round_ms).await.a_second);
        b.push(theirs.run(CONNECTIONS, effort.round_ms).await.a_second);
    }
    let ratio = median(a.iter().zip(&b).map(|(ours, theirs)| ours / theirs).collect());
    vec![Figure {
        name: "POST /action/trigger : bare axum".to_owned(),
        unit: "x",
        value: ratio,
        target: Target::AtLeast(TARGET),
        detail: format!("{:.0} : {:.0} requests/s", median(a), median(b)),
    }]
}
