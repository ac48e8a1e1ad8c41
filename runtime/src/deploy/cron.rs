//! Crontabs: `0 9 * * MON-FRI Europe/Berlin`. Five fields and an IANA time zone, UTC when there is none. `H` in a field stands for a
//! value that depends on whom it is for, so that one crontab spreads many connections.

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};

/// Slots of different connections of one crontab are apart by less than this.
pub const CRON_JITTER_MS_MAX: i64 = 60_000;

/// Whether a text is meant to be a crontab, right or wrong.
pub(super) fn looks_like(text: &str) -> bool {
    let mut fields = text.split_whitespace();
    let first = fields.next().unwrap_or_default();
    let starts = |first: &str| first.starts_with(|c: char| c == '*' || c == 'H' || c.is_ascii_digit());
    fields.count() >= 4 && starts(first) && !first.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// The crontab as it is kept, with its time zone and one space between fields.
///
/// # Errors
/// What is wrong with it: a field, an unknown time zone, or that its time never comes.
pub(super) fn normalized(text: &str) -> Result<String, String> {
    let mut fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() == 5 {
        fields.push("UTC");
    }
    let text = fields.join(" ");
    let crontab = parse(&text, 0).map_err(|error| error.to_string())?;
    // Not before 1970, so that the 29th of February is found.
    crontab.find_next(timestamp(0)?).map_err(|error| error.to_string())?;
    Ok(text)
}

/// The first slot of a crontab after `now_ms`, in Unix milliseconds, for whom `seed` stands for: up to a minute after the time it
/// says. None when there is none, or it is no crontab.
#[must_use]
pub fn next_ms(cron: &str, seed: u64, now_ms: i64) -> Option<i64> {
    let jitter_ms = i64::try_from(seed % CRON_JITTER_MS_MAX.unsigned_abs()).unwrap_or(0);
    let after = timestamp(now_ms.checked_sub(jitter_ms)?).ok()?;
    let next = parse(cron, seed >> 16).ok()?.find_next(after).ok()?;
    Some(next.timestamp().as_millisecond() + jitter_ms)
}

fn parse(text: &str, seed: u64) -> Result<Crontab, cronexpr::Error> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    options.hashed_value = Some(seed);
    cronexpr::parse_crontab_with(text, options)
}

fn timestamp(at_ms: i64) -> Result<MakeTimestamp, String> {
    MakeTimestamp::from_millisecond(at_ms).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn slots_follow_the_clock_of_the_time_zone() {
        let next = |now: &str| {
            next_ms("30 2 * * * Europe/Berlin", 0, at(now))
                .map(|next| jiff::Timestamp::from_millisecond(next).unwrap().to_string())
        };
        assert_eq!(next("2026-01-10T00:00:00Z").unwrap(), "2026-01-10T01:30:00Z");
        assert_eq!(
            next("2026-07-10T00:00:00Z").unwrap(),
            "2026-07-10T00:30:00Z",
            "summer time"
        );
        assert_eq!(
            next("2026-01-10T01:30:00Z").unwrap(),
            "2026-01-11T01:30:00Z",
            "after, not at"
        );
        // In the night of the 29th of March there is no half past two.
        let spring = next("2026-03-28T12:00:00Z").unwrap();
        assert!(
            spring.starts_with("2026-03-29") || spring.starts_with("2026-03-30"),
            "{spring}"
        );
        // In the night of the 25th of October there are two, and one run.
        assert_eq!(next("2026-10-24T12:00:00Z").unwrap(), "2026-10-25T00:30:00Z");
    }

    #[test]
    fn connections_are_spread_over_a_minute_or_as_far_as_h_says() {
        let now_ms = at("2026-01-10T00:00:00Z");
        let mut seconds = std::collections::BTreeSet::new();
        let mut minutes = std::collections::BTreeSet::new();
        for number in 0..500_u64 {
            let seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let slot = next_ms("0 3 * * *", seed, now_ms).unwrap();
            let late_ms = slot - at("2026-01-10T03:00:00Z");
            assert!((0..CRON_JITTER_MS_MAX).contains(&late_ms), "{late_ms}");
            assert_eq!(
                next_ms("0 3 * * *", seed, slot).unwrap() - slot,
                86_400_000,
                "each day once"
            );
            seconds.insert(late_ms / 1_000);
            minutes.insert((next_ms("H 3 * * *", seed, now_ms).unwrap() - now_ms) / 60_000);
        }
        assert!(seconds.len() > 50 && minutes.len() > 50, "{seconds:?} {minutes:?}");
    }

    #[test]
    fn what_is_none_is_refused() {
        assert_eq!(normalized("0  9 * * 1-5").unwrap(), "0 9 * * 1-5 UTC");
        assert_eq!(
            normalized("0 9 29 2 * Europe/Berlin").unwrap(),
            "0 9 29 2 * Europe/Berlin"
        );
        for text in ["61 * * * *", "0 9 * * * Mars/Base", "0 0 30 2 *", "* * * * * UTC UTC"] {
            assert!(normalized(text).is_err(), "{text}");
        }
    }
}
