//! `POST /action/trigger` of a trivial action against a bare axum handler that returns the same JSON; and, to see what of the difference
//! is the instance, against one that runs the same component with nothing but wasmtime.

use nango_runtime_tests::server::SECRET_KEY;
use nango_runtime_tests::{Server, TestRuntime, guest};
use serde_json::json;

use crate::load::{CONNECTIONS, Load};
use crate::report::{Figure, Target, median};
use crate::{Effort, peer};

/// Ours as a share of the bare handler's throughput.
const TARGET: f64 = 0.7;
/// The same against a handler that runs the component as well, and does nothing else.
const WITH_WASM_MIN: f64 = 0.5;

/// Deploys the action; gives the load that calls it.
pub async fn prepare(server: &Server) -> Load {
    let client = server.client();
    let _ = client.create_integration("bench", "unauthenticated").await.ok();
    let _ = client
        .import_connection("bench", "conn", json!({"type": "NONE"}))
        .await
        .ok();
    let _ = client.deploy("bench", guest::component("noop")).await.ok();
    load(server.base_url(), "/action/trigger")
}

fn load(url: &str, path: &str) -> Load {
    let authorization = format!("Bearer {SECRET_KEY}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("provider-config-key", "bench"),
        ("connection-id", "conn"),
    ];
    Load::new("POST", url, path, &headers, r#"{"action_name":"noop"}"#)
}

pub async fn measure(effort: Effort) -> Vec<Figure> {
    let server = TestRuntime::new().environment("NANGO_LOG", "warn").start();
    let bare = peer::bare();
    let ours = prepare(&server).await;
    let theirs = load(&bare.url, "/action/trigger");
    let with_wasm = load(&bare.url, "/wasm/trigger");
    // Caches fill, connections open.
    for load in [&ours, &theirs, &with_wasm] {
        load.run(CONNECTIONS, effort.round_ms / 4).await;
    }
    let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        a.push(ours.run(CONNECTIONS, effort.round_ms).await.a_second);
        b.push(theirs.run(CONNECTIONS, effort.round_ms).await.a_second);
        c.push(with_wasm.run(CONNECTIONS, effort.round_ms).await.a_second);
    }
    let ratio = |of: &[f64], to: &[f64]| median(of.iter().zip(to).map(|(of, to)| of / to).collect());
    let wasm_to_bare = ratio(&c, &b);
    vec![
        Figure {
            name: "POST /action/trigger : bare axum".to_owned(),
            unit: "x",
            value: ratio(&a, &b),
            target: Target::AtLeast(TARGET),
            detail: format!("{:.0} : {:.0} requests/s", median(a.clone()), median(b)),
        },
        Figure {
            name: "POST /action/trigger : axum with wasmtime".to_owned(),
            unit: "x",
            value: ratio(&a, &c),
            target: Target::AtLeast(WITH_WASM_MIN),
            detail: format!(
                "{:.0} : {:.0} requests/s; no limits, no key, no log, and {wasm_to_bare:.2} x of bare axum itself",
                median(a),
                median(c)
            ),
        },
    ]
}
