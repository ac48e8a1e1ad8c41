//! Records that have got old: payloads are emptied, or records deleted with the positions of the syncs they came from. Model by
//! model and batch by batch, each a short transaction under the lease of who does it. What is deleted here was not deleted at the
//! provider, so readers are told of no change; the model's row stays, so that later changes come after all before.

use sqlx::{Any, Transaction, query, query_scalar};

use super::counts::{add_to_count, count};
use super::prune::empty;
use super::sealing::{head, lock_model};
use super::{Pruned, RecordKey};
use crate::model::{Counts, RunId, SyncId};
use crate::store::checkpoints::clear;
use crate::store::columns::Columns;
use crate::store::connections::lives;
use crate::store::records::tracking::forget_pass;
use crate::store::sql::Sql;
use crate::store::upkeep::renew_upkeep;
use crate::store::{Store, StoreError, UpkeepLease};

/// Payloads read by one batch, in bytes; one always.
const BATCH_BYTES: usize = 8 << 20;

/// Who does a batch, and how large it may be.
#[derive(Clone, Copy, Debug)]
pub struct RetentionBatch {
    pub lease: UpkeepLease,
    /// The lease is prolonged until then.
    pub until_ms: i64,
    pub records: i64,
}

/// A sync whose records are deleted, and where it keeps its position.
#[derive(Clone, Debug)]
pub struct IdleSync {
    pub id: SyncId,
    pub checkpoint_key: String,
}

impl Store {
    /// A model of a living connection, after `after` in the order of keys, with payloads that were not changed since `before_us`.
    pub async fn next_model_to_prune(
        &self,
        after: Option<&RecordKey>,
        before_us: i64,
    ) -> Result<Option<RecordKey>, StoreError> {
        self.next_model(
            concat!(
                "SELECT m.connection_key, m.model FROM record_models m WHERE (m.connection_key, m.model) > ($1, $2) \
                 AND m.pruned_until_us < $3 AND EXISTS (SELECT 1 FROM records r WHERE r.connection_key = m.connection_key \
                 AND r.model = m.model AND r.modified_at_us > m.pruned_until_us AND r.modified_at_us <= $3 \
                 AND r.sequence >= 0 AND r.pruned_at_us IS NULL) AND ",
                lives!("m.connection_key"),
                " ORDER BY m.connection_key, m.model LIMIT 1"
            ),
            after,
            Some(before_us),
        )
        .await
    }

    /// A model of a living connection, after `after` in the order of keys, that has records and was not written since `before_us`.
    pub async fn next_model_unwritten(
        &self,
        after: Option<&RecordKey>,
        before_us: i64,
    ) -> Result<Option<RecordKey>, StoreError> {
        self.next_model(
            concat!(
                "SELECT m.connection_key, m.model FROM record_models m WHERE (m.connection_key, m.model) > ($1, $2) \
                 AND m.modified_at_us <= $3 AND EXISTS (SELECT 1 FROM records r WHERE r.connection_key = m.connection_key \
                 AND r.model = m.model) AND ",
                lives!("m.connection_key"),
                " ORDER BY m.connection_key, m.model LIMIT 1"
            ),
            after,
            Some(before_us),
        )
        .await
    }

