//! How many records there are of a model that are not deleted: a number beside the model's last change, which every write keeps in its
//! own transaction. Counting them would take longer the more there are.

use sqlx::{Any, Transaction, query};

use super::RecordKey;
use crate::model::{ConnectionKey, Counts};
use crate::store::columns::Columns;
use crate::store::connections::lives;
use crate::store::{Store, StoreError};

impl Store {
    /// Undeleted records of each model of a connection, by model; models that have none are left out.
    pub async fn record_counts(&self, connection_key: &ConnectionKey) -> Result<Vec<(String, i64)>, StoreError> {
        let rows = query(concat!(
            "SELECT model, record_count FROM record_models WHERE connection_key = $1 AND record_count <> 0 AND ",
            lives!("$1"),
            " ORDER BY model",
        ))
        .bind(connection_key.as_str())
        .fetch_all(&self.reader)
        .await?;
        let mut counts = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::new(row, "record_models");
            counts.push((columns.get("model")?, columns.get("record_count")?));
        }
        Ok(counts)
    }
}

/// Notes how many records a write made and how many it deleted. Whoever writes has the model's row already.
pub(super) async fn add_to_count(
    transaction: &mut Transaction<'static, Any>,
    key: &RecordKey,
    counts: Counts,
) -> Result<(), StoreError> {
    let change = i64::try_from(i128::from(counts.added) - i128::from(counts.deleted)).unwrap_or_default();
    if change == 0 {
        return Ok(());
    }
    query("UPDATE record_models SET record_count = record_count + $3 WHERE connection_key = $1 AND model = $2")
        .bind(key.connection_key.as_str())
        .bind(&key.model)
        .bind(change)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Deletes all records of a model for good. Waits for who writes the model: what he adds goes too, and is not counted afterwards.
pub(in crate::store) async fn delete_all(
    transaction: &mut Transaction<'static, Any>,
    key: &RecordKey,
) -> Result<(), StoreError> {
    for statement in [
        "UPDATE record_models SET record_count = 0 WHERE connection_key = $1 AND model = $2",
        "DELETE FROM records WHERE connection_key = $1 AND model = $2",
    ] {
        query(statement)
            .bind(key.connection_key.as_str())
            .bind(&key.model)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

pub(super) fn count(records: usize) -> u64 {
    u64::try_from(records).unwrap_or(u64::MAX)
}
