//! The nouns of the product, as plain data: no I/O, no async, no clock. Everyone may use them; they use nothing.

pub mod action;
pub mod api_key;
pub mod canary;
pub mod connect_session;
pub mod connection;
pub mod credential_read;
pub mod deploy_key;
pub mod encryption_key;
pub mod environment_variable;
pub mod execution;
pub mod fetch_hosts;
pub mod function;
pub mod id;
pub mod incoming;
pub mod integration;
pub mod log;
pub mod progress;
pub mod record;
pub mod revocation;
pub mod run;
pub mod scope;
pub mod webhook;

pub use action::{Action, Idempotency, Usage};
pub use api_key::{ApiKey, KeyLimits, is_plain_path};
pub use canary::{Canary, CanaryFunction, CanaryShare, CanaryState, Rollout, RunCounts};
pub use connect_session::{ConnectSession, IntegrationDefaults, IntegrationOverrides, Reconnect};
pub use connection::{Connection, EndUser, Generation, Made, Organization, RefreshFailure, RefreshState};
pub use credential_read::{CredentialRead, CredentialReadKind, CredentialReader};
pub use deploy_key::DeployKey;
pub use encryption_key::{EncryptionKeyState, KeyHolder, StoredEncryptionKey};
pub use environment_variable::StoredEnvironmentVariable;
pub use execution::ExecutionContext;
pub use fetch_hosts::{FetchHosts, host_covers};
pub use function::{ConnectionEvent, Deployment, Function, FunctionKind, FunctionManifest, MODELS_MAX, Manifest};
pub use id::{
    ApiKeyId, ConnectSessionId, ConnectionKey, CredentialReadId, DeploymentId, EnvironmentId, EnvironmentVariableId,
    IncomingWebhookId, IntegrationId, OperationId, RevocationId, RunId, SyncId, WebhookEventId, WebhookId,
};
pub use incoming::{IncomingWebhook, WebhookRun};
pub use integration::{Environment, Integration};
pub use log::{Level, Message, Operation, OperationKind, OperationState};
pub use progress::{Asking, Progress, SoFar};
pub use record::{Checkpoint, Counts, Record, RecordAction, RecordFilter};
pub use revocation::Revocation;
pub use run::{BASE_VARIANT, Fence, Frequency, FrequencySource, Run, RunError, RunState, Sync, SyncState, Trigger};
pub use scope::{Scope, Scopes};
pub use webhook::{
    Webhook, WebhookKind, WebhookKinds, WebhookSettings, WebhookSettingsPatch, WebhookSlot, WebhookState,
};

/// Bytes that only the holder of the encryption key can read. The layout is that of [`crate::encryption`].
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// A JSON object.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;
