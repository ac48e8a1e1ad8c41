//! The outbox: what is claimed when and by whom, what becomes of addresses that fail, and what is written together.

use std::collections::HashMap;

use super::{Fixture, NOW_MS, for_each_db};
use crate::model::{
    Made, RefreshFailure, Sealed, Webhook, WebhookKind, WebhookSettingsPatch, WebhookSlot, WebhookState,
};
use crate::store::{
    ClaimedWebhook, Consequences, RefreshWrite, Retry, Store, TargetNote, WebhookAttempt, WebhookClaim, WebhookQuery,
    WebhookResend,
};

const LEASE_MS: i64 = 60_000;
const FAILURES_MAX: i64 = 3;
const URL: &str = "https://app.test/hook";

for_each_db!(
    an_announcement_is_written_with_what_it_announces,
    each_is_claimed_once,
    a_line_is_kept_until_it_is_held_up_for_too_long,
    an_address_that_fails_is_left_alone_and_then_tried_with_one,
    an_address_that_asks_for_time_gets_it,
    a_slow_address_leaves_room_for_others,
    dead_letters_are_listed_and_sent_again,
    what_is_kept_is_bounded,
    settings_move_what_waits,
    keys_are_replaced_by_compare_and_set,
);

pub(super) fn webhook(id: &str, line: &str, url: &str) -> Webhook {
    Webhook {
        id: id.into(),
        event_id: "evt_1".into(),
        environment_id: "env_1".into(),
        kind: WebhookKind::Sync,
        slot: WebhookSlot::Primary,
        url: url.to_owned(),
        line: line.to_owned(),
        provider_config_key: Some("github".to_owned()),
        connection_id: Some(line.to_owned()),
        content: Sealed(vec![1, 2, 3]),
        operation_id: "op_1".into(),
        state: WebhookState::Pending,
        created_at_ms: NOW_MS,
        queued_at_ms: NOW_MS,
        attempts: 0,
        due_at_ms: NOW_MS,
        attempted_at_ms: None,
        problem: None,
        ended_at_ms: None,
    }
}

pub(super) fn claim(now_ms: i64) -> WebhookClaim {
    WebhookClaim {
        now_ms,
        lease_until_ms: now_ms + LEASE_MS,
        limit: 64,
        url_limit: 8,
        under_way: HashMap::new(),
        failures_max: FAILURES_MAX,
        holding_attempts: 2,
    }
}

async fn claimed(store: &Store, now_ms: i64) -> Vec<ClaimedWebhook> {
    store.claim_webhooks(&claim(now_ms)).await.unwrap()
}

fn ids(claimed: &[ClaimedWebhook]) -> Vec<&str> {
    claimed.iter().map(|claimed| claimed.webhook.id.as_str()).collect()
}

fn attempt(now_ms: i64, state: WebhookState, due_at_ms: i64, target: TargetNote) -> WebhookAttempt {
    WebhookAttempt {
        attempted_at_ms: now_ms,
        state,
        due_at_ms,
        problem: (state != WebhookState::Delivered).then(|| "it answered 503".to_owned()),
        target,
    }
}

fn delivered(now_ms: i64) -> WebhookAttempt {
    attempt(now_ms, WebhookState::Delivered, now_ms, TargetNote::Well)
}

/// Tried again after a second; from three failures in a row on the address is closed for a minute.
fn failed(now_ms: i64) -> WebhookAttempt {
    let target = TargetNote::Failed {
        failures_max: FAILURES_MAX,
        closed_until_ms: now_ms + 60_000,
    };
    attempt(now_ms, WebhookState::Pending, now_ms + 1_000, target)
}

fn list(state: Option<WebhookState>) -> WebhookQuery {
    WebhookQuery {
        state,
        connection_id: None,
        before: None,
        limit: 100,
    }
}

async fn listed(fixture: &Fixture, state: WebhookState) -> Vec<String> {
    let found = fixture
        .store
        .webhooks(&fixture.environment.id, &list(Some(state)))
        .await;
    found.unwrap().iter().map(|webhook| webhook.id.to_string()).collect()
}

