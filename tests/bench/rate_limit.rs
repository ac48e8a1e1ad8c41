//! Ten thousand requests at once for a connection whose provider lets so many through in each window: how much longer than
//! the windows themselves it takes, and how much memory they take while they wait.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use nango_runtime::Runtime;
use nango_runtime::connections::{NewConnection, NewIntegration};
use nango_runtime::model::EnvironmentId;
use nango_runtime::proxy::{Body, ProxyRequest, RetryHeader};
use nango_runtime::runtime::CallOrigin;
use nango_runtime_tests::{Reply, Upstream, embedded};
use serde_json::json;

use crate::Effort;
use crate::report::{Figure, Target};

const REQUESTS: u32 = 10_000;
const PER_WINDOW: u32 = 1_000;
const WINDOW_MS: u64 = 1_000;
/// The windows follow each other; at each change one request goes ahead to see.
const RATIO_MAX: f64 = 2.0;
const KILOBYTES_MAX: f64 = 32.0;

pub async fn measure(_effort: Effort) -> Vec<Figure> {
    let refused = Arc::new(AtomicU32::new(0));
    let upstream = limited(Arc::clone(&refused)).await;
    let folder = tempfile::TempDir::with_prefix("nango-runtime-bench-").expect("a temporary folder can be made");
    let file = folder.path().join("providers.yaml");
    let yaml = format!(
        "limited:\n  display_name: Limited\n  auth_mode: NONE\n  proxy:\n    base_url: {}\n",
        upstream.url()
    );
    std::fs::write(&file, yaml).expect("the provider file can be written");
    let (runtime, _data) = embedded::start(|config| {
        config.providers = vec![file];
        config.egress_allow = vec!["127.0.0.0/8".parse().expect("a network")];
    })
    .await;
    let environment = prepare(&runtime).await;
    // The limit is met, so that the line is there.
    ask(&runtime, &environment).await;

    let before = resident_kilobytes();
    let started = Instant::now();
    let calls: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let (runtime, environment) = (runtime.clone(), environment.clone());
            tokio::spawn(async move { ask(&runtime, &environment).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(WINDOW_MS / 2)).await;
    let waiting = resident_kilobytes().saturating_sub(before);
    for call in calls {
        call.await.expect("a request succeeds");
    }
    let took_ms = started.elapsed().as_secs_f64() * 1_000.0;
    runtime.shutdown().await;
    let ideal_ms = f64::from(REQUESTS / PER_WINDOW) * WINDOW_MS as f64;
    vec![
        Figure {
            name: "10,000 requests in line : windows".to_owned(),
            unit: "x",
            value: took_ms / ideal_ms,
            target: Target::AtMost(RATIO_MAX),
            detail: format!(
                "{took_ms:.0} : {ideal_ms:.0} ms, {} refused by the provider",
                refused.load(Ordering::Relaxed)
            ),
        },
        Figure {
            name: "Memory of a request in line".to_owned(),
            unit: "kB",
            value: waiting as f64 / f64::from(REQUESTS),
            target: Target::AtMost(KILOBYTES_MAX),
            detail: format!("{waiting} kB for {REQUESTS}, with the upstream in the same process"),
        },
    ]
}

/// Tells with each answer how many are left, and for how long.
async fn limited(refused: Arc<AtomicU32>) -> Upstream {
    let window = Duration::from_millis(WINDOW_MS);
    let state = Mutex::new((Instant::now(), 0_u32));
    Upstream::handling(move |_| {
        let mut state = state.lock().expect("no request panics with it");
        if state.0.elapsed() >= window {
            *state = (Instant::now(), 0);
        }
        state.1 += 1;
        let left = PER_WINDOW.checked_sub(state.1);
        let wait_ms = window.saturating_sub(state.0.elapsed()).as_micros().div_ceil(1_000);
        let wait = format!("{}.{:03}", wait_ms / 1_000, wait_ms % 1_000);
        let reply = match left {
            Some(_) => Reply::json(200, &json!({"ok": true})),
            None => {
                refused.fetch_add(1, Ordering::Relaxed);
                Reply::status(429).header("retry-after", &wait)
            }
        };
        reply
            .header("ratelimit-remaining", &left.unwrap_or(0).to_string())
            .header("ratelimit-reset", &wait)
    })
    .await
}

async fn prepare(runtime: &Runtime) -> EnvironmentId {
    let environment = runtime.default_environment().id.clone();
    let integration = NewIntegration {
        unique_key: "bench".into(),
        provider: "limited".into(),
        display_name: None,
        credentials: None,
        custom: Default::default(),
        forward_webhooks: false,
    };
    runtime
        .create_integration(&environment, integration)
        .await
        .expect("the integration can be created");
    let connection = NewConnection {
        provider_config_key: "bench".into(),
        connection_id: Some("conn".into()),
        credentials: json!({"type": "NONE"}),
        connection_config: Default::default(),
        metadata: Default::default(),
        tags: Default::default(),
        end_user: None,
        webhook_url_override: None,
    };
    runtime
        .import_connection(&environment, connection)
        .await
        .expect("the connection can be imported");
    environment
}

async fn ask(runtime: &Runtime, environment: &EnvironmentId) {
    let request = ProxyRequest {
        method: Method::GET,
        endpoint: "/x".into(),
        query: Vec::new(),
        headers: HeaderMap::new(),
        body: Body::Empty,
        retries: 0,
        retry_on: Vec::new(),
        retry_header: RetryHeader::default(),
        base_url_override: None,
        decompress: false,
        forward_headers_on_redirect: None,
        wait_ms_max: None,
        masker: None,
    };
    let answer = runtime
        .proxy(environment, "bench", "conn", request, CallOrigin::default())
        .await
        .unwrap_or_else(|error| panic!("no answer: {error}"));
    let (status, _, _) = answer.collect(1_000).await.expect("the answer is whole");
    assert!(status.is_success(), "{status}");
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells about this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kilobytes.expect("it tells the resident memory")
}
