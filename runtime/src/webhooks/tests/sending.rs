//! Sending: attempts, addresses that fail, several processes, signatures.

use serde_json::json;

use super::receiver::{Received, Receiver};
use super::{NOW_MS, webhooks};
use crate::clock::{Clock, Entropy, ManualClock};
use crate::credentials::Secret;
use crate::encryption::Keyring;
use crate::logs::{LogOptions, Logs};
use crate::model::{Connection, EnvironmentId, Webhook, WebhookSettingsPatch, WebhookState};
use crate::store::Store;
use crate::store::tests::{Fixture, for_each_db};
use crate::webhooks::{AuthOperation, WebhookParts, Webhooks, sign};

for_each_db!(
    a_failure_is_tried_again_with_the_same_body,
    an_address_that_is_away_is_left_alone_until_it_is_back,
    what_an_address_may_not_be_asked_is_not_sent,
    several_processes_send_each_once_and_in_order,
    a_new_key_signs_from_its_time_on,
    old_ones_go,
);

struct Node {
    webhooks: Webhooks,
    environment: EnvironmentId,
    connection: Connection,
    store: Store,
    clock: ManualClock,
}

impl Node {
    async fn new(store: &Store, url: &str) -> Self {
        let fixture = Fixture::new(store).await;
        let (clock, manual) = Clock::manual(NOW_MS);
        let node = Self {
            webhooks: sender(store, &clock),
            environment: fixture.environment.id.clone(),
            connection: fixture.connection("c"),
            store: store.clone(),
            clock: manual,
        };
        let patch = WebhookSettingsPatch {
            primary_url: Some(Some(url.to_owned())),
            ..WebhookSettingsPatch::default()
        };
        node.webhooks.change_settings(&node.environment, &patch).await.unwrap();
        node
    }

    async fn announce(&self) -> Webhook {
        let plan = self.webhooks.plan(&self.environment).await.unwrap();
        let rows = plan.connection_made(&self.connection, "OAUTH2", AuthOperation::Creation);
        self.store.insert_webhooks(&rows).await.unwrap();
        rows.into_iter().next().unwrap()
    }

    /// Moves the clock, sends what is due, and waits until that has an end.
    async fn after_ms(&self, ms: i64) -> usize {
        self.clock.advance_ms(ms);
        let now_ms = self.webhooks.0.clock.now_ms();
        let count = self.webhooks.tick(now_ms).await.unwrap();
        assert!(self.webhooks.drain(30_000).await);
        count
    }

    async fn now(&self, webhook: &Webhook) -> Webhook {
        let found = self.store.webhook(&self.environment, &webhook.id).await;
        found.unwrap().unwrap()
    }
}

fn sender(store: &Store, clock: &Clock) -> Webhooks {
    let entropy = Entropy::system();
    let keyring = Keyring::new(Secret::new([7; 32]), entropy.clone());
    let logs = Logs::start(store.clone(), Clock::system(), &LogOptions::default());
    webhooks(store, &keyring, &logs, clock, &entropy)
}

async fn a_failure_is_tried_again_with_the_same_body(store: Store) {
    let receiver = Receiver::start().await;
    receiver.reply([
        "503 Unavailable",
        "429 Slow\r\nretry-after: 60",
        "307 Elsewhere\r\nlocation: /moved",
    ]);
    let node = Node::new(&store, &receiver.url()).await;
    let webhook = node.announce().await;
    assert_eq!(node.after_ms(0).await, 1);
    let failed = node.now(&webhook).await;
    assert_eq!((failed.state, failed.attempts), (WebhookState::Pending, 1));
    assert_eq!(failed.problem.as_deref(), Some("the receiver answered 503"));
    assert_eq!(node.after_ms(2_999).await, 0);
    assert_eq!(node.after_ms(400).await, 1, "after 3 s and at most a tenth more");
    assert_eq!(node.after_ms(59_000).await, 0, "as long as it asked for");
    assert_eq!(node.after_ms(2_000).await, 1);
    let delivered = node.now(&webhook).await;
    assert_eq!((delivered.state, delivered.attempts), (WebhookState::Delivered, 3));

    let received = receiver.received();
    assert_eq!(received.len(), 4, "the last one was led elsewhere and followed");
    let key = node.webhooks.signing_keys(&node.environment).await.unwrap().current;
    for one in &received {
        assert_eq!(one.body, received[0].body);
        assert_eq!(one.header("x-nango-webhook-id"), webhook.event_id.as_str());
        assert_eq!(one.header("content-type"), "application/json");
        assert_eq!(
            one.header("x-nango-hmac-sha256"),
            sign::hmac_sha256(key.expose(), &one.body)
        );
        assert_eq!(
            one.header("x-nango-signature"),
            sign::plain_sha256(key.expose(), &one.body)
        );
    }
    let body: serde_json::Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!(
        (&body["connectionId"], &body["operation"]),
        (&json!("c"), &json!("creation"))
    );

    node.webhooks.0.logs.flush().await;
    let log = format!(
        "{:?}",
        store.operations(&node.environment, &Default::default()).await.unwrap()
    );
    assert!(log.contains("was delivered to http://127.0.0.1"), "{log}");
    assert!(!log.contains("secret"), "the address's query: {log}");
}

