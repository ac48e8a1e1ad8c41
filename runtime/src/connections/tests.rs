//! Connections on a real database, and the values that the tests of this module share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::credentials::Secret;
use crate::model::{ConnectionKey, Environment, IntegrationId, Sealed};

pub(crate) fn integration(unique_key: &str) -> Arc<Integration> {
    Arc::new(Integration {
        id: IntegrationId::from(format!("int_{unique_key}")),
        environment_id: EnvironmentId::from("env_1"),
        unique_key: unique_key.to_owned(),
        provider: "unauthenticated".to_owned(),
        display_name: unique_key.to_owned(),
        secrets: None,
        forward_webhooks: true,
        created_at_ms: 1,
        updated_at_ms: 1,
    })
}

/// A provider that says this of how tokens are obtained.
pub(crate) fn provider(entry: serde_json::Value) -> Provider {
    let catalogue = Catalogue::shipped().unwrap();
    let mut provider = Provider::clone(catalogue.get("github").unwrap());
    let revocation = entry.get("revocation").cloned();
    let revocation =
        revocation.map(|said| crate::provider::of_entry(json!({"auth_mode": "OAUTH2", "revocation": said})));
    provider.revocation = revocation.and_then(|provider| provider.revocation);
    provider.json = entry;
    provider
}

pub(crate) fn target(provider_config_key: &str, connection_id: &str) -> Arc<Target> {
    let integration = integration(provider_config_key);
    let catalogue = Catalogue::shipped().unwrap();
    Arc::new(Target {
        provider: Arc::clone(catalogue.get(&integration.provider).unwrap()),
        connection: Arc::new(Connection {
            key: ConnectionKey::from(format!("con_{provider_config_key}_{connection_id}")),
            environment_id: integration.environment_id.clone(),
            integration_id: integration.id.clone(),
            provider_config_key: provider_config_key.to_owned(),
            provider: integration.provider.clone(),
            connection_id: connection_id.to_owned(),
            credentials: Sealed(Vec::new()),
            connection_config: Sealed(Vec::new()),
            metadata: JsonObject::new(),
            tags: BTreeMap::new(),
            end_user: None,
            webhook_url_override: None,
            created_at_ms: 1,
            updated_at_ms: 1,
            refresh: crate::model::RefreshState::default(),
        }),
        integration,
        credentials: Credentials::None,
        connection_config: JsonObject::new(),
        integration_config: JsonObject::new(),
        masking: Masking::default(),
        client: None,
        value_template: OnceLock::new(),
        app: None,
    })
}

/// Two processes on one database.
struct Fixture {
    folder: PathBuf,
    environment: EnvironmentId,
    connections: Connections,
    other: Connections,
    clock: ManualClock,
    store: Store,
}

impl Fixture {
    async fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("nango-runtime-connections-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let url = format!("sqlite:{}", folder.join("test.db").display());
        let store = Store::open(&url).await.unwrap();
        let (clock, manual) = Clock::manual(1_800_000_000_000);
        let environment = EnvironmentId::from("env_1");
        let row = Environment {
            id: environment.clone(),
            name: "dev".to_owned(),
            created_at_ms: clock.now_ms(),
        };
        store.insert_environment(&row).await.unwrap();
        let catalogue = Arc::new(Catalogue::shipped().unwrap());
        let process = |seed| {
            let keyring = Keyring::new(Secret::new([7; 32]), Entropy::seeded(seed));
            let entropy = Entropy::seeded(seed + 100);
            Connections::new(store.clone(), Arc::clone(&catalogue), keyring, clock.clone(), entropy)
        };
        Self {
            connections: process(1),
            other: process(2),
            folder,
            environment,
            clock: manual,
            store,
        }
    }

    async fn create(&self, unique_key: &str, provider: &str) -> Result<Integration, ConnectionsError> {
        let credentials =
            (provider == "github").then(|| json!({"type": "OAUTH2", "client_id": "c", "client_secret": "s3cret"}));
        let new = NewIntegration {
            unique_key: unique_key.to_owned(),
            provider: provider.to_owned(),
            display_name: None,
            credentials,
            custom: JsonObject::new(),
            forward_webhooks: true,
        };
        self.connections.create_integration(&self.environment, new).await
    }

