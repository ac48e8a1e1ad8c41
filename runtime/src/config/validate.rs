//! From merged layers to a [`Config`]: types, formats, ranges and pairs that contradict each other. No I/O.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use base64::Engine as _;
use ipnet::{IpNet, Ipv4Net};
use serde::de::DeserializeOwned;
use toml::Value;
use url::Url;

use super::layers::Layers;
use super::{Config, ConfigError, Limits, LogSettings};
use crate::credentials::Secret;
use crate::model::DeployKey;

const ENCRYPTION_KEY_BYTES: usize = 32;
const RUN_MEMORY_BYTES_MIN: u64 = 1 << 20;
/// What 32-bit WebAssembly can address.
const RUN_MEMORY_BYTES_MAX: u64 = 1 << 32;
const CONCURRENT_RUNS_MAX: u64 = 10_000;
/// A week; longer waits are schedules.
/// Less than the lease under which a webhook is sent, which ends some time after it.
const WEBHOOK_TIMEOUT_MS_MAX: u64 = 60_000;
const TIMEOUT_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1_000;
const BYTES_MAX: u64 = 1 << 34;
/// Each waiting request takes a few kilobytes, its body not counted.
const RATE_LIMIT_QUEUE_MAX: u64 = 1_000_000;
/// As above; queued actions are rows.
const WAITING_MAX: u64 = 1_000_000;
const COUNT_MAX: u64 = u32::MAX as u64;

pub(super) fn validate(layers: &Layers) -> Result<(Config, LogSettings), ConfigError> {
    let config = Config {
        listen: parse(layers, "listen", "an address and port such as 127.0.0.1:3003")?,
        public_url: public_url(layers, "public_url")?,
        oauth_callback_override: public_url(layers, "oauth_callback_url")?,
        oauth_bind_browser: typed(layers, "oauth_bind_browser", "true or false")?,
        connect_frame_ancestors: frame_ancestors(layers)?,
        connect_origins: origins(layers, "connect_origins")?,
        data_dir: PathBuf::from(non_empty(layers, "data_dir", "the path of a folder")?),
        database_url: database_url(layers)?,
        secret_key: secret(
            layers,
            "secret_key",
            "a UUID v4, for example from `uuidgen -r`",
            is_uuid_v4,
        )?,
        encryption_key: secret(
            layers,
            "encryption_key",
            "32 bytes in base64, for example from `openssl rand -base64 32`",
            is_encryption_key,
        )?,
        providers: parse_list(layers, "providers", "a list of paths")?,
        verify_connections: typed(layers, "verify_connections", "true or false")?,
        egress_allow: networks(layers, "egress_allow")?,
        override_hosts: typed(
            layers,
            "override_hosts",
            "a list of hosts such as [\"api.example.com\", \".example.com\"]",
        )?,
        deploy_keys: deploy_keys(layers)?,
        record_runs: typed(layers, "record_runs", "\"off\", \"failed\" or \"all\"")?,
        validation: typed(layers, "validation", "\"on\" or \"off\"")?,
        record_encryption: typed(layers, "record_encryption", "\"on\" or \"off\"")?,
        sync_already_running: typed(layers, "sync_already_running", "\"conflict\" or \"success\"")?,
        limits: limits(layers)?,
    };
    let log = LogSettings {
        filter: non_empty(
            layers,
            "log",
            "a level such as info, or directives such as info,nango_runtime::proxy=debug",
        )?,
        format: typed(layers, "log_format", "\"human\" or \"json\"")?,
    };
    Ok((config, log))
}

fn database_url(layers: &Layers) -> Result<Option<String>, ConfigError> {
    let is_postgres = |url: &str| url.starts_with("postgres://") || url.starts_with("postgresql://");
    let expected = "a URL that begins with postgres:// (leave it empty for SQLite in the data folder)";
    let url = secret(layers, "database_url", expected, is_postgres)?;
    Ok(url.map(|url| url.expose().clone()))
}

/// None when empty.
fn public_url(layers: &Layers, key: &str) -> Result<Option<Url>, ConfigError> {
    const EXPECTED: &str =
        "a URL that begins with https:// or http:// and has no query, such as https://connect.example.com";
    let text: String = typed(layers, key, EXPECTED)?;
    if text.is_empty() {
        return Ok(None);
    }
    let is_plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && (url.query(), url.fragment(), url.password()) == (None, None, None)
            && url.username().is_empty()
    };
    let url = Url::parse(&text).ok().filter(is_plain);
    url.map(Some).ok_or_else(|| invalid(layers, key, EXPECTED))
}