async fn an_address_that_is_away_is_left_alone_until_it_is_back(store: Store) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let node = Node::new(&store, &url).await;
    let webhook = node.announce().await;
    for wait_ms in [0, 3_500, 7_000, 14_000, 28_000] {
        assert_eq!(node.after_ms(wait_ms).await, 1);
    }
    let failed = node.now(&webhook).await;
    assert!(failed.problem.unwrap().contains("cannot be reached"));
    let other = Connection {
        key: "con_other".into(),
        ..node.connection.clone()
    };
    let plan = node.webhooks.plan(&node.environment).await.unwrap();
    let rows = plan.connection_made(&other, "OAUTH2", AuthOperation::Creation);
    store.insert_webhooks(&rows).await.unwrap();
    assert_eq!(
        node.after_ms(0).await,
        0,
        "five failures in a row: not even another is tried"
    );

    // The customer sets the address right: what waits goes there at once.
    let receiver = Receiver::start().await;
    let patch = WebhookSettingsPatch {
        primary_url: Some(Some(receiver.url())),
        ..WebhookSettingsPatch::default()
    };
    node.webhooks.change_settings(&node.environment, &patch).await.unwrap();
    assert_eq!(node.after_ms(0).await, 2);
    assert_eq!(receiver.received().len(), 2);
}

async fn what_an_address_may_not_be_asked_is_not_sent(store: Store) {
    let receiver = Receiver::start().await;
    let port = receiver.url().split(':').nth(2).unwrap().to_owned();
    let node = Node::new(&store, &receiver.url()).await;
    let parts = &node.webhooks.0;
    let strict = Webhooks::new(WebhookParts {
        store: store.clone(),
        keyring: parts.keyring.clone(),
        logs: parts.logs.clone(),
        clock: parts.clock.clone(),
        entropy: parts.entropy.clone(),
        egress_allow: Vec::new(),
        options: super::OPTIONS,
    });
    let strict = Node {
        webhooks: strict.unwrap(),
        ..node
    };
    for url in [receiver.url(), format!("http://localhost:{port}")] {
        let patch = WebhookSettingsPatch {
            primary_url: Some(Some(url.clone())),
            ..WebhookSettingsPatch::default()
        };
        strict
            .webhooks
            .change_settings(&strict.environment, &patch)
            .await
            .unwrap();
        let webhook = strict.announce().await;
        assert_eq!(strict.after_ms(0).await, 1);
        let dead = strict.now(&webhook).await;
        assert_eq!(dead.state, WebhookState::Dead, "{url}");
        assert!(dead.problem.unwrap().contains("--egress-allow"), "{url}");
    }
    assert!(receiver.received().is_empty());
}