    async fn import(
        &self,
        connections: &Connections,
        key: &str,
        id: Option<&str>,
        token: &str,
    ) -> Result<Arc<Target>, ConnectionsError> {
        let new = NewConnection {
            provider_config_key: key.to_owned(),
            connection_id: id.map(ToOwned::to_owned),
            credentials: json!({"type": "OAUTH2", "access_token": token}),
            connection_config: json!({"sub": "x"}).as_object().unwrap().clone(),
            metadata: json!({"a": 1}).as_object().unwrap().clone(),
            tags: BTreeMap::from([("Plan".to_owned(), "pro".to_owned())]),
            end_user: None,
            webhook_url_override: None,
        };
        connections.import(&self.environment, new).await
    }

    async fn token(&self, connections: &Connections, id: &str) -> Option<String> {
        let target = connections.target(&self.environment, "github", id).await.ok()?;
        target
            .credentials
            .variable("accessToken")
            .map(std::borrow::Cow::into_owned)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn an_imported_connection_is_a_target() {
    let fixture = Fixture::new("import").await;
    fixture.create("github", "github").await.unwrap();
    let imported = fixture
        .import(&fixture.connections, "github", Some("c1"), "t0ken-1")
        .await
        .unwrap();
    assert_eq!(imported.connection.tags["plan"], "pro");
    let target = fixture
        .connections
        .target(&fixture.environment, "github", "c1")
        .await
        .unwrap();
    assert_eq!(target.credentials.variable("accessToken").as_deref(), Some("t0ken-1"));
    assert_eq!(target.connection_config["sub"], "x");
    assert_eq!(target.integration_config["clientId"], "c");
    assert!(!format!("{target:?}").contains("t0ken-1"));
    let generated = fixture.import(&fixture.connections, "github", None, "t").await.unwrap();
    assert_eq!(generated.connection.connection_id.len(), 36);
}

#[tokio::test]
async fn importing_again_overwrites_at_once_here_and_soon_elsewhere() {
    let fixture = Fixture::new("again").await;
    fixture.create("github", "github").await.unwrap();
    let first = fixture
        .import(&fixture.connections, "github", Some("c1"), "one")
        .await
        .unwrap();
    assert_eq!(fixture.token(&fixture.other, "c1").await.as_deref(), Some("one"));
    let second = fixture
        .import(&fixture.connections, "github", Some("c1"), "two")
        .await
        .unwrap();
    assert_eq!(first.connection.key, second.connection.key);
    assert_eq!(fixture.token(&fixture.connections, "c1").await.as_deref(), Some("two"));
    assert_eq!(fixture.token(&fixture.other, "c1").await.as_deref(), Some("one"));
    fixture.clock.advance_ms(i64::try_from(CACHE_TTL_MS).unwrap());
    assert_eq!(fixture.token(&fixture.other, "c1").await.as_deref(), Some("two"));
}

#[tokio::test]
async fn what_has_not_changed_is_not_opened_again() {
    let fixture = Fixture::new("unchanged").await;
    fixture.create("github", "github").await.unwrap();
    let import = async |token| {
        fixture
            .import(&fixture.connections, "github", Some("c1"), token)
            .await
            .unwrap();
    };
    let target = async || {
        fixture.clock.advance_ms(i64::try_from(CACHE_TTL_MS).unwrap());
        let target = fixture.other.target(&fixture.environment, "github", "c1").await;
        target.unwrap()
    };
    import("one").await;
    let first = target().await;
    assert!(Arc::ptr_eq(&first, &target().await), "with its masker");
    // Sealed anew, the same token is another value.
    import("one").await;
    assert!(!Arc::ptr_eq(&first, &target().await));
    let second = target().await;
    let patch = IntegrationPatch {
        display_name: Some("Renamed".to_owned()),
        ..IntegrationPatch::default()
    };
    let patched = fixture
        .connections
        .update_integration(&fixture.environment, "github", patch)
        .await;
    patched.unwrap();
    let third = target().await;
    assert!(!Arc::ptr_eq(&second, &third));
    assert_eq!(third.integration.display_name, "Renamed");
}

#[tokio::test]
async fn what_is_not_there_is_named_and_not_remembered() {
    let fixture = Fixture::new("unknown").await;
    let environment = &fixture.environment;
    let unknown = fixture
        .connections
        .target(environment, "github", "c1")
        .await
        .unwrap_err();
    assert!(matches!(unknown, ConnectionsError::UnknownIntegration { .. }));
    fixture.create("github", "github").await.unwrap();
    let unknown = fixture
        .connections
        .target(environment, "github", "c1")
        .await
        .unwrap_err();
    assert!(matches!(unknown, ConnectionsError::UnknownConnection { .. }));
    fixture
        .import(&fixture.other, "github", Some("c1"), "one")
        .await
        .unwrap();
    assert_eq!(fixture.token(&fixture.connections, "c1").await.as_deref(), Some("one"));
    fixture.connections.delete(environment, "github", "c1").await.unwrap();
    let unknown = fixture
        .connections
        .delete(environment, "github", "c1")
        .await
        .unwrap_err();
    assert!(matches!(unknown, ConnectionsError::UnknownConnection { .. }));
    assert_eq!(fixture.token(&fixture.connections, "c1").await, None);
}

#[tokio::test]
async fn secrets_are_sealed_in_the_database() {
    let fixture = Fixture::new("sealed").await;
    let integration = fixture.create("github", "github").await.unwrap();
    fixture
        .import(&fixture.connections, "github", Some("c1"), "t0ken-1")
        .await
        .unwrap();
    let row = fixture
        .store
        .connection(&fixture.environment, "github", "c1")
        .await
        .unwrap()
        .unwrap();
    let holds = |sealed: &Sealed, text: &str| sealed.0.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!holds(&row.credentials, "t0ken-1") && !holds(&row.connection_config, "sub"));
    assert!(!holds(integration.secrets.as_ref().unwrap(), "s3cret"));
    let opened = fixture
        .connections
        .integration_credentials(&integration)
        .unwrap()
        .unwrap();
    assert_eq!(opened["client_secret"], "s3cret");
    // The same bytes under another connection's name do not open.
    let mut moved = row;
    moved.key = ConnectionKey::from("con_moved");
    moved.connection_id = "c2".to_owned();
    fixture.store.upsert_connection(&moved).await.unwrap();
    let error = fixture
        .connections
        .target(&fixture.environment, "github", "c2")
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectionsError::Encryption(_)), "{error}");
}

