//! `GET /proxy/1k` with key check, credential injection and logging against nginx with a worker for each core, before the same
//! upstream, at few and at many connections. What a proxy adds to the latency is what it takes longer than the upstream asked
//! directly.

use nango_runtime_tests::TestRuntime;
use nango_runtime_tests::server::SECRET_KEY;
use serde_json::json;

use crate::load::{Answers, Load};
use crate::report::{Figure, Target, median};
use crate::{Effort, peer};

const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Ours as a share of nginx's throughput.
const THROUGHPUT_MIN: f64 = 0.8;
/// What we add to the 99th percentile of latencies as a multiple of what nginx adds.
const ADDED_P99_MAX: f64 = 2.0;

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
        .import_connection("bench", "conn", json!({"type": "API_KEY", "apiKey": peer::KEY}))
        .await
        .ok();
    let nginx = peer::nginx(server.folder(), &upstream.url);

    let authorization = format!("Bearer {SECRET_KEY}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("provider-config-key", "bench"),
        ("connection-id", "conn"),
    ];
    let load = |url: &str, path: &str| Load::new("GET", url, path, &headers, "");
    let sides = Sides {
        direct: load(&upstream.url, "/1k"),
        nginx: load(nginx.url(), "/1k"),
        ours: load(server.base_url(), "/proxy/1k"),
    };
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        // Caches fill, connections open.
        sides.round(connections, effort.round_ms / 4).await;
        let mut rounds = Vec::new();
        for _ in 0..effort.rounds {
            rounds.push(sides.round(connections, effort.round_ms).await);
        }
        figures.extend(figures_of(connections, &rounds));
    }
    figures
}

/// The same question, asked in three ways.
struct Sides {
    direct: Load,
    nginx: Load,
    ours: Load,
}

struct Round {
    direct: Answers,
    nginx: Answers,
    ours: Answers,
}

impl Sides {
    async fn round(&self, connections: usize, duration_ms: u64) -> Round {
        Round {
            direct: self.direct.run(connections, duration_ms).await,
            nginx: self.nginx.run(connections, duration_ms).await,
            ours: self.ours.run(connections, duration_ms).await,
        }
    }
}

fn figures_of(connections: usize, rounds: &[Round]) -> [Figure; 2] {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let (ours_a_second, nginx_a_second) = (of(|it| it.ours.a_second), of(|it| it.nginx.a_second));
    // Differences of medians, not medians of differences: a single round's 99th percentile jumps.
    let ours_added_us = of(|it| it.ours.p99_us) - of(|it| it.direct.p99_us);
    let nginx_added_us = of(|it| it.nginx.p99_us) - of(|it| it.direct.p99_us);
    let name = |what| format!("GET /proxy, {connections} connections: {what}");
    [
        Figure {
            name: name("throughput : nginx"),
            unit: "x",
            value: of(|it| it.ours.a_second / it.nginx.a_second),
            target: Target::AtLeast(THROUGHPUT_MIN),
            detail: format!("{ours_a_second:.0} : {nginx_a_second:.0} requests/s"),
        },
        Figure {
            name: name("added p99 : nginx"),
            unit: "x",
            // Where nginx adds nothing that can be measured, a microsecond stands for it.
            value: ours_added_us / nginx_added_us.max(1.0),
            target: Target::AtMost(ADDED_P99_MAX),
            detail: format!(
                "{ours_added_us:.0} : {nginx_added_us:.0} us; p50/p99 direct {:.0}/{:.0}, nginx {:.0}/{:.0}, ours {:.0}/{:.0} us",
                of(|it| it.direct.p50_us),
                of(|it| it.direct.p99_us),
                of(|it| it.nginx.p50_us),
                of(|it| it.nginx.p99_us),
                of(|it| it.ours.p50_us),
                of(|it| it.ours.p99_us),
            ),
        },
    ]
}