/// Sources without what would end the directive, the policy or the header.
fn frame_ancestors(layers: &Layers) -> Result<Vec<String>, ConfigError> {
    const KEY: &str = "connect_frame_ancestors";
    const EXPECTED: &str = "a list of sources such as [\"https://app.example.com\"], or [\"'none'\"]";
    let sources: Vec<String> = typed(layers, KEY, EXPECTED)?;
    let is_source = |source: &String| {
        let mut bytes = source.bytes();
        !source.is_empty() && bytes.all(|byte| byte.is_ascii_graphic() && !b";,\"".contains(&byte))
    };
    if !sources.is_empty() && sources.iter().all(is_source) {
        Ok(sources)
    } else {
        Err(invalid(layers, KEY, EXPECTED))
    }
}

/// Origins as browsers write them: nothing behind the port.
fn origins(layers: &Layers, key: &str) -> Result<Vec<String>, ConfigError> {
    const EXPECTED: &str = "a list of origins such as [\"https://app.example.com\", \"http://localhost:5173\"]";
    let origins: Vec<String> = typed(layers, key, EXPECTED)?;
    // Those of applications have schemes of their own, which have no origin as URLs of the web have.
    let is_origin = |text: &String| match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url.origin().ascii_serialization() == *text,
        Ok(url) => !text.ends_with('/') && url.query().is_none() && url.fragment().is_none() && text.contains("://"),
        Err(_) => false,
    };
    if origins.iter().all(is_origin) {
        Ok(origins)
    } else {
        Err(invalid(layers, key, EXPECTED))
    }
}

fn deploy_keys(layers: &Layers) -> Result<Vec<DeployKey>, ConfigError> {
    const KEY: &str = "deploy_keys";
    const EXPECTED: &str =
        "a list of Ed25519 public keys in base64: the line between those of `openssl pkey -in deploy.pem -pubout`";
    let texts: Vec<String> = typed(layers, KEY, EXPECTED)?;
    let keys = texts.iter().map(|text| DeployKey::parse(text));
    let keys: Option<Vec<DeployKey>> = keys.collect();
    keys.ok_or_else(|| invalid(layers, KEY, EXPECTED))
}

fn limits(layers: &Layers) -> Result<Limits, ConfigError> {
    let section = layers.section("limits");
    for (name, value) in &section {
        let (min, max, expected) = range_of(name);
        let fits = value.as_integer().and_then(|value| u64::try_from(value).ok());
        if !fits.is_some_and(|value| (min..=max).contains(&value)) {
            return Err(invalid(layers, &format!("limits.{name}"), expected));
        }
    }
    let limits: Limits = Value::Table(section)
        .try_into()
        .map_err(|_| invalid(layers, "limits", "a table of numbers"))?;
    check_order(layers, &limits)?;
    Ok(limits)
}

/// Bounds of a limit, which its name gives away.
fn range_of(name: &str) -> (u64, u64, &'static str) {
    match name {
        "concurrent_runs" => (1, CONCURRENT_RUNS_MAX, "a number from 1 to 10000"),
        "concurrent_runs_of_environment" | "concurrent_runs_of_connection" | "concurrent_runs_of_function" => {
            (0, CONCURRENT_RUNS_MAX, "a number from 0 (no limit) to 10000")
        }
        "concurrent_async_actions" | "concurrent_webhook_runs" => (1, CONCURRENT_RUNS_MAX, "a number from 1 to 10000"),
        "waiting_runs" | "queued_async_actions" | "queued_webhook_runs" => {
            (1, WAITING_MAX, "a number from 1 to 1000000")
        }
        "run_memory_bytes" => (
            RUN_MEMORY_BYTES_MIN,
            RUN_MEMORY_BYTES_MAX,
            "bytes from 1048576 (1 MiB) to 4294967296 (4 GiB)",
        ),
        "incoming_webhooks_per_minute" => (0, COUNT_MAX, "a number from 0 (no limit) to 4294967295"),
        "record_payload_retention_days" | "record_retention_days" => {
            (0, COUNT_MAX, "a number from 0 (for ever) to 4294967295")
        }
        "deleted_retention_days" => (0, COUNT_MAX, "a number from 0 to 4294967295"),
        "proxy_rate_limit_retries" | "sync_retries" => (0, 10, "a number from 0 to 10"),
        "proxy_rate_limit_queue" => (1, RATE_LIMIT_QUEUE_MAX, "a number from 1 to 1000000"),
        "webhook_timeout_ms" => (1, WEBHOOK_TIMEOUT_MS_MAX, "milliseconds from 1 to 60000 (a minute)"),
        "webhook_attempts" => (1, 100, "a number from 1 to 100"),
        name if name.ends_with("_ms") => (1, TIMEOUT_MS_MAX, "milliseconds from 1 to 604800000 (a week)"),
        name if name.ends_with("_bytes") => (1, BYTES_MAX, "bytes from 1 to 17179869184 (16 GiB)"),
        _ => (1, COUNT_MAX, "a number from 1 to 4294967295"),
    }
}

