//! Every test of the store, on both databases: `for_each_db!` makes two tests of each, `…::sqlite` and `…::postgres`,
//! with a fresh database of each kind. Postgres is the server that `NANGO_TEST_POSTGRES_URL` names; `make test` starts
//! one.

mod actions;
mod api_keys;
mod authorizations;
mod canaries;
mod checkpoints;
mod connect_sessions;
mod connections;
mod credential_reads;
mod deletions;
mod deployments;
mod environment_variables;
mod ingress;
mod integrations;
mod logs;
mod oauth_clients;
mod opening;
mod record_plans;
mod record_tracking;
mod recordings;
mod records;
mod refreshes;
mod runs;
mod schedules;
mod syncs;
mod times_ahead;
mod validations;
mod verifications;
mod webhook_addresses;
mod webhooks;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Any, AnyConnection, Connection as _, Executor, QueryBuilder, Transaction};
use url::Url;

use super::open::Dialect;
use super::{Payload, Sealing, Store};
use crate::model::{
    Connection, ConnectionKey, Environment, FunctionKind, Integration, JsonObject, RefreshState, Run, RunId, RunState,
    Sealed, Sync, SyncId, SyncState, Trigger,
};

/// Payloads are stored as they are.
pub(crate) fn in_clear() -> Sealing<'static> {
    Sealing {
        seal: None,
        keyed: Box::new(|_, hash| *hash),
    }
}

/// A payload that is not sealed.
fn text(payload: &Payload) -> &str {
    match payload {
        Payload::Clear(json) => json.get(),
        Payload::Sealed(_) => panic!("it is sealed"),
    }
}

/// Makes two tests, `name::sqlite` and `name::postgres`, of each function `async fn name(store: Store)`.
macro_rules! for_each_db {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::store::tests::on_sqlite(super::$name).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::store::tests::on_postgres(super::$name).await;
            }
        }
    )+};
}
pub(crate) use for_each_db;

pub(crate) async fn on_sqlite<F: Future<Output = ()> + Send + 'static>(check: fn(Store) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let store = Store::open(&url).await.unwrap();
    check(store.clone()).await;
    store.close().await;
}

pub(crate) async fn on_postgres<F: Future<Output = ()> + Send + 'static>(check: fn(Store) -> F) {
    let database = PostgresDatabase::create().await;
    let store = Store::open(database.url.as_str()).await.unwrap();
    let outcome = tokio::spawn(check(store.clone())).await;
    store.close().await;
    database.drop().await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// A database of its own on the test server.
pub(crate) struct PostgresDatabase {
    admin_url: Url,
    name: String,
    pub(crate) url: Url,
}

impl PostgresDatabase {
    pub(crate) async fn create() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let admin_url = std::env::var("NANGO_TEST_POSTGRES_URL").unwrap_or_else(|_| {
            panic!(
                "NANGO_TEST_POSTGRES_URL is not set: run `make test`, which starts a Postgres, \
                 or set it to the URL of a server where databases may be created (`scripts/postgres start` prints one)"
            )
        });
        let admin_url = Url::parse(&admin_url).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("nango_test_{}_{number}", std::process::id());
        let mut url = admin_url.clone();
        url.set_path(&name);
        let database = Self { admin_url, name, url };
        database.administer("DROP DATABASE IF EXISTS ", "").await;
        database.administer("CREATE DATABASE ", "").await;
        database
    }

    pub(crate) async fn drop(self) {
        self.administer("DROP DATABASE ", " WITH (FORCE)").await;
    }

    async fn administer(&self, before: &str, after: &str) {
        sqlx::any::install_default_drivers();
        let mut admin = AnyConnection::connect(self.admin_url.as_str()).await.unwrap();
        let sql = QueryBuilder::<Any>::new(format!("{before}{}{after}", self.name)).into_sql();
        admin.execute(sql).await.unwrap();
        admin.close().await.unwrap();
    }
}

impl Store {
    /// Keeps everyone else from writing the log until the transaction is rolled back.
    pub(crate) async fn block_log(&self) -> Transaction<'static, Any> {
        let mut transaction = self.begin().await.unwrap();
        if self.dialect == Dialect::Postgres {
            transaction
                .execute("LOCK TABLE operations, messages, runs IN ACCESS EXCLUSIVE MODE")
                .await
                .unwrap();
        }
        transaction
    }
}

