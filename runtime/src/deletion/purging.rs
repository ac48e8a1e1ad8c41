//! When rows of what was deleted go for good: by their age, or because somebody says so.

use super::Deletion;
use crate::connections::ConnectionsError;
use crate::model::EnvironmentId;
use crate::store::{PurgeScope, StoreError};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Rows that one transaction deletes, so that others get their turn.
const TRANSACTION_ROWS_MAX: u64 = 1_000;
/// Transactions of one tick, or of one call of an operator: he calls again until nothing is left.
const TRANSACTIONS_MAX: usize = 500;

/// What of the deleted is purged now, whatever its age. What is none does not restrict.
#[derive(Clone, Debug, Default)]
pub struct PurgeQuery {
    /// What the integration is or was called.
    pub provider_config_key: Option<String>,
    /// What the connection was called.
    pub connection_id: Option<String>,
}

/// What became of a purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    pub connections: u64,
    pub integrations: u64,
    /// Of connections: records, runs, checkpoints, the log and the like.
    pub rows: u64,
    /// There is more to be purged.
    pub more: bool,
}

impl Deletion {
    /// Purges what was deleted in an environment up to now, with its log, and whatever its age. A call deletes some 500,000 rows at
    /// most; [`Purged::more`] says whether to call again.
    ///
    /// # Errors
    /// When the database fails; what was purged stays so.
    pub async fn purge(&self, environment_id: &EnvironmentId, query: PurgeQuery) -> Result<Purged, ConnectionsError> {
        self.wipe(None).await?;
        let scope = PurgeScope {
            deleted_until_ms: self.0.clock.now_ms(),
            environment_id: Some(environment_id.clone()),
            provider_config_key: query.provider_config_key,
            connection_id: query.connection_id,
        };
        let purged = self.purge_in(&scope, true).await?;
        self.0.store.forget_erased().await?;
        Ok(purged)
    }

    pub(super) async fn purge_old(&self, now_ms: i64) -> Result<Purged, StoreError> {
        let kept_ms = i64::from(self.0.retention_days).saturating_mul(DAY_MS);
        let scope = PurgeScope {
            deleted_until_ms: now_ms.saturating_sub(kept_ms),
            ..PurgeScope::default()
        };
        // What the log has of it is gone by itself by then, unless the log is kept for longer.
        let history = self.0.log_retention_days > self.0.retention_days;
        self.purge_in(&scope, history).await
    }

    async fn purge_in(&self, scope: &PurgeScope, history: bool) -> Result<Purged, StoreError> {
        let store = &self.0.store;
        let mut purged = Purged::default();
        for _ in 0..TRANSACTIONS_MAX {
            let Some(connection) = store.next_to_purge(scope).await? else {
                purged.integrations = store.purge_integrations(scope).await?;
                return Ok(purged);
            };
            let rows = store
                .purge_connection(&connection, history, TRANSACTION_ROWS_MAX)
                .await?;
            purged.rows += rows;
            if rows < TRANSACTION_ROWS_MAX {
                purged.connections += 1;
            }
        }
        purged.more = true;
        Ok(purged)
    }
}
