//! Merging of defaults, file, environment and flags into one table that has the shape of `config.default.toml`, with the
//! origin of each value. Knows names and types of the settings, from that file; what values make sense is
//! [`super::validate`]'s.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::ConfigError;
use crate::spelling;

const DEFAULTS: &str = include_str!("../../config.default.toml");
const PREFIX: &str = "NANGO_";
/// Variables of client commands and of the scripts in this repository.
const FOREIGN_VARIABLES: [&str; 4] = [
    "NANGO_HOSTPORT",
    "NANGO_CACHE_DIR",
    "NANGO_WASM_STD",
    "NANGO_POSTGRES_DIR",
];
const FOREIGN_PREFIX: &str = "NANGO_TEST_";
/// Below it all variables are ours: what is unknown there is an error, whatever it is like.
const LIMITS_PREFIX: &str = "NANGO_LIMITS_";
/// What is easily left out at the end of a limit's name.
const UNITS: [&str; 3] = ["_MS", "_BYTES", "_DAYS"];

/// A value that a flag gives to a setting.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As typed, for messages: `--listen`.
    pub name: &'static str,
    /// A top-level setting of `config.default.toml`.
    pub key: &'static str,
    pub value: Value,
}

/// The merged settings. Keys of nested settings are dotted: `limits.concurrent_runs`.
pub(super) struct Layers {
    values: BTreeMap<String, Value>,
    origins: BTreeMap<String, String>,
}

impl Layers {
    pub(super) fn with_defaults() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the file is embedded; a test of this module parses it"
        )]
        let defaults: Table = DEFAULTS.parse().expect("config.default.toml is valid TOML");
        let mut values = BTreeMap::new();
        flatten("", defaults, &mut values);
        Self {
            values,
            origins: BTreeMap::new(),
        }
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Where a value came from, in words that follow the name of the setting.
    pub(super) fn origin(&self, key: &str) -> String {
        self.origins.get(key).cloned().unwrap_or_else(|| "default".to_owned())
    }

    /// Values below `section`, as a table.
    pub(super) fn section(&self, section: &str) -> Table {
        let prefix = format!("{section}.");
        let below = |(key, value): (&String, &Value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone()));
        self.values.iter().filter_map(below).collect()
    }

    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            message: error.message().to_owned(),
            line: error
                .span()
                .and_then(|span| Some(text.get(..span.start)?.matches('\n').count() + 1)),
        })?;
        let origin = format!("in {}", path.display());
        let mut values = BTreeMap::new();
        flatten("", table, &mut values);
        for (key, value) in values {
            self.check_known(&key, &path.display().to_string())?;
            self.set(key, value, &origin);
        }
        Ok(())
    }

    /// Gives back the variables that begin with `NANGO_` and mean nothing here.
    pub(super) fn add_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Vec<String>, ConfigError> {
        let keys: BTreeMap<String, String> = self
            .values
            .keys()
            .map(|key| (variable_name(key), key.clone()))
            .collect();
        let mut ignored = Vec::new();
        for (name, text) in environment {
            if !name.starts_with(PREFIX) || FOREIGN_VARIABLES.contains(&&*name) || name.starts_with(FOREIGN_PREFIX) {
                continue;
            }
            match keys.get(&name) {
                Some(_) if text.is_empty() => {}
                Some(key) => {
                    let value = self.parse_like_default(key, text);
                    self.set(key.clone(), value, &format!("from {name}"));
                }
                None => {
                    let suggestion = meant(&name, keys.keys().map(String::as_str));
                    if suggestion.is_some() || name.starts_with(LIMITS_PREFIX) {
                        return Err(ConfigError::UnknownVariable { name, suggestion });
                    }
                    ignored.push(name);
                }
            }
        }
        ignored.sort();
        Ok(ignored)
    }

    pub(super) fn add_flag(&mut self, flag: Flag) {
        debug_assert!(
            self.values.contains_key(flag.key),
            "{} sets an unknown setting",
            flag.name
        );
        self.set(flag.key.to_owned(), flag.value, &format!("from {}", flag.name));
    }

    fn set(&mut self, key: String, value: Value, origin: &str) {
        self.origins.insert(key.clone(), origin.to_owned());
        self.values.insert(key, value);
    }

    fn check_known(&self, key: &str, origin: &str) -> Result<(), ConfigError> {
        if self.values.contains_key(key) {
            return Ok(());
        }
        let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
        // Its unit is the end of many a name.
        let unitless = format!("{key}_");
        let close = |known: &&str| last(known) == last(key) || known.starts_with(&unitless);
        let sections = self.values.keys().filter_map(|known| Some(known.split_once('.')?.0));
        let known = || self.values.keys().map(String::as_str).chain(sections.clone());
        let suggestion = spelling::nearest(key, known()).or_else(|| known().find(close));
        Err(ConfigError::UnknownSetting {
            key: key.to_owned(),
            origin: origin.to_owned(),
            suggestion: suggestion.map(str::to_owned),
        })
    }

    /// Text of a variable in the type that the setting has by default. What does not fit stays text, for
    /// [`super::validate`] to refuse.
    fn parse_like_default(&self, key: &str, text: String) -> Value {
        match self.values.get(key) {
            Some(Value::Integer(_)) => text
                .replace('_', "")
                .parse()
                .map_or(Value::String(text), Value::Integer),
            Some(Value::Boolean(_)) => text.parse().map_or(Value::String(text), Value::Boolean),
            Some(Value::Array(_)) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
            _ => Value::String(text),
        }
    }
}

