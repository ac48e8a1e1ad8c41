//! What is left of a clock that was ahead, on both databases.

use super::actions::action;
use super::webhooks::{claim, webhook};
use super::*;
use crate::model::Action;
use crate::store::{ActionLease, RunningActions, WaitingAction, WebhookClaim};

const HOUR_MS: i64 = 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// What the clock showed before.
const AHEAD_MS: i64 = NOW_MS + 10 * DAY_MS;
const LEASE_MS: i64 = 30_000;

for_each_db! {
    nothing_waits_for_the_time_that_was,
    what_may_wait_is_left_alone_when_nobody_saw_it,
}

fn all(waiting: &[WaitingAction], _: &[RunningActions]) -> Vec<String> {
    waiting.iter().map(|one| one.id.clone()).collect()
}

async fn claimed_actions(store: &Store, now_ms: i64) -> usize {
    store
        .claim_actions(now_ms, now_ms + LEASE_MS, 10, all)
        .await
        .unwrap()
        .len()
}

async fn claimed_webhooks(store: &Store, now_ms: i64) -> usize {
    store.claim_webhooks(&claim(now_ms)).await.unwrap().len()
}

async fn nothing_waits_for_the_time_that_was(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    // A sync under way, and one that waits for a rate limit.
    let (running, suspended) = (
        fixture.insert_sync(&key, "running").await,
        fixture.insert_sync(&key, "suspended").await,
    );
    assert!(store.enqueue_sync_run(&fixture.sync_run(&running, 1)).await.unwrap());
    let run = store
        .claim_sync_runs(AHEAD_MS, AHEAD_MS + LEASE_MS, 1)
        .await
        .unwrap()
        .remove(0);
    assert!(store.enqueue_sync_run(&fixture.sync_run(&suspended, 2)).await.unwrap());
    let waiting = store
        .claim_sync_runs(AHEAD_MS, AHEAD_MS + LEASE_MS, 1)
        .await
        .unwrap()
        .remove(0);
    assert!(
        store
            .suspend_sync_run(&waiting.run, waiting.fence, AHEAD_MS + HOUR_MS)
            .await
            .unwrap()
    );
    // An action that waits for its next attempt, and one under way.
    let waits = Action {
        due_at_ms: AHEAD_MS + 1_000,
        ..action(&fixture, 1)
    };
    store.insert_action(&waits, None, 10).await.unwrap();
    let under_way = Action {
        state: RunState::Running,
        attempts: 1,
        ..action(&fixture, 2)
    };
    store
        .insert_action(&under_way, Some(AHEAD_MS + LEASE_MS), 10)
        .await
        .unwrap();
    // A webhook that waits, and one on its way.
    let mut webhooks = [
        webhook("whk_1", "a", "https://a.test"),
        webhook("whk_2", "b", "https://b.test"),
    ];
    webhooks[0].due_at_ms = AHEAD_MS + HOUR_MS;
    store.insert_webhooks(&webhooks).await.unwrap();
    let on_its_way = WebhookClaim {
        lease_until_ms: AHEAD_MS + LEASE_MS,
        ..claim(NOW_MS)
    };
    assert_eq!(store.claim_webhooks(&on_its_way).await.unwrap().len(), 1);
    // A refresh, and a lock.
    let acquire = async |now_ms: i64| {
        store
            .acquire_refresh_lease(&key, "one", now_ms, now_ms + LEASE_MS)
            .await
            .unwrap()
    };
    assert!(acquire(AHEAD_MS).await.is_some());
    let environment = &fixture.environment.id;
    let lock = async |owner, now_ms| {
        let taken = store.acquire_lock(environment, "key", owner, now_ms, now_ms + LEASE_MS);
        taken.await.unwrap()
    };
    assert!(lock("run_1", AHEAD_MS).await);

    assert_eq!(store.claim_sync_runs(NOW_MS, NOW_MS, 10).await.unwrap().len(), 0);
    assert_eq!(
        (
            claimed_actions(&store, NOW_MS).await,
            claimed_webhooks(&store, NOW_MS).await
        ),
        (0, 0)
    );
    assert_eq!(store.forget_times_ahead(NOW_MS, true).await.unwrap(), 3);

    // Whoever waited is due, whoever has a lease has it for a while.
    let claimed = store.claim_sync_runs(NOW_MS, NOW_MS + LEASE_MS, 10).await.unwrap();
    let claimed: Vec<&str> = claimed.iter().map(|claimed| claimed.run.function.as_str()).collect();
    assert_eq!(claimed, ["suspended"]);
    assert_eq!(
        (
            claimed_actions(&store, NOW_MS).await,
            claimed_webhooks(&store, NOW_MS).await
        ),
        (1, 1)
    );
    assert!(!store.has_lost_actions(NOW_MS).await.unwrap());
    assert!(acquire(NOW_MS).await.is_none() && !lock("run_2", NOW_MS).await);
    // A holder who lives keeps it.
    let nothing = BTreeMap::new();
    let kept = store
        .renew_lease(&run.run.id, run.fence, NOW_MS + LEASE_MS, &nothing)
        .await;
    assert!(kept.unwrap());
    // Those who are dead lose it.
    let later_ms = NOW_MS + 10 * 60 * 1_000;
    assert!(store.has_lost_actions(later_ms).await.unwrap());
    assert!(acquire(later_ms).await.is_some());
    assert_eq!(store.claim_sync_runs(later_ms, later_ms, 10).await.unwrap().len(), 2);
    assert_eq!(claimed_webhooks(&store, later_ms).await, 2);
    let lease = store.renew_action_lease(&under_way.id, 1, later_ms + LEASE_MS).await;
    assert_eq!(lease.unwrap(), ActionLease::Kept, "nobody has taken it yet");
    assert!(
        lock("run_2", NOW_MS + DAY_MS).await,
        "no lock lasts for longer than a day"
    );
}

async fn what_may_wait_is_left_alone_when_nobody_saw_it(store: Store) {
    let fixture = Fixture::new(&store).await;
    let soon = Action {
        due_at_ms: NOW_MS + 60_000,
        ..action(&fixture, 1)
    };
    let stuck = Action {
        due_at_ms: AHEAD_MS,
        ..action(&fixture, 2)
    };
    store.insert_action(&soon, None, 10).await.unwrap();
    store.insert_action(&stuck, None, 10).await.unwrap();
    let mut waiting = webhook("whk_1", "a", "https://a.test");
    waiting.due_at_ms = NOW_MS + HOUR_MS;
    store.insert_webhooks(&[waiting]).await.unwrap();
    assert_eq!(store.forget_times_ahead(NOW_MS, false).await.unwrap(), 1);
    assert_eq!(
        (
            claimed_actions(&store, NOW_MS).await,
            claimed_webhooks(&store, NOW_MS).await
        ),
        (1, 0)
    );
}