async fn an_announcement_is_written_with_what_it_announces(store: Store) {
    let fixture = Fixture::new(&store).await;
    let connection = fixture.connection("c");
    let announced = || Consequences {
        webhooks: vec![webhook("whk_1", "c", URL)],
        actions: Vec::new(),
    };
    let (stored, made) = store
        .upsert_and_announce(&connection, None, None, |stored, _| {
            assert_eq!(stored.refresh.generation.epoch, 0);
            announced()
        })
        .await
        .unwrap();
    assert_eq!(made, Made::Creation);
    let all = store.webhooks(&fixture.environment.id, &list(None)).await.unwrap();
    assert_eq!(all, [webhook("whk_1", "c", URL)]);

    // What cannot be announced does not happen: the id is taken.
    let again = store.upsert_and_announce(&connection, None, None, |_, _| announced());
    again.await.unwrap_err();
    let unchanged = store.connection_by_key(&stored.key).await.unwrap().unwrap();
    assert_eq!(unchanged.refresh.generation.epoch, 0);

    // What did not happen is not announced.
    let write = RefreshWrite {
        key: stored.key.clone(),
        epoch: 7,
        fence: 1,
    };
    let failure = RefreshFailure {
        failed_at_ms: NOW_MS,
        failing_days: 1,
        operation_id: "op_2".into(),
    };
    let webhooks = [webhook("whk_2", "c", URL)];
    assert!(!store.write_refresh_failure(&write, &failure, &webhooks).await.unwrap());
    assert!(
        !store
            .write_verification(&stored.key, 7, Some(&failure), &webhooks)
            .await
            .unwrap()
    );
    let sync = fixture.insert_sync(&stored.key, "issues").await;
    let run = fixture.sync_run(&sync, 1);
    assert!(store.enqueue_sync_run(&run).await.unwrap());
    let taken = store.claim_sync_runs(NOW_MS, NOW_MS + LEASE_MS, 1).await.unwrap();
    assert!(
        !store
            .finish_sync_run(&run, taken[0].fence + 1, Retry::Succeeded, &webhooks)
            .await
            .unwrap()
    );
    assert_eq!(
        store
            .webhooks(&fixture.environment.id, &list(None))
            .await
            .unwrap()
            .len(),
        1
    );

    let right = RefreshWrite { epoch: 0, ..write };
    assert!(store.write_refresh_failure(&right, &failure, &webhooks).await.unwrap());
    let webhooks = [webhook("whk_3", "c", URL)];
    assert!(
        store
            .write_verification(&stored.key, 0, Some(&failure), &webhooks)
            .await
            .unwrap()
    );
    let webhooks = [webhook("whk_4", "c", URL), webhook("whk_5", "c", URL)];
    assert!(
        store
            .finish_sync_run(&run, taken[0].fence, Retry::Succeeded, &webhooks)
            .await
            .unwrap()
    );
    assert_eq!(
        store
            .webhooks(&fixture.environment.id, &list(None))
            .await
            .unwrap()
            .len(),
        5
    );
}

async fn each_is_claimed_once(store: Store) {
    let fixture = Fixture::new(&store).await;
    for number in 0..20 {
        let webhook = webhook(
            &format!("whk_{number:02}"),
            &format!("con_{number}"),
            &format!("{URL}/{number}"),
        );
        store.insert_webhooks(&[webhook]).await.unwrap();
    }
    let (claim_1, claim_2) = (claim(NOW_MS), claim(NOW_MS));
    let (first, second) = tokio::join!(store.claim_webhooks(&claim_1), store.claim_webhooks(&claim_2));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.len() + second.len(), 20, "each by one of the two");
    assert!(claimed(&store, NOW_MS + LEASE_MS - 1).await.is_empty());

    let of_first = first.first().or(second.first()).unwrap().clone();
    let later = NOW_MS + LEASE_MS;
    let anew = claimed(&store, later).await;
    assert_eq!(anew.len(), 20, "leases have an end");
    assert!(
        !store.end_webhook_attempt(&of_first, &delivered(later)).await.unwrap(),
        "the fence is stale"
    );
    for claimed in &anew {
        assert!(store.end_webhook_attempt(claimed, &delivered(later)).await.unwrap());
    }
    assert!(claimed(&store, later + LEASE_MS).await.is_empty());
    assert_eq!(listed(&fixture, WebhookState::Delivered).await.len(), 20);
}

