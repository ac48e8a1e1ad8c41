//! What is made of the answer to an attempt: done, tried again and when, or given up. Pure.

use super::WebhookOptions;
use crate::model::{Webhook, WebhookState};
use crate::store::{TargetNote, WebhookAttempt};

/// Before the second attempt; doubled before each further one. (Nango compatibility: 3 s and 6 s there.)
const BACKOFF_MS: i64 = 3_000;
const BACKOFF_MS_MAX: i64 = 4 * 60 * 60 * 1_000;
/// Waits are made longer by up to this part, so that what failed together is not tried together.
const JITTER: f64 = 0.1;
/// What `Retry-After` may ask for.
const RETRY_AFTER_MS_MAX: i64 = 4 * 60 * 60 * 1_000;
/// A webhook that waited for so long is given up after its next attempt, whatever it was.
pub(super) const AGE_MS_MAX: i64 = 24 * 60 * 60 * 1_000;
/// Failures in a row after which nothing is sent to an address for a while, but one webhook each time to see whether it is well.
/// (Nango compatibility: 5 there.)
pub(super) const FAILURES_MAX: i64 = 5;
/// (Nango compatibility.)
const CLOSED_MS: i64 = 60_000;

/// How an attempt went.
#[derive(Debug)]
pub(super) enum Answer {
    Status {
        status: u16,
        retry_after_ms: Option<i64>,
        /// Where a redirect that is not followed leads, and why it is not.
        redirect: Option<&'static str>,
    },
    /// No answer came; in words.
    Silence(String),
    /// Nothing was sent and nothing will be: the address may not be reached, or the content cannot be opened.
    Refused(String),
}

/// The time that an attempt took place, and a number in `0.0..1.0` that spreads those that failed together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub now_ms: i64,
    pub fraction: f64,
}

pub(super) fn judge(answer: Answer, webhook: &Webhook, options: &WebhookOptions, moment: Moment) -> WebhookAttempt {
    let (problem, retry_after_ms, target) = match answer {
        Answer::Status { status: 200..=299, .. } => {
            return attempt(WebhookState::Delivered, moment.now_ms, moment, None, TargetNote::Well);
        }
        Answer::Status {
            status: status @ (408 | 429 | 500..=599),
            retry_after_ms,
            ..
        } => {
            let retry_after_ms = retry_after_ms.map(|wait_ms| wait_ms.clamp(0, RETRY_AFTER_MS_MAX));
            let target = match retry_after_ms {
                // It is well and has a limit: the others would only meet it, too.
                Some(wait_ms) if status == 429 => TargetNote::Busy {
                    until_ms: moment.now_ms.saturating_add(wait_ms),
                },
                None if status == 429 => TargetNote::Unknown,
                Some(_) | None => failed(moment.now_ms),
            };
            (format!("the receiver answered {status}"), retry_after_ms, target)
        }
        Answer::Status { status, redirect, .. } => {
            let problem = match redirect {
                Some(reason) => format!("the receiver answered {status}, a redirect that is not followed: {reason}"),
                None => format!("the receiver answered {status}, which trying again would not change"),
            };
            return attempt(
                WebhookState::Dead,
                moment.now_ms,
                moment,
                Some(problem),
                TargetNote::Well,
            );
        }
        Answer::Silence(problem) => (problem, None, failed(moment.now_ms)),
        Answer::Refused(problem) => {
            let state = WebhookState::Dead;
            return attempt(state, moment.now_ms, moment, Some(problem), TargetNote::Unknown);
        }
    };
    let attempts = webhook.attempts.saturating_add(1);
    if attempts >= i64::from(options.attempts_max) {
        let problem = format!("{problem}; that was attempt {attempts}, the last one (limits.webhook_attempts)");
        return attempt(WebhookState::Dead, moment.now_ms, moment, Some(problem), target);
    }
    if moment.now_ms.saturating_sub(webhook.queued_at_ms) >= AGE_MS_MAX {
        let problem = format!("{problem}; it has waited for longer than a day");
        return attempt(WebhookState::Dead, moment.now_ms, moment, Some(problem), target);
    }
    let wait_ms = backoff_ms(webhook.attempts, moment.fraction).max(retry_after_ms.unwrap_or(0));
    let due_at_ms = moment.now_ms.saturating_add(wait_ms);
    attempt(WebhookState::Pending, due_at_ms, moment, Some(problem), target)
}

fn attempt(
    state: WebhookState,
    due_at_ms: i64,
    moment: Moment,
    problem: Option<String>,
    target: TargetNote,
) -> WebhookAttempt {
    WebhookAttempt {
        attempted_at_ms: moment.now_ms,
        state,
        due_at_ms,
        problem,
        target,
    }
}

fn failed(now_ms: i64) -> TargetNote {
    TargetNote::Failed {
        failures_max: FAILURES_MAX,
        closed_until_ms: now_ms.saturating_add(CLOSED_MS),
    }
}

