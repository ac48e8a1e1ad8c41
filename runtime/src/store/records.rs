use serde_json::value::RawValue;

use super::{Store, StoreError};
use crate::model::{ConnectionKey, Counts, JsonObject, Record, RecordFilter};

/// Whose records.
#[derive(Clone, Debug)]
pub struct RecordKey {
    pub connection_key: ConnectionKey,
    /// With `::variant` appended unless it is the base.
    pub model: String,
}

/// One record to be written.
#[derive(Clone, Debug)]
pub struct RecordWrite<'a> {
    pub external_id: &'a str,
    /// SHA-256 of the canonical JSON (keys sorted), so that a mere change of key order is no change.
    pub hash: [u8; 32],
    pub json: &'a RawValue,
}

/// A page of records and where to read on; none at the end.
#[derive(Clone, Debug)]
pub struct RecordPage {
    pub records: Vec<Record>,
    pub next_cursor: Option<String>,
}

impl Store {
    /// Upserts all in one transaction; rows with an equal hash that are not deleted stay untouched. `now_us` orders changes; the store keeps
    /// (modified_at_us, sequence) strictly growing for readers of a model.
    pub async fn save_records(
        &self,
        _key: &RecordKey,
        _records: &[RecordWrite<'_>],
        _now_us: i64,
    ) -> Result<Counts, StoreError> {
        todo!()
    }
    /// Deep-merges into existing rows; unknown ids are ignored. `rehash` gives the hash of the merged object.
    pub async fn update_records(
        &self,
        _key: &RecordKey,
        _patches: &[(String, JsonObject)],
        _rehash: fn(&JsonObject) -> [u8; 32],
        _now_us: i64,
    ) -> Result<Counts, StoreError> {
        todo!()
    }
    /// Marks as deleted, keeps the last payload; unknown ids are ignored.
    pub async fn delete_records(
        &self,
        _key: &RecordKey,
        _external_ids: &[&str],
        _now_us: i64,
    ) -> Result<Counts, StoreError> {
        todo!()
    }
    pub async fn records_by_ids(&self, _key: &RecordKey, _external_ids: &[&str]) -> Result<Vec<Record>, StoreError> {
        todo!()
    }
    /// In order of change. `StoreError::Cursor` when the cursor is none of ours.
    pub async fn records(&self, _key: &RecordKey, _filter: &RecordFilter) -> Result<RecordPage, StoreError> {
        todo!()
    }
    /// Undeleted records of each model of a connection.
    pub async fn record_counts(&self, _connection_key: &ConnectionKey) -> Result<Vec<(String, i64)>, StoreError> {
        todo!()
    }
}
