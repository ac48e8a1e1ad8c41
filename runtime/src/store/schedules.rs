//! Schedules: which syncs a connection has, and which of them are due. Slots lie on a fixed grid, `anchor_ms` plus whole
//! frequencies, so that a late or failed run moves nothing; or they are the times of a crontab, which callers find. What is
//! commanded of one sync is in [`super::sync_commands`].

use sqlx::{Any, Transaction, query, query_scalar};

use super::columns::{Columns, Word};
use super::runs::{INSERT_RUNS, RunRow};
use super::sql::Sql;
use super::sync_commands::cancel_open_run;
use super::syncs::insert_sync;
use super::validations::counts;
use super::{Store, StoreError};
use crate::model::{
    ConnectionKey, EnvironmentId, FrequencySource, FunctionKind, IntegrationId, Run, RunId, RunState, Sync, SyncId,
    Trigger,
};

/// Syncs claimed at once.
pub(crate) const CLAIM_MAX: i64 = 256;

/// The first slot after now, which is `$1`. None for a crontab, which is not read here.
macro_rules! next_slot {
    () => {
        "anchor_ms + (($1 - anchor_ms) / frequency_ms + 1) * frequency_ms"
    };
}

/// What claims due syncs. The condition is there twice: on Postgres it is looked at again once a row that somebody else
/// claims at the same time is free, and then no longer holds.
pub(super) const CLAIM_DUE: &str = concat!(
    "UPDATE syncs SET next_due_at_ms = ",
    next_slot!(),
    " WHERE id IN (SELECT id FROM syncs WHERE state = 'started' \
     AND next_due_at_ms <= $1 ORDER BY next_due_at_ms, id LIMIT $2) \
     AND state = 'started' AND next_due_at_ms <= $1 RETURNING id, environment_id, integration_id, connection_key, \
     function, (SELECT f.active_version FROM functions f WHERE f.integration_id = syncs.integration_id \
     AND f.name = syncs.function), cron, variant"
);

/// A sync that follows a crontab.
#[derive(Clone, Copy, Debug)]
pub struct CronSync<'a> {
    pub cron: &'a str,
    pub connection_key: &'a str,
    pub function: &'a str,
    pub variant: &'a str,
}

