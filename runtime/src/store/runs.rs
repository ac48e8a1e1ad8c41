//! Runs: the history of all, and the queue of those of syncs. A claimed run has a lease that its owner prolongs, and a
//! fence: a number that grows with each claim, by which writes of a former owner are refused. When to run what is for
//! others.

use std::collections::BTreeMap;

use sqlx::{query, query_scalar};

use super::canaries::count_canary_runs;
use super::columns::{Columns, Word, to_json};
use super::connections::lives;
use super::schedules::{Retry, after_run};
use super::sql::{Row, Sql, chunks};
use super::{Store, StoreError};
use crate::model::{Counts, EnvironmentId, Run, RunId, RunState, SyncId, Webhook};

/// Runs claimed at once.
const CLAIM_MAX: i64 = 256;

/// The columns of [`Columns::run`] of a table or alias.
macro_rules! run_columns {
    ($r:literal) => {
        concat!(
            $r,
            ".id, ",
            $r,
            ".environment_id, ",
            $r,
            ".integration_id, ",
            $r,
            ".connection_key, ",
            $r,
            ".function, ",
            $r,
            ".kind, ",
            $r,
            ".version, ",
            $r,
            ".sync_id, ",
            $r,
            ".triggered_by, ",
            $r,
            ".state, ",
            $r,
            ".error, ",
            $r,
            ".result, ",
            $r,
            ".created_at_ms, ",
            $r,
            ".started_at_ms, ",
            $r,
            ".ended_at_ms, ",
            $r,
            ".duration_us"
        )
    };
}
pub(super) use run_columns;

pub(super) const INSERT_RUNS: &str = "INSERT INTO runs (id, environment_id, integration_id, connection_key, function, kind, \
     version, sync_id, triggered_by, state, error, result, created_at_ms, started_at_ms, ended_at_ms, duration_us) ";

/// What claims runs. The condition is there twice: on Postgres it is looked at again once a row that somebody else claims at the same
/// time is free, and then no longer holds.
pub(super) const CLAIM_RUNS: &str = concat!(
    "UPDATE runs SET result = CASE WHEN state = 'queued' THEN result END, state = 'running', \
             lease_until_ms = $2, fence = fence + 1, \
             started_at_ms = COALESCE(started_at_ms, $1) \
             WHERE id IN (SELECT id FROM runs WHERE sync_id IS NOT NULL AND state IN ('queued', 'running') \
             AND COALESCE(lease_until_ms, 0) <= $1 ORDER BY COALESCE(lease_until_ms, 0), created_at_ms, id LIMIT $3) \
             AND state IN ('queued', 'running') AND COALESCE(lease_until_ms, 0) <= $1 RETURNING ",
    run_columns!("runs"),
    ", fence"
);

/// A run and the token that proves whose it is.
#[derive(Clone, Debug)]
pub struct ClaimedRun {
    pub run: Run,
    pub fence: i64,
}

/// A run with its JSON made, ready to be bound.
pub(super) struct RunRow<'a> {
    run: &'a Run,
    error: Option<String>,
    result: Option<String>,
}

impl Store {
    /// Inserts runs or, where the id is there already, rewrites state, error, result and times. One statement for many
    /// rows; their ids must be distinct. A run that was claimed keeps what [`Store::finish_sync_run`] writes.
    pub async fn write_runs(&self, runs: &[Run]) -> Result<(), StoreError> {
        let rows = runs.iter().map(RunRow::new).collect::<Result<Vec<_>, _>>()?;
        let mut transaction = self.begin().await?;
        for chunk in chunks(&rows) {
            let mut sql = Sql::new(self.dialect, INSERT_RUNS);
            sql.values(chunk, |row, run| run.bind(row));
            sql.push(
                " ON CONFLICT (id) DO UPDATE SET state = excluded.state, error = excluded.error, \
                 result = excluded.result, started_at_ms = excluded.started_at_ms, \
                 ended_at_ms = excluded.ended_at_ms, duration_us = excluded.duration_us WHERE runs.fence = 0",
            );
            sql.execute(&mut *transaction).await?;
        }
        count_canary_runs(&mut transaction, runs).await?;
        transaction.commit().await?;
        Ok(())
    }

