//! `${now}` in its forms: the time of the request, moved by an offset, in a format of dayjs
//! (<https://day.js.org/docs/en/display/format>, with the tokens of its AdvancedFormat plugin that need no locale). Always UTC.

use std::fmt::Write as _;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{Span, Timestamp, ToSpan as _};

/// `now`, `now:FORMAT`, `now+7:days`, `now-1:hours:FORMAT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    offset: Option<(i64, Unit)>,
    /// `2030-01-01T00:00:00.000Z` when none is given.
    format: Option<Box<[Token]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
    Years,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(Box<str>),
    Field(&'static str),
}

/// The longest first, so that `MMMM` is not read as two `MM`.
const FIELDS: [&str; 30] = [
    "YYYY", "MMMM", "dddd", "SSS", "MMM", "ddd", "YY", "MM", "DD", "Do", "dd", "HH", "hh", "kk", "mm", "ss", "ZZ", "M",
    "D", "d", "H", "h", "k", "m", "s", "Z", "A", "a", "X", "x",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

impl Now {
    /// What follows `now` in a placeholder. The error says what is wrong.
    pub(super) fn parse(after: &str) -> Result<Self, &'static str> {
        let (offset, format) = match after.chars().next() {
            None => (None, None),
            Some(':') => (None, after.strip_prefix(':')),
            Some(_) => {
                let mut parts = after.splitn(3, ':');
                let amount = parts.next().unwrap_or_default();
                let amount = amount.strip_prefix('+').unwrap_or(amount);
                let amount = amount
                    .parse::<i64>()
                    .map_err(|_| "the number after `now` is none; write ${now+7:days}")?;
                let unit = parts
                    .next()
                    .ok_or("the offset of `now` has no unit; write ${now+7:days}")?;
                (Some((amount, Unit::named(unit.trim())?)), parts.next())
            }
        };
        Ok(Self {
            offset,
            format: format.filter(|format| !format.is_empty()).map(tokens),
        })
    }

    /// None when the moment is outside the years 1 to 9999.
    pub(super) fn render(&self, now_ms: i64) -> Option<String> {
        let mut time = Offset::UTC.to_datetime(Timestamp::from_millisecond(now_ms).ok()?);
        if let Some((amount, unit)) = self.offset {
            time = time.checked_add(unit.span(amount)?).ok()?;
        }
        if time.year() < 1 {
            return None;
        }
        let Some(format) = &self.format else {
            return Some(format!("{}Z", time.strftime("%Y-%m-%dT%H:%M:%S%.3f")));
        };
        let mut text = String::with_capacity(32);
        for token in format {
            match token {
                Token::Literal(literal) => text.push_str(literal),
                Token::Field(field) => write_field(&mut text, field, time)?,
            }
        }
        Some(text)
    }
}

impl Unit {
    /// By the names of dayjs. A single `m` is minutes, a single `M` months.
    fn named(name: &str) -> Result<Self, &'static str> {
        Ok(match name {
            "ms" | "millisecond" | "milliseconds" => Self::Milliseconds,
            "s" | "second" | "seconds" => Self::Seconds,
            "m" | "minute" | "minutes" => Self::Minutes,
            "h" | "hour" | "hours" => Self::Hours,
            "d" | "D" | "day" | "days" => Self::Days,
            "w" | "week" | "weeks" => Self::Weeks,
            "M" | "month" | "months" => Self::Months,
            "y" | "year" | "years" => Self::Years,
            _ => {
                return Err(
                    "the unit of an offset of `now` is milliseconds, seconds, minutes, hours, days, weeks, months or years",
                );
            }
        })
    }

    /// None when there are more than a span can hold.
    fn span(self, amount: i64) -> Option<Span> {
        let span = 0.seconds();
        match self {
            Self::Milliseconds => span.try_milliseconds(amount),
            Self::Seconds => span.try_seconds(amount),
            Self::Minutes => span.try_minutes(amount),
            Self::Hours => span.try_hours(amount),
            Self::Days => span.try_days(amount),
            Self::Weeks => span.try_weeks(amount),
            Self::Months => span.try_months(amount),
            Self::Years => span.try_years(amount),
        }
        .ok()
    }
}

/// A format's fields and the text between them; `[text]` is text.
fn tokens(format: &str) -> Box<[Token]> {
    let mut tokens = Vec::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let escaped = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        if let Some((text, after)) = escaped.filter(|(text, _)| !text.is_empty()) {
            push_literal(&mut tokens, text);
            rest = after;
        } else if let Some(field) = FIELDS.iter().find(|field| rest.starts_with(**field)) {
            tokens.push(Token::Field(field));
            rest = rest.strip_prefix(*field).unwrap_or_default();
        } else {
            let (text, after) = rest.split_at_checked(first.len_utf8()).unwrap_or((rest, ""));
            push_literal(&mut tokens, text);
            rest = after;
        }
    }
    tokens.into()
}

fn push_literal(tokens: &mut Vec<Token>, text: &str) {
    if let Some(Token::Literal(before)) = tokens.last_mut() {
        *before = format!("{before}{text}").into();
    } else {
        tokens.push(Token::Literal(text.into()));
    }
}

