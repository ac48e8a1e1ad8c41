//! Purging what was deleted: rows go for good, some at a time, the row of the connection or integration itself last, so that who is
//! interrupted goes on where he was.

use sqlx::any::AnyRow;
use sqlx::{Any, Transaction, query};

use super::columns::Columns;
use super::sql::Sql;
use super::{Store, StoreError};
use crate::model::{ConnectionKey, EnvironmentId, IntegrationId};

/// Which deleted connections are purged. What is none does not restrict.
#[derive(Clone, Debug, Default)]
pub struct PurgeScope {
    /// Those deleted then or before.
    pub deleted_until_ms: i64,
    pub environment_id: Option<EnvironmentId>,
    /// What its integration is or was called.
    pub provider_config_key: Option<String>,
    /// What it was called.
    pub connection_id: Option<String>,
}

/// A connection to be purged.
#[derive(Clone, Debug)]
pub struct Purgeable {
    pub key: ConnectionKey,
    environment_id: EnvironmentId,
    provider_config_key: String,
    connection_id: String,
    deleted_at_ms: i64,
}

/// Rows that belong to a connection, leaves first; `$1` is its key, `$2` the limit. Runs of syncs are found by their sync, so that
/// those of actions, which are most, need no index.
const ROWS: [&str; 9] = [
    "DELETE FROM records WHERE (connection_key, model, external_id) IN (SELECT connection_key, model, external_id FROM records \
     WHERE connection_key = $1 LIMIT $2)",
    "DELETE FROM record_sightings WHERE (connection_key, model, external_id) IN (SELECT connection_key, model, external_id \
     FROM record_sightings WHERE connection_key = $1 LIMIT $2)",
    "DELETE FROM record_models WHERE (connection_key, model) IN (SELECT connection_key, model FROM record_models \
     WHERE connection_key = $1 LIMIT $2)",
    "DELETE FROM recordings WHERE run_id IN (SELECT run_id FROM recordings WHERE connection_key = $1 LIMIT $2)",
    "DELETE FROM checkpoints WHERE (connection_key, checkpoint_key) IN (SELECT connection_key, checkpoint_key FROM checkpoints \
     WHERE connection_key = $1 LIMIT $2)",
    "DELETE FROM runs WHERE id IN (SELECT r.id FROM syncs s JOIN runs r ON r.sync_id = s.id WHERE s.connection_key = $1 LIMIT $2)",
    "DELETE FROM syncs WHERE id IN (SELECT id FROM syncs WHERE connection_key = $1 LIMIT $2)",
    "DELETE FROM webhook_runs WHERE id IN (SELECT id FROM webhook_runs WHERE connection_key = $1 LIMIT $2)",
    // What was asked of actions in the background, and what they answered.
    "DELETE FROM actions WHERE id IN (SELECT id FROM actions WHERE connection_key = $1 LIMIT $2)",
];

/// The same for what is history, and otherwise goes by its own age.
const RUNS_OF_ACTIONS: &str =
    "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE connection_key = $1 AND sync_id IS NULL LIMIT $2)";
/// By names, which others may have had before and may have again: only what began before the deletion. `$1` to `$4` are the names
/// and that time, `$5` the limit. What says that it was deleted stays until it is old.
macro_rules! operations {
    ($select:literal, $more:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM operations o ",
            $more,
            " WHERE o.environment_id = $1 AND o.provider_config_key = $2 AND o.connection_id = $3 AND o.started_at_ms <= $4 \
             AND o.kind <> 'connection:delete' LIMIT $5"
        )
    };
}
const MESSAGES: &str = concat!(
    "DELETE FROM messages WHERE (operation_id, sequence) IN (",
    operations!("m.operation_id, m.sequence", "JOIN messages m ON m.operation_id = o.id"),
    ")"
);
const OPERATIONS: &str = concat!("DELETE FROM operations WHERE id IN (", operations!("o.id", ""), ")");