async fn a_line_is_kept_until_it_is_held_up_for_too_long(store: Store) {
    Fixture::new(&store).await;
    let rows = [
        webhook("whk_1", "con_1", URL),
        webhook("whk_2", "con_1", URL),
        webhook("whk_3", "con_1", "https://other.test/"),
        webhook("whk_4", "con_2", URL),
    ];
    store.insert_webhooks(&rows).await.unwrap();
    let first = claimed(&store, NOW_MS).await;
    assert_eq!(ids(&first), ["whk_1", "whk_3", "whk_4"], "the second of the line waits");
    let again = TargetNote::Unknown;
    let once = attempt(NOW_MS, WebhookState::Pending, NOW_MS + 1_000, again);
    assert!(store.end_webhook_attempt(&first[0], &once).await.unwrap());
    assert!(
        claimed(&store, NOW_MS).await.is_empty(),
        "and goes on waiting for the retry"
    );
    let retried = claimed(&store, NOW_MS + 1_000).await;
    assert_eq!(ids(&retried), ["whk_1"]);
    let twice = attempt(NOW_MS, WebhookState::Pending, NOW_MS + 9_000, again);
    assert!(store.end_webhook_attempt(&retried[0], &twice).await.unwrap());
    assert_eq!(
        ids(&claimed(&store, NOW_MS + 1_000).await),
        ["whk_2"],
        "but not for ever"
    );
}

async fn an_address_that_fails_is_left_alone_and_then_tried_with_one(store: Store) {
    Fixture::new(&store).await;
    for number in 1..=6 {
        let webhook = webhook(&format!("whk_{number}"), &format!("con_{number}"), URL);
        store.insert_webhooks(&[webhook]).await.unwrap();
    }
    let other = webhook("whk_9", "con_9", "https://other.test/");
    store.insert_webhooks(&[other]).await.unwrap();
    let few = WebhookClaim {
        limit: 3,
        ..claim(NOW_MS)
    };
    for claimed in store.claim_webhooks(&few).await.unwrap() {
        assert!(store.end_webhook_attempt(&claimed, &failed(NOW_MS)).await.unwrap());
    }
    let now_ms = NOW_MS + 2_000;
    let other = claimed(&store, now_ms).await;
    assert_eq!(ids(&other), ["whk_9"], "the others are not held up");
    assert!(store.end_webhook_attempt(&other[0], &delivered(now_ms)).await.unwrap());
    let now_ms = NOW_MS + 60_000;
    let (claim_1, claim_2) = (claim(now_ms), claim(now_ms));
    let (first, second) = tokio::join!(store.claim_webhooks(&claim_1), store.claim_webhooks(&claim_2));
    let probes: Vec<_> = first.unwrap().into_iter().chain(second.unwrap()).collect();
    assert_eq!(probes.len(), 1, "one of all processes tries it with one webhook");
    assert!(store.end_webhook_attempt(&probes[0], &failed(now_ms)).await.unwrap());
    assert!(claimed(&store, now_ms + 59_999).await.is_empty(), "closed again");
    let now_ms = now_ms + 60_000;
    let probe = claimed(&store, now_ms).await;
    assert_eq!(probe.len(), 1);
    assert!(store.end_webhook_attempt(&probe[0], &delivered(now_ms)).await.unwrap());
    assert_eq!(claimed(&store, now_ms).await.len(), 5, "it is well");
}

async fn an_address_that_asks_for_time_gets_it(store: Store) {
    Fixture::new(&store).await;
    let rows = [webhook("whk_1", "con_1", URL), webhook("whk_2", "con_2", URL)];
    store.insert_webhooks(&rows[..1]).await.unwrap();
    let first = claimed(&store, NOW_MS).await;
    store.insert_webhooks(&rows[1..]).await.unwrap();
    let busy = TargetNote::Busy {
        until_ms: NOW_MS + 30_000,
    };
    let limited = attempt(NOW_MS, WebhookState::Pending, NOW_MS + 30_000, busy);
    assert!(store.end_webhook_attempt(&first[0], &limited).await.unwrap());
    assert!(claimed(&store, NOW_MS + 29_999).await.is_empty());
    assert_eq!(
        claimed(&store, NOW_MS + 30_000).await.len(),
        2,
        "all at once then: it did not fail"
    );
}

