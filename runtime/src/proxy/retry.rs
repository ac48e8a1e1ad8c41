//! Whether to send again, and when. Pure: what was spent so far, the outcome and the time go in, a decision with its reason
//! comes out. It neither waits nor sends.
//!
//! The rules, in order:
//! - A body that was streamed cannot be sent again; a 2xx is never retried.
//! - No answer (connection refused, reset, timeout): retried when `retries` were asked for. If the request may have reached
//!   the provider, only methods that may be repeated, or requests with an `Idempotency-Key`.
//! - 429: retried whatever `retries` says, `rate_limit_retries_max` times, then within `retries`.
//! - Other statuses, within `retries`: those of the provider's `error_code` (5xx where it names none), those of `retry_on`,
//!   and any error whose `remaining` header says `0`. A 401 only if `retry_on` names it: the same credentials fail again.
//! - The wait is what the provider's headers tell, else exponential. All waits of a call together stay within the budget: a
//!   provider that asks for more gets its answer passed back at once, our own backoff is cut to what is left.

use http::{HeaderMap, HeaderName, StatusCode};

use crate::provider::RetrySpec;

/// Extra attempts a caller may ask for; more are clamped.
pub const RETRIES_MAX: u32 = 10;

/// The first wait of the exponential backoff; it doubles with each attempt.
const BACKOFF_MS: u64 = 3_000;

/// The backoff varies by this part of itself in both directions, so that callers do not march in step.
const JITTER: f64 = 0.2;

/// Numbers above this are milliseconds, not seconds: as milliseconds it is in 1971, as seconds in the year 2969.
const EPOCH_SECONDS_MAX: f64 = 31_536_000_000.0;

/// What was asked for, by the caller, the provider's data and the operator.
#[derive(Debug)]
pub(super) struct Policy<'a> {
    pub(super) retries: u32,
    pub(super) retry_on: &'a [u16],
    pub(super) spec: &'a RetrySpec,
    /// The body can be sent again.
    pub(super) replayable: bool,
    /// Sending twice does no more than sending once.
    pub(super) idempotent: bool,
    pub(super) rate_limit_retries_max: u32,
    pub(super) wait_ms_max: u64,
}

/// What a call has used up so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spent {
    /// Attempts out of `retries`.
    pub(super) asked: u32,
    /// Attempts out of `rate_limit_retries_max`.
    pub(super) rate_limited: u32,
    pub(super) waited_ms: u64,
}