async fn several_processes_send_each_once_and_in_order(store: Store) {
    const LINES: usize = 12;
    const EACH: usize = 10;
    let receiver = Receiver::start().await;
    let node = Node::new(&store, &receiver.url()).await;
    let clock = Clock::system();
    let (first, second) = (sender(&store, &clock), sender(&store, &clock));
    let plan = first.plan(&node.environment).await.unwrap();
    let mut expected = Vec::new();
    for number in 0..EACH {
        for line in 0..LINES {
            let connection = Connection {
                key: format!("con_{line}").as_str().into(),
                connection_id: format!("{line}"),
                tags: [("number".to_owned(), format!("{number:02}"))].into(),
                ..node.connection.clone()
            };
            let mut rows = plan.connection_made(&connection, "OAUTH2", AuthOperation::Creation);
            // Written one after the other, which in a test is the same millisecond.
            let content = first.0.open_content(&rows[0]).unwrap();
            rows[0].id = format!("whk_{number:02}_{line:02}").as_str().into();
            rows[0].content = first.0.seal_content(&rows[0].id, &content);
            rows[0].event_id = format!("evt_{number:02}_{line:02}").as_str().into();
            expected.push(rows[0].event_id.to_string());
            store.insert_webhooks(&rows).await.unwrap();
        }
    }
    let all_are_there = async {
        while receiver.received().len() < LINES * EACH {
            tokio::task::yield_now().await;
        }
        assert!(first.drain(30_000).await && second.drain(30_000).await);
    };
    tokio::select! {
        () = first.run() => {}
        () = second.run() => {}
        () = all_are_there => {}
    }
    let received = receiver.received();
    let ids = |received: &[Received]| -> Vec<String> {
        received.iter().map(|one| one.header("x-nango-webhook-id")).collect()
    };
    let mut sorted = ids(&received);
    sorted.sort();
    assert_eq!(sorted, expected, "each once");
    for line in 0..LINES {
        let of_line: Vec<String> = ids(&received)
            .into_iter()
            .filter(|id| id.ends_with(&format!("_{line:02}")))
            .collect();
        assert!(of_line.is_sorted(), "{of_line:?}");
    }
}

async fn a_new_key_signs_from_its_time_on(store: Store) {
    let receiver = Receiver::start().await;
    let node = Node::new(&store, &receiver.url()).await;
    let webhooks = &node.webhooks;
    let old = webhooks.signing_keys(&node.environment).await.unwrap().current;
    let new = "another-key-of-mine";
    let given = Some(Secret::new(new.to_owned()));
    let keys = webhooks
        .rotate_signing_key(&node.environment, given, 3_600)
        .await
        .unwrap();
    assert_eq!(keys.current.expose(), old.expose());
    let (next, from_ms) = keys.next.unwrap();
    assert_eq!((next.expose().as_str(), from_ms), (new, NOW_MS + 3_600_000));

    for wait_ms in [0, 3_599_999, 1] {
        let _ = node.announce().await;
        assert_eq!(node.after_ms(wait_ms).await, 1);
    }
    let keys: Vec<bool> = receiver
        .received()
        .iter()
        .map(|one| one.header("x-nango-hmac-sha256") == sign::hmac_sha256(new, &one.body))
        .collect();
    assert_eq!(keys, [false, false, true]);

    let at_once = webhooks.rotate_signing_key(&node.environment, None, 0).await.unwrap();
    assert_ne!(at_once.current.expose(), new);
    assert!(at_once.next.is_none());
    for bad in ["short", "with a space in it", "not-ascii-\u{e9}-not-ascii"] {
        let refused = webhooks.rotate_signing_key(&node.environment, Some(Secret::new(bad.to_owned())), 0);
        let error = refused.await.map(drop).unwrap_err().to_string();
        assert!(error.contains("16 to 255") && !error.contains(bad), "{error}");
    }
}

async fn old_ones_go(store: Store) {
    const DAY_MS: i64 = 86_400_000;
    let receiver = Receiver::start().await;
    receiver.reply(["200 OK", "400 Bad", "503 Busy"]);
    let node = Node::new(&store, &receiver.url()).await;
    let delivered = node.announce().await;
    assert_eq!(node.after_ms(0).await, 1);
    let dead = node.announce().await;
    assert_eq!(node.after_ms(0).await, 1);
    assert_eq!(node.now(&dead).await.state, WebhookState::Dead);
    let waiting = node.announce().await;

    let tidy = async |at_ms: i64| node.webhooks.tidy(at_ms).await.unwrap();
    assert_eq!(tidy(NOW_MS + DAY_MS - 1).await, 0);
    let late_ms = NOW_MS + DAY_MS + 600_000;
    assert_eq!(tidy(late_ms).await, 1);
    assert!(store.webhook(&node.environment, &delivered.id).await.unwrap().is_none());
    assert_eq!(
        node.now(&waiting).await.state,
        WebhookState::Pending,
        "no server ran for a day"
    );
    assert_eq!(node.after_ms(0).await, 1);
    assert!(tidy(late_ms).await >= 1);
    assert_eq!(
        node.now(&waiting).await.state,
        WebhookState::Dead,
        "its address fails for a day"
    );
    assert_eq!(node.now(&dead).await.state, WebhookState::Dead);
    assert_eq!(tidy(NOW_MS + 14 * DAY_MS + 1).await, 1);
    assert!(store.webhook(&node.environment, &dead.id).await.unwrap().is_none());
}
