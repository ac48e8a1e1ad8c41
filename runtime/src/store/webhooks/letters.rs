//! What became of webhooks, for those who look: listing them, having dead letters sent again, and letting go of old ones.

use sqlx::{query, query_scalar};

use super::super::columns::{Columns, Word as _};
use super::super::sql::Sql;
use super::super::{Store, StoreError};
use super::{target, webhook, webhook_columns};
use crate::model::{EnvironmentId, Webhook, WebhookId, WebhookState};

/// Webhooks listed at once: a page of 100, and one that says that there are more.
const PAGE_MAX: i64 = 101;
/// Dead letters that one call has sent again.
const RESEND_MAX: i64 = 1_000;
const TOO_OLD: &str = "it has waited for longer than a day, because its address did not answer";
/// Why a webhook that waited is a dead letter.
const TOO_MANY: &str = "more webhooks waited than are kept (limits.webhook_queue)";

/// Which webhooks to list; newest first.
#[derive(Clone, Debug)]
pub struct WebhookQuery {
    pub state: Option<WebhookState>,
    pub connection_id: Option<String>,
    /// Those before this one.
    pub before: Option<WebhookId>,
    /// 1 to 101.
    pub limit: i64,
}

/// What came of having one sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookResend {
    Queued,
    /// It is on its way just now.
    UnderWay,
    Unknown,
}