#[tokio::test]
async fn integrations_are_renamed_only_while_unused() {
    let fixture = Fixture::new("rename").await;
    let environment = &fixture.environment;
    fixture.create("github", "github").await.unwrap();
    fixture.create("other", "unauthenticated").await.unwrap();
    let exists = fixture.create("github", "github").await.unwrap_err();
    assert!(matches!(exists, ConnectionsError::IntegrationExists { .. }));
    let rename = |to: &str| IntegrationPatch {
        unique_key: Some(to.to_owned()),
        display_name: Some("Renamed".to_owned()),
        ..IntegrationPatch::default()
    };
    let taken = fixture
        .connections
        .update_integration(environment, "github", rename("other"))
        .await
        .unwrap_err();
    assert!(matches!(taken, ConnectionsError::IntegrationExists { .. }));
    let renamed = fixture
        .connections
        .update_integration(environment, "github", rename("gh"))
        .await
        .unwrap();
    assert_eq!(renamed.display_name, "Renamed");
    assert!(fixture.connections.integration(environment, "github").await.is_err());
    fixture
        .import(&fixture.connections, "gh", Some("c1"), "t")
        .await
        .unwrap();
    let in_use = fixture
        .connections
        .update_integration(environment, "gh", rename("github"))
        .await
        .unwrap_err();
    assert!(matches!(in_use, ConnectionsError::IntegrationInUse { .. }));
    fixture.connections.delete_integration(environment, "gh").await.unwrap();
    assert!(fixture.connections.target(environment, "gh", "c1").await.is_err());
}

#[tokio::test]
async fn metadata_is_set_for_all_or_none() {
    let fixture = Fixture::new("metadata").await;
    let environment = &fixture.environment;
    fixture.create("github", "github").await.unwrap();
    for id in ["c1", "c2"] {
        fixture
            .import(&fixture.connections, "github", Some(id), "t")
            .await
            .unwrap();
    }
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let metadata = json!({"b": 2}).as_object().unwrap().clone();
    let connections = &fixture.connections;
    let merged = connections
        .set_metadata(environment, "github", &ids(&["c1", "c2"]), &metadata, true)
        .await
        .unwrap();
    assert_eq!(merged, vec![json!({"a": 1, "b": 2}).as_object().unwrap().clone(); 2]);
    let unknown = connections
        .set_metadata(environment, "github", &ids(&["c1", "nope"]), &metadata, false)
        .await;
    assert!(
        matches!(unknown, Err(ConnectionsError::UnknownConnection { connection_id, .. }) if connection_id == "nope")
    );
    let target = connections.target(environment, "github", "c1").await.unwrap();
    assert_eq!(target.connection.metadata, merged[0]);
}
