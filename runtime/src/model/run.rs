//! Executions of functions, and syncs as what is executed again and again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{ConnectionKey, Counts, EnvironmentId, FunctionKind, IntegrationId, RunId, SyncId};

/// One execution of a function for one connection.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: RunId,
    pub environment_id: EnvironmentId,
    pub integration_id: IntegrationId,
    pub connection_key: ConnectionKey,
    pub function: String,
    pub kind: FunctionKind,
    pub version: i64,
    /// The sync this run belongs to.
    pub sync_id: Option<SyncId>,
    pub trigger: Trigger,
    pub state: RunState,
    pub error: Option<RunError>,
    /// What a sync did to records, by model.
    pub result: BTreeMap<String, Counts>,
    pub created_at_ms: i64,
    pub started_at_ms: Option<i64>,
    pub ended_at_ms: Option<i64>,
    pub duration_us: Option<i64>,
}

/// What made a run start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A call of the HTTP API, the CLI or the embedding program.
    Api,
    Schedule,
    /// Something happened to the connection.
    Event,
    /// The provider sent a webhook that the sync handles.
    Webhook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// Why a run failed, in the words its caller gets.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct RunError {
    /// One of the codes of the error table, for example `action_script_runtime_error`.
    pub code: String,
    pub message: String,
    /// What the function or the upstream gave along, JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// For `script_http_error`: `{status, headers, body}` of the upstream's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Box<RawValue>>,
}

/// The variant every sync has.
pub const BASE_VARIANT: &str = "base";

/// One sync of one connection in one variant: its position, its state and its last runs.
#[derive(Clone, Debug)]
pub struct Sync {
    pub id: SyncId,
    pub environment_id: EnvironmentId,
    pub integration_id: IntegrationId,
    pub connection_key: ConnectionKey,
    /// The customer's name of the connection.
    pub connection_id: String,
    pub function: String,
    /// `base` unless it is an extra instance.
    pub variant: String,
    pub state: SyncState,
    /// Milliseconds between scheduled runs; none when it follows `cron`, or runs only when triggered.
    pub frequency_ms: Option<i64>,
    /// A crontab with its time zone, which gives the slots in the place of `frequency_ms`.
    pub cron: Option<String>,
    /// Who said when it runs.
    pub frequency_from: FrequencySource,
    /// Slots lie at this moment plus whole frequencies.
    pub anchor_ms: i64,
    /// The next slot, or an earlier retry.
    pub next_due_at_ms: Option<i64>,
    /// Failed runs in a row.
    pub failures: i64,
    /// Its run is suspended until then.
    pub waits_until_ms: Option<i64>,
    pub last_run: Option<Run>,
}

/// When a sync runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frequency {
    /// Milliseconds between two runs.
    EveryMs(i64),
    /// A crontab of five fields with the time zone behind: `0 9 * * MON-FRI Europe/Berlin`.
    Cron(String),
}

impl Frequency {
    #[must_use]
    pub fn every_ms(&self) -> Option<i64> {
        match self {
            Self::EveryMs(frequency_ms) => Some(*frequency_ms),
            Self::Cron(_) => None,
        }
    }

    #[must_use]
    pub fn cron(&self) -> Option<&str> {
        match self {
            Self::EveryMs(_) => None,
            Self::Cron(cron) => Some(cron),
        }
    }
}

/// Who said how often a sync runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrequencySource {
    /// The deployed function.
    Function,
    /// The API, for one connection; deploys leave it alone.
    Connection,
}

/// Whose write it is: a run in one of its claims. Writes of a former claim are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    pub run_id: RunId,
    pub number: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    Started,
    Paused,
}
