//! Providers' webhooks that functions have still to handle: a queue of runs, claimed with a lease and a fence. Rows go when their run
//! has ended. What is for one connection and one function is claimed one after the other, in the order in which it came.

use sqlx::any::AnyRow;
use sqlx::{query, query_scalar};

use super::canaries::count_canary_runs;
use super::columns::Columns;
use super::connections::{connection, connection_columns, select_connection};
use super::runs::{INSERT_RUNS, RunRow};
use super::sql::{Sql, chunks};
use super::validations::counts;
use super::{Store, StoreError};
use crate::model::{
    Connection, ConnectionKey, Environment, EnvironmentId, IncomingWebhook, IntegrationId, Run, RunId, Sealed, Webhook,
    WebhookRun,
};

/// Runs claimed at once.
const CLAIM_MAX: i64 = 256;

/// A run for a webhook and the token that proves whose it is.
#[derive(Clone, Debug)]
pub struct ClaimedWebhookRun {
    pub run: WebhookRun,
    /// Of the webhook.
    pub content: Sealed,
    /// Counts the claims of this run.
    pub fence: i64,
}

impl Store {
    /// By its id or, if none has that, by its name.
    pub async fn environment_by_id_or_name(&self, id_or_name: &str) -> Result<Option<Environment>, StoreError> {
        let rows = query("SELECT id, name, created_at_ms FROM environments WHERE id = $1 OR name = $1")
            .bind(id_or_name)
            .fetch_all(&self.reader)
            .await?;
        let all: Vec<Environment> = rows
            .iter()
            .map(super::integrations::environment)
            .collect::<Result<_, _>>()?;
        let by_id = all.iter().find(|environment| environment.id.as_str() == id_or_name);
        Ok(by_id.or_else(|| all.first()).cloned())
    }

    /// Connections of an integration that changed at `from` or later, in order; those after `after`, which is a moment and a key. Also
    /// those that do not count yet: that they do is no change of theirs.
    pub async fn connections_changed(
        &self,
        integration_id: &IntegrationId,
        after: (i64, &str),
        limit: i64,
    ) -> Result<Vec<Connection>, StoreError> {
        let rows = query(concat!(
            select_connection!(),
            " WHERE c.integration_id = $1 AND (c.updated_at_ms, c.connection_key) > ($2, $3) \
             ORDER BY c.updated_at_ms, c.connection_key LIMIT $4"
        ))
        .bind(integration_id.as_str())
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(connection).collect()
    }

