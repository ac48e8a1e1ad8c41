//! Many callers and one limit, on a clock moved by hand.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::limiter::{Entry, Limiter, Pass, Refusal};
use super::{RateLimits, Sent};
use crate::clock::{Clock, ManualClock};
use crate::metrics::Metrics;
use crate::model::{ExecutionContext, RunId};
use crate::provider::RateLimitScope;
use crate::proxy::testing::{bearer, options, provider, target};
use crate::proxy::{ProxyError, ProxyOptions};
use http::{HeaderMap, HeaderName, StatusCode};

const NOW_MS: i64 = 1_800_000_000_000;
const BUDGET_MS: u64 = 60_000;

fn limiter(queue_max: usize) -> (Arc<Limiter>, Clock, ManualClock) {
    let (clock, manual) = Clock::manual(NOW_MS);
    let limiter = Limiter::new("it".into(), clock.clone(), queue_max, BUDGET_MS, Metrics::new(|| 0));
    (Arc::new(limiter), clock, manual)
}

async fn through(limiter: &Arc<Limiter>, lane: Option<RunId>, arrival: u64, budget_ms: u64) -> Result<Pass, Refusal> {
    match limiter.enter(lane, arrival, budget_ms)? {
        Entry::Passed(pass) => Ok(pass),
        Entry::Waiting(waiting) => waiting.turn().await.0,
    }
}

