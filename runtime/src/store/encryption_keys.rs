//! Which encryption key seals, and which processes have which. Keys are known here by their ids only.

use sqlx::any::AnyRow;
use sqlx::{Any, Transaction, query, query_scalar};

use super::columns::{Columns, to_json};
use super::{Store, StoreError};
use crate::model::{EncryptionKeyState, KeyHolder, StoredEncryptionKey};

impl Store {
    /// Oldest first.
    pub async fn encryption_keys(&self) -> Result<Vec<StoredEncryptionKey>, StoreError> {
        let rows =
            query("SELECT version, key_id, state, created_at_ms, emptied_at_ms FROM encryption_keys ORDER BY version")
                .fetch_all(&self.reader)
                .await?;
        rows.iter().map(encryption_key).collect()
    }

    /// Adds a key as the newest, unless it is there: the very first one seals, later ones wait for
    /// [`Store::promote_encryption_key`]. False when another one waits already.
    pub async fn insert_encryption_key(&self, key_id: &str, now_ms: i64) -> Result<bool, StoreError> {
        let mut transaction = self.begin_for_encryption_keys().await?;
        let others: i64 = query_scalar(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM encryption_keys WHERE state = 'waiting' AND key_id <> $1",
        )
        .bind(key_id)
        .fetch_one(&mut *transaction)
        .await?;
        if others > 0 {
            return Ok(false);
        }
        query(
            "INSERT INTO encryption_keys (version, key_id, state, created_at_ms) \
             SELECT coalesce(MAX(version), 0) + 1, $1, CASE WHEN COUNT(*) = 0 THEN 'sealing' ELSE 'waiting' END, $2 \
             FROM encryption_keys WHERE 1 = 1 ON CONFLICT (key_id) DO NOTHING",
        )
        .bind(key_id)
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Has the key that waits seal, if all processes seen since `seen_since_ms` have it. Gives whether there is none that waits
    /// any more.
    pub async fn promote_encryption_key(&self, seen_since_ms: i64) -> Result<bool, StoreError> {
        let mut transaction = self.begin_for_encryption_keys().await?;
        let waiting: Option<String> = query_scalar("SELECT key_id FROM encryption_keys WHERE state = 'waiting'")
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(key_id) = waiting else { return Ok(true) };
        let holders = holders(&mut transaction).await?;
        let mut living = holders.iter().filter(|holder| holder.seen_at_ms >= seen_since_ms);
        if !living.all(|holder| holder.key_ids.contains(&key_id)) {
            return Ok(false);
        }
        query("UPDATE encryption_keys SET state = 'opening' WHERE state = 'sealing'")
            .execute(&mut *transaction)
            .await?;
        query("UPDATE encryption_keys SET state = 'sealing' WHERE key_id = $1")
            .bind(key_id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Notes that nothing is sealed any more with the keys before the one that seals.
    pub async fn note_emptied_encryption_keys(&self, sealing: &str, now_ms: i64) -> Result<(), StoreError> {
        query(
            "UPDATE encryption_keys SET emptied_at_ms = $2 WHERE state = 'opening' AND emptied_at_ms IS NULL \
             AND EXISTS (SELECT 1 FROM encryption_keys s WHERE s.state = 'sealing' AND s.key_id = $1)",
        )
        .bind(sealing)
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// From now on nothing needs this key. False when it is not one that only opens.
    pub async fn retire_encryption_key(&self, version: i64) -> Result<bool, StoreError> {
        let retired = query("UPDATE encryption_keys SET state = 'retired' WHERE version = $1 AND state = 'opening'")
            .bind(version)
            .execute(&self.writer)
            .await?;
        Ok(retired.rows_affected() == 1)
    }

    /// What a process says of itself.
    pub async fn note_key_holder(&self, holder: &KeyHolder) -> Result<(), StoreError> {
        query(
            "INSERT INTO encryption_key_holders (process, key_ids, sealing_with, seen_at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (process) DO UPDATE SET key_ids = excluded.key_ids, sealing_with = excluded.sealing_with, \
             seen_at_ms = excluded.seen_at_ms",
        )
        .bind(&holder.process)
        .bind(to_json(&holder.key_ids)?)
        .bind(&holder.sealing_with)
        .bind(holder.seen_at_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    pub async fn key_holders(&self) -> Result<Vec<KeyHolder>, StoreError> {
        let rows =
            query("SELECT process, key_ids, sealing_with, seen_at_ms FROM encryption_key_holders ORDER BY process")
                .fetch_all(&self.reader)
                .await?;
        rows.iter().map(holder).collect()
    }

    /// Forgets one process, or all that were not seen since.
    pub async fn forget_key_holders(&self, process: Option<&str>, seen_since_ms: i64) -> Result<(), StoreError> {
        query("DELETE FROM encryption_key_holders WHERE process = $1 OR seen_at_ms < $2")
            .bind(process.unwrap_or_default())
            .bind(seen_since_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Puts all who change the table in line.
    async fn begin_for_encryption_keys(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let mut transaction = self.begin().await?;
        query("UPDATE settings SET name = name WHERE name = 'encryption_check'")
            .execute(&mut *transaction)
            .await?;
        Ok(transaction)
    }
}

async fn holders(transaction: &mut Transaction<'static, Any>) -> Result<Vec<KeyHolder>, StoreError> {
    let rows = query("SELECT process, key_ids, sealing_with, seen_at_ms FROM encryption_key_holders")
        .fetch_all(&mut **transaction)
        .await?;
    rows.iter().map(holder).collect()
}

fn encryption_key(row: &AnyRow) -> Result<StoredEncryptionKey, StoreError> {
    let mut columns = Columns::new(row, "encryption_keys");
    Ok(StoredEncryptionKey {
        version: columns.get("version")?,
        key_id: columns.get("key_id")?,
        state: columns.word::<EncryptionKeyState>("state")?,
        created_at_ms: columns.get("created_at_ms")?,
        emptied_at_ms: columns.get("emptied_at_ms")?,
    })
}

fn holder(row: &AnyRow) -> Result<KeyHolder, StoreError> {
    let mut columns = Columns::new(row, "encryption_key_holders");
    Ok(KeyHolder {
        process: columns.get("process")?,
        key_ids: columns.json("key_ids")?,
        sealing_with: columns.get("sealing_with")?,
        seen_at_ms: columns.get("seen_at_ms")?,
    })
}
