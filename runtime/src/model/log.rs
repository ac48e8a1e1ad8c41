//! The log: an operation for each unit of work, holding messages.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{EnvironmentId, OperationId, RunId, Usage};

/// One REST proxy call, run, deploy or the like.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: OperationId,
    pub environment_id: EnvironmentId,
    pub kind: OperationKind,
    pub state: OperationState,
    pub provider_config_key: Option<Arc<str>>,
    pub connection_id: Option<Arc<str>>,
    pub function: Option<Arc<str>>,
    pub run_id: Option<RunId>,
    pub message: String,
    pub started_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    pub duration_us: Option<i64>,
    /// Of a run that has ended.
    pub usage: Option<Usage>,
}

impl Operation {
    /// What was over at once, of nothing smaller than the environment.
    #[must_use]
    pub fn at_once(
        now_ms: i64,
        random: [u8; 16],
        environment_id: EnvironmentId,
        kind: OperationKind,
        state: OperationState,
        message: String,
    ) -> Self {
        Self {
            id: OperationId::new(now_ms, random),
            environment_id,
            kind,
            state,
            provider_config_key: None,
            connection_id: None,
            function: None,
            run_id: None,
            message,
            started_at_ms: now_ms,
            ended_at_ms: Some(now_ms),
            duration_us: Some(0),
            usage: None,
        }
    }
}

macro_rules! operation_kinds {
    ($($(#[$doc:meta])* $kind:ident = $word:literal,)+) => {
        /// Names of Nango's operation types, `type:action`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum OperationKind {
            $($(#[$doc])* #[serde(rename = $word)] $kind,)+
        }

        impl OperationKind {
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)+
                }
            }
        }
    };
}

operation_kinds! {
    ProxyCall = "proxy:call",
    ActionRun = "action:run",
    SyncRun = "sync:run",
    ValidateConnection = "events:validate_connection",
    PostConnectionCreation = "events:post_connection_creation",
    PreConnectionDeletion = "events:pre_connection_deletion",
    Deploy = "deploy:custom",
    RefreshToken = "auth:refresh_token",
    CreateConnection = "auth:create_connection",
    ConnectionTest = "auth:connection_test",
    WebhookConnectionCreate = "webhook:connection_create",
    WebhookConnectionRefresh = "webhook:connection_refresh",
    WebhookSync = "webhook:sync",
    WebhookAsyncAction = "webhook:async_action",
    WebhookForward = "webhook:forward",
    /// A provider's webhook, and the run of a function for it.
    WebhookIncoming = "webhook:incoming",
    /// Not one of Nango's: somebody changed the end user or the tags of a connection.
    ConnectionPatch = "connection:patch",
    /// Not one of Nango's: somebody deleted a connection.
    ConnectionDelete = "connection:delete",
    /// Not one of Nango's: its provider was told that the tokens of a deleted connection are not to work any more.
    ConnectionRevoke = "connection:revoke",
    /// Not one of Nango's: payloads of records had got too old.
    RecordsPrune = "records:prune",
    /// Not one of Nango's: records had got too old.
    RecordsDelete = "records:delete",
    /// Not one of Nango's: says that, and how much, is missing in the log.
    LogsLost = "logs:lost",
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    Running,
    Success,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// One line of an operation. Secrets are masked before a message is made.
#[derive(Clone, Debug)]
pub struct Message {
    pub operation_id: OperationId,
    pub created_at_us: i64,
    pub level: Level,
    /// `user` for what a function wrote, `internal` for the rest.
    pub source: Source,
    pub text: String,
    /// Fields: request, response, retry, error, and what a function gave along.
    pub fields: Option<Box<RawValue>>,
}

impl Message {
    /// Fields as a message keeps them: as the text that the database will hold. None for what has no JSON (a map whose keys
    /// are no text), which the fields of messages never are.
    #[must_use]
    pub fn fields(fields: &impl Serialize) -> Option<Box<RawValue>> {
        to_raw_value(fields).ok()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    User,
    Internal,
}
