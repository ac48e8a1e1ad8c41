//! The queue of actions in the background, and locks, on both databases.

use super::*;
use crate::model::{Action, Idempotency, RunError};
use crate::store::{ActionEnd, ActionInserted, ActionLease, ActionQuery, ActionRetry, Announce, ClaimedAction};

const LEASE_MS: i64 = NOW_MS + 30_000;

/// Nobody is told of ends.
const NOBODY: Announce<'_> = &|_, _| Vec::new();

for_each_db! {
    a_key_is_taken_once,
    the_queue_has_a_bound,
    a_stale_fence_ends_nothing,
    concurrent_processes_never_claim_an_action_twice,
    attempts_of_the_dead_go_on_within_their_retries,
    cancelling_tells_whoever_runs_it,
    what_is_old_goes,
    a_lock_has_one_owner_and_an_end,
}

pub(super) fn action(fixture: &Fixture, number: u32) -> Action {
    Action {
        id: format!("00000000-0000-0000-0000-{number:012}"),
        environment_id: fixture.environment.id.clone(),
        provider_config_key: "github".to_owned(),
        connection_id: "c".to_owned(),
        connection_key: "conn_1".into(),
        kind: FunctionKind::Action,
        function: "f".to_owned(),
        input: r#"{"n":1}"#.to_owned(),
        state: RunState::Queued,
        attempts: 0,
        retries_max: 0,
        due_at_ms: NOW_MS,
        created_at_ms: NOW_MS + i64::from(number),
        started_at_ms: None,
        ended_at_ms: None,
        cancelled_at_ms: None,
        run_id: None,
        output: None,
        error: None,
        idempotency: None,
        is_background: true,
    }
}

fn error(code: &str) -> RunError {
    RunError {
        code: code.to_owned(),
        message: "m\0".to_owned(),
        payload: None,
        upstream: None,
    }
}

async fn insert(store: &Store, action: &Action) -> ActionInserted {
    let lease_until_ms = (action.state == RunState::Running).then_some(LEASE_MS);
    store.insert_action(action, lease_until_ms, 10).await.unwrap()
}

async fn claim(store: &Store, count: usize) -> Vec<ClaimedAction> {
    let pick = |waiting: &[crate::store::WaitingAction], _: &[crate::store::RunningActions]| {
        waiting.iter().take(count).map(|one| one.id.clone()).collect()
    };
    store.claim_actions(NOW_MS + 1_000, LEASE_MS, 100, pick).await.unwrap()
}

async fn state(store: &Store, id: &str) -> (RunState, i64) {
    let action = store.action(id).await.unwrap().unwrap();
    (action.state, action.attempts)
}

async fn a_key_is_taken_once(store: Store) {
    let fixture = Fixture::new(&store).await;
    let with_key = |number, fingerprint: u8| Action {
        idempotency: Some(Idempotency {
            key: "k".to_owned(),
            fingerprint: vec![fingerprint; 32],
        }),
        ..action(&fixture, number)
    };
    assert!(matches!(insert(&store, &with_key(1, 1)).await, ActionInserted::New));
    let ActionInserted::Known(known) = insert(&store, &with_key(2, 2)).await else {
        panic!("the key is taken");
    };
    assert_eq!(known.id, with_key(1, 1).id);
    assert_eq!(known.idempotency, with_key(1, 1).idempotency);
    let of_another = Environment {
        id: "env_2".into(),
        name: "dev".to_owned(),
        created_at_ms: NOW_MS,
    };
    store.insert_environment(&of_another).await.unwrap();
    let elsewhere = Action {
        environment_id: of_another.id,
        ..with_key(3, 3)
    };
    assert!(matches!(insert(&store, &elsewhere).await, ActionInserted::New));
    assert_eq!(
        store.forget_idempotency_keys(NOW_MS + 1_000).await.unwrap(),
        0,
        "it has not ended"
    );
    let claimed = claim(&store, 2).await;
    for one in &claimed {
        assert!(
            store
                .end_action(&one.action.id, one.fence, &done(), NOBODY)
                .await
                .unwrap()
        );
    }
    assert_eq!(store.forget_idempotency_keys(NOW_MS + 2).await.unwrap(), 1);
    assert!(matches!(insert(&store, &with_key(4, 4)).await, ActionInserted::New));
}

fn done<'a>() -> ActionEnd<'a> {
    ActionEnd {
        state: RunState::Succeeded,
        output: Some("null"),
        error: None,
        run_id: None,
        ended_at_ms: NOW_MS + 5_000,
    }
}