/// A shorter wait inside a longer one must be shorter, or the longer one never shows.
fn check_order(layers: &Layers, limits: &Limits) -> Result<(), ConfigError> {
    let pairs = [
        ("limits.proxy_connect_timeout_ms", limits.proxy_connect_timeout_ms),
        ("limits.proxy_first_byte_timeout_ms", limits.proxy_first_byte_timeout_ms),
    ];
    for (key, value) in pairs {
        if value > limits.proxy_total_timeout_ms {
            return Err(ConfigError::Contradiction {
                key,
                origin: layers.origin(key),
                value,
                other: "limits.proxy_total_timeout_ms",
                other_value: limits.proxy_total_timeout_ms,
            });
        }
    }
    Ok(())
}

fn invalid(layers: &Layers, key: &str, expected: &'static str) -> ConfigError {
    ConfigError::Invalid {
        key: key.to_owned(),
        origin: layers.origin(key),
        expected,
        found: layers.value(key).and_then(|value| serde_json::to_string(value).ok()),
    }
}

fn typed<T: DeserializeOwned>(layers: &Layers, key: &str, expected: &'static str) -> Result<T, ConfigError> {
    layers
        .value(key)
        .and_then(|value| value.clone().try_into().ok())
        .ok_or_else(|| invalid(layers, key, expected))
}

fn non_empty(layers: &Layers, key: &str, expected: &'static str) -> Result<String, ConfigError> {
    let text: String = typed(layers, key, expected)?;
    if text.is_empty() {
        Err(invalid(layers, key, expected))
    } else {
        Ok(text)
    }
}

fn parse<T: std::str::FromStr>(layers: &Layers, key: &str, expected: &'static str) -> Result<T, ConfigError> {
    let text: String = typed(layers, key, expected)?;
    text.parse().map_err(|_| invalid(layers, key, expected))
}

fn parse_list<T: std::str::FromStr>(layers: &Layers, key: &str, expected: &'static str) -> Result<Vec<T>, ConfigError> {
    let texts: Vec<String> = typed(layers, key, expected)?;
    let parsed: Result<Vec<T>, T::Err> = texts.iter().map(|text| text.parse()).collect();
    parsed.map_err(|_| invalid(layers, key, expected))
}

/// Networks in CIDR notation; `loopback` stands for both of this machine's own.
fn networks(layers: &Layers, key: &str) -> Result<Vec<IpNet>, ConfigError> {
    const EXPECTED: &str = "a list of networks such as [\"10.0.0.0/8\", \"::1/128\"], or [\"loopback\"]";
    let texts: Vec<String> = typed(layers, key, EXPECTED)?;
    let mut networks = Vec::with_capacity(texts.len());
    for text in texts {
        if text == "loopback" {
            networks.extend([
                IpNet::from(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
                IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ]);
        } else {
            networks.push(text.parse().map_err(|_| invalid(layers, key, EXPECTED))?);
        }
    }
    Ok(networks)
}

/// None when empty. The value is not repeated in the error.
fn secret(
    layers: &Layers,
    key: &str,
    expected: &'static str,
    is_valid: impl Fn(&str) -> bool,
) -> Result<Option<Secret<String>>, ConfigError> {
    match layers.value(key).and_then(Value::as_str) {
        Some("") => Ok(None),
        Some(text) if is_valid(text) => Ok(Some(Secret::new(text.to_owned()))),
        Some(_) | None => Err(ConfigError::Invalid {
            key: key.to_owned(),
            origin: layers.origin(key),
            expected,
            found: None,
        }),
    }
}

fn is_uuid_v4(text: &str) -> bool {
    // Other notations (braces, no hyphens) would be refused later as bearer keys.
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok_and(|uuid| uuid.get_version_num() == 4)
}

/// One or several with commas between.
fn is_encryption_key(text: &str) -> bool {
    let is_key = |text: &str| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim());
        bytes.is_ok_and(|bytes| bytes.len() == ENCRYPTION_KEY_BYTES)
    };
    text.split(',').all(is_key)
}
