use super::{Store, StoreError};
use crate::model::{Connection, ConnectionKey, EnvironmentId, JsonObject};

/// Which connections to list; newest first.
#[derive(Clone, Debug, Default)]
pub struct ConnectionQuery {
    pub connection_id: Option<String>,
    /// A part of the connection-id or of the end user's id, e-mail or name.
    pub search: Option<String>,
    pub end_user_id: Option<String>,
    pub integration_ids: Vec<String>,
    pub tags: std::collections::BTreeMap<String, String>,
    /// 1 to 2,000.
    pub limit: i64,
    /// From 0.
    pub page: i64,
}

impl Store {
    /// Inserts or replaces by (environment, provider config key, connection id); an existing one keeps its key and creation time.
    /// Gives the connection as stored.
    pub async fn upsert_connection(&self, _connection: &Connection) -> Result<Connection, StoreError> {
        todo!()
    }
    pub async fn connection(
        &self,
        _environment_id: &EnvironmentId,
        _provider_config_key: &str,
        _connection_id: &str,
    ) -> Result<Option<Connection>, StoreError> {
        todo!()
    }
    pub async fn connections(
        &self,
        _environment_id: &EnvironmentId,
        _query: &ConnectionQuery,
    ) -> Result<Vec<Connection>, StoreError> {
        todo!()
    }
    /// Deletes it with its syncs, checkpoints and records. False when there is none.
    pub async fn delete_connection(&self, _key: &ConnectionKey) -> Result<bool, StoreError> {
        todo!()
    }
    /// Sets the metadata of all of them in one transaction; with `merge`, top-level keys are merged. Gives the resulting metadata in
    /// order; none (and nothing changed) when one of the connections is gone.
    pub async fn set_metadata(
        &self,
        _keys: &[ConnectionKey],
        _metadata: &JsonObject,
        _merge: bool,
        _now_ms: i64,
    ) -> Result<Option<Vec<JsonObject>>, StoreError> {
        todo!()
    }
}
