//! How attempts of actions end: with the action, or with a place in the queue. Whatever ends an action goes through
//! [`end_where`], in the transaction of its end: who is to be told of ends learns of each there, once.

use sqlx::{Any, Transaction, query, query_scalar};

use super::super::columns::{Columns, Word, to_json};
use super::super::sql::Sql;
use super::super::{Store, StoreError};
use crate::model::{Connection, ConnectionKey, RunError, RunId, RunState, Webhook};

/// How an action ended.
#[derive(Debug)]
pub struct ActionEnd<'a> {
    pub state: RunState,
    pub output: Option<&'a str>,
    pub error: Option<&'a RunError>,
    /// Of the last attempt.
    pub run_id: Option<&'a RunId>,
    pub ended_at_ms: i64,
}

/// What is to be done again, and when.
#[derive(Debug)]
pub struct ActionRetry<'a> {
    /// Of the attempt that failed.
    pub error: &'a RunError,
    pub run_id: Option<&'a RunId>,
    pub due_at_ms: i64,
    /// Whether it counts as an attempt; one that never began does not.
    pub counts: bool,
}

/// Makes the webhooks that tell of the end of an action that ran in the background: of which connection, and its id.
pub type Announce<'a> = &'a (dyn Fn(&Connection, &str) -> Vec<Webhook> + Send + Sync);

impl Store {
    /// Writes the end of an action, and the webhooks that say so. False when the fence is stale.
    pub async fn end_action(
        &self,
        id: &str,
        fence: i64,
        end: &ActionEnd<'_>,
        announce: Announce<'_>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let ended = self
            .end_where(&mut transaction, end, announce, |sql| {
                sql.push("id = ")
                    .bind(id)
                    .push(" AND fence = ")
                    .bind(fence)
                    .push(" AND state = 'running'");
            })
            .await?;
        transaction.commit().await?;
        Ok(!ended.is_empty())
    }

    /// Puts an action back into the queue. False when the fence is stale.
    pub async fn requeue_action(&self, id: &str, fence: i64, retry: &ActionRetry<'_>) -> Result<bool, StoreError> {
        let queued = query(
            "UPDATE actions SET state = 'queued', error = $3, due_at_ms = $4, run_id = COALESCE($5, run_id), \
             attempts = attempts - $6, lease_until_ms = NULL WHERE id = $1 AND fence = $2 AND state = 'running'",
        )
        .bind(id)
        .bind(fence)
        .bind(to_json(retry.error)?)
        .bind(retry.due_at_ms)
        .bind(retry.run_id.map(RunId::as_str))
        .bind(i64::from(!retry.counts))
        .execute(&self.writer)
        .await?;
        Ok(queued.rows_affected() == 1)
    }

