//! Settings: defaults, then the config file, then `NANGO_*` variables, then flags. An unknown key is an error that names it.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::credentials::Secret;

/// Validated settings of one runtime. `config.default.toml` documents each.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// Database, encryption key, compiled code.
    pub data_dir: PathBuf,
    /// SQLite in the data folder when none.
    pub database_url: Option<String>,
    /// The first API key (a UUID); generated when none.
    pub secret_key: Option<Secret<String>>,
    /// 32 bytes in base64; read from or generated into the data folder when none.
    pub encryption_key: Option<Secret<String>>,
    pub providers: Vec<PathBuf>,
    pub egress_allow: Vec<ipnet::IpNet>,
    pub limits: Limits,
}

/// Named limits, with their units.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Runs at the same time; more wait.
    pub concurrent_runs: u32,
    /// Linear memory and tables of one run.
    pub run_memory_bytes: usize,
    pub action_timeout_ms: u64,
    pub sync_timeout_ms: u64,
    pub action_output_bytes: usize,
    /// Body of an answer that a function may read.
    pub response_body_bytes: usize,
    /// Body of a request to the HTTP API, `/proxy` excepted (it streams).
    pub request_body_bytes: usize,
    pub component_bytes: usize,
    /// Messages and bytes one run may log.
    pub run_log_messages: u32,
    pub run_log_bytes: usize,
    pub proxy_connect_timeout_ms: u64,
    pub proxy_first_byte_timeout_ms: u64,
    pub proxy_total_timeout_ms: u64,
    pub log_retention_days: u32,
}
