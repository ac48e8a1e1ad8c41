//! Where providers send the webhooks of single connections. What is sealed in a row is not known here.

use sqlx::any::AnyRow;
use sqlx::query;

use super::columns::Columns;
use super::{Store, StoreError};
use crate::model::{ConnectionKey, IntegrationId, Sealed};

/// A row.
#[derive(Clone, Debug)]
pub struct StoredWebhookAddress {
    pub connection_key: ConnectionKey,
    pub integration_id: IntegrationId,
    /// SHA-256, in base64url.
    pub token_hash: String,
    pub sealed: Sealed,
}

impl Store {
    pub async fn webhook_address(&self, key: &ConnectionKey) -> Result<Option<StoredWebhookAddress>, StoreError> {
        let row = query(
            "SELECT connection_key, integration_id, token_hash, sealed FROM webhook_addresses WHERE connection_key = $1",
        )
        .bind(key.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(address).transpose()
    }

    pub async fn webhook_address_by_token(&self, token_hash: &str) -> Result<Option<StoredWebhookAddress>, StoreError> {
        let row = query(
            "SELECT connection_key, integration_id, token_hash, sealed FROM webhook_addresses WHERE token_hash = $1",
        )
        .bind(token_hash)
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(address).transpose()
    }

    /// False when the connection has one already.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection is not there any more.
    pub async fn insert_webhook_address(&self, address: &StoredWebhookAddress) -> Result<bool, StoreError> {
        let inserted = query(
            "INSERT INTO webhook_addresses (connection_key, integration_id, token_hash, sealed) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (connection_key) DO NOTHING",
        )
        .bind(address.connection_key.as_str())
        .bind(address.integration_id.as_str())
        .bind(&address.token_hash)
        .bind(address.sealed.0.as_slice())
        .execute(&self.writer)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Puts `new` in the place of `old`. False when something else is there by now.
    pub async fn replace_webhook_address(
        &self,
        key: &ConnectionKey,
        old: &Sealed,
        new: &Sealed,
    ) -> Result<bool, StoreError> {
        let replaced = query("UPDATE webhook_addresses SET sealed = $3 WHERE connection_key = $1 AND sealed = $2")
            .bind(key.as_str())
            .bind(old.0.as_slice())
            .bind(new.0.as_slice())
            .execute(&self.writer)
            .await?;
        Ok(replaced.rows_affected() == 1)
    }
}

fn address(row: &AnyRow) -> Result<StoredWebhookAddress, StoreError> {
    let mut columns = Columns::new(row, "webhook_addresses");
    Ok(StoredWebhookAddress {
        connection_key: columns.id("connection_key")?,
        integration_id: columns.id("integration_id")?,
        token_hash: columns.get("token_hash")?,
        sealed: Sealed(columns.get("sealed")?),
    })
}