impl Store {
    /// Makes the database read-only for all that this store writes, or writable again. SQLite only, whose store has one
    /// connection to write with.
    pub(crate) async fn refuse_writes(&self, refuse: bool) {
        assert_eq!(self.dialect, Dialect::Sqlite);
        let statement = if refuse {
            "PRAGMA query_only = ON"
        } else {
            "PRAGMA query_only = OFF"
        };
        self.writer.execute(statement).await.unwrap();
    }
}

/// 2026-11-22 11:21:53 UTC.
pub(crate) const NOW_MS: i64 = 1_795_346_513_000;
pub(crate) const NOW_US: i64 = NOW_MS * 1_000;

/// An environment with one integration.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) environment: Environment,
    pub(crate) integration: Integration,
}

impl Fixture {
    pub(crate) async fn new(store: &Store) -> Self {
        let environment = Environment {
            id: "env_1".into(),
            name: "prod".to_owned(),
            created_at_ms: NOW_MS,
        };
        store.insert_environment(&environment).await.unwrap();
        let integration = integration(&environment, "github");
        assert!(store.insert_integration(&integration).await.unwrap());
        Self {
            store: store.clone(),
            environment,
            integration,
        }
    }

    pub(crate) fn connection(&self, connection_id: &str) -> Connection {
        Connection {
            key: format!("con_{connection_id}").as_str().into(),
            environment_id: self.environment.id.clone(),
            integration_id: self.integration.id.clone(),
            provider_config_key: self.integration.unique_key.clone(),
            provider: self.integration.provider.clone(),
            connection_id: connection_id.to_owned(),
            credentials: Sealed(vec![0, 1, 2, 255]),
            connection_config: Sealed(Vec::new()),
            metadata: JsonObject::new(),
            tags: BTreeMap::new(),
            end_user: None,
            webhook_url_override: None,
            created_at_ms: NOW_MS,
            updated_at_ms: NOW_MS,
            refresh: RefreshState::default(),
        }
    }

    pub(crate) async fn insert_connection(&self, connection_id: &str) -> ConnectionKey {
        let connection = self.connection(connection_id);
        self.store.upsert_connection(&connection).await.unwrap().key
    }

    pub(crate) async fn insert_sync(&self, connection_key: &ConnectionKey, function: &str) -> Sync {
        self.store
            .ensure_sync(&self.sync(connection_key, function))
            .await
            .unwrap()
    }

    pub(crate) fn sync(&self, connection_key: &ConnectionKey, function: &str) -> Sync {
        Sync {
            id: SyncId::from(format!("syn_{}_{function}", connection_key.as_str())),
            environment_id: self.environment.id.clone(),
            integration_id: self.integration.id.clone(),
            connection_key: connection_key.clone(),
            connection_id: String::new(),
            function: function.to_owned(),
            variant: "base".to_owned(),
            state: SyncState::Started,
            frequency_ms: Some(60_000),
            cron: None,
            frequency_from: crate::model::FrequencySource::Function,
            anchor_ms: NOW_MS,
            next_due_at_ms: Some(NOW_MS),
            failures: 0,
            waits_until_ms: None,
            last_run: None,
        }
    }

    pub(crate) fn run(&self, number: u64) -> Run {
        let mut random = [0; 16];
        random[8..].copy_from_slice(&number.to_be_bytes());
        random.reverse();
        Run {
            id: RunId::new(NOW_MS, random),
            environment_id: self.environment.id.clone(),
            integration_id: self.integration.id.clone(),
            connection_key: "con_1".into(),
            function: "whoami".to_owned(),
            kind: FunctionKind::Action,
            version: 1,
            sync_id: None,
            trigger: Trigger::Api,
            state: RunState::Queued,
            error: None,
            result: BTreeMap::new(),
            created_at_ms: NOW_MS,
            started_at_ms: None,
            ended_at_ms: None,
            duration_us: None,
        }
    }

    pub(crate) fn sync_run(&self, sync: &Sync, number: u64) -> Run {
        Run {
            connection_key: sync.connection_key.clone(),
            function: sync.function.clone(),
            kind: FunctionKind::Sync,
            sync_id: Some(sync.id.clone()),
            ..self.run(number)
        }
    }
}

pub(crate) fn integration(environment: &Environment, unique_key: &str) -> Integration {
    Integration {
        id: format!("int_{unique_key}").as_str().into(),
        environment_id: environment.id.clone(),
        unique_key: unique_key.to_owned(),
        provider: "github".to_owned(),
        display_name: "GitHub".to_owned(),
        secrets: None,
        forward_webhooks: true,
        created_at_ms: NOW_MS,
        updated_at_ms: NOW_MS,
    }
}

pub(crate) fn object(json: &str) -> JsonObject {
    serde_json::from_str(json).unwrap()
}
