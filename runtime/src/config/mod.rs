//! Settings: defaults, then the config file, then `NANGO_*` variables, then flags. An unknown key is an error that names it.
//!
//! `config.default.toml` is the first layer and the schema at once: [`layers`] merges tables that have its shape and
//! remembers where each value came from, [`validate`] turns the merged table into a [`Config`]. Reading the environment is
//! left to the caller, so that loading is the same in tests.

mod layers;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;

use url::Url;

use crate::credentials::Secret;
use crate::model::DeployKey;

pub use crate::recording::RecordRuns;
pub use crate::schema::Validation;
pub use layers::Flag;

/// Validated settings of one runtime. `config.default.toml` documents each.
#[derive(Clone)]
pub struct Config {
    pub listen: SocketAddr,
    /// The server's address as browsers see it; made of `listen` when none. See [`Config::public_base_url`].
    pub public_url: Option<Url>,
    /// Where providers send customers back to; the server's own address when none. See [`Config::oauth_callback_url`].
    pub oauth_callback_override: Option<Url>,
    /// Whether an authorization must end in the browser in which it began.
    pub oauth_bind_browser: bool,
    /// Sources of the `frame-ancestors` of the connect page.
    pub connect_frame_ancestors: Vec<String>,
    /// Origins of pages that may wait for the outcome of a popup; every one when empty.
    pub connect_origins: Vec<String>,
    /// Database, encryption key, compiled code.
    pub data_dir: PathBuf,
    /// SQLite in the data folder when none. May hold a password, which `Debug` does not show.
    pub database_url: Option<String>,
    /// The first API key (a UUID); generated when none.
    pub secret_key: Option<Secret<String>>,
    /// 32 bytes in base64; read from or generated into the data folder when none.
    pub encryption_key: Option<Secret<String>>,
    pub providers: Vec<PathBuf>,
    /// Whether credentials are tried before a connection is stored.
    pub verify_connections: bool,
    pub egress_allow: Vec<ipnet::IpNet>,
    /// Public hosts that `Base-Url-Override` may name besides the provider's own.
    pub override_hosts: Vec<String>,
    /// Whose signature components need; none: nobody's.
    pub deploy_keys: Vec<DeployKey>,
    /// Which runs are recorded, so that they can be replayed.
    pub record_runs: RecordRuns,
    /// Whether what functions take and give is checked against the schemas they declare.
    pub validation: Validation,
    pub sync_already_running: AlreadyRunning,
    /// Whether payloads of records are sealed when they are written.
    pub record_encryption: RecordEncryption,
    pub limits: Limits,
}

/// Named limits, with their units.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Runs at the same time; more wait.
    pub concurrent_runs: u32,
    /// Of them of one environment, connection, function; 0 for no limit.
    pub concurrent_runs_of_environment: u32,
    pub concurrent_runs_of_connection: u32,
    pub concurrent_runs_of_function: u32,
    /// Runs that wait for others to end, and for how long.
    pub waiting_runs: usize,
    pub run_wait_ms: u64,
    /// Actions in the background at the same time, in this process.
    pub concurrent_async_actions: u32,
    /// Of one environment.
    pub queued_async_actions: u32,
    /// From being asked for to the first attempt.
    pub async_wait_ms: u64,
    /// Before the second attempt; doubles.
    pub async_retry_wait_ms: u64,
    pub action_retention_days: u32,
    /// For requests and runs under way when the process is told to end.
    pub shutdown_timeout_ms: u64,
    /// Linear memory and tables of one run.
    pub run_memory_bytes: usize,
    pub action_timeout_ms: u64,
    pub sync_timeout_ms: u64,
    pub on_event_timeout_ms: u64,
    /// Repetitions of a failed scheduled run before its next slot.
    pub sync_retries: u32,
    /// Before the first of them; doubled for each further one.
    pub sync_retry_wait_ms: u64,
    /// How long a sync waits for a rate limit in memory.
    pub sync_rate_limit_wait_ms: u64,
    pub action_output_bytes: usize,
    /// Body of an answer that a function may read.
    pub response_body_bytes: usize,
    /// Body of a request to the HTTP API, `/proxy` excepted (it streams).
    pub request_body_bytes: usize,
    /// How long a client of the HTTP API may take nothing of its answer.
    pub send_timeout_ms: u64,
    pub component_bytes: usize,
    /// Messages and bytes one run may log.
    pub run_log_messages: u32,
    pub run_log_bytes: usize,
    pub proxy_connect_timeout_ms: u64,
    pub proxy_first_byte_timeout_ms: u64,
    pub proxy_total_timeout_ms: u64,
    pub proxy_idle_timeout_ms: u64,
    /// Times a 429 is waited for unasked.
    pub proxy_rate_limit_retries: u32,
    /// All waits of one call, between its attempts and in line for a rate limit.
    pub proxy_retry_wait_ms: u64,
    /// Requests that wait in line for one connection's rate limit.
    pub proxy_rate_limit_queue: usize,
    pub log_retention_days: u32,
    /// How long rows of deleted connections are kept.
    pub deleted_retention_days: u32,
    /// How long payloads of records are kept that do not change; 0: for ever.
    pub record_payload_retention_days: u32,
    /// How long records are kept whose syncs do not run; 0: for ever.
    pub record_retention_days: u32,
    /// How long the audit of credential reads is kept.
    pub audit_retention_days: u32,
    /// Messages of one operation, and their bytes together.
    pub log_operation_messages: usize,
    pub log_operation_bytes: usize,
    /// Messages that wait to be written, in bytes.
    pub log_queue_bytes: usize,
    /// One attempt to send a webhook to the application.
    pub webhook_timeout_ms: u64,
    /// Before it becomes a dead letter.
    pub webhook_attempts: u32,
    /// Those of one environment that wait, and as many dead letters.
    pub webhook_queue: u32,
    /// Of dead letters.
    pub webhook_retention_days: u32,
    /// Body of a provider's webhook.
    pub incoming_webhook_body_bytes: usize,
    /// Providers' webhooks of one environment, in this process; 0 for no limit.
    pub incoming_webhooks_per_minute: u32,
    /// Runs for webhooks at the same time, in this process.
    pub concurrent_webhook_runs: u32,
    /// Of one environment.
    pub queued_webhook_runs: u32,
    /// From being received to the beginning of the run.
    pub webhook_run_wait_ms: u64,
    pub webhook_run_timeout_ms: u64,
    /// Payloads of one page of records.
    pub records_page_bytes: usize,
    /// Recording of one run; a longer one is not kept.
    pub recording_bytes: usize,
    pub recording_retention_days: u32,
}