/// Lets all tasks go as far as they can.
async fn settle() {
    // Between two looks at this task, the runtime lets some dozens of others go on.
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

/// A provider that lets `per_window` requests through in each window, and counts what it refused.
struct Provider {
    clock: Clock,
    per_window: u64,
    window_ms: i64,
    state: Mutex<(i64, u64)>,
    refused: AtomicU64,
}

impl Provider {
    fn new(clock: Clock, per_window: u64, window_ms: i64) -> Self {
        Self {
            clock,
            per_window,
            window_ms,
            state: Mutex::new((0, 0)),
            refused: AtomicU64::new(0),
        }
    }

    /// The milliseconds to wait for one that is refused.
    fn ask(&self) -> Result<(), u64> {
        let now_ms = self.clock.now_ms();
        let window = now_ms / self.window_ms;
        let mut state = self.state.lock().unwrap();
        if state.0 != window {
            *state = (window, 0);
        }
        state.1 += 1;
        if state.1 <= self.per_window {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(u64::try_from((window + 1) * self.window_ms - now_ms).unwrap())
    }
}

/// Asks until it is let through; gives whether it was.
async fn call(limiter: Arc<Limiter>, provider: Arc<Provider>, lane: Option<RunId>, arrival: u64) -> bool {
    for _ in 0..5 {
        let Ok(pass) = through(&limiter, lane.clone(), arrival, BUDGET_MS).await else {
            return false;
        };
        // As long as a request takes: others go meanwhile.
        tokio::task::yield_now().await;
        match provider.ask() {
            Ok(()) => {
                limiter.passed(pass.sent, None);
                return true;
            }
            Err(wait_ms) => {
                limiter.refused(pass.sent, Some(wait_ms), None);
            }
        }
    }
    false
}

#[tokio::test]
async fn a_thousand_callers_get_through_with_hardly_a_refusal() {
    let (limiter, clock, manual) = limiter(10_000);
    let provider = Arc::new(Provider::new(clock, 50, 1_000));
    // Closed, as after the first refusal.
    limiter.refused(Sent::default(), Some(1_000), None);
    let calls: Vec<_> = (0..1_000)
        .map(|arrival| tokio::spawn(call(limiter.clone(), provider.clone(), None, arrival)))
        .collect();
    for _ in 0..1_200 {
        settle().await;
        if calls.iter().all(tokio::task::JoinHandle::is_finished) {
            break;
        }
        manual.advance_ms(50);
    }
    for call in calls {
        assert!(call.await.unwrap());
    }
    let refused = provider.refused.load(Ordering::Relaxed);
    assert!(refused <= 50, "{refused} of 1000 were refused");
    assert_eq!(limiter.queued(), 0);
}

#[tokio::test]
async fn ten_thousand_wait_in_order_and_in_bounded_memory() {
    const CALLS: usize = 10_000;
    let (limiter, clock, manual) = limiter(CALLS);
    let provider = Arc::new(Provider::new(clock, 500, 100));
    limiter.refused(Sent::default(), Some(100), None);
    let order = Arc::new(Mutex::new(Vec::new()));
    let calls: Vec<_> = (0..CALLS as u64)
        .map(|arrival| {
            let (limiter, provider, order) = (limiter.clone(), provider.clone(), order.clone());
            tokio::spawn(async move {
                let is_through = call(limiter, provider, None, arrival).await;
                order.lock().unwrap().push(arrival);
                is_through
            })
        })
        .collect();
    settle().await;
    assert_eq!(limiter.queued(), CALLS);
    assert_eq!(
        limiter.enter(None, 10_001, BUDGET_MS).err(),
        Some(Refusal::QueueFull {
            queue_max: CALLS,
            wait_ms: 100
        })
    );
    while !calls.iter().all(tokio::task::JoinHandle::is_finished) {
        settle().await;
        manual.advance_ms(50);
    }
    for call in calls {
        assert!(call.await.unwrap());
    }
    let order = order.lock().unwrap();
    // Those of one window are under way together and may overtake each other; who is refused goes first in the next.
    let displaced = order
        .iter()
        .enumerate()
        .map(|(place, arrival)| arrival.abs_diff(place as u64))
        .max();
    assert!(displaced.unwrap() < 1_000, "{displaced:?}");
    assert_eq!(limiter.queued(), 0);
}

#[tokio::test]
async fn a_run_with_hundreds_of_requests_does_not_starve_another() {
    let (limiter, clock, manual) = limiter(1_000);
    limiter.refused(Sent::default(), Some(1_000), None);
    let done = Arc::new(Mutex::new(Vec::new()));
    let ask = |lane: Option<RunId>, arrival, name: &'static str| {
        let (limiter, done) = (limiter.clone(), done.clone());
        tokio::spawn(async move {
            let pass = through(&limiter, lane, arrival, BUDGET_MS).await.unwrap();
            limiter.passed(pass.sent, None);
            done.lock().unwrap().push(name);
        })
    };
    let run = |name: &str| Some(RunId::from(name));
    for arrival in 0..500 {
        ask(run("run_sync"), arrival, "sync");
    }
    settle().await;
    ask(run("run_action"), 500, "action");
    ask(None, 501, "rest");
    settle().await;
    manual.advance_ms(1_000);
    while done.lock().unwrap().len() < 502 {
        settle().await;
    }
    let done = done.lock().unwrap();
    let place = |name| done.iter().position(|other| *other == name).unwrap();
    assert!(place("action") <= 4 && place("rest") <= 5, "{:?}", &done[..8]);
    assert!(clock.now_ms() == NOW_MS + 1_000);
}

#[tokio::test]
async fn who_would_wait_too_long_is_told_at_once() {
    let (limiter, _clock, manual) = limiter(10);
    limiter.refused(Sent::default(), Some(5_000), None);
    assert_eq!(
        limiter.enter(None, 1, 4_999).err(),
        Some(Refusal::TooLong { wait_ms: 5_000 })
    );
    assert_eq!(
        limiter.enter(None, 2, 0).err(),
        Some(Refusal::TooLong { wait_ms: 5_000 })
    );
    let exact = tokio::spawn({
        let limiter = limiter.clone();
        async move { through(&limiter, None, 3, 5_000).await.is_ok() }
    });
    let other = tokio::spawn({
        let limiter = limiter.clone();
        async move { through(&limiter, None, 4, 6_000).await.err() }
    });
    let patient = tokio::spawn({
        let limiter = limiter.clone();
        async move {
            let pass = through(&limiter, None, 5, 60_000).await;
            pass.is_ok()
        }
    });
    settle().await;
    assert_eq!(limiter.queued(), 3);
    manual.advance_ms(5_000);
    assert!(exact.await.unwrap(), "the wait is as long as the budget");
    assert!(patient.await.unwrap());
    assert_eq!(other.await.unwrap(), None);
    assert_eq!(limiter.queued(), 0);
}

#[tokio::test]
async fn those_in_line_leave_when_the_line_stops_for_longer_than_they_can_wait() {
    let (limiter, _clock, manual) = limiter(10);
    limiter.refused(Sent::default(), Some(1_000), None);
    let wait = |arrival, budget_ms| {
        let limiter = limiter.clone();
        tokio::spawn(async move { through(&limiter, None, arrival, budget_ms).await })
    };
    let (probe, short, long) = (wait(1, 2_000), wait(2, 5_000), wait(3, 60_000));
    settle().await;
    manual.advance_ms(1_000);
    let probe = probe.await.unwrap().unwrap();
    limiter.refused(probe.sent, Some(20_000), None);
    drop(probe);
    assert_eq!(short.await.unwrap().err(), Some(Refusal::TooLong { wait_ms: 20_000 }));
    assert_eq!(limiter.queued(), 1);
    manual.advance_ms(20_000);
    assert!(long.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_cancelled_caller_leaves_the_line_and_a_lost_pass_makes_room() {
    let (limiter, _clock, manual) = limiter(10);
    limiter.refused(Sent::default(), Some(1_000), None);
    let wait = |arrival| {
        let limiter = limiter.clone();
        tokio::spawn(async move { through(&limiter, None, arrival, BUDGET_MS).await })
    };
    let (first, second, third) = (wait(1), wait(2), wait(3));
    settle().await;
    assert_eq!(limiter.queued(), 3);
    second.abort();
    settle().await;
    assert_eq!(limiter.queued(), 2);
    manual.advance_ms(1_000);
    let probe = first.await.unwrap().unwrap();
    settle().await;
    assert!(!third.is_finished(), "one probes");
    // Its request failed without an answer.
    drop(probe);
    assert!(third.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_timekeeper_that_dies_with_its_runtime_is_replaced() {
    let (limiter, _clock, manual) = limiter(10);
    limiter.refused(Sent::default(), Some(1_000), None);
    let lost = limiter.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let waiting = through(&lost, None, 1, BUDGET_MS);
            tokio::select! { _ = waiting => {}, () = settle() => {} }
        });
    })
    .join()
    .unwrap();
    let next = tokio::spawn({
        let limiter = limiter.clone();
        async move { through(&limiter, None, 2, BUDGET_MS).await.is_ok() }
    });
    settle().await;
    manual.advance_ms(1_000);
    assert!(
        tokio::time::timeout(Duration::from_secs(10), next)
            .await
            .unwrap()
            .unwrap()
    );
}

fn registry() -> (RateLimits, ManualClock) {
    let (clock, manual) = Clock::manual(NOW_MS);
    let options = ProxyOptions {
        rate_limit_queue_max: 1,
        ..options()
    };
    (RateLimits::new(clock, &options, Metrics::new(|| 0)), manual)
}

fn ctx() -> ExecutionContext {
    ExecutionContext {
        environment_id: "env_1".into(),
        provider_config_key: "testing".into(),
        connection_id: "customer-1".into(),
        connection_key: None,
        run_id: None,
        operation_id: "op_1".into(),
    }
}

#[tokio::test]
async fn a_limit_is_the_connections_or_the_integrations_as_the_data_says() {
    let headers = HeaderMap::new();
    for (scope, shared) in [
        (RateLimitScope::Connection, false),
        (RateLimitScope::Integration, true),
        (RateLimitScope::None, false),
    ] {
        let (limits, _manual) = registry();
        let mut provider = provider("https://api.test");
        provider.proxy.as_mut().unwrap().rate_limit = scope;
        let one = target(provider.clone(), bearer("t"));
        let mut other = target(provider, bearer("t"));
        Arc::make_mut(&mut other.connection).key = "con_2".into();
        let told = limits.learn(&one, None, StatusCode::TOO_MANY_REQUESTS, &headers, Some(70_000));
        assert_eq!(told, (scope != RateLimitScope::None).then_some(70_000));
        let is_held = |target| match limits.enter(target, &ctx(), 1, BUDGET_MS) {
            Err(ProxyError::RateLimited { wait_ms, .. }) => wait_ms == 70_000,
            Ok(None) => false,
            _ => panic!("neither held nor free"),
        };
        assert_eq!(is_held(&one), scope != RateLimitScope::None, "{scope:?}");
        assert_eq!(is_held(&other), shared, "{scope:?}");
    }
}

#[tokio::test]
async fn what_is_left_is_learned_from_answers_and_limits_unheard_of_are_forgotten() {
    let (limits, manual) = registry();
    let one = target(provider("https://api.test"), bearer("t"));
    let learn = |status, remaining: &'static str, reset: &'static str| {
        let headers: HeaderMap = [("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", reset)]
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        limits.learn(&one, None, status, &headers, None)
    };
    let enter = || limits.enter(&one, &ctx(), limits.arrival(), BUDGET_MS);
    learn(StatusCode::OK, "4999", "1800003600");
    assert!(matches!(enter(), Ok(None)), "so many left are not watched");
    learn(StatusCode::OK, "0", "1799999999");
    assert!(matches!(enter(), Ok(None)), "the reset is past");
    learn(StatusCode::OK, "0", "1800000030");
    let waiting = enter();
    assert!(matches!(&waiting, Ok(Some(Entry::Waiting(waiting))) if waiting.wait_ms == Some(30_000)));
    let full = enter().err().unwrap();
    assert_eq!((full.code(), full.retry_after_s()), ("rate_limit_queue_full", Some(30)));
    assert!(full.to_string().contains("limits.proxy_rate_limit_queue"), "{full}");
    drop(waiting);
    // A provider that refuses with 403 says so by what is left.
    assert_eq!(learn(StatusCode::FORBIDDEN, "0", "1800000030"), Some(3_000));
    assert_eq!(learn(StatusCode::FORBIDDEN, "5", "1800000030"), None);
    limits.tick();
    assert!(!matches!(enter(), Ok(None)));
    manual.advance_ms(700_000);
    limits.tick();
    assert!(matches!(enter(), Ok(None)));
}
