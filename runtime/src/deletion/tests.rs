//! Deletions in a real database, with a provider on loopback that gives tokens and takes them back.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::ManualClock;
use crate::connections::{NewConnection, NewIntegration};
use crate::credentials::Secret;
use crate::encryption::Keyring;
use crate::model::{Environment, JsonObject};
use crate::oauth::OAuthParts;
use crate::provider::{Catalogue, of_entry};
use crate::store::OperationQuery;
use crate::store::tests::for_each_db;
use crate::webhooks::tests::webhooks;

const NOW_MS: i64 = 1_800_000_000_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

for_each_db! {
    a_delete_hides_wipes_and_revokes_and_the_name_is_free,
    a_provider_that_is_down_is_told_later,
    what_is_refused_is_not_tried_again,
    a_refresh_under_way_brings_nothing_back,
    what_a_dead_process_left_is_done,
    an_integration_takes_its_connections_along,
    what_is_old_is_purged,
    an_operator_purges_what_he_names,
}

/// Gives tokens at `/token`, takes them back at `/revoke`.
#[derive(Default)]
struct Upstream {
    /// Bodies of requests to `/revoke`.
    revoked: Mutex<Vec<String>>,
    /// What `/revoke` answers.
    status: AtomicU16,
    /// `/token` was asked and waits.
    asked: AtomicUsize,
    held: AtomicBool,
}

impl Upstream {
    async fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let upstream = Arc::new(Self {
            status: AtomicU16::new(200),
            ..Self::default()
        });
        let of_task = Arc::clone(&upstream);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&of_task).serve(connection));
            }
        });
        (upstream, url)
    }

    async fn serve(self: Arc<Self>, mut connection: TcpStream) {
        let mut received = String::new();
        let mut piece = [0; 4096];
        let body = loop {
            if let Some((head, body)) = received.split_once("\r\n\r\n") {
                let head = head.to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    break body.to_owned();
                }
            }
            match connection.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(count) => received.push_str(std::str::from_utf8(&piece[..count]).unwrap()),
            }
        };
        let (status, answer) = if received.starts_with("POST /revoke") {
            self.revoked.lock().unwrap().push(body);
            (self.status.load(Ordering::Acquire), String::new())
        } else {
            self.asked.fetch_add(1, Ordering::AcqRel);
            while self.held.load(Ordering::Acquire) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let tokens = json!({"access_token": "new-access", "refresh_token": "new-refresh", "expires_in": 3600});
            (200, tokens.to_string())
        };
        let length = answer.len();
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        let _ = connection.write_all((head + &answer).as_bytes()).await;
    }

    /// The tokens it was told of, and forgets them.
    fn told(&self) -> Vec<String> {
        let bodies = std::mem::take(&mut *self.revoked.lock().unwrap());
        let token = |body: &String| {
            assert!(body.contains("client_secret=s3cret"), "{body}");
            let token = body.split('&').find_map(|parameter| parameter.strip_prefix("token="));
            token.unwrap().to_owned()
        };
        bodies.iter().map(token).collect()
    }
}

struct Fixture {
    deletion: Deletion,
    connections: Connections,
    oauth: OAuth,
    store: Store,
    logs: Logs,
    environment: EnvironmentId,
    clock: Clock,
    manual: ManualClock,
    upstream: Arc<Upstream>,
}

impl Fixture {
    async fn new(store: &Store) -> Self {
        let (upstream, url) = Upstream::start().await;
        let (clock, manual) = Clock::manual(NOW_MS);
        let environment = Environment {
            id: "env_1".into(),
            name: "dev".to_owned(),
            created_at_ms: NOW_MS,
        };
        store.insert_environment(&environment).await.unwrap();
        let mut catalogue = Catalogue::shipped().unwrap();
        let provider = of_entry(json!({
            "auth_mode": "OAUTH2", "token_url": format!("{url}/token"), "revocation": {"url": format!("{url}/revoke")},
        }));
        catalogue.providers.insert("testing".to_owned(), Arc::new(provider));
        let entropy = Entropy::seeded(1);
        let keyring = Keyring::new(Secret::new([7; 32]), entropy.clone());
        let connections = Connections::new(
            store.clone(),
            Arc::new(catalogue),
            keyring.clone(),
            clock.clone(),
            entropy.clone(),
        );
        let logs = Logs::start(store.clone(), Clock::system(), &crate::logs::LogOptions::default());
        let oauth = OAuth::new(OAuthParts {
            connections: connections.clone(),
            store: store.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            webhooks: webhooks(store, &keyring, &logs, &clock, &entropy),
            egress_allow: vec!["127.0.0.0/8".parse().unwrap()],
        })
        .unwrap();
        let deletion = Deletion::new(DeletionParts {
            connections: connections.clone(),
            oauth: oauth.clone(),
            store: store.clone(),
            logs: logs.clone(),
            clock: clock.clone(),
            entropy,
            retention_days: 31,
            log_retention_days: 15,
        });
        let fixture = Self {
            deletion,
            connections,
            oauth,
            store: store.clone(),
            logs,
            environment: environment.id,
            clock,
            manual,
            upstream,
        };
        fixture.create().await;
        fixture
    }