impl Store {
    /// The connection that was deleted first, of those in `scope`. Those whose secrets are still there are not purged.
    pub async fn next_to_purge(&self, scope: &PurgeScope) -> Result<Option<Purgeable>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            "SELECT c.connection_key, c.environment_id, COALESCE(i.former_key, i.unique_key), c.former_id, c.deleted_at_ms \
             FROM connections c JOIN integrations i ON i.id = c.integration_id \
             WHERE c.wiped_at_ms IS NOT NULL AND c.deleted_at_ms <= ",
        );
        sql.bind(scope.deleted_until_ms);
        if let Some(environment_id) = &scope.environment_id {
            sql.push(" AND c.environment_id = ").bind(environment_id.as_str());
        }
        if let Some(provider_config_key) = &scope.provider_config_key {
            sql.push(" AND COALESCE(i.former_key, i.unique_key) = ")
                .bind(provider_config_key.as_str());
        }
        if let Some(connection_id) = &scope.connection_id {
            sql.push(" AND c.former_id = ").bind(connection_id.as_str());
        }
        sql.push(" ORDER BY c.deleted_at_ms, c.connection_key LIMIT 1");
        let rows = sql.fetch_all(&self.reader).await?;
        rows.first().map(purgeable).transpose()
    }

    /// Deletes at most `rows_max` rows of it, in one transaction; gives how many. Fewer than that, and it is gone. With `history` the
    /// runs of its actions and its log go too, which are looked for in all there is.
    pub async fn purge_connection(
        &self,
        connection: &Purgeable,
        history: bool,
        rows_max: u64,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin_erasing().await?;
        let mut left = rows_max;
        for statement in ROWS {
            left -= delete_of(&mut transaction, statement, &connection.key, left).await?;
        }
        if history {
            left -= delete_of(&mut transaction, RUNS_OF_ACTIONS, &connection.key, left).await?;
            for statement in [MESSAGES, OPERATIONS] {
                let deleted = query(statement)
                    .bind(connection.environment_id.as_str())
                    .bind(&connection.provider_config_key)
                    .bind(&connection.connection_id)
                    .bind(connection.deleted_at_ms)
                    .bind(i64::try_from(left).unwrap_or(i64::MAX))
                    .execute(&mut *transaction)
                    .await?;
                left = left.saturating_sub(deleted.rows_affected());
            }
        }
        if left > 0 {
            // With it goes what came in between, by those who saw it live.
            query("DELETE FROM connections WHERE connection_key = $1 AND deleted_at_ms IS NOT NULL")
                .bind(connection.key.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        self.end_erasing(transaction).await?;
        Ok(rows_max - left)
    }

    /// Deletes integrations that were deleted in `scope` and have no connections left, with their functions, and components that
    /// nobody uses any more. Gives how many integrations. A `connection_id` in the scope is about no integration.
    pub async fn purge_integrations(&self, scope: &PurgeScope) -> Result<u64, StoreError> {
        if scope.connection_id.is_some() {
            return Ok(0);
        }
        let mut transaction = self.begin_erasing().await?;
        let mut sql = Sql::new(
            self.dialect,
            "DELETE FROM integrations WHERE secrets IS NULL AND NOT EXISTS \
             (SELECT 1 FROM connections c WHERE c.integration_id = integrations.id) AND deleted_at_ms <= ",
        );
        sql.bind(scope.deleted_until_ms);
        if let Some(environment_id) = &scope.environment_id {
            sql.push(" AND environment_id = ").bind(environment_id.as_str());
        }
        if let Some(provider_config_key) = &scope.provider_config_key {
            sql.push(" AND former_key = ").bind(provider_config_key.as_str());
        }
        sql.push(" RETURNING id");
        let mut purged = 0;
        for row in &sql.fetch_all(&mut *transaction).await? {
            let _: IntegrationId = Columns::new(row, "integrations").id("id")?;
            purged += 1;
        }
        if purged > 0 {
            query("DELETE FROM components WHERE digest NOT IN (SELECT digest FROM deployments)")
                .execute(&mut *transaction)
                .await?;
        }
        self.end_erasing(transaction).await?;
        Ok(purged)
    }
}

/// Removes a connection that is not to have been there, with all that belongs to it. Its log stays.
pub(super) async fn remove_connection(
    transaction: &mut Transaction<'static, Any>,
    key: &ConnectionKey,
) -> Result<(), StoreError> {
    for statement in ROWS.into_iter().chain([RUNS_OF_ACTIONS]) {
        query(statement)
            .bind(key.as_str())
            .bind(i64::MAX)
            .execute(&mut **transaction)
            .await?;
    }
    query("DELETE FROM connections WHERE connection_key = $1")
        .bind(key.as_str())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Gives how many, at most `limit`.
async fn delete_of(
    transaction: &mut Transaction<'static, Any>,
    statement: &'static str,
    key: &ConnectionKey,
    limit: u64,
) -> Result<u64, StoreError> {
    if limit == 0 {
        return Ok(0);
    }
    let deleted = query(statement)
        .bind(key.as_str())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .execute(&mut **transaction)
        .await?;
    Ok(deleted.rows_affected().min(limit))
}

fn purgeable(row: &AnyRow) -> Result<Purgeable, StoreError> {
    let mut columns = Columns::new(row, "connections");
    Ok(Purgeable {
        key: columns.id("connection_key")?,
        environment_id: columns.id("environment_id")?,
        provider_config_key: columns.get("unique_key")?,
        connection_id: columns.get("former_id")?,
        deleted_at_ms: columns.get("deleted_at_ms")?,
    })
}
