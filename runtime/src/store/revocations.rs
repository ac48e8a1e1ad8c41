//! What providers have still to be told of deleted connections: a queue, each of whose rows one caller gets at a time.

use sqlx::any::AnyRow;
use sqlx::{Any, Transaction, query};

use super::columns::Columns;
use super::{Store, StoreError};
use crate::model::{Revocation, RevocationId, Sealed};

/// Revocations claimed at once.
const CLAIM_MAX: i64 = 100;

impl Store {
    pub async fn insert_revocation(&self, revocation: &Revocation) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        insert_revocation(&mut transaction, revocation).await?;
        Ok(transaction.commit().await?)
    }

    /// Takes up to `limit` (at most 100) that are due, those that are so for longest first; each counts a try, and is anybody's again
    /// at `until_ms`, should its taker die.
    pub async fn claim_revocations(
        &self,
        now_ms: i64,
        until_ms: i64,
        limit: i64,
    ) -> Result<Vec<Revocation>, StoreError> {
        let rows = query(
            "UPDATE revocations SET lease_until_ms = $2, attempts = attempts + 1 \
             WHERE (lease_until_ms IS NULL OR lease_until_ms <= $1) AND id IN \
             (SELECT id FROM revocations WHERE due_at_ms <= $1 AND (lease_until_ms IS NULL OR lease_until_ms <= $1) \
             ORDER BY due_at_ms, id LIMIT $3) \
             RETURNING id, environment_id, provider_config_key, connection_id, provider, requests, attempts, due_at_ms, \
             created_at_ms",
        )
        .bind(now_ms)
        .bind(until_ms)
        .bind(limit.clamp(0, CLAIM_MAX))
        .fetch_all(&self.writer)
        .await?;
        let mut claimed = rows.iter().map(revocation).collect::<Result<Vec<_>, _>>()?;
        claimed.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(claimed)
    }

    /// Keeps what is left of it for `due_at_ms`.
    pub async fn postpone_revocation(
        &self,
        id: &RevocationId,
        left: &Sealed,
        due_at_ms: i64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin_erasing().await?;
        query("UPDATE revocations SET requests = $2, due_at_ms = $3, lease_until_ms = NULL WHERE id = $1")
            .bind(id.as_str())
            .bind(left.0.as_slice())
            .bind(due_at_ms)
            .execute(&mut *transaction)
            .await?;
        self.end_erasing(transaction).await
    }

    /// Deletes one that is done, or that is given up.
    pub async fn delete_revocation(&self, id: &RevocationId) -> Result<(), StoreError> {
        let mut transaction = self.begin_erasing().await?;
        query("DELETE FROM revocations WHERE id = $1")
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        self.end_erasing(transaction).await
    }
}

pub(super) async fn insert_revocation(
    transaction: &mut Transaction<'static, Any>,
    revocation: &Revocation,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO revocations (id, environment_id, provider_config_key, connection_id, provider, requests, attempts, \
         due_at_ms, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(revocation.id.as_str())
    .bind(revocation.environment_id.as_str())
    .bind(&revocation.provider_config_key)
    .bind(&revocation.connection_id)
    .bind(&revocation.provider)
    .bind(revocation.requests.0.as_slice())
    .bind(revocation.attempts)
    .bind(revocation.due_at_ms)
    .bind(revocation.created_at_ms)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn revocation(row: &AnyRow) -> Result<Revocation, StoreError> {
    let mut columns = Columns::new(row, "revocations");
    Ok(Revocation {
        id: columns.id("id")?,
        environment_id: columns.id("environment_id")?,
        provider_config_key: columns.get("provider_config_key")?,
        connection_id: columns.get("connection_id")?,
        provider: columns.get("provider")?,
        requests: Sealed(columns.get("requests")?),
        attempts: columns.get("attempts")?,
        due_at_ms: columns.get("due_at_ms")?,
        created_at_ms: columns.get("created_at_ms")?,
    })
}