    async fn create(&self) {
        let new = NewIntegration {
            unique_key: "testing".to_owned(),
            provider: "testing".to_owned(),
            display_name: None,
            credentials: Some(json!({"type": "OAUTH2", "client_id": "c", "client_secret": "s3cret"})),
            custom: JsonObject::new(),
            forward_webhooks: true,
        };
        self.connections
            .create_integration(&self.environment, new)
            .await
            .unwrap();
    }

    async fn import(&self, connection_id: &str) -> ConnectionKey {
        let credentials = json!({
            "type": "OAUTH2", "access_token": format!("access-{connection_id}"),
            "refresh_token": format!("refresh-{connection_id}"),
        });
        let new = NewConnection {
            provider_config_key: "testing".to_owned(),
            connection_id: Some(connection_id.to_owned()),
            credentials,
            connection_config: JsonObject::new(),
            metadata: JsonObject::new(),
            tags: BTreeMap::new(),
            end_user: None,
            webhook_url_override: None,
        };
        let target = self.connections.import(&self.environment, new).await.unwrap();
        target.connection.key.clone()
    }

    async fn is_there(&self, connection_id: &str) -> bool {
        let target = self.connections.target(&self.environment, "testing", connection_id);
        target.await.is_ok()
    }

    async fn delete(&self, connection_id: &str) {
        let deletion = &self.deletion;
        deletion
            .delete_connection(&self.environment, "testing", connection_id)
            .await
            .unwrap();
    }

    async fn tick(&self) {
        self.deletion.tick(self.clock.now_ms()).await.unwrap();
    }

    /// Kind and state of operations, by kind.
    async fn operations(&self) -> Vec<(OperationKind, OperationState)> {
        self.logs.flush().await;
        let query = OperationQuery {
            limit: 100,
            ..OperationQuery::default()
        };
        let found = self.store.operations(&self.environment, &query).await.unwrap();
        let mut found: Vec<_> = found
            .iter()
            .map(|operation| (operation.kind, operation.state))
            .collect();
        found.sort_by_key(|(kind, _)| kind.as_str());
        found
    }

    async fn has_secrets(&self) -> bool {
        !self.store.connections_to_wipe(None, "").await.unwrap().is_empty()
    }

    async fn has_revocations(&self) -> bool {
        let far_ms = i64::MAX / 2;
        !self.store.claim_revocations(far_ms, 0, 1).await.unwrap().is_empty()
    }
}

async fn a_delete_hides_wipes_and_revokes_and_the_name_is_free(store: Store) {
    let fixture = Fixture::new(&store).await;
    let first = fixture.import("a").await;
    assert!(fixture.is_there("a").await);
    fixture.delete("a").await;
    assert!(!fixture.is_there("a").await);
    assert!(!fixture.has_secrets().await);
    assert_eq!(
        fixture.upstream.told(),
        [""; 0],
        "the answer does not wait for the provider"
    );
    let again = fixture
        .deletion
        .delete_connection(&fixture.environment, "testing", "a")
        .await;
    assert!(matches!(again, Err(ConnectionsError::UnknownConnection { .. })));

    let second = fixture.import("a").await;
    assert!(fixture.is_there("a").await && first != second);
    fixture.tick().await;
    assert_eq!(fixture.upstream.told(), ["refresh-a", "access-a"]);
    assert!(!fixture.has_revocations().await);
    assert!(fixture.is_there("a").await, "the other one stays");
    assert_eq!(
        fixture.operations().await,
        [
            (OperationKind::ConnectionDelete, OperationState::Success),
            (OperationKind::ConnectionRevoke, OperationState::Success),
        ]
    );
    fixture.tick().await;
    assert_eq!(fixture.upstream.told(), [""; 0]);
    // The same name again, beside one that was deleted before.
    fixture.delete("a").await;
    fixture.import("a").await;
    assert!(fixture.is_there("a").await);
}