/// The first slot of a crontab after a time, both in Unix milliseconds; none when there is none.
pub type NextSlot = fn(CronSync<'_>, i64) -> Option<i64>;

/// A connection whose syncs may not be those that are deployed.
#[derive(Clone, Debug)]
pub struct StaleSchedules {
    pub environment_id: EnvironmentId,
    pub integration_id: IntegrationId,
    pub provider_config_key: String,
    pub connection_key: ConnectionKey,
    pub connection_id: String,
    pub created_at_ms: i64,
    /// Deploys and the like since somebody looked.
    stale: i64,
}

/// What becomes of a sync's schedule when a run of it has ended.
#[derive(Clone, Copy, Debug)]
pub enum Retry {
    /// It succeeded.
    Succeeded,
    /// It failed and is due again at that time, unless its next slot comes before.
    FailedRetryAt(i64),
    /// It failed and waits for its next slot.
    Failed,
}

impl Store {
    /// Connections whose syncs are to be brought up to date, at most `limit`.
    pub async fn stale_schedules(&self, limit: i64) -> Result<Vec<StaleSchedules>, StoreError> {
        let rows = query(concat!(
            "SELECT c.connection_key, c.connection_id, c.environment_id, c.integration_id, i.unique_key, \
             c.created_at_ms, c.schedules_stale FROM connections c JOIN integrations i ON i.id = c.integration_id \
             WHERE c.schedules_stale > 0 AND c.deleted_at_ms IS NULL AND ",
            counts!("c"),
            " ORDER BY c.connection_key LIMIT $1"
        ))
        .bind(limit.clamp(0, CLAIM_MAX))
        .fetch_all(&self.reader)
        .await?;
        let stale = rows.iter().map(|row| {
            let mut columns = Columns::new(row, "connections");
            Ok(StaleSchedules {
                connection_key: columns.id("connection_key")?,
                connection_id: columns.get("connection_id")?,
                environment_id: columns.id("environment_id")?,
                integration_id: columns.id("integration_id")?,
                provider_config_key: columns.get("unique_key")?,
                created_at_ms: columns.get("created_at_ms")?,
                stale: columns.get("schedules_stale")?,
            })
        });
        stale.collect()
    }

    /// Gives a connection the syncs `wanted`, of the base variant: inserts what is missing, gives those that are there
    /// (all variants) the frequency their function declares unless the connection has its own, and deletes those of
    /// functions that are gone. False, and nothing changed, when somebody else did it or there was another deploy.
    pub async fn update_schedules(
        &self,
        stale: &StaleSchedules,
        wanted: &[Sync],
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let mine =
            query("UPDATE connections SET schedules_stale = 0 WHERE connection_key = $1 AND schedules_stale = $2")
                .bind(stale.connection_key.as_str())
                .bind(stale.stale)
                .execute(&mut *transaction)
                .await?;
        if mine.rows_affected() == 0 {
            return Ok(false);
        }
        for sync in wanted {
            if !insert_sync(sync, &mut *transaction).await? {
                update_declared(&mut transaction, sync, now_ms).await?;
            }
        }
        let rows = query("SELECT id, function FROM syncs WHERE connection_key = $1")
            .bind(stale.connection_key.as_str())
            .fetch_all(&mut *transaction)
            .await?;
        for row in &rows {
            let mut columns = Columns::new(row, "syncs");
            let (id, function): (SyncId, &str) = (columns.id("id")?, columns.get("function")?);
            if wanted.iter().any(|sync| sync.function == function) {
                continue;
            }
            cancel_open_run(&mut transaction, &id, now_ms).await?;
            query("DELETE FROM syncs WHERE id = $1")
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Claims started syncs that are due (at most 256), in one statement: each moves to the first slot after `now_ms`,
    /// however many it missed; where a crontab says when, `next_slot` reads it. In the same transaction a run of each is queued, unless one is queued or
    /// running: that slot is skipped. Gives how many were due, and how many runs were queued.
    pub async fn enqueue_due_syncs(
        &self,
        now_ms: i64,
        limit: i64,
        next_slot: NextSlot,
        mut run_id: impl FnMut() -> RunId + Send,
    ) -> Result<(usize, u64), StoreError> {
        let mut transaction = self.begin().await?;
        let rows = query(CLAIM_DUE)
            .bind(now_ms)
            .bind(limit.clamp(0, CLAIM_MAX))
            .fetch_all(&mut *transaction)
            .await?;
        let mut queued = 0;
        for row in &rows {
            let mut columns = Columns::new(row, "syncs");
            let sync_id: SyncId = columns.id("id")?;
            let (environment_id, integration_id) = (columns.id("environment_id")?, columns.id("integration_id")?);
            let (connection_key, function): (ConnectionKey, String) =
                (columns.id("connection_key")?, columns.get("function")?);
            let version = columns.get::<Option<i64>>("active_version")?;
            if let Some(cron) = columns.get::<Option<&str>>("cron")? {
                let sync = CronSync {
                    cron,
                    connection_key: connection_key.as_str(),
                    function: &function,
                    variant: columns.get("variant")?,
                };
                query("UPDATE syncs SET next_due_at_ms = $2 WHERE id = $1")
                    .bind(sync_id.as_str())
                    .bind(next_slot(sync, now_ms))
                    .execute(&mut *transaction)
                    .await?;
            }
            let Some(version) = version else {
                continue;
            };
            let run = Run {
                id: run_id(),
                environment_id,
                integration_id,
                connection_key,
                function,
                kind: FunctionKind::Sync,
                version,
                sync_id: Some(sync_id),
                trigger: Trigger::Schedule,
                state: RunState::Queued,
                error: None,
                result: Default::default(),
                created_at_ms: now_ms,
                started_at_ms: None,
                ended_at_ms: None,
                duration_us: None,
            };
            let mut sql = Sql::new(self.dialect, INSERT_RUNS);
            sql.values([RunRow::new(&run)?], |columns, run| run.bind(columns));
            sql.push(" ON CONFLICT DO NOTHING");
            queued += sql.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok((rows.len(), queued))
    }

    /// After the clock was set back: syncs whose next run lies further ahead than their frequency, or than their crontab
    /// says, get the next slot. Gives how many. What else waits is [`Store::forget_times_ahead`]'s.
    pub async fn rejoin_grid(&self, now_ms: i64, next_slot: NextSlot) -> Result<u64, StoreError> {
        let moved = query(concat!(
            "UPDATE syncs SET next_due_at_ms = ",
            next_slot!(),
            " WHERE frequency_ms IS NOT NULL AND next_due_at_ms > $1 + frequency_ms AND anchor_ms <= $1"
        ))
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        // Their grid begins later than now: it is continued backwards.
        let anchored = query(
            "UPDATE syncs SET anchor_ms = anchor_ms - ((anchor_ms - $1 - 1) / frequency_ms + 1) * frequency_ms, \
             next_due_at_ms = anchor_ms - (anchor_ms - $1 - 1) / frequency_ms * frequency_ms \
             WHERE frequency_ms IS NOT NULL AND next_due_at_ms > $1 + frequency_ms AND anchor_ms > $1",
        )
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        let by_cron = self.rejoin_crontabs(now_ms, next_slot).await?;
        Ok(moved.rows_affected() + anchored.rows_affected() + by_cron)
    }

    async fn rejoin_crontabs(&self, now_ms: i64, next_slot: NextSlot) -> Result<u64, StoreError> {
        let (mut moved, mut after) = (0, String::new());
        loop {
            let rows = query(
                "SELECT id, cron, connection_key, function, variant FROM syncs WHERE cron IS NOT NULL AND id > $1 \
                 AND next_due_at_ms > $2 ORDER BY id LIMIT $3",
            )
            .bind(&after)
            .bind(now_ms)
            .bind(CLAIM_MAX)
            .fetch_all(&self.reader)
            .await?;
            for row in &rows {
                let mut columns = Columns::new(row, "syncs");
                after = columns.get("id")?;
                let sync = CronSync {
                    cron: columns.get("cron")?,
                    connection_key: columns.get("connection_key")?,
                    function: columns.get("function")?,
                    variant: columns.get("variant")?,
                };
                let Some(next_due_at_ms) = next_slot(sync, now_ms) else {
                    continue;
                };
                let update = query("UPDATE syncs SET next_due_at_ms = $2 WHERE id = $1 AND next_due_at_ms > $2");
                let updated = update.bind(&after).bind(next_due_at_ms).execute(&self.writer).await?;
                moved += updated.rows_affected();
            }
            if i64::try_from(rows.len()).unwrap_or(i64::MAX) < CLAIM_MAX {
                return Ok(moved);
            }
        }
    }

    /// How many connections an integration has.
    pub async fn connections_of(&self, integration_id: &IntegrationId) -> Result<i64, StoreError> {
        Ok(
            query_scalar("SELECT COUNT(*) FROM connections WHERE integration_id = $1 AND deleted_at_ms IS NULL")
                .bind(integration_id.as_str())
                .fetch_one(&self.reader)
                .await?,
        )
    }
}

/// Has the syncs of an integration's connections be looked at again.
pub(super) async fn mark_stale(
    transaction: &mut Transaction<'static, Any>,
    integration_id: &IntegrationId,
) -> Result<(), StoreError> {
    query("UPDATE connections SET schedules_stale = schedules_stale + 1 WHERE integration_id = $1")
        .bind(integration_id.as_str())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Counts failures, and brings the next run forward for a retry.
pub(super) async fn after_run(
    transaction: &mut Transaction<'static, Any>,
    sync_id: &SyncId,
    retry: Retry,
) -> Result<(), StoreError> {
    let (failed, retry_at_ms) = match retry {
        Retry::Succeeded => (0_i64, None),
        Retry::Failed => (1, None),
        Retry::FailedRetryAt(at_ms) => (1, Some(at_ms)),
    };
    query(
        "UPDATE syncs SET failures = (failures + $2) * $2, next_due_at_ms = CASE \
         WHEN CAST($3 AS BIGINT) < next_due_at_ms THEN CAST($3 AS BIGINT) ELSE next_due_at_ms END WHERE id = $1",
    )
    .bind(sync_id.as_str())
    .bind(failed)
    .bind(retry_at_ms)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Gives all variants of a sync what its function declares now.
async fn update_declared(
    transaction: &mut Transaction<'static, Any>,
    sync: &Sync,
    now_ms: i64,
) -> Result<(), StoreError> {
    query(
        "UPDATE syncs SET frequency_ms = CAST($3 AS BIGINT), cron = CAST($6 AS TEXT), next_due_at_ms = CASE \
         WHEN CAST($3 AS BIGINT) IS NULL THEN CAST($7 AS BIGINT) \
         ELSE anchor_ms + (($1 - anchor_ms) / CAST($3 AS BIGINT) + 1) * CAST($3 AS BIGINT) END \
         WHERE connection_key = $2 AND function = $4 AND frequency_from = $5 AND anchor_ms <> 0 \
         AND (COALESCE(frequency_ms, 0) <> COALESCE(CAST($3 AS BIGINT), 0) \
         OR COALESCE(cron, '') <> COALESCE(CAST($6 AS TEXT), ''))",
    )
    .bind(now_ms)
    .bind(sync.connection_key.as_str())
    .bind(sync.frequency_ms)
    .bind(&sync.function)
    .bind(FrequencySource::Function.word())
    .bind(sync.cron.as_deref())
    .bind(sync.next_due_at_ms)
    .execute(&mut **transaction)
    .await?;
    // Made by a release that had no schedules, and ran it when it was triggered, whatever its function says of starting.
    query(
        "UPDATE syncs SET next_due_at_ms = $1, anchor_ms = $2, frequency_ms = $5, cron = $6, state = $7 \
         WHERE connection_key = $3 AND function = $4 AND anchor_ms = 0",
    )
    .bind(sync.next_due_at_ms)
    .bind(sync.anchor_ms)
    .bind(sync.connection_key.as_str())
    .bind(&sync.function)
    .bind(sync.frequency_ms)
    .bind(sync.cron.as_deref())
    .bind(sync.state.word())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
