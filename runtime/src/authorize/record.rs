//! What the log says of an authorization that came to nothing. One that ends in a connection is logged where connections are made.

use super::{AuthorizeParts, FlowError};
use crate::model::log::Source;
use crate::model::{EnvironmentId, Level, Message, Operation, OperationId, OperationKind, OperationState};

/// Errors hold no secrets; what the provider said is in them, and the log masks what looks like one.
pub(super) fn failed(
    parts: &AuthorizeParts,
    environment_id: &EnvironmentId,
    provider_config_key: &str,
    error: &FlowError,
) {
    if let FlowError::Create(_) = error {
        // Its own operation says so.
        return;
    }
    let now_ms = parts.clock.now_ms();
    let text = format!("The connection was not created: {error}");
    let operation = Operation {
        id: OperationId::new(now_ms, parts.entropy.bytes()),
        environment_id: environment_id.clone(),
        kind: OperationKind::CreateConnection,
        state: OperationState::Failed,
        provider_config_key: Some(provider_config_key.into()),
        connection_id: None,
        function: None,
        run_id: None,
        message: text.clone(),
        started_at_ms: now_ms,
        ended_at_ms: Some(now_ms),
        duration_us: Some(0),
        usage: None,
    };
    parts.logs.message(Message {
        operation_id: operation.id.clone(),
        created_at_us: parts.clock.now_us(),
        level: Level::Error,
        source: Source::Internal,
        text,
        fields: None,
    });
    parts.logs.operation(operation);
}