impl Store {
    pub async fn webhooks(
        &self,
        environment_id: &EnvironmentId,
        query: &WebhookQuery,
    ) -> Result<Vec<Webhook>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            concat!("SELECT ", webhook_columns!(), " FROM webhooks WHERE environment_id = "),
        );
        sql.bind(environment_id.as_str());
        if let Some(state) = query.state {
            sql.push(" AND state = ").bind(state.word());
        }
        if let Some(connection_id) = &query.connection_id {
            sql.push(" AND connection_id = ").bind(connection_id.as_str());
        }
        if let Some(before) = &query.before {
            sql.push(" AND id < ").bind(before.as_str());
        }
        sql.push(" ORDER BY id DESC LIMIT ")
            .bind(query.limit.clamp(1, PAGE_MAX));
        let rows = sql.fetch_all(&self.reader).await?;
        let webhooks = rows.iter().map(|row| webhook(&mut Columns::new(row, "webhooks")));
        webhooks.collect()
    }

    pub async fn webhook(&self, environment_id: &EnvironmentId, id: &WebhookId) -> Result<Option<Webhook>, StoreError> {
        let row = query(concat!(
            "SELECT ",
            webhook_columns!(),
            " FROM webhooks WHERE id = $1 AND environment_id = $2"
        ))
        .bind(id.as_str())
        .bind(environment_id.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref()
            .map(|row| webhook(&mut Columns::new(row, "webhooks")))
            .transpose()
    }

    /// Has a webhook sent again at once, whatever became of it, unless it is on its way. Its address is tried again, too, should
    /// it be closed.
    pub async fn resend_webhook(
        &self,
        environment_id: &EnvironmentId,
        id: &WebhookId,
        now_ms: i64,
    ) -> Result<WebhookResend, StoreError> {
        let mut transaction = self.begin().await?;
        let url: Option<String> = query_scalar(
            "UPDATE webhooks SET state = 'pending', attempts = 0, due_at_ms = $3, queued_at_ms = $3, lease_until_ms = 0, \
             problem = NULL, ended_at_ms = NULL \
             WHERE id = $1 AND environment_id = $2 AND (state <> 'pending' OR lease_until_ms <= $3) RETURNING url",
        )
        .bind(id.as_str())
        .bind(environment_id.as_str())
        .bind(now_ms)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(url) = url else {
            drop(transaction);
            return Ok(match self.webhook(environment_id, id).await? {
                Some(_) => WebhookResend::UnderWay,
                None => WebhookResend::Unknown,
            });
        };
        query("DELETE FROM webhook_targets WHERE target = $1")
            .bind(target(&url))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(WebhookResend::Queued)
    }

    /// Has dead letters sent again, the oldest first, at most 1,000; gives how many.
    pub async fn resend_dead_webhooks(&self, environment_id: &EnvironmentId, now_ms: i64) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let rows = query(
            "UPDATE webhooks SET state = 'pending', attempts = 0, due_at_ms = $2, queued_at_ms = $2, lease_until_ms = 0, \
             problem = NULL, ended_at_ms = NULL WHERE state = 'dead' AND id IN (SELECT id FROM webhooks \
             WHERE environment_id = $1 AND state = 'dead' ORDER BY id LIMIT $3) RETURNING target",
        )
        .bind(environment_id.as_str())
        .bind(now_ms)
        .bind(RESEND_MAX)
        .fetch_all(&mut *transaction)
        .await?;
        let mut targets = Vec::with_capacity(rows.len());
        for row in &rows {
            targets.push(Columns::new(row, "webhooks").get::<&str>("target")?);
        }
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            query("DELETE FROM webhook_targets WHERE target = $1")
                .bind(target)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
    }

    /// Deletes webhooks in `state` that ended before, at most `limit`; gives how many.
    pub async fn delete_webhooks_before(
        &self,
        state: WebhookState,
        before_ms: i64,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let deleted = query(
            "DELETE FROM webhooks WHERE id IN (SELECT id FROM webhooks WHERE state = $1 AND state <> 'pending' \
             AND ended_at_ms < $2 ORDER BY ended_at_ms LIMIT $3)",
        )
        .bind(state.word())
        .bind(before_ms)
        .bind(limit)
        .execute(&self.writer)
        .await?;
        Ok(deleted.rows_affected())
    }

    /// Webhooks that wait since before for an address that fails become dead letters, at most `limit`; gives how many. Those
    /// that wait because no server ran meanwhile, or because the clock was set forward, are sent.
    pub async fn give_up_webhooks_before(
        &self,
        queued_before_ms: i64,
        now_ms: i64,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let given_up = query(
            "UPDATE webhooks SET state = 'dead', problem = COALESCE(problem, $4), ended_at_ms = $2 \
             WHERE state = 'pending' AND lease_until_ms <= $2 AND id IN (SELECT id FROM webhooks \
             WHERE state = 'pending' AND queued_at_ms < $1 AND target IN (SELECT target FROM webhook_targets) ORDER BY due_at_ms, id LIMIT $3)",
        )
        .bind(queued_before_ms)
        .bind(now_ms)
        .bind(limit)
        .bind(TOO_OLD)
        .execute(&self.writer)
        .await?;
        Ok(given_up.rows_affected())
    }

    /// Of the webhooks of an environment that wait, keeps the newest `waiting_max`: older ones become dead letters; and of those
    /// keeps the newest `dead_max`. At most `limit` each; gives how many.
    pub async fn bound_webhooks(
        &self,
        environment_id: &EnvironmentId,
        waiting_max: i64,
        dead_max: i64,
        now_ms: i64,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let given_up = query(
            "UPDATE webhooks SET state = 'dead', problem = $4, ended_at_ms = $3 WHERE state = 'pending' \
             AND lease_until_ms <= $3 AND id IN (SELECT id FROM webhooks WHERE environment_id = $1 AND state = 'pending' \
             ORDER BY id DESC LIMIT $5 OFFSET $2)",
        )
        .bind(environment_id.as_str())
        .bind(waiting_max)
        .bind(now_ms)
        .bind(TOO_MANY)
        .bind(limit)
        .execute(&self.writer)
        .await?;
        let deleted = query(
            "DELETE FROM webhooks WHERE state = 'dead' AND id IN (SELECT id FROM webhooks WHERE environment_id = $1 \
             AND state = 'dead' ORDER BY id DESC LIMIT $3 OFFSET $2)",
        )
        .bind(environment_id.as_str())
        .bind(dead_max)
        .bind(limit)
        .execute(&self.writer)
        .await?;
        Ok(given_up.rows_affected() + deleted.rows_affected())
    }

    /// Forgets addresses that nothing was heard of since.
    pub async fn forget_webhook_targets_before(&self, before_ms: i64) -> Result<(), StoreError> {
        query("DELETE FROM webhook_targets WHERE changed_at_ms < $1")
            .bind(before_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}