async fn a_provider_that_is_down_is_told_later(store: Store) {
    let fixture = Fixture::new(&store).await;
    fixture.import("a").await;
    fixture.upstream.status.store(503, Ordering::Release);
    fixture.delete("a").await;
    fixture.tick().await;
    fixture.tick().await;
    assert_eq!(fixture.upstream.told().len(), 2, "not before its time");
    fixture.manual.advance_ms(MINUTE_MS);
    fixture.upstream.status.store(200, Ordering::Release);
    fixture.tick().await;
    assert_eq!(fixture.upstream.told(), ["refresh-a", "access-a"]);
    assert!(!fixture.has_revocations().await);

    fixture.import("b").await;
    fixture.upstream.status.store(500, Ordering::Release);
    fixture.delete("b").await;
    for _ in 0..40 {
        fixture.tick().await;
        fixture.manual.advance_ms(60 * MINUTE_MS);
    }
    let told = fixture.upstream.told().len();
    assert_eq!(told, 2 * usize::try_from(REVOCATION_ATTEMPTS_MAX).unwrap());
    assert!(!fixture.has_revocations().await, "given up: nothing secret is kept");
    let failed = (OperationKind::ConnectionRevoke, OperationState::Failed);
    let operations = fixture.operations().await;
    let failures = operations.iter().filter(|operation| **operation == failed).count();
    assert_eq!(failures, told / 2 + 1, "each try is told: {operations:?}");
}

async fn what_is_refused_is_not_tried_again(store: Store) {
    let fixture = Fixture::new(&store).await;
    fixture.import("a").await;
    fixture.upstream.status.store(400, Ordering::Release);
    fixture.delete("a").await;
    fixture.tick().await;
    assert_eq!(fixture.upstream.told().len(), 2);
    assert!(!fixture.has_revocations().await);
    let failed = (OperationKind::ConnectionRevoke, OperationState::Failed);
    assert_eq!(fixture.operations().await.last(), Some(&failed));
}

async fn a_refresh_under_way_brings_nothing_back(store: Store) {
    let fixture = Fixture::new(&store).await;
    fixture.import("a").await;
    fixture.upstream.held.store(true, Ordering::Release);
    let refresh = {
        let (oauth, environment) = (fixture.oauth.clone(), fixture.environment.clone());
        tokio::spawn(async move { oauth.forced(&environment, "testing", "a").await })
    };
    while fixture.upstream.asked.load(Ordering::Acquire) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fixture.delete("a").await;
    let successor = fixture.import("a").await;
    fixture.upstream.held.store(false, Ordering::Release);
    assert!(refresh.await.unwrap().is_err());
    let target = fixture
        .connections
        .target(&fixture.environment, "testing", "a")
        .await
        .unwrap();
    assert_eq!(target.connection.key, successor);
    assert_eq!(target.credentials.access_token().unwrap().expose(), "access-a");
    assert!(!fixture.has_secrets().await);
    fixture.tick().await;
    let mut told = fixture.upstream.told();
    told.sort();
    assert_eq!(
        told,
        ["access-a", "new-access", "new-refresh", "refresh-a"],
        "nobody else knows the new ones"
    );
}

