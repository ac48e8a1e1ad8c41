//! Refreshing credentials: who may do it at the moment, and what came of it. A refresh holds a lease and a fence, a number
//! that grows with each lease of the connection. What a refresh writes is refused once a later one has written, or somebody
//! imported the connection anew meanwhile; so the newest credentials stay, whoever comes late.

use sqlx::{query, query_scalar};

use super::connections::{connection, connection_columns, lives, select_connection};
use super::{Store, StoreError};
use crate::model::{Connection, ConnectionKey, Generation, RefreshFailure, Sealed, Webhook};

/// Connections that one look for due ones gives, at most.
const DUE_MAX: i64 = 1_000;

/// Whose result is written.
#[derive(Clone, Debug)]
pub struct RefreshWrite {
    pub key: ConnectionKey,
    /// The connection's when the refresh began.
    pub epoch: i64,
    /// Of the lease that the refresh was done under.
    pub fence: i64,
}

/// Which connections want fresh credentials.
#[derive(Clone, Copy, Debug)]
pub struct DueQuery {
    pub now_ms: i64,
    /// Those that failed since are left alone, unless that was after now: by a clock that was set back.
    pub failed_before_ms: i64,
    /// Those that failed on so many days or more are left alone.
    pub failing_days_max: i64,
    /// At most 1,000.
    pub limit: i64,
}

/// A connection_config with other credentials of the user in it, and the one that it takes the place of.
#[derive(Clone, Debug)]
pub struct UsersOwn {
    pub before: Sealed,
    pub after: Sealed,
}

impl Store {
    /// Takes the right to refresh a connection until `until_ms`, unless somebody has it. Gives the fence.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection was deleted.
    pub async fn acquire_refresh_lease(
        &self,
        key: &ConnectionKey,
        owner: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<Option<i64>, StoreError> {
        let fence = query_scalar(concat!(
            "INSERT INTO refresh_leases (connection_key, owner, fence, until_ms) SELECT $1, $2, 1, $4 WHERE ",
            lives!("$1"),
            " ON CONFLICT (connection_key) DO UPDATE SET owner = excluded.owner, fence = refresh_leases.fence + 1, \
             until_ms = excluded.until_ms WHERE refresh_leases.until_ms <= $3 RETURNING fence",
        ))
        .bind(key.as_str())
        .bind(owner)
        .bind(now_ms)
        .bind(until_ms)
        .fetch_optional(&self.writer)
        .await?;
        if fence.is_none() {
            self.require_living(key).await?;
        }
        Ok(fence)
    }

    /// Gives the right back. Does nothing when it is somebody else's by now.
    pub async fn end_refresh_lease(&self, key: &ConnectionKey, fence: i64) -> Result<(), StoreError> {
        query("UPDATE refresh_leases SET until_ms = 0 WHERE connection_key = $1 AND fence = $2")
            .bind(key.as_str())
            .bind(fence)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Writes the credentials that a refresh obtained and forgets failures. What it gives is committed. None when a later
    /// refresh or an import came first, the connection is gone, or the connection_config is not the one that `users_own` is to
    /// take the place of.
    pub async fn write_refreshed(
        &self,
        write: &RefreshWrite,
        credentials: &Sealed,
        users_own: Option<&UsersOwn>,
        due_at_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<Option<Generation>, StoreError> {
        let written = query(
            "UPDATE connections SET credentials = $4, credentials_fence = $3, refresh_due_at_ms = $5, \
             refreshed_at_ms = $6, updated_at_ms = $6, refresh_failed_at_ms = NULL, refresh_failing_days = 0, \
             refresh_operation_id = NULL, connection_config = COALESCE($7, connection_config) \
             WHERE connection_key = $1 AND credentials_epoch = $2 AND credentials_fence < $3 \
             AND connection_config = COALESCE($8, connection_config)",
        )
        .bind(write.key.as_str())
        .bind(write.epoch)
        .bind(write.fence)
        .bind(credentials.0.as_slice())
        .bind(due_at_ms)
        .bind(now_ms)
        .bind(users_own.map(|own| own.after.0.as_slice()))
        .bind(users_own.map(|own| own.before.0.as_slice()))
        .execute(&self.writer)
        .await?;
        Ok((written.rows_affected() == 1).then_some(Generation {
            epoch: write.epoch,
            fence: write.fence,
        }))
    }

    /// Writes that a refresh failed, and the webhooks that say so. False, and nothing is written, when a later one succeeded or
    /// an import came first: then it does not matter.
    pub async fn write_refresh_failure(
        &self,
        write: &RefreshWrite,
        failure: &RefreshFailure,
        webhooks: &[Webhook],
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let written = query(
            "UPDATE connections SET refresh_failed_at_ms = $4, refresh_failing_days = $5, refresh_operation_id = $6 \
             WHERE connection_key = $1 AND credentials_epoch = $2 AND credentials_fence < $3",
        )
        .bind(write.key.as_str())
        .bind(write.epoch)
        .bind(write.fence)
        .bind(failure.failed_at_ms)
        .bind(failure.failing_days)
        .bind(failure.operation_id.as_str())
        .execute(&mut *transaction)
        .await?;
        if written.rows_affected() == 0 {
            return Ok(false);
        }
        self.add_webhooks(&mut transaction, webhooks).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Connections whose credentials are due, those that are so for longest first, of all environments.
    pub async fn connections_due_for_refresh(&self, due: DueQuery) -> Result<Vec<Connection>, StoreError> {
        let rows = query(concat!(
            select_connection!(),
            " WHERE c.refresh_due_at_ms <= $1 AND (c.refresh_failed_at_ms IS NULL OR c.refresh_failed_at_ms < $2 \
             OR c.refresh_failed_at_ms > $1) AND c.refresh_failing_days < $3 ORDER BY c.refresh_due_at_ms, c.connection_key LIMIT $4"
        ))
        .bind(due.now_ms)
        .bind(due.failed_before_ms)
        .bind(due.failing_days_max)
        .bind(due.limit.clamp(0, DUE_MAX))
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(connection).collect()
    }
}
