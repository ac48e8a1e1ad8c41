//! Actions that outlive the request that asked for them, and on-event functions that nobody waits for.

use super::{ConnectionKey, EnvironmentId, FunctionKind, RunError, RunId, RunState};

/// An action that was asked for in the background, or with an idempotency key. It has as many runs as attempts were made.
#[derive(Clone, Debug)]
pub struct Action {
    /// A UUID, as Nango's are.
    pub id: String,
    pub environment_id: EnvironmentId,
    pub provider_config_key: String,
    pub connection_id: String,
    pub connection_key: ConnectionKey,
    /// An action, or an on-event function: those nobody asked for, and nobody is shown.
    pub kind: FunctionKind,
    pub function: String,
    /// JSON text.
    pub input: String,
    pub state: RunState,
    /// Attempts begun.
    pub attempts: i64,
    /// Attempts that may follow the first.
    pub retries_max: i64,
    /// The next attempt does not begin before.
    pub due_at_ms: i64,
    pub created_at_ms: i64,
    /// Of the first attempt.
    pub started_at_ms: Option<i64>,
    pub ended_at_ms: Option<i64>,
    /// When somebody asked to cancel it.
    pub cancelled_at_ms: Option<i64>,
    /// Of the last attempt.
    pub run_id: Option<RunId>,
    /// JSON text of one that succeeded.
    pub output: Option<String>,
    /// Of one that failed or was cancelled, and of the last attempt of one that is to be tried again.
    pub error: Option<RunError>,
    pub idempotency: Option<Idempotency>,
    /// Asked for in the background: the application is told when it has ended. Otherwise somebody waits for it.
    pub is_background: bool,
}

/// By what a repetition of the same call is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's.
    pub key: String,
    /// SHA-256 of what is asked for: another one under the same key is a mistake.
    pub fingerprint: Vec<u8>,
}

/// What a run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Processor time of the thread while it worked for the run: the guest's code, and what the host did for it at once.
    pub cpu_us: u64,
    /// The most that memories and tables of the instance took together.
    pub memory_bytes: u64,
    /// Requests to the provider, and the bytes of their bodies.
    pub requests: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// JSON that an action gave.
    pub output_bytes: u64,
}
