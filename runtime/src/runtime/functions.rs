//! Deployed functions by name, and calling an action.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{InvokeError, Runtime};
use crate::executor::{Mode, RunRequest, Urgency};
use crate::model::{
    ConnectionKey, EnvironmentId, ExecutionContext, Function, FunctionKind, OperationId, Rollout, RunId,
};
use crate::schema::Part;
use crate::store::{Store, StoreError};

/// Functions held in memory.
const CACHED_FUNCTIONS_MAX: usize = 10_000;
/// How long another node's deploy may stay unseen.
const CACHE_TTL_MS: i64 = 5_000;

/// Functions in the versions that run, cached: an action is called far more often than deployed.
pub(super) struct Functions {
    store: Store,
    cache: Cache<Name, Cached>,
}

#[derive(Clone)]
struct Cached {
    rollout: Arc<Rollout>,
    read_at_ms: i64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Name {
    environment_id: EnvironmentId,
    provider_config_key: Box<str>,
    function: Box<str>,
}

/// The borrowed form of [`Name`], so that a look-up allocates nothing. Field order as there: both must hash alike.
#[derive(Hash)]
struct NameRef<'a> {
    environment_id: &'a EnvironmentId,
    provider_config_key: &'a str,
    function: &'a str,
}

impl quick_cache::Equivalent<Name> for NameRef<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        *self.function == *name.function
            && *self.provider_config_key == *name.provider_config_key
            && *self.environment_id == name.environment_id
    }
}

impl Functions {
    pub fn new(store: Store) -> Self {
        Self {
            store,
            cache: Cache::new(CACHED_FUNCTIONS_MAX),
        }
    }

    pub async fn active(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        function: &str,
        now_ms: i64,
    ) -> Result<Option<Arc<Function>>, StoreError> {
        let rollout = self
            .rollout(environment_id, provider_config_key, function, now_ms)
            .await?;
        Ok(rollout.map(|rollout| Arc::clone(&rollout.active)))
    }

    /// The version that runs for a connection.
    pub async fn of_connection(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        function: &str,
        connection: &ConnectionKey,
        now_ms: i64,
    ) -> Result<Option<Arc<Function>>, StoreError> {
        let rollout = self
            .rollout(environment_id, provider_config_key, function, now_ms)
            .await?;
        Ok(rollout.map(|rollout| Arc::clone(rollout.of(connection))))
    }

    async fn rollout(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        function: &str,
        now_ms: i64,
    ) -> Result<Option<Arc<Rollout>>, StoreError> {
        let name = NameRef {
            environment_id,
            provider_config_key,
            function,
        };
        if let Some(cached) = self.cache.get(&name)
            // Read in the future: the clock was set back.
            && (0..CACHE_TTL_MS).contains(&(now_ms - cached.read_at_ms))
        {
            return Ok(Some(cached.rollout));
        }
        let Some(found) = self
            .store
            .rollout(environment_id, provider_config_key, function)
            .await?
        else {
            self.forget(environment_id, provider_config_key, function);
            return Ok(None);
        };
        let found = Arc::new(found);
        let name = Name {
            environment_id: environment_id.clone(),
            provider_config_key: provider_config_key.into(),
            function: function.into(),
        };
        self.cache.insert(
            name,
            Cached {
                rollout: Arc::clone(&found),
                read_at_ms: now_ms,
            },
        );
        Ok(Some(found))
    }

    pub fn forget(&self, environment_id: &EnvironmentId, provider_config_key: &str, function: &str) {
        self.cache.remove(&NameRef {
            environment_id,
            provider_config_key,
            function,
        });
    }

    pub fn forget_all(&self) {
        self.cache.clear();
    }
}

