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
//! - The wait is what the answer tells (see `told`), else exponential. All waits of a call together stay within the budget: a
//!   provider that asks for more gets its answer passed back at once, our own backoff is cut to what is left.

pub(super) mod told;

use http::{HeaderMap, HeaderName, StatusCode};

use crate::provider::RetrySpec;
use told::{Told, truncated};

/// Extra attempts a caller may ask for; more are clamped.
pub const RETRIES_MAX: u32 = 10;

/// Why a 429 is sent again.
const RATE_LIMITED: &str = "rate_limited";

/// The first wait of the exponential backoff; it doubles with each attempt.
const BACKOFF_MS: u64 = 3_000;

/// The backoff varies by this part of itself in both directions, so that callers do not march in step.
const JITTER: f64 = 0.2;

/// The beginning of an error's body that is read for a wait (`in_body`); the whole body is passed on all the same.
pub const RETRY_BODY_BYTES_MAX: usize = 64 * 1024;

/// The response headers that tell the wait, as the caller names them. They come before what the provider's data says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryHeader {
    /// They hold the time to retry at: epoch seconds or milliseconds, or a date. Of several the latest counts.
    pub at: Vec<HeaderName>,
    /// They hold seconds to wait, or the date it ends.
    pub after: Vec<HeaderName>,
}

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
        /// The wait it asks for.
        told: Option<Told>,
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
pub(super) fn decide(policy: &Policy<'_>, spent: Spent, outcome: Outcome<'_>, fraction: f64) -> Decision {
    let (cause, mut next) = match another(policy, spent, outcome) {
        Ok(another) => another,
        Err(reason) => return Decision::Stop { reason },
    };
    let left_ms = policy.wait_ms_left(spent);
    let told = match outcome {
        Outcome::Answer { told, .. } => told,
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

/// Whether the wait may stand in the body of this answer: it is worth another attempt, and its headers tell none.
pub(super) fn wants_body(policy: &Policy<'_>, spent: Spent, outcome: Outcome<'_>) -> bool {
    let is_silent = matches!(outcome, Outcome::Answer { told: None, .. });
    is_silent && policy.spec.in_body.is_some() && another(policy, spent, outcome).is_ok()
}

/// Whether there is another attempt: why, and what is spent with it; or why not.
fn another(policy: &Policy<'_>, spent: Spent, outcome: Outcome<'_>) -> Result<(&'static str, Spent), &'static str> {
    let cause = cause(policy, outcome)?;
    let mut next = spent;
    if cause == RATE_LIMITED && spent.rate_limited < policy.rate_limit_retries_max {
        next.rate_limited += 1;
    } else if spent.asked < policy.retries.min(RETRIES_MAX) {
        next.asked += 1;
    } else {
        return Err("no_attempts_left");
    }
    Ok((cause, next))
}

impl Policy<'_> {
    /// What is left of the budget for waiting.
    pub(super) fn wait_ms_left(&self, spent: Spent) -> u64 {
        self.wait_ms_max.saturating_sub(spent.waited_ms)
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
        Outcome::Answer { status, headers, .. } => status_cause(policy, status, headers),
    }
}

fn status_cause(policy: &Policy<'_>, status: StatusCode, headers: &HeaderMap) -> Result<&'static str, &'static str> {
    let code = status.as_u16();
    if status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(RATE_LIMITED);
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
    // Only where the provider's data names the header: others send a count with every answer, errors of all kinds included.
    let used_up = policy.spec.remaining.is_some() && told::remaining(policy.spec, headers) == Some(0);
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

fn backoff_ms(attempt: u32, fraction: f64) -> u64 {
    let doubled = BACKOFF_MS.saturating_mul(1 << attempt.min(RETRIES_MAX + 3));
    let factor = 1.0 - JITTER + 2.0 * JITTER * fraction;
    #[expect(clippy::cast_precision_loss, reason = "at most a day of milliseconds")]
    let wait_ms = doubled as f64 * factor;
    u64::try_from(truncated(wait_ms)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
