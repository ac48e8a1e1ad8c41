//! Leases and results of refreshes, on both databases.

use super::*;
use crate::model::{Generation, RefreshFailure};
use crate::store::{DueQuery, RefreshWrite, StoreError, UsersOwn};

for_each_db! {
    one_holds_the_lease_and_fences_grow,
    of_many_at_once_one_gets_the_lease,
    the_newest_credentials_stay,
    an_import_is_not_undone,
    a_changed_config_is_not_overwritten,
    failures_are_kept_until_a_success,
    due_connections_come_in_order_and_without_hopeless_ones,
}

const LEASE_MS: i64 = 60_000;

fn write(key: &ConnectionKey, epoch: i64, fence: i64) -> RefreshWrite {
    RefreshWrite {
        key: key.clone(),
        epoch,
        fence,
    }
}

fn failure(failed_at_ms: i64, failing_days: i64) -> RefreshFailure {
    RefreshFailure {
        failed_at_ms,
        failing_days,
        operation_id: "op_1".into(),
    }
}

async fn stored(store: &Store, key: &ConnectionKey) -> Connection {
    store.connection_by_key(key).await.unwrap().unwrap()
}

async fn one_holds_the_lease_and_fences_grow(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let acquire = async |owner: &str, now_ms: i64| {
        store
            .acquire_refresh_lease(&key, owner, now_ms, now_ms + LEASE_MS)
            .await
            .unwrap()
    };
    assert_eq!(acquire("one", NOW_MS).await, Some(1));
    assert_eq!(acquire("two", NOW_MS + LEASE_MS - 1).await, None);
    // Its owner died.
    assert_eq!(acquire("two", NOW_MS + LEASE_MS).await, Some(2));
    store.end_refresh_lease(&key, 1).await.unwrap();
    assert_eq!(
        acquire("one", NOW_MS + LEASE_MS).await,
        None,
        "a former owner cannot end it"
    );
    store.end_refresh_lease(&key, 2).await.unwrap();
    assert_eq!(acquire("one", NOW_MS + LEASE_MS).await, Some(3));
    store.release_leases().await.unwrap();
    assert_eq!(acquire("three", NOW_MS + LEASE_MS).await, Some(4));

    assert!(store.delete_connection(&key, NOW_MS).await.unwrap());
    let gone = store.acquire_refresh_lease(&key, "one", NOW_MS, NOW_MS).await;
    assert!(matches!(gone, Err(StoreError::ParentGone(_))), "{gone:?}");
}

async fn of_many_at_once_one_gets_the_lease(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (store, key) = (store.clone(), key.clone());
        tasks.spawn(async move {
            let owner = number.to_string();
            store
                .acquire_refresh_lease(&key, &owner, NOW_MS, NOW_MS + LEASE_MS)
                .await
                .unwrap()
        });
    }
    let fences: Vec<i64> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(fences, [1]);
}

async fn the_newest_credentials_stay(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let refreshed = async |fence: i64| {
        let credentials = Sealed(vec![u8::try_from(fence).unwrap()]);
        store
            .write_refreshed(
                &write(&key, 0, fence),
                &credentials,
                None,
                Some(NOW_MS + fence),
                NOW_MS + 9,
            )
            .await
            .unwrap()
    };
    assert_eq!(refreshed(2).await, Some(Generation { epoch: 0, fence: 2 }));
    assert_eq!(refreshed(1).await, None, "it began before");
    assert_eq!(refreshed(2).await, None, "it is written once");
    let connection = stored(&store, &key).await;
    assert_eq!(connection.credentials, Sealed(vec![2]));
    assert_eq!(connection.updated_at_ms, NOW_MS + 9);
    assert_eq!(
        connection.refresh,
        RefreshState {
            generation: Generation { epoch: 0, fence: 2 },
            due_at_ms: Some(NOW_MS + 2),
            refreshed_at_ms: Some(NOW_MS + 9),
            failure: None,
        }
    );
    // A lease that ended too early: the one before came back late, the one after has the newer answer.
    assert!(refreshed(3).await.is_some());
}

