//! Actions in the background: their queue and their results. As with runs, an attempt has a lease and a fence, and writes
//! under a stale fence are refused. Which of the waiting ones come next is decided by whoever claims; here is kept that
//! nobody else decides at the same time. How they end is in [`ends`].

mod ends;

use sqlx::{Any, Transaction, query, query_scalar};

pub use ends::{ActionEnd, ActionRetry, Announce};

use super::columns::{Columns, Word, to_json};
use super::sql::Sql;
use super::{Store, StoreError};
use crate::model::{Action, EnvironmentId, Idempotency, RunId, RunState};

/// Waiting actions shown to whoever claims.
const WAITING_MAX: i64 = 4_096;
/// Actions listed at once.
const PAGE_MAX: i64 = 500;

macro_rules! action_columns {
    () => {
        "id, environment_id, provider_config_key, connection_id, connection_key, kind, function, input, state, attempts, \
         retries_max, due_at_ms, created_at_ms, started_at_ms, ended_at_ms, cancelled_at_ms, run_id, output, error, \
         idempotency_key, fingerprint, background"
    };
}

/// What became of [`Store::insert_action`].
#[derive(Debug)]
pub enum ActionInserted {
    New,
    /// One with the same idempotency key is there.
    Known(Box<Action>),
    /// The environment has as many queued ones as it may.
    Full,
}

/// An action and the token that proves whose attempt it is.
#[derive(Clone, Debug)]
pub struct ClaimedAction {
    pub action: Action,
    pub fence: i64,
}

/// A queued action that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingAction {
    pub id: String,
    pub of: ActionScope,
}

/// Attempts under way of one function for one connection, in all processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningActions {
    pub of: ActionScope,
    pub count: i64,
}

/// What limits count by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionScope {
    pub environment_id: String,
    pub provider_config_key: String,
    pub connection_key: String,
    pub function: String,
}

/// How the lease of an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionLease {
    Kept,
    /// Kept, and somebody asked to cancel the action.
    Cancelled,
    /// It is somebody else's, or has ended.
    Lost,
}

/// Which actions to list; newest first.
#[derive(Clone, Debug, Default)]
pub struct ActionQuery {
    pub provider_config_key: Option<String>,
    pub connection_id: Option<String>,
    pub function: Option<String>,
    pub state: Option<RunState>,
    /// Created before this one: its time of creation and its id.
    pub before: Option<(i64, String)>,
    /// 1 to 500.
    pub limit: i64,
}

impl Store {
    /// Inserts an action, queued or (an attempt that begins at once) running with a lease and fence 1. Refuses one more
    /// than `queued_max` queued ones of an environment, and a second one of an idempotency key.
    pub async fn insert_action(
        &self,
        action: &Action,
        lease_until_ms: Option<i64>,
        queued_max: i64,
    ) -> Result<ActionInserted, StoreError> {
        let mut transaction = self.begin().await?;
        if action.state == RunState::Queued {
            let queued: i64 = query_scalar(
                "SELECT CAST(COUNT(*) AS BIGINT) FROM (SELECT id FROM actions WHERE environment_id = $1 \
                 AND state = 'queued' AND kind = 'action' LIMIT $2) AS queued",
            )
            .bind(action.environment_id.as_str())
            .bind(queued_max)
            .fetch_one(&mut *transaction)
            .await?;
            if queued >= queued_max {
                return Ok(ActionInserted::Full);
            }
        }
        let inserted = self.add_action(&mut transaction, action, lease_until_ms).await?;
        transaction.commit().await?;
        if inserted {
            return Ok(ActionInserted::New);
        }
        let key = action.idempotency.as_ref().map(|it| it.key.as_str());
        let row = query(concat!(
            "SELECT ",
            action_columns!(),
            " FROM actions WHERE environment_id = $1 AND idempotency_key = $2"
        ))
        .bind(action.environment_id.as_str())
        .bind(key)
        .fetch_optional(&self.writer)
        .await?;
        match row {
            Some(row) => Ok(ActionInserted::Known(Box::new(self::action(&mut Columns::new(
                &row, "actions",
            ))?))),
            // Deleted in between; who asks again finds the key free.
            None => Ok(ActionInserted::Full),
        }
    }

