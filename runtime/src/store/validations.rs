//! Connections between being stored and being made: functions are asked about them meanwhile. One that is new counts only once they
//! have taken it, and is removed without a trace when they refuse it; one that was there before stays and is marked.

use sqlx::{Any, Transaction, query, query_scalar};

use super::columns::{Columns, Word};
use super::purge::remove_connection;
use super::{Store, StoreError};
use crate::model::{Action, Connection, ConnectionKey, Made, RefreshFailure, Webhook};

/// What comes of a connection that is made, written in the same transaction.
#[derive(Debug, Default)]
pub struct Consequences {
    pub webhooks: Vec<Webhook>,
    /// On-event functions that run in the background.
    pub actions: Vec<Action>,
}

/// That a connection counts, of `connections` by this name.
macro_rules! counts {
    ($connections:literal) => {
        concat!(
            "(",
            $connections,
            ".validation IS NULL OR ",
            $connections,
            ".validation <> 'creation')"
        )
    };
}
pub(super) use counts;

/// Takes the validation of these very credentials into the hands of one transaction; gives what it is for.
const TAKE: &str = "UPDATE connections SET validation_until_ms = NULL WHERE connection_key = $1 AND credentials_epoch = $2 \
     AND validation IS NOT NULL AND deleted_at_ms IS NULL RETURNING validation";

impl Store {
    /// The functions have taken the connection: it counts from here on, with what `announce` makes of it. None, and nothing is
    /// written, when it was overwritten or deleted meanwhile.
    pub async fn end_validation(
        &self,
        connection: &Connection,
        announce: impl FnOnce(&Connection, Made) -> Consequences + Send,
    ) -> Result<Option<Made>, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(made) = take(&mut transaction, connection).await? else {
            return Ok(None);
        };
        query("UPDATE connections SET validation = NULL WHERE connection_key = $1")
            .bind(connection.key.as_str())
            .execute(&mut *transaction)
            .await?;
        self.add_consequences(&mut transaction, &announce(connection, made))
            .await?;
        transaction.commit().await?;
        Ok(Some(made))
    }

    /// A function has refused the connection: one that is new is removed with all that belongs to it; another one stays, and has
    /// the `failure`. Both with the webhooks that say so. None, and nothing is written, when it was overwritten or deleted meanwhile.
    pub async fn fail_validation(
        &self,
        connection: &Connection,
        failure: &RefreshFailure,
        announce: impl FnOnce(Made) -> Vec<Webhook> + Send,
    ) -> Result<Option<Made>, StoreError> {
        let mut transaction = self.begin_erasing().await?;
        let Some(made) = take(&mut transaction, connection).await? else {
            return Ok(None);
        };
        match made {
            Made::Creation => remove_connection(&mut transaction, &connection.key).await?,
            Made::Override => {
                query(
                    "UPDATE connections SET validation = NULL, refresh_failed_at_ms = $2, refresh_failing_days = $3, \
                     refresh_operation_id = $4 WHERE connection_key = $1",
                )
                .bind(connection.key.as_str())
                .bind(failure.failed_at_ms)
                .bind(failure.failing_days)
                .bind(failure.operation_id.as_str())
                .execute(&mut *transaction)
                .await?;
            }
        }
        self.add_webhooks(&mut transaction, &announce(made)).await?;
        self.end_erasing(transaction).await?;
        Ok(Some(made))
    }

    /// Connections whose validation should have ended by then, at most `limit`: their process died.
    pub async fn lost_validations(&self, now_ms: i64, limit: i64) -> Result<Vec<Connection>, StoreError> {
        let rows = query(
            "SELECT connection_key FROM connections WHERE validation IS NOT NULL AND validation_until_ms <= $1 \
             AND deleted_at_ms IS NULL ORDER BY validation_until_ms, connection_key LIMIT $2",
        )
        .bind(now_ms)
        .bind(limit)
        .fetch_all(&self.reader)
        .await?;
        let mut lost = Vec::with_capacity(rows.len());
        for row in &rows {
            let key: ConnectionKey = Columns::new(row, "connections").id("connection_key")?;
            lost.extend(self.connection_by_key(&key).await?);
        }
        Ok(lost)
    }

    pub(super) async fn add_consequences(
        &self,
        transaction: &mut Transaction<'static, Any>,
        consequences: &Consequences,
    ) -> Result<(), StoreError> {
        self.add_webhooks(transaction, &consequences.webhooks).await?;
        for action in &consequences.actions {
            self.add_action(transaction, action, None).await?;
        }
        Ok(())
    }
}

/// How the connection would be made if it were written now; nobody else writes it until the transaction ends.
pub(super) async fn made_by_writing(
    transaction: &mut Transaction<'static, Any>,
    connection: &Connection,
) -> Result<Made, StoreError> {
    let before: Option<Option<String>> = query_scalar(
        "UPDATE connections SET updated_at_ms = updated_at_ms WHERE integration_id = $1 AND connection_id = $2 RETURNING validation",
    )
    .bind(connection.integration_id.as_str())
    .bind(&connection.connection_id)
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(match before {
        None => Made::Creation,
        // One that does not count yet is still to be created.
        Some(validation) => validation
            .as_deref()
            .and_then(Made::from_word)
            .unwrap_or(Made::Override),
    })
}

async fn take(
    transaction: &mut Transaction<'static, Any>,
    connection: &Connection,
) -> Result<Option<Made>, StoreError> {
    let row = query(TAKE)
        .bind(connection.key.as_str())
        .bind(connection.refresh.generation.epoch)
        .fetch_optional(&mut **transaction)
        .await?;
    row.as_ref()
        .map(|row| Columns::new(row, "connections").word("validation"))
        .transpose()
}
