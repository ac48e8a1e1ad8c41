//! What is deleted: hidden from everybody, emptied, purged; on both databases.

use super::*;
use crate::model::log::{Level, Source};
use crate::model::{Message, Operation, OperationKind, OperationState, RefreshFailure, Revocation};
use crate::store::{
    ConnectionPatch, ConnectionQuery, Consequences, DueQuery, OperationQuery, PurgeScope, RecordKey, RecordWrite,
    RefreshWrite, StoreError, StoredRecording,
};

for_each_db! {
    what_is_deleted_is_found_and_written_by_nobody,
    a_name_is_free_as_often_as_it_is_deleted,
    what_was_deleted_is_not_replaced,
    a_wipe_empties_once_and_keeps_what_is_to_be_told,
    revocations_are_taken_by_one_at_a_time,
    a_purge_takes_some_rows_at_a_time_and_leaves_others_alone,
}

fn gone<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome.err(), Some(StoreError::ParentGone(_)))
}

fn record_key(connection_key: &ConnectionKey) -> RecordKey {
    RecordKey {
        connection_key: connection_key.clone(),
        model: "Issue".to_owned(),
    }
}

async fn save_records(store: &Store, key: &ConnectionKey, count: usize) -> Result<(), StoreError> {
    let ids: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let record = |id| RecordWrite {
        external_id: id,
        hash: [1; 32],
        json: "{}",
    };
    let records: Vec<RecordWrite<'_>> = ids.iter().map(|id| record(id.as_str())).collect();
    store
        .save_records(&record_key(key), &records, &in_clear(), None, NOW_US)
        .await
        .map(|_| ())
}

fn recording(key: &ConnectionKey) -> StoredRecording {
    StoredRecording {
        run_id: format!("run_{}", key.as_str()).as_str().into(),
        environment_id: "env_1".into(),
        connection_key: key.clone(),
        sealed: Sealed(vec![7]),
        created_at_ms: NOW_MS,
    }
}

fn revocation(id: &str, due_at_ms: i64) -> Revocation {
    Revocation {
        id: id.into(),
        environment_id: "env_1".into(),
        provider_config_key: "github".to_owned(),
        connection_id: "a".to_owned(),
        provider: "github".to_owned(),
        requests: Sealed(vec![1, 2, 3]),
        attempts: 0,
        due_at_ms,
        created_at_ms: NOW_MS,
    }
}

