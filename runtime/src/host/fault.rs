//! What becomes of an error of a part the guest called: mostly the contract's `error`, which the guest can handle; a trap where
//! going on makes no sense. The one place that gives host errors their codes.

use wasmtime::component::ResourceTableError;

use super::bindings::nango::functions::types;
use super::state::GuestState;
use crate::connections::ConnectionsError;
use crate::proxy::ProxyError;
use crate::records::RecordsError;
use crate::store::StoreError;
use crate::variables::VariablesError;

/// Why a host call has no result.
#[derive(Debug)]
pub enum Fault {
    /// Given to the guest.
    Error(types::Error),
    /// Ends the run.
    Trap(wasmtime::Error),
}

/// What a run traps with that waits for a rate limit outside of memory.
#[derive(Debug, thiserror::Error)]
#[error("the sync is suspended: the provider's rate limit holds its requests back for {wait_ms} ms")]
pub(crate) struct Suspended {
    pub(crate) wait_ms: u64,
}

/// Codes of errors that may go away when the same is asked again later.
const RETRYABLE: [&str; 12] = [
    "connection_refresh_backoff",
    "upstream_dns_failed",
    "upstream_unreachable",
    "upstream_timeout",
    "upstream_reset",
    "rate_limited",
    "rate_limit_queue_full",
    "checkpoint_conflict",
    "internal_error",
    "too_many_request",
    "action_script_failure",
    "shutting_down",
];

/// The proxy's code for a failure of the database or the like.
const SERVER_ERROR: &str = "server_error";

impl Fault {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        let retryable = if RETRYABLE.contains(&code) { "true" } else { "false" };
        Self::Error(types::Error {
            code: code.to_owned(),
            message: message.into(),
            details: vec![("retryable".to_owned(), retryable.to_owned())],
        })
    }

    /// What does not fit a schema, with the place of each fault.
    pub(super) fn unfit(code: &str, what: &str, faults: &[String]) -> Self {
        Self::new(code, format!("{what}: {}", faults.join("; ")))
    }

    /// The same with more details; values are JSON text.
    pub(super) fn with_details(code: &str, message: impl Into<String>, more: Vec<(String, String)>) -> Self {
        match Self::new(code, message) {
            Self::Error(mut error) => {
                error.details.extend(more);
                Self::Error(error)
            }
            trap @ Self::Trap(_) => trap,
        }
    }

    pub(super) fn trap(message: impl std::fmt::Display + std::fmt::Debug + Send + Sync + 'static) -> Self {
        Self::Trap(wasmtime::Error::msg(message))
    }

    /// Whether it may be the rate limit's doing.
    pub(super) fn is_rate_limit(&self) -> bool {
        matches!(self, Self::Error(error) if matches!(error.code.as_str(), "rate_limited" | "rate_limit_queue_full"))
    }

    /// The guest's error, or the trap.
    pub(super) fn into_error(self) -> wasmtime::Result<types::Error> {
        match self {
            Self::Error(error) => Ok(error),
            Self::Trap(trap) => Err(trap),
        }
    }
}

impl From<ProxyError> for Fault {
    fn from(error: ProxyError) -> Self {
        match error.code() {
            // What failed inside is not the guest's business.
            SERVER_ERROR => internal(&error),
            code => Self::new(code, error.to_string()),
        }
    }
}

impl From<ConnectionsError> for Fault {
    fn from(error: ConnectionsError) -> Self {
        // One table of codes for both: a request for an unknown connection and its metadata fail alike.
        ProxyError::from(error).into()
    }
}

impl From<RecordsError> for Fault {
    fn from(error: RecordsError) -> Self {
        let error = match error {
            RecordsError::Store(error @ StoreError::Cursor { .. }) => {
                return Self::new("invalid_cursor", error.to_string());
            }
            RecordsError::Store(error) => return error.into(),
            error @ (RecordsError::Stored { .. } | RecordsError::Encryption(_)) => return internal(&error),
            error @ RecordsError::NotTracking { .. } => {
                return Self::new("track_deletes_not_started", error.to_string());
            }
            error => error,
        };
        // Everything else is about what the guest gave, so that it may see the cause as well.
        let message = match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        Self::new("invalid_record", message)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        if let StoreError::Superseded { .. } = &error {
            // Whatever the guest did next would be refused as well.
            return Self::Trap(wasmtime::Error::new(error));
        }
        internal(&error)
    }
}

impl From<VariablesError> for Fault {
    fn from(error: VariablesError) -> Self {
        match error {
            VariablesError::Store(error) => error.into(),
            error => internal(&error),
        }
    }
}

impl From<ResourceTableError> for Fault {
    fn from(error: ResourceTableError) -> Self {
        match error {
            ResourceTableError::Full => Self::new(
                "too_many_handles",
                "the run holds too many answers and requests under way: drop those it has read",
            ),
            ResourceTableError::NotPresent | ResourceTableError::WrongType | ResourceTableError::HasChildren => {
                Self::Trap(error.into())
            }
        }
    }
}

/// What went wrong inside is for the operator's log; a guest could not do anything about it.
fn internal(error: &(dyn std::error::Error + 'static)) -> Fault {
    tracing::error!(error, "A host call failed: {error}");
    Fault::new(
        "internal_error",
        "the runtime could not read or write its database; its log says why",
    )
}

impl types::Host for GuestState {
    fn convert_error(&mut self, fault: Fault) -> wasmtime::Result<types::Error> {
        fault.into_error()
    }
}
