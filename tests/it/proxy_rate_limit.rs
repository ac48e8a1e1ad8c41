//! One rate limit and all who share it: REST callers, actions and syncs of one connection against upstreams that really limit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Client, Reply, TestRuntime, Upstream};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared, with_guest, with_upstream};

/// So many requests in each window, then 429 with `Retry-After` until it is over.
struct Limit {
    per_window: usize,
    window: Duration,
    /// Says with each answer how many are left, and for how long.
    tells: bool,
    state: Mutex<(Instant, usize)>,
    /// Targets of the requests that were let through, in order.
    passed: Mutex<Vec<String>>,
    refused: AtomicUsize,
}

impl Limit {
    fn new(per_window: usize, window_ms: u64, tells: bool) -> Arc<Self> {
        Arc::new(Self {
            per_window,
            window: Duration::from_millis(window_ms),
            tells,
            state: Mutex::new((Instant::now(), 0)),
            passed: Mutex::default(),
            refused: AtomicUsize::new(0),
        })
    }

    fn answer(&self, request: &Received, body: Value) -> Reply {
        let mut state = self.state.lock().expect("no test panics with it");
        if state.0.elapsed() >= self.window {
            *state = (Instant::now(), 0);
        }
        state.1 += 1;
        let left = self.per_window.checked_sub(state.1);
        // To the millisecond and rounded up: decimals are common, and tests are quicker for it.
        let wait_ms = self
            .window
            .saturating_sub(state.0.elapsed())
            .as_micros()
            .div_ceil(1_000);
        let wait = format!("{}.{:03}", wait_ms / 1_000, wait_ms % 1_000);
        let reply = match left {
            Some(_) => {
                self.passed
                    .lock()
                    .expect("no test panics with it")
                    .push(request.target.clone());
                Reply::json(200, &body)
            }
            None => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Reply::json(429, &json!({"message": "slow down"})).header("retry-after", &wait)
            }
        };
        if self.tells {
            let left = left.unwrap_or(0).to_string();
            reply
                .header("ratelimit-remaining", &left)
                .header("ratelimit-reset", &wait)
        } else {
            reply
        }
    }

    fn passed(&self) -> Vec<String> {
        self.passed.lock().expect("no test panics with it").clone()
    }

    fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

/// An upstream under that limit; `/items/N` is a page of ten items with a link to the next until the last.
async fn limited(limit: &Arc<Limit>, pages: usize) -> Upstream {
    let limit = Arc::clone(limit);
    Upstream::handling(move |request| {
        let page = request
            .target
            .strip_prefix("/items/")
            .and_then(|page| page.parse::<usize>().ok());
        match page {
            Some(page) => {
                let items: Vec<Value> = (0..10)
                    .map(|item| json!({"id": format!("{page}-{item}"), "value": 1}))
                    .collect();
                let reply = limit.answer(request, json!(items));
                if page + 1 < pages {
                    reply.header("link", &format!("</items/{}>; rel=\"next\"", page + 1))
                } else {
                    reply
                }
            }
            None => limit.answer(request, json!({"ok": true})),
        }
    })
    .await
}