async fn what_is_deleted_is_found_and_written_by_nobody(store: Store) {
    let fixture = Fixture::new(&store).await;
    let mut connection = fixture.connection("a");
    connection.refresh.due_at_ms = Some(NOW_MS);
    let connection = store.upsert_connection(&connection).await.unwrap();
    let key = connection.key.clone();
    let sync = fixture.insert_sync(&key, "issues").await;
    save_records(&store, &key, 1).await.unwrap();
    store
        .save_checkpoint(&key, "sync:issues:base", "{}", 0, NOW_MS)
        .await
        .unwrap();
    store.insert_recording(&recording(&key)).await.unwrap();
    store.set_verification_due(&key, NOW_MS).await.unwrap();
    let fence = store
        .acquire_refresh_lease(&key, "me", NOW_MS, NOW_MS + 1)
        .await
        .unwrap()
        .unwrap();

    assert!(store.delete_connection(&key, NOW_MS + 1).await.unwrap());
    assert!(!store.delete_connection(&key, NOW_MS + 2).await.unwrap());

    let environment = &fixture.environment.id;
    assert!(store.connection_by_key(&key).await.unwrap().is_none());
    assert!(store.connection(environment, "github", "a").await.unwrap().is_none());
    let all = ConnectionQuery {
        limit: 10,
        ..Default::default()
    };
    assert!(store.connections(environment, &all).await.unwrap().is_empty());
    let due = DueQuery {
        now_ms: NOW_MS * 2,
        failed_before_ms: NOW_MS,
        failing_days_max: 4,
        limit: 10,
    };
    assert!(store.connections_due_for_refresh(due).await.unwrap().is_empty());
    assert!(
        store
            .claim_verifications(NOW_MS * 2, NOW_MS * 3, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.sync(&sync.id).await.unwrap().is_none());
    assert!(store.syncs(environment, "github", None).await.unwrap().is_empty());
    let run_id = || RunId::new(NOW_MS, [9; 16]);
    let due = store
        .enqueue_due_syncs(NOW_MS * 2, 10, |_, _| None, run_id)
        .await
        .unwrap();
    assert_eq!(due, (0, 0));
    assert!(store.checkpoint(&key, "sync:issues:base").await.unwrap().is_none());
    let recorded = store
        .recording(environment, recording(&key).run_id.as_str())
        .await
        .unwrap();
    assert!(recorded.is_none());

    assert!(gone(save_records(&store, &key, 1).await));
    assert!(gone(
        store.save_checkpoint(&key, "sync:issues:base", "{}", 0, NOW_MS).await
    ));
    assert!(gone(
        store.save_checkpoint(&key, "sync:issues:base", "{}", 1, NOW_MS).await
    ));
    assert!(gone(store.ensure_sync(&fixture.sync(&key, "other")).await));
    assert!(gone(
        store.acquire_refresh_lease(&key, "me", NOW_MS * 2, NOW_MS * 3).await
    ));
    assert!(!store.enqueue_sync_run(&fixture.sync_run(&sync, 1)).await.unwrap());
    assert!(gone(store.insert_recording(&recording(&key)).await));
    store.set_verification_due(&key, NOW_MS).await.unwrap();
    assert!(
        store
            .claim_verifications(NOW_MS * 2, NOW_MS * 3, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        !store
            .patch_connection(&connection, &ConnectionPatch::default(), NOW_MS)
            .await
            .unwrap()
    );
    assert_eq!(
        store
            .set_metadata(std::slice::from_ref(&key), &object("{}"), false, NOW_MS)
            .await
            .unwrap(),
        None
    );
    let write = RefreshWrite {
        key: key.clone(),
        epoch: connection.refresh.generation.epoch,
        fence,
    };
    let tokens = Sealed(vec![9; 9]);
    assert!(
        store
            .write_refreshed(&write, &tokens, None, None, NOW_MS)
            .await
            .unwrap()
            .is_none()
    );
    let failure = RefreshFailure {
        failed_at_ms: NOW_MS,
        failing_days: 1,
        operation_id: "op_1".into(),
    };
    assert!(!store.write_refresh_failure(&write, &failure, &[]).await.unwrap());
    assert!(!store.write_verification(&key, write.epoch, None, &[]).await.unwrap());
    let left = store.connections_to_wipe(None, "").await.unwrap();
    assert_eq!(left[0].connection.credentials, connection.credentials, "as they were");
}

async fn a_name_is_free_as_often_as_it_is_deleted(store: Store) {
    let fixture = Fixture::new(&store).await;
    let mut keys = Vec::new();
    for number in 0..3 {
        let mut connection = fixture.connection("a");
        connection.key = format!("con_{number}").as_str().into();
        keys.push(store.upsert_connection(&connection).await.unwrap().key);
        let found = store
            .connection(&fixture.environment.id, "github", "a")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.key, keys[number]);
        assert!(store.delete_connection(&found.key, NOW_MS).await.unwrap());
    }
    let names: Vec<_> = store.connections_to_wipe(None, "").await.unwrap();
    assert!(names.iter().all(|deleted| deleted.connection.connection_id == "a"));

    let environment = &fixture.environment.id;
    assert!(store.delete_integration(environment, "github", NOW_MS).await.unwrap());
    assert!(!store.delete_integration(environment, "github", NOW_MS).await.unwrap());
    assert!(store.integration(environment, "github").await.unwrap().is_none());
    assert!(gone(store.upsert_connection(&fixture.connection("b")).await));
    let mut next = integration(&fixture.environment, "github");
    next.id = "int_next".into();
    assert!(store.insert_integration(&next).await.unwrap());
    assert_eq!(store.integrations(environment).await.unwrap().len(), 1);
    let deleted = store.connections_to_wipe(None, "").await.unwrap();
    assert!(
        deleted
            .iter()
            .all(|deleted| deleted.connection.provider_config_key == "github")
    );
    assert!(deleted.iter().all(|deleted| deleted.integration.unique_key == "github"));
}

async fn a_wipe_empties_once_and_keeps_what_is_to_be_told(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let living = fixture.insert_connection("b").await;
    assert!(
        !store
            .wipe_connection(&living, Some(&revocation("rvk_0", NOW_MS)), NOW_MS)
            .await
            .unwrap()
    );
    store.delete_connection(&key, NOW_MS).await.unwrap();
    assert!(
        store
            .wipe_connection(&key, Some(&revocation("rvk_1", NOW_MS)), NOW_MS)
            .await
            .unwrap()
    );
    assert!(
        !store
            .wipe_connection(&key, Some(&revocation("rvk_2", NOW_MS)), NOW_MS)
            .await
            .unwrap()
    );
    assert!(store.connections_to_wipe(None, "").await.unwrap().is_empty());
    let found = store.claim_revocations(NOW_MS, NOW_MS + 1, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    let expected = Revocation {
        attempts: 1,
        ..revocation("rvk_1", NOW_MS)
    };
    assert_eq!(found[0], expected);
    let credentials = store.connection_by_key(&living).await.unwrap().unwrap().credentials;
    assert_eq!(credentials, Sealed(vec![0, 1, 2, 255]));
    store.forget_erased().await.unwrap();
    store.forget_erased().await.unwrap();
}

async fn revocations_are_taken_by_one_at_a_time(store: Store) {
    let _fixture = Fixture::new(&store).await;
    for number in 0..20 {
        let revocation = revocation(&format!("rvk_{number:02}"), NOW_MS + number);
        store.insert_revocation(&revocation).await.unwrap();
    }
    let takers = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.claim_revocations(NOW_MS + 9, NOW_MS + 100, 3).await.unwrap() })
    });
    let mut taken = Vec::new();
    for taker in takers.collect::<Vec<_>>() {
        taken.extend(taker.await.unwrap().into_iter().map(|revocation| revocation.id));
    }
    taken.extend(
        store
            .claim_revocations(NOW_MS + 9, NOW_MS + 100, 10)
            .await
            .unwrap()
            .into_iter()
            .map(|found| found.id),
    );
    taken.sort();
    let expected: Vec<_> = (0..10)
        .map(|number| format!("rvk_{number:02}").as_str().into())
        .collect();
    assert_eq!(taken, expected, "each once, those that are due");
    let id = &taken[0];
    store
        .postpone_revocation(id, &Sealed(vec![9]), NOW_MS + 50)
        .await
        .unwrap();
    let again = store.claim_revocations(NOW_MS + 49, NOW_MS + 200, 100).await.unwrap();
    assert_eq!(again.len(), 10, "those that nobody has");
    store.delete_revocation(&"rvk_10".into()).await.unwrap();
    let first = store.claim_revocations(NOW_MS + 50, NOW_MS + 200, 100).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(
        (&first[0].id, first[0].requests.clone(), first[0].attempts),
        (id, Sealed(vec![9]), 2)
    );
    store.release_leases().await.unwrap();
    let all = store.claim_revocations(NOW_MS + 50, NOW_MS + 200, 100).await.unwrap();
    assert_eq!(all.len(), 19, "of one that knows all others to be dead");
}

