//! The composition root and the API for embedding programs. The HTTP server and the CLI are two such programs. Methods here
//! delegate: what they do is decided below.

mod actions;
mod audit;
mod authorization;
mod background;
mod caller;
mod canary;
mod connect;
mod deploy;
mod dry_run;
mod encryption;
mod events;
mod functions;
mod ingress;
mod keys;
mod logs;
mod nested;
mod offline;
mod proxy_call;
mod readiness;
mod records;
mod runs;
mod start;
mod sync_commands;
mod syncs;
mod variables;
mod webhooks;

use std::sync::Arc;

use serde_json::Value;

use crate::actions::Actions;
use crate::authorize::Authorize;
use crate::clock::{Clock, Entropy};
use crate::config::Config;
use crate::connect::{Connect, CreateError, Creator};
use crate::connections::{
    Connections, ConnectionsError, IntegrationPatch, NewConnection, NewIntegration, Target, merged_config,
};
use crate::credentials::Secret;
use crate::data_dir::DataDir;
use crate::deletion::Deletion;
use crate::deploy::Deploy;
use crate::executor::Executor;
use crate::ingress::Ingress;
use crate::logs::Logs;
use crate::metrics::{self, Metrics};
use crate::model::{Connection, Environment, EnvironmentId, Integration, JsonObject, RunError};
use crate::oauth::{OAuth, OAuthError};
use crate::provider::Catalogue;
use crate::proxy::Proxy;
use crate::recordings::Recordings;
use crate::records::{Records, RecordsError, Retention};
use crate::rotation::Rotation;
use crate::scheduler::Scheduler;
use crate::schema::Schemas;
use crate::store::{ConnectionPatch, ConnectionQuery, Store, StoreError};
use crate::variables::Variables;
use crate::webhooks::Webhooks;

pub use crate::actions::ActionsError;
pub use crate::deletion::{PurgeQuery, Purged};
pub use crate::deploy::{
    Allow, CanaryError, CanaryOptions, Capability, CapabilityError, Consent, DeployError, Deployed, FunctionPlan,
    IntegrationPlan, NewComponent, Plan, sentences, sign,
};
pub use crate::rotation::{KeyStatus, RotationError, RotationStatus};
pub use actions::{ActionError, BackgroundOptions, IDEMPOTENCY_KEY_CHARS_MAX, RETRIES_MAX};
pub use audit::{Noted, Reading};
pub use caller::{Caller, Denied};
pub use canary::CanaryEnd;
pub use dry_run::{DryRunError, DryWebhook, NewDryRun, Replay, ReplayError};
pub use keys::{DEFAULT_ENVIRONMENT, KEYS_MAX, KEYS_RELOAD_INTERVAL_MS, KeysError, NewApiKey};
pub use metrics::CONTENT_TYPE as METRICS_CONTENT_TYPE;
pub use offline::{Offline, OfflineError};
pub use proxy_call::CallOrigin;
pub use records::RecordsOf;
pub use start::StartError;
pub use sync_commands::{SyncCommand, SyncCommandError};
pub use syncs::{BASE_VARIANT, RunNow, SyncStatus, Triggered};

/// A running runtime. Cheap to clone; it stops with [`Runtime::shutdown`].
#[derive(Clone)]
pub struct Runtime(Arc<Parts>);

struct Parts {
    config: Config,
    keys: Arc<keys::Keys>,
    functions: functions::Functions,
    environment_name: Arc<str>,
    store: Store,
    connections: Connections,
    connect: Connect,
    authorize: Authorize,
    deletion: Deletion,
    oauth: OAuth,
    proxy: Proxy,
    executor: Executor,
    actions: Actions,
    deploy: Deploy,
    schemas: Schemas,
    records: Records,
    retention: Retention,
    logs: Logs,
    recordings: Recordings,
    metrics: Metrics,
    readiness: readiness::Readiness,
    rotation: Rotation,
    variables: Variables,
    scheduler: Scheduler,
    ingress: Ingress,
    webhooks: Webhooks,
    background: background::Background,
    clock: Clock,
    entropy: Entropy,
    _data_dir: DataDir,
}