/// `count` REST calls to `/call/N`, begun one right after the other; all must succeed.
async fn calls(client: &Client, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let mut tasks = Vec::new();
    for number in 0..count {
        let client = client.clone();
        tasks.push(tokio::spawn(async move {
            let answer = client
                .proxy_get(INTEGRATION, CONNECTION, &format!("/call/{number}"))
                .await;
            assert_eq!(answer.status, 200, "call {number}: {}", answer.text());
        }));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tasks
}

async fn join(tasks: Vec<tokio::task::JoinHandle<()>>) {
    for task in tasks {
        task.await.expect("a call succeeds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_calls_and_a_sync_share_a_limit_that_the_provider_tells() {
    let limit = Limit::new(10, 500, true);
    let upstream = limited(&limit, 20).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    // The first answer tells how many are left.
    join(calls(&client, 1).await).await;
    let _ = client
        .set_metadata(INTEGRATION, CONNECTION, json!({"path": "/items/0"}))
        .await
        .ok();
    let rest = tokio::spawn({
        let client = client.clone();
        async move { join(calls(&client, 40).await).await }
    });
    let status = client.run_sync(INTEGRATION, CONNECTION, "pages").await;
    rest.await.expect("all calls succeed");
    assert_eq!(status["latestExecutionStatus"], "SUCCESS", "{status}");
    assert_eq!(status["recordCount"]["Item"], 200, "{status}");
    assert_eq!(limit.passed().len(), 61);
    assert!(limit.refused() <= 2, "{} refused", limit.refused());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_only_refuses_is_learned() {
    let limit = Limit::new(10, 500, false);
    let upstream = limited(&limit, 20).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let _ = client
        .set_metadata(INTEGRATION, CONNECTION, json!({"path": "/items/0"}))
        .await
        .ok();
    // Nobody can know before the first refusal: this burst meets it.
    join(calls(&client, 14).await).await;
    let met = limit.refused();
    assert!(met >= 1, "the burst was larger than the limit");
    let rest = tokio::spawn({
        let client = client.clone();
        async move { join(calls(&client, 60).await).await }
    });
    let status = client.run_sync(INTEGRATION, CONNECTION, "pages").await;
    rest.await.expect("all calls succeed");
    assert_eq!(status["latestExecutionStatus"], "SUCCESS", "{status}");
    let refused = limit.refused() - met;
    assert!(
        refused <= 12,
        "{refused} of 80 requests were refused after the limit was met"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_kept() {
    let limit = Limit::new(5, 250, true);
    let upstream = limited(&limit, 0).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    join(calls(&client, 1).await).await;
    join(calls(&client, 40).await).await;
    let order: Vec<usize> = limit.passed()[1..]
        .iter()
        .map(|target| target.trim_start_matches("/call/").parse().expect("a number"))
        .collect();
    // Those of one window are under way together.
    for (place, number) in order.iter().enumerate() {
        assert!(number.abs_diff(place) < 5, "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_not_starved_by_a_run_with_many_requests() {
    let limit = Limit::new(5, 500, true);
    let upstream = limited(&limit, 0).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    join(calls(&client, 1).await).await;
    let many = tokio::spawn({
        let client = client.clone();
        async move {
            let paths: Vec<String> = (0..50).map(|number| format!("/many/{number}")).collect();
            let input = json!({"paths": paths, "max_in_flight": 16});
            client
                .trigger_action(INTEGRATION, CONNECTION, "fetch-many", input)
                .await
                .ok()
        }
    });
    while limit.passed().len() < 8 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = limit.passed().len();
    let fetched = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", json!({"path": "/single"}))
        .await
        .ok();
    assert_eq!(fetched["status"], 200, "{fetched}");
    let passed = limit.passed();
    let place = passed
        .iter()
        .position(|target| target == "/single")
        .expect("it went through");
    // At most a window that was full already, and the probe and one other turn of the next.
    assert!(place <= before + 8, "{place} after {before}: {passed:?}");
    assert!(passed.len() < 45, "the many were not through yet");
    assert_eq!(many.await.expect("the action ends"), json!(vec![200; 50]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_wait_too_long_gets_a_429_at_once_and_the_provider_is_left_alone() {
    let upstream = Upstream::replying([Reply::json(429, &json!({"mine": true})).header("retry-after", "3600")]).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let first = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert_eq!(
        (first.status, first.json()),
        (429, json!({"mine": true})),
        "the provider's own answer"
    );
    let second = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert_eq!(
        (second.status, second.error_code()),
        (429, "rate_limited".into()),
        "{}",
        second.text()
    );
    assert!(
        second.text().contains("limits.proxy_retry_wait_ms"),
        "{}",
        second.text()
    );
    let retry_after: u64 = second
        .header("retry-after")
        .expect("it says when")
        .parse()
        .expect("seconds");
    assert!((3_590..=3_600).contains(&retry_after), "{retry_after}");
    let refused = client
        .trigger_action(INTEGRATION, CONNECTION, "http-error", json!({"path": "/x"}))
        .await;
    assert!(refused.text().contains("rate limit holds"), "{}", refused.text());
    assert_eq!(upstream.received().len(), 1);
    let logs = client.logs().await;
    assert!(logs.contains("Not sent: the provider's rate limit holds"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_connection_is_not_held_up_unless_the_limit_is_the_integrations() {
    for (scope, shared) in [("connection", false), ("integration", true)] {
        let upstream = Upstream::handling(|request| {
            if request.target == "/limited" {
                Reply::status(429).header("retry-after", "3600")
            } else {
                Reply::status(204)
            }
        })
        .await;
        let yaml = format!(
            "scoped:\n  display_name: Scoped\n  auth_mode: NONE\n  proxy:\n    base_url: {}\n    rate_limit:\n      scope: {scope}\n",
            upstream.url()
        );
        let server = TestRuntime::new().egress_loopback().provider_yaml(&yaml).start();
        let client = server.client();
        let _ = client.create_integration("scoped", "scoped").await.ok();
        for connection in ["one", "two"] {
            let _ = client
                .import_connection("scoped", connection, json!({"type": "NONE"}))
                .await
                .ok();
        }
        assert_eq!(client.proxy_get("scoped", "one", "/limited").await.status, 429);
        assert_eq!(client.proxy_get("scoped", "one", "/x").await.status, 429);
        let other = client.proxy_get("scoped", "two", "/x").await;
        assert_eq!(other.status == 429, shared, "{scope}: {}", other.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_has_a_limit_that_is_a_setting() {
    let upstream = Upstream::handling(|_| Reply::status(429).header("retry-after", "30")).await;
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_LIMITS_PROXY_RATE_LIMIT_QUEUE", "1");
    let (_server, client) = prepared(runtime, &upstream.url()).await;
    // The first is refused and waits in line.
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.proxy_get(INTEGRATION, CONNECTION, "/x").await }
    });
    let queued = || async { metric(&client, "nango_rate_limit_queue_length").await };
    while queued().await != Some(1.0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let full = client.proxy_get(INTEGRATION, CONNECTION, "/x").await;
    assert_eq!((full.status, full.error_code()), (429, "rate_limit_queue_full".into()));
    assert_eq!(full.header("retry-after"), Some("30"));
    assert!(full.text().contains("limits.proxy_rate_limit_queue"), "{}", full.text());
    // A caller who goes away leaves the line.
    waits.abort();
    let _ = waits.await;
    while queued().await != Some(0.0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_are_written_down_and_counted() {
    let limit = Limit::new(2, 300, false);
    let upstream = limited(&limit, 0).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    join(calls(&client, 6).await).await;
    let noop = client
        .trigger_action(INTEGRATION, CONNECTION, "noop", Value::Null)
        .await;
    assert_eq!(noop.status, 200, "{}", noop.text());
    let logs = client.logs().await;
    let line = r#"in line for the rate limit of connection \"conn-1\" (position 1)"#;
    assert!(logs.contains(line), "{logs}");
    assert!(metric(&client, "nango_proxy_requests_total{outcome=\"2xx\"}").await >= Some(6.0));
    assert!(metric(&client, "nango_proxy_retries_total{reason=\"retry_after\"}").await >= Some(1.0));
    assert!(metric(&client, "nango_rate_limit_wait_seconds_count").await >= Some(1.0));
    assert!(metric(&client, "nango_rate_limit_wait_seconds_sum").await > Some(0.0));
    assert_eq!(metric(&client, "nango_rate_limit_queue_length").await, Some(0.0));
    assert_eq!(metric(&client, "nango_log_entries_dropped_total").await, Some(0.0));
    assert_eq!(
        metric(&client, "nango_runs_total{kind=\"action\",outcome=\"success\"}").await,
        Some(1.0)
    );
}

#[tokio::test]
async fn metrics_ask_for_a_key() {
    let server = TestRuntime::new().start();
    let answer = server.client().get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(
        answer.text().contains("# TYPE nango_log_entries_dropped_total counter"),
        "{}",
        answer.text()
    );
    let denied = server.client().with_key(None).get("/metrics").await;
    assert_eq!(
        (denied.status, denied.error_code()),
        (401, "missing_auth_header".into())
    );
}

async fn metric(client: &Client, name: &str) -> Option<f64> {
    let text = client.get("/metrics").await.text();
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_says_which_header_tells_the_wait() {
    let busy = |name: &str| Reply::status(503).header(name, "0").header("x-wait", "0");
    let upstream = Upstream::replying([
        busy("x-other"),
        Reply::json(200, &json!({"ok": true})),
        busy("x-other"),
        Reply::json(200, &json!({"ok": true})),
    ])
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let started = Instant::now();
    let request = client
        .proxy(Method::GET, INTEGRATION, CONNECTION, "/x")
        .header("Retries", "1")
        .header("Retry-Header-After", "X-Wait");
    assert_eq!(send(request).await.ok(), json!({"ok": true}));
    let input = json!({"path": "/x", "retries": 1, "retry_header_after": ["x-wait"]});
    let fetched = client
        .trigger_action(INTEGRATION, CONNECTION, "fetch", input)
        .await
        .ok();
    assert_eq!(fetched["status"], 200, "{fetched}");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "without the header the backoff would be 3 s"
    );
    assert_eq!(upstream.received().len(), 4);
    let logs = client.logs().await;
    assert!(logs.contains("trying again in 0 ms (custom_after)"), "{logs}");
    let request = client
        .proxy(Method::GET, INTEGRATION, CONNECTION, "/x")
        .header("Retry-Header-At", "no name");
    assert_eq!(send(request).await.error_code(), "invalid_headers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_told_in_the_body_is_kept_and_the_body_passed_on_as_it_is() {
    // White space and order would not survive parsing.
    let too_long = r#"{ "error" :  {"z":1, "message":"Limit. Retry after 2099-01-01T00:00:00Z."}}"#;
    let upstream = Upstream::replying([
        Reply::status(429).body(r#"{"error":{"message":"Limit. Retry after 0.2 s."}}"#),
        Reply::json(200, &json!({"ok": true})),
        Reply::status(429).body(too_long),
    ])
    .await;
    let provider = |name: &str, strategy: &str| {
        format!(
            "{name}:\n  display_name: X\n  auth_mode: NONE\n  proxy:\n    base_url: {}\n    retry:\n      in_body:\n        \
             path: error.message\n        value: '/Retry after ([^ ]+?)(?: s)?\\.$/'\n        strategy: {strategy}\n",
            upstream.url()
        )
    };
    let yaml = provider("waits", "after") + &provider("dates", "at");
    let server = TestRuntime::new().egress_loopback().provider_yaml(&yaml).start();
    let client = server.client();
    for name in ["waits", "dates"] {
        let _ = client.create_integration(name, name).await.ok();
        let _ = client
            .import_connection(name, CONNECTION, json!({"type": "NONE"}))
            .await
            .ok();
    }
    assert_eq!(
        client.proxy_get("waits", CONNECTION, "/x").await.ok(),
        json!({"ok": true})
    );
    let answer = client.proxy_get("dates", CONNECTION, "/x").await;
    assert_eq!((answer.status, answer.text().as_str()), (429, too_long));
    assert_eq!(upstream.received().len(), 3);
    let logs = client.logs().await;
    assert!(logs.contains("trying again in 200 ms (provider_body_after)"), "{logs}");
    assert!(!logs.contains(API_KEY));
}