async fn a_purge_takes_some_rows_at_a_time_and_leaves_others_alone(store: Store) {
    let fixture = Fixture::new(&store).await;
    let environment = &fixture.environment.id;
    let mut keys = Vec::new();
    for id in ["a", "b"] {
        let key = fixture.insert_connection(id).await;
        let sync = fixture.insert_sync(&key, "issues").await;
        save_records(&store, &key, 25).await.unwrap();
        store
            .save_checkpoint(&key, "sync:issues:base", "{}", 0, NOW_MS)
            .await
            .unwrap();
        let run = Run {
            id: format!("run_sync_{id}").as_str().into(),
            ..fixture.sync_run(&sync, 1)
        };
        assert!(store.enqueue_sync_run(&run).await.unwrap());
        let action = Run {
            id: format!("run_action_{id}").as_str().into(),
            connection_key: key.clone(),
            ..fixture.run(1)
        };
        store.write_runs(&[action]).await.unwrap();
        for (number, started_at_ms) in [(1, NOW_MS), (2, NOW_MS + 10)] {
            let operation = Operation {
                id: format!("op_{id}_{number}").as_str().into(),
                environment_id: environment.clone(),
                kind: OperationKind::ProxyCall,
                state: OperationState::Success,
                provider_config_key: Some("github".into()),
                connection_id: Some(id.into()),
                function: None,
                run_id: None,
                message: "GET".to_owned(),
                started_at_ms,
                ended_at_ms: Some(started_at_ms),
                duration_us: Some(1),
                usage: None,
            };
            let message = Message {
                operation_id: operation.id.clone(),
                created_at_us: NOW_US,
                level: Level::Info,
                source: Source::Internal,
                text: "x".to_owned(),
                fields: None,
            };
            store.write_logs("w", &[operation], &[message]).await.unwrap();
        }
        keys.push(key);
    }
    store.delete_connection(&keys[0], NOW_MS + 5).await.unwrap();
    let scope = PurgeScope {
        deleted_until_ms: NOW_MS + 5,
        ..Default::default()
    };
    assert!(
        store.next_to_purge(&scope).await.unwrap().is_none(),
        "its secrets are still there"
    );
    store.wipe_connection(&keys[0], None, NOW_MS + 5).await.unwrap();
    let earlier = PurgeScope {
        deleted_until_ms: NOW_MS + 4,
        ..Default::default()
    };
    assert!(store.next_to_purge(&earlier).await.unwrap().is_none());
    let found = store.next_to_purge(&scope).await.unwrap().unwrap();
    assert_eq!(found.key, keys[0]);
    let mut all = 0;
    loop {
        let rows = store.purge_connection(&found, true, 10).await.unwrap();
        all += rows;
        if rows < 10 {
            break;
        }
        assert!(
            store.next_to_purge(&scope).await.unwrap().is_some(),
            "its own row is the last"
        );
    }
    // 25 records, their model, a checkpoint, two runs, a sync, an operation and its message.
    assert_eq!(all, 32);
    assert!(store.next_to_purge(&scope).await.unwrap().is_none());

    let operations = OperationQuery {
        limit: 10,
        ..OperationQuery::default()
    };
    let operations = store.operations(environment, &operations).await.unwrap();
    let mut ids: Vec<&str> = operations.iter().map(|operation| operation.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["op_a_2", "op_b_1", "op_b_2"], "what came later is not its own");
    let run = async |id: &str| store.run(environment, &id.into()).await.unwrap().is_some();
    assert!(!run("run_sync_a").await && !run("run_action_a").await);
    assert!(run("run_sync_b").await && run("run_action_b").await);
    assert_eq!(store.syncs(environment, "github", None).await.unwrap().len(), 1);
    assert!(store.checkpoint(&keys[1], "sync:issues:base").await.unwrap().is_some());

    assert_eq!(store.purge_integrations(&scope).await.unwrap(), 0);
    store
        .delete_integration(environment, "github", NOW_MS + 5)
        .await
        .unwrap();
    assert_eq!(
        store.purge_integrations(&scope).await.unwrap(),
        0,
        "it has a connection"
    );
    store.wipe_connection(&keys[1], None, NOW_MS + 5).await.unwrap();
    let found = store.next_to_purge(&scope).await.unwrap().unwrap();
    store.purge_connection(&found, false, 1_000).await.unwrap();
    assert!(run("run_action_b").await, "history goes by its own age");
    assert_eq!(store.purge_integrations(&scope).await.unwrap(), 1);
}