    /// Forgets an attempt that never began, so that its idempotency key is free again.
    pub async fn forget_action(&self, id: &str, fence: i64) -> Result<(), StoreError> {
        query("DELETE FROM actions WHERE id = $1 AND fence = $2 AND state = 'running'")
            .bind(id)
            .bind(fence)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Asks for the end of an action: at once when it is queued; whoever runs it learns of it with its lease. One that has
    /// ended stays as it is.
    pub async fn cancel_action(
        &self,
        id: &str,
        error: &RunError,
        now_ms: i64,
        announce: Announce<'_>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        query(
            "UPDATE actions SET cancelled_at_ms = COALESCE(cancelled_at_ms, $2) WHERE id = $1 \
             AND state IN ('queued', 'running')",
        )
        .bind(id)
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        let end = without_output(RunState::Cancelled, error, now_ms);
        self.end_where(&mut transaction, &end, announce, |sql| {
            sql.push("id = ").bind(id).push(" AND state = 'queued'");
        })
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Whether there are attempts whose process died.
    pub async fn has_lost_actions(&self, now_ms: i64) -> Result<bool, StoreError> {
        let lost: Option<String> =
            query_scalar("SELECT id FROM actions WHERE state = 'running' AND lease_until_ms <= $1 LIMIT 1")
                .bind(now_ms)
                .fetch_optional(&self.reader)
                .await?;
        Ok(lost.is_some())
    }

    /// Attempts whose process died: to be cancelled is cancelled, what may be tried again is queued, the rest failed with
    /// `error`. Gives how many.
    pub async fn recover_actions(
        &self,
        now_ms: i64,
        cancelled: &RunError,
        error: &RunError,
        announce: Announce<'_>,
    ) -> Result<usize, StoreError> {
        let mut transaction = self.begin().await?;
        let mut recovered = 0;
        let ends = [
            (RunState::Cancelled, " AND cancelled_at_ms IS NOT NULL", cancelled),
            (RunState::Failed, " AND attempts > retries_max", error),
        ];
        for (state, condition, error) in ends {
            let end = without_output(state, error, now_ms);
            let ended = self.end_where(&mut transaction, &end, announce, |sql| {
                sql.push("state = 'running' AND lease_until_ms <= ")
                    .bind(now_ms)
                    .push(condition);
            });
            recovered += ended.await?.len();
        }
        let queued = query(
            "UPDATE actions SET lease_until_ms = NULL, state = 'queued', due_at_ms = $1 \
             WHERE state = 'running' AND lease_until_ms <= $1",
        )
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(recovered + usize::try_from(queued.rows_affected()).unwrap_or(usize::MAX))
    }

    /// Fails queued actions that were created before, at most `limit`; gives how many. On-event functions wait as long as they must.
    pub async fn expire_actions(
        &self,
        created_before_ms: i64,
        error: &RunError,
        now_ms: i64,
        limit: i64,
        announce: Announce<'_>,
    ) -> Result<usize, StoreError> {
        let mut transaction = self.begin().await?;
        let end = without_output(RunState::Failed, error, now_ms);
        let expired = self
            .end_where(&mut transaction, &end, announce, |sql| {
                sql.push(
                    "state = 'queued' AND id IN (SELECT id FROM actions WHERE state = 'queued' AND kind = 'action' \
                     AND created_at_ms < ",
                )
                .bind(created_before_ms)
                .push(" LIMIT ")
                .bind(limit)
                .push(")");
            })
            .await?;
        transaction.commit().await?;
        Ok(expired.len())
    }

    /// The one place where actions end: those that `condition` selects; gives their ids. Whatever else belongs to the end of an
    /// action belongs here, into the same transaction.
    async fn end_where(
        &self,
        transaction: &mut Transaction<'static, Any>,
        end: &ActionEnd<'_>,
        announce: Announce<'_>,
        condition: impl FnOnce(&mut Sql),
    ) -> Result<Vec<String>, StoreError> {
        let error = end.error.map(to_json).transpose()?;
        let mut sql = Sql::new(self.dialect, "UPDATE actions SET lease_until_ms = NULL, state = ");
        sql.bind(end.state.word())
            .push(", output = ")
            .bind(end.output)
            .push(", error = ")
            .bind(error.as_deref())
            .push(", ended_at_ms = ")
            .bind(end.ended_at_ms)
            .push(", run_id = COALESCE(")
            .bind(end.run_id.map(RunId::as_str))
            .push(", run_id) WHERE ");
        condition(&mut sql);
        sql.push(" RETURNING id, connection_key, background");
        let rows = sql.fetch_all(&mut **transaction).await?;
        let mut ids = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::new(row, "actions");
            let id: String = columns.get("id")?;
            let connection_key: ConnectionKey = columns.id("connection_key")?;
            let is_background = columns.get::<i64>("background")? == 1;
            if is_background && let Some(connection) = self.living_connection(transaction, &connection_key).await? {
                self.add_webhooks(transaction, &announce(&connection, &id)).await?;
            }
            ids.push(id);
        }
        Ok(ids)
    }
}

fn without_output<'a>(state: RunState, error: &'a RunError, ended_at_ms: i64) -> ActionEnd<'a> {
    ActionEnd {
        state,
        output: None,
        error: Some(error),
        run_id: None,
        ended_at_ms,
    }
}
