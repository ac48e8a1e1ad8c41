//! Authorizations under way, found by the hash of their `state`, each of which can be taken once.

use sqlx::query;

use super::columns::Columns;
use super::{Store, StoreError};
use crate::model::{EnvironmentId, Sealed};

impl Store {
    /// Keeps what the end of an authorization will need.
    pub async fn insert_authorization(
        &self,
        state_hash: &str,
        environment_id: &EnvironmentId,
        details: &Sealed,
        expires_at_ms: i64,
    ) -> Result<(), StoreError> {
        query(
            "INSERT INTO authorizations (state_hash, environment_id, details, expires_at_ms) VALUES ($1, $2, $3, $4)",
        )
        .bind(state_hash)
        .bind(environment_id.as_str())
        .bind(details.0.as_slice())
        .bind(expires_at_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// What is kept there; none when it ended before `now_ms` or then.
    pub async fn authorization(&self, state_hash: &str, now_ms: i64) -> Result<Option<Sealed>, StoreError> {
        let row = query("SELECT details FROM authorizations WHERE state_hash = $1 AND expires_at_ms > $2")
            .bind(state_hash)
            .bind(now_ms)
            .fetch_optional(&self.writer)
            .await?;
        let Some(row) = &row else { return Ok(None) };
        let mut columns = Columns::new(row, "authorizations");
        Ok(Some(Sealed(columns.get("details")?)))
    }

    /// As [`Store::insert_authorization`], in the place of `before` or of what ended by now. Gives whether it was kept: not when there is
    /// something else by now. `times` are now and the end.
    pub async fn replace_authorization(
        &self,
        state_hash: &str,
        environment_id: &EnvironmentId,
        details: &Sealed,
        before: Option<&Sealed>,
        (now_ms, expires_at_ms): (i64, i64),
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        query("DELETE FROM authorizations WHERE state_hash = $1 AND (expires_at_ms <= $2 OR details = $3)")
            .bind(state_hash)
            .bind(now_ms)
            // Nothing that is kept is empty.
            .bind(before.map_or(&[][..], |before| before.0.as_slice()))
            .execute(&mut *transaction)
            .await?;
        let inserted = query(
            "INSERT INTO authorizations (state_hash, environment_id, details, expires_at_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (state_hash) DO NOTHING",
        )
        .bind(state_hash)
        .bind(environment_id.as_str())
        .bind(details.0.as_slice())
        .bind(expires_at_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Where something is kept whose place begins with `start`, which has no characters that patterns know; `max` places at most.
    pub async fn authorizations_at(&self, start: &str, max: i64) -> Result<Vec<String>, StoreError> {
        let rows = query("SELECT state_hash FROM authorizations WHERE state_hash LIKE $1 || '%' LIMIT $2")
            .bind(start)
            .bind(max)
            .fetch_all(&self.reader)
            .await?;
        let places = rows
            .iter()
            .map(|row| Columns::new(row, "authorizations").get("state_hash"));
        places.collect()
    }

    /// Takes it: whoever comes second, with the same `state`, finds nothing. None when it ended before `now_ms` or then.
    pub async fn take_authorization(&self, state_hash: &str, now_ms: i64) -> Result<Option<Sealed>, StoreError> {
        let row = query("DELETE FROM authorizations WHERE state_hash = $1 AND expires_at_ms > $2 RETURNING details")
            .bind(state_hash)
            .bind(now_ms)
            .fetch_optional(&self.writer)
            .await?;
        let Some(row) = &row else { return Ok(None) };
        let mut columns = Columns::new(row, "authorizations");
        Ok(Some(Sealed(columns.get("details")?)))
    }

    /// Deletes what ended before `now_ms` or then; gives how many.
    pub async fn delete_expired_authorizations(&self, now_ms: i64) -> Result<u64, StoreError> {
        let deleted = query("DELETE FROM authorizations WHERE expires_at_ms <= $1")
            .bind(now_ms)
            .execute(&self.writer)
            .await?;
        Ok(deleted.rows_affected())
    }
}