    pub async fn run(&self, environment_id: &EnvironmentId, id: &RunId) -> Result<Option<Run>, StoreError> {
        let row = query(concat!(
            "SELECT ",
            run_columns!("runs"),
            " FROM runs WHERE id = $1 AND environment_id = $2"
        ))
        .bind(id.as_str())
        .bind(environment_id.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(|row| run(&mut Columns::new(row, "runs"))).transpose()
    }

    /// Queues a run of a sync unless one is queued or running: false then, and when the sync is gone.
    pub async fn enqueue_sync_run(&self, run: &Run) -> Result<bool, StoreError> {
        let row = RunRow::new(run)?;
        let mut transaction = self.begin().await?;
        // Not a foreign key: runs outlive their sync. Writing to the row keeps it from being deleted meanwhile.
        let sync = query(concat!(
            "UPDATE syncs SET state = state WHERE id = $1 AND ",
            lives!("syncs.connection_key")
        ))
        .bind(run.sync_id.as_ref().map(SyncId::as_str))
        .execute(&mut *transaction)
        .await?;
        if sync.rows_affected() == 0 {
            return Ok(false);
        }
        let mut sql = Sql::new(self.dialect, INSERT_RUNS);
        sql.values([row], |columns, run| run.bind(columns));
        // The unique index `runs_one_open_of_sync` is what conflicts.
        sql.push(" ON CONFLICT DO NOTHING");
        let inserted = sql.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(inserted == 1)
    }

    /// Claims up to `limit` (at most 256) runs that are queued and not suspended any longer, or running with a lease that
    /// ended, in one statement (compare-and-set): they become running with `lease_until_ms`. The fence grows with each
    /// claim; what a run counted that was suspended is kept. New ones first, the oldest of them before; then those that waited.
    pub async fn claim_sync_runs(
        &self,
        now_ms: i64,
        lease_until_ms: i64,
        limit: i64,
    ) -> Result<Vec<ClaimedRun>, StoreError> {
        let rows = query(CLAIM_RUNS)
            .bind(now_ms)
            .bind(lease_until_ms)
            .bind(limit.clamp(0, CLAIM_MAX))
            .fetch_all(&self.writer)
            .await?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::new(row, "runs");
            claimed.push(ClaimedRun {
                run: run(&mut columns)?,
                fence: columns.get("fence")?,
            });
        }
        claimed.sort_by(|a, b| (a.run.created_at_ms, &a.run.id).cmp(&(b.run.created_at_ms, &b.run.id)));
        Ok(claimed)
    }

    /// Ends the leases of all claimed runs, actions, refreshes, revocations and webhooks on their way, so that they are claimed again
    /// at once, and the locks of runs. Only for whoever
    /// knows that all former holders are dead, as the holder of a SQLite installation's data folder does.
    pub async fn release_leases(&self) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        query("UPDATE runs SET lease_until_ms = 0 WHERE state = 'running' AND lease_until_ms IS NOT NULL")
            .execute(&mut *transaction)
            .await?;
        query("UPDATE refresh_leases SET until_ms = 0")
            .execute(&mut *transaction)
            .await?;
        query("UPDATE revocations SET lease_until_ms = NULL")
            .execute(&mut *transaction)
            .await?;
        query("UPDATE webhooks SET lease_until_ms = 0 WHERE state = 'pending' AND lease_until_ms > 0")
            .execute(&mut *transaction)
            .await?;
        query("UPDATE webhook_runs SET lease_until_ms = 0 WHERE lease_until_ms > 0")
            .execute(&mut *transaction)
            .await?;
        query("UPDATE actions SET lease_until_ms = 0 WHERE state = 'running'")
            .execute(&mut *transaction)
            .await?;
        query("UPDATE connections SET validation_until_ms = 0 WHERE validation IS NOT NULL")
            .execute(&mut *transaction)
            .await?;
        query("UPDATE upkeep SET until_ms = 0")
            .execute(&mut *transaction)
            .await?;
        query("DELETE FROM locks").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Prolongs the lease, and notes what the run did so far. False when the fence is stale: somebody else has the run, stop.
    pub async fn renew_lease(
        &self,
        id: &RunId,
        fence: i64,
        lease_until_ms: i64,
        result: &BTreeMap<String, Counts>,
    ) -> Result<bool, StoreError> {
        let result = if result.is_empty() {
            None
        } else {
            Some(to_json(result)?)
        };
        let renewed = query(
            "UPDATE runs SET lease_until_ms = $3, result = $4 WHERE id = $1 AND fence = $2 AND state = 'running'",
        )
        .bind(id.as_str())
        .bind(fence)
        .bind(lease_until_ms)
        .bind(result)
        .execute(&self.writer)
        .await?;
        Ok(renewed.rows_affected() == 1)
    }

    /// Puts a claimed run back into the queue until `until_ms`. What it did so far is kept with it. False, and nothing
    /// written, when the fence is stale.
    pub async fn suspend_sync_run(&self, run: &Run, fence: i64, until_ms: i64) -> Result<bool, StoreError> {
        let row = RunRow::new(run)?;
        let suspended = query(
            "UPDATE runs SET state = 'queued', lease_until_ms = $3, result = $4 \
             WHERE id = $1 AND fence = $2 AND state = 'running'",
        )
        .bind(run.id.as_str())
        .bind(fence)
        .bind(until_ms)
        .bind(row.result.as_deref())
        .execute(&self.writer)
        .await?;
        Ok(suspended.rows_affected() == 1)
    }

