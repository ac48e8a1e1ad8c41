//! Syncs: which there are, when they are due next and what came of them last. Schedules are made and read by others.

use sqlx::any::AnyRow;
use sqlx::query;

use super::columns::{Columns, Word};
use super::connections::lives;
use super::runs::{run, run_columns};
use super::sql::{Sql, chunks};
use super::{Store, StoreError};
use crate::model::{ConnectionKey, EnvironmentId, Sync, SyncId};

/// Syncs claimed at once.
const CLAIM_MAX: i64 = 256;

/// The columns of [`sync`]: a sync, the customer's name of its connection, and its newest run if there is one.
macro_rules! select_sync {
    () => {
        concat!(
            "SELECT s.id, s.environment_id, s.integration_id, s.connection_key, c.connection_id, s.function, s.variant, \
             s.state, s.frequency_ms, s.next_due_at_ms, ",
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
        query(concat!(
            "INSERT INTO syncs (id, environment_id, integration_id, connection_key, function, variant, state, \
             frequency_ms, next_due_at_ms) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 WHERE ",
            lives!("$4"),
            " ON CONFLICT (connection_key, function, variant) DO NOTHING",
        ))
        .bind(wanted.id.as_str())
        .bind(wanted.environment_id.as_str())
        .bind(wanted.integration_id.as_str())
        .bind(wanted.connection_key.as_str())
        .bind(&wanted.function)
        .bind(&wanted.variant)
        .bind(wanted.state.word())
        .bind(wanted.frequency_ms)
        .bind(wanted.next_due_at_ms)
        .execute(&self.writer)
        .await?;
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

    /// Claims started syncs that are due (at most 256): moves `next_due_at_ms` to the next slot of the fixed grid after
    /// `now_ms` and gives them, by id.
    pub async fn claim_due_syncs(&self, now_ms: i64, limit: i64) -> Result<Vec<Sync>, StoreError> {
        let rows = query(
            "UPDATE syncs SET next_due_at_ms = next_due_at_ms \
             + (($1 - next_due_at_ms) / frequency_ms + 1) * frequency_ms \
             WHERE id IN (SELECT id FROM syncs WHERE state = 'started' AND frequency_ms IS NOT NULL \
             AND next_due_at_ms <= $1 ORDER BY next_due_at_ms, id LIMIT $2) \
             AND state = 'started' AND next_due_at_ms <= $1 RETURNING id",
        )
        .bind(now_ms)
        .bind(limit.clamp(0, CLAIM_MAX))
        .fetch_all(&self.writer)
        .await?;
        let ids = rows.iter().map(|row| Columns::new(row, "syncs").get::<&str>("id"));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let mut claimed = Vec::with_capacity(ids.len());
        for chunk in chunks(&ids) {
            let mut sql = Sql::new(self.dialect, concat!(select_sync!(), " WHERE s.id IN "));
            sql.list(chunk);
            for row in &sql.fetch_all(&self.writer).await? {
                claimed.push(sync(row)?);
            }
        }
        claimed.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(claimed)
    }
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
        next_due_at_ms: columns.get("next_due_at_ms")?,
        last_run: None,
    };
    let mut columns = columns.join("runs");
    if columns.next_is_null() {
        return Ok(sync);
    }
    sync.last_run = Some(run(&mut columns)?);
    Ok(sync)
}
