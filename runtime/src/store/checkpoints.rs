//! Saved positions of syncs, with optimistic concurrency. What a position means and how large it may be is for others.

use sqlx::{Any, Transaction, query, query_scalar};

use super::columns::Columns;
use super::connections::lives;
use super::{Store, StoreError};
use crate::model::{Checkpoint, ConnectionKey};

impl Store {
    /// `key` is `<kind>:<function>[:<variant>]`. None when there is none or it was cleared.
    pub async fn checkpoint(
        &self,
        connection_key: &ConnectionKey,
        key: &str,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let row = query(concat!(
            "SELECT json, version FROM checkpoints \
             WHERE connection_key = $1 AND checkpoint_key = $2 AND json IS NOT NULL AND ",
            lives!("$1")
        ))
        .bind(connection_key.as_str())
        .bind(key)
        .fetch_optional(&self.reader)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mut columns = Columns::new(&row, "checkpoints");
        Ok(Some(Checkpoint {
            json: columns.get("json")?,
            version: columns.get("version")?,
        }))
    }

    /// Saves if the stored version is `seen_version` (0: none seen, none or a cleared one stored). Gives the new
    /// version, none on conflict.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection was deleted.
    pub async fn save_checkpoint(
        &self,
        connection_key: &ConnectionKey,
        key: &str,
        json: &str,
        seen_version: i64,
        now_ms: i64,
    ) -> Result<Option<i64>, StoreError> {
        let mut transaction = self.begin().await?;
        self.check_fence(&mut transaction).await?;
        let save = if seen_version == 0 {
            query_scalar(concat!(
                "INSERT INTO checkpoints (connection_key, checkpoint_key, json, updated_at_ms, version) \
                 SELECT $1, $2, $3, $4, 1 WHERE ",
                lives!("$1"),
                " ON CONFLICT (connection_key, checkpoint_key) DO UPDATE SET json = excluded.json, \
                 updated_at_ms = excluded.updated_at_ms, version = checkpoints.version + 1 \
                 WHERE checkpoints.json IS NULL RETURNING version",
            ))
        } else {
            query_scalar(concat!(
                "UPDATE checkpoints SET json = $3, updated_at_ms = $4, version = version + 1 \
                 WHERE connection_key = $1 AND checkpoint_key = $2 AND version = $5 AND ",
                lives!("$1"),
                " RETURNING version",
            ))
        };
        let save = save.bind(connection_key.as_str()).bind(key).bind(json).bind(now_ms);
        let save = if seen_version == 0 {
            save
        } else {
            save.bind(seen_version)
        };
        let version = save.fetch_optional(&mut *transaction).await?;
        transaction.commit().await?;
        if version.is_none() {
            self.require_living(connection_key).await?;
        }
        Ok(version)
    }

    /// Clears it; the version goes on counting.
    pub async fn clear_checkpoint(
        &self,
        connection_key: &ConnectionKey,
        key: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        self.check_fence(&mut transaction).await?;
        clear(&mut transaction, connection_key, key, now_ms).await?;
        transaction.commit().await?;
        Ok(())
    }
}

pub(super) async fn clear(
    transaction: &mut Transaction<'static, Any>,
    connection_key: &ConnectionKey,
    key: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    query(
        "UPDATE checkpoints SET json = NULL, version = version + 1, updated_at_ms = $3 \
         WHERE connection_key = $1 AND checkpoint_key = $2 AND json IS NOT NULL",
    )
    .bind(connection_key.as_str())
    .bind(key)
    .bind(now_ms)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
