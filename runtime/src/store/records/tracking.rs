//! Passes that tell which records are gone: begun once, however many runs they take, and ended in one transaction, which deletes what
//! was neither saved nor updated since. Without a pass nothing here costs anything: who writes a model learns from the row that puts
//! him in line whether one is on.

use sqlx::{Any, Transaction, query};

use super::RecordKey;
use super::counts::add_to_count;
use super::write::begin_change;
use crate::model::Counts;
use crate::store::checkpoints::clear;
use crate::store::columns::Columns;
use crate::store::sql::Sql;
use crate::store::{Store, StoreError};

/// What the end of a pass would delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Whether a pass is on. If not, every record counts as unseen.
    pub is_tracking: bool,
    pub external_ids: Vec<String>,
}

impl Store {
    /// Begins a pass over a model; does nothing while one is on.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection was deleted.
    pub async fn start_tracking(&self, key: &RecordKey, now_us: i64) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        self.check_fence(&mut transaction).await?;
        // Later than every change so far.
        let change = begin_change(&mut transaction, key, now_us).await?;
        if change.tracking_since_us.is_none() {
            query("UPDATE record_models SET tracking_since_us = $3 WHERE connection_key = $1 AND model = $2")
                .bind(key.connection_key.as_str())
                .bind(&key.model)
                .bind(change.modified_at_us)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Ends a pass: marks as deleted what it has not seen, all at once. None, and nothing is deleted, when no pass is on.
    ///
    /// The checkpoint of that key is cleared with it. It was a position within the pass: who went on from there in a new pass would have
    /// all records before it deleted at its end.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection was deleted.
    pub async fn end_tracking(
        &self,
        key: &RecordKey,
        checkpoint_key: &str,
        now_us: i64,
    ) -> Result<Option<Counts>, StoreError> {
        let mut transaction = self.begin().await?;
        self.check_fence(&mut transaction).await?;
        let change = begin_change(&mut transaction, key, now_us).await?;
        let Some(since_us) = change.tracking_since_us else {
            return Ok(None);
        };
        let mut sql = Sql::new(self.dialect, "UPDATE records SET deleted_at_us = ");
        sql.bind(change.modified_at_us)
            .push(", modified_at_us = ")
            .bind(change.modified_at_us);
        sql.push(", sequence = v.place FROM (SELECT r.external_id AS external_id, ROW_NUMBER() OVER (ORDER BY r.external_id) AS place");
        push_unseen(&mut sql, key, Some(since_us));
        sql.push(") AS v WHERE records.connection_key = ")
            .bind(key.connection_key.as_str());
        sql.push(" AND records.model = ").bind(key.model.as_str());
        sql.push(" AND records.external_id = v.external_id");
        sql.plan_anew();
        let deleted = sql.execute(&mut *transaction).await?;
        let counts = Counts {
            deleted,
            ..Counts::default()
        };
        add_to_count(&mut transaction, key, counts).await?;
        forget_pass(&mut transaction, key).await?;
        clear(&mut transaction, &key.connection_key, checkpoint_key, now_us / 1_000).await?;
        transaction.commit().await?;
        Ok(Some(counts))
    }

    /// What the end of a pass would delete now.
    pub async fn unseen_records(&self, key: &RecordKey) -> Result<Unseen, StoreError> {
        let row = query("SELECT tracking_since_us FROM record_models WHERE connection_key = $1 AND model = $2")
            .bind(key.connection_key.as_str())
            .bind(&key.model)
            .fetch_optional(&self.reader)
            .await?;
        let since_us: Option<i64> = match &row {
            Some(row) => Columns::new(row, "record_models").get("tracking_since_us")?,
            None => None,
        };
        let mut sql = Sql::new(self.dialect, "SELECT r.external_id");
        push_unseen(&mut sql, key, since_us);
        let mut unseen = Unseen {
            is_tracking: since_us.is_some(),
            external_ids: Vec::new(),
        };
        sql.fetch_each(&self.reader, |row| {
            unseen
                .external_ids
                .push(Columns::new(row, "records").get("external_id")?);
            Ok(true)
        })
        .await?;
        Ok(unseen)
    }

    /// Notes that the pass begun at `since_us` has seen these records, as far as their time of change does not tell.
    pub(super) async fn sight(
        &self,
        transaction: &mut Transaction<'static, Any>,
        key: &RecordKey,
        external_ids: &[&str],
        since_us: i64,
    ) -> Result<(), StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            "INSERT INTO record_sightings (connection_key, model, external_id) SELECT ",
        );
        sql.bind(key.connection_key.as_str())
            .push(", ")
            .bind(key.model.as_str());
        sql.push(", v.item FROM ").texts(external_ids)?;
        sql.push(" AS v WHERE (SELECT r.modified_at_us FROM records r WHERE r.connection_key = ")
            .bind(key.connection_key.as_str());
        sql.push(" AND r.model = ").bind(key.model.as_str());
        sql.push(" AND r.external_id = v.item AND r.deleted_at_us IS NULL) < ")
            .bind(since_us);
        sql.push(" ON CONFLICT (connection_key, model, external_id) DO NOTHING");
        sql.plan_anew();
        sql.execute(&mut **transaction).await?;
        Ok(())
    }
}

/// From which table, and which rows of it: `r` is a record.
fn push_unseen(sql: &mut Sql, key: &RecordKey, since_us: Option<i64>) {
    sql.push(" FROM records r WHERE r.deleted_at_us IS NULL AND r.connection_key = ")
        .bind(key.connection_key.as_str());
    sql.push(" AND r.model = ").bind(key.model.as_str());
    if let Some(since_us) = since_us {
        sql.push(" AND r.sequence >= 0 AND r.modified_at_us < ").bind(since_us);
        sql.push(
            " AND NOT EXISTS (SELECT 1 FROM record_sightings s WHERE s.connection_key = r.connection_key \
             AND s.model = r.model AND s.external_id = r.external_id)",
        );
    }
}

/// Ends a pass without deleting anything.
pub(in crate::store) async fn forget_pass(
    transaction: &mut Transaction<'static, Any>,
    key: &RecordKey,
) -> Result<(), StoreError> {
    for statement in [
        "UPDATE record_models SET tracking_since_us = NULL \
         WHERE connection_key = $1 AND model = $2 AND tracking_since_us IS NOT NULL",
        "DELETE FROM record_sightings WHERE connection_key = $1 AND model = $2",
    ] {
        query(statement)
            .bind(key.connection_key.as_str())
            .bind(&key.model)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}
