//! Writes down what became of a refresh: the new credentials, durably, or the failure; and an operation in the log.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::chain;
use super::obtain::Obtained;
use super::{NoCredentials, Parts, RefreshError};
use crate::connections::{ConnectionsError, Fresh, RefreshRight, Target};
use crate::model::log::Source;
use crate::model::{Level, Message, Operation, OperationId, OperationKind, OperationState, RefreshFailure};
use crate::webhooks::Failure;

/// Waits before new credentials are written again after the database failed: the provider has given them, and may have made
/// the ones before void. Together less than what a lease leaves after the token endpoint.
const WRITE_RETRY_MS: [u64; 6] = [50, 200, 1_000, 2_000, 5_000, 10_000];
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A refresh under way.
pub(super) struct Record<'a> {
    parts: &'a Parts,
    target: &'a Target,
    operation_id: OperationId,
    started_at_ms: i64,
    started_us: u64,
}

impl<'a> Record<'a> {
    pub(super) fn begin(parts: &'a Parts, target: &'a Target) -> Self {
        let started_at_ms = parts.clock.now_ms();
        Self {
            parts,
            target,
            operation_id: OperationId::new(started_at_ms, parts.entropy.bytes()),
            started_at_ms,
            started_us: parts.clock.monotonic_us(),
        }
    }

    /// Gives the connection with its new credentials once they are committed; none when somebody else's are newer.
    pub(super) async fn succeeded(
        &self,
        right: RefreshRight,
        obtained: &Obtained,
    ) -> Result<Option<Arc<Target>>, ConnectionsError> {
        let written = self.write(right, &obtained.fresh).await;
        match &written {
            Ok(Some(target)) => {
                let text = match target.credentials.expires_at_ms() {
                    Some(at_ms) => {
                        let seconds = at_ms.saturating_sub(self.parts.clock.now_ms()) / 1_000;
                        format!("The token was refreshed; the new one lives for {seconds} s")
                    }
                    None => "The token was refreshed; the new one has no end".to_owned(),
                };
                match &obtained.complaint {
                    Some(error) => {
                        let text = format!("{text}. The user's own token could not be refreshed: {}", chain(error));
                        self.log(OperationState::Success, Level::Warn, text, None);
                    }
                    None => self.log(OperationState::Success, Level::Info, text, None),
                }
            }
            Ok(None) => {
                let text = "The token was refreshed, but the connection has newer credentials by now".to_owned();
                self.log(OperationState::Success, Level::Warn, text, None);
            }
            Err(error) => {
                let text = format!("The token was refreshed, but could not be stored: {error}");
                self.log(OperationState::Failed, Level::Error, text, None);
            }
        }
        written
    }

    pub(super) async fn failed(&self, right: RefreshRight, error: &RefreshError) {
        let text = format!("The token could not be refreshed: {}", chain(error));
        self.log(OperationState::Failed, Level::Error, text, Some(&error_fields(error)));
        let failed_at_ms = self.parts.clock.now_ms();
        let failure = RefreshFailure {
            failed_at_ms,
            failing_days: failing_days(self.target.connection.refresh.failure.as_ref(), failed_at_ms),
            operation_id: self.operation_id.clone(),
        };
        if let Err(error) = self.write_failure(right, &failure, error).await {
            tracing::error!(%error, "That a refresh failed could not be stored: {error}");
        }
    }

    /// The application hears of it once for each day with a failure, and not with each of the attempts that follow.
    async fn write_failure(
        &self,
        right: RefreshRight,
        failure: &RefreshFailure,
        error: &RefreshError,
    ) -> Result<(), ConnectionsError> {
        let parts = self.parts;
        let connection = &self.target.connection;
        let days_before = connection
            .refresh
            .failure
            .as_ref()
            .map_or(0, |before| before.failing_days);
        let webhooks = if failure.failing_days > days_before {
            let told = Failure {
                kind: NoCredentials::code_of(error).to_owned(),
                description: chain(error),
            };
            let plan = parts.webhooks.plan(&connection.environment_id).await?;
            plan.credentials_failed(connection, self.target.provider.auth_mode_name(), &told)
        } else {
            Vec::new()
        };
        let connections = &parts.connections;
        connections
            .write_refresh_failure(self.target, right, failure, &webhooks)
            .await?;
        parts.webhooks.wake();
        Ok(())
    }

    async fn write(&self, right: RefreshRight, fresh: &Fresh) -> Result<Option<Arc<Target>>, ConnectionsError> {
        let obtained_at_ms = self.parts.clock.now_ms();
        let write = || {
            self.parts
                .connections
                .write_refreshed(self.target, right, fresh, obtained_at_ms)
        };
        for retry_after_ms in WRITE_RETRY_MS {
            match write().await {
                Err(ConnectionsError::Store(error)) if error.is_transient() => {
                    tracing::error!(%error, "New credentials were not stored, trying again in {retry_after_ms} ms: {error}");
                    self.parts.clock.sleep(Duration::from_millis(retry_after_ms)).await;
                }
                written => return written,
            }
        }
        write().await
    }

    fn log(&self, state: OperationState, level: Level, text: String, fields: Option<&Value>) {
        let parts = self.parts;
        let connection = &self.target.connection;
        let duration_us = parts.clock.monotonic_us().saturating_sub(self.started_us);
        parts.logs.operation(Operation {
            id: self.operation_id.clone(),
            environment_id: connection.environment_id.clone(),
            kind: OperationKind::RefreshToken,
            state,
            provider_config_key: Some(connection.provider_config_key.as_str().into()),
            connection_id: Some(connection.connection_id.as_str().into()),
            function: None,
            run_id: None,
            message: text.clone(),
            started_at_ms: self.started_at_ms,
            ended_at_ms: Some(parts.clock.now_ms()),
            duration_us: Some(i64::try_from(duration_us).unwrap_or(i64::MAX)),
            usage: None,
        });
        parts.logs.message(Message {
            operation_id: self.operation_id.clone(),
            created_at_us: parts.clock.now_us(),
            level,
            source: Source::Internal,
            text,
            fields: fields.and_then(Message::fields),
        });
    }
}

fn error_fields(error: &RefreshError) -> Value {
    let mut fields = json!({ "error": { "code": NoCredentials::code_of(error), "message": chain(error) } });
    if let (RefreshError::Status { status, .. }, Value::Object(fields)) = (error, &mut fields) {
        fields.insert("response".to_owned(), json!({ "code": status }));
    }
    fields
}

/// Days with a failure, today included. (Nango compatibility: several failures of a day count once.)
pub(crate) fn failing_days(before: Option<&RefreshFailure>, now_ms: i64) -> i64 {
    match before {
        Some(before) if before.failed_at_ms.div_euclid(DAY_MS) == now_ms.div_euclid(DAY_MS) => before.failing_days,
        Some(before) => before.failing_days.saturating_add(1),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_a_day_count_once() {
        let failure = |failed_at_ms, failing_days| RefreshFailure {
            failed_at_ms,
            failing_days,
            operation_id: "op_1".into(),
        };
        let noon = 20_000 * DAY_MS + DAY_MS / 2;
        assert_eq!(failing_days(None, noon), 1);
        assert_eq!(failing_days(Some(&failure(noon - 60_000, 1)), noon), 1);
        assert_eq!(failing_days(Some(&failure(noon - DAY_MS, 1)), noon), 2);
        assert_eq!(failing_days(Some(&failure(noon - 9 * DAY_MS, 3)), noon), 4);
    }
}
