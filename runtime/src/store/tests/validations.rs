//! Connections that functions are asked about before they count, on both databases.

use super::*;
use crate::model::{Action, Made, OperationId, RefreshFailure};
use crate::store::{ConnectionQuery, Consequences};

const UNTIL_MS: i64 = NOW_MS + 1_000;

for_each_db! {
    one_that_is_new_counts_once_it_is_taken,
    one_that_is_refused_is_gone_or_marked,
    the_last_one_who_writes_is_asked_about,
    what_the_dead_began_is_found,
}

fn queued(fixture: &Fixture, connection: &Connection) -> Consequences {
    let action = Action {
        connection_key: connection.key.clone(),
        kind: FunctionKind::OnEvent,
        is_background: false,
        ..actions::action(fixture, 1)
    };
    Consequences {
        webhooks: Vec::new(),
        actions: vec![action],
    }
}

fn nothing(_: &Connection, _: Made) -> Consequences {
    Consequences::default()
}

fn failure() -> RefreshFailure {
    RefreshFailure {
        failed_at_ms: NOW_MS,
        failing_days: 4,
        operation_id: OperationId::from("op_1"),
    }
}

async fn listed(fixture: &Fixture) -> usize {
    let query = ConnectionQuery {
        limit: 10,
        ..ConnectionQuery::default()
    };
    let listed = fixture.store.connections(&fixture.environment.id, &query).await;
    listed.unwrap().len()
}

async fn begin(store: &Store, connection: &Connection) -> (Connection, Made) {
    let refused = |_: &Connection, _| panic!("nothing is announced before it counts");
    store
        .upsert_and_announce(connection, None, Some(UNTIL_MS), refused)
        .await
        .unwrap()
}

async fn one_that_is_new_counts_once_it_is_taken(store: Store) {
    let fixture = Fixture::new(&store).await;
    let (stored, made) = begin(&store, &fixture.connection("a")).await;
    assert_eq!((made, listed(&fixture).await), (Made::Creation, 0));
    assert!(store.stale_schedules(10).await.unwrap().is_empty());
    // No webhook of the provider is about it.
    assert!(store.connection_that_counts(&stored.key).await.unwrap().is_none());
    let taken = store.end_validation(&stored, |connection, _| queued(&fixture, connection));
    assert_eq!(taken.await.unwrap(), Some(Made::Creation));
    assert_eq!(listed(&fixture).await, 1);
    assert!(store.connection_that_counts(&stored.key).await.unwrap().is_some());
    // What was queued with it is claimed, and shown to nobody.
    let pick = |waiting: &[crate::store::WaitingAction], _: &[crate::store::RunningActions]| {
        waiting.iter().map(|one| one.id.clone()).collect()
    };
    let claimed = store.claim_actions(NOW_MS + 10, UNTIL_MS, 10, pick).await.unwrap();
    assert_eq!(claimed[0].action.kind, FunctionKind::OnEvent);
    assert!(store.action(&claimed[0].action.id).await.unwrap().is_none());
    assert_eq!(store.end_validation(&stored, nothing).await.unwrap(), None, "once");
    let same = fixture.connection("a");
    let (_, again) = store.upsert_and_announce(&same, None, None, nothing).await.unwrap();
    assert_eq!(again, Made::Override);
}

async fn one_that_is_refused_is_gone_or_marked(store: Store) {
    let fixture = Fixture::new(&store).await;
    let (stored, _) = begin(&store, &fixture.connection("a")).await;
    let refused = store.fail_validation(&stored, &failure(), |_| Vec::new()).await;
    assert_eq!(refused.unwrap(), Some(Made::Creation));
    assert!(store.connection_by_key(&stored.key).await.unwrap().is_none());

    let made = store.upsert_connection(&fixture.connection("a")).await.unwrap();
    let (stored, how) = begin(&store, &fixture.connection("a")).await;
    assert_eq!((&stored.key, how), (&made.key, Made::Override));
    assert_eq!(listed(&fixture).await, 1, "it counts as before");
    let refused = store.fail_validation(&stored, &failure(), |_| Vec::new()).await;
    assert_eq!(refused.unwrap(), Some(Made::Override));
    let marked = store.connection_by_key(&stored.key).await.unwrap().unwrap();
    assert_eq!(marked.refresh.failure, Some(failure()));
}

async fn the_last_one_who_writes_is_asked_about(store: Store) {
    let fixture = Fixture::new(&store).await;
    let (first, _) = begin(&store, &fixture.connection("a")).await;
    let (second, made) = begin(&store, &fixture.connection("a")).await;
    assert_eq!(made, Made::Creation, "the first one never counted");
    assert_eq!(store.end_validation(&first, nothing).await.unwrap(), None);
    let refused = store.fail_validation(&first, &failure(), |_| Vec::new()).await;
    assert_eq!(refused.unwrap(), None);
    let taken = store.end_validation(&second, nothing).await;
    assert_eq!(taken.unwrap(), Some(Made::Creation));
}

async fn what_the_dead_began_is_found(store: Store) {
    let fixture = Fixture::new(&store).await;
    let (stored, _) = begin(&store, &fixture.connection("a")).await;
    assert!(store.lost_validations(UNTIL_MS - 1, 10).await.unwrap().is_empty());
    assert_eq!(store.lost_validations(UNTIL_MS, 10).await.unwrap()[0].key, stored.key);
    store.release_leases().await.unwrap();
    assert_eq!(store.lost_validations(NOW_MS, 10).await.unwrap().len(), 1);
    assert!(store.delete_connection(&stored.key, NOW_MS).await.unwrap());
    assert!(store.lost_validations(UNTIL_MS, 10).await.unwrap().is_empty());
}
