//! Moments as the API writes them. Three forms, because clients compare them as text: integrations in milliseconds with `Z`,
//! connections in milliseconds with `+00:00`, records in microseconds with `+00:00`.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::Offset;

const MILLISECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
const MICROSECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// `2026-11-22T11:16:49.746Z`
pub fn ms_utc(at_ms: i64) -> String {
    MILLISECONDS.timestamp_to_string(&from_ms(at_ms))
}

/// `2026-11-22T11:16:49.746+00:00`
pub fn ms_offset(at_ms: i64) -> String {
    MILLISECONDS.timestamp_with_offset_to_string(&from_ms(at_ms), Offset::UTC)
}

/// `2026-11-22T11:16:49.746123+00:00`
pub fn us_offset(at_us: i64) -> String {
    MICROSECONDS.timestamp_with_offset_to_string(&clamped(Timestamp::from_microsecond(at_us), at_us), Offset::UTC)
}

/// Microseconds since 1970 of an ISO date-time with `Z` or an offset.
pub fn parse_us(text: &str) -> Option<i64> {
    Some(text.parse::<Timestamp>().ok()?.as_microsecond())
}

/// Milliseconds since 1970 of a moment as people name one: an ISO date-time, or how long ago it was, as in `90s`, `15m`, `2h`
/// or `7d`.
pub fn parse_moment_ms(text: &str, now_ms: i64) -> Option<i64> {
    let mut digits = text.chars();
    let unit_ms = match digits.next_back()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Some(parse_us(text)? / 1_000),
    };
    let count: u32 = digits.as_str().parse().ok()?;
    now_ms.checked_sub(i64::from(count).checked_mul(unit_ms)?)
}

fn from_ms(at_ms: i64) -> Timestamp {
    clamped(Timestamp::from_millisecond(at_ms), at_ms)
}

/// The year 9999 is the end of what can be written.
fn clamped(timestamp: Result<Timestamp, jiff::Error>, sign: i64) -> Timestamp {
    timestamp.unwrap_or(if sign < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms() {
        assert_eq!(ms_utc(1_795_346_209_746), "2026-11-22T11:16:49.746Z");
        assert_eq!(ms_offset(1_795_346_209_746), "2026-11-22T11:16:49.746+00:00");
        assert_eq!(us_offset(1_795_346_209_746_000), "2026-11-22T11:16:49.746000+00:00");
        assert!(us_offset(i64::MAX).starts_with("9999-12-"));
    }

    #[test]
    fn moments_are_times_or_ages() {
        let now_ms = 1_795_346_209_746;
        assert_eq!(parse_moment_ms("90s", now_ms), Some(now_ms - 90_000));
        assert_eq!(parse_moment_ms("15m", now_ms), Some(now_ms - 900_000));
        assert_eq!(parse_moment_ms("2h", now_ms), Some(now_ms - 7_200_000));
        assert_eq!(parse_moment_ms("7d", now_ms), Some(now_ms - 604_800_000));
        assert_eq!(parse_moment_ms("2026-11-22T11:16:49.746Z", 0), Some(now_ms));
        for bad in ["", "h", "-1h", "1w", "1.5h", "yesterday", "99999999999d", "é"] {
            assert_eq!(parse_moment_ms(bad, now_ms), None, "{bad}");
        }
    }

    #[test]
    fn reads_what_clients_send() {
        assert_eq!(parse_us("2026-11-22T11:16:49.746123Z"), Some(1_795_346_209_746_123));
        assert_eq!(
            parse_us("2026-11-22T12:16:49.746123+01:00"),
            Some(1_795_346_209_746_123)
        );
        assert_eq!(parse_us("2026-11-22"), None);
        assert_eq!(parse_us("yesterday"), None);
    }
}
