//! What the log says of a connection that is made, or whose credentials are tried again: one operation, with the requests that
//! try the credentials as its messages.

use std::sync::Arc;

use super::create::Created;
use super::{CreateError, Parts, Refusal};
use crate::connections::{NewConnection, Target};
use crate::model::log::Source;
use crate::model::{
    EnvironmentId, ExecutionContext, Level, Made, Message, Operation, OperationId, OperationKind, OperationState,
};
use crate::proxy::VerificationError;

/// What is under way. However it ends, there is an end in the log: also when the caller leaves.
pub(super) struct Record {
    parts: Arc<Parts>,
    operation: Operation,
    started_us: u64,
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.operation.ended_at_ms.is_none() {
            let text = "The caller left before it was done";
            self.close(OperationState::Failed, Level::Warn, text.to_owned());
        }
    }
}

impl Record {
    /// A connection is made.
    pub(super) fn begin(parts: &Arc<Parts>, environment_id: &EnvironmentId, new: &NewConnection) -> Self {
        let text = "A connection is being created";
        let mut record = Self::new(parts, environment_id, OperationKind::CreateConnection, text);
        record.operation.provider_config_key = Some(new.provider_config_key.as_str().into());
        record.operation.connection_id = new.connection_id.as_deref().map(Arc::from);
        parts.logs.operation(record.operation.clone());
        record
    }

    /// The credentials of one that is there are tried.
    pub(super) fn of_test(parts: &Arc<Parts>, target: &Target) -> Self {
        let environment_id = &target.connection.environment_id;
        let text = "The credentials are being tried";
        let mut record = Self::new(parts, environment_id, OperationKind::ConnectionTest, text);
        record.operation.provider_config_key = Some(target.integration.unique_key.as_str().into());
        record.is_for(target);
        parts.logs.operation(record.operation.clone());
        record
    }

    /// One whose process died while functions were asked about it.
    pub(super) fn of_lost(parts: &Arc<Parts>, target: &Target) -> Self {
        let environment_id = &target.connection.environment_id;
        let text = "The connection was being created when its process ended";
        let mut record = Self::new(parts, environment_id, OperationKind::CreateConnection, text);
        record.operation.provider_config_key = Some(target.integration.unique_key.as_str().into());
        record.is_for(target);
        record
    }

    pub(super) fn id(&self) -> OperationId {
        self.operation.id.clone()
    }

    fn new(parts: &Arc<Parts>, environment_id: &EnvironmentId, kind: OperationKind, message: &str) -> Self {
        let started_at_ms = parts.clock.now_ms();
        let operation = Operation {
            id: OperationId::new(started_at_ms, parts.entropy.bytes()),
            environment_id: environment_id.clone(),
            kind,
            state: OperationState::Running,
            provider_config_key: None,
            connection_id: None,
            function: None,
            run_id: None,
            message: message.to_owned(),
            started_at_ms,
            ended_at_ms: None,
            duration_us: None,
            usage: None,
        };
        Self {
            parts: Arc::clone(parts),
            operation,
            started_us: parts.clock.monotonic_us(),
        }
    }

    /// The id is known, though generated.
    pub(super) fn is_for(&mut self, draft: &Target) {
        self.operation.connection_id = Some(draft.connection.connection_id.as_str().into());
    }

    /// For requests that try the credentials.
    pub(super) fn context(&self, draft: &Target) -> ExecutionContext {
        ExecutionContext {
            environment_id: self.operation.environment_id.clone(),
            provider_config_key: draft.integration.unique_key.as_str().into(),
            connection_id: draft.connection.connection_id.as_str().into(),
            connection_key: None,
            run_id: None,
            operation_id: self.operation.id.clone(),
        }
    }

    pub(super) fn verified(&self, draft: &Target) {
        let text = format!("The provider {:?} takes the credentials", draft.provider.name);
        self.message(Level::Info, text);
    }

    pub(super) fn succeeded(mut self, created: &Created) {
        let text = match created.made {
            Made::Creation => "The connection was created",
            Made::Override => "The connection was overwritten",
        };
        self.close(OperationState::Success, Level::Info, text.to_owned());
    }

    /// Errors hold no secrets, and what a provider answered is masked in them.
    pub(super) fn failed(mut self, error: &CreateError) {
        let text = match error {
            CreateError::Refused(Refusal { function, message }) => {
                format!("The connection was not created: the function {function:?} refused it: {message}")
            }
            error => format!("The connection was not created: {error}"),
        };
        self.close(OperationState::Failed, Level::Error, text);
    }

    pub(super) fn tried(mut self, outcome: Result<(), &VerificationError>) -> OperationId {
        let (state, level, text) = match outcome {
            Ok(()) => (
                OperationState::Success,
                Level::Info,
                "The provider takes the credentials".to_owned(),
            ),
            Err(error) => (
                OperationState::Failed,
                Level::Error,
                format!("The credentials are not good any more: {error}"),
            ),
        };
        self.close(state, level, text);
        self.operation.id.clone()
    }

    /// Whether the credentials are good was not learned.
    pub(super) fn unknown(mut self, error: &VerificationError) {
        let text = format!("The credentials could not be tried: {error}");
        self.close(OperationState::Failed, Level::Warn, text);
    }

    fn close(&mut self, state: OperationState, level: Level, text: String) {
        self.message(level, text.clone());
        self.end(state, text);
    }

    fn end(&mut self, state: OperationState, message: String) {
        let clock = &self.parts.clock;
        let duration_us = clock.monotonic_us().saturating_sub(self.started_us);
        self.operation.state = state;
        self.operation.message = message;
        self.operation.ended_at_ms = Some(clock.now_ms());
        self.operation.duration_us = Some(i64::try_from(duration_us).unwrap_or(i64::MAX));
        self.parts.logs.operation(self.operation.clone());
    }

    fn message(&self, level: Level, text: String) {
        self.parts.logs.message(Message {
            operation_id: self.operation.id.clone(),
            created_at_us: self.parts.clock.now_us(),
            level,
            source: Source::Internal,
            text,
            fields: None,
        });
    }
}
