//! For whom something is done.

use std::sync::Arc;

use super::{ConnectionKey, EnvironmentId, OperationId, RunId};

/// For whom a request or a run is: the host fills provider-config-key and connection-id from here, so that neither a
/// function nor a request record can name another connection.
#[derive(Clone, Debug)]
pub struct ExecutionContext {
    pub environment_id: EnvironmentId,
    pub provider_config_key: Arc<str>,
    pub connection_id: Arc<str>,
    /// Which of those that have or had this connection-id; none for whichever has it now. A run that began for one must not go on
    /// with its successor, which may be somebody else's.
    pub connection_key: Option<ConnectionKey>,
    /// The run on whose behalf it is; none for a REST proxy call.
    pub run_id: Option<RunId>,
    /// The log operation that messages go to.
    pub operation_id: OperationId,
}

impl ExecutionContext {
    /// Whether a connection of the context's names is the one meant.
    #[must_use]
    pub fn means(&self, key: &ConnectionKey) -> bool {
        self.connection_key.as_ref().is_none_or(|meant| meant == key)
    }
}
