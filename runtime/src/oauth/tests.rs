//! Refreshes of real connections in a real database, on one node and on two.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::connections::{NewConnection, NewIntegration};
use crate::credentials::{Credentials, Secret};
use crate::encryption::Keyring;
use crate::model::{Environment, JsonObject, OperationKind, OperationState};
use crate::provider::{Catalogue, Provider};
use crate::store::OperationQuery;
use crate::store::tests::for_each_db;
use crate::webhooks::tests::webhooks;
use testing::TokenEndpoint;

const NOW_MS: i64 = 1_800_000_000_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

for_each_db! {
    two_nodes_refresh_once,
    the_lease_of_a_dead_node_ends,
    failures_back_off_and_exhaust_and_a_success_forgets_them,
    a_token_that_still_works_is_used_when_it_cannot_be_refreshed,
    nobody_waits_long_for_what_he_does_not_need_yet,
    who_goes_away_takes_nothing_from_those_who_wait,
    a_refusal_refreshes_once_and_not_what_is_new,
    ticks_refresh_what_nobody_uses,
    an_import_during_a_refresh_stays,
    token_endpoints_may_neither_redirect_nor_lie_in_private_networks,
}

/// A process on the database.
struct Node {
    oauth: OAuth,
    connections: Connections,
    environment: EnvironmentId,
    store: Store,
    logs: Logs,
}

async fn node(store: &Store, endpoint: &TokenEndpoint, clock: &Clock, seed: u64) -> Node {
    let mut catalogue = Catalogue::shipped().unwrap();
    let mut provider = Provider::clone(catalogue.get("github").unwrap());
    provider.name = "testing".to_owned();
    provider.json = json!({"auth_mode": "OAUTH2", "token_url": endpoint.url()});
    catalogue.providers.insert("testing".to_owned(), Arc::new(provider));
    let entropy = Entropy::seeded(seed);
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
        webhooks: webhooks(store, &keyring, &logs, clock, &entropy),
        logs: logs.clone(),
        clock: clock.clone(),
        entropy,
        egress_allow: vec!["127.0.0.0/8".parse().unwrap()],
    })
    .unwrap();
    Node {
        oauth,
        connections,
        environment: "env_1".into(),
        store: store.clone(),
        logs,
    }
}

impl Node {
    /// With an environment and an integration, for the first node of a database.
    async fn prepared(store: &Store, endpoint: &TokenEndpoint, clock: &Clock) -> Self {
        let environment = Environment {
            id: "env_1".into(),
            name: "dev".to_owned(),
            created_at_ms: NOW_MS,
        };
        store.insert_environment(&environment).await.unwrap();
        let node = node(store, endpoint, clock, 1).await;
        let app = json!({"type": "OAUTH2", "client_id": "c", "client_secret": "s3cret"});
        let new = NewIntegration {
            unique_key: "testing".to_owned(),
            provider: "testing".to_owned(),
            display_name: None,
            credentials: Some(app),
            custom: JsonObject::new(),
            forward_webhooks: true,
        };
        node.connections.create_integration(&environment.id, new).await.unwrap();
        node
    }