/// Reconnects that had read the connection before it was deleted, at every moment round the delete: at most those that were stored
/// before it are gone with it.
async fn what_was_deleted_is_not_replaced(store: Store) {
    let fixture = Fixture::new(&store).await;
    let connection = store.upsert_connection(&fixture.connection("a")).await.unwrap();
    let again = || {
        let (store, mut again) = (store.clone(), fixture.connection("a"));
        again.key = ConnectionKey::new(NOW_MS + 1, [3; 16]);
        let key = connection.key.clone();
        async move {
            store
                .upsert_and_announce(&again, Some(&key), None, |_, _| Consequences::default())
                .await
        }
    };
    assert_eq!(again().await.unwrap().0.key, connection.key);
    let replacing: Vec<_> = (0..20).map(|_| tokio::spawn(again())).collect();
    assert!(store.delete_connection(&connection.key, NOW_MS).await.unwrap());
    assert!(gone(again().await));
    for replacing in replacing {
        let replaced = replacing.await.unwrap();
        assert!(
            matches!(&replaced, Ok(_) | Err(StoreError::ParentGone(_))),
            "{replaced:?}"
        );
    }
    let found = store
        .connection(&connection.environment_id, "github", "a")
        .await
        .unwrap();
    assert!(found.is_none(), "{found:?}");
    // Whoever has its name now is somebody else.
    let mut successor = fixture.connection("a");
    successor.key = ConnectionKey::new(NOW_MS + 2, [4; 16]);
    store.upsert_connection(&successor).await.unwrap();
    assert!(gone(again().await));
}
