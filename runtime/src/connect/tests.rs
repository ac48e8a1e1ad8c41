//! Sessions on a real database, and a clock that the tests move.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::clock::ManualClock;
use crate::connections::{ConnectionsError, NewConnection, NewIntegration};
use crate::credentials::Secret;
use crate::logs::LogOptions;
use crate::metrics::Metrics;
use crate::model::{
    ConnectSession, EndUser, Environment, EnvironmentId, IntegrationDefaults, JsonObject, Made, Reconnect,
};
use crate::oauth::OAuthParts;
use crate::provider::template::UrlTemplate;
use crate::provider::{Catalogue, Provider, ProxySpec, VerificationSpec};
use crate::proxy::ProxyOptions;
use crate::store::ConnectionQuery;
use crate::webhooks::tests::webhooks;

mod refusals;

struct Fixture {
    folder: tempfile::TempDir,
    environment: EnvironmentId,
    connect: Connect,
    clock: ManualClock,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(Catalogue::shipped().unwrap()).await
    }

    async fn with(catalogue: Catalogue) -> Self {
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
            Arc::new(catalogue),
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
        let logs = Logs::start(store.clone(), Clock::system(), &LogOptions::default());
        let webhooks = webhooks(&store, &keyring, &logs, &clock, &entropy);
        let oauth = OAuth::new(OAuthParts {
            webhooks: webhooks.clone(),
            connections: connections.clone(),
            store: store.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            egress_allow: Vec::new(),
        })
        .unwrap();
        let proxy = Proxy::new(
            oauth.clone(),
            logs.clone(),
            Metrics::new(|| 0),
            clock.clone(),
            entropy.clone(),
            ProxyOptions {
                egress_allow: vec!["127.0.0.0/8".parse().unwrap()],
                ..ProxyOptions::default()
            },
        )
        .unwrap();
        Self {
            folder,
            environment,
            connect: Connect::new(ConnectParts {
                connections,
                oauth,
                proxy,
                logs,
                store,
                webhooks,
                verify: true,
                validator: validator().0,
                on_event_ms_max: 1_000,
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
    let malformed = IntegrationDefaults {
        connection_config: JsonObject::from_iter([("baseUrl".to_owned(), json!("x"))]),
        ..IntegrationDefaults::default()
    };
    let refusal = fixture
        .refusal(OpenSession {
            defaults: [("bearer".to_owned(), malformed)].into(),
            ..OpenSession::default()
        })
        .await;
    assert!(
        refusal.starts_with("integrations_config_defaults.bearer.connection_config.baseUrl: must match"),
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

impl Fixture {
    /// In a browser, with this session.
    async fn create(&self, session: &ConnectSession, new: NewConnection) -> Result<Created, CreateError> {
        let by = Creator::session(session.clone());
        self.connect.create(by, new).await
    }

    async fn session(&self, new: OpenSession) -> ConnectSession {
        let opened = self.open(new).await.unwrap();
        self.connect.session(opened.token.expose()).await.unwrap()
    }
}

fn typed(api_key: &str, config: serde_json::Value) -> NewConnection {
    let serde_json::Value::Object(connection_config) = config else {
        panic!("{config} is no object");
    };
    NewConnection {
        provider_config_key: "bearer".to_owned(),
        connection_id: None,
        credentials: json!({"type": "API_KEY", "apiKey": api_key}),
        connection_config,
        metadata: JsonObject::new(),
        tags: BTreeMap::new(),
        end_user: None,
        webhook_url_override: None,
    }
}

fn end_user(id: &str) -> EndUser {
    EndUser {
        id: id.to_owned(),
        email: None,
        display_name: None,
        tags: BTreeMap::new(),
        organization: None,
    }
}

#[tokio::test]
async fn a_session_says_whose_connection_it_is() {
    let fixture = Fixture::new().await;
    let defaults = IntegrationDefaults {
        connection_config: JsonObject::from_iter([("baseUrl".to_owned(), json!("https://decided.test"))]),
        ..IntegrationDefaults::default()
    };
    let session = fixture
        .session(OpenSession {
            tags: [("plan".to_owned(), "pro".to_owned())].into(),
            end_user: Some(end_user("u1")),
            defaults: [("bearer".to_owned(), defaults)].into(),
            webhook_url_override: Some("https://hooks.test/a".to_owned()),
            ..OpenSession::default()
        })
        .await;
    let config = json!({"baseUrl": "https://evil.test", "webhook_url": "https://evil.test", "own": "1"});
    let mut given = typed("k", config);
    given.tags = [("plan".to_owned(), "free".to_owned())].into();
    given.end_user = Some(end_user("somebody else"));
    given.webhook_url_override = Some("https://evil.test".to_owned());
    let created = fixture.create(&session, given).await.unwrap();
    assert_eq!(created.made, Made::Creation);
    let connection = &created.target.connection;
    assert_eq!(connection.connection_id.len(), 36);
    assert_eq!(
        (connection.tags["plan"].as_str(), &connection.end_user),
        ("pro", &Some(end_user("u1")))
    );
    assert_eq!(connection.webhook_url_override.as_deref(), Some("https://hooks.test/a"));
    assert_eq!(
        json!(created.target.connection_config),
        json!({"baseUrl": "https://decided.test", "own": "1"})
    );
    // Again: another one.
    let again = fixture.create(&session, typed("k", json!({}))).await.unwrap();
    assert_ne!(again.target.connection.connection_id, connection.connection_id);
}

#[tokio::test]
async fn authorising_anew_keeps_what_is_not_the_browsers() {
    let fixture = Fixture::new().await;
    let imported = NewConnection {
        connection_id: Some("c1".to_owned()),
        metadata: JsonObject::from_iter([("kept".to_owned(), json!(1))]),
        tags: [("plan".to_owned(), "pro".to_owned())].into(),
        end_user: Some(end_user("u1")),
        webhook_url_override: Some("https://hooks.test".to_owned()),
        ..typed("old", json!({"baseUrl": "https://old.test", "own": "kept"}))
    };
    let by = Creator::ApiKey(fixture.environment.clone());
    assert_eq!(fixture.connect.create(by, imported).await.unwrap().made, Made::Creation);
    let reconnect = || OpenSession {
        reconnect: Some(Reconnect {
            connection_id: "c1".to_owned(),
            provider_config_key: "bearer".to_owned(),
        }),
        ..OpenSession::default()
    };
    let session = fixture.session(reconnect()).await;
    let created = fixture.create(&session, typed("new", json!({}))).await.unwrap();
    assert_eq!(created.made, Made::Override);
    let connection = &created.target.connection;
    assert_eq!(
        (connection.connection_id.as_str(), &connection.metadata["kept"]),
        ("c1", &json!(1))
    );
    assert_eq!(
        (connection.tags["plan"].as_str(), &connection.end_user),
        ("pro", &Some(end_user("u1")))
    );
    assert_eq!(connection.webhook_url_override.as_deref(), Some("https://hooks.test"));
    // Of what the provider declares nothing is left: it was given for another key.
    assert_eq!(json!(created.target.connection_config), json!({"own": "kept"}));

    let session = fixture
        .session(OpenSession {
            end_user: Some(end_user("u2")),
            tags: [("plan".to_owned(), "free".to_owned())].into(),
            ..reconnect()
        })
        .await;
    let created = fixture.create(&session, typed("newer", json!({}))).await.unwrap();
    let connection = &created.target.connection;
    assert_eq!(
        (connection.tags["plan"].as_str(), &connection.end_user),
        ("free", &Some(end_user("u2")))
    );

    let connections = &fixture.connect.0.connections;
    connections.delete(&fixture.environment, "bearer", "c1").await.unwrap();
    let gone = fixture.create(&session, typed("k", json!({}))).await.unwrap_err();
    assert!(matches!(gone, CreateError::ConnectionGone { .. }), "{gone}");
    let query = ConnectionQuery {
        limit: 10,
        ..ConnectionQuery::default()
    };
    let all = connections.list(&fixture.environment, &query);
    assert!(all.await.unwrap().is_empty());
}

#[tokio::test]
async fn a_session_makes_nothing_that_it_is_not_for() {
    let fixture = Fixture::new().await;
    let new = NewIntegration {
        unique_key: "other".to_owned(),
        provider: "private-api-bearer".to_owned(),
        display_name: None,
        credentials: None,
        custom: JsonObject::new(),
        forward_webhooks: true,
    };
    let connections = &fixture.connect.0.connections;
    connections.create_integration(&fixture.environment, new).await.unwrap();
    let session = fixture
        .session(OpenSession {
            allowed_integrations: Some(vec!["bearer".to_owned()]),
            ..OpenSession::default()
        })
        .await;
    for unique_key in ["other", "nope"] {
        let given = NewConnection {
            provider_config_key: unique_key.to_owned(),
            ..typed("k", json!({}))
        };
        let refused = fixture.create(&session, given).await.unwrap_err();
        assert!(
            matches!(refused, CreateError::IntegrationNotAllowed { .. }),
            "{refused}"
        );
    }
    let given = NewConnection {
        connection_id: Some("mine".to_owned()),
        ..typed("k", json!({}))
    };
    let refused = fixture.create(&session, given).await.unwrap_err();
    assert!(matches!(refused, CreateError::IdGiven), "{refused}");
    let refused = fixture
        .create(&session, typed("k", json!({"baseUrl": "x"})))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().starts_with("connection_config.baseUrl: must match"),
        "{refused}"
    );
    let refused = fixture.create(&session, typed("", json!({}))).await.unwrap_err();
    assert!(refused.to_string().starts_with("credentials.apiKey: "), "{refused}");
}

#[tokio::test]
async fn a_session_is_of_one_environment() {
    let fixture = Fixture::new().await;
    let mut session = fixture.session(OpenSession::default()).await;
    let other = Environment {
        id: "env_2".into(),
        name: "prod".to_owned(),
        created_at_ms: 0,
    };
    fixture.connect.0.store.insert_environment(&other).await.unwrap();
    session.environment_id = other.id;
    let refused = fixture.create(&session, typed("k", json!({}))).await.unwrap_err();
    assert!(
        matches!(
            refused,
            CreateError::Connections(ConnectionsError::UnknownIntegration { .. })
        ),
        "{refused}"
    );
}

/// An upstream that answers every request with the status that is set; 0 closes the connection.
async fn upstream() -> (String, Arc<AtomicU16>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let status = Arc::new(AtomicU16::new(200));
    let answered = Arc::clone(&status);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4_096];
            let _ = stream.read(&mut head).await;
            let status = answered.load(Ordering::Relaxed);
            if status > 0 {
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    (url, status)
}

#[tokio::test]
async fn credentials_are_tried_again_every_day() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
    let (url, status) = upstream().await;
    let mut catalogue = Catalogue::shipped().unwrap();
    let mut provider = Provider::clone(catalogue.get("private-api-bearer").unwrap());
    provider.json = json!({"auth_mode": "API_KEY"});
    provider.proxy = Some(ProxySpec {
        base_url: Some(UrlTemplate::parse(&url).unwrap()),
        verification: Some(VerificationSpec {
            method: http::Method::GET,
            endpoints: vec![UrlTemplate::parse("/me").unwrap()],
            base_url: None,
            headers: Vec::new(),
            data: None,
        }),
        ..ProxySpec::default()
    });
    catalogue.providers.insert(provider.name.clone(), Arc::new(provider));
    let fixture = Fixture::with(catalogue).await;
    let connect = &fixture.connect;
    let session = fixture.session(OpenSession::default()).await;
    let created = fixture.create(&session, typed("k", json!({}))).await.unwrap();
    let id = created.target.connection.connection_id.clone();
    let failing_days = async || {
        let connections = &connect.0.connections;
        let target = connections
            .target_now(&fixture.environment, "bearer", &id)
            .await
            .unwrap();
        target
            .connection
            .refresh
            .failure
            .as_ref()
            .map_or(0, |failure| failure.failing_days)
    };
    let tick = async |by_ms: i64| {
        fixture.clock.advance_ms(by_ms);
        connect.tick(connect.0.clock.now_ms()).await.unwrap()
    };
    assert_eq!(tick(DAY_MS - 1).await, 0);
    assert_eq!((tick(1).await, failing_days().await), (1, 0));
    assert_eq!(tick(DAY_MS - 1).await, 0, "and not before another day");
    status.store(401, Ordering::Relaxed);
    assert_eq!((tick(1).await, failing_days().await), (1, 1));
    assert_eq!((tick(DAY_MS).await, failing_days().await), (1, 2));
    // A provider that is down says nothing; it is asked again soon.
    for unknown in [500, 0] {
        status.store(unknown, Ordering::Relaxed);
        assert_eq!((tick(DAY_MS).await, failing_days().await), (1, 2), "{unknown}");
    }
    status.store(200, Ordering::Relaxed);
    assert_eq!((tick(60 * 60 * 1_000).await, failing_days().await), (1, 0));
}