async fn the_queue_has_a_bound(store: Store) {
    let fixture = Fixture::new(&store).await;
    for number in 0..10 {
        assert!(matches!(
            insert(&store, &action(&fixture, number)).await,
            ActionInserted::New
        ));
    }
    assert!(matches!(
        insert(&store, &action(&fixture, 10)).await,
        ActionInserted::Full
    ));
    let begun = Action {
        state: RunState::Running,
        attempts: 1,
        ..action(&fixture, 11)
    };
    assert!(
        matches!(insert(&store, &begun).await, ActionInserted::New),
        "it does not queue"
    );
    claim(&store, 1).await;
    assert!(matches!(
        insert(&store, &action(&fixture, 12)).await,
        ActionInserted::New
    ));
    let page = ActionQuery {
        limit: 3,
        state: Some(RunState::Queued),
        ..ActionQuery::default()
    };
    let numbers = |actions: Vec<Action>| -> Vec<i64> { actions.iter().map(|it| it.created_at_ms - NOW_MS).collect() };
    let newest = store.actions(&fixture.environment.id, &page).await.unwrap();
    let last = newest.last().map(|it| (it.created_at_ms, it.id.clone()));
    assert_eq!(numbers(newest), [12, 9, 8]);
    let next = ActionQuery { before: last, ..page };
    let next = store.actions(&fixture.environment.id, &next).await.unwrap();
    assert_eq!(numbers(next), [7, 6, 5]);
}

async fn a_stale_fence_ends_nothing(store: Store) {
    let fixture = Fixture::new(&store).await;
    let action = Action {
        retries_max: 1,
        ..action(&fixture, 1)
    };
    insert(&store, &action).await;
    let first = claim(&store, 1).await.remove(0);
    assert_eq!((first.fence, first.action.attempts), (1, 1));
    assert!(claim(&store, 1).await.is_empty(), "it runs");
    let failed = error("script_network_error");
    let retry = ActionRetry {
        error: &failed,
        run_id: Some(&"run_1".into()),
        due_at_ms: NOW_MS + 500,
        counts: false,
    };
    assert!(store.requeue_action(&action.id, first.fence, &retry).await.unwrap());
    assert_eq!(
        state(&store, &action.id).await,
        (RunState::Queued, 0),
        "it was no attempt"
    );
    let second = claim(&store, 1).await.remove(0);
    assert_eq!((second.fence, second.action.attempts), (2, 1));
    assert_eq!(second.action.error.unwrap().message, "m\0");
    assert!(
        !store
            .end_action(&action.id, first.fence, &done(), NOBODY)
            .await
            .unwrap()
    );
    assert!(!store.requeue_action(&action.id, first.fence, &retry).await.unwrap());
    let renewed = |fence| store.renew_action_lease(&action.id, fence, LEASE_MS + 1);
    assert_eq!(renewed(first.fence).await.unwrap(), ActionLease::Lost);
    assert_eq!(renewed(second.fence).await.unwrap(), ActionLease::Kept);
    assert!(
        store
            .end_action(&action.id, second.fence, &done(), NOBODY)
            .await
            .unwrap()
    );
    assert!(
        !store
            .end_action(&action.id, second.fence, &done(), NOBODY)
            .await
            .unwrap(),
        "an end is final"
    );
    assert_eq!(state(&store, &action.id).await, (RunState::Succeeded, 1));
}

async fn concurrent_processes_never_claim_an_action_twice(store: Store) {
    let fixture = Fixture::new(&store).await;
    for number in 0..60 {
        store.insert_action(&action(&fixture, number), None, 100).await.unwrap();
    }
    let claims = (0..12).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            // As a limit of 30 at the same time would have it.
            let pick = |waiting: &[crate::store::WaitingAction], running: &[crate::store::RunningActions]| {
                let free = 30 - running.iter().map(|one| one.count).sum::<i64>();
                let free = usize::try_from(free.min(5)).unwrap();
                waiting.iter().take(free).map(|one| one.id.clone()).collect()
            };
            store.claim_actions(NOW_MS + 1_000, LEASE_MS, 100, pick).await.unwrap()
        })
    });
    let mut ids = std::collections::BTreeSet::new();
    for claim in claims.collect::<Vec<_>>() {
        for one in claim.await.unwrap() {
            assert!(ids.insert(one.action.id), "claimed twice");
        }
    }
    assert_eq!(ids.len(), 30);
}

async fn attempts_of_the_dead_go_on_within_their_retries(store: Store) {
    let fixture = Fixture::new(&store).await;
    for (number, retries_max) in [(1, 0), (2, 1), (3, 5)] {
        let action = Action {
            retries_max,
            ..action(&fixture, number)
        };
        insert(&store, &action).await;
    }
    claim(&store, 3).await;
    let id = |number| action(&fixture, number).id;
    store
        .cancel_action(&id(3), &error("script_aborted"), NOW_MS, NOBODY)
        .await
        .unwrap();
    let (cancelled, lost) = (error("script_aborted"), error("action_script_failure"));
    let recover = |now_ms| store.recover_actions(now_ms, &cancelled, &lost, NOBODY);
    assert_eq!(recover(LEASE_MS - 1).await.unwrap(), 0, "their leases hold");
    assert_eq!(recover(LEASE_MS).await.unwrap(), 3);
    assert_eq!(recover(LEASE_MS).await.unwrap(), 0);
    assert_eq!(state(&store, &id(1)).await, (RunState::Failed, 1));
    assert_eq!(state(&store, &id(2)).await, (RunState::Queued, 1));
    assert_eq!(state(&store, &id(3)).await, (RunState::Cancelled, 1));
    let failed = store.action(&id(1)).await.unwrap().unwrap();
    assert_eq!(
        (failed.error.unwrap().code.as_str(), failed.ended_at_ms),
        ("action_script_failure", Some(LEASE_MS))
    );
}