fn backoff_ms(attempts_before: i64, fraction: f64) -> i64 {
    let doublings = u32::try_from(attempts_before.clamp(0, 40)).unwrap_or(0);
    let plain_ms = BACKOFF_MS.saturating_mul(1_i64 << doublings).min(BACKOFF_MS_MAX);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a part of some hours in milliseconds"
    )]
    let jitter_ms = (plain_ms as f64 * JITTER * fraction) as i64;
    plain_ms.saturating_add(jitter_ms)
}

/// What `Retry-After` asks for, in milliseconds: seconds or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after_ms(text: &str, now_ms: i64) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds).saturating_mul(1_000));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let since_epoch = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    let at_ms = i64::try_from(since_epoch.as_millis()).ok()?;
    Some(at_ms.saturating_sub(now_ms).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::tests::{NOW_MS, OPTIONS, webhook};

    fn status(status: u16, retry_after_ms: Option<i64>) -> Answer {
        Answer::Status {
            status,
            retry_after_ms,
            redirect: None,
        }
    }

    fn judged(answer: Answer, attempts: i64) -> WebhookAttempt {
        let webhook = Webhook { attempts, ..webhook() };
        let moment = Moment {
            now_ms: NOW_MS,
            fraction: 0.0,
        };
        judge(answer, &webhook, &OPTIONS, moment)
    }

    #[test]
    fn success_ends_it() {
        for code in [200, 201, 204, 299] {
            let attempt = judged(status(code, None), 3);
            assert_eq!(attempt.state, WebhookState::Delivered, "{code}");
            assert_eq!((attempt.target, attempt.problem), (TargetNote::Well, None));
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_later_each_time() {
        for code in [408, 429, 500, 502, 503, 504, 599] {
            assert_eq!(judged(status(code, None), 0).state, WebhookState::Pending, "{code}");
        }
        let waits: Vec<i64> = (0..5)
            .map(|attempts| judged(Answer::Silence("it is away".to_owned()), attempts).due_at_ms - NOW_MS)
            .collect();
        assert_eq!(waits, [3_000, 6_000, 12_000, 24_000, 48_000]);
        assert_eq!(judged(status(500, None), 13).due_at_ms - NOW_MS, BACKOFF_MS_MAX);
    }

    #[test]
    fn retry_after_is_waited_for() {
        let busy = judged(status(429, Some(90_000)), 0);
        assert_eq!(busy.due_at_ms, NOW_MS + 90_000);
        assert_eq!(
            busy.target,
            TargetNote::Busy {
                until_ms: NOW_MS + 90_000
            }
        );
        let sooner = judged(status(503, Some(1_000)), 0);
        assert_eq!(sooner.due_at_ms, NOW_MS + 3_000, "never sooner than otherwise");
        assert_eq!(sooner.target, failed(NOW_MS));
        let far = judged(status(429, Some(i64::MAX)), 0);
        assert_eq!(far.due_at_ms, NOW_MS + RETRY_AFTER_MS_MAX);
    }

    #[test]
    fn what_would_not_change_is_given_up_at_once() {
        for code in [400, 401, 404, 410, 422, 304] {
            let attempt = judged(status(code, None), 0);
            assert_eq!(attempt.state, WebhookState::Dead, "{code}");
            assert_eq!(attempt.target, TargetNote::Well, "it answers");
        }
        let refused = judged(Answer::Refused("no".to_owned()), 0);
        assert_eq!(
            (refused.state, refused.target),
            (WebhookState::Dead, TargetNote::Unknown)
        );
    }

    #[test]
    fn attempts_and_age_have_an_end() {
        let last = judged(status(503, None), i64::from(OPTIONS.attempts_max) - 1);
        assert_eq!(last.state, WebhookState::Dead);
        assert!(last.problem.unwrap().contains("limits.webhook_attempts"));
        let old = Webhook {
            queued_at_ms: NOW_MS - AGE_MS_MAX,
            ..webhook()
        };
        let moment = Moment {
            now_ms: NOW_MS,
            fraction: 0.0,
        };
        assert_eq!(
            judge(status(503, None), &old, &OPTIONS, moment).state,
            WebhookState::Dead
        );
    }

    #[test]
    fn retry_after_in_both_forms() {
        assert_eq!(retry_after_ms(" 7 ", NOW_MS), Some(7_000));
        assert_eq!(retry_after_ms("soon", NOW_MS), None);
        assert_eq!(retry_after_ms("-1", NOW_MS), None);
        // 2026-11-22 11:21:53 is NOW_MS.
        assert_eq!(retry_after_ms("Sun, 22 Nov 2026 11:22:23 GMT", NOW_MS), Some(30_000));
        assert_eq!(retry_after_ms("Sun, 22 Nov 2020 11:22:23 GMT", NOW_MS), Some(0));
    }
}