    /// Empties the payloads of the next records that were not changed since `before_us`, the earliest changes first. None when the
    /// lease is somebody else's. Readers that follow a cursor see no change.
    pub async fn prune_old_records(
        &self,
        batch: RetentionBatch,
        key: &RecordKey,
        before_us: i64,
        now_us: i64,
    ) -> Result<Option<Pruned>, StoreError> {
        let mut transaction = self.begin().await?;
        if !renew_upkeep(&mut transaction, batch.lease, batch.until_ms).await? {
            return Ok(None);
        }
        lock_model(&mut transaction, key).await?;
        let mut sql = Sql::new(
            self.dialect,
            "SELECT r.external_id, r.data, r.modified_at_us FROM record_models m JOIN records r \
             ON r.connection_key = m.connection_key AND r.model = m.model AND r.modified_at_us > m.pruned_until_us \
             WHERE r.pruned_at_us IS NULL AND m.connection_key = ",
        );
        sql.bind(key.connection_key.as_str())
            .push(" AND m.model = ")
            .bind(key.model.as_str());
        sql.push(" AND r.modified_at_us <= ").bind(before_us);
        sql.push(" AND r.sequence >= 0 ORDER BY r.modified_at_us, r.sequence LIMIT ")
            .bind(batch.records);
        let (mut rows, mut bytes, mut last_us) = (Vec::new(), 0, 0_i64);
        sql.fetch_each(&mut *transaction, |row| {
            let mut columns = Columns::new(row, "records");
            let external_id: String = columns.get("external_id")?;
            let data: String = columns.get("data")?;
            last_us = columns.get("modified_at_us")?;
            let head = head(&data, &external_id).map_err(|source| columns.inconsistent("data", source.into()))?;
            bytes += data.len();
            rows.push((external_id, head));
            Ok(bytes < BATCH_BYTES)
        })
        .await?;
        let has_more = bytes >= BATCH_BYTES || i64::try_from(rows.len()).is_ok_and(|rows| rows >= batch.records);
        let count = empty(self.dialect, &mut transaction, key, &rows, now_us).await?;
        // Not further than to a change there was: the next one may come just after it, by a clock that went back. Of a change that is
        // emptied in part, the rest is looked for again.
        query(
            "UPDATE record_models SET pruned_until_us = $3 WHERE connection_key = $1 AND model = $2 AND pruned_until_us < $3",
        )
        .bind(key.connection_key.as_str())
        .bind(&key.model)
        .bind(if has_more { last_us - 1 } else { last_us })
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(Pruned { count, has_more }))
    }

    /// Deletes the next records of a model that was not written since `before_us`, if none of its `syncs` ran since. These begin anew
    /// when they run again: what they know to have read is not there any more. Gives how many; 0 also when one was quicker. None when
    /// the lease is somebody else's.
    pub async fn delete_old_records(
        &self,
        batch: RetentionBatch,
        key: &RecordKey,
        syncs: &[IdleSync],
        before_us: i64,
        now_ms: i64,
    ) -> Result<Option<u64>, StoreError> {
        let mut transaction = self.begin_erasing().await?;
        if !renew_upkeep(&mut transaction, batch.lease, batch.until_ms).await? {
            return Ok(None);
        }
        for sync in syncs {
            if has_run(&mut transaction, sync, before_us / 1_000).await? {
                return Ok(Some(0));
            }
        }
        // In the order in which a reset does it, so that the two do not wait for each other.
        for sync in syncs {
            clear(&mut transaction, &key.connection_key, &sync.checkpoint_key, now_ms).await?;
        }
        let unwritten = query(
            "UPDATE record_models SET modified_at_us = modified_at_us \
             WHERE connection_key = $1 AND model = $2 AND modified_at_us <= $3",
        )
        .bind(key.connection_key.as_str())
        .bind(&key.model)
        .bind(before_us)
        .execute(&mut *transaction)
        .await?;
        if unwritten.rows_affected() == 0 {
            return Ok(Some(0));
        }
        forget_pass(&mut transaction, key).await?;
        let gone: Vec<Option<i64>> = query_scalar(
            "DELETE FROM records WHERE (connection_key, model, external_id) IN (SELECT connection_key, model, external_id \
             FROM records WHERE connection_key = $1 AND model = $2 LIMIT $3) RETURNING deleted_at_us",
        )
        .bind(key.connection_key.as_str())
        .bind(&key.model)
        .bind(batch.records)
        .fetch_all(&mut *transaction)
        .await?;
        let were_there = gone.iter().filter(|deleted_at_us| deleted_at_us.is_none());
        let counts = Counts {
            deleted: count(were_there.count()),
            ..Counts::default()
        };
        add_to_count(&mut transaction, key, counts).await?;
        self.end_erasing(transaction).await?;
        Ok(Some(count(gone.len())))
    }
}

/// Whether a sync ran since, or is about to. Nobody queues a run of it until the transaction has ended.
async fn has_run(
    transaction: &mut Transaction<'static, Any>,
    sync: &IdleSync,
    since_ms: i64,
) -> Result<bool, StoreError> {
    query("UPDATE syncs SET state = state WHERE id = $1")
        .bind(sync.id.as_str())
        .execute(&mut **transaction)
        .await?;
    let runs: i64 = query_scalar(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM runs WHERE sync_id = $1 AND (id > $2 OR ended_at_ms > $3 OR ended_at_ms IS NULL)",
    )
    .bind(sync.id.as_str())
    .bind(RunId::new(since_ms, [0xff; 16]).as_str())
    .bind(since_ms)
    .fetch_one(&mut **transaction)
    .await?;
    Ok(runs > 0)
}