impl Spent {
    /// Attempts made after the first.
    pub(super) fn attempts(&self) -> u32 {
        self.asked + self.rate_limited
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome<'a> {
    Answer {
        status: StatusCode,
        headers: &'a HeaderMap,
    },
    /// The connection was not made: nothing was sent.
    NotSent,
    /// No answer, but the request may have reached the provider.
    MaybeSent,
    /// Trying again would end the same way.
    Final,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Give the outcome to the caller.
    Stop { reason: &'static str },
    /// Send again after the wait; `spent` includes it.
    After {
        wait_ms: u64,
        reason: &'static str,
        spent: Spent,
    },
}

/// Decides. `fraction` (`0.0..1.0`) is the jitter.
pub(super) fn decide(policy: &Policy<'_>, spent: Spent, outcome: Outcome<'_>, now_ms: i64, fraction: f64) -> Decision {
    let cause = match cause(policy, outcome) {
        Ok(cause) => cause,
        Err(reason) => return Decision::Stop { reason },
    };
    let mut next = spent;
    if cause == "rate_limited" && spent.rate_limited < policy.rate_limit_retries_max {
        next.rate_limited += 1;
    } else if spent.asked < policy.retries.min(RETRIES_MAX) {
        next.asked += 1;
    } else {
        return Decision::Stop {
            reason: "no_attempts_left",
        };
    }
    let left_ms = policy.wait_ms_max.saturating_sub(spent.waited_ms);
    let told = match outcome {
        Outcome::Answer { status, headers } => told_wait_ms(policy.spec, status, headers, now_ms),
        Outcome::NotSent | Outcome::MaybeSent | Outcome::Final => None,
    };
    let (wait_ms, reason) = match told {
        Some((wait_ms, _)) if wait_ms > left_ms => {
            return Decision::Stop {
                reason: "the_provider_asks_for_a_longer_wait_than_the_budget",
            };
        }
        Some(told) => told,
        None if left_ms == 0 => {
            return Decision::Stop {
                reason: "the_budget_for_waiting_is_used_up",
            };
        }
        None => (backoff_ms(spent.attempts(), fraction).min(left_ms), cause),
    };
    next.waited_ms = spent.waited_ms.saturating_add(wait_ms);
    Decision::After {
        wait_ms,
        reason,
        spent: next,
    }
}

/// Why the outcome is worth another attempt, or why not.
fn cause(policy: &Policy<'_>, outcome: Outcome<'_>) -> Result<&'static str, &'static str> {
    match outcome {
        Outcome::Final => Err("not_retryable"),
        Outcome::Answer { status, .. } if status.is_success() => Err("success"),
        Outcome::NotSent | Outcome::MaybeSent | Outcome::Answer { .. } if !policy.replayable => {
            Err("the_body_was_streamed")
        }
        Outcome::NotSent => Ok("network_error"),
        Outcome::MaybeSent if policy.idempotent => Ok("network_error"),
        Outcome::MaybeSent => Err("the_request_may_have_been_received"),
        Outcome::Answer { status, headers } => status_cause(policy, status, headers),
    }
}

fn status_cause(policy: &Policy<'_>, status: StatusCode, headers: &HeaderMap) -> Result<&'static str, &'static str> {
    let code = status.as_u16();
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Ok("rate_limited");
    }
    if policy.retry_on.contains(&code) {
        return Ok("retry_on");
    }
    if status == StatusCode::UNAUTHORIZED {
        return Err("not_retryable");
    }
    let listed = if policy.spec.error_code.is_empty() {
        code >= 500
    } else {
        policy.spec.error_code.iter().any(|rule| rule_matches(rule, code))
    };
    if listed {
        return Ok("status");
    }
    let used_up = policy
        .spec
        .remaining
        .as_ref()
        .and_then(|name| headers.get(name.as_str()))
        .is_some_and(|value| value == "0");
    if used_up && code >= 400 {
        return Ok("remaining");
    }
    Err("not_retryable")
}

/// `403`, `5xx` or `500-502`.
fn rule_matches(rule: &str, code: u16) -> bool {
    let rule = rule.trim();
    if let Some((from, to)) = rule.split_once('-') {
        return match (from.trim().parse::<u16>(), to.trim().parse::<u16>()) {
            (Ok(from), Ok(to)) => (from..=to).contains(&code),
            (Ok(_) | Err(_), _) => false,
        };
    }
    if let Some(class) = rule.strip_suffix("xx").or_else(|| rule.strip_suffix("XX")) {
        return class.parse() == Ok(code / 100);
    }
    rule.parse() == Ok(code)
}

/// The wait the answer's headers ask for. A wait meant for this answer (`after`, `Retry-After`) comes before the end of the
/// rate limit's window (`at`), which many providers send with every answer: it counts only when the window is used up, and
/// never for a fault of the server.
fn told_wait_ms(spec: &RetrySpec, status: StatusCode, headers: &HeaderMap, now_ms: i64) -> Option<(u64, &'static str)> {
    let values = |names: &[String]| -> Vec<&str> {
        names
            .iter()
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .filter_map(|name| headers.get(name))
            .filter_map(|value| value.to_str().ok())
            .collect()
    };
    let longest = |waits: Vec<u64>| waits.into_iter().max();
    if let Some(wait_ms) = longest(values(&spec.after).iter().filter_map(|v| after_ms(v, now_ms)).collect()) {
        return Some((wait_ms, "provider_after"));
    }
    let retry_after = headers
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    if let Some(wait_ms) = retry_after.and_then(|value| after_ms(value, now_ms)) {
        return Some((wait_ms, "retry_after"));
    }
    let remaining = spec.remaining.as_ref().and_then(|name| headers.get(name.as_str()));
    if status.is_server_error() || remaining.is_some_and(|value| value != "0") {
        return None;
    }
    longest(values(&spec.at).iter().filter_map(|at| until_ms(at, now_ms)).collect())
        .map(|wait_ms| (wait_ms, "provider_at"))
}

/// Milliseconds until a moment given as epoch seconds, epoch milliseconds or a date. None when it is past or unreadable.
fn until_ms(value: &str, now_ms: i64) -> Option<u64> {
    let value = value.trim();
    let at_ms = match value.parse::<f64>() {
        Ok(number) if !number.is_finite() || number < 0.0 => return None,
        Ok(number) if number > EPOCH_SECONDS_MAX => truncated_ms(number),
        Ok(number) => truncated_ms(number * 1_000.0),
        Err(_) => date_ms(value)?,
    };
    u64::try_from(at_ms - now_ms).ok().filter(|wait_ms| *wait_ms > 0)
}

/// Milliseconds of a wait given in seconds (decimals allowed) or as the date it ends.
fn after_ms(value: &str, now_ms: i64) -> Option<u64> {
    let value = value.trim();
    match value.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => u64::try_from(truncated_ms(seconds * 1_000.0)).ok(),
        Ok(_) => None,
        Err(_) => u64::try_from((date_ms(value)? - now_ms).max(0)).ok(),
    }
}

