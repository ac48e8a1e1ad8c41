//! Trying stored credentials again: which connections are due, and what came of it.

use sqlx::query;

use super::columns::Columns;
use super::{Store, StoreError};
use crate::model::{ConnectionKey, RefreshFailure, Webhook};

impl Store {
    /// From when on the credentials are tried again.
    pub async fn set_verification_due(&self, key: &ConnectionKey, due_at_ms: i64) -> Result<(), StoreError> {
        query("UPDATE connections SET verify_due_at_ms = $2 WHERE connection_key = $1 AND deleted_at_ms IS NULL")
            .bind(key.as_str())
            .bind(due_at_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Takes up to `limit` connections that are due, those that are so for longest first, and makes them due again at
    /// `next_ms`: so of several processes one gets each.
    pub async fn claim_verifications(
        &self,
        now_ms: i64,
        next_ms: i64,
        limit: i64,
    ) -> Result<Vec<ConnectionKey>, StoreError> {
        let rows = query(
            "UPDATE connections SET verify_due_at_ms = $2 WHERE verify_due_at_ms <= $1 AND connection_key IN \
             (SELECT connection_key FROM connections WHERE verify_due_at_ms <= $1 \
             ORDER BY verify_due_at_ms, connection_key LIMIT $3) RETURNING connection_key",
        )
        .bind(now_ms)
        .bind(next_ms)
        .bind(limit)
        .fetch_all(&self.writer)
        .await?;
        let key = |row| Columns::new(row, "connections").id("connection_key");
        rows.iter().map(key).collect()
    }

    /// Writes that credentials of the `epoch` were refused, with the webhooks that say so, or, without a failure, that they were
    /// taken. False, and nothing is written, when others were imported meanwhile, or the connection is gone.
    pub async fn write_verification(
        &self,
        key: &ConnectionKey,
        epoch: i64,
        failure: Option<&RefreshFailure>,
        webhooks: &[Webhook],
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let written = query(
            "UPDATE connections SET refresh_failed_at_ms = $3, refresh_failing_days = $4, refresh_operation_id = $5 \
             WHERE connection_key = $1 AND credentials_epoch = $2",
        )
        .bind(key.as_str())
        .bind(epoch)
        .bind(failure.map(|failure| failure.failed_at_ms))
        .bind(failure.map_or(0, |failure| failure.failing_days))
        .bind(failure.map(|failure| failure.operation_id.as_str()))
        .execute(&mut *transaction)
        .await?;
        if written.rows_affected() == 0 {
            return Ok(false);
        }
        self.add_webhooks(&mut transaction, webhooks).await?;
        transaction.commit().await?;
        Ok(true)
    }
}