fn flatten(prefix: &str, table: Table, into: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Table(table) => flatten(&key, table, into),
            value => {
                into.insert(key, value);
            }
        }
    }
}

fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// The variable that `name` was probably meant to be: one of nearly the same letters, the same with its unit, or the same with its section.
fn meant<'n>(name: &str, mut known: impl Iterator<Item = &'n str> + Clone) -> Option<String> {
    let bare = name.strip_prefix(PREFIX)?;
    // A limit is meant to be a limit.
    let alike = known
        .clone()
        .filter(|known| known.starts_with(LIMITS_PREFIX) || !name.starts_with(LIMITS_PREFIX));
    let alike = alike.filter_map(|known| known.strip_prefix(PREFIX));
    if let Some(nearest) = spelling::nearest(bare, alike) {
        return Some(format!("{PREFIX}{nearest}"));
    }
    let whole = UNITS.map(|unit| format!("{name}{unit}"));
    let of_section = format!("{LIMITS_PREFIX}{bare}");
    let is_meant = |known: &&str| *known == of_section || whole.iter().any(|whole| whole == known);
    known.find(is_meant).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_resembles_a_setting_is_recognised() {
        let known = [
            "NANGO_LISTEN",
            "NANGO_LOG",
            "NANGO_DATA_DIR",
            "NANGO_LIMITS_CONCURRENT_RUNS",
            "NANGO_LIMITS_ACTION_TIMEOUT_MS",
        ];
        let check = |name, expected: Option<&str>| {
            assert_eq!(meant(name, known.into_iter()).as_deref(), expected, "{name}");
        };
        check("NANGO_LISTEM", Some("NANGO_LISTEN"));
        check("NANGO_CONCURRENT_RUNS", Some("NANGO_LIMITS_CONCURRENT_RUNS"));
        check("NANGO_LIMTS_CONCURRENT_RUNS", Some("NANGO_LIMITS_CONCURRENT_RUNS"));
        check("NANGO_LIMITS_CONCURENT_RUN", Some("NANGO_LIMITS_CONCURRENT_RUNS"));
        check("NANGO_LIMITS_ACTION_TIMEOUT", Some("NANGO_LIMITS_ACTION_TIMEOUT_MS"));
        check("NANGO_LIMITS_ACTION_TIMEOUT_S", Some("NANGO_LIMITS_ACTION_TIMEOUT_MS"));
        check("NANGO_LIMITS_CONCURRENCY", None);
        check("NANGO_LIMITS_FOO", None);
        check("NANGO_LIMITS_", None);
        check("NANGO_FOO", None);
        check("NANGO_SERVER_URL", None);
    }
}