    async fn import(&self, connection_id: &str, refresh_token: Option<&str>, expires_at_ms: Option<i64>) {
        let credentials = json!({
            "type": "OAUTH2", "access_token": "imported", "refresh_token": refresh_token, "expires_at": expires_at_ms,
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
        self.connections.import(&self.environment, new).await.unwrap();
    }

    async fn token(&self, connection_id: &str) -> Result<String, OAuthError> {
        let target = self.oauth.target(&self.environment, "testing", connection_id).await?;
        Ok(token(&target))
    }

    async fn forced(&self, connection_id: &str) -> Result<String, OAuthError> {
        let target = self.oauth.forced(&self.environment, "testing", connection_id).await?;
        Ok(token(&target))
    }

    async fn stored(&self, connection_id: &str) -> Arc<Target> {
        let found = self.connections.target_now(&self.environment, "testing", connection_id);
        found.await.unwrap()
    }

    async fn operations(&self) -> Vec<(OperationKind, OperationState)> {
        self.logs.flush().await;
        let query = OperationQuery {
            limit: 100,
            ..OperationQuery::default()
        };
        let operations = self.store.operations(&self.environment, &query).await.unwrap();
        operations
            .iter()
            .map(|operation| (operation.kind, operation.state))
            .collect()
    }
}

fn token(target: &Target) -> String {
    target.credentials.access_token().unwrap().expose().clone()
}

fn code(outcome: Result<String, OAuthError>) -> &'static str {
    match outcome {
        Err(OAuthError::NoCredentials { reason, .. }) => reason.code(),
        other => panic!("{other:?}"),
    }
}

async fn two_nodes_refresh_once(store: Store) {
    let endpoint = TokenEndpoint::start().await;
    let clock = Clock::system();
    let one = Arc::new(Node::prepared(&store, &endpoint, &clock).await);
    let two = Arc::new(node(&store, &endpoint, &clock, 2).await);
    one.import("a", Some("refresh-0"), Some(clock.now_ms() - 1)).await;
    endpoint.delay_ms(150);
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..200 {
        let node = if number % 2 == 0 { one.clone() } else { two.clone() };
        callers.spawn(async move { node.token("a").await.unwrap() });
    }
    assert!(callers.join_all().await.iter().all(|token| token == "access-1"));
    assert_eq!(endpoint.asked(), 1);
    // And again, from a token that another node has known for a moment.
    let before = two.stored("a").await;
    assert_eq!(one.forced("a").await.unwrap(), "access-2");
    assert!(two.oauth.renew(&before).await, "there is a newer one already");
    assert_eq!(two.token("a").await.unwrap(), "access-2");
    assert_eq!(endpoint.asked(), 2);
}

async fn the_lease_of_a_dead_node_ends(store: Store) {
    let endpoint = TokenEndpoint::start().await;
    let (clock, manual) = Clock::manual(NOW_MS);
    let node = Arc::new(Node::prepared(&store, &endpoint, &clock).await);
    node.import("a", Some("refresh-0"), Some(NOW_MS - 1)).await;
    let key = node.stored("a").await.connection.key.clone();
    let dead = store
        .acquire_refresh_lease(&key, "dead", NOW_MS, NOW_MS + LEASE_MS)
        .await
        .unwrap();
    assert_eq!(dead, Some(1));
    let waiting = {
        let node = node.clone();
        tokio::spawn(async move { node.token("a").await.unwrap() })
    };
    stepping(&manual, 1_000, async {
        while clock.now_ms() < NOW_MS + LEASE_MS - 2_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(endpoint.asked(), 0, "the lease holds");
    assert_eq!(stepping(&manual, 1_000, waiting).await.unwrap(), "access-1");
    assert_eq!(node.stored("a").await.connection.refresh.generation.fence, 2);
}

async fn failures_back_off_and_exhaust_and_a_success_forgets_them(store: Store) {
    let endpoint = TokenEndpoint::start().await;
    // Noon, so that half a day stays within the day.
    let (clock, manual) = Clock::manual(NOW_MS.div_euclid(DAY_MS) * DAY_MS + DAY_MS / 2);
    let node = Node::prepared(&store, &endpoint, &clock).await;
    node.import("a", Some("refresh-0"), Some(NOW_MS - DAY_MS)).await;
    endpoint.reply(Some((
        400,
        r#"{"error":"invalid_grant","error_description":"refresh-0 is void"}"#,
    )));

    let error = node.token("a").await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("answered 400: invalid_grant (REDACTED is void)"),
        "{text}"
    );
    assert_eq!(code(Err(error)), "refresh_token_external_error");
    assert_eq!(code(node.token("a").await), "connection_refresh_backoff");
    manual.advance_ms(BACKOFF_MS - 1);
    assert_eq!(code(node.token("a").await), "connection_refresh_backoff");
    assert_eq!(endpoint.asked(), 1);
    manual.advance_ms(1);
    assert_eq!(code(node.token("a").await), "refresh_token_external_error");
    let failing_days = async || {
        node.stored("a")
            .await
            .connection
            .refresh
            .failure
            .clone()
            .unwrap()
            .failing_days
    };
    assert_eq!(failing_days().await, 1, "the same day");
    for day in 2..=FAILING_DAYS_MAX {
        manual.advance_ms(DAY_MS);
        assert_eq!(code(node.token("a").await), "refresh_token_external_error");
        assert_eq!(failing_days().await, day);
    }
    manual.advance_ms(DAY_MS);
    assert_eq!(code(node.token("a").await), "connection_refresh_exhausted");
    let asked = endpoint.asked();
    assert_eq!(node.oauth.tick(clock.now_ms()).await.unwrap(), 0);
    assert_eq!(code(node.forced("a").await), "refresh_token_external_error");
    assert_eq!(endpoint.asked(), asked + 1, "force asks all the same");

    endpoint.reply(None);
    // Operations of one millisecond are in no order.
    manual.advance_ms(1);
    assert_eq!(node.forced("a").await.unwrap(), "access-1");
    let refresh = node.stored("a").await.connection.refresh.clone();
    assert_eq!(refresh.failure, None);
    assert_eq!(refresh.refreshed_at_ms, Some(clock.now_ms()));
    assert_eq!(node.token("a").await.unwrap(), "access-1");
    let operations = node.operations().await;
    let failed = (OperationKind::RefreshToken, OperationState::Failed);
    assert_eq!(
        operations.first(),
        Some(&(OperationKind::RefreshToken, OperationState::Success))
    );
    assert!(operations.iter().skip(1).all(|operation| *operation == failed));
}

async fn a_token_that_still_works_is_used_when_it_cannot_be_refreshed(store: Store) {
    let endpoint = TokenEndpoint::start().await;
    let (clock, manual) = Clock::manual(NOW_MS);
    let node = Node::prepared(&store, &endpoint, &clock).await;
    node.import("a", Some("refresh-0"), Some(NOW_MS + 10 * MINUTE_MS)).await;
    endpoint.reply(Some((503, "no")));
    assert_eq!(node.token("a").await.unwrap(), "imported");
    assert_eq!(node.token("a").await.unwrap(), "imported");
    assert_eq!(endpoint.asked(), 1, "not again within the back-off");
    manual.advance_ms(10 * MINUTE_MS);
    assert_eq!(code(node.token("a").await), "refresh_token_external_error");
}

async fn nobody_waits_long_for_what_he_does_not_need_yet(store: Store) {
    let endpoint = TokenEndpoint::start().await;
    let (clock, manual) = Clock::manual(NOW_MS);
    let node = Node::prepared(&store, &endpoint, &clock).await;
    node.import("a", Some("refresh-0"), Some(NOW_MS + 10 * MINUTE_MS)).await;
    endpoint.delay_ms(400);
    assert_eq!(stepping(&manual, 1_000, node.token("a")).await.unwrap(), "imported");
    // The refresh went on.
    let step = stepping(&manual, 0, async {
        while node.stored("a").await.connection.refresh.refreshed_at_ms.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    step.await;
    assert_eq!(node.token("a").await.unwrap(), "access-1");
    assert_eq!(endpoint.asked(), 1);
}

async fn who_goes_away_takes_nothing_from_those_who_wait(store: Store) {
    let endpoint = TokenEndpoint::start().await;
    let clock = Clock::system();
    let node = Arc::new(Node::prepared(&store, &endpoint, &clock).await);
    node.import("a", Some("refresh-0"), Some(clock.now_ms() - 1)).await;
    endpoint.delay_ms(200);
    let call = || {
        let node = node.clone();
        tokio::spawn(async move { node.token("a").await.unwrap() })
    };
    let first = call();
    while endpoint.asked() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = call();
    first.abort();
    assert_eq!(second.await.unwrap(), "access-1");
    assert_eq!(endpoint.asked(), 1);
}

async fn a_refusal_refreshes_once_and_not_what_is_new(store: Store) {
    let endpoint = TokenEndpoint::start().await;
    let (clock, manual) = Clock::manual(NOW_MS);
    let node = Node::prepared(&store, &endpoint, &clock).await;
    node.import("a", Some("refresh-0"), None).await;
    assert_eq!(node.token("a").await.unwrap(), "imported", "no end, no refresh");
    let imported = node.stored("a").await;
    assert!(node.oauth.renew(&imported).await);
    assert!(node.oauth.renew(&imported).await, "a newer one is there");
    assert_eq!(endpoint.asked(), 1);
    let new = node.stored("a").await;
    assert!(
        !node.oauth.renew(&new).await,
        "it is new: another one would be refused as well"
    );
    manual.advance_ms(RENEWAL_INTERVAL_MS);
    assert!(node.oauth.renew(&new).await);
    assert_eq!(node.token("a").await.unwrap(), "access-2");

    node.import("b", None, None).await;
    let bare = node.stored("b").await;
    assert!(!node.oauth.renew(&bare).await, "there is nothing to refresh it with");
    assert_eq!(node.forced("b").await.unwrap(), "imported");
    assert_eq!(endpoint.asked(), 2);

    // By the clock as it is now, the credentials were obtained in ten days.
    manual.set_by_ms(-10 * DAY_MS);
    let ahead = node.stored("a").await;
    assert!(node.oauth.renew(&ahead).await);
    assert_eq!(
        (node.token("a").await.unwrap().as_str(), endpoint.asked()),
        ("access-3", 3)
    );
}

async fn ticks_refresh_what_nobody_uses(store: Store) {
    let endpoint = TokenEndpoint::start().await;
    let (clock, manual) = Clock::manual(NOW_MS);
    let node = Node::prepared(&store, &endpoint, &clock).await;
    node.import("a", Some("refresh-0"), Some(NOW_MS + 60 * MINUTE_MS)).await;
    node.import("void", Some("nonsense"), Some(NOW_MS + 60 * MINUTE_MS))
        .await;
    node.import("forever", Some("refresh-0"), None).await;
    assert_eq!(node.oauth.tick(clock.now_ms()).await.unwrap(), 0);
    manual.advance_ms(45 * MINUTE_MS);
    assert_eq!(node.oauth.tick(clock.now_ms()).await.unwrap(), 2);
    assert_eq!(token(node.stored("a").await.as_ref()), "access-1");
    assert_eq!(token(node.stored("void").await.as_ref()), "imported");
    assert_eq!(
        node.oauth.tick(clock.now_ms()).await.unwrap(),
        0,
        "what failed is left alone"
    );
    manual.advance_ms(TICK_RETRY_MS + 1);
    assert_eq!(node.oauth.tick(clock.now_ms()).await.unwrap(), 1);
    // An hour from the refresh; the fresh token is due a quarter of an hour before.
    manual.advance_ms(35 * MINUTE_MS);
    assert_eq!(node.oauth.tick(clock.now_ms()).await.unwrap(), 2);
    assert_eq!(token(node.stored("a").await.as_ref()), "access-2");
}

async fn an_import_during_a_refresh_stays(store: Store) {
    let endpoint = TokenEndpoint::start().await;
    let clock = Clock::system();
    let node = Arc::new(Node::prepared(&store, &endpoint, &clock).await);
    node.import("a", Some("refresh-0"), Some(clock.now_ms() - 1)).await;
    endpoint.delay_ms(200);
    let call = {
        let node = node.clone();
        tokio::spawn(async move { node.token("a").await.unwrap() })
    };
    while endpoint.asked() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.import("a", Some("refresh-of-another-grant"), None).await;
    assert_eq!(call.await.unwrap(), "imported");
    let stored = node.stored("a").await;
    let Credentials::OAuth2 { refresh_token, .. } = &stored.credentials else {
        panic!("{stored:?}")
    };
    assert_eq!(refresh_token.as_ref().unwrap().expose(), "refresh-of-another-grant");
}

async fn token_endpoints_may_neither_redirect_nor_lie_in_private_networks(store: Store) {
    let endpoint = TokenEndpoint::start().await;
    let (clock, _manual) = Clock::manual(NOW_MS);
    let node = Node::prepared(&store, &endpoint, &clock).await;
    node.import("a", Some("refresh-0"), Some(NOW_MS - 1)).await;
    for (status, body, part) in [
        (307, "", "redirects"),
        (200, "access_token=form", "answered no JSON object"),
        (200, "[]", "answered no JSON object"),
        (200, r#"{"ok":false,"error":"nope"}"#, "gave no token: nope"),
        (500, "oops", "answered 500"),
    ] {
        endpoint.reply(Some((status, body)));
        let error = node.forced("a").await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    endpoint.reply(Some((200, &"x".repeat(TOKEN_ANSWER_BYTES_MAX + 1))));
    let error = node.forced("a").await.unwrap_err().to_string();
    assert!(error.contains("is larger than 262144 bytes"), "{error}");

    let client = TokenClient::new(Vec::new()).unwrap();
    for url in [endpoint.url(), endpoint.url().replace("127.0.0.1", "localhost")] {
        let target = testing::target(json!({ "token_url": url }), &testing::oauth2());
        let asked = endpoint.asked();
        let refused = client.send(request::build(&target, testing::moment()).unwrap()).await;
        assert!(matches!(refused, Err(RefreshError::EgressDenied(_))), "{refused:?}");
        assert_eq!(endpoint.asked(), asked);
    }
}

/// Waits for `future`; whenever nothing happens for a moment of real time, the manual clock jumps.
async fn stepping<F: Future>(manual: &ManualClock, step_ms: i64, future: F) -> F::Output {
    tokio::pin!(future);
    loop {
        tokio::select! {
            output = &mut future => return output,
            () = tokio::time::sleep(Duration::from_millis(20)) => manual.advance_ms(step_ms),
        }
    }
}