async fn cancelling_tells_whoever_runs_it(store: Store) {
    let fixture = Fixture::new(&store).await;
    for number in 1..=2 {
        insert(&store, &action(&fixture, number)).await;
    }
    let running = claim(&store, 1).await.remove(0);
    let waiting = action(&fixture, 2).id;
    let aborted = error("script_aborted");
    for id in [&running.action.id, &waiting] {
        store.cancel_action(id, &aborted, NOW_MS + 1, NOBODY).await.unwrap();
    }
    assert_eq!(state(&store, &waiting).await, (RunState::Cancelled, 0));
    assert_eq!(state(&store, &running.action.id).await, (RunState::Running, 1));
    let lease = store
        .renew_action_lease(&running.action.id, running.fence, LEASE_MS)
        .await;
    assert_eq!(lease.unwrap(), ActionLease::Cancelled);
    assert!(
        store
            .end_action(&running.action.id, running.fence, &done(), NOBODY)
            .await
            .unwrap()
    );
    store
        .cancel_action(&running.action.id, &aborted, NOW_MS + 2, NOBODY)
        .await
        .unwrap();
    assert_eq!(
        state(&store, &running.action.id).await,
        (RunState::Succeeded, 1),
        "what has ended stays"
    );
}

async fn what_is_old_goes(store: Store) {
    let fixture = Fixture::new(&store).await;
    for number in 1..=4 {
        insert(&store, &action(&fixture, number)).await;
    }
    let expired = error("action_script_failure");
    let expire = |limit| store.expire_actions(NOW_MS + 4, &expired, NOW_MS + 10, limit, NOBODY);
    assert_eq!(expire(2).await.unwrap(), 2);
    assert_eq!(expire(100).await.unwrap(), 1);
    assert_eq!(expire(100).await.unwrap(), 0);
    assert_eq!(store.delete_actions_before(NOW_MS + 10, 100).await.unwrap(), 0);
    assert_eq!(store.delete_actions_before(NOW_MS + 11, 2).await.unwrap(), 2);
    assert_eq!(store.delete_actions_before(NOW_MS + 11, 100).await.unwrap(), 1);
    assert_eq!(state(&store, &action(&fixture, 4).id).await, (RunState::Queued, 0));
}

async fn a_lock_has_one_owner_and_an_end(store: Store) {
    let fixture = Fixture::new(&store).await;
    let environment = &fixture.environment.id;
    let take = |owner, now_ms| store.acquire_lock(environment, "k", owner, now_ms, now_ms + 100);
    assert!(take("run_1", NOW_MS).await.unwrap());
    assert!(!take("run_2", NOW_MS + 99).await.unwrap());
    assert!(take("run_1", NOW_MS + 50).await.unwrap(), "it is prolonged");
    assert!(!take("run_2", NOW_MS + 149).await.unwrap());
    assert!(take("run_2", NOW_MS + 150).await.unwrap(), "it has ended");
    let release = |owner, now_ms| store.release_lock(environment, "k", owner, now_ms);
    assert!(!release("run_1", NOW_MS + 160).await.unwrap());
    assert!(release("run_2", NOW_MS + 160).await.unwrap());
    assert!(!release("run_2", NOW_MS + 160).await.unwrap());
    assert!(take("run_3", NOW_MS).await.unwrap());
    assert_eq!(store.release_locks("run_3").await.unwrap(), 1);
    assert!(take("run_4", NOW_MS).await.unwrap());
    assert_eq!(store.delete_locks_before(NOW_MS + 99).await.unwrap(), 0);
    assert_eq!(store.delete_locks_before(NOW_MS + 100).await.unwrap(), 1);
    let crowd = (0..8).map(|number| {
        let (store, environment) = (store.clone(), environment.clone());
        tokio::spawn(async move {
            let owner = format!("run_{number}");
            store
                .acquire_lock(&environment, "crowd", &owner, NOW_MS, NOW_MS + 100)
                .await
                .unwrap()
        })
    });
    let mut taken = 0;
    for one in crowd.collect::<Vec<_>>() {
        taken += u32::from(one.await.unwrap());
    }
    assert_eq!(taken, 1);
}
