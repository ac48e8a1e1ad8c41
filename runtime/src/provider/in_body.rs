//! Where the body of an error tells how long to wait (`proxy.retry.in_body`): the place in its JSON, a pattern for the text
//! there, and what the pattern finds. Pure.

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;

/// Compiled patterns may take this much; those of real providers take a hundredth.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A rule for bodies.
#[derive(Clone, Debug)]
pub struct InBody {
    /// Keys and indexes from the top to the text.
    path: Vec<String>,
    pattern: Regex,
    pub strategy: WaitStrategy,
}

/// What a text or header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitStrategy {
    /// The moment to retry at: epoch seconds or milliseconds, or a date.
    At,
    /// Seconds to wait, or the date it ends.
    After,
}

impl InBody {
    /// `path` has dots between its parts; `pattern` may stand between slashes with flags behind, as in `/retry after (.+)/i`.
    ///
    /// # Errors
    /// The pattern is none, or too large.
    pub fn new(path: &str, pattern: &str, strategy: WaitStrategy) -> Result<Self, regex::Error> {
        let (pattern, flags) = match pattern.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) {
            Some((pattern, flags)) if flags.bytes().all(|flag| flag.is_ascii_lowercase()) => (pattern, flags),
            Some(_) | None => (pattern, ""),
        };
        let pattern = RegexBuilder::new(pattern)
            .case_insensitive(flags.contains('i'))
            .multi_line(flags.contains('m'))
            .dot_matches_new_line(flags.contains('s'))
            .size_limit(PATTERN_BYTES_MAX)
            .build()?;
        Ok(Self {
            path: path.split('.').map(str::to_owned).collect(),
            pattern,
            strategy,
        })
    }

    /// What the pattern's first group finds (all that it finds, when it has none).
    #[must_use]
    pub fn find(&self, body: &Value) -> Option<String> {
        let place = self.path.iter().try_fold(body, |value, key| match value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            value => value.get(key),
        })?;
        let text = match place {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        let found = self.pattern.captures(&text)?;
        let group = found.get(1).or_else(|| found.get(0))?;
        Some(group.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_may_stand_between_slashes() {
        let body = json!({"error": {"details": [{"message": "Retry After 7 s"}], "wait": 12}});
        let find = |path: &str, pattern: &str| InBody::new(path, pattern, WaitStrategy::After).unwrap().find(&body);
        for (path, pattern, expected) in [
            ("error.details.0.message", "/Retry After (\\d+)/", Some("7")),
            ("error.details.0.message", "/retry after (\\d+)/i", Some("7")),
            ("error.details.0.message", "/retry after (\\d+)/", None),
            ("error.details.0.message", "After (\\d+)", Some("7")),
            ("error.details.0.message", "\\d+", Some("7")),
            ("error.wait", ".+", Some("12")),
            ("error.details.1.message", ".+", None),
            ("error.details", ".+", None),
            ("nothing.there", ".+", None),
        ] {
            assert_eq!(find(path, pattern).as_deref(), expected, "{path} {pattern}");
        }
        assert!(InBody::new("a", "/(/", WaitStrategy::At).is_err());
        assert!(
            InBody::new("a", "(\\w{1000}){1000}", WaitStrategy::At).is_err(),
            "too large"
        );
    }
}