fn write_field(into: &mut String, field: &str, time: DateTime) -> Option<()> {
    let month = || MONTHS.get(usize::try_from(time.month() - 1).ok()?).copied();
    let sunday_first = time.weekday().to_sunday_zero_offset();
    let weekday = || WEEKDAYS.get(usize::try_from(sunday_first).ok()?).copied();
    let hour_of_12 = || (time.hour() + 11) % 12 + 1;
    let hour_of_24 = || if time.hour() == 0 { 24 } else { time.hour() };
    let timestamp = || Offset::UTC.to_timestamp(time).ok();
    let written = match field {
        "YYYY" => write!(into, "{:04}", time.year()),
        "YY" => write!(into, "{:02}", time.year() % 100),
        "MMMM" => write!(into, "{}", month()?),
        "MMM" => write!(into, "{}", month()?.get(..3)?),
        "MM" => write!(into, "{:02}", time.month()),
        "M" => write!(into, "{}", time.month()),
        "DD" => write!(into, "{:02}", time.day()),
        "D" => write!(into, "{}", time.day()),
        "Do" => write!(into, "{}{}", time.day(), ordinal(time.day())),
        "dddd" => write!(into, "{}", weekday()?),
        "ddd" => write!(into, "{}", weekday()?.get(..3)?),
        "dd" => write!(into, "{}", weekday()?.get(..2)?),
        "d" => write!(into, "{sunday_first}"),
        "HH" => write!(into, "{:02}", time.hour()),
        "H" => write!(into, "{}", time.hour()),
        "hh" => write!(into, "{:02}", hour_of_12()),
        "h" => write!(into, "{}", hour_of_12()),
        "kk" => write!(into, "{:02}", hour_of_24()),
        "k" => write!(into, "{}", hour_of_24()),
        "mm" => write!(into, "{:02}", time.minute()),
        "m" => write!(into, "{}", time.minute()),
        "ss" => write!(into, "{:02}", time.second()),
        "s" => write!(into, "{}", time.second()),
        "SSS" => write!(into, "{:03}", time.millisecond()),
        "ZZ" => write!(into, "+0000"),
        "Z" => write!(into, "+00:00"),
        "A" => write!(into, "{}", if time.hour() < 12 { "AM" } else { "PM" }),
        "a" => write!(into, "{}", if time.hour() < 12 { "am" } else { "pm" }),
        "X" => write!(into, "{}", timestamp()?.as_second()),
        "x" => write!(into, "{}", timestamp()?.as_millisecond()),
        // All of FIELDS are above.
        _ => return None,
    };
    written.ok()
}

fn ordinal(day: i8) -> &'static str {
    match (day % 10, day) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-05T04:07:09.012Z, a Thursday.
    const NOW_MS: i64 = 1_772_683_629_012;

    fn shown(after: &str) -> String {
        Now::parse(after).unwrap().render(NOW_MS).unwrap()
    }

    #[test]
    fn formats_of_dayjs() {
        for (after, text) in [
            ("", "2026-03-05T04:07:09.012Z"),
            (":", "2026-03-05T04:07:09.012Z"),
            (":X", "1772683629"),
            (":x", "1772683629012"),
            (":YYYY-MM-DDTHH:mm:ss", "2026-03-05T04:07:09"),
            (":YYYYMMDDTHHmmss[Z]", "20260305T040709Z"),
            (":ddd, DD MMM YYYY HH:mm:ss ZZ", "Thu, 05 Mar 2026 04:07:09 +0000"),
            (
                ":dddd D MMMM YY, h:m:s.SSS a A Z",
                "Thursday 5 March 26, 4:7:9.012 am AM +00:00",
            ),
            (":dd d M Do H k kk hh", "Th 4 3 5th 4 4 04 04"),
            (":[now: ]YYYY[]é", "now: 2026[]é"),
        ] {
            assert_eq!(shown(after), text, "{after}");
        }
    }

    #[test]
    fn offsets() {
        for (after, text) in [
            ("+7:days:YYYY-MM-DD", "2026-03-12"),
            ("-1:hours:HH:mm", "03:07"),
            ("+1:minutes:X", "1772683689"),
            ("-1:month", "2026-02-05T04:07:09.012Z"),
            ("+2:weeks:DD", "19"),
            ("+1:y:YYYY", "2027"),
            ("+500:ms:x", "1772683629512"),
            ("-10:seconds:X", "1772683619"),
        ] {
            assert_eq!(shown(after), text, "{after}");
        }
        assert_eq!(Now::parse("+9000:years").unwrap().render(NOW_MS), None);
    }

    #[test]
    fn slips_are_told() {
        for after in ["+days", "+7", "+7:fortnights", "+x:days"] {
            assert!(Now::parse(after).is_err(), "{after}");
        }
    }

    #[test]
    fn midnight_noon_and_ordinals() {
        let at = |hour: i8, format: &str| {
            let time = jiff::civil::date(2026, 1, 1).at(hour, 0, 0, 0);
            let now_ms = Offset::UTC.to_timestamp(time).unwrap().as_millisecond();
            Now::parse(format).unwrap().render(now_ms).unwrap()
        };
        assert_eq!(at(0, ":h hh k A"), "12 12 24 AM");
        assert_eq!(at(12, ":h H k a"), "12 12 12 pm");
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 13, 21, 22, 23].map(ordinal).join(" "),
            "st nd rd th th th th st nd rd"
        );
    }
}
