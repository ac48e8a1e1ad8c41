//! From settings to a running runtime, and back down again. Everything that can be wrong with an installation is found here,
//! before a port is opened, and changes nothing.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::background::Background;
use super::functions::Functions;
use super::keys::Keys;
use super::readiness::Readiness;
use super::{Parts, Runtime, events, nested};
use crate::actions::{Actions, ActionsParts};
use crate::authorize::{Authorize, AuthorizeParts, Waiting};
use crate::clock::{Clock, Entropy};
use crate::config::{Config, RecordEncryption};
use crate::connect::{Connect, ConnectParts, validator};
use crate::connections::Connections;
use crate::data_dir::{DataDir, DataDirError};
use crate::deletion::{Deletion, DeletionParts};
use crate::deploy::Deploy;
use crate::encryption::{KeyError, KeySource, Keyring};
use crate::engine::{CodeCache, Engine, EngineError, EngineOptions};
use crate::executor::{Executor, ExecutorError, ExecutorParts, Sandbox};
use crate::host::invoker;
use crate::ingress::{Ingress, IngressParts};
use crate::logs::{LogOptions, Logs};
use crate::metrics::Metrics;
use crate::oauth::{OAuth, OAuthParts, SetupError};
use crate::provider::{Catalogue, CatalogueError};
use crate::proxy::{Proxy, ProxyError, ProxyOptions, Resolve};
use crate::recordings::{RecordingOptions, Recordings};
use crate::records::{Looked, RETENTION_BATCHES_MAX, Records, RecordsError, Retention, RetentionDays};
use crate::rotation::{self, Rotation, RotationError};
use crate::scheduler::{Retries, Scheduler, SchedulerParts};
use crate::schema::Schemas;
use crate::store::{Store, StoreError};
use crate::variables::Variables;
use crate::webhooks::{self, WebhookOptions, WebhookParts, Webhooks};

