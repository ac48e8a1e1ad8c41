//! Reading the log, and the operations that the composition root itself writes.

use std::collections::BTreeSet;

use super::Runtime;
use crate::deploy::{DeployError, Deployed, NewComponent};
use crate::logs::{LogStatus, READ_WAIT_MS};
use crate::model::log::Source;
use crate::model::{
    Canary, CanaryState, EnvironmentId, Function, Level, Message, Operation, OperationId, OperationKind, OperationState,
};
use crate::store::{MessageQuery, OperationQuery, StoreError};

impl Runtime {
    /// Log operations, newest first. What was logged before the call is there, unless the database is slow.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operations(
        &self,
        environment: &EnvironmentId,
        query: &OperationQuery,
    ) -> Result<Vec<Operation>, StoreError> {
        self.0.logs.flush_within(READ_WAIT_MS).await;
        self.0.store.operations(environment, query).await
    }

    /// Operations written since the change `after`, the earliest first, and the number of the change to go on from. For
    /// following the log: no change is missed, whenever its operation began.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn changed_operations(
        &self,
        environment: &EnvironmentId,
        query: &OperationQuery,
        after: i64,
    ) -> Result<(Vec<Operation>, i64), StoreError> {
        self.0.logs.flush_within(READ_WAIT_MS).await;
        // Read before: what is written meanwhile is found next time.
        let last = self.0.store.last_operation_change().await?;
        let changed = self.0.store.changed_operations(environment, query, after).await?;
        let is_full = i64::try_from(changed.len()).is_ok_and(|count| count >= query.limit);
        let reached = changed.last().map_or(after, |(change, _)| *change);
        // Behind a page that is not full there is nothing but what the query leaves out.
        let next = if is_full { reached } else { reached.max(last) };
        Ok((changed.into_iter().map(|(_, operation)| operation).collect(), next))
    }

    /// The number of the last change of an operation: where to begin with [`Runtime::changed_operations`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_operation_change(&self) -> Result<i64, StoreError> {
        self.0.logs.flush_within(READ_WAIT_MS).await;
        self.0.store.last_operation_change().await
    }

    /// One log operation; none when there is no such, or it is another environment's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operation(
        &self,
        environment: &EnvironmentId,
        id: &OperationId,
    ) -> Result<Option<Operation>, StoreError> {
        self.0.logs.flush_within(READ_WAIT_MS).await;
        self.0.store.operation(environment, id).await
    }

    /// Messages of one operation with their sequence numbers, oldest first. What was logged before the call is there,
    /// unless the database is slow.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn messages(
        &self,
        environment: &EnvironmentId,
        query: &MessageQuery,
    ) -> Result<Vec<(i64, Message)>, StoreError> {
        self.0.logs.flush_within(READ_WAIT_MS).await;
        self.0.store.messages(environment, query).await
    }

    /// How the log stands: what waits to be written, what was dropped, and why.
    #[must_use]
    pub fn log_status(&self) -> LogStatus {
        self.0.logs.status()
    }
}

/// When something began.
pub(super) struct Started {
    pub(super) at_ms: i64,
    monotonic_us: u64,
}

impl Runtime {
    pub(super) fn started(&self) -> Started {
        Started {
            at_ms: self.0.clock.now_ms(),
            monotonic_us: self.0.clock.monotonic_us(),
        }
    }

    pub(super) fn duration_us(&self, started: &Started) -> i64 {
        let duration_us = self.0.clock.monotonic_us().saturating_sub(started.monotonic_us);
        i64::try_from(duration_us).unwrap_or(i64::MAX)
    }

    /// That a connection was changed is an operation of its own. It names the fields and not their values, which say who
    /// people are.
    pub(super) fn log_patch(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        started: &Started,
        changed: &[&str],
    ) {
        self.0.logs.operation(Operation {
            id: OperationId::new(started.at_ms, self.0.entropy.bytes()),
            environment_id: environment.clone(),
            kind: OperationKind::ConnectionPatch,
            state: OperationState::Success,
            provider_config_key: Some(provider_config_key.into()),
            connection_id: Some(connection_id.into()),
            function: None,
            run_id: None,
            message: format!("The connection was changed: {}", changed.join(", ")),
            started_at_ms: started.at_ms,
            ended_at_ms: Some(self.0.clock.now_ms()),
            duration_us: Some(self.duration_us(started)),
            usage: None,
        });
    }