    /// Writes an action in the transaction of what it comes of. False when there is one of its idempotency key.
    pub(super) async fn add_action(
        &self,
        transaction: &mut Transaction<'static, Any>,
        action: &Action,
        lease_until_ms: Option<i64>,
    ) -> Result<bool, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            concat!("INSERT INTO actions (", action_columns!(), ", lease_until_ms, fence) "),
        );
        let error = action.error.as_ref().map(to_json).transpose()?;
        sql.values([action], |row, action| {
            let idempotency = action.idempotency.as_ref();
            row.bind(action.id.as_str())
                .bind(action.environment_id.as_str())
                .bind(action.provider_config_key.as_str())
                .bind(action.connection_id.as_str())
                .bind(action.connection_key.as_str())
                .bind(action.kind.word())
                .bind(action.function.as_str())
                .bind(action.input.as_str())
                .bind(action.state.word())
                .bind(action.attempts)
                .bind(action.retries_max)
                .bind(action.due_at_ms)
                .bind(action.created_at_ms)
                .bind(action.started_at_ms)
                .bind(action.ended_at_ms)
                .bind(action.cancelled_at_ms)
                .bind(action.run_id.as_ref().map(RunId::as_str))
                .bind(action.output.as_deref())
                .bind(error.as_deref())
                .bind(idempotency.map(|it| it.key.as_str()))
                .bind(idempotency.map(|it| it.fingerprint.as_slice()))
                .bind(i64::from(action.is_background))
                .bind(lease_until_ms)
                .bind(action.attempts);
        });
        sql.push(" ON CONFLICT DO NOTHING");
        Ok(sql.execute(&mut **transaction).await? == 1)
    }

    /// Of whatever environment; who asks on behalf of a caller must compare.
    pub async fn action(&self, id: &str) -> Result<Option<Action>, StoreError> {
        let row = query(concat!(
            "SELECT ",
            action_columns!(),
            " FROM actions WHERE id = $1 AND kind = 'action'"
        ))
        .bind(id)
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref()
            .map(|row| action(&mut Columns::new(row, "actions")))
            .transpose()
    }

    /// Newest first.
    pub async fn actions(
        &self,
        environment_id: &EnvironmentId,
        wanted: &ActionQuery,
    ) -> Result<Vec<Action>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            concat!(
                "SELECT ",
                action_columns!(),
                " FROM actions WHERE kind = 'action' AND environment_id = "
            ),
        );
        sql.bind(environment_id.as_str());
        let texts = [
            (" AND provider_config_key = ", &wanted.provider_config_key),
            (" AND connection_id = ", &wanted.connection_id),
            (" AND function = ", &wanted.function),
        ];
        for (condition, text) in texts {
            if let Some(text) = text {
                sql.push(condition).bind(text.as_str());
            }
        }
        if let Some(state) = wanted.state {
            sql.push(" AND state = ").bind(state.word());
        }
        if let Some((created_at_ms, id)) = &wanted.before {
            sql.push(" AND (created_at_ms, id) < (")
                .bind(*created_at_ms)
                .push(", ")
                .bind(id.as_str())
                .push(")");
        }
        sql.push(" ORDER BY created_at_ms DESC, id DESC LIMIT ")
            .bind(wanted.limit.clamp(1, PAGE_MAX));
        let rows = sql.fetch_all(&self.reader).await?;
        rows.iter()
            .map(|row| action(&mut Columns::new(row, "actions")))
            .collect()
    }

    /// Begins attempts of those queued actions that `pick` chooses. It gets, for each function and connection, the first
    /// `of_each_max` that are due, and what runs in all processes; nobody else claims meanwhile.
    pub async fn claim_actions(
        &self,
        now_ms: i64,
        lease_until_ms: i64,
        of_each_max: i64,
        pick: impl FnOnce(&[WaitingAction], &[RunningActions]) -> Vec<String> + Send,
    ) -> Result<Vec<ClaimedAction>, StoreError> {
        // Looked at before the line for claims is joined: most of the time nothing is due.
        let due: Option<String> =
            query_scalar("SELECT id FROM actions WHERE state = 'queued' AND due_at_ms <= $1 LIMIT 1")
                .bind(now_ms)
                .fetch_optional(&self.reader)
                .await?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let mut transaction = self.begin().await?;
        query("UPDATE action_claims SET claims = claims + 1 WHERE id = 'actions'")
            .execute(&mut *transaction)
            .await?;
        let rows = query(
            "SELECT id, environment_id, provider_config_key, connection_key, function FROM (SELECT id, environment_id, \
             provider_config_key, connection_key, function, due_at_ms, created_at_ms, ROW_NUMBER() OVER \
             (PARTITION BY connection_key, function ORDER BY due_at_ms, created_at_ms, id) AS turn FROM actions \
             WHERE state = 'queued' AND due_at_ms <= $1) AS waiting \
             WHERE turn <= $2 ORDER BY turn, due_at_ms, created_at_ms, id LIMIT $3",
        )
        .bind(now_ms)
        .bind(of_each_max)
        .bind(WAITING_MAX)
        .fetch_all(&mut *transaction)
        .await?;
        let mut waiting = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::new(row, "actions");
            waiting.push(WaitingAction {
                id: columns.get("id")?,
                of: scope(&mut columns)?,
            });
        }
        let rows = query(
            "SELECT environment_id, provider_config_key, connection_key, function, CAST(COUNT(*) AS BIGINT) FROM actions \
             WHERE state = 'running' GROUP BY environment_id, provider_config_key, connection_key, function",
        )
        .fetch_all(&mut *transaction)
        .await?;
        let mut running = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut columns = Columns::new(row, "actions");
            running.push(RunningActions {
                of: scope(&mut columns)?,
                count: columns.get("count")?,
            });
        }
        let picked = pick(&waiting, &running);
        let mut claimed = Vec::with_capacity(picked.len());
        if !picked.is_empty() {
            let mut sql = Sql::new(
                self.dialect,
                "UPDATE actions SET state = 'running', attempts = attempts + 1, fence = fence + 1, started_at_ms = \
                 COALESCE(started_at_ms, ",
            );
            let ids: Vec<&str> = picked.iter().map(String::as_str).collect();
            sql.bind(now_ms)
                .push("), lease_until_ms = ")
                .bind(lease_until_ms)
                .push(" WHERE state = 'queued' AND id IN ")
                .list(&ids);
            sql.push(concat!(" RETURNING ", action_columns!(), ", fence"));
            for row in &sql.fetch_all(&mut *transaction).await? {
                let mut columns = Columns::new(row, "actions");
                claimed.push(ClaimedAction {
                    action: action(&mut columns)?,
                    fence: columns.get("fence")?,
                });
            }
        }
        transaction.commit().await?;
        Ok(claimed)
    }

    /// Prolongs the lease of an attempt.
    pub async fn renew_action_lease(
        &self,
        id: &str,
        fence: i64,
        lease_until_ms: i64,
    ) -> Result<ActionLease, StoreError> {
        let cancelled_at_ms: Option<Option<i64>> = query_scalar(
            "UPDATE actions SET lease_until_ms = $3 WHERE id = $1 AND fence = $2 AND state = 'running' \
             RETURNING cancelled_at_ms",
        )
        .bind(id)
        .bind(fence)
        .bind(lease_until_ms)
        .fetch_optional(&self.writer)
        .await?;
        Ok(match cancelled_at_ms {
            None => ActionLease::Lost,
            Some(None) => ActionLease::Kept,
            Some(Some(_)) => ActionLease::Cancelled,
        })
    }

    /// Frees idempotency keys of actions that were created before, and have ended.
    pub async fn forget_idempotency_keys(&self, created_before_ms: i64) -> Result<u64, StoreError> {
        let forgotten = query(
            "UPDATE actions SET idempotency_key = NULL, fingerprint = NULL \
             WHERE idempotency_key IS NOT NULL AND ended_at_ms IS NOT NULL AND created_at_ms < $1",
        )
        .bind(created_before_ms)
        .execute(&self.writer)
        .await?;
        Ok(forgotten.rows_affected())
    }

    /// Deletes actions that ended before, at most `limit`; gives how many.
    pub async fn delete_actions_before(&self, ended_before_ms: i64, limit: i64) -> Result<u64, StoreError> {
        let deleted = query(
            "DELETE FROM actions WHERE id IN (SELECT id FROM actions WHERE ended_at_ms IS NOT NULL \
             AND ended_at_ms < $1 LIMIT $2)",
        )
        .bind(ended_before_ms)
        .bind(limit)
        .execute(&self.writer)
        .await?;
        Ok(deleted.rows_affected())
    }
}