async fn a_slow_address_leaves_room_for_others(store: Store) {
    Fixture::new(&store).await;
    for number in 0..5 {
        let webhook = webhook(&format!("whk_{number}"), &format!("con_{number}"), URL);
        store.insert_webhooks(&[webhook]).await.unwrap();
    }
    let other = webhook("whk_9", "con_9", "https://other.test/");
    store.insert_webhooks(&[other]).await.unwrap();
    let two_of_each = WebhookClaim {
        url_limit: 2,
        ..claim(NOW_MS)
    };
    let first = store.claim_webhooks(&two_of_each).await.unwrap();
    assert_eq!(ids(&first), ["whk_0", "whk_1", "whk_9"]);
    let full = WebhookClaim {
        under_way: HashMap::from([(URL.to_owned(), 2)]),
        ..two_of_each.clone()
    };
    assert!(store.claim_webhooks(&full).await.unwrap().is_empty());
    let one_free = WebhookClaim {
        under_way: HashMap::from([(URL.to_owned(), 1)]),
        ..two_of_each
    };
    assert_eq!(ids(&store.claim_webhooks(&one_free).await.unwrap()), ["whk_2"]);
}

async fn dead_letters_are_listed_and_sent_again(store: Store) {
    let fixture = Fixture::new(&store).await;
    let environment = &fixture.environment.id;
    for number in 1..=4 {
        let webhook = webhook(
            &format!("whk_{number}"),
            &format!("con_{number}"),
            &format!("{URL}/{number}"),
        );
        store.insert_webhooks(&[webhook]).await.unwrap();
    }
    for claimed in claimed(&store, NOW_MS).await.iter().take(3) {
        let dead = attempt(NOW_MS, WebhookState::Dead, NOW_MS, failed(NOW_MS).target);
        assert!(store.end_webhook_attempt(claimed, &dead).await.unwrap());
    }
    assert_eq!(listed(&fixture, WebhookState::Dead).await, ["whk_3", "whk_2", "whk_1"]);
    let after = WebhookQuery {
        before: Some("whk_3".into()),
        limit: 1,
        ..list(Some(WebhookState::Dead))
    };
    assert_eq!(store.webhooks(environment, &after).await.unwrap()[0].id, "whk_2".into());
    let of_one = WebhookQuery {
        connection_id: Some("con_1".to_owned()),
        ..list(None)
    };
    assert_eq!(store.webhooks(environment, &of_one).await.unwrap().len(), 1);
    let dead = store.webhook(environment, &"whk_1".into()).await.unwrap().unwrap();
    assert_eq!((dead.attempts, dead.problem.as_deref()), (1, Some("it answered 503")));
    assert!(store.webhook(&"env_2".into(), &"whk_1".into()).await.unwrap().is_none());

    let later = NOW_MS + 5_000;
    let resend = async |id: &str| store.resend_webhook(environment, &id.into(), later).await.unwrap();
    assert_eq!(resend("whk_1").await, WebhookResend::Queued);
    assert_eq!(resend("whk_4").await, WebhookResend::UnderWay);
    assert_eq!(resend("whk_5").await, WebhookResend::Unknown);
    let anew = claimed(&store, later).await;
    assert_eq!(ids(&anew), ["whk_1"]);
    let webhook = &anew[0].webhook;
    assert_eq!(
        (webhook.attempts, webhook.queued_at_ms, webhook.created_at_ms),
        (0, later, NOW_MS)
    );
    assert_eq!(webhook.content, Sealed(vec![1, 2, 3]), "the same as before");

    assert_eq!(store.resend_dead_webhooks(environment, later).await.unwrap(), 2);
    assert_eq!(ids(&claimed(&store, later).await), ["whk_2", "whk_3"]);
    assert_eq!(store.resend_dead_webhooks(environment, later).await.unwrap(), 0);
}

async fn what_is_kept_is_bounded(store: Store) {
    let fixture = Fixture::new(&store).await;
    let environment = &fixture.environment.id;
    for number in 1..=6 {
        let webhook = webhook(&format!("whk_{number}"), &format!("con_{number}"), URL);
        store.insert_webhooks(&[webhook]).await.unwrap();
    }
    let bound = async |waiting_max, dead_max| {
        let bounded = store.bound_webhooks(environment, waiting_max, dead_max, NOW_MS + 1, 100);
        bounded.await.unwrap()
    };
    assert_eq!(bound(6, 6).await, 0);
    assert_eq!(bound(4, 6).await, 2);
    assert_eq!(
        listed(&fixture, WebhookState::Dead).await,
        ["whk_2", "whk_1"],
        "the oldest are given up"
    );
    assert_eq!(bound(4, 1).await, 1);
    assert_eq!(listed(&fixture, WebhookState::Dead).await, ["whk_2"]);

    let give_up = async |before_ms| store.give_up_webhooks_before(before_ms, NOW_MS + 2, 100).await.unwrap();
    assert_eq!(
        give_up(NOW_MS + 1).await,
        0,
        "no server ran, or the clock was set: the address did not fail"
    );
    sqlx::query("INSERT INTO webhook_targets (target, failures, closed_until_ms, changed_at_ms) SELECT DISTINCT target, 1, 0, 0 FROM webhooks")
        .execute(&store.writer)
        .await
        .unwrap();
    assert_eq!(give_up(NOW_MS).await, 0);
    assert_eq!(
        store.give_up_webhooks_before(NOW_MS + 1, NOW_MS + 2, 3).await.unwrap(),
        3
    );
    let delete = async |before_ms| {
        let deleted = store.delete_webhooks_before(WebhookState::Dead, before_ms, 100);
        deleted.await.unwrap()
    };
    assert_eq!((delete(NOW_MS + 2).await, delete(NOW_MS + 3).await), (1, 3));
    let pending = store.delete_webhooks_before(WebhookState::Pending, i64::MAX, 100).await;
    assert_eq!(pending.unwrap(), 0, "what waits is never deleted");
    assert_eq!(listed(&fixture, WebhookState::Pending).await.len(), 1);
}