/// Why an action gave no output, or a sync was not triggered.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(
        "integration {provider_config_key:?} has no {kind} {function:?}; `nango-runtime functions list` shows what is deployed"
    )]
    UnknownFunction {
        provider_config_key: String,
        kind: &'static str,
        function: String,
    },
    #[error(
        "there is no variant {variant:?} of the sync {function:?}{of}; `POST /sync/{function}/variant/{variant}` makes one for a connection"
    )]
    UnknownVariant {
        function: String,
        variant: String,
        /// Of which connection, if it was named.
        of: String,
    },
    #[error(
        "the {kind} {function:?} of integration {provider_config_key:?} is disabled; `nango-runtime functions enable \
         {provider_config_key} {function}` has it run again"
    )]
    Disabled {
        provider_config_key: String,
        kind: &'static str,
        function: String,
    },
    #[error("the input does not fit the schema of {function:?}: {}", faults.join("; "))]
    InvalidInput { function: String, faults: Vec<String> },
    #[error(transparent)]
    Actions(#[from] ActionsError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why records cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum RecordsApiError {
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// What is changed of a connection; what is absent stays.
#[derive(Debug, Default)]
pub struct ConnectionChange {
    pub patch: ConnectionPatch,
    /// Merged into what is there; null takes a value away.
    pub connection_config: Option<JsonObject>,
    /// As an import has them, in the place of those that are there.
    pub credentials: Option<Value>,
}

impl Runtime {
    /// The API key generated by this start, if one was: shown once, then gone.
    #[must_use]
    pub fn take_new_api_key(&self) -> Option<Secret<String>> {
        self.0
            .keys
            .new_key
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    }

    /// The settings it was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// What the process counts, in Prometheus' text format ([`METRICS_CONTENT_TYPE`]).
    #[must_use]
    pub fn metrics(&self) -> String {
        self.0.metrics.render()
    }

    /// Whom a bearer key stands for; none for an unknown key. No database on this path.
    #[must_use]
    pub fn authenticate(&self, key: &str) -> Option<Caller> {
        self.0.keys.authenticate(key, self.0.clock.now_ms())
    }

    /// The environment that embedding programs use by default.
    #[must_use]
    pub fn default_environment(&self) -> Arc<Environment> {
        Arc::clone(&self.0.keys.default_environment)
    }

    /// Milliseconds since 1970, by the clock it was started with.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }

    /// All providers an integration can be made of.
    #[must_use]
    pub fn providers(&self) -> &Catalogue {
        self.0.connections.catalogue()
    }
}

/// Integrations and connections.
impl Runtime {
    /// # Errors
    /// When the database fails.
    pub async fn integrations(&self, environment: &EnvironmentId) -> Result<Vec<Integration>, ConnectionsError> {
        self.0.connections.integrations(environment).await
    }

    /// # Errors
    /// [`ConnectionsError::UnknownIntegration`], or when the database fails.
    pub async fn integration(
        &self,
        environment: &EnvironmentId,
        unique_key: &str,
    ) -> Result<Arc<Integration>, ConnectionsError> {
        self.0.connections.integration(environment, unique_key).await
    }

    /// Opened credentials JSON of an integration, for callers entitled to it.
    ///
    /// # Errors
    /// When it cannot be opened with this encryption key.
    pub fn integration_credentials(&self, integration: &Integration) -> Result<Option<Value>, ConnectionsError> {
        self.0.connections.integration_credentials(integration)
    }

    /// # Errors
    /// [`ConnectionsError`]: an unknown provider, a taken key, a field that does not fit.
    pub async fn create_integration(
        &self,
        environment: &EnvironmentId,
        new: NewIntegration,
    ) -> Result<Integration, ConnectionsError> {
        self.0.connections.create_integration(environment, new).await
    }

    /// # Errors
    /// [`ConnectionsError`]: as for creating, or it is unknown.
    pub async fn update_integration(
        &self,
        environment: &EnvironmentId,
        unique_key: &str,
        patch: IntegrationPatch,
    ) -> Result<Integration, ConnectionsError> {
        let integration = self
            .0
            .connections
            .update_integration(environment, unique_key, patch)
            .await?;
        self.0.functions.forget_all();
        Ok(integration)
    }

    /// Deletes it with its connections and functions, each connection as [`Runtime::delete_connection`], with the functions that run
    /// before it: also when the caller leaves meanwhile.
    ///
    /// # Errors
    /// [`ConnectionsError::UnknownIntegration`], or when the database fails.
    pub async fn delete_integration(
        &self,
        environment: &EnvironmentId,
        unique_key: &str,
    ) -> Result<(), ConnectionsError> {
        let (runtime, owner, key) = (self.clone(), environment.clone(), unique_key.to_owned());
        let deleting = tokio::spawn(async move {
            runtime.delete_connections_of(&owner, &key).await?;
            runtime.0.deletion.delete_integration(&owner, &key).await
        });
        match deleting.await {
            Ok(deleted) => deleted?,
            // As for one connection: what ends it otherwise does not keep the integration from being deleted.
            Err(_) => self.0.deletion.delete_integration(environment, unique_key).await?,
        }
        self.0.functions.forget_all();
        Ok(())
    }

    /// # Errors
    /// When the database fails.
    pub async fn connections(
        &self,
        environment: &EnvironmentId,
        query: &ConnectionQuery,
    ) -> Result<Vec<Connection>, ConnectionsError> {
        self.0.connections.list(environment, query).await
    }

    /// One connection with its credentials and connection_config opened. Credentials that are due are refreshed first.
    ///
    /// # Errors
    /// [`OAuthError`]: an unknown integration or connection, expired credentials that cannot be refreshed.
    pub async fn connection(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<Arc<Target>, OAuthError> {
        self.0
            .oauth
            .target(environment, provider_config_key, connection_id)
            .await
    }

    /// As [`Runtime::connection`], with credentials obtained after the call began, whatever their time and former failures
    /// say. Those that cannot be refreshed are given as they are.
    ///
    /// # Errors
    /// [`OAuthError`]: an unknown integration or connection, a provider that gives no token.
    pub async fn refreshed_connection(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<Arc<Target>, OAuthError> {
        self.0
            .oauth
            .forced(environment, provider_config_key, connection_id)
            .await
    }

    /// Creates a connection, or overwrites the one of that id. Where only what a token is obtained with is given, such as the
    /// password of a TWO_STEP provider, the token is obtained first.
    ///
    /// # Errors
    /// [`CreateError`]: an unknown integration, credentials of the wrong type, a field that does not fit, a provider that gives
    /// no token or refuses the credentials. Nothing is stored then.
    pub async fn import_connection(
        &self,
        environment: &EnvironmentId,
        new: NewConnection,
    ) -> Result<Arc<Target>, CreateError> {
        let created = self
            .create_connection(Creator::ApiKey(environment.clone()), new)
            .await?;
        Ok(created.target)
    }

    /// Changes a connection. With other credentials it is as when a connection is imported over it: they are tried, and it is announced.
    /// The log has an operation that says what was changed.
    ///
    /// # Errors
    /// [`CreateError`]: an unknown integration or connection, a field that does not fit, credentials that are not taken.
    pub async fn change_connection(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        change: ConnectionChange,
    ) -> Result<(), CreateError> {
        let started = self.started();
        let patch = &change.patch;
        let fields = [
            ("tags", patch.tags.is_some()),
            ("end_user", patch.end_user.is_some()),
            ("webhook_url_override", patch.webhook_url_override.is_some()),
            ("connection_config", change.connection_config.is_some()),
            ("credentials", change.credentials.is_some()),
        ];
        let changed: Vec<&str> = fields.iter().filter(|field| field.1).map(|field| field.0).collect();
        let connections = &self.0.connections;
        let config = change.connection_config.as_ref();
        if let Some(credentials) = change.credentials {
            let target = connections.target_now(environment, provider_config_key, connection_id);
            let target = target.await?;
            let connection = &target.connection;
            let new = NewConnection {
                provider_config_key: provider_config_key.to_owned(),
                connection_id: Some(connection_id.to_owned()),
                credentials,
                connection_config: merged_config(&target, config.unwrap_or(&JsonObject::new()))?,
                metadata: connection.metadata.clone(),
                tags: change.patch.tags.unwrap_or_else(|| connection.tags.clone()),
                end_user: change.patch.end_user.unwrap_or_else(|| connection.end_user.clone()),
                // Absent it stays, empty it is taken away.
                webhook_url_override: change.patch.webhook_url_override.map(Option::unwrap_or_default),
            };
            let by = Creator::Change(environment.clone(), connection.key.clone());
            self.create_connection(by, new).await?;
        } else {
            connections
                .patch(environment, provider_config_key, connection_id, change.patch, config)
                .await?;
        }
        if !changed.is_empty() {
            self.log_patch(environment, provider_config_key, connection_id, &started, &changed);
        }
        Ok(())
    }

    /// Deletes it: nobody finds it any more, its credentials are emptied and its name is free. Soon after, its tokens are revoked
    /// where the provider's data says how; its rows are purged after `limits.deleted_retention_days`. Functions of the event
    /// `pre-connection-deletion` run before that; it is deleted whatever they give, and also when the caller leaves meanwhile.
    ///
    /// # Errors
    /// [`ConnectionsError`]: an unknown integration or connection.
    pub async fn delete_connection(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<(), ConnectionsError> {
        let (runtime, owner) = (self.clone(), environment.clone());
        let (key, id) = (provider_config_key.to_owned(), connection_id.to_owned());
        let deleting = tokio::spawn(async move {
            runtime.before_deletion(&owner, &key, &id).await?;
            runtime.0.deletion.delete_connection(&owner, &key, &id).await
        });
        match deleting.await {
            Ok(deleted) => deleted,
            // What ends it otherwise does not keep the connection from being deleted.
            Err(_) => {
                let deletion = &self.0.deletion;
                deletion
                    .delete_connection(environment, provider_config_key, connection_id)
                    .await
            }
        }
    }

    /// Purges what was deleted, now; see [`PurgeQuery`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn purge_deleted(
        &self,
        environment: &EnvironmentId,
        query: PurgeQuery,
    ) -> Result<Purged, ConnectionsError> {
        self.0.deletion.purge(environment, query).await
    }

    /// Replaces (or merges into) the metadata of all the connections, or of none. Gives the new metadata in order.
    ///
    /// # Errors
    /// [`ConnectionsError`]: an unknown integration or connection.
    pub async fn set_metadata(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_ids: &[String],
        metadata: &JsonObject,
        merge: bool,
    ) -> Result<Vec<JsonObject>, ConnectionsError> {
        self.0
            .connections
            .set_metadata(environment, provider_config_key, connection_ids, metadata, merge)
            .await
    }
}
