//! `GET /proxy/1k` with key check, credential injection and logging against nginx with one worker, before the same upstream.

use nango_runtime_tests::TestRuntime;
use nango_runtime_tests::server::SECRET_KEY;
use serde_json::json;

use crate::load::Load;
use crate::report::{Figure, Target, median};
use crate::{Effort, peer};

/// Ours as a share of nginx's throughput.
const TARGET: f64 = 0.5;

pub async fn measure(effort: Effort) -> Vec<Figure> {
    let upstream = peer::bare();
    let provider = format!(
        "upstream:\n  display_name: Upstream\n  auth_mode: API_KEY\n  proxy:\n    base_url: {}\n    headers:\n      \
         authorization: Bearer ${{apiKey}}\n",
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
        .import_connection("bench", "conn", json!({"type": "API_KEY", "apiKey": "key"}))
        .await
        .ok();
    let nginx = peer::nginx(server.folder(), &upstream.url);

    let authorization = format!("Bearer {SECRET_KEY}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("provider-config-key", "bench"),
        ("connection-id", "conn"),
    ];
    let ours = Load::new("GET", server.base_url(), "/proxy/1k", &headers, "");
    let theirs = Load::new("GET", nginx.url(), "/1k", &headers, "");
    ours.run(effort.round_ms / 4).await;
    theirs.run(effort.round_ms / 4).await;
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        a.push(ours.run(effort.round_ms).await);
        b.push(theirs.run(effort.round_ms).await);
    }
    let ratio = median(a.iter().zip(&b).map(|(ours, theirs)| ours / theirs).collect());
    vec![Figure {
        name: "GET /proxy of 1 KB : nginx",
        unit: "x",
        value: ratio,
        target: Target::AtLeast(TARGET),
        detail: format!("{:.0} : {:.0} requests/s", median(a), median(b)),
    }]
}
