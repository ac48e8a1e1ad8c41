//! Trying credentials that nothing refreshes, once a day: that a key was revoked shows on its connection, and not only when
//! somebody needs it.

use std::sync::Arc;

use futures_util::StreamExt as _;

use super::Connect;
use super::record::Record;
use crate::connections::{ConnectionsError, Target};
use crate::model::{Connection, RefreshFailure};
use crate::oauth::failing_days;
use crate::proxy::VerificationError;
use crate::webhooks::Failure;

/// Connections that one tick tries.
const TICK_CONNECTIONS_MAX: i64 = 100;
/// At the same time.
const TICK_IN_FLIGHT_MAX: usize = 8;
/// When nothing was learned of them, they are tried again after this time.
const UNKNOWN_RETRY_MS: i64 = 60 * 60 * 1_000;

impl Connect {
    /// Ends what dead processes began, then tries the credentials of connections that are due, at most 100. Gives how many. To be called every minute.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tick(&self, now_ms: i64) -> Result<usize, ConnectionsError> {
        self.end_lost(now_ms).await?;
        if !self.0.verify {
            return Ok(0);
        }
        let due = self
            .0
            .connections
            .claim_verifications(now_ms, TICK_CONNECTIONS_MAX)
            .await?;
        let count = due.len();
        futures_util::stream::iter(due)
            .for_each_concurrent(TICK_IN_FLIGHT_MAX, |connection| async move {
                if let Err(error) = self.try_again(&connection).await {
                    tracing::warn!(%error, "The credentials of a connection were not tried: {error}");
                }
            })
            .await;
        Ok(count)
    }

    async fn try_again(&self, connection: &Connection) -> Result<(), ConnectionsError> {
        let parts = &self.0;
        let target = parts
            .connections
            .target_now(
                &connection.environment_id,
                &connection.provider_config_key,
                &connection.connection_id,
            )
            .await;
        let target = match target {
            // Deleted a moment ago.
            Err(ConnectionsError::UnknownConnection { .. } | ConnectionsError::UnknownIntegration { .. }) => {
                return Ok(());
            }
            target => target?,
        };
        let record = Record::of_test(parts, &target);
        let failed_before = target.connection.refresh.failure.as_ref();
        match parts.proxy.verify(&record.context(&target), &target).await {
            Ok(()) => {
                record.tried(Ok(()));
                if failed_before.is_some() {
                    parts.connections.write_verification(&target, None, &[]).await?;
                }
                Ok(())
            }
            Err(error) if is_refusal(&error) => {
                let failed_at_ms = parts.clock.now_ms();
                let failure = RefreshFailure {
                    failed_at_ms,
                    failing_days: failing_days(failed_before, failed_at_ms),
                    operation_id: record.tried(Err(&error)),
                };
                let plan = parts.webhooks.plan(&connection.environment_id).await?;
                let told = Failure {
                    kind: "connection_test_failed".to_owned(),
                    description: error.to_string(),
                };
                let webhooks = plan.credentials_failed(&target.connection, target.provider.auth_mode_name(), &told);
                let connections = &parts.connections;
                connections
                    .write_verification(&target, Some(&failure), &webhooks)
                    .await?;
                parts.webhooks.wake();
                Ok(())
            }
            Err(error) => {
                record.unknown(&error);
                self.later(&target).await
            }
        }
    }

    async fn later(&self, target: &Arc<Target>) -> Result<(), ConnectionsError> {
        let due_at_ms = self.0.clock.now_ms().saturating_add(UNKNOWN_RETRY_MS);
        self.0.connections.verify_at(target, due_at_ms).await
    }
}

/// Whether the provider says that the credentials are bad, and not that it is busy or broken.
fn is_refusal(error: &VerificationError) -> bool {
    match error {
        VerificationError::Refused { status, .. } => matches!(status.as_u16(), 401 | 403),
        VerificationError::NoAnswer { .. } | VerificationError::TimedOut { .. } => false,
    }
}
