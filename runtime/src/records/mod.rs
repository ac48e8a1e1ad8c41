//! Records as functions see them: JSON arrays in, counts out, and records with their `_nango_metadata` back. Checks,
//! hashes, seals and opens; the store compares and writes. Which models a sync may write is for the host to check.

mod batch;
mod canonical;
mod elements;
mod merge;
mod render;
mod retention;
mod sealer;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub use batch::{Batch, See, read_batch};
pub use render::{RecordForm, RenderedRecords};
pub use retention::{Looked, RETENTION_BATCH_RECORDS, RETENTION_BATCHES_MAX, Retained, Retention, RetentionDays};
pub use stored::{SEALING_STEPS_MAX, SealedStored, SealingPlace};

use self::sealer::Sealer;
use crate::clock::{Clock, Entropy};
use crate::encryption::{EncryptionError, Keyring};
use crate::model::{Counts, JsonObject, RecordFilter};
use crate::store::{
    MergedRecord, OthersChanges, Payload, Pruned, RecordKey, RecordPage, RecordWrite, Store, StoreError, Unseen,
};

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
    sealer: Arc<Sealer>,
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
    #[error("the stored record {id:?} cannot be read: restore its row from a backup")]
    Stored {
        id: String,
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
    Encryption(#[from] EncryptionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Records {
    /// Of a database. `seals` says whether payloads are sealed when they are written; those that are sealed are opened either way.
    ///
    /// # Errors
    /// The database fails, or belongs to another encryption key.
    pub async fn open(
        store: Store,
        keyring: Keyring,
        clock: Clock,
        entropy: &Entropy,
        seals: bool,
    ) -> Result<Self, RecordsError> {
        let sealer = Sealer::open(&store, keyring, entropy, seals).await?;
        Ok(Self {
            store,
            clock,
            sealer: Arc::new(sealer),
        })
    }

    /// The same, for one claim of a run: see [`Store::fenced`].
    #[must_use]
    pub fn fenced(&self, fence: crate::model::Fence) -> Self {
        Self {
            store: self.store.fenced(fence),
            clock: self.clock.clone(),
            sealer: Arc::clone(&self.sealer),
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
        let sealing = self.sealer.sealing(key);
        let mut counts = self
            .store
            .save_records(key, &writes, &sealing, others, self.clock.now_us())
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
            let patch: JsonObject = serde_json::from_str(item.json()).map_err(|source| RecordsError::Unreadable {
                index: item.index,
                source,
            })?;
            patches.push((item.external_id.to_string(), patch));
        }
        let ids: Vec<&str> = patches.iter().map(|(id, _)| id.as_str()).collect();
        let sealing = self.sealer.sealing(key);
        let merge = |stored| self.merged(key, &patches, stored);
        let now_us = self.clock.now_us();
        let mut counts = self
            .store
            .update_records(key, &ids, merge, &sealing, others, now_us)
            .await?;
        counts.unchanged += batch.duplicates;
        Ok(counts)
    }

    /// What patches make of records, in the order of the patches.
    fn merged(
        &self,
        key: &RecordKey,
        patches: &[(String, JsonObject)],
        mut stored: HashMap<String, Payload>,
    ) -> Result<Vec<MergedRecord>, RecordsError> {
        let mut merged = Vec::with_capacity(stored.len());
        for (external_id, patch) in patches {
            let Some(payload) = stored.remove(external_id) else {
                continue;
            };
            let stored = self.sealer.open_payload(key, external_id, payload)?;
            let unreadable = |source| RecordsError::Stored {
                id: external_id.clone(),
                source,
            };
            let mut object: JsonObject = serde_json::from_str(stored.get()).map_err(unreadable)?;
            merge::merge(&mut object, patch);
            merged.push(MergedRecord {
                external_id: external_id.clone(),
                hash: canonical::hash_object(&object),
                json: serde_json::to_string(&object).map_err(unreadable)?,
            });
        }
        Ok(merged)
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

    /// Ends a pass: deletes, all at once, what was neither saved nor updated since it began, and clears the checkpoint of that key.
    ///
    /// # Errors
    /// [`RecordsError::NotTracking`] without a pass; then nothing is deleted.
    pub async fn end_tracking(&self, key: &RecordKey, checkpoint_key: &str) -> Result<Counts, RecordsError> {
        let ended = self
            .store
            .end_tracking(key, checkpoint_key, self.clock.now_us())
            .await?;
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
        let records = self.store.records_by_ids(key, &ids).await?.into_iter();
        let records = records.map(|record| self.sealer.open_record(key, record));
        let records: Vec<_> = records.collect::<Result<_, _>>()?;
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
        let page = self.store.records(key, filter).await?;
        let records = page
            .records
            .into_iter()
            .map(|record| self.sealer.open_record(key, record));
        Ok(RecordPage {
            records: records.collect::<Result<_, _>>()?,
            next_cursor: page.next_cursor,
        })
    }

    /// The same as text. No record is there twice, as a value and as text.
    ///
    /// # Errors
    /// As [`Records::list`].
    pub async fn list_text(
        &self,
        key: &RecordKey,
        filter: &RecordFilter,
        form: RecordForm,
    ) -> Result<RenderedRecords, RecordsError> {
        let mut rendered = RenderedRecords::default();
        let each = |record| {
            rendered.push(&self.sealer.open_record(key, record)?, form);
            Ok::<_, RecordsError>(())
        };
        let next_cursor = self.store.each_record(key, filter, each).await?;
        rendered.next_cursor = next_cursor;
        Ok(rendered)
    }
}
