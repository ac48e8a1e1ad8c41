use super::{Store, StoreError};
use crate::model::{DeploymentId, EnvironmentId, Function, FunctionManifest, IntegrationId};

/// A component that passed all checks.
#[derive(Debug)]
pub struct NewDeployment<'a> {
    pub id: DeploymentId,
    pub environment_id: EnvironmentId,
    pub integration_id: IntegrationId,
    pub provider_config_key: &'a str,
    pub digest: &'a str,
    pub component: &'a [u8],
    pub functions: &'a [FunctionManifest],
    pub now_ms: i64,
}

impl Store {
    /// Stores the bytes by digest, records a version of each function and makes it active, in one transaction. A function whose
    /// active version has the same digest stays as it is.
    pub async fn insert_deployment(&self, _deployment: &NewDeployment<'_>) -> Result<Vec<Function>, StoreError> {
        todo!()
    }
    pub async fn component(&self, _digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        todo!()
    }
    pub async fn active_function(
        &self,
        _environment_id: &EnvironmentId,
        _provider_config_key: &str,
        _name: &str,
    ) -> Result<Option<Function>, StoreError> {
        todo!()
    }
    /// Active versions, by integration and name; of one integration or of all.
    pub async fn functions(
        &self,
        _environment_id: &EnvironmentId,
        _provider_config_key: Option<&str>,
    ) -> Result<Vec<Function>, StoreError> {
        todo!()
    }
    /// All versions of one function, newest first.
    pub async fn function_versions(
        &self,
        _environment_id: &EnvironmentId,
        _provider_config_key: &str,
        _name: &str,
    ) -> Result<Vec<Function>, StoreError> {
        todo!()
    }
    /// Makes a recorded version the active one. None when there is no such version.
    pub async fn activate_version(
        &self,
        _environment_id: &EnvironmentId,
        _provider_config_key: &str,
        _name: &str,
        _version: i64,
    ) -> Result<Option<Function>, StoreError> {
        todo!()
    }
}
