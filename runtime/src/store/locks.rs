//! Locks of functions: a row for each, with an owner and an end. One that has ended is anybody's.

use sqlx::query;

use super::{Store, StoreError};
use crate::model::EnvironmentId;

impl Store {
    /// Takes a lock until `until_ms`, or prolongs it when `owner` has it already. False when somebody else has it.
    pub async fn acquire_lock(
        &self,
        environment_id: &EnvironmentId,
        key: &str,
        owner: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<bool, StoreError> {
        let taken = query(
            "INSERT INTO locks (environment_id, lock_key, owner, until_ms) VALUES ($1, $2, $3, $5) \
             ON CONFLICT (environment_id, lock_key) DO UPDATE SET owner = excluded.owner, until_ms = excluded.until_ms \
             WHERE locks.until_ms <= $4 OR locks.owner = excluded.owner",
        )
        .bind(environment_id.as_str())
        .bind(key)
        .bind(owner)
        .bind(now_ms)
        .bind(until_ms)
        .execute(&self.writer)
        .await?;
        Ok(taken.rows_affected() == 1)
    }

    /// Gives a lock back. False when `owner` does not have it (any more).
    pub async fn release_lock(
        &self,
        environment_id: &EnvironmentId,
        key: &str,
        owner: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let released =
            query("DELETE FROM locks WHERE environment_id = $1 AND lock_key = $2 AND owner = $3 AND until_ms > $4")
                .bind(environment_id.as_str())
                .bind(key)
                .bind(owner)
                .bind(now_ms)
                .execute(&self.writer)
                .await?;
        Ok(released.rows_affected() == 1)
    }

    /// Gives back all locks of an owner.
    pub async fn release_locks(&self, owner: &str) -> Result<u64, StoreError> {
        let released = query("DELETE FROM locks WHERE owner = $1")
            .bind(owner)
            .execute(&self.writer)
            .await?;
        Ok(released.rows_affected())
    }

    /// Deletes locks that have ended.
    pub async fn delete_locks_before(&self, now_ms: i64) -> Result<u64, StoreError> {
        let deleted = query("DELETE FROM locks WHERE until_ms <= $1")
            .bind(now_ms)
            .execute(&self.writer)
            .await?;
        Ok(deleted.rows_affected())
    }
}
