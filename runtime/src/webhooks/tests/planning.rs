//! Whom an announcement goes to, and which are made at all.

use std::collections::BTreeMap;

use serde_json::json;

use super::{NOW_MS, webhooks};
use crate::clock::{Clock, Entropy};
use crate::credentials::Secret;
use crate::encryption::Keyring;
use crate::logs::{LogOptions, Logs};
use crate::model::{Connection, Counts, RunError, Webhook, WebhookSettingsPatch, WebhookSlot};
use crate::store::Store;
use crate::store::tests::{Fixture, on_sqlite};
use crate::webhooks::{AuthOperation, Failure, SyncEnd, SyncType, Webhooks, WebhooksError};

fn planner(store: &Store) -> Webhooks {
    let (clock, _) = Clock::manual(NOW_MS);
    let entropy = Entropy::seeded(7);
    let keyring = Keyring::new(Secret::new([7; 32]), entropy.clone());
    let logs = Logs::start(store.clone(), Clock::system(), &LogOptions::default());
    webhooks(store, &keyring, &logs, &clock, &entropy)
}

fn places(rows: &[Webhook]) -> Vec<(WebhookSlot, &str)> {
    rows.iter().map(|row| (row.slot, row.url.as_str())).collect()
}

#[tokio::test]
async fn a_connections_own_address_is_in_the_place_of_the_environments() {
    on_sqlite(own_address).await;
}

async fn own_address(store: Store) {
    let fixture = Fixture::new(&store).await;
    let webhooks = planner(&store);
    let environment = &fixture.environment.id;
    let connection = fixture.connection("c");
    let own = Connection {
        webhook_url_override: Some("https://own.test/".to_owned()),
        ..connection.clone()
    };
    let made = async |connection: &Connection| {
        let plan = webhooks.plan(environment).await.unwrap();
        plan.connection_made(connection, "OAUTH2", AuthOperation::Creation)
    };
    assert!(made(&connection).await.is_empty(), "nobody is to be told");
    assert_eq!(
        places(&made(&own).await),
        [(WebhookSlot::Override, "https://own.test/")]
    );

    let set = async |primary: &str, secondary: &str| {
        let patch = WebhookSettingsPatch {
            primary_url: Some(Some(primary.to_owned())),
            secondary_url: Some(Some(secondary.to_owned())),
            ..WebhookSettingsPatch::default()
        };
        webhooks.change_settings(environment, &patch).await
    };
    let _ = set("https://a.test/", "https://b.test/").await.unwrap();
    let both = made(&connection).await;
    let expected = [
        (WebhookSlot::Primary, "https://a.test/"),
        (WebhookSlot::Secondary, "https://b.test/"),
    ];
    assert_eq!(places(&both), expected);
    assert_eq!(both[0].event_id, both[1].event_id);
    assert_ne!(both[0].id, both[1].id);
    assert_eq!(
        places(&made(&own).await),
        [(WebhookSlot::Override, "https://own.test/")]
    );
    let _ = set("https://a.test/", "https://a.test/").await.unwrap();
    assert_eq!(places(&made(&connection).await), expected[..1], "told once");

    for bad in ["ftp://a.test/", "a.test", "https://me:secret@a.test/", ""] {
        let refused = set(bad, "https://b.test/").await.unwrap_err();
        let is_named = matches!(
            refused,
            WebhooksError::Invalid {
                field: "primary_url",
                ..
            }
        );
        assert!(is_named && !refused.to_string().contains("secret"), "{refused}");
    }
    let long = format!("https://a.test/{}", "a".repeat(2_048));
    let _ = set("https://a.test/", &long).await.unwrap_err();
    let unknown = webhooks.plan(&"env_gone".into()).await.unwrap();
    assert!(
        unknown
            .connection_made(&own, "OAUTH2", AuthOperation::Creation)
            .is_empty()
    );
}

#[tokio::test]
async fn switches_are_obeyed() {
    on_sqlite(switches).await;
}

async fn switches(store: Store) {
    let fixture = Fixture::new(&store).await;
    let webhooks = planner(&store);
    let connection = fixture.connection("c");
    let counts = BTreeMap::from([("Item".to_owned(), Counts::default())]);
    let error = RunError {
        code: "script_internal_error".to_owned(),
        message: "no luck".to_owned(),
        payload: None,
        upstream: None,
    };
    let end = |error| SyncEnd {
        connection: &connection,
        sync: "items",
        variant: "base",
        sync_type: SyncType::Initial,
        models: vec!["Item"],
        counts: &counts,
        resumed: false,
        checkpoints: None,
        started_at_ms: NOW_MS,
        ended_at_ms: NOW_MS,
        error,
    };
    let failure = Failure {
        kind: "refresh_token_external_error".to_owned(),
        description: "no".to_owned(),
    };
    let made = async |patch: WebhookSettingsPatch| {
        let patch = WebhookSettingsPatch {
            primary_url: Some(Some("https://a.test/".to_owned())),
            ..patch
        };
        webhooks.change_settings(&fixture.environment.id, &patch).await.unwrap();
        let plan = webhooks.plan(&fixture.environment.id).await.unwrap();
        [
            plan.connection_made(&connection, "OAUTH2", AuthOperation::Creation)
                .len(),
            plan.credentials_failed(&connection, "OAUTH2", &failure).len(),
            plan.sync_ended(&end(None)).len(),
            plan.sync_ended(&end(Some(&error))).len(),
            plan.async_action_ended(&connection, "act_1").len(),
            plan.forwarded("github", None, &json!({"zen": 1}), Vec::new()).len(),
        ]
    };
    assert_eq!(
        made(WebhookSettingsPatch::default()).await,
        [1, 1, 0, 1, 1, 1],
        "the defaults"
    );
    let others = WebhookSettingsPatch {
        on_auth_creation: Some(false),
        on_auth_refresh_error: Some(false),
        on_sync_completion_always: Some(true),
        on_sync_error: Some(false),
        on_async_action_completion: Some(false),
        ..WebhookSettingsPatch::default()
    };
    assert_eq!(made(others).await, [0, 0, 1, 0, 0, 1]);
}

#[tokio::test]
async fn a_providers_webhook_is_passed_on_bare_when_it_is_nobodys() {
    on_sqlite(bare).await;
}

async fn bare(store: Store) {
    let fixture = Fixture::new(&store).await;
    let webhooks = planner(&store);
    let patch = WebhookSettingsPatch {
        primary_url: Some(Some("https://a.test/".to_owned())),
        ..WebhookSettingsPatch::default()
    };
    webhooks.change_settings(&fixture.environment.id, &patch).await.unwrap();
    let plan = webhooks.plan(&fixture.environment.id).await.unwrap();
    let headers = vec![("x-hub-signature-256".to_owned(), "sha256=00".to_owned())];
    let payload = json!({"z": 1, "a": 2});
    let rows = plan.forwarded("github", None, &payload, headers.clone());
    let content = webhooks.0.open_content(&rows[0]).unwrap();
    assert_eq!(
        (content.body.as_str(), &content.headers),
        (r#"{"a":2,"z":1}"#, &headers)
    );
    let sealed = String::from_utf8_lossy(&rows[0].content.0).into_owned();
    assert!(!sealed.contains("sha256=00"), "what a provider sends is sealed");
}
