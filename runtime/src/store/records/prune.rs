//! Empties payloads that the application has read: the id stays, and the hash, by which a change is told from no change.

use sqlx::{Any, Transaction};

use super::cursor::Position;
use super::sealing::{head, lock_model};
use super::{Pruned, RecordKey};
use crate::store::columns::Columns;
use crate::store::open::Dialect;
use crate::store::sql::{Sql, chunks};
use crate::store::{Store, StoreError};

/// Records pruned at once.
pub const PRUNE_RECORDS_MAX: i64 = 10_000;
/// Payloads in memory at once.
const READ_RECORDS: i64 = 500;

impl Store {
    /// Empties the payloads of records up to and with the change at `until_cursor`, the earliest changes first, at most `limit` (1 to
    /// 10,000). What was pruned before does not count. Readers that follow a cursor see no change.
    ///
    /// # Errors
    /// [`StoreError::Cursor`] when the cursor is none of ours.
    pub async fn prune_records(
        &self,
        key: &RecordKey,
        until_cursor: &str,
        limit: i64,
        now_us: i64,
    ) -> Result<Pruned, StoreError> {
        let until = Position::decode(until_cursor)?;
        let limit = limit.clamp(1, PRUNE_RECORDS_MAX);
        let mut transaction = self.begin().await?;
        lock_model(&mut transaction, key).await?;
        let mut pruned = Pruned {
            count: 0,
            has_more: false,
        };
        let mut left = limit;
        while left > 0 {
            let rows = self
                .prunable(&mut transaction, key, until, left.min(READ_RECORDS))
                .await?;
            if rows.is_empty() {
                break;
            }
            left -= i64::try_from(rows.len()).unwrap_or(i64::MAX);
            pruned.count += empty(self.dialect, &mut transaction, key, &rows, now_us).await?;
        }
        pruned.has_more = left == 0 && !self.prunable(&mut transaction, key, until, 1).await?.is_empty();
        transaction.commit().await?;
        Ok(pruned)
    }

    /// Ids of records in the store and what stays of each.
    async fn prunable(
        &self,
        transaction: &mut Transaction<'static, Any>,
        key: &RecordKey,
        until: Position,
        limit: i64,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            "SELECT external_id, data FROM records WHERE pruned_at_us IS NULL AND connection_key = ",
        );
        sql.bind(key.connection_key.as_str())
            .push(" AND model = ")
            .bind(key.model.as_str());
        sql.push(" AND (modified_at_us, sequence) <= (")
            .bind(until.modified_at_us);
        sql.push(", ").bind(until.sequence);
        sql.push(") AND sequence >= 0 ORDER BY modified_at_us, sequence LIMIT ")
            .bind(limit);
        sql.plan_anew();
        let mut rows = Vec::new();
        for row in &sql.fetch_all(&mut **transaction).await? {
            let mut columns = Columns::new(row, "records");
            let external_id: String = columns.get("external_id")?;
            let data: String = columns.get("data")?;
            let head = head(&data, &external_id).map_err(|source| columns.inconsistent("data", source.into()))?;
            rows.push((external_id, head));
        }
        Ok(rows)
    }
}

/// Empties the payloads of these records; what stays of each is given.
pub(super) async fn empty(
    dialect: Dialect,
    transaction: &mut Transaction<'static, Any>,
    key: &RecordKey,
    rows: &[(String, String)],
    now_us: i64,
) -> Result<u64, StoreError> {
    let mut emptied = 0;
    for chunk in chunks(rows) {
        let mut sql = Sql::new(dialect, "UPDATE records SET pruned_at_us = ");
        // What is left of a sealed payload says that the hash is a keyed one.
        sql.bind(now_us)
            .push(", data = v.column2, sealed = substr(sealed, 1, 0) FROM (");
        sql.values(chunk, |row, (external_id, data)| {
            row.bind(external_id.as_str()).bind(data.as_str());
        });
        sql.push(") AS v WHERE connection_key = ")
            .bind(key.connection_key.as_str());
        sql.push(" AND model = ").bind(key.model.as_str());
        sql.push(" AND external_id = v.column1");
        sql.plan_anew();
        emptied += sql.execute(&mut **transaction).await?;
    }
    Ok(emptied)
}
