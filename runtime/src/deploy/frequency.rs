//! How often a sync runs: `every hour`, `every 1.5h`, `every half day`, `0 9 * * MON-FRI Europe/Berlin`. Pure.
//!
//! One grammar for what functions declare and for what the API takes, of which Nango has two: an optional `every`, then a number
//! and a unit, or a word; or a crontab.

use super::cron;
use crate::model::Frequency;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;
const MONTH_MS: i64 = 30 * DAY_MS;
/// As the library `ms` has it.
const YEAR_MS: i64 = 365 * DAY_MS + 6 * HOUR_MS;

/// The shortest time between two runs of a sync.
pub const FREQUENCY_MS_MIN: i64 = 30 * SECOND_MS;
/// The longest.
pub const FREQUENCY_MS_MAX: i64 = 31 * DAY_MS;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrequencyError {
    #[error(
        "the frequency {frequency:?} is not understood: write for example `every 5 minutes`, `every half day`, `every 3 weeks`, `0 9 * * MON-FRI Europe/Berlin`"
    )]
    Invalid { frequency: String },
    #[error(
        "the frequency {frequency:?} is no crontab of minute, hour, day of month, month, day of week and time zone: {problem}"
    )]
    Cron { frequency: String, problem: String },
    #[error("the frequency {frequency:?} is too short: a sync runs every 30 seconds at most")]
    TooShort { frequency: String },
    #[error("the frequency {frequency:?} is too long: a sync runs every 31 days at least")]
    TooLong { frequency: String },
}

impl FrequencyError {
    /// Stable, as the API reports it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } | Self::Cron { .. } | Self::TooLong { .. } => "sync_interval_invalid",
            Self::TooShort { .. } => "sync_interval_too_short",
        }
    }
}

/// When a sync runs.
///
/// # Errors
///
/// When it is not understood, or shorter than 30 seconds, or longer than 31 days.
pub fn parse(frequency: &str) -> Result<Frequency, FrequencyError> {
    if cron::looks_like(frequency) {
        return cron::normalized(frequency)
            .map(Frequency::Cron)
            .map_err(|problem| FrequencyError::Cron {
                frequency: frequency.to_owned(),
                problem,
            });
    }
    every_ms(frequency).map(Frequency::EveryMs)
}

/// Milliseconds between two runs.
fn every_ms(frequency: &str) -> Result<i64, FrequencyError> {
    let lower = frequency.trim().to_ascii_lowercase();
    let interval = match lower.strip_prefix("every") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim(),
        Some(_) | None => lower.as_str(),
    };
    let milliseconds = word(interval)
        .or_else(|| counted(interval))
        .ok_or_else(|| FrequencyError::Invalid {
            frequency: frequency.to_owned(),
        })?;
    if milliseconds < FREQUENCY_MS_MIN {
        return Err(FrequencyError::TooShort {
            frequency: frequency.to_owned(),
        });
    }
    if milliseconds > FREQUENCY_MS_MAX {
        return Err(FrequencyError::TooLong {
            frequency: frequency.to_owned(),
        });
    }
    Ok(milliseconds)
}

fn word(interval: &str) -> Option<i64> {
    let words: Vec<&str> = interval.split_whitespace().collect();
    match words.as_slice() {
        ["half", "day"] => Some(12 * HOUR_MS),
        ["half", "hour"] => Some(30 * MINUTE_MS),
        ["quarter", "hour"] => Some(15 * MINUTE_MS),
        [name] => unit(name),
        _ => None,
    }
}

/// `30s`, `5 minutes`, `1.5 hours`: up to three digits behind the point, counted in whole thousandths, so that nothing is rounded
/// but below a millisecond.
fn counted(interval: &str) -> Option<i64> {
    let number_end = interval.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, name) = interval.split_at_checked(number_end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 3 || fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: i64 = format!("{fraction:0<3}").parse().ok()?;
    let thousandths = whole.checked_mul(1_000)?.checked_add(fraction)?;
    Some(thousandths.checked_mul(unit(name.trim_start())?)? / 1_000)
}

fn unit(name: &str) -> Option<i64> {
    match name {
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Some(1),
        "s" | "sec" | "secs" | "second" | "seconds" => Some(SECOND_MS),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(MINUTE_MS),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some(HOUR_MS),
        "d" | "day" | "days" => Some(DAY_MS),
        "w" | "week" | "weeks" => Some(WEEK_MS),
        "month" | "months" => Some(MONTH_MS),
        "y" | "yr" | "yrs" | "year" | "years" => Some(YEAR_MS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_words_and_numbers() {
        for (text, milliseconds) in [
            ("every hour", HOUR_MS),
            ("Every  Hour ", HOUR_MS),
            ("hour", HOUR_MS),
            ("every half day", 12 * HOUR_MS),
            ("every half hour", 30 * MINUTE_MS),
            ("every quarter hour", 15 * MINUTE_MS),
            ("every day", DAY_MS),
            ("every week", 7 * DAY_MS),
            ("every month", 30 * DAY_MS),
            ("every minute", MINUTE_MS),
            ("every 30s", 30 * SECOND_MS),
            ("every 30 seconds", 30 * SECOND_MS),
            ("every 5 minutes", 5 * MINUTE_MS),
            ("90min", 90 * MINUTE_MS),
            ("2 hrs", 2 * HOUR_MS),
            ("every 31d", 31 * DAY_MS),
            ("every 1.5 hours", 90 * MINUTE_MS),
            ("every .5h", 30 * MINUTE_MS),
            ("every 3 weeks", 21 * DAY_MS),
            ("1w", 7 * DAY_MS),
            ("every 90000 ms", 90 * SECOND_MS),
            ("month", 30 * DAY_MS),
        ] {
            assert_eq!(parse(text), Ok(Frequency::EveryMs(milliseconds)), "{text}");
        }
        assert_eq!(
            parse("0 9 * * MON-FRI Europe/Berlin"),
            Ok(Frequency::Cron("0 9 * * MON-FRI Europe/Berlin".to_owned()))
        );
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "",
            "every",
            "everyhour",
            "-5m",
            "5",
            "every 5 5 m",
            "9999999999999999999s",
        ] {
            assert!(matches!(parse(text), Err(FrequencyError::Invalid { .. })), "{text}");
        }
        for text in [
            "every 1.2.3 hours",
            "every 1.2345h",
            "every . h",
            "every half week",
            "every 5 lightyears",
        ] {
            assert!(matches!(parse(text), Err(FrequencyError::Invalid { .. })), "{text}");
        }
        assert!(matches!(parse("99 9 * * *"), Err(FrequencyError::Cron { .. })));
        assert!(matches!(parse("every year"), Err(FrequencyError::TooLong { .. })));
        assert!(matches!(parse("every 2 months"), Err(FrequencyError::TooLong { .. })));
        assert!(matches!(parse("every 29s"), Err(FrequencyError::TooShort { .. })));
        assert!(matches!(parse("every second"), Err(FrequencyError::TooShort { .. })));
        assert!(matches!(parse("every 32 days"), Err(FrequencyError::TooLong { .. })));
        assert!(matches!(
            parse("every 200000000000 days"),
            Err(FrequencyError::Invalid { .. } | FrequencyError::TooLong { .. })
        ));
    }
}