const COMPILED_DIR: &str = "compiled";
const DATABASE_FILE: &str = "nango.sqlite";
/// Why the runtime does not start. Nothing was changed but that the data folder, the key and the database may have been created.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Rotation(#[from] RotationError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    #[error(transparent)]
    OAuth(#[from] SetupError),
    #[error(transparent)]
    Webhooks(#[from] webhooks::SetupError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

impl Runtime {
    /// Opens the data folder and the database, checks the encryption key, builds the engine and starts the background work.
    ///
    /// # Errors
    /// [`StartError`]: what is wrong with the installation and what to do about it.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, Clock::system(), Entropy::system()).await
    }

    /// As [`Runtime::start`], with time and randomness from elsewhere: for tests.
    ///
    /// # Errors
    /// As [`Runtime::start`].
    pub async fn start_with(config: Config, clock: Clock, entropy: Entropy) -> Result<Self, StartError> {
        let data_dir = DataDir::open(&config.data_dir)?;
        let catalogue = Arc::new(Catalogue::load(&config.providers)?);
        let source = KeySource::new(data_dir.path(), config.encryption_key.as_ref());
        let store = Store::open(&database_url(&config, &data_dir)).await?;
        let mut older = rotation::load_keys(&store, &source, &entropy).await?;
        // There is always one.
        let key = older.pop().ok_or(KeyError::Given)?;
        // Another key and the code is compiled anew.
        let code_key: [u8; 32] = Sha256::new()
            .chain_update(b"compiled code")
            .chain_update(key.expose())
            .finalize()
            .into();
        let keyring = Keyring::with_older(key, older, entropy.clone());
        // The lock of the data folder says that whoever used its database before is dead.
        let alone = config.database_url.is_none();
        let rotation = Rotation::start(
            store.clone(),
            keyring.clone(),
            source,
            clock.clone(),
            entropy.clone(),
            alone,
        )
        .await?;
        let keys = Keys::load(&store, &clock, &entropy, config.secret_key.as_ref()).await?;

        let recordings_keyring = keyring.clone();
        let ingress_keyring = keyring.clone();
        let variables = Variables::new(store.clone(), keyring.clone(), clock.clone(), entropy.clone());
        let connections = Connections::new(
            store.clone(),
            catalogue,
            keyring.clone(),
            clock.clone(),
            entropy.clone(),
        );
        let logs = Logs::start(store.clone(), clock.clone(), &log_options(&config));
        let dropped = logs.clone();
        let metrics = Metrics::new(move || dropped.dropped());
        let interrupted = logs.interrupt_orphans(clock.now_ms(), alone).await?;
        if interrupted > 0 {
            tracing::warn!(
                "{interrupted} operations were under way when their process ended; the log shows them as failed"
            );
        }
        let seals = config.record_encryption == RecordEncryption::On;
        let records = Records::open(store.clone(), keyring.clone(), clock.clone(), &entropy, seals).await?;
        let webhooks = Webhooks::new(WebhookParts {
            store: store.clone(),
            keyring: keyring.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            egress_allow: config.egress_allow.clone(),
            options: webhook_options(&config),
        })?;
        let oauth = OAuth::new(OAuthParts {
            connections: connections.clone(),
            store: store.clone(),
            logs: logs.clone(),
            webhooks: webhooks.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            egress_allow: config.egress_allow.clone(),
        })?;
        let deletion = Deletion::new(DeletionParts {
            connections: connections.clone(),
            oauth: oauth.clone(),
            store: store.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            retention_days: config.limits.deleted_retention_days,
            log_retention_days: config.limits.log_retention_days,
        });
        let retention = Retention {
            store: store.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            days: RetentionDays {
                payloads: config.limits.record_payload_retention_days,
                records: config.limits.record_retention_days,
            },
            looked: Looked::default(),
            batches_max: RETENTION_BATCHES_MAX,
        };
        let proxy = Proxy::new(
            oauth.clone(),
            logs.clone(),
            metrics.clone(),
            clock.clone(),
            entropy.clone(),
            proxy_options(&config),
        )?;
        let (validator, validations) = validator();
        let connect = Connect::new(ConnectParts {
            connections: connections.clone(),
            oauth: oauth.clone(),
            proxy: proxy.clone(),
            logs: logs.clone(),
            store: store.clone(),
            webhooks: webhooks.clone(),
            verify: config.verify_connections,
            validator,
            on_event_ms_max: on_event_ms_max(&config),
            keyring: keyring.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let authorize = Authorize::new(AuthorizeParts {
            connections: connections.clone(),
            connect: connect.clone(),
            oauth: oauth.clone(),
            store: store.clone(),
            logs: logs.clone(),
            keyring,
            clock: clock.clone(),
            entropy: entropy.clone(),
            waiting: Waiting::default(),
            public_url: config.public_base_url(),
            callback_url: config.oauth_callback_url(),
            bind_browser: config.oauth_bind_browser,
            shares_database: config.database_url.is_some(),
        });
        let engine = Engine::new(&EngineOptions {
            // As many again for functions that are called by functions, which have slots of their own.
            concurrent_runs: config.limits.concurrent_runs.saturating_mul(2),
            run_memory_bytes: config.limits.run_memory_bytes,
        })?;
        let code_cache = CodeCache::new(data_dir.path().join(COMPILED_DIR), code_key);
        let recordings = Recordings::start(
            store.clone(),
            recordings_keyring,
            clock.clone(),
            recording_options(&config),
        );
        let schemas = Schemas::new(config.validation);
        let (invoker, calls) = invoker();
        let executor = Executor::new(ExecutorParts {
            invoker,
            sandbox: Sandbox::new(
                engine,
                code_cache,
                clock.clone(),
                config.limits.clone(),
                schemas.clone(),
            )?,
            recordings: recordings.clone(),
            proxy: proxy.clone(),
            connections: connections.clone(),
            records: records.clone(),
            store: store.clone(),
            variables: variables.clone(),
            logs: logs.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            limits: config.limits.clone(),
            public_url: config.public_base_url().into(),
        });
        let environment_name: Arc<str> = keys.default_environment.name.as_str().into();
        let scheduler = Scheduler::new(SchedulerParts {
            store: store.clone(),
            executor: executor.clone(),
            connections: connections.clone(),
            logs: logs.clone(),
            webhooks: webhooks.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            environment_name: Arc::clone(&environment_name),
            sync_runs_max: config.limits.concurrent_runs,
            retries: Retries {
                max: config.limits.sync_retries,
                wait_ms: config.limits.sync_retry_wait_ms,
            },
        });
        let actions = Actions::new(ActionsParts {
            webhooks: webhooks.clone(),
            store: store.clone(),
            executor: executor.clone(),
            connections: connections.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            environment_name: Arc::clone(&environment_name),
            limits: config.limits.clone(),
        });
        let ingress = Ingress::new(IngressParts {
            store: store.clone(),
            executor: executor.clone(),
            connections: connections.clone(),
            authorize: authorize.clone(),
            keyring: ingress_keyring,
            webhooks: webhooks.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            environment_name: Arc::clone(&environment_name),
            public_url: config.public_base_url(),
            limits: config.limits.clone(),
        });
        if alone {
            // As above for those who held these leases.
            store.release_leases().await?;
        }
        let runtime = Self(Arc::new(Parts {
            deploy: Deploy {
                executor: executor.clone(),
                store: store.clone(),
                connections: connections.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
                component_bytes_max: config.limits.component_bytes,
                keys: config.deploy_keys.clone(),
            },
            functions: Functions::new(store.clone()),
            schemas,
            background: Background::default(),
            config,
            keys: Arc::new(keys),
            environment_name,
            store,
            connections,
            connect,
            authorize,
            deletion,
            oauth,
            proxy,
            executor,
            actions,
            records,
            retention,
            logs,
            recordings,
            metrics,
            readiness: Readiness::default(),
            rotation,
            variables,
            scheduler,
            ingress,
            webhooks,
            clock,
            entropy,
            _data_dir: data_dir,
        }));
        runtime.start_background();
        let validations = events::validate_all(Arc::downgrade(&runtime.0), validations);
        tokio::spawn(validations);
        let calls = nested::answer_all(Arc::downgrade(&runtime.0), calls);
        // Not with the background: functions that are still running may call others.
        tokio::spawn(calls);
        Ok(runtime)
    }
}

fn database_url(config: &Config, data_dir: &DataDir) -> String {
    match &config.database_url {
        Some(url) => url.clone(),
        None => format!("sqlite:{}", data_dir.path().join(DATABASE_FILE).display()),
    }
}

fn recording_options(config: &Config) -> RecordingOptions {
    RecordingOptions {
        record_runs: config.record_runs,
        run_bytes_max: config.limits.recording_bytes,
        retention_days: config.limits.recording_retention_days,
    }
}

fn webhook_options(config: &Config) -> WebhookOptions {
    WebhookOptions {
        attempts_max: config.limits.webhook_attempts,
        timeout_ms: config.limits.webhook_timeout_ms,
        queue_max: config.limits.webhook_queue,
        retention_days: config.limits.webhook_retention_days,
    }
}

fn log_options(config: &Config) -> LogOptions {
    LogOptions {
        retention_days: config.limits.log_retention_days,
        operation_messages_max: config.limits.log_operation_messages,
        operation_bytes_max: config.limits.log_operation_bytes,
        queue_bytes_max: config.limits.log_queue_bytes,
    }
}

/// How long an on-event function takes at most, waiting for a slot included.
fn on_event_ms_max(config: &Config) -> i64 {
    let limits = &config.limits;
    i64::try_from(limits.on_event_timeout_ms.saturating_add(limits.run_wait_ms)).unwrap_or(i64::MAX)
}

fn proxy_options(config: &Config) -> ProxyOptions {
    ProxyOptions {
        egress_allow: config.egress_allow.clone(),
        override_hosts: config.override_hosts.clone(),
        resolve: Resolve::system(),
        connect_timeout_ms: config.limits.proxy_connect_timeout_ms,
        first_byte_timeout_ms: config.limits.proxy_first_byte_timeout_ms,
        total_timeout_ms: config.limits.proxy_total_timeout_ms,
        idle_timeout_ms: config.limits.proxy_idle_timeout_ms,
        rate_limit_retries_max: config.limits.proxy_rate_limit_retries,
        retry_wait_ms_max: config.limits.proxy_retry_wait_ms,
        rate_limit_queue_max: config.limits.proxy_rate_limit_queue,
    }
}
