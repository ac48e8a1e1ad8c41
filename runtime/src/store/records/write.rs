//! Saves, updates and deletes records, each call in one transaction.

use std::collections::HashMap;

use sqlx::{Any, Transaction, query, query_scalar};

use super::counts::{add_to_count, count};
use super::others::OthersChanges;
use super::read::payload;
use super::sealing::{Sealing, head};
use super::{MergedRecord, Payload, RecordKey, RecordWrite};
use crate::model::Counts;
use crate::store::columns::Columns;
use crate::store::connections::lives;
use crate::store::sql::{Sql, chunks};
use crate::store::{Store, StoreError};

/// A write that has its place among the changes of its model.
pub(super) struct Change {
    pub(super) modified_at_us: i64,
    /// The last change before it.
    before_us: i64,
    /// Since when a pass is on that tells which records are gone.
    pub(super) tracking_since_us: Option<i64>,
    /// How payloads of the model are stored.
    pub(super) payloads: String,
}

/// Records of a save that are to be written.
#[derive(Default)]
struct Differing<'r, 'w> {
    records: Vec<&'r RecordWrite<'w>>,
    /// How many of them were not there, or deleted.
    added: u64,
}

impl Store {
    /// Upserts all in one transaction; rows with an equal hash that are not deleted stay untouched. A deleted record
    /// that is saved again is added again. `now_us` orders changes; the store keeps (`modified_at_us`, `sequence`)
    /// strictly growing for readers of a model. Ids must be distinct. What is of `others` is left alone; so it is by the other writes.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection was deleted.
    pub async fn save_records(
        &self,
        key: &RecordKey,
        records: &[RecordWrite<'_>],
        sealing: &Sealing<'_>,
        mut others: Option<&mut OthersChanges>,
        now_us: i64,
    ) -> Result<Counts, StoreError> {
        if records.is_empty() {
            return Ok(Counts::default());
        }
        let mut transaction = self.begin().await?;
        self.check_fence(&mut transaction).await?;
        let change = begin_change(&mut transaction, key, now_us).await?;
        change.learn(others.as_deref_mut());
        let differing = self
            .differing(&mut transaction, key, records, sealing, others.as_deref(), &change)
            .await?;
        self.upsert(&mut transaction, key, &differing.records, sealing, &change)
            .await?;
        if let Some(since_us) = change.tracking_since_us {
            let ids: Vec<&str> = records.iter().map(|record| record.external_id).collect();
            self.sight(&mut transaction, key, &ids, since_us).await?;
        }
        let written = count(differing.records.len());
        let counts = Counts {
            added: differing.added,
            updated: written.saturating_sub(differing.added),
            deleted: 0,
            unchanged: count(records.len()).saturating_sub(written),
        };
        add_to_count(&mut transaction, key, counts).await?;
        transaction.commit().await?;
        change.wrote(others);
        Ok(counts)
    }

    /// Overwrites records that are there and not deleted, of these ids, with what `merge` makes of them; other ids are ignored. Ids must
    /// be distinct.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection was deleted; whatever `merge` says.
    pub async fn update_records<E: From<StoreError>>(
        &self,
        key: &RecordKey,
        external_ids: &[&str],
        merge: impl FnOnce(HashMap<String, Payload>) -> Result<Vec<MergedRecord>, E> + Send,
        sealing: &Sealing<'_>,
        mut others: Option<&mut OthersChanges>,
        now_us: i64,
    ) -> Result<Counts, E> {
        if external_ids.is_empty() {
            return Ok(Counts::default());
        }
        let mut transaction = self.begin().await?;
        self.check_fence(&mut transaction).await?;
        let change = begin_change(&mut transaction, key, now_us).await?;
        change.learn(others.as_deref_mut());
        // Nobody else writes this model until the transaction ends, so what is read now is what will be overwritten.
        let stored = self
            .stored(&mut transaction, key, external_ids, others.as_deref())
            .await?;
        let merged = merge(stored)?;
        let writes: Vec<RecordWrite<'_>> = merged
            .iter()
            .map(|merged| RecordWrite {
                external_id: &merged.external_id,
                hash: merged.hash,
                json: &merged.json,
            })
            .collect();
        let differing = self
            .differing(&mut transaction, key, &writes, sealing, None, &change)
            .await?
            .records;
        self.upsert(&mut transaction, key, &differing, sealing, &change).await?;
        let updated = count(differing.len());
        if let Some(since_us) = change.tracking_since_us {
            self.sight(&mut transaction, key, external_ids, since_us).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        change.wrote(others);
        Ok(Counts {
            updated,
            unchanged: count(writes.len()).saturating_sub(updated),
            ..Counts::default()
        })
    }

    /// Marks as deleted, keeps the last payload; unknown ids and records deleted before are ignored.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the connection was deleted.
    pub async fn delete_records(
        &self,
        key: &RecordKey,
        external_ids: &[&str],
        mut others: Option<&mut OthersChanges>,
        now_us: i64,
    ) -> Result<Counts, StoreError> {
        if external_ids.is_empty() {
            return Ok(Counts::default());
        }
        let mut transaction = self.begin().await?;
        self.check_fence(&mut transaction).await?;
        let change = begin_change(&mut transaction, key, now_us).await?;
        change.learn(others.as_deref_mut());
        let numbered: Vec<(i64, &str)> = (0..).zip(external_ids.iter().copied()).collect();
        let mut deleted = 0;
        for chunk in chunks(&numbered) {
            let mut sql = Sql::new(self.dialect, "UPDATE records SET deleted_at_us = ");
            sql.bind(change.modified_at_us)
                .push(", modified_at_us = ")
                .bind(change.modified_at_us);
            sql.push(", sequence = v.column2 FROM (");
            sql.values(chunk, |row, (sequence, external_id)| {
                row.bind(*external_id).bind(*sequence);
            });
            sql.push(") AS v WHERE connection_key = ")
                .bind(key.connection_key.as_str());
            sql.push(" AND model = ").bind(key.model.as_str());
            sql.push(" AND external_id = v.column1 AND deleted_at_us IS NULL");
            if let Some(others) = &others {
                others.push_unchanged(&mut sql);
            }
            sql.plan_anew();
            deleted += sql.execute(&mut *transaction).await?;
        }
        let counts = Counts {
            deleted,
            ..Counts::default()
        };
        add_to_count(&mut transaction, key, counts).await?;
        transaction.commit().await?;
        change.wrote(others);
        Ok(counts)
    }

    /// When a model was changed last, in its order of changes; 0 when it never was.
    pub async fn last_record_change_us(&self, key: &RecordKey) -> Result<i64, StoreError> {
        let last = query_scalar("SELECT modified_at_us FROM record_models WHERE connection_key = $1 AND model = $2")
            .bind(key.connection_key.as_str())
            .bind(&key.model)
            .fetch_optional(&self.reader)
            .await?;
        Ok(last.unwrap_or(0))
    }

    /// Those that are to be written, in their order: of a pass that finds nothing new, the database is given ids and hashes and no
    /// payloads, in one statement, and writes nothing. Nobody else writes the model meanwhile.
    async fn differing<'r, 'w>(
        &self,
        transaction: &mut Transaction<'static, Any>,
        key: &RecordKey,
        records: &'r [RecordWrite<'w>],
        sealing: &Sealing<'_>,
        others: Option<&OthersChanges>,
        change: &Change,
    ) -> Result<Differing<'r, 'w>, StoreError> {
        let is_mixed = self.note_payloads(transaction, key, change, sealing).await?;
        let ids: Vec<&str> = records.iter().map(|record| record.external_id).collect();
        // Of which kinds the hash of a record may be that is there just so.
        let mut hashes: Vec<Vec<u8>> = Vec::new();
        if is_mixed || sealing.seal.is_none() {
            hashes.push(records.iter().flat_map(|record| record.hash).collect());
        }
        if is_mixed || sealing.seal.is_some() {
            hashes.push(records.iter().flat_map(|record| sealing.of_sealed(record)).collect());
        }
        // Scalar subqueries are looked up row by row, by the primary key; of a join Postgres may make a plan that reads the whole model.
        let mut sql = Sql::new(self.dialect, "SELECT v.place, CASE WHEN ");
        let living = |sql: &mut Sql| {
            sql.push("(SELECT r.hash FROM records r WHERE r.connection_key = ")
                .bind(key.connection_key.as_str());
            sql.push(" AND r.model = ").bind(key.model.as_str());
            sql.push(" AND r.external_id = v.item AND r.deleted_at_us IS NULL)");
        };
        living(&mut sql);
        sql.push(" IS NULL THEN 1 ELSE 0 END AS is_added FROM ").texts(&ids)?;
        sql.push(" AS v WHERE 1 = 1");
        for hashes in hashes {
            sql.push(" AND ");
            living(&mut sql);
            sql.push(" IS DISTINCT FROM substr(")
                .bind(hashes)
                .push(", CAST(v.place * 32 + 1 AS INTEGER), 32)");
        }
        if let Some(others) = others {
            sql.push(" AND (SELECT 1 FROM records WHERE connection_key = ")
                .bind(key.connection_key.as_str());
            sql.push(" AND model = ").bind(key.model.as_str());
            sql.push(" AND external_id = v.item");
            others.push_changed(&mut sql);
            sql.push(") IS NULL");
        }
        let mut differing = Differing::default();
        sql.plan_anew();
        sql.fetch_each(&mut **transaction, |row| {
            let mut columns = Columns::new(row, "records");
            let place: i64 = columns.get("place")?;
            let is_added: i64 = columns.get("is_added")?;
            differing
                .records
                .extend(usize::try_from(place).ok().and_then(|place| records.get(place)));
            differing.added += u64::from(is_added == 1);
            Ok(true)
        })
        .await?;
        Ok(differing)
    }

    /// Writes records whose hash differs or that are deleted; gives how many.
    async fn upsert(
        &self,
        transaction: &mut Transaction<'static, Any>,
        key: &RecordKey,
        records: &[&RecordWrite<'_>],
        sealing: &Sealing<'_>,
        change: &Change,
    ) -> Result<u64, StoreError> {
        let numbered: Vec<(i64, &RecordWrite<'_>)> = (0..).zip(records.iter().copied()).collect();
        let mut changed = 0;
        for chunk in chunks(&numbered) {
            let mut sql = Sql::new(
                self.dialect,
                "INSERT INTO records (connection_key, model, first_seen_at_us, modified_at_us, external_id, hash, data, \
                 sequence",
            );
            sql.push(match &sealing.seal {
                Some(_) => ", sealed) SELECT ",
                None => ") SELECT ",
            });
            // What is the same for all rows is bound once.
            sql.bind(key.connection_key.as_str())
                .push(", ")
                .bind(key.model.as_str())
                .push(", ");
            sql.bind(change.modified_at_us).push(", ").bind(change.modified_at_us);
            sql.push(", v.column1, v.column2, v.column3, v.column4");
            sql.push(sealing.seal.as_ref().map_or("", |_| ", v.column5"))
                .push(" FROM (");
            sql.values(chunk, |row, (sequence, record)| {
                row.bind(record.external_id).bind(sealing.hash(record).as_slice());
                match &sealing.seal {
                    None => row.bind(record.json).bind(*sequence),
                    Some(seal) => row
                        // It is an object, of which the id at least can be read.
                        .bind(head(record.json, record.external_id).unwrap_or_else(|_| "{}".to_owned()))
                        .bind(*sequence)
                        .bind(seal(record.external_id, record.json).0),
                };
            });
            // `WHERE true` keeps SQLite from reading `ON` as part of a join.
            sql.push(
                ") AS v WHERE true ON CONFLICT (connection_key, model, external_id) DO UPDATE SET \
                 hash = excluded.hash, data = excluded.data, sealed = excluded.sealed, \
                 modified_at_us = excluded.modified_at_us, \
                 sequence = excluded.sequence, deleted_at_us = NULL, pruned_at_us = NULL, first_seen_at_us = CASE \
                 WHEN records.deleted_at_us IS NULL THEN records.first_seen_at_us ELSE excluded.first_seen_at_us END \
                 WHERE (records.hash <> excluded.hash OR records.deleted_at_us IS NOT NULL)",
            );
            changed += sql.execute(&mut **transaction).await?;
        }
        Ok(changed)
    }

    /// The records to be patched that are there and not deleted, by id.
    async fn stored(
        &self,
        transaction: &mut Transaction<'static, Any>,
        key: &RecordKey,
        ids: &[&str],
        others: Option<&OthersChanges>,
    ) -> Result<HashMap<String, Payload>, StoreError> {
        let mut stored = HashMap::with_capacity(ids.len());
        for chunk in chunks(ids) {
            let mut sql = Sql::new(
                self.dialect,
                "SELECT external_id, data, sealed FROM records WHERE connection_key = ",
            );
            sql.bind(key.connection_key.as_str())
                .push(" AND model = ")
                .bind(key.model.as_str());
            sql.push(" AND deleted_at_us IS NULL AND external_id IN ").list(chunk);
            if let Some(others) = others {
                others.push_unchanged(&mut sql);
            }
            sql.plan_anew();
            for row in &sql.fetch_all(&mut **transaction).await? {
                let mut columns = Columns::new(row, "records");
                stored.insert(columns.get("external_id")?, payload(&mut columns)?);
            }
        }
        Ok(stored)
    }
}

impl Change {
    fn learn(&self, others: Option<&mut OthersChanges>) {
        if let Some(others) = others {
            others.learn(self.before_us);
        }
    }

    fn wrote(&self, others: Option<&mut OthersChanges>) {
        if let Some(others) = others {
            others.wrote(self.modified_at_us);
        }
    }
}

/// Waits until no other transaction writes this model, and gives the time of change of this one: `now_us`, or just
/// after the last change where that is later.
pub(super) async fn begin_change(
    transaction: &mut Transaction<'static, Any>,
    key: &RecordKey,
    now_us: i64,
) -> Result<Change, StoreError> {
    let row = query(concat!(
        "INSERT INTO record_models (connection_key, model, modified_at_us, payloads) SELECT $1, $2, $3, 'none' WHERE ",
        lives!("$1"),
        " ON CONFLICT (connection_key, model) DO UPDATE SET before_us = record_models.modified_at_us, \
         modified_at_us = CASE WHEN excluded.modified_at_us > record_models.modified_at_us \
         THEN excluded.modified_at_us ELSE record_models.modified_at_us + 1 END \
         RETURNING modified_at_us, before_us, tracking_since_us, payloads",
    ))
    .bind(key.connection_key.as_str())
    .bind(&key.model)
    .bind(now_us)
    .fetch_optional(&mut **transaction)
    .await?
    .ok_or(StoreError::ParentGone(sqlx::Error::RowNotFound))?;
    let mut columns = Columns::new(&row, "record_models");
    Ok(Change {
        modified_at_us: columns.get("modified_at_us")?,
        before_us: columns.get("before_us")?,
        tracking_since_us: columns.get("tracking_since_us")?,
        payloads: columns.get("payloads")?,
    })
}