async fn an_import_is_not_undone(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    assert!(
        store
            .write_refresh_failure(&write(&key, 0, 1), &failure(NOW_MS, 1), &[])
            .await
            .unwrap()
    );
    let mut anew = fixture.connection("a");
    anew.credentials = Sealed(vec![7]);
    anew.refresh.due_at_ms = Some(NOW_MS + 5);
    let imported = store.upsert_connection(&anew).await.unwrap();
    assert_eq!(imported.refresh, stored(&store, &key).await.refresh);
    assert_eq!(
        imported.refresh,
        RefreshState {
            generation: Generation { epoch: 1, fence: 0 },
            due_at_ms: Some(NOW_MS + 5),
            ..RefreshState::default()
        }
    );
    let late = write(&key, 0, 2);
    assert_eq!(
        store
            .write_refreshed(&late, &Sealed(vec![2]), None, None, NOW_MS)
            .await
            .unwrap(),
        None
    );
    assert!(
        !store
            .write_refresh_failure(&late, &failure(NOW_MS, 1), &[])
            .await
            .unwrap()
    );
    assert_eq!(stored(&store, &key).await.credentials, Sealed(vec![7]));
}

async fn a_changed_config_is_not_overwritten(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let before = stored(&store, &key).await;
    let own = |before: &Sealed| UsersOwn {
        before: before.clone(),
        after: Sealed(vec![9, 9]),
    };
    let write_with = async |own: &UsersOwn| {
        let (write, credentials) = (write(&key, 0, 1), Sealed(vec![2]));
        let written = store.write_refreshed(&write, &credentials, Some(own), None, NOW_MS);
        written.await.unwrap().is_some()
    };
    assert!(
        !write_with(&own(&Sealed(vec![1, 2, 3, 4]))).await,
        "it is not what it was"
    );
    assert_eq!(
        stored(&store, &key).await.credentials,
        before.credentials,
        "both or neither"
    );
    assert!(write_with(&own(&before.connection_config)).await);
    let after = stored(&store, &key).await;
    assert_eq!(
        (after.credentials, after.connection_config),
        (Sealed(vec![2]), Sealed(vec![9, 9]))
    );
}

async fn failures_are_kept_until_a_success(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let failed = failure(NOW_MS, 3);
    assert!(
        store
            .write_refresh_failure(&write(&key, 0, 1), &failed, &[])
            .await
            .unwrap()
    );
    assert_eq!(stored(&store, &key).await.refresh.failure, Some(failed));
    assert!(
        store
            .write_refreshed(&write(&key, 0, 2), &Sealed(vec![2]), None, None, NOW_MS)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(stored(&store, &key).await.refresh.failure, None);
    assert!(
        !store
            .write_refresh_failure(&write(&key, 0, 1), &failure(NOW_MS, 4), &[])
            .await
            .unwrap(),
        "a failure that comes late does not hide a success"
    );
}

async fn due_connections_come_in_order_and_without_hopeless_ones(store: Store) {
    let fixture = Fixture::new(&store).await;
    for (connection_id, due_at_ms) in [
        ("never", None),
        ("later", Some(NOW_MS + 1)),
        ("now", Some(NOW_MS)),
        ("long", Some(NOW_MS - 9)),
        ("failed", Some(NOW_MS - 9)),
        ("exhausted", Some(NOW_MS - 9)),
        // Before the clock was set back.
        ("failed-ahead", Some(NOW_MS - 8)),
    ] {
        let mut connection = fixture.connection(connection_id);
        connection.refresh.due_at_ms = due_at_ms;
        let key = store.upsert_connection(&connection).await.unwrap().key;
        let failed = match connection_id {
            "failed" => failure(NOW_MS - 100, 3),
            "failed-ahead" => failure(NOW_MS + 86_400_000, 1),
            "exhausted" => failure(NOW_MS - 10_000, 4),
            _ => continue,
        };
        assert!(
            store
                .write_refresh_failure(&write(&key, 0, 1), &failed, &[])
                .await
                .unwrap()
        );
    }
    let due = async |failed_before_ms: i64, limit: i64| -> Vec<String> {
        let query = DueQuery {
            now_ms: NOW_MS,
            failed_before_ms,
            failing_days_max: 4,
            limit,
        };
        let found = store.connections_due_for_refresh(query).await.unwrap();
        found.into_iter().map(|connection| connection.connection_id).collect()
    };
    assert_eq!(due(NOW_MS - 100, 10).await, ["long", "failed-ahead", "now"]);
    assert_eq!(due(NOW_MS - 99, 10).await, ["failed", "long", "failed-ahead", "now"]);
    assert_eq!(due(NOW_MS - 100, 1).await, ["long"]);
}
