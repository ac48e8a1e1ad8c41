//! What an answer tells of the time to wait: its headers, as the caller or the provider's data names them or as they are
//! commonly called, and the text of its body. Pure.

use http::{HeaderMap, HeaderName, StatusCode};

use super::RetryHeader;
use crate::provider::{InBody, RetrySpec, WaitStrategy};
use crate::proxy::rate_limit::Quota;

/// Numbers above this are milliseconds, not seconds: as milliseconds it is in 1971, as seconds in the year 2969.
const EPOCH_SECONDS_MAX: f64 = 31_536_000_000.0;

/// Numbers below this are seconds to wait, not a moment: as a moment it is in 2001.
const EPOCH_SECONDS_MIN: f64 = 1_000_000_000.0;

/// Headers for what is left and when it is counted anew, as they are called where nobody said how they are called. The
/// first is the name of the IETF's draft (draft-ietf-httpapi-ratelimit-headers-06), whose reset is seconds.
static COMMON: [(HeaderName, HeaderName); 3] = [
    (
        HeaderName::from_static("ratelimit-remaining"),
        HeaderName::from_static("ratelimit-reset"),
    ),
    (
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderName::from_static("x-ratelimit-reset"),
    ),
    (
        HeaderName::from_static("x-rate-limit-remaining"),
        HeaderName::from_static("x-rate-limit-reset"),
    ),
];

/// A wait and where it was read.
pub(in super::super) type Told = (u64, &'static str);

/// The wait that the answer's headers ask for. What the caller names comes first, whatever the status. Then a wait meant for
/// this answer (`after`, `Retry-After`), then the end of the rate limit's window (`at` and its common names), which many
/// providers send with every answer: it counts only when the window is used up, and never for a fault of the server.
pub(in super::super) fn by_headers(
    caller: &RetryHeader,
    spec: &RetrySpec,
    status: StatusCode,
    headers: &HeaderMap,
    now_ms: i64,
) -> Option<Told> {
    let custom_after = longest(texts(headers, &caller.after).map(|text| after_ms(text, now_ms)));
    let custom_at = || longest(texts(headers, &caller.at).map(|text| until_ms(text, now_ms)));
    let after = || longest(texts(headers, &spec.after).map(|text| after_ms(text, now_ms)));
    let retry_after = || after_ms(text(headers, &http::header::RETRY_AFTER)?, now_ms);
    let at = || longest(texts(headers, &spec.at).map(|text| until_ms(text, now_ms)));
    let reset = || longest(COMMON.iter().map(|(_, reset)| reset_ms(text(headers, reset)?, now_ms)));
    custom_after
        .map(|wait_ms| (wait_ms, "custom_after"))
        .or_else(|| Some((custom_at()?, "custom_at")))
        .or_else(|| Some((after()?, "provider_after")))
        .or_else(|| Some((retry_after()?, "retry_after")))
        .or_else(|| {
            let is_left = remaining(spec, headers).is_some_and(|remaining| remaining > 0);
            if status.is_server_error() || is_left {
                return None;
            }
            let at = at().map(|wait_ms| (wait_ms, "provider_at"));
            at.or_else(|| Some((reset()?, "rate_limit_reset")))
        })
}

/// The wait that the text of an error's body asks for.
pub(in super::super) fn by_body(spec: &InBody, body: &[u8], now_ms: i64) -> Option<Told> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let found = spec.find(&body)?;
    match spec.strategy {
        WaitStrategy::At => until_ms(&found, now_ms).map(|wait_ms| (wait_ms, "provider_body_at")),
        WaitStrategy::After => after_ms(&found, now_ms).map(|wait_ms| (wait_ms, "provider_body_after")),
    }
}

/// How many requests the provider says are left.
pub(in super::super) fn remaining(spec: &RetrySpec, headers: &HeaderMap) -> Option<u64> {
    let text = match &spec.remaining {
        Some(name) => headers.get(name.as_str())?.to_str().ok()?,
        None => COMMON.iter().find_map(|(remaining, _)| text(headers, remaining))?,
    };
    // Some give decimals, and some a negative number when more were sent than allowed.
    let number: f64 = text.trim().parse().ok().filter(|number: &f64| number.is_finite())?;
    u64::try_from(truncated(number).max(0)).ok()
}

/// How many requests are left and for how long. None unless both are told and the time is still to come.
pub(in super::super) fn quota(spec: &RetrySpec, headers: &HeaderMap, now_ms: i64) -> Option<Quota> {
    let remaining = remaining(spec, headers)?;
    let at = longest(texts(headers, &spec.at).map(|text| until_ms(text, now_ms)));
    let after = || longest(texts(headers, &spec.after).map(|text| after_ms(text, now_ms)));
    let reset = || longest(COMMON.iter().map(|(_, reset)| reset_ms(text(headers, reset)?, now_ms)));
    let resets_in_ms = at.or_else(after).or_else(reset)?;
    (resets_in_ms > 0).then_some(Quota {
        remaining,
        resets_in_ms,
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn texts<'a>(headers: &'a HeaderMap, names: &'a [impl AsRef<str>]) -> impl Iterator<Item = &'a str> {
    names
        .iter()
        .filter_map(|name| headers.get(name.as_ref())?.to_str().ok())
}

fn longest(waits: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    waits.flatten().max()
}

/// A reset whose form nobody says: a moment, or a number of seconds too small to be one.
fn reset_ms(value: &str, now_ms: i64) -> Option<u64> {
    match value.trim().parse::<f64>() {
        Ok(number) if number < EPOCH_SECONDS_MIN => after_ms(value, now_ms),
        Ok(_) | Err(_) => until_ms(value, now_ms),
    }
}

/// Milliseconds until a moment given as epoch seconds, epoch milliseconds or a date. None when it is past or unreadable.
fn until_ms(value: &str, now_ms: i64) -> Option<u64> {
    let value = value.trim();
    let at_ms = match value.parse::<f64>() {
        Ok(number) if !number.is_finite() || number < 0.0 => return None,
        Ok(number) if number > EPOCH_SECONDS_MAX => truncated(number),
        Ok(number) => truncated(number * 1_000.0),
        Err(_) => date_ms(value)?,
    };
    u64::try_from(at_ms - now_ms).ok().filter(|wait_ms| *wait_ms > 0)
}

/// Milliseconds of a wait given in seconds (decimals allowed) or as the date it ends.
fn after_ms(value: &str, now_ms: i64) -> Option<u64> {
    let value = value.trim();
    match value.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => u64::try_from(truncated(seconds * 1_000.0)).ok(),
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

/// Without its fraction, and small enough that a difference to the present time cannot overflow.
pub(super) fn truncated(number: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the cast saturates, and a date that far ahead is beyond every budget"
    )]
    let whole = number as i64;
    whole.min(i64::MAX / 2)
}
