//! API keys, of which only hashes are kept.

use sqlx::any::AnyRow;
use sqlx::{query, query_scalar};

use super::columns::{Columns, to_json};
use super::{Store, StoreError};
use crate::model::{ApiKey, ApiKeyId, EnvironmentId};

impl Store {
    /// False when the environment has `keys_max` already.
    pub async fn insert_api_key(&self, key: &ApiKey, keys_max: i64) -> Result<bool, StoreError> {
        let (scopes, limits) = (to_json(&key.scopes)?, to_json(&key.limits)?);
        let mut transaction = self.begin().await?;
        // Puts those who insert at the same time in line, so that the count holds.
        query("UPDATE environments SET name = name WHERE id = $1")
            .bind(key.environment_id.as_str())
            .execute(&mut *transaction)
            .await?;
        let count: i64 = query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM api_keys WHERE environment_id = $1")
            .bind(key.environment_id.as_str())
            .fetch_one(&mut *transaction)
            .await?;
        if count >= keys_max {
            return Ok(false);
        }
        query(
            "INSERT INTO api_keys (id, environment_id, name, sha256, scopes, limits, created_at_ms, last_used_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(key.id.as_str())
        .bind(key.environment_id.as_str())
        .bind(&key.name)
        .bind(key.sha256.as_slice())
        .bind(scopes)
        .bind(limits)
        .bind(key.created_at_ms)
        .bind(key.last_used_at_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// All keys of all environments, for the cache that authenticates requests. Oldest first.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let rows = query(
            "SELECT id, environment_id, name, sha256, scopes, limits, created_at_ms, last_used_at_ms \
             FROM api_keys ORDER BY created_at_ms, id",
        )
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(api_key).collect()
    }

    /// False when the environment has none of that id.
    pub async fn delete_api_key(&self, environment_id: &EnvironmentId, id: &ApiKeyId) -> Result<bool, StoreError> {
        let deleted = query("DELETE FROM api_keys WHERE environment_id = $1 AND id = $2")
            .bind(environment_id.as_str())
            .bind(id.as_str())
            .execute(&self.writer)
            .await?;
        Ok(deleted.rows_affected() == 1)
    }

    /// Notes when keys were last used, unless a later time is noted already.
    pub async fn set_api_keys_used(&self, uses: &[(ApiKeyId, i64)]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for (id, used_at_ms) in uses {
            query(
                "UPDATE api_keys SET last_used_at_ms = $2 \
                 WHERE id = $1 AND (last_used_at_ms IS NULL OR last_used_at_ms < $2)",
            )
            .bind(id.as_str())
            .bind(*used_at_ms)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

fn api_key(row: &AnyRow) -> Result<ApiKey, StoreError> {
    let mut columns = Columns::new(row, "api_keys");
    Ok(ApiKey {
        id: columns.id("id")?,
        environment_id: columns.id("environment_id")?,
        name: columns.get("name")?,
        sha256: {
            let digest: &[u8] = columns.get("sha256")?;
            <[u8; 32]>::try_from(digest).map_err(|source| columns.inconsistent("sha256", source.into()))?
        },
        scopes: columns.json("scopes")?,
        limits: columns.json("limits")?,
        created_at_ms: columns.get("created_at_ms")?,
        last_used_at_ms: columns.get("last_used_at_ms")?,
    })
}
