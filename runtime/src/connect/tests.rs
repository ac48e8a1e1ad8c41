//! Sessions on a real database, and a clock that the tests move.

use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::connections::{ConnectionsError, NewIntegration};
use crate::credentials::Secret;
use crate::model::{Environment, EnvironmentId, IntegrationDefaults, JsonObject, Reconnect};
use crate::provider::Catalogue;

struct Fixture {
    folder: tempfile::TempDir,
    environment: EnvironmentId,
    connect: Connect,
    clock: ManualClock,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        let store = Store::open(&url).await.unwrap();
        let (clock, manual) = Clock::manual(1_800_000_000_000);
        let environment = EnvironmentId::from("env_1");
        let row = Environment {
            id: environment.clone(),
            name: "dev".to_owned(),
            created_at_ms: clock.now_ms(),
        };
        store.insert_environment(&row).await.unwrap();
        let entropy = Entropy::seeded(1);
        let keyring = Keyring::new(Secret::new([7; 32]), entropy.clone());
        let connections = Connections::new(
            store.clone(),
            Arc::new(Catalogue::shipped().unwrap()),
            keyring.clone(),
            clock.clone(),
            entropy.clone(),
        );
        let new = NewIntegration {
            unique_key: "bearer".to_owned(),
            provider: "private-api-bearer".to_owned(),
            display_name: None,
            credentials: None,
            custom: JsonObject::new(),
            forward_webhooks: true,
        };
        connections.create_integration(&environment, new).await.unwrap();
        Self {
            folder,
            environment,
            connect: Connect::new(ConnectParts {
                connections,
                store,
                keyring,
                clock,
                entropy,
            }),
            clock: manual,
        }
    }

    async fn open(&self, new: OpenSession) -> Result<NewConnectSession, ConnectionsError> {
        self.connect.open(&self.environment, new).await
    }

    async fn refusal(&self, new: OpenSession) -> String {
        self.open(new).await.unwrap_err().to_string()
    }
}

#[tokio::test]
async fn a_token_opens_its_session_until_it_ends() {
    let fixture = Fixture::new().await;
    let new = OpenSession {
        tags: [("Plan".to_owned(), "pro".to_owned())].into(),
        allowed_integrations: Some(vec!["bearer".to_owned()]),
        ..OpenSession::default()
    };
    let opened = fixture.open(new).await.unwrap();
    let token = opened.token.expose();
    assert_eq!(token.len(), TOKEN_PREFIX.len() + 64);
    let session = fixture.connect.session(token).await.unwrap();
    assert_eq!(session.environment_id, fixture.environment);
    assert_eq!(session.tags["plan"], "pro");
    assert_eq!(session.expires_at_ms, opened.expires_at_ms);
    assert_ne!(
        fixture.open(OpenSession::default()).await.unwrap().token.expose(),
        token
    );

    fixture.clock.advance_ms(SESSION_TTL_MS - 1);
    assert!(fixture.connect.session(token).await.is_ok());
    fixture.clock.advance_ms(1);
    assert!(matches!(
        fixture.connect.session(token).await,
        Err(SessionError::Unknown)
    ));
    assert_eq!(fixture.connect.delete_ended(opened.expires_at_ms).await.unwrap(), 2);

    let opened = fixture.open(OpenSession::default()).await.unwrap();
    let token = opened.token.expose();
    let session = fixture.connect.session(token).await.unwrap();
    fixture.connect.end(&session).await.unwrap();
    fixture.connect.end(&session).await.unwrap();
    assert!(matches!(
        fixture.connect.session(token).await,
        Err(SessionError::Unknown)
    ));
}

#[tokio::test]
async fn what_is_no_token_is_told_from_one_that_is_unknown() {
    let fixture = Fixture::new().await;
    let zeros = "0".repeat(64);
    let unknown = format!("{TOKEN_PREFIX}{zeros}");
    assert!(matches!(
        fixture.connect.session(&unknown).await,
        Err(SessionError::Unknown)
    ));
    for token in [
        "",
        TOKEN_PREFIX,
        &zeros,
        &format!("{unknown}0"),
        &unknown.to_uppercase(),
        &unknown.replace('0', "g"),
        "13af84fa-536e-4181-953b-118bd1dc72f8",
    ] {
        let session = fixture.connect.session(token).await;
        assert!(matches!(session, Err(SessionError::Format)), "{token}");
    }
}

#[tokio::test]
async fn the_database_holds_neither_tokens_nor_defaults() {
    let fixture = Fixture::new().await;
    let defaults = IntegrationDefaults {
        connection_config: JsonObject::from_iter([("appSecret".to_owned(), json!("s3cr3t-default"))]),
        ..IntegrationDefaults::default()
    };
    let new = OpenSession {
        defaults: [("bearer".to_owned(), defaults.clone())].into(),
        ..OpenSession::default()
    };
    let opened = fixture.open(new).await.unwrap();
    let token = opened.token.expose();
    let session = fixture.connect.session(token).await.unwrap();
    assert_eq!(session.defaults_of("bearer"), defaults);
    assert_eq!(session.defaults_of("other"), IntegrationDefaults::default());

    fixture.connect.0.store.close().await;
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(fixture.folder.path()).unwrap() {
        bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(session.id.as_str()), "the database was looked through");
    let digits = token.trim_start_matches(TOKEN_PREFIX);
    assert!(!holds("s3cr3t-default") && !holds(digits));
}

#[tokio::test]
async fn slips_show_where_the_session_is_opened() {
    let fixture = Fixture::new().await;
    let allowed = |keys: &[&str]| OpenSession {
        allowed_integrations: Some(keys.iter().map(|key| (*key).to_owned()).collect()),
        ..OpenSession::default()
    };
    let refusal = fixture.refusal(allowed(&["bearer", "nope"])).await;
    assert!(
        refusal.starts_with("allowed_integrations.1: there is no integration \"nope\""),
        "{refusal}"
    );
    let refusal = fixture.refusal(allowed(&[])).await;
    assert!(refusal.starts_with("allowed_integrations: must name 1 to"), "{refusal}");
    let refusal = fixture
        .refusal(OpenSession {
            defaults: [("nope".to_owned(), IntegrationDefaults::default())].into(),
            ..OpenSession::default()
        })
        .await;
    assert!(
        refusal.starts_with("integrations_config_defaults.nope: there is no"),
        "{refusal}"
    );
    let refusal = fixture
        .refusal(OpenSession {
            webhook_url_override: Some("ftp://a.test".to_owned()),
            ..OpenSession::default()
        })
        .await;
    assert!(refusal.starts_with("webhook_url_override: must be a URL"), "{refusal}");
    for (provider_config_key, field) in [("nope", "integration_id: "), ("bearer", "connection_id: ")] {
        let reconnect = Reconnect {
            connection_id: "c".to_owned(),
            provider_config_key: provider_config_key.to_owned(),
        };
        let refusal = fixture
            .refusal(OpenSession {
                reconnect: Some(reconnect),
                ..OpenSession::default()
            })
            .await;
        assert!(refusal.starts_with(field), "{refusal}");
    }
    let big = IntegrationDefaults {
        connection_config: JsonObject::from_iter([("x".to_owned(), json!("y".repeat(SESSION_BYTES_MAX)))]),
        ..IntegrationDefaults::default()
    };
    let refusal = fixture
        .refusal(OpenSession {
            defaults: [("bearer".to_owned(), big)].into(),
            ..OpenSession::default()
        })
        .await;
    assert!(refusal.contains("has at most 65536 bytes"), "{refusal}");
}
