use super::{Store, StoreError};
use crate::model::{Checkpoint, ConnectionKey};

impl Store {
    /// `key` is `<kind>:<function>[:<variant>]`.
    pub async fn checkpoint(
        &self,
        _connection_key: &ConnectionKey,
        _key: &str,
    ) -> Result<Option<Checkpoint>, StoreError> {
        todo!()
    }
    /// Saves if the stored version is `seen_version` (0: none seen, none or a cleared one stored). Gives the new version, none on conflict.
    pub async fn save_checkpoint(
        &self,
        _connection_key: &ConnectionKey,
        _key: &str,
        _json: &str,
        _seen_version: i64,
        _now_ms: i64,
    ) -> Result<Option<i64>, StoreError> {
        todo!()
    }
    /// Clears it; the version goes on counting.
    pub async fn clear_checkpoint(
        &self,
        _connection_key: &ConnectionKey,
        _key: &str,
        _now_ms: i64,
    ) -> Result<(), StoreError> {
        todo!()
    }
}