async fn settings_move_what_waits(store: Store) {
    let fixture = Fixture::new(&store).await;
    let environment = &fixture.environment.id;
    let patch = |url: Option<&str>| WebhookSettingsPatch {
        primary_url: Some(url.map(str::to_owned)),
        on_sync_error: Some(false),
        ..WebhookSettingsPatch::default()
    };
    let (_, none) = store.webhook_settings(environment).await.unwrap().unwrap();
    assert_eq!(none, None);
    assert!(
        !store
            .patch_webhook_settings(environment, &patch(Some(URL)), NOW_MS)
            .await
            .unwrap()
    );
    store
        .ensure_webhook_settings(environment, &Sealed(vec![7]), NOW_MS)
        .await
        .unwrap();
    store
        .ensure_webhook_settings(environment, &Sealed(vec![8]), NOW_MS)
        .await
        .unwrap();
    assert!(
        store
            .patch_webhook_settings(environment, &patch(Some(URL)), NOW_MS)
            .await
            .unwrap()
    );
    let (_, settings) = store.webhook_settings(environment).await.unwrap().unwrap();
    let settings = settings.unwrap();
    assert_eq!(
        (settings.primary_url.as_deref(), &settings.signing_keys),
        (Some(URL), &Sealed(vec![7]))
    );
    assert!(!settings.kinds.on_sync_error && settings.kinds.on_auth_creation);

    let late = Webhook {
        due_at_ms: NOW_MS + 1_000_000,
        ..webhook("whk_1", "con_1", URL)
    };
    let own = Webhook {
        slot: WebhookSlot::Override,
        ..webhook("whk_2", "con_2", URL)
    };
    store.insert_webhooks(&[late, own]).await.unwrap();
    let new_url = "https://new.test/hook";
    assert!(
        store
            .patch_webhook_settings(environment, &patch(Some(new_url)), NOW_MS)
            .await
            .unwrap()
    );
    let moved = store.webhook(environment, &"whk_1".into()).await.unwrap().unwrap();
    assert_eq!((moved.url.as_str(), moved.due_at_ms), (new_url, NOW_MS));
    let own = store.webhook(environment, &"whk_2".into()).await.unwrap().unwrap();
    assert_eq!(own.url, URL, "a connection's own address is not the environment's");

    assert!(
        store
            .patch_webhook_settings(environment, &patch(None), NOW_MS)
            .await
            .unwrap()
    );
    assert_eq!(listed(&fixture, WebhookState::Dead).await, ["whk_1"]);
    assert_eq!(listed(&fixture, WebhookState::Pending).await, ["whk_2"]);
}

async fn keys_are_replaced_by_compare_and_set(store: Store) {
    let fixture = Fixture::new(&store).await;
    let environment = &fixture.environment.id;
    store
        .ensure_webhook_settings(environment, &Sealed(vec![7]), NOW_MS)
        .await
        .unwrap();
    let replace = async |old: u8, new: u8| {
        let (old, new) = (Sealed(vec![old]), Sealed(vec![new]));
        store
            .replace_signing_keys(environment, &old, &new, NOW_MS)
            .await
            .unwrap()
    };
    assert!(replace(7, 8).await);
    assert!(!replace(7, 9).await);
    let (_, settings) = store.webhook_settings(environment).await.unwrap().unwrap();
    assert_eq!(settings.unwrap().signing_keys, Sealed(vec![8]));
}