impl Runtime {
    /// Active functions, of one integration or of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn functions(
        &self,
        environment: &EnvironmentId,
        provider_config_key: Option<&str>,
    ) -> Result<Vec<Function>, StoreError> {
        self.0.store.functions(environment, provider_config_key).await
    }

    /// All versions of one function, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn function_versions(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        name: &str,
    ) -> Result<Vec<Function>, StoreError> {
        self.0
            .store
            .function_versions(environment, provider_config_key, name)
            .await
    }

    /// Has a function run no more, or again, in all nodes within a few seconds; what runs goes on. False when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_function_enabled(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        name: &str,
        enabled: bool,
    ) -> Result<bool, StoreError> {
        let parts = &self.0;
        let disabled_at_ms = (!enabled).then(|| parts.clock.now_ms());
        let done = parts
            .store
            .set_function_enabled(environment, provider_config_key, name, disabled_at_ms)
            .await?;
        parts.functions.forget(environment, provider_config_key, name);
        Ok(done)
    }

    /// Makes the given version active, or the one before: the active one while a canary tries another, else the newest older one of other
    /// code that nobody has gone back from. None when there is no such version.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rollback(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        name: &str,
        version: Option<i64>,
    ) -> Result<Option<Function>, StoreError> {
        let version = match version {
            Some(version) => version,
            None => {
                let store = &self.0.store;
                let Some(before) = store.version_before(environment, provider_config_key, name).await? else {
                    return Ok(None);
                };
                before
            }
        };
        let started = self.started();
        let function = self
            .0
            .store
            .activate_version(environment, provider_config_key, name, version, started.at_ms)
            .await?;
        self.0.functions.forget(environment, provider_config_key, name);
        if let Some(function) = &function {
            self.log_rollback(function, &started);
        }
        Ok(function)
    }

    /// Runs an action for a connection and gives its output, JSON text. `input` is JSON text; `null` when there is none.
    ///
    /// # Errors
    /// [`InvokeError`]: what is unknown, what does not fit, or how the run failed.
    pub async fn invoke(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        action: &str,
        input: String,
    ) -> Result<String, InvokeError> {
        let request = self
            .run_request(
                environment,
                provider_config_key,
                connection_id,
                action,
                input,
                Urgency::Blocking,
            )
            .await?;
        Ok(self.0.executor.run(request).await.output?)
    }

    /// What is to be run, once it is known that it can be.
    pub(super) async fn run_request(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        action: &str,
        input: String,
        urgency: Urgency,
    ) -> Result<RunRequest, InvokeError> {
        let parts = &self.0;
        let target = parts
            .connections
            .target(environment, provider_config_key, connection_id)
            .await?;
        let now_ms = parts.clock.now_ms();
        let function = parts
            .functions
            .of_connection(environment, provider_config_key, action, &target.connection.key, now_ms)
            .await?
            .filter(|function| function.manifest.kind == FunctionKind::Action)
            .ok_or_else(|| InvokeError::UnknownFunction {
                provider_config_key: provider_config_key.into(),
                kind: FunctionKind::Action.as_str(),
                function: action.into(),
            })?;
        if !function.is_enabled {
            return Err(InvokeError::Disabled {
                provider_config_key: provider_config_key.into(),
                kind: FunctionKind::Action.as_str(),
                function: action.into(),
            });
        }
        parts
            .schemas
            .check(&function.digest, &function.manifest, Part::Input, &input)
            .map_err(|faults| InvokeError::InvalidInput {
                function: action.into(),
                faults,
            })?;
        Ok(RunRequest {
            ctx: ExecutionContext {
                environment_id: environment.clone(),
                provider_config_key: provider_config_key.into(),
                connection_id: connection_id.into(),
                connection_key: Some(target.connection.key.clone()),
                run_id: Some(RunId::new(now_ms, parts.entropy.bytes())),
                operation_id: OperationId::new(now_ms, parts.entropy.bytes()),
            },
            function,
            provider: target.provider.name.as_str().into(),
            environment_name: Arc::clone(&parts.environment_name),
            connection_key: target.connection.key.clone(),
            target,
            input,
            sync: None,
            mode: Mode::Live,
            urgency,
            is_kept: false,
            cancel: None,
            chain: Default::default(),
        })
    }
}
