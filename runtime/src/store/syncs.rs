//! Syncs: which there are, when they are due next and what came of them last. Their schedules are in [`super::schedules`].

use sqlx::any::AnyRow;
use sqlx::{Any, Executor, query};

use super::columns::{Columns, Word};
use super::connections::lives;
use super::runs::{run, run_columns};
use super::sql::Sql;
use super::{Store, StoreError};
use crate::model::{ConnectionKey, EnvironmentId, Sync, SyncId};

/// The columns of [`sync`]: a sync, the customer's name of its connection, and its newest run if there is one.
macro_rules! select_sync {
    () => {
        concat!(
            "SELECT s.id, s.environment_id, s.integration_id, s.connection_key, c.connection_id, s.function, s.variant, \
             s.state, s.frequency_ms, s.cron, s.frequency_from, s.anchor_ms, s.next_due_at_ms, s.failures, \
             CASE WHEN r.state = 'queued' THEN r.lease_until_ms END, ",
            run_columns!("r"),
            " FROM syncs s JOIN connections c ON c.connection_key = s.connection_key AND c.deleted_at_ms IS NULL \
             LEFT JOIN runs r ON r.id = (SELECT MAX(newest.id) FROM runs newest WHERE newest.sync_id = s.id)"
        )
    };
}

impl Store {
    /// Inserts a sync or gives the one that is there for (connection, function, variant).
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection or integration was deleted.
    pub async fn ensure_sync(&self, wanted: &Sync) -> Result<Sync, StoreError> {
        insert_sync(wanted, &self.writer).await?;
        let row = query(concat!(
            select_sync!(),
            " WHERE s.connection_key = $1 AND s.function = $2 AND s.variant = $3"
        ))
        .bind(wanted.connection_key.as_str())
        .bind(&wanted.function)
        .bind(&wanted.variant)
        .fetch_optional(&self.writer)
        .await?;
        match row {
            Some(row) => sync(&row),
            None => Err(StoreError::ParentGone(sqlx::Error::RowNotFound)),
        }
    }

    pub async fn sync(&self, id: &SyncId) -> Result<Option<Sync>, StoreError> {
        let row = query(concat!(select_sync!(), " WHERE s.id = $1"))
            .bind(id.as_str())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(sync).transpose()
    }

    /// Syncs of an integration, of one connection or of all, each with its last run. Ordered by connection, function,
    /// variant.
    pub async fn syncs(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_key: Option<&ConnectionKey>,
    ) -> Result<Vec<Sync>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            concat!(
                select_sync!(),
                " JOIN integrations i ON i.id = s.integration_id WHERE i.environment_id = "
            ),
        );
        sql.bind(environment_id.as_str())
            .push(" AND i.unique_key = ")
            .bind(provider_config_key);
        if let Some(connection_key) = connection_key {
            sql.push(" AND s.connection_key = ").bind(connection_key.as_str());
        }
        let rows = sql.fetch_all(&self.reader).await?;
        let mut syncs = rows.iter().map(sync).collect::<Result<Vec<_>, _>>()?;
        syncs.sort_by(|a, b| {
            (&a.connection_id, &a.function, &a.variant).cmp(&(&b.connection_id, &b.function, &b.variant))
        });
        Ok(syncs)
    }
}

/// Inserts it unless it is there.
pub(super) async fn insert_sync<'e>(sync: &Sync, on: impl Executor<'e, Database = Any>) -> Result<bool, StoreError> {
    let inserted = query(concat!(
        "INSERT INTO syncs (id, environment_id, integration_id, connection_key, function, variant, state, \
         frequency_ms, next_due_at_ms, anchor_ms, cron) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 WHERE ",
        lives!("$4"),
        " ON CONFLICT (connection_key, function, variant) DO NOTHING",
    ))
    .bind(sync.id.as_str())
    .bind(sync.environment_id.as_str())
    .bind(sync.integration_id.as_str())
    .bind(sync.connection_key.as_str())
    .bind(&sync.function)
    .bind(&sync.variant)
    .bind(sync.state.word())
    .bind(sync.frequency_ms)
    .bind(sync.next_due_at_ms)
    .bind(sync.anchor_ms)
    .bind(sync.cron.as_deref())
    .execute(on)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

fn sync(row: &AnyRow) -> Result<Sync, StoreError> {
    let mut columns = Columns::new(row, "syncs");
    let mut sync = Sync {
        id: columns.id("id")?,
        environment_id: columns.id("environment_id")?,
        integration_id: columns.id("integration_id")?,
        connection_key: columns.id("connection_key")?,
        connection_id: columns.get("connection_id")?,
        function: columns.get("function")?,
        variant: columns.get("variant")?,
        state: columns.word("state")?,
        frequency_ms: columns.get("frequency_ms")?,
        cron: columns.get("cron")?,
        frequency_from: columns.word("frequency_from")?,
        anchor_ms: columns.get("anchor_ms")?,
        next_due_at_ms: columns.get("next_due_at_ms")?,
        failures: columns.get("failures")?,
        waits_until_ms: columns.get("lease_until_ms")?,
        last_run: None,
    };
    let mut columns = columns.join("runs");
    if columns.next_is_null() {
        return Ok(sync);
    }
    sync.last_run = Some(run(&mut columns)?);
    Ok(sync)
}
