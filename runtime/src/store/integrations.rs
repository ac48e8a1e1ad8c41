use super::{Store, StoreError};
use crate::model::{ApiKey, Environment, EnvironmentId, Integration};

impl Store {
    pub async fn environment_by_name(&self, _name: &str) -> Result<Option<Environment>, StoreError> {
        todo!()
    }
    pub async fn insert_environment(&self, _environment: &Environment) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn insert_api_key(&self, _key: &ApiKey) -> Result<(), StoreError> {
        todo!()
    }
    /// All keys of all environments, for the cache that authenticates requests.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        todo!()
    }
    pub async fn environments(&self) -> Result<Vec<Environment>, StoreError> {
        todo!()
    }
    /// A named blob of this installation (sealed check value of the encryption key and the like).
    pub async fn setting(&self, _name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        todo!()
    }
    /// Sets it unless it is set; gives what is then stored.
    pub async fn insert_setting(&self, _name: &str, _value: &[u8]) -> Result<Vec<u8>, StoreError> {
        todo!()
    }
    /// False when the unique key is taken.
    pub async fn insert_integration(&self, _integration: &Integration) -> Result<bool, StoreError> {
        todo!()
    }
    /// Rewrites everything but id, environment and creation time. False when it is gone.
    pub async fn update_integration(&self, _integration: &Integration) -> Result<bool, StoreError> {
        todo!()
    }
    pub async fn integration(
        &self,
        _environment_id: &EnvironmentId,
        _unique_key: &str,
    ) -> Result<Option<Integration>, StoreError> {
        todo!()
    }
    /// Newest first.
    pub async fn integrations(&self, _environment_id: &EnvironmentId) -> Result<Vec<Integration>, StoreError> {
        todo!()
    }
    /// Deletes it with its connections, functions, syncs, checkpoints and records. False when there is none.
    pub async fn delete_integration(
        &self,
        _environment_id: &EnvironmentId,
        _unique_key: &str,
    ) -> Result<bool, StoreError> {
        todo!()
    }
}