    /// A connection that counts: none while functions are asked whether it is to be.
    pub async fn connection_that_counts(&self, key: &ConnectionKey) -> Result<Option<Connection>, StoreError> {
        let row = query(concat!(
            select_connection!(),
            " WHERE c.connection_key = $1 AND ",
            counts!("c")
        ))
        .bind(key.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(connection).transpose()
    }

    /// Writes a webhook with the runs for it, and what the application is told of it, in one transaction. False, and nothing written,
    /// when `queued_max` runs of the environment would be exceeded.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the environment was deleted.
    pub async fn accept_webhook(
        &self,
        incoming: &IncomingWebhook,
        runs: &[WebhookRun],
        outbox: &[Webhook],
        queued_max: i64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        if !runs.is_empty() {
            let queued: i64 = query_scalar(
                "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT 1 FROM webhook_runs WHERE environment_id = $1 LIMIT $2) AS queued",
            )
            .bind(incoming.environment_id.as_str())
            .bind(queued_max)
            .fetch_one(&mut *transaction)
            .await?;
            if queued.saturating_add(i64::try_from(runs.len()).unwrap_or(i64::MAX)) > queued_max {
                return Ok(false);
            }
            query(
                "INSERT INTO incoming_webhooks (id, environment_id, content, received_at_ms) VALUES ($1, $2, $3, $4)",
            )
            .bind(incoming.id.as_str())
            .bind(incoming.environment_id.as_str())
            .bind(incoming.content.0.as_slice())
            .bind(incoming.received_at_ms)
            .execute(&mut *transaction)
            .await?;
        }
        for chunk in chunks(runs) {
            let mut sql = Sql::new(
                self.dialect,
                "INSERT INTO webhook_runs (id, incoming_id, environment_id, connection_key, function, queued_at_ms, due_at_ms, \
                 lease_until_ms, fence) ",
            );
            sql.values(chunk, |row, run| {
                row.bind(run.id.as_str())
                    .bind(run.incoming_id.as_str())
                    .bind(run.environment_id.as_str())
                    .bind(run.connection_key.as_str())
                    .bind(run.function.as_str())
                    .bind(run.queued_at_ms)
                    .bind(run.queued_at_ms)
                    .bind(0_i64)
                    .bind(0_i64);
            });
            sql.execute(&mut *transaction).await?;
        }
        self.add_webhooks(&mut transaction, outbox).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Claims up to `limit` (at most 256) runs that are due and that nobody has, the oldest first; of one connection and function
    /// only the oldest one there is. Of several processes one gets each.
    pub async fn claim_webhook_runs(
        &self,
        now_ms: i64,
        lease_until_ms: i64,
        limit: i64,
    ) -> Result<Vec<ClaimedWebhookRun>, StoreError> {
        let rows = query(
            "UPDATE webhook_runs SET lease_until_ms = $2, fence = fence + 1 WHERE id IN (SELECT w.id FROM webhook_runs w \
             WHERE w.due_at_ms <= $1 AND w.lease_until_ms <= $1 AND NOT EXISTS (SELECT 1 FROM webhook_runs older \
             WHERE older.connection_key = w.connection_key AND older.function = w.function AND older.id < w.id) \
             ORDER BY w.id LIMIT $3) AND lease_until_ms <= $1 \
             RETURNING id, incoming_id, environment_id, connection_key, function, queued_at_ms, fence, \
             (SELECT i.content FROM incoming_webhooks i WHERE i.id = webhook_runs.incoming_id) AS content",
        )
        .bind(now_ms)
        .bind(lease_until_ms)
        .bind(limit.clamp(0, CLAIM_MAX))
        .fetch_all(&self.writer)
        .await?;
        rows.iter().map(claimed).collect()
    }

    /// Prolongs the lease. False when somebody else has the run.
    pub async fn renew_webhook_run(&self, id: &RunId, fence: i64, lease_until_ms: i64) -> Result<bool, StoreError> {
        let renewed = query("UPDATE webhook_runs SET lease_until_ms = $3 WHERE id = $1 AND fence = $2")
            .bind(id.as_str())
            .bind(fence)
            .bind(lease_until_ms)
            .execute(&self.writer)
            .await?;
        Ok(renewed.rows_affected() == 1)
    }

    /// Puts a claimed run back into the queue until `due_at_ms`. A claim under which it never `began` does not count. False when somebody
    /// else has it.
    pub async fn requeue_webhook_run(
        &self,
        id: &RunId,
        fence: i64,
        due_at_ms: i64,
        began: bool,
    ) -> Result<bool, StoreError> {
        // A number under which a function ran stays used: what it still writes is refused.
        let requeued = query(
            "UPDATE webhook_runs SET lease_until_ms = 0, due_at_ms = $3, fence = fence - $4 WHERE id = $1 AND fence = $2",
        )
        .bind(id.as_str())
        .bind(fence)
        .bind(due_at_ms)
        .bind(i64::from(!began))
        .execute(&self.writer)
        .await?;
        Ok(requeued.rows_affected() == 1)
    }

    /// Takes a run that has ended out of the queue, its webhook with the last one for it, and writes it to the history of runs if `ran`
    /// says how, and what the application is told, in one transaction. It counts for a canary if it began. False, and nothing written, when somebody else has the run.
    pub async fn finish_webhook_run(
        &self,
        run: &WebhookRun,
        fence: i64,
        ran: Option<&Run>,
        outbox: &[Webhook],
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let finished = query("DELETE FROM webhook_runs WHERE id = $1 AND fence = $2")
            .bind(run.id.as_str())
            .bind(fence)
            .execute(&mut *transaction)
            .await?;
        if finished.rows_affected() == 0 {
            return Ok(false);
        }
        query(
            "DELETE FROM incoming_webhooks WHERE id = $1 \
             AND NOT EXISTS (SELECT 1 FROM webhook_runs w WHERE w.incoming_id = incoming_webhooks.id)",
        )
        .bind(run.incoming_id.as_str())
        .execute(&mut *transaction)
        .await?;
        if let Some(ran) = ran {
            let row = RunRow::new(ran)?;
            let mut sql = Sql::new(self.dialect, INSERT_RUNS);
            sql.values([row], |columns, run| run.bind(columns));
            sql.execute(&mut *transaction).await?;
            // One that waited in vain says nothing of the version that it would have run.
            if ran.started_at_ms.is_some() {
                count_canary_runs(&mut transaction, std::slice::from_ref(ran)).await?;
            }
        }
        self.add_webhooks(&mut transaction, outbox).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Deletes webhooks that were received before and that no run is left for, at most `limit`; gives how many.
    pub async fn delete_handled_webhooks(&self, received_before_ms: i64, limit: i64) -> Result<u64, StoreError> {
        let deleted = query(
            "DELETE FROM incoming_webhooks WHERE id IN (SELECT i.id FROM incoming_webhooks i WHERE i.received_at_ms <= $1 \
             AND NOT EXISTS (SELECT 1 FROM webhook_runs w WHERE w.incoming_id = i.id) LIMIT $2)",
        )
        .bind(received_before_ms)
        .bind(limit)
        .execute(&self.writer)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// How many runs for webhooks an environment has in its queue.
    pub async fn queued_webhook_runs(&self, environment_id: &EnvironmentId) -> Result<i64, StoreError> {
        let count = query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM webhook_runs WHERE environment_id = $1")
            .bind(environment_id.as_str())
            .fetch_one(&self.reader)
            .await?;
        Ok(count)
    }
}

fn claimed(row: &AnyRow) -> Result<ClaimedWebhookRun, StoreError> {
    let mut columns = Columns::new(row, "webhook_runs");
    Ok(ClaimedWebhookRun {
        run: WebhookRun {
            id: columns.id("id")?,
            incoming_id: columns.id("incoming_id")?,
            environment_id: columns.id("environment_id")?,
            connection_key: ConnectionKey::from(columns.get::<&str>("connection_key")?),
            function: columns.get("function")?,
            queued_at_ms: columns.get("queued_at_ms")?,
        },
        fence: columns.get("fence")?,
        content: Sealed(columns.get("content")?),
    })
}