/// Milliseconds of an HTTP or ISO date.
fn date_ms(value: &str) -> Option<i64> {
    if let Ok(time) = httpdate::parse_http_date(value) {
        let since_epoch = time.duration_since(std::time::UNIX_EPOCH).ok()?;
        return i64::try_from(since_epoch.as_millis()).ok();
    }
    value
        .parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
}

fn backoff_ms(attempt: u32, fraction: f64) -> u64 {
    let doubled = BACKOFF_MS.saturating_mul(1 << attempt.min(RETRIES_MAX + 3));
    let factor = 1.0 - JITTER + 2.0 * JITTER * fraction;
    #[expect(clippy::cast_precision_loss, reason = "at most a day of milliseconds")]
    let wait_ms = doubled as f64 * factor;
    u64::try_from(truncated_ms(wait_ms)).unwrap_or(0)
}

fn truncated_ms(ms: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the cast saturates, and a date that far ahead is beyond every budget"
    )]
    let ms = ms as i64;
    // Halved, so that a difference to the present time cannot overflow.
    ms.min(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    struct Case {
        retries: u32,
        retry_on: Vec<u16>,
        spec: RetrySpec,
        replayable: bool,
        idempotent: bool,
        spent: Spent,
    }

    impl Default for Case {
        fn default() -> Self {
            Self {
                retries: 0,
                retry_on: Vec::new(),
                spec: RetrySpec::default(),
                replayable: true,
                idempotent: true,
                spent: Spent::default(),
            }
        }
    }

    impl Case {
        fn outcome(&self, outcome: Outcome<'_>) -> Decision {
            let policy = Policy {
                retries: self.retries,
                retry_on: &self.retry_on,
                spec: &self.spec,
                replayable: self.replayable,
                idempotent: self.idempotent,
                rate_limit_retries_max: 3,
                wait_ms_max: 60_000,
            };
            decide(&policy, self.spent, outcome, NOW_MS, 0.5)
        }

        fn status(&self, status: u16, headers: &[(&'static str, &str)]) -> Decision {
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            let status = StatusCode::from_u16(status).unwrap();
            self.outcome(Outcome::Answer {
                status,
                headers: &headers,
            })
        }
    }

    fn wait(decision: &Decision) -> Option<(u64, &'static str)> {
        match decision {
            Decision::After { wait_ms, reason, .. } => Some((*wait_ms, *reason)),
            Decision::Stop { .. } => None,
        }
    }

    fn asked(retries: u32) -> Case {
        Case {
            retries,
            ..Case::default()
        }
    }

    #[test]
    fn nothing_but_429_is_retried_unasked() {
        let case = Case::default();
        for status in [200, 304, 400, 401, 403, 404, 500, 503] {
            assert_eq!(wait(&case.status(status, &[])), None, "{status}");
        }
        assert_eq!(wait(&case.outcome(Outcome::NotSent)), None);
        assert_eq!(wait(&case.status(429, &[])), Some((3_000, "rate_limited")));
    }

    #[test]
    fn asked_retries_cover_server_errors_and_the_network() {
        let case = asked(1);
        for status in [500, 502, 503, 599] {
            assert_eq!(wait(&case.status(status, &[])), Some((3_000, "status")), "{status}");
        }
        for status in [200, 304, 400, 401, 404] {
            assert_eq!(wait(&case.status(status, &[])), None, "{status}");
        }
        assert_eq!(wait(&case.outcome(Outcome::NotSent)), Some((3_000, "network_error")));
        assert_eq!(wait(&case.outcome(Outcome::MaybeSent)), Some((3_000, "network_error")));
        assert_eq!(wait(&case.outcome(Outcome::Final)), None);
    }

    #[test]
    fn a_post_that_may_have_arrived_is_not_sent_twice() {
        let case = Case {
            idempotent: false,
            ..asked(3)
        };
        assert_eq!(wait(&case.outcome(Outcome::MaybeSent)), None);
        assert_eq!(wait(&case.outcome(Outcome::NotSent)), Some((3_000, "network_error")));
        assert_eq!(wait(&case.status(502, &[])), Some((3_000, "status")));
    }

    #[test]
    fn a_streamed_body_is_never_sent_again() {
        let case = Case {
            replayable: false,
            ..asked(3)
        };
        assert_eq!(wait(&case.status(429, &[])), None);
        assert_eq!(wait(&case.outcome(Outcome::NotSent)), None);
    }

    #[test]
    fn the_wait_doubles_and_the_budget_cuts_it() {
        let mut case = asked(20);
        let mut waits = Vec::new();
        while let Decision::After { wait_ms, spent, .. } = case.status(500, &[]) {
            waits.push(wait_ms);
            case.spent = spent;
        }
        assert_eq!(waits, [3_000, 6_000, 12_000, 24_000, 15_000]);
    }

    #[test]
    fn attempts_are_capped() {
        let mut case = asked(1_000);
        let mut attempts = 0;
        while let Decision::After { spent, .. } = case.status(500, &[("retry-after", "0")]) {
            attempts += 1;
            case.spent = spent;
        }
        assert_eq!(attempts, RETRIES_MAX);
    }

    #[test]
    fn rate_limits_are_waited_for_three_times_and_then_within_retries() {
        for (retries, expected) in [(0, 3), (2, 5)] {
            let mut case = asked(retries);
            let mut attempts = 0;
            while let Decision::After { spent, .. } = case.status(429, &[("retry-after", "1")]) {
                attempts += 1;
                case.spent = spent;
            }
            assert_eq!(attempts, expected, "retries {retries}");
        }
    }

    #[test]
    fn a_provider_that_asks_for_too_much_is_not_waited_for() {
        let case = asked(5);
        assert_eq!(wait(&case.status(429, &[("retry-after", "61")])), None);
        assert_eq!(
            wait(&case.status(429, &[("retry-after", "60")])),
            Some((60_000, "retry_after"))
        );
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        let case = Case::default();
        for (value, expected) in [
            ("0", Some((0, "retry_after"))),
            ("1.5", Some((1_500, "retry_after"))),
            ("Fri, 15 Jan 2027 08:00:05 GMT", Some((5_000, "retry_after"))),
            ("Fri, 15 Jan 2027 07:00:00 GMT", Some((0, "retry_after"))),
            ("soon", Some((3_000, "rate_limited"))),
            ("-1", Some((3_000, "rate_limited"))),
            ("1e300", None),
        ] {
            assert_eq!(wait(&case.status(429, &[("retry-after", value)])), expected, "{value}");
        }
    }

    #[test]
    fn provider_headers_tell_the_wait() {
        let case = Case {
            spec: RetrySpec {
                at: vec!["x-ratelimit-reset".into(), "x-other-reset".into()],
                ..RetrySpec::default()
            },
            ..Case::default()
        };
        for (value, expected) in [
            ("1800000007", Some((7_000, "provider_at"))),
            ("1800000007000", Some((7_000, "provider_at"))),
            ("2027-01-15T08:00:07Z", Some((7_000, "provider_at"))),
            ("1799999999", Some((3_000, "rate_limited"))),
        ] {
            assert_eq!(
                wait(&case.status(429, &[("x-ratelimit-reset", value)])),
                expected,
                "{value}"
            );
        }
        let both = [("x-ratelimit-reset", "1800000002"), ("x-other-reset", "1800000009")];
        assert_eq!(wait(&case.status(429, &both)), Some((9_000, "provider_at")));
    }

    #[test]
    fn provider_codes_replace_the_defaults_and_retry_on_adds() {
        let case = Case {
            retry_on: vec![418],
            spec: RetrySpec {
                error_code: vec!["403".into(), "500-501".into(), "401".into()],
                ..RetrySpec::default()
            },
            ..asked(1)
        };
        for (status, retried) in [
            (403, true),
            (500, true),
            (502, false),
            (418, true),
            (401, false),
            (404, false),
        ] {
            assert_eq!(wait(&case.status(status, &[])).is_some(), retried, "{status}");
        }
        let class = Case {
            spec: RetrySpec {
                error_code: vec!["4xx".into()],
                ..RetrySpec::default()
            },
            ..asked(1)
        };
        assert!(wait(&class.status(404, &[])).is_some());
        assert!(wait(&class.status(500, &[])).is_none());
    }

    #[test]
    fn a_used_up_budget_makes_an_error_retryable() {
        let case = Case {
            spec: RetrySpec {
                remaining: Some("x-ratelimit-remaining".into()),
                at: vec!["x-ratelimit-reset".into()],
                ..RetrySpec::default()
            },
            ..asked(1)
        };
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000004")];
        assert_eq!(wait(&case.status(403, &used_up)), Some((4_000, "provider_at")));
        // The end of the window comes with every answer; neither a fault of the server nor another limit waits for it.
        assert_eq!(wait(&case.status(502, &used_up)), Some((3_000, "status")));
        let left = [("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "1800000004")];
        assert_eq!(wait(&case.status(429, &left)), Some((3_000, "rate_limited")));
        let told = [
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1800000004"),
            ("retry-after", "1"),
        ];
        assert_eq!(wait(&case.status(429, &told)), Some((1_000, "retry_after")));
        assert_eq!(wait(&case.status(403, &[("x-ratelimit-remaining", "1")])), None);
    }
}
