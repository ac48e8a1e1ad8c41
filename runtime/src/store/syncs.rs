use super::{Store, StoreError};
use crate::model::{ConnectionKey, EnvironmentId, Sync, SyncId};

impl Store {
    /// Inserts a sync or gives the one that is there for (connection, function, variant).
    pub async fn ensure_sync(&self, _sync: &Sync) -> Result<Sync, StoreError> {
        todo!()
    }
    pub async fn sync(&self, _id: &SyncId) -> Result<Option<Sync>, StoreError> {
        todo!()
    }
    /// Syncs of an integration, of one connection or of all, each with its last run. Ordered by connection, function, variant.
    pub async fn syncs(
        &self,
        _environment_id: &EnvironmentId,
        _provider_config_key: &str,
        _connection_key: Option<&ConnectionKey>,
    ) -> Result<Vec<Sync>, StoreError> {
        todo!()
    }
    /// Claims started syncs that are due: moves `next_due_at_ms` to the next slot of the fixed grid after `now_ms` and gives them.
    pub async fn claim_due_syncs(&self, _now_ms: i64, _limit: i64) -> Result<Vec<Sync>, StoreError> {
        todo!()
    }
}
