//! OAuth clients that registered themselves. Of all who want one at the same time, on one node or on several, one registers it: the
//! holder of the lease. What it writes is refused once somebody else has taken the lease after it.

use sqlx::{query, query_scalar};

use super::columns::Columns;
use super::{Store, StoreError};
use crate::model::{IntegrationId, Sealed};

/// Clients kept for one integration, at most; the oldest go first. Connections have a copy of theirs.
const CLIENTS_PER_INTEGRATION_MAX: i64 = 1_000;

/// A client that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOAuthClient {
    pub details: Sealed,
    /// SHA-256, in base64url, of its id.
    pub client_id_hash: String,
    /// When its provider stops taking its secret; none when never.
    pub expires_at_ms: Option<i64>,
}

/// The right to register a client.
#[derive(Clone, Copy, Debug)]
pub struct OAuthClientLease {
    pub fence: i64,
}

impl Store {
    /// The details of the client of that key, unless there is none or its secret ends at `usable_until_ms` or before.
    pub async fn oauth_client(&self, client_key: &str, usable_until_ms: i64) -> Result<Option<Sealed>, StoreError> {
        let row = query(
            "SELECT details FROM oauth_clients WHERE client_key = $1 AND details IS NOT NULL \
             AND (expires_at_ms IS NULL OR expires_at_ms > $2)",
        )
        .bind(client_key)
        .bind(usable_until_ms)
        // What the holder of the lease has just written must be seen.
        .fetch_optional(&self.writer)
        .await?;
        let Some(row) = &row else { return Ok(None) };
        let mut columns = Columns::new(row, "oauth_clients");
        Ok(Some(Sealed(columns.get("details")?)))
    }

    /// Takes the right to register until `until_ms`, unless somebody has it.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the integration was deleted.
    pub async fn acquire_oauth_client_lease(
        &self,
        client_key: &str,
        integration_id: &IntegrationId,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<Option<OAuthClientLease>, StoreError> {
        let living: Option<String> =
            query_scalar("SELECT id FROM integrations WHERE id = $1 AND deleted_at_ms IS NULL")
                .bind(integration_id.as_str())
                .fetch_optional(&self.writer)
                .await?;
        if living.is_none() {
            return Err(StoreError::ParentGone(sqlx::Error::RowNotFound));
        }
        let fence: Option<i64> = query_scalar(
            "INSERT INTO oauth_clients (client_key, integration_id, fence, until_ms) VALUES ($1, $2, 1, $4) \
             ON CONFLICT (client_key) DO UPDATE SET fence = oauth_clients.fence + 1, until_ms = excluded.until_ms \
             WHERE oauth_clients.until_ms <= $3 RETURNING fence",
        )
        .bind(client_key)
        .bind(integration_id.as_str())
        .bind(now_ms)
        .bind(until_ms)
        .fetch_optional(&self.writer)
        .await?;
        Ok(fence.map(|fence| OAuthClientLease { fence }))
    }

    /// Gives the right back, with nothing registered.
    pub async fn end_oauth_client_lease(&self, client_key: &str, lease: OAuthClientLease) -> Result<(), StoreError> {
        query("UPDATE oauth_clients SET until_ms = 0 WHERE client_key = $1 AND fence = $2")
            .bind(client_key)
            .bind(lease.fence)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Keeps what was registered and gives the right back. False when somebody else has had it since.
    pub async fn write_oauth_client(
        &self,
        client_key: &str,
        lease: OAuthClientLease,
        client: &StoredOAuthClient,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let integration_id: Option<String> = query_scalar(
            "UPDATE oauth_clients SET details = $3, client_id_hash = $4, expires_at_ms = $5, registered_at_ms = $6, until_ms = 0 \
             WHERE client_key = $1 AND fence = $2 RETURNING integration_id",
        )
        .bind(client_key)
        .bind(lease.fence)
        .bind(client.details.0.as_slice())
        .bind(&client.client_id_hash)
        .bind(client.expires_at_ms)
        .bind(now_ms)
        .fetch_optional(&self.writer)
        .await?;
        let Some(integration_id) = integration_id else {
            return Ok(false);
        };
        query(
            "DELETE FROM oauth_clients WHERE integration_id = $1 AND until_ms <= $2 AND client_key NOT IN \
             (SELECT client_key FROM oauth_clients WHERE integration_id = $1 AND registered_at_ms IS NOT NULL \
             ORDER BY registered_at_ms DESC, client_key LIMIT $3)",
        )
        .bind(integration_id)
        .bind(now_ms)
        .bind(CLIENTS_PER_INTEGRATION_MAX)
        .execute(&self.writer)
        .await?;
        Ok(true)
    }

    /// Forgets a client that its provider does not know any more: the next authorization registers another. Gives how many there
    /// were.
    pub async fn forget_oauth_client(
        &self,
        integration_id: &IntegrationId,
        client_id_hash: &str,
    ) -> Result<u64, StoreError> {
        let forgotten = query(
            "UPDATE oauth_clients SET details = NULL, client_id_hash = NULL, expires_at_ms = NULL \
             WHERE integration_id = $1 AND client_id_hash = $2",
        )
        .bind(integration_id.as_str())
        .bind(client_id_hash)
        .execute(&self.writer)
        .await?;
        Ok(forgotten.rows_affected())
    }
}
