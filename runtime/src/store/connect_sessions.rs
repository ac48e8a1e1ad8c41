//! Connect sessions, found by the hash of their token. What they let somebody do is sealed.

use sqlx::query;

use super::columns::Columns;
use super::{Store, StoreError};
use crate::model::{ConnectSessionId, EnvironmentId, Sealed};

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConnectSession {
    pub id: ConnectSessionId,
    pub environment_id: EnvironmentId,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    pub details: Sealed,
    pub created_at_ms: i64,
    pub expires_at_ms: i64,
}

impl Store {
    pub async fn insert_connect_session(&self, session: &StoredConnectSession) -> Result<(), StoreError> {
        query(
            "INSERT INTO connect_sessions (id, environment_id, sha256, details, created_at_ms, expires_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(session.id.as_str())
        .bind(session.environment_id.as_str())
        .bind(session.sha256.as_slice())
        .bind(session.details.0.as_slice())
        .bind(session.created_at_ms)
        .bind(session.expires_at_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// The session of a token, unless it ended before `now_ms` or then.
    pub async fn connect_session(
        &self,
        sha256: &[u8; 32],
        now_ms: i64,
    ) -> Result<Option<StoredConnectSession>, StoreError> {
        let row = query(
            "SELECT id, environment_id, details, created_at_ms, expires_at_ms FROM connect_sessions \
             WHERE sha256 = $1 AND expires_at_ms > $2",
        )
        .bind(sha256.as_slice())
        .bind(now_ms)
        .fetch_optional(&self.reader)
        .await?;
        let Some(row) = &row else { return Ok(None) };
        let mut columns = Columns::new(row, "connect_sessions");
        Ok(Some(StoredConnectSession {
            id: columns.id("id")?,
            environment_id: columns.id("environment_id")?,
            sha256: *sha256,
            details: Sealed(columns.get("details")?),
            created_at_ms: columns.get("created_at_ms")?,
            expires_at_ms: columns.get("expires_at_ms")?,
        }))
    }

    /// False when there is none.
    pub async fn delete_connect_session(&self, id: &ConnectSessionId) -> Result<bool, StoreError> {
        let deleted = query("DELETE FROM connect_sessions WHERE id = $1")
            .bind(id.as_str())
            .execute(&self.writer)
            .await?;
        Ok(deleted.rows_affected() == 1)
    }

    /// Deletes what ended before `now_ms` or then; gives how many.
    pub async fn delete_expired_connect_sessions(&self, now_ms: i64) -> Result<u64, StoreError> {
        let deleted = query("DELETE FROM connect_sessions WHERE expires_at_ms <= $1")
            .bind(now_ms)
            .execute(&self.writer)
            .await?;
        Ok(deleted.rows_affected())
    }
}