async fn what_a_dead_process_left_is_done(store: Store) {
    let fixture = Fixture::new(&store).await;
    fixture.import("a").await;
    // It died after the first step.
    fixture
        .connections
        .delete(&fixture.environment, "testing", "a")
        .await
        .unwrap();
    assert!(fixture.has_secrets().await);
    fixture.tick().await;
    assert!(!fixture.has_secrets().await);
    assert_eq!(fixture.upstream.told(), ["refresh-a", "access-a"]);

    // It died while it told the provider: somebody else does when its time is up.
    fixture.import("b").await;
    fixture.delete("b").await;
    let now_ms = fixture.clock.now_ms();
    let claimed = store.claim_revocations(now_ms, now_ms + 300_000, 10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    fixture.tick().await;
    assert_eq!(fixture.upstream.told(), [""; 0]);
    fixture.manual.advance_ms(5 * MINUTE_MS);
    fixture.tick().await;
    assert_eq!(fixture.upstream.told(), ["refresh-b", "access-b"]);
}

async fn an_integration_takes_its_connections_along(store: Store) {
    let fixture = Fixture::new(&store).await;
    for id in ["a", "b", "c"] {
        fixture.import(id).await;
    }
    let deletion = &fixture.deletion;
    deletion
        .delete_integration(&fixture.environment, "testing")
        .await
        .unwrap();
    let again = deletion.delete_integration(&fixture.environment, "testing").await;
    assert!(matches!(again, Err(ConnectionsError::UnknownIntegration { .. })));
    assert!(!fixture.has_secrets().await);
    assert!(
        fixture
            .connections
            .integrations(&fixture.environment)
            .await
            .unwrap()
            .is_empty()
    );
    fixture.create().await;
    assert!(!fixture.is_there("a").await, "the new one has no connections");
    fixture.import("a").await;
    fixture.tick().await;
    let mut told = fixture.upstream.told();
    told.sort();
    assert_eq!(
        told,
        [
            "access-a",
            "access-b",
            "access-c",
            "refresh-a",
            "refresh-b",
            "refresh-c"
        ]
    );
    let purged = deletion
        .purge(&fixture.environment, PurgeQuery::default())
        .await
        .unwrap();
    assert_eq!((purged.connections, purged.integrations, purged.more), (3, 1, false));
    assert!(fixture.is_there("a").await);
}

async fn what_is_old_is_purged(store: Store) {
    let fixture = Fixture::new(&store).await;
    fixture.import("a").await;
    fixture.import("b").await;
    fixture.delete("a").await;
    let anything = crate::store::PurgeScope {
        deleted_until_ms: i64::MAX / 2,
        ..Default::default()
    };
    fixture.manual.advance_ms(31 * DAY_MS - 1);
    fixture.tick().await;
    assert!(store.next_to_purge(&anything).await.unwrap().is_some());
    fixture.manual.advance_ms(1);
    fixture.tick().await;
    assert!(store.next_to_purge(&anything).await.unwrap().is_none());
    assert!(fixture.is_there("b").await);
}

async fn an_operator_purges_what_he_names(store: Store) {
    let fixture = Fixture::new(&store).await;
    for id in ["a", "b", "c"] {
        fixture.import(id).await;
        fixture.delete(id).await;
    }
    fixture.import("a").await;
    fixture.tick().await;
    assert_eq!(fixture.operations().await.len(), 6);
    let query = PurgeQuery {
        provider_config_key: Some("testing".to_owned()),
        connection_id: Some("a".to_owned()),
    };
    let deletion = &fixture.deletion;
    let purged = deletion.purge(&fixture.environment, query.clone()).await.unwrap();
    assert_eq!((purged.connections, purged.more), (1, false));
    assert!(fixture.is_there("a").await, "the living one of that name");
    let purged = deletion.purge(&fixture.environment, query).await.unwrap();
    assert_eq!(purged, Purged::default());
    let other = PurgeQuery {
        provider_config_key: Some("other".to_owned()),
        ..Default::default()
    };
    assert_eq!(
        deletion.purge(&fixture.environment, other).await.unwrap().connections,
        0
    );
    let elsewhere = EnvironmentId::from("env_2");
    assert_eq!(
        deletion
            .purge(&elsewhere, PurgeQuery::default())
            .await
            .unwrap()
            .connections,
        0
    );
    let rest = deletion
        .purge(&fixture.environment, PurgeQuery::default())
        .await
        .unwrap();
    assert_eq!((rest.connections, rest.integrations), (2, 0));
}

/// SQLite keeps what was removed until its place is needed, and its log keeps it too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_sealed_is_left_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("test.db").display());
    let store = Store::open(&url).await.unwrap();
    let fixture = Fixture::new(&store).await;
    let key = fixture.import("a").await;
    let row = store.connection_by_key(&key).await.unwrap().unwrap();
    let holds = |bytes: &[u8]| {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let mut contents = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        contents.any(|content| content.windows(bytes.len()).any(|window| window == bytes))
    };
    assert!(holds(&row.credentials.0), "the test sees what is there");
    fixture.delete("a").await;
    let now_ms = fixture.clock.now_ms();
    let waiting = store.claim_revocations(now_ms, now_ms, 1).await.unwrap().remove(0);
    assert!(holds(&waiting.requests.0));
    fixture.tick().await;
    assert_eq!(fixture.upstream.told(), ["refresh-a", "access-a"]);
    assert!(!holds(&row.credentials.0) && !holds(&row.connection_config.0));
    assert!(!holds(&waiting.requests.0));
    store.close().await;
}
