//! For whom something is done.

use std::sync::Arc;

use super::{EnvironmentId, OperationId, RunId};

/// For whom a request or a run is: the host fills provider-config-key and connection-id from here, so that neither a
/// function nor a request record can name another connection.
#[derive(Clone, Debug)]
pub struct ExecutionContext {
    pub environment_id: EnvironmentId,
    pub provider_config_key: Arc<str>,
    pub connection_id: Arc<str>,
    /// The run on whose behalf it is; none for a REST proxy call.
    pub run_id: Option<RunId>,
    /// The log operation that messages go to.
    pub operation_id: OperationId,
}