    /// Writes the end of a claimed run, what it means for the sync's schedule, and the webhooks that say so, in one transaction. False,
    /// and nothing written, when the fence is stale.
    pub async fn finish_sync_run(
        &self,
        run: &Run,
        fence: i64,
        retry: Retry,
        webhooks: &[Webhook],
    ) -> Result<bool, StoreError> {
        let row = RunRow::new(run)?;
        let mut transaction = self.begin().await?;
        let finished = query(
            "UPDATE runs SET state = $3, error = $4, result = $5, started_at_ms = COALESCE($6, started_at_ms), \
             ended_at_ms = $7, duration_us = $8, version = $9, lease_until_ms = NULL \
             WHERE id = $1 AND fence = $2 AND state = 'running'",
        )
        .bind(run.id.as_str())
        .bind(fence)
        .bind(run.state.word())
        .bind(row.error)
        .bind(row.result)
        .bind(run.started_at_ms)
        .bind(run.ended_at_ms)
        .bind(run.duration_us)
        .bind(run.version)
        .execute(&mut *transaction)
        .await?;
        if finished.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(sync_id) = &run.sync_id {
            after_run(&mut transaction, sync_id, retry).await?;
        }
        count_canary_runs(&mut transaction, std::slice::from_ref(run)).await?;
        self.add_webhooks(&mut transaction, webhooks).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The newest run of a sync in one of `states` (all when empty).
    pub async fn last_run(&self, sync_id: &SyncId, states: &[RunState]) -> Result<Option<Run>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            concat!("SELECT ", run_columns!("runs"), " FROM runs WHERE sync_id = "),
        );
        sql.bind(sync_id.as_str());
        if !states.is_empty() {
            let words: Vec<&str> = states.iter().map(|state| state.word()).collect();
            sql.push(" AND state IN ").list(&words);
        }
        sql.push(" ORDER BY id DESC LIMIT 1");
        let rows = sql.fetch_all(&self.reader).await?;
        rows.first().map(|row| run(&mut Columns::new(row, "runs"))).transpose()
    }

    /// Deletes runs that were created before, at most `limit`, but neither open ones nor the last of a sync; gives how
    /// many.
    pub async fn delete_runs_before(&self, before_ms: i64, limit: i64) -> Result<u64, StoreError> {
        let deleted = query_scalar::<_, String>(
            "DELETE FROM runs WHERE id IN (SELECT id FROM runs r WHERE r.id < $1 \
             AND r.state NOT IN ('queued', 'running') AND (r.sync_id IS NULL \
             OR r.id < (SELECT MAX(newer.id) FROM runs newer WHERE newer.sync_id = r.sync_id)) \
             ORDER BY r.id LIMIT $2) RETURNING id",
        )
        .bind(RunId::new(before_ms, [0; 16]).as_str())
        .bind(limit)
        .fetch_all(&self.writer)
        .await?;
        Ok(u64::try_from(deleted.len()).unwrap_or(u64::MAX))
    }
}

impl<'a> RunRow<'a> {
    pub(super) fn new(run: &'a Run) -> Result<Self, StoreError> {
        Ok(Self {
            run,
            error: run.error.as_ref().map(to_json).transpose()?,
            result: (!run.result.is_empty()).then(|| to_json(&run.result)).transpose()?,
        })
    }

    pub(super) fn bind(&self, row: &mut Row<'_>) {
        let run = self.run;
        row.bind(run.id.as_str())
            .bind(run.environment_id.as_str())
            .bind(run.integration_id.as_str())
            .bind(run.connection_key.as_str())
            .bind(run.function.as_str())
            .bind(run.kind.word())
            .bind(run.version)
            .bind(run.sync_id.as_ref().map(SyncId::as_str))
            .bind(run.trigger.word())
            .bind(run.state.word())
            .bind(self.error.as_deref())
            .bind(self.result.as_deref())
            .bind(run.created_at_ms)
            .bind(run.started_at_ms)
            .bind(run.ended_at_ms)
            .bind(run.duration_us);
    }
}

/// Reads [`run_columns`].
pub(super) fn run(columns: &mut Columns<'_>) -> Result<Run, StoreError> {
    Ok(Run {
        id: columns.id("id")?,
        environment_id: columns.id("environment_id")?,
        integration_id: columns.id("integration_id")?,
        connection_key: columns.id("connection_key")?,
        function: columns.get("function")?,
        kind: columns.word("kind")?,
        version: columns.get("version")?,
        sync_id: columns.get::<Option<&str>>("sync_id")?.map(SyncId::from),
        trigger: columns.word("triggered_by")?,
        state: columns.word("state")?,
        error: columns.json_or_null("error")?,
        result: columns.json_or_null("result")?.unwrap_or_default(),
        created_at_ms: columns.get("created_at_ms")?,
        started_at_ms: columns.get("started_at_ms")?,
        ended_at_ms: columns.get("ended_at_ms")?,
        duration_us: columns.get("duration_us")?,
    })
}
