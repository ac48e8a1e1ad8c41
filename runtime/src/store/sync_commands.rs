//! What is commanded of one sync: pause, start, cancel, reset, another frequency, removal. Each is one transaction. Whoever
//! runs the sync notices by its fence.

use sqlx::{Any, Transaction, query, query_scalar};

use super::checkpoints::clear;
use super::columns::Word;
use super::records::{RecordKey, delete_all, forget_pass};
use super::runs::{INSERT_RUNS, RunRow};
use super::sql::Sql;
use super::syncs::insert_sync;
use super::{Store, StoreError};
use crate::model::{Frequency, FrequencySource, Run, RunId, Sync, SyncId, SyncState};

/// Where a sync keeps its position and its records.
#[derive(Clone, Debug)]
pub struct SyncData {
    /// Exactly this one, so that other variants keep theirs.
    pub checkpoint_key: String,
    /// Models as they are stored, with the variant behind.
    pub models: Vec<String>,
    /// Whether their records go too, and not only the passes over them.
    pub with_records: bool,
}

impl Store {
    /// Inserts a sync; false when it is there.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection or integration was deleted.
    pub async fn insert_new_sync(&self, sync: &Sync) -> Result<bool, StoreError> {
        insert_sync(sync, &self.writer).await
    }

    /// Starts or pauses the schedule. Pausing cancels the run that waits or is under way; its id is given. A started sync
    /// whose slot has passed is due at once.
    pub async fn set_sync_state(
        &self,
        id: &SyncId,
        state: SyncState,
        now_ms: i64,
    ) -> Result<Option<RunId>, StoreError> {
        let mut transaction = self.begin().await?;
        query("UPDATE syncs SET state = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(state.word())
            .execute(&mut *transaction)
            .await?;
        let cancelled = match state {
            SyncState::Started => None,
            SyncState::Paused => cancel_open_run(&mut transaction, id, now_ms).await?,
        };
        transaction.commit().await?;
        Ok(cancelled)
    }

    /// Cancels the run that waits or is under way; none when there is none. Checkpoint and schedule stay.
    pub async fn cancel_sync_run(&self, id: &SyncId, now_ms: i64) -> Result<Option<RunId>, StoreError> {
        let mut transaction = self.begin().await?;
        let cancelled = cancel_open_run(&mut transaction, id, now_ms).await?;
        transaction.commit().await?;
        Ok(cancelled)
    }

    /// Starts a sync from scratch, all or nothing: cancels what runs, clears its checkpoint and passes, deletes
    /// the records of `data.models` if they go too, and queues `run`. Done once for a reset: a run that is retried or resumed finds what it saved
    /// itself. Gives the run that was cancelled.
    pub async fn reset_sync(
        &self,
        sync: &Sync,
        data: &SyncData,
        run: &Run,
        now_ms: i64,
    ) -> Result<Option<RunId>, StoreError> {
        let mut transaction = self.begin().await?;
        let cancelled = cancel_open_run(&mut transaction, &sync.id, now_ms).await?;
        forget(&mut transaction, sync, data, now_ms).await?;
        let mut sql = Sql::new(self.dialect, INSERT_RUNS);
        sql.values([RunRow::new(run)?], |columns, run| run.bind(columns));
        sql.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(cancelled)
    }

    /// Deletes a sync with its checkpoint and records. Gives the run that was cancelled.
    pub async fn delete_sync(&self, sync: &Sync, data: &SyncData, now_ms: i64) -> Result<Option<RunId>, StoreError> {
        let mut transaction = self.begin().await?;
        let cancelled = cancel_open_run(&mut transaction, &sync.id, now_ms).await?;
        forget(&mut transaction, sync, data, now_ms).await?;
        query("DELETE FROM syncs WHERE id = $1")
            .bind(sync.id.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(cancelled)
    }

    /// Changes when a sync runs: on its grid, or at the times of a crontab, of which the next is `next_cron_at_ms`.
    pub async fn set_sync_frequency(
        &self,
        id: &SyncId,
        frequency: Option<&Frequency>,
        next_cron_at_ms: Option<i64>,
        from: FrequencySource,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        query(
            "UPDATE syncs SET frequency_ms = CAST($3 AS BIGINT), cron = $5, frequency_from = $4, next_due_at_ms = CASE \
             WHEN CAST($3 AS BIGINT) IS NULL THEN CAST($6 AS BIGINT) \
             ELSE anchor_ms + (($1 - anchor_ms) / CAST($3 AS BIGINT) + 1) * CAST($3 AS BIGINT) END WHERE id = $2",
        )
        .bind(now_ms)
        .bind(id.as_str())
        .bind(frequency.and_then(Frequency::every_ms))
        .bind(from.word())
        .bind(frequency.and_then(Frequency::cron))
        .bind(next_cron_at_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}

pub(super) async fn cancel_open_run(
    transaction: &mut Transaction<'static, Any>,
    sync_id: &SyncId,
    now_ms: i64,
) -> Result<Option<RunId>, StoreError> {
    let id: Option<String> = query_scalar(
        "UPDATE runs SET state = 'cancelled', fence = fence + 1, lease_until_ms = NULL, ended_at_ms = $2 \
         WHERE sync_id = $1 AND state IN ('queued', 'running') RETURNING id",
    )
    .bind(sync_id.as_str())
    .bind(now_ms)
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(id.map(|id| RunId::from(id.as_str())))
}

async fn forget(
    transaction: &mut Transaction<'static, Any>,
    sync: &Sync,
    data: &SyncData,
    now_ms: i64,
) -> Result<(), StoreError> {
    clear(transaction, &sync.connection_key, &data.checkpoint_key, now_ms).await?;
    for model in &data.models {
        let key = RecordKey {
            connection_key: sync.connection_key.clone(),
            model: model.clone(),
        };
        // What is read from the beginning is a new pass.
        forget_pass(transaction, &key).await?;
        if data.with_records {
            delete_all(transaction, &key).await?;
        }
    }
    Ok(())
}
