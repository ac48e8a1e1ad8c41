//! Recordings of runs, sealed by whoever brings them.

use sqlx::query;

use super::columns::Columns;
use super::connections::lives;
use super::{Store, StoreError};
use crate::model::{ConnectionKey, EnvironmentId, RunId, Sealed};

/// Recordings deleted by one statement.
const DELETE_MAX: i64 = 500;

/// One recording and whose it is.
#[derive(Clone, Debug)]
pub struct StoredRecording {
    pub run_id: RunId,
    pub environment_id: EnvironmentId,
    pub connection_key: ConnectionKey,
    pub sealed: Sealed,
    pub created_at_ms: i64,
}

impl Store {
    /// Of two recordings of one run, which a process that died and its successor may have made, the last one stays.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection was deleted.
    pub async fn insert_recording(&self, recording: &StoredRecording) -> Result<(), StoreError> {
        let inserted = query(concat!(
            "INSERT INTO recordings (run_id, environment_id, connection_key, sealed, created_at_ms) \
             SELECT $1, $2, $3, $4, $5 WHERE ",
            lives!("$3"),
            " ON CONFLICT (run_id) DO UPDATE SET sealed = excluded.sealed, created_at_ms = excluded.created_at_ms",
        ))
        .bind(recording.run_id.as_str())
        .bind(recording.environment_id.as_str())
        .bind(recording.connection_key.as_str())
        .bind(recording.sealed.0.as_slice())
        .bind(recording.created_at_ms)
        .execute(&self.writer)
        .await?;
        if inserted.rows_affected() == 0 {
            return Err(StoreError::ParentGone(sqlx::Error::RowNotFound));
        }
        Ok(())
    }

    pub async fn recording(
        &self,
        environment_id: &EnvironmentId,
        run_id: &str,
    ) -> Result<Option<StoredRecording>, StoreError> {
        let row = query(concat!(
            "SELECT run_id, environment_id, connection_key, sealed, created_at_ms FROM recordings \
             WHERE environment_id = $1 AND run_id = $2 AND ",
            lives!("recordings.connection_key")
        ))
        .bind(environment_id.as_str())
        .bind(run_id)
        .fetch_optional(&self.reader)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mut columns = Columns::new(&row, "recordings");
        Ok(Some(StoredRecording {
            run_id: columns.id("run_id")?,
            environment_id: columns.id("environment_id")?,
            connection_key: columns.id("connection_key")?,
            sealed: Sealed(columns.get("sealed")?),
            created_at_ms: columns.get("created_at_ms")?,
        }))
    }

    /// Gives how many were deleted; there may be more.
    pub async fn delete_recordings_before(&self, before_ms: i64) -> Result<u64, StoreError> {
        let deleted = query(
            "DELETE FROM recordings WHERE run_id IN \
             (SELECT run_id FROM recordings WHERE created_at_ms < $1 ORDER BY created_at_ms LIMIT $2)",
        )
        .bind(before_ms)
        .bind(DELETE_MAX)
        .execute(&self.writer)
        .await?;
        Ok(deleted.rows_affected())
    }
}
