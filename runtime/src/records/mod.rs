//! Records as functions see them: JSON arrays in, counts out, and records with their `_nango_metadata` back. Checks and
//! hashes; the store compares and writes. Which models a sync may write is for the host to check.

mod batch;
mod canonical;
mod render;

pub use batch::{Batch, read_batch};
pub use render::{render, render_page};

use crate::clock::Clock;
use crate::model::{Counts, JsonObject, RecordFilter};
use crate::store::{OthersChanges, Pruned, RecordKey, RecordPage, RecordWrite, Store, StoreError, Unseen};

/// Records of one call. One call is one transaction, during which nobody else writes the model.
pub const BATCH_RECORDS_MAX: usize = 50_000;
/// JSON text of one call.
pub const BATCH_BYTES_MAX: usize = 100 * 1024 * 1024;
/// JSON text of one record.
pub const RECORD_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Characters of a record's id.
pub const ID_CHARS_MAX: usize = 255;
/// Arrays and objects within each other in a record.
pub const DEPTH_MAX: usize = 100;
/// Ids of one [`Records::by_ids`].
pub const IDS_MAX: usize = 10_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct Records {
    store: Store,
    clock: Clock,
}

/// Why a batch was refused. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error("record {index} of the batch has no `id`: give every record a non-empty string or a number as `id`")]
    MissingId { index: usize },
    #[error(
        "record {index} of the batch has the id {id}: give every record a non-empty string of at most {ID_CHARS_MAX} \
         characters or a number other than 0 as `id`"
    )]
    InvalidId { index: usize, id: String },
    #[error("record {index} of the batch is no JSON object but {found}")]
    NoObject { index: usize, found: String },
    #[error("record {index} of the batch ({id:?}) has {bytes_len} bytes, a record may have {RECORD_BYTES_MAX}")]
    RecordTooLarge { index: usize, id: String, bytes_len: usize },
    #[error("record {index} of the batch ({id:?}) is nested more than {DEPTH_MAX} deep")]
    TooDeep { index: usize, id: String },
    #[error("the batch is no JSON array of records")]
    NoArray(#[source] serde_json::Error),
    #[error("record {index} of the batch cannot be read")]
    Unreadable {
        index: usize,
        #[source]
        source: serde_json::Error,
    },
    #[error("the batch holds {records} records, one call may hold {BATCH_RECORDS_MAX}: save them in smaller batches")]
    TooMany { records: usize },
    #[error("the batch has {bytes_len} bytes, one call may have {BATCH_BYTES_MAX}: save it in smaller batches")]
    BatchTooLarge { bytes_len: usize },
    #[error("{ids} ids were asked for, one call may ask for {IDS_MAX}")]
    TooManyIds { ids: usize },
    #[error(
        "no pass over the model {model:?} is on: call track-deletes-start before its first page is saved, in this run or in one before"
    )]
    NotTracking { model: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Records {
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// The same, for one claim of a run: see [`Store::fenced`].
    #[must_use]
    pub fn fenced(&self, fence: crate::model::Fence) -> Self {
        Self {
            store: self.store.fenced(fence),
            clock: self.clock.clone(),
        }
    }

    /// Saves records: new ones are added, changed ones updated, equal ones left alone. Of several with one id the first
    /// counts and the others are reported as unchanged; so are those that are left alone because they are of `others`.
    ///
    /// # Errors
    /// A record is nested too deeply, or the store failed; then nothing is written.
    pub async fn save(
        &self,
        key: &RecordKey,
        batch: &Batch<'_>,
        others: Option<&mut OthersChanges>,
    ) -> Result<Counts, RecordsError> {
        let mut writes = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            writes.push(RecordWrite {
                external_id: &item.external_id,
                hash: item.hash()?,
                json: item.json(),
            });
        }
        let mut counts = self
            .store
            .save_records(key, &writes, others, self.clock.now_us())
            .await?;
        counts.unchanged += batch.duplicates;
        Ok(counts)
    }

    /// Deep-merges partial records into those that are there; unknown ids are ignored.
    ///
    /// # Errors
    /// As [`Records::save`].
    pub async fn update(
        &self,
        key: &RecordKey,
        batch: &Batch<'_>,
        others: Option<&mut OthersChanges>,
    ) -> Result<Counts, RecordsError> {
        let mut patches = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            let patch: JsonObject =
                serde_json::from_str(item.json().get()).map_err(|source| RecordsError::Unreadable {
                    index: item.index,
                    source,
                })?;
            patches.push((item.external_id.to_string(), patch));
        }
        let now_us = self.clock.now_us();
        let mut counts = self
            .store
            .update_records(key, &patches, canonical::hash_object, others, now_us)
            .await?;
        counts.unchanged += batch.duplicates;
        Ok(counts)
    }

    /// Deletes by the ids of records; the last payload is kept. Unknown ids are ignored.
    ///
    /// # Errors
    /// As [`Records::save`].
    pub async fn delete(
        &self,
        key: &RecordKey,
        batch: &Batch<'_>,
        others: Option<&mut OthersChanges>,
    ) -> Result<Counts, RecordsError> {
        let ids: Vec<&str> = batch.items.iter().map(|item| &*item.external_id).collect();
        Ok(self
            .store
            .delete_records(key, &ids, others, self.clock.now_us())
            .await?)
    }

    /// Begins a pass over all the provider has of a model; one that is on goes on, whichever run began it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn start_tracking(&self, key: &RecordKey) -> Result<(), RecordsError> {
        Ok(self.store.start_tracking(key, self.clock.now_us()).await?)
    }

    /// Ends a pass: deletes, all at once, what was neither saved nor updated since it began.
    ///
    /// # Errors
    /// [`RecordsError::NotTracking`] without a pass; then nothing is deleted.
    pub async fn end_tracking(&self, key: &RecordKey) -> Result<Counts, RecordsError> {
        let ended = self.store.end_tracking(key, self.clock.now_us()).await?;
        ended.ok_or_else(|| RecordsError::NotTracking {
            model: key.model.clone(),
        })
    }

    /// What the end of a pass would delete now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn unseen(&self, key: &RecordKey) -> Result<Unseen, RecordsError> {
        Ok(self.store.unseen_records(key).await?)
    }

    /// When a model was changed last, in its order of changes; 0 when it never was.
    ///
    /// # Errors
    /// The store failed.
    pub async fn last_change_us(&self, key: &RecordKey) -> Result<i64, RecordsError> {
        Ok(self.store.last_record_change_us(key).await?)
    }

    /// A JSON object from id to record with `_nango_metadata`. Ids that are unknown are absent.
    ///
    /// # Errors
    /// More than [`IDS_MAX`] ids, or the store failed.
    pub async fn by_ids(&self, key: &RecordKey, ids: &[String]) -> Result<String, RecordsError> {
        if ids.len() > IDS_MAX {
            return Err(RecordsError::TooManyIds { ids: ids.len() });
        }
        let mut ids: Vec<std::borrow::Cow<'_, str>> = ids.iter().map(|id| batch::without_nul(id)).collect();
        ids.sort_unstable();
        ids.dedup();
        let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        let records = self.store.records_by_ids(key, &ids).await?;
        Ok(render::render_by_id(&records))
    }

    /// Empties payloads up to and with the change at `until_cursor`; what is left of a record is its id.
    ///
    /// # Errors
    /// [`StoreError::Cursor`] when the cursor is none of ours.
    pub async fn prune(&self, key: &RecordKey, until_cursor: &str, limit: i64) -> Result<Pruned, RecordsError> {
        let now_us = self.clock.now_us();
        Ok(self.store.prune_records(key, until_cursor, limit, now_us).await?)
    }

    /// Records in order of change.
    ///
    /// # Errors
    /// [`StoreError::Cursor`] when the cursor is none of ours.
    pub async fn list(&self, key: &RecordKey, filter: &RecordFilter) -> Result<RecordPage, RecordsError> {
        Ok(self.store.records(key, filter).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{Fixture, NOW_MS, for_each_db};

    for_each_db! {
        records_go_in_and_come_back,
        a_bad_record_spoils_the_batch,
    }

    async fn save(records: &Records, key: &RecordKey, json: &str) -> Result<Counts, RecordsError> {
        records.save(key, &Batch::parse(json)?, None).await
    }

    async fn records_go_in_and_come_back(store: Store) {
        let fixture = Fixture::new(&store).await;
        let key = RecordKey {
            connection_key: fixture.insert_connection("a").await,
            model: "Issue".to_owned(),
        };
        let (clock, manual) = Clock::manual(NOW_MS);
        let records = Records::new(store, clock);
        let counts = |added, updated, deleted, unchanged| Counts {
            added,
            updated,
            deleted,
            unchanged,
        };

        assert_eq!(save(&records, &key, "[]").await.unwrap(), Counts::default());
        let batch = r#"[{"id":1,"b":[1, {"y":2,"x":"\u0000"}]}, {"id":"2\u0000"}, {"id":"1","lost":true}]"#;
        assert_eq!(save(&records, &key, batch).await.unwrap(), counts(2, 0, 0, 1));
        let reordered = r#"[{"b":[1,{"x":"\u0000","y":2}],"id":1,"_nango_metadata":{"cursor":"x"}},{"id":"2","v":1}]"#;
        manual.advance_ms(1);
        assert_eq!(save(&records, &key, reordered).await.unwrap(), counts(0, 1, 0, 1));
        assert_eq!(
            records
                .update(
                    &key,
                    &Batch::parse(r#"[{"id":2,"w":{"k":1}},{"id":"9"}]"#).unwrap(),
                    None
                )
                .await
                .unwrap(),
            counts(0, 1, 0, 0)
        );
        assert_eq!(
            records
                .delete(&key, &Batch::parse(r#"[{"id":"1"},{"id":"9"}]"#).unwrap(), None)
                .await
                .unwrap(),
            counts(0, 0, 1, 0)
        );

        let ids = ["1".to_owned(), "2\0".to_owned(), "2".to_owned(), "9".to_owned()];
        let by_id: serde_json::Value = serde_json::from_str(&records.by_ids(&key, &ids).await.unwrap()).unwrap();
        assert_eq!(by_id.as_object().unwrap().len(), 2);
        assert_eq!(by_id["2"]["w"]["k"], 1);
        assert_eq!(by_id["2"]["_nango_metadata"]["last_action"], "UPDATED");
        assert_eq!(by_id["1"]["_nango_metadata"]["last_action"], "DELETED");
        assert_eq!(by_id["1"]["b"][1]["x"], "\0");
        assert_eq!(
            records
                .list(
                    &key,
                    &RecordFilter {
                        limit: 10,
                        ..Default::default()
                    }
                )
                .await
                .unwrap()
                .records
                .len(),
            2
        );
    }

    async fn a_bad_record_spoils_the_batch(store: Store) {
        let fixture = Fixture::new(&store).await;
        let key = RecordKey {
            connection_key: fixture.insert_connection("a").await,
            model: "Issue".to_owned(),
        };
        let records = Records::new(store, Clock::manual(NOW_MS).0);
        let error = save(&records, &key, r#"[{"id":1},{"name":"x"}]"#).await.unwrap_err();
        assert!(matches!(error, RecordsError::MissingId { index: 1 }), "{error}");
        assert_eq!(records.by_ids(&key, &["1".to_owned()]).await.unwrap(), "{}");
    }
}
