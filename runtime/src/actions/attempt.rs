//! One attempt of an action: run it under its lease, then write what came of it.

use std::sync::Arc;

use super::{Actions, LEASE, failure, retry};
use crate::connections::ConnectionsError;
use crate::executor::{Cancel, Mode, RunOutcome, RunRequest, Urgency};
use crate::model::{Action, ExecutionContext, FunctionKind, OperationId, RunError, RunId, RunState};
use crate::store::{ActionEnd, ActionLease, ActionRetry, ClaimedAction, StoreError};

/// Codes of attempts for which there was no room: they do not count.
const NO_ROOM: [&str; 4] = [
    "too_many_request",
    "action_script_failure",
    "on_event_script_failure",
    "shutting_down",
];
/// The fence of an attempt that began with its action.
const FIRST_FENCE: i64 = 1;

/// What is written of an attempt.
enum Written<'a> {
    End(ActionEnd<'a>),
    Again(ActionRetry<'a>),
}

impl Actions {
    /// An attempt of a queued action.
    pub(super) async fn attempt(&self, claimed: ClaimedAction) {
        let ClaimedAction { action, fence } = claimed;
        let cancel = self.register(&action.id);
        let run_id = RunId::new(self.0.clock.now_ms(), self.0.entropy.bytes());
        let run = async {
            match self.request(&action, &run_id, &cancel).await {
                Ok(request) => self.0.executor.run(request).await,
                Err(error) => RunOutcome {
                    refused: false,
                    ..RunOutcome::failed(error)
                },
            }
        };
        let outcome = tokio::select! {
            outcome = run => Some(outcome),
            () = self.lease_lost(&action.id, fence, &cancel) => None,
        };
        self.unregister(&action.id);
        match outcome {
            Some(outcome) => self.write(&action, fence, &run_id, &outcome, &cancel).await,
            None => {
                // Whoever has it now must not find it running here.
                cancel.cancel();
                tracing::warn!(
                    action.id,
                    "Action {} was taken over by another process and stops here",
                    action.id
                );
            }
        }
    }

    /// The one attempt of an action that its caller waits for.
    pub(super) async fn perform_once(&self, action: Action, mut request: RunRequest) -> Result<String, RunError> {
        let cancel = self.register(&action.id);
        request.cancel = Some(cancel.clone());
        request.is_kept = true;
        let run_id = request.ctx.run_id.clone();
        let outcome = tokio::select! {
            outcome = self.0.executor.run(request) => outcome,
            () = self.lease_lost(&action.id, FIRST_FENCE, &cancel) => {
                cancel.cancel();
                RunOutcome::failed(super::interrupted())
            }
        };
        self.unregister(&action.id);
        if outcome.refused {
            // Nothing was done: the key is free for another try.
            self.insist(&action.id, || self.0.store.forget_action(&action.id, FIRST_FENCE))
                .await;
            return outcome.output;
        }
        let end = self.end(&outcome, run_id.as_ref(), &cancel);
        // Whoever asked for it waits for the answer: nobody else is told.
        self.insist(&action.id, || {
            self.0
                .store
                .end_action(&action.id, FIRST_FENCE, &end, &|_, _| Vec::new())
        })
        .await;
        outcome.output
    }

    async fn write(&self, action: &Action, fence: i64, run_id: &RunId, outcome: &RunOutcome, cancel: &Cancel) {
        let now_ms = self.0.clock.now_ms();
        let first_wait_ms = self.0.limits.async_retry_wait_ms;
        let written = match &outcome.output {
            Err(error) if !cancel.is_cancelled() => {
                // Those of on-event functions are for processes that die.
                let retries_max = match action.kind {
                    FunctionKind::OnEvent => 0,
                    FunctionKind::Action | FunctionKind::Sync => action.retries_max,
                };
                let [random] = self.0.entropy.bytes::<1>();
                let no_room = outcome.refused && NO_ROOM.contains(&error.code.as_str());
                let wait_ms = if no_room {
                    Some(first_wait_ms)
                } else {
                    retry::wait_ms(error, action.attempts, retries_max, first_wait_ms, random)
                };
                match wait_ms {
                    Some(wait_ms) => Written::Again(ActionRetry {
                        error,
                        run_id: Some(run_id),
                        due_at_ms: now_ms.saturating_add(i64::try_from(wait_ms).unwrap_or(i64::MAX)),
                        counts: !no_room,
                    }),
                    None => Written::End(self.end(outcome, Some(run_id), cancel)),
                }
            }
            Ok(_) | Err(_) => Written::End(self.end(outcome, Some(run_id), cancel)),
        };
        let store = &self.0.store;
        self.insist(&action.id, async || match &written {
            Written::End(end) => {
                let ended = store
                    .end_action(&action.id, fence, end, &self.0.announce().await?)
                    .await;
                self.0.webhooks.wake();
                ended
            }
            Written::Again(retry) => store.requeue_action(&action.id, fence, retry).await,
        })
        .await;
    }

    fn end<'a>(&self, outcome: &'a RunOutcome, run_id: Option<&'a RunId>, cancel: &Cancel) -> ActionEnd<'a> {
        let state = match &outcome.output {
            Ok(_) => RunState::Succeeded,
            Err(_) if cancel.is_cancelled() => RunState::Cancelled,
            Err(_) => RunState::Failed,
        };
        ActionEnd {
            state,
            output: outcome.output.as_deref().ok(),
            error: outcome.output.as_ref().err(),
            run_id,
            ended_at_ms: self.0.clock.now_ms(),
        }
    }

    /// Writes until it is written, or the lease decides.
    async fn insist<T, F: Future<Output = Result<T, StoreError>>>(&self, id: &str, write: impl Fn() -> F) {
        self.0.claimer.insist(&format!("action {id}"), write).await;
    }

    async fn request(&self, action: &Action, run_id: &RunId, cancel: &Cancel) -> Result<RunRequest, RunError> {
        let parts = &self.0;
        let target = parts
            .connections
            .target(
                &action.environment_id,
                &action.provider_config_key,
                &action.connection_id,
            )
            .await
            .map_err(|error| unreachable_connection(&error))?;
        let function = parts
            .store
            .function_for(
                &action.environment_id,
                &action.provider_config_key,
                &action.function,
                &target.connection.key,
            )
            .await
            .map_err(|error| failure("action_script_failure", error.to_string()))?
            .filter(|function| function.manifest.kind == action.kind)
            .ok_or_else(|| {
                let message = format!(
                    "the integration has no {} {:?} any more",
                    action.kind.as_str(),
                    action.function
                );
                failure("not_found", message)
            })?;
        if !function.is_enabled {
            let message = format!(
                "the {} {:?} was disabled meanwhile",
                action.kind.as_str(),
                action.function
            );
            return Err(failure("disabled_resource", message));
        }
        Ok(RunRequest {
            ctx: ExecutionContext {
                environment_id: action.environment_id.clone(),
                provider_config_key: action.provider_config_key.as_str().into(),
                connection_id: action.connection_id.as_str().into(),
                connection_key: Some(target.connection.key.clone()),
                run_id: Some(run_id.clone()),
                operation_id: OperationId::new(parts.clock.now_ms(), parts.entropy.bytes()),
            },
            function,
            provider: target.provider.name.as_str().into(),
            environment_name: Arc::clone(&parts.environment_name),
            connection_key: target.connection.key.clone(),
            target,
            input: action.input.clone(),
            sync: None,
            mode: Mode::Live,
            urgency: Urgency::Background,
            is_kept: true,
            cancel: Some(cancel.clone()),
            chain: Default::default(),
        })
    }

    /// Keeps the lease and looks whether the action was cancelled elsewhere; comes back when the lease is lost.
    async fn lease_lost(&self, id: &str, fence: i64, cancel: &Cancel) {
        let renew = |until_ms| async move {
            match self.0.store.renew_action_lease(id, fence, until_ms).await? {
                ActionLease::Kept => {}
                ActionLease::Cancelled => cancel.cancel(),
                ActionLease::Lost => return Ok(false),
            }
            Ok(true)
        };
        self.0.claimer.lease_lost(LEASE, &format!("action {id}"), renew).await;
    }

    fn register(&self, id: &str) -> Cancel {
        let cancel = Cancel::new();
        self.running().insert(id.to_owned(), cancel.clone());
        cancel
    }

    fn unregister(&self, id: &str) {
        self.running().remove(id);
    }
}

fn unreachable_connection(error: &ConnectionsError) -> RunError {
    let code = match error {
        ConnectionsError::UnknownConnection { .. } | ConnectionsError::UnknownIntegration { .. } => {
            "unknown_connection"
        }
        _ => "action_script_failure",
    };
    failure(code, error.to_string())
}