/// What the process writes to stderr. Not part of [`Config`], since an embedding program has a subscriber of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    pub format: LogFormat,
}

/// What triggering a sync that is queued or running already is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlreadyRunning {
    Conflict,
    Success,
}

/// How payloads of records are written. Those that are there are read either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordEncryption {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Human,
    Json,
}

/// What [`load`] makes of all layers.
#[derive(Clone, Debug)]
pub struct Settings {
    pub config: Config,
    pub log: LogSettings,
    /// Variables that begin with `NANGO_` and are no setting of this program: worth a warning.
    pub ignored_variables: Vec<String>,
}

/// Why the settings cannot be used. Values of secret settings are never shown.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the config file {path:?} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the config file {path:?} is no valid TOML: {message}{}", line.map_or(String::new(), |line| format!(" (line {line})")))]
    Syntax {
        path: PathBuf,
        message: String,
        line: Option<usize>,
    },
    #[error("unknown setting `{key}` in {origin}{}; config.default.toml lists all settings", did_you_mean(suggestion.as_deref()))]
    UnknownSetting {
        key: String,
        origin: String,
        suggestion: Option<String>,
    },
    #[error("the environment variable {name} is no setting{}; config.default.toml lists all settings", did_you_mean(suggestion.as_deref()))]
    UnknownVariable { name: String, suggestion: Option<String> },
    #[error("the setting `{key}` ({origin}) must be {expected}{}", found.as_ref().map_or(String::new(), |found| format!(", not {found}")))]
    Invalid {
        key: String,
        origin: String,
        expected: &'static str,
        /// None for secrets.
        found: Option<String>,
    },
    #[error("the setting `{key}` ({origin}) is {value}, but at most `{other}` = {other_value} makes sense")]
    Contradiction {
        key: &'static str,
        origin: String,
        value: u64,
        other: &'static str,
        other_value: u64,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or(String::new(), |suggestion| format!("; did you mean `{suggestion}`?"))
}

/// Merges the layers and checks the result. `environment` may hold any variables; only those that begin with `NANGO_` count.
pub fn load(
    file: Option<&std::path::Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: Vec<Flag>,
) -> Result<Settings, ConfigError> {
    let mut layers = layers::Layers::with_defaults();
    if let Some(path) = file {
        layers.add_file(path)?;
    }
    let ignored_variables = layers.add_environment(environment)?;
    for flag in flags {
        layers.add_flag(flag);
    }
    let (config, log) = validate::validate(&layers)?;
    Ok(Settings {
        config,
        log,
        ignored_variables,
    })
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("public_url", &self.public_url.as_ref().map(Url::as_str))
            .field(
                "oauth_callback_override",
                &self.oauth_callback_override.as_ref().map(Url::as_str),
            )
            .field("oauth_bind_browser", &self.oauth_bind_browser)
            .field("connect_frame_ancestors", &self.connect_frame_ancestors)
            .field("connect_origins", &self.connect_origins)
            .field("data_dir", &self.data_dir)
            .field("database_url", &self.database_url.as_ref().map(|_| "***"))
            .field("secret_key", &self.secret_key)
            .field("encryption_key", &self.encryption_key)
            .field("providers", &self.providers)
            .field("verify_connections", &self.verify_connections)
            .field("egress_allow", &self.egress_allow)
            .field("override_hosts", &self.override_hosts)
            .field("record_runs", &self.record_runs)
            .field("sync_already_running", &self.sync_already_running)
            .field("record_encryption", &self.record_encryption)
            .field("limits", &self.limits)
            .finish()
    }
}

impl Config {
    /// Where browsers find the server, without a slash at the end: for links and redirect URIs. Never what a request says of
    /// itself, which an attacker can choose.
    #[must_use]
    pub fn public_base_url(&self) -> String {
        if let Some(url) = &self.public_url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let port = self.listen.port();
        if self.listen.ip().is_unspecified() {
            return format!("http://localhost:{port}");
        }
        format!("http://{}", self.listen)
    }
}

impl Config {
    /// The redirect URI that providers are told.
    #[must_use]
    pub fn oauth_callback_url(&self) -> String {
        match &self.oauth_callback_override {
            Some(url) => url.as_str().to_owned(),
            None => format!("{}/oauth/callback", self.public_base_url()),
        }
    }
}

impl Default for Config {
    /// The settings of `config.default.toml`.
    fn default() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "the embedded defaults are valid; a test of this module says so"
        )]
        let settings = load(None, [], Vec::new()).expect("the embedded defaults are valid");
        settings.config
    }
}

impl Default for Limits {
    /// The limits of `config.default.toml`.
    fn default() -> Self {
        Config::default().limits
    }
}

#[cfg(test)]
mod tests;
