//! The clock is set, by days, while everything is under way: what was missed is done once, nothing is done twice, and nothing waits
//! until it is again as late as it was.

use std::time::{Duration, Instant};

use http::Method;
use nango_runtime::clock::Clock;
use nango_runtime_tests::embedded::Timed;
use nango_runtime_tests::{Client, Reply, Upstream, guest};
use serde_json::json;

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, providers};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Of the sync `mirror`, and how long it takes in truth.
const FREQUENCY_MS: i64 = 30_000;
const FREQUENCY: Duration = Duration::from_millis(1_500);
const WAIT: Duration = Duration::from_secs(30);

async fn timed(upstream: &Upstream) -> (Timed, Client) {
    let runtime = Timed::start(Clock::system().now_ms(), &providers(&upstream.url()), |config| {
        // Five minutes, or 15 seconds in truth; and a place for each that waits.
        config.limits.async_retry_wait_ms = 300_000;
    })
    .await;
    let client = runtime.client();
    let _ = client.create_integration(INTEGRATION, "bearer").await.ok();
    let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
    let _ = client
        .import_connection(INTEGRATION, CONNECTION, credentials)
        .await
        .ok();
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    (runtime, client)
}

/// Looks until it is so; fails after half a minute.
async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !so().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn runs(upstream: &Upstream) -> usize {
    let received = upstream.received();
    received.iter().filter(|request| request.target == "/deleted").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_run_once_for_what_they_missed_and_keep_their_grid() {
    let upstream = Upstream::handling(|_| Reply::json(200, &json!([]))).await;
    let (runtime, client) = timed(&upstream).await;
    let sync = json!({"provider_config_key": INTEGRATION, "connection_id": CONNECTION, "syncs": ["mirror"]});
    let _ = client.post("/sync/start", &sync).await.ok();
    let next_ms = async || -> i64 {
        let status = client.sync_status(INTEGRATION, CONNECTION, "mirror").await;
        let next: jiff::Timestamp = status["nextScheduledSyncAt"]
            .as_str()
            .expect("a time")
            .parse()
            .expect("a time");
        next.as_millisecond()
    };
    until("it runs", async || runs(&upstream) == 1).await;
    let first_ms = next_ms().await;

    // Three times forward, and as often back.
    for (by_ms, at_once) in [
        (3 * DAY_MS, 1),
        (-3 * DAY_MS, 0),
        (-3 * DAY_MS, 0),
        (9 * DAY_MS, 1),
        (-6 * DAY_MS, 0),
        (DAY_MS, 1),
    ] {
        // Right after a run, so that the next slot is far.
        let before = runs(&upstream);
        until("it runs by its schedule", async || runs(&upstream) > before).await;
        let (before, slot_ms) = (runs(&upstream), next_ms().await);
        let set_at = Instant::now();
        runtime.set_by_ms(by_ms);
        until("its next run is within its frequency", async || {
            let shifted_ms = next_ms().await - (slot_ms + by_ms);
            shifted_ms.abs() <= 2 * FREQUENCY_MS
        })
        .await;
        until("what it missed is done", async || runs(&upstream) >= before + at_once).await;
        tokio::time::sleep(FREQUENCY / 3).await;
        let ran = runs(&upstream) - before;
        // Besides, the slots that came meanwhile, which are more than one where the machine is slow.
        let slots = 1 + usize::try_from(set_at.elapsed().as_millis() / FREQUENCY.as_millis()).expect("few");
        assert!(
            (at_once..=at_once + slots).contains(&ran),
            "set by {by_ms} ms: ran {ran} times at once, in {slots} slots"
        );
        assert_eq!(
            (next_ms().await - first_ms) % FREQUENCY_MS,
            0,
            "set by {by_ms} ms: it left its grid"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_go_on_and_are_tried_again() {
    let upstream = Upstream::replying([Reply::status(503), Reply::json(200, &json!({}))]).await;
    let (runtime, client) = timed(&upstream).await;
    let start = async |action, input| {
        let accepted = client.trigger_async(INTEGRATION, CONNECTION, action, input, 1).await;
        accepted.ok()["id"].as_str().expect("an id").to_owned()
    };
    let shown = async |id: &str| client.get(&format!("/actions/{id}")).await.ok()["data"].clone();
    // Each is under way when the clock is set; they take 40 seconds, or two in truth.
    for by_ms in [3 * DAY_MS, -3 * DAY_MS] {
        let id = start("rest", json!({"ms": 40_000})).await;
        until("it begins", async || shown(&id).await["state"] == "running").await;
        runtime.set_by_ms(by_ms);
        let ended = client.wait_for_action(&id).await;
        assert_eq!(ended.ok(), json!({"rested": 40_000}), "set by {by_ms} ms");
        assert_eq!(
            shown(&id).await["attempts"],
            1,
            "set by {by_ms} ms: it was taken for dead"
        );
    }
    // It waits for its second attempt.
    let id = start("http-error", json!({"path": "/"})).await;
    until("it waits", async || {
        let shown = shown(&id).await;
        shown["state"] == "queued" && shown["attempts"] == 1
    })
    .await;
    runtime.set_by_ms(-3 * DAY_MS);
    assert_eq!(client.wait_for_action(&id).await.ok(), json!({}));
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_sent_again() {
    let upstream = Upstream::replying([Reply::status(200)]).await;
    // The first asks for an hour, which is three minutes in truth.
    let busy = Reply::status(503).header("retry-after", "3600");
    let application = Upstream::replying([busy.clone(), busy, Reply::status(200)]).await;
    let (runtime, client) = timed(&upstream).await;
    let settings = json!({"primary_url": application.url()});
    let _ = client
        .json(Method::PATCH, "/environment/webhooks", &settings)
        .await
        .ok();
    let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
    let _ = client.import_connection(INTEGRATION, "told", credentials).await.ok();
    let first = async || client.get("/webhooks?limit=1").await.ok()["data"][0].clone();
    for (attempts, by_ms) in [(1, -2 * DAY_MS), (2, 2 * DAY_MS)] {
        until("it is tried", async || first().await["attempts"] == attempts).await;
        runtime.set_by_ms(by_ms);
    }
    until("it is sent", async || first().await["state"] == "delivered").await;
    let received = application.received();
    assert_eq!(received.len(), 3);
    let id = |number: usize| received[number].header("x-nango-webhook-id");
    assert!(id(0) == id(1) && id(1) == id(2), "it is one webhook");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_a_rate_limit_waits_as_long_as_it_was_told() {
    let busy = Reply::status(429).header("retry-after", "20");
    let upstream = Upstream::replying([busy, Reply::json(200, &json!({"ok": true}))]).await;
    let (runtime, client) = timed(&upstream).await;
    for by_ms in [-3 * DAY_MS, 3 * DAY_MS] {
        let call = {
            let client = client.clone();
            let request = client
                .proxy(Method::GET, INTEGRATION, CONNECTION, "/")
                .header("Retries", "1");
            tokio::spawn(nango_runtime_tests::client::send(request))
        };
        until("it waits", async || !upstream.received().is_empty()).await;
        runtime.set_by_ms(by_ms);
        let answer = call.await.expect("it is answered");
        assert_eq!(answer.ok(), json!({"ok": true}), "set by {by_ms} ms");
    }
    assert_eq!(upstream.received().len(), 3);
}