    /// A deploy is an operation for each integration, with a message for each function.
    pub(super) fn log_deploys(
        &self,
        environment: &EnvironmentId,
        components: &[NewComponent<'_>],
        started: &Started,
        deployed: &Result<Vec<Deployed>, DeployError>,
    ) {
        match deployed {
            Ok(deployed) => {
                for component in deployed {
                    let id = OperationId::new(started.at_ms, self.0.entropy.bytes());
                    for function in &component.functions {
                        self.log_deployed(&id, function);
                    }
                    let message = component.to_string();
                    let key = &component.provider_config_key;
                    self.log_deploy(environment, id, key, started, (OperationState::Success, message));
                }
            }
            Err(error) => {
                let keys: BTreeSet<&str> = components
                    .iter()
                    .map(|component| component.provider_config_key)
                    .collect();
                for key in keys {
                    let id = OperationId::new(started.at_ms, self.0.entropy.bytes());
                    let end = (OperationState::Failed, format!("Deploy failed: {error}"));
                    self.log_deploy(environment, id, key, started, end);
                }
            }
        }
    }

    /// That a canary ended is a deploy, or one that failed.
    pub(super) fn log_canary(&self, canary: &Canary, state: CanaryState, reason: &str, started: &Started) {
        let key = &canary.provider_config_key;
        let (state, message) = match state {
            CanaryState::Promoted => (
                OperationState::Success,
                format!("The canary is active for all: {reason}"),
            ),
            CanaryState::Aborted => (OperationState::Success, format!("The canary was ended: {reason}")),
            CanaryState::RolledBack => (OperationState::Failed, format!("The canary was rolled back: {reason}")),
            CanaryState::Running => return,
        };
        if state == OperationState::Failed {
            tracing::warn!(integration = key, "{key}: {message}");
        } else {
            tracing::info!(integration = key, "{key}: {message}");
        }
        let id = OperationId::new(started.at_ms, self.0.entropy.bytes());
        for function in &canary.functions {
            self.0.logs.message(Message {
                operation_id: id.clone(),
                created_at_us: self.0.clock.now_us(),
                level: Level::Info,
                source: Source::Internal,
                text: format!(
                    "{} in version {}: {} of {} runs failed",
                    function.name,
                    function.version,
                    function.runs.failed,
                    function.runs.all()
                ),
                fields: Message::fields(&serde_json::json!({
                    "function": function.name, "version": function.version, "active_version": function.active_version,
                    "runs": {"succeeded": function.runs.succeeded, "failed": function.runs.failed},
                    "active_runs": {"succeeded": function.active_runs.succeeded, "failed": function.active_runs.failed},
                })),
            });
        }
        self.log_deploy(&canary.environment_id, id, key, started, (state, message));
    }

    /// That another version was made active is a deploy, too.
    pub(super) fn log_rollback(&self, function: &Function, started: &Started) {
        let id = OperationId::new(started.at_ms, self.0.entropy.bytes());
        let (kind, name, version) = (function.manifest.kind.as_str(), &function.name, function.version);
        let message = format!("The {kind} {name} was put to version {version}");
        tracing::info!(
            integration = function.provider_config_key,
            "{}: {message}",
            function.provider_config_key
        );
        let key = &function.provider_config_key;
        let end = (OperationState::Success, message);
        self.log_deploy(&function.environment_id, id, key, started, end);
    }

    fn log_deployed(&self, operation_id: &OperationId, function: &Function) {
        let (kind, name) = (function.manifest.kind.as_str(), &function.name);
        self.0.logs.message(Message {
            operation_id: operation_id.clone(),
            created_at_us: self.0.clock.now_us(),
            level: Level::Info,
            source: Source::Internal,
            text: match function.canary {
                None => format!("The {kind} {name} is active in version {}", function.version),
                Some(canary) => format!(
                    "Version {} of the {kind} {name} is tried by {} % of the connections; active is version {}",
                    canary.version, canary.percent, function.version
                ),
            },
            fields: Message::fields(&serde_json::json!({
                "function": name, "kind": kind, "version": function.version, "digest": function.digest,
            })),
        });
    }

    fn log_deploy(
        &self,
        environment: &EnvironmentId,
        id: OperationId,
        provider_config_key: &str,
        started: &Started,
        (state, message): (OperationState, String),
    ) {
        self.0.logs.operation(Operation {
            id,
            environment_id: environment.clone(),
            kind: OperationKind::Deploy,
            state,
            provider_config_key: Some(provider_config_key.into()),
            connection_id: None,
            function: None,
            run_id: None,
            message,
            started_at_ms: started.at_ms,
            ended_at_ms: Some(self.0.clock.now_ms()),
            duration_us: Some(self.duration_us(started)),
            usage: None,
        });
    }
}
