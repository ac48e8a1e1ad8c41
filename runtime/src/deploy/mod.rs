//! Takes a component in: checks, describes, records, activates. A component that is refused changes nothing.
//!
//! What a function is called and how often it may run is decided here and in [`frequency`]; running `describe` is the executor's
//! work, versions and activation are the store's.

pub mod cron;
pub mod frequency;
mod manifest;

use sha2::{Digest, Sha256};

use crate::clock::{Clock, Entropy};
use crate::connections::{Connections, ConnectionsError};
use crate::engine::{check, hex};
use crate::executor::{ComponentError, Executor};
use crate::model::{DeploymentId, EnvironmentId, Function, Manifest};
use crate::store::{NewDeployment, Store, StoreError};

/// Deploys components. Cheap to clone.
#[derive(Clone)]
pub struct Deploy {
    pub executor: Executor,
    pub store: Store,
    pub connections: Connections,
    pub clock: Clock,
    pub entropy: Entropy,
    pub component_bytes_max: usize,
}

/// What a deploy did.
#[derive(Debug)]
pub struct Deployed {
    /// SHA-256 of the component's bytes, in lower-case hex.
    pub digest: String,
    /// The functions of the component, in the versions that are active now.
    pub functions: Vec<Function>,
    /// What the component imports: all it can do.
    pub imports: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error("{function}: {message}")]
    Manifest { function: String, message: String },
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Deploy {
    /// Checks a component, records a version of each of its functions and makes it active, all at once. A function whose active
    /// version is of the same component stays as it is.
    ///
    /// # Errors
    ///
    /// When there is no such integration, or the component or what it says of itself is refused.
    pub async fn deploy(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        component: &[u8],
    ) -> Result<Deployed, DeployError> {
        let integration = self
            .connections
            .integration(environment_id, provider_config_key)
            .await?;
        let surface = check(component, self.component_bytes_max)?;
        let described = self.describe(component).await?;
        let digest = hex(&Sha256::digest(component));
        let now_ms = self.clock.now_ms();
        let functions = self
            .store
            .insert_deployment(&NewDeployment {
                id: DeploymentId::new(now_ms, self.entropy.bytes()),
                environment_id: environment_id.clone(),
                integration_id: integration.id.clone(),
                provider_config_key,
                digest: &digest,
                component,
                functions: &described.functions,
                now_ms,
            })
            .await?;
        tracing::info!(
            digest,
            integration = provider_config_key,
            "Deployed {} functions to {provider_config_key}",
            functions.len()
        );
        Ok(Deployed {
            digest,
            functions,
            imports: surface.imports,
        })
    }

    /// What a component says of itself, if that could be deployed.
    ///
    /// # Errors
    ///
    /// When the component or what it says of itself is refused.
    pub async fn describe(&self, component: &[u8]) -> Result<Manifest, DeployError> {
        let described = self.executor.describe(component).await?;
        manifest::check(&described)?;
        Ok(described)
    }
}
