//! What a run leaves in the database: its operation, and its run unless it is a sync's. Written behind the back of the run, in batches.

use std::sync::Arc;

use super::{Mode, RunOutcome, RunRequest};
use crate::logs::Logs;
use crate::model::{
    ConnectionEvent, FunctionKind, FunctionManifest, Operation, OperationKind, OperationState, Run, RunError, RunState,
    Trigger,
};

/// The operation of a run that has just begun.
pub(super) fn opening(request: &RunRequest, started_at_ms: i64) -> Operation {
    Operation {
        id: request.ctx.operation_id.clone(),
        environment_id: request.ctx.environment_id.clone(),
        kind: kind(&request.function.manifest, request.is_for_webhook()),
        state: OperationState::Running,
        provider_config_key: Some(Arc::clone(&request.ctx.provider_config_key)),
        connection_id: Some(Arc::clone(&request.ctx.connection_id)),
        function: Some(request.function.name.as_str().into()),
        run_id: request.ctx.run_id.clone(),
        message: String::new(),
        started_at_ms,
        ended_at_ms: None,
        duration_us: None,
        usage: None,
    }
}

fn kind(manifest: &FunctionManifest, is_for_webhook: bool) -> OperationKind {
    match (manifest.kind, manifest.event) {
        (FunctionKind::Action, _) => OperationKind::ActionRun,
        (FunctionKind::Sync, _) if is_for_webhook => OperationKind::WebhookIncoming,
        (FunctionKind::Sync, _) => OperationKind::SyncRun,
        (FunctionKind::OnEvent, Some(ConnectionEvent::ValidateConnection)) => OperationKind::ValidateConnection,
        (FunctionKind::OnEvent, Some(ConnectionEvent::PreConnectionDeletion)) => OperationKind::PreConnectionDeletion,
        // None is deployed without an event.
        (FunctionKind::OnEvent, Some(ConnectionEvent::PostConnectionCreation) | None) => {
            OperationKind::PostConnectionCreation
        }
    }
}

/// `error` is the outcome's as it may be written down.
pub(super) fn write(
    logs: &Logs,
    request: &RunRequest,
    outcome: &RunOutcome,
    error: Option<&RunError>,
    started_at_ms: i64,
    ended_at_ms: i64,
) {
    let is_dry = matches!(request.mode, Mode::Dry(_));
    let (state, message) = match error {
        Some(error) if outcome.suspended_ms.is_some() => (OperationState::Success, error.message.clone()),
        None if is_dry => (OperationState::Success, "Dry run: nothing was written".to_owned()),
        None => (OperationState::Success, String::new()),
        Some(error) if is_dry => (OperationState::Failed, format!("Dry run: {error}")),
        Some(error) => (OperationState::Failed, error.to_string()),
    };
    logs.operation(Operation {
        state,
        message,
        ended_at_ms: Some(ended_at_ms),
        duration_us: Some(outcome.duration_us),
        usage: Some(outcome.usage),
        ..opening(request, started_at_ms)
    });
    let kind = request.function.manifest.kind;
    let trigger = match kind {
        FunctionKind::Action => Trigger::Api,
        FunctionKind::OnEvent => Trigger::Event,
        // The row of a sync's run is written by the scheduler, that of a webhook's by the ingress, under the fence of their claims.
        FunctionKind::Sync => return,
    };
    // A dry run has none.
    if let Some(run_id) = &request.ctx.run_id {
        let function = &request.function;
        logs.run(Run {
            id: run_id.clone(),
            environment_id: request.ctx.environment_id.clone(),
            integration_id: function.integration_id.clone(),
            connection_key: request.connection_key.clone(),
            function: function.name.clone(),
            kind,
            version: function.version,
            sync_id: None,
            trigger,
            state: if error.is_none() {
                RunState::Succeeded
            } else {
                RunState::Failed
            },
            error: error.cloned(),
            result: outcome.result.clone(),
            created_at_ms: started_at_ms,
            started_at_ms: Some(started_at_ms),
            ended_at_ms: Some(ended_at_ms),
            duration_us: Some(outcome.duration_us),
        });
    }
}