fn scope(columns: &mut Columns<'_>) -> Result<ActionScope, StoreError> {
    Ok(ActionScope {
        environment_id: columns.get("environment_id")?,
        provider_config_key: columns.get("provider_config_key")?,
        connection_key: columns.get("connection_key")?,
        function: columns.get("function")?,
    })
}

/// Reads [`action_columns`].
fn action(columns: &mut Columns<'_>) -> Result<Action, StoreError> {
    Ok(Action {
        id: columns.get("id")?,
        environment_id: columns.id("environment_id")?,
        provider_config_key: columns.get("provider_config_key")?,
        connection_id: columns.get("connection_id")?,
        connection_key: columns.id("connection_key")?,
        kind: columns.word("kind")?,
        function: columns.get("function")?,
        input: columns.get("input")?,
        state: columns.word("state")?,
        attempts: columns.get("attempts")?,
        retries_max: columns.get("retries_max")?,
        due_at_ms: columns.get("due_at_ms")?,
        created_at_ms: columns.get("created_at_ms")?,
        started_at_ms: columns.get("started_at_ms")?,
        ended_at_ms: columns.get("ended_at_ms")?,
        cancelled_at_ms: columns.get("cancelled_at_ms")?,
        run_id: columns.get::<Option<&str>>("run_id")?.map(RunId::from),
        output: columns.get("output")?,
        error: columns.json_or_null("error")?,
        idempotency: {
            let key: Option<String> = columns.get("idempotency_key")?;
            let fingerprint: Option<Vec<u8>> = columns.get("fingerprint")?;
            key.zip(fingerprint)
                .map(|(key, fingerprint)| Idempotency { key, fingerprint })
        },
        is_background: columns.get::<i64>("background")? == 1,
    })
}
