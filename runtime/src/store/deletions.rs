//! Deleting connections and integrations. What is deleted is hidden at once and gives its name free; its secrets are emptied right
//! after that, by whoever can tell first what the provider has to be told; its rows stay until they are purged.

use sqlx::{Any, Transaction, query, query_scalar};

use super::columns::Columns;
use super::connections::{connection, connection_columns};
use super::integrations::integration;
use super::revocations::insert_revocation;
use super::sql::Sql;
use super::{Store, StoreError};
use crate::model::{Connection, ConnectionKey, EnvironmentId, Integration, IntegrationId, Revocation};

/// Connections to be emptied that are given at once.
const TO_WIPE_MAX: i64 = 100;

/// A connection that was deleted, with the names that it and its integration had, and its secrets until they are emptied.
#[derive(Clone, Debug)]
pub struct DeletedConnection {
    pub connection: Connection,
    pub integration: Integration,
}

/// What marks the connections that a condition names; `$1` is the time. The epoch grows, so that no refresh under way writes its
/// tokens here. A `#` is in no name.
macro_rules! mark_connections {
    ($condition:literal) => {
        concat!(
            "UPDATE connections SET deleted_at_ms = $1, updated_at_ms = $1, former_id = connection_id, \
             connection_id = '#' || connection_key, credentials_epoch = credentials_epoch + 1, refresh_due_at_ms = NULL, \
             verify_due_at_ms = NULL WHERE deleted_at_ms IS NULL AND ",
            $condition,
            " RETURNING connection_key"
        )
    };
}

/// What ends the work for what a condition names: its open runs, its syncs, and where webhooks of connections come to.
macro_rules! stop {
    ($column:literal) => {
        [
            concat!(
                "UPDATE runs SET state = 'cancelled', fence = fence + 1, lease_until_ms = NULL WHERE ",
                $column,
                " = $1 AND sync_id IS NOT NULL AND state IN ('queued', 'running')"
            ),
            concat!(
                "UPDATE syncs SET state = 'paused', next_due_at_ms = NULL WHERE ",
                $column,
                " = $1"
            ),
            concat!("DELETE FROM webhook_addresses WHERE ", $column, " = $1"),
        ]
    };
}

impl Store {
    /// Marks it as deleted: from here on nobody finds it, its syncs or its records, its name is free, and its runs that wait or are
    /// under way are cancelled. False when there is none.
    pub async fn delete_connection(&self, key: &ConnectionKey, now_ms: i64) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let deleted: Option<String> = query_scalar(mark_connections!("connection_key = $2"))
            .bind(now_ms)
            .bind(key.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
        if deleted.is_none() {
            return Ok(false);
        }
        stop(&mut transaction, stop!("connection_key"), key.as_str()).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Marks it as deleted, and with it its connections and functions. False when there is none.
    pub async fn delete_integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let id: Option<String> = query_scalar(
            "UPDATE integrations SET deleted_at_ms = $1, updated_at_ms = $1, former_key = unique_key, unique_key = '#' || id \
             WHERE environment_id = $2 AND unique_key = $3 AND deleted_at_ms IS NULL RETURNING id",
        )
        .bind(now_ms)
        .bind(environment_id.as_str())
        .bind(unique_key)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(id) = id else { return Ok(false) };
        query(mark_connections!("integration_id = $2"))
            .bind(now_ms)
            .bind(&id)
            .execute(&mut *transaction)
            .await?;
        stop(&mut transaction, stop!("integration_id"), &id).await?;
        // They are secrets of the integration, and nobody's after it.
        query("DELETE FROM oauth_clients WHERE integration_id = $1")
            .bind(&id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Deleted connections that still hold secrets, at most 100, by key: those after `after`, or `only` one.
    pub async fn connections_to_wipe(
        &self,
        only: Option<&ConnectionKey>,
        after: &str,
    ) -> Result<Vec<DeletedConnection>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            concat!(
                connection_columns!("COALESCE(i.former_key, i.unique_key)", "c.former_id"),
                "c.deleted_at_ms IS NOT NULL AND c.wiped_at_ms IS NULL WHERE c.connection_key > "
            ),
        );
        sql.bind(after);
        if let Some(key) = only {
            sql.push(" AND c.connection_key = ").bind(key.as_str());
        }
        sql.push(" ORDER BY c.connection_key LIMIT ").bind(TO_WIPE_MAX);
        let rows = sql.fetch_all(&self.reader).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let connection = connection(row)?;
            if let Some(integration) = self.integration_of_any_time(&connection.integration_id).await? {
                found.push(DeletedConnection {
                    connection,
                    integration,
                });
            }
        }
        Ok(found)
    }

    /// Whether it is deleted or not, with the name that it has or had.
    async fn integration_of_any_time(&self, id: &IntegrationId) -> Result<Option<Integration>, StoreError> {
        let row = query(
            "SELECT id, environment_id, COALESCE(former_key, unique_key), provider, display_name, secrets, forward_webhooks, \
             created_at_ms, updated_at_ms FROM integrations WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(integration).transpose()
    }

    /// Empties the secrets of a deleted connection and, in the same transaction, keeps what its provider has to be told. False,
    /// and nothing is kept, when somebody else did it.
    pub async fn wipe_connection(
        &self,
        key: &ConnectionKey,
        revocation: Option<&Revocation>,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin_erasing().await?;
        let wiped = query(
            "UPDATE connections SET credentials = $3, connection_config = $3, wiped_at_ms = $2 \
             WHERE connection_key = $1 AND deleted_at_ms IS NOT NULL AND wiped_at_ms IS NULL",
        )
        .bind(key.as_str())
        .bind(now_ms)
        .bind(&[][..])
        .execute(&mut *transaction)
        .await?;
        if wiped.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(revocation) = revocation {
            insert_revocation(&mut transaction, revocation).await?;
        }
        self.end_erasing(transaction).await?;
        Ok(true)
    }

    /// Empties the secrets of deleted integrations, once none of their connections holds any: what providers have to be told is made
    /// with them. Gives how many.
    pub async fn wipe_integrations(&self) -> Result<u64, StoreError> {
        let mut transaction = self.begin_erasing().await?;
        let wiped = query(
            "UPDATE integrations SET secrets = NULL WHERE deleted_at_ms IS NOT NULL AND secrets IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM connections c WHERE c.integration_id = integrations.id AND c.wiped_at_ms IS NULL)",
        )
        .execute(&mut *transaction)
        .await?;
        self.end_erasing(transaction).await?;
        Ok(wiped.rows_affected())
    }

    /// # Errors
    /// [`StoreError::ParentGone`] when the connection was deleted.
    pub(super) async fn require_living(&self, key: &ConnectionKey) -> Result<(), StoreError> {
        let row = query("SELECT connection_key FROM connections WHERE connection_key = $1 AND deleted_at_ms IS NULL")
            .bind(key.as_str())
            .fetch_optional(&self.writer)
            .await?;
        let Some(row) = &row else {
            return Err(StoreError::ParentGone(sqlx::Error::RowNotFound));
        };
        Columns::new(row, "connections")
            .get::<&str>("connection_key")
            .map(|_| ())
    }
}

async fn stop(
    transaction: &mut Transaction<'static, Any>,
    statements: [&'static str; 3],
    of: &str,
) -> Result<(), StoreError> {
    for statement in statements {
        query(statement).bind(of).execute(&mut **transaction).await?;
    }
    Ok(())
}
