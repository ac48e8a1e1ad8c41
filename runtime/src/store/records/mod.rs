//! Records: what syncs keep fresh, with every change in a strict order.
//!
//! Whoever writes a model first updates its row in `record_models`, which puts writers in line and gives the write a
//! time of change later than all before it, even where the clock stood still or went back. Within the write, records
//! are numbered. So a change never becomes visible before one that a reader has already passed: a reader who follows
//! the cursor misses nothing. What a record is, and its hash, are for [`crate::records`] to say.

mod counts;
mod cursor;
mod others;
mod prune;
mod read;
mod retention;
mod sealing;
mod tracking;
mod write;

use serde_json::value::RawValue;
use sqlx::query;

pub(super) use counts::delete_all;
pub use others::OthersChanges;
pub use prune::PRUNE_RECORDS_MAX;
pub use retention::{IdleSync, RetentionBatch};
pub(super) use sealing::COUNT_SEALED_RECORDS;
pub use sealing::{KeyedHash, Seal, Sealing};
pub use tracking::Unseen;
pub(super) use tracking::forget_pass;

use super::columns::Columns;
use super::{Store, StoreError};
use crate::model::{ConnectionKey, Record, Sealed};

/// Whose records.
#[derive(Clone, Debug)]
pub struct RecordKey {
    pub connection_key: ConnectionKey,
    /// With `::variant` appended unless it is the base.
    pub model: String,
}

impl RecordKey {
    /// What the payload of one of its records is sealed for. The length keeps ids that look like the end of a model apart.
    #[must_use]
    pub fn place(&self, external_id: &str) -> String {
        let Self { connection_key, model } = self;
        format!("record:{connection_key}:{}:{model}:{external_id}", model.len())
    }
}

impl Store {
    /// The model that a statement finds after `after` in the order of keys; `before_us` is its third parameter, if it has one.
    async fn next_model(
        &self,
        statement: &'static str,
        after: Option<&RecordKey>,
        before_us: Option<i64>,
    ) -> Result<Option<RecordKey>, StoreError> {
        let mut query = query(statement)
            .bind(after.map_or("", |key| key.connection_key.as_str()))
            .bind(after.map_or("", |key| key.model.as_str()));
        if let Some(before_us) = before_us {
            query = query.bind(before_us);
        }
        let Some(row) = query.fetch_optional(&self.reader).await? else {
            return Ok(None);
        };
        let mut columns = Columns::new(&row, "record_models");
        Ok(Some(RecordKey {
            connection_key: columns.id("connection_key")?,
            model: columns.get("model")?,
        }))
    }
}

/// One record to be written.
#[derive(Clone, Debug)]
pub struct RecordWrite<'a> {
    pub external_id: &'a str,
    /// SHA-256 of the canonical JSON (keys sorted), so that a mere change of key order is no change. With a sealed payload its keyed
    /// form is stored.
    pub hash: [u8; 32],
    /// A valid JSON object.
    pub json: &'a str,
}

/// A record merged with a patch, to be written.
#[derive(Clone, Debug)]
pub struct MergedRecord {
    pub external_id: String,
    pub hash: [u8; 32],
    pub json: String,
}

/// A payload as it is stored. What is sealed is opened by [`crate::records`].
#[derive(Clone, Debug)]
pub enum Payload {
    Clear(Box<RawValue>),
    Sealed(Sealed),
}

impl Payload {
    /// Bytes that are stored of it.
    fn len(&self) -> usize {
        match self {
            Self::Clear(json) => json.get().len(),
            Self::Sealed(sealed) => sealed.0.len(),
        }
    }
}

/// How many records were pruned, and whether there are more up to the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    pub count: u64,
    pub has_more: bool,
}

/// A page of records and where to read on; none at the end.
#[derive(Clone, Debug)]
pub struct RecordPage<D = Box<RawValue>> {
    pub records: Vec<Record<D>>,
    pub next_cursor: Option<String>,
}
