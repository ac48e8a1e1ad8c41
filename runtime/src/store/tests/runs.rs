//! The queue of runs, on both databases.

use super::*;
use crate::model::{Counts, RunError};
use crate::store::{Retry, RunQuery};

const LEASE_MS: i64 = NOW_MS + 30_000;

for_each_db! {
    runs_are_inserted_and_rewritten_whole,
    a_sync_has_one_open_run,
    a_stale_fence_writes_nothing,
    concurrent_clients_never_claim_a_run_twice,
    old_runs_go_but_open_and_last_ones_stay,
    the_history_has_all_kinds_and_the_names_of_what_is_left,
}

async fn runs_are_inserted_and_rewritten_whole(store: Store) {
    let fixture = Fixture::new(&store).await;
    let queued: Vec<Run> = (0..300).map(|number| fixture.run(number)).collect();
    store.write_runs(&queued).await.unwrap();
    let ended = Run {
        state: RunState::Failed,
        error: Some(RunError {
            code: "action_script_runtime_error".to_owned(),
            message: "no\0pe".to_owned(),
            payload: Some(serde_json::value::RawValue::from_string(r#"{"why":  "\u0000"}"#.to_owned()).unwrap()),
            upstream: None,
        }),
        result: BTreeMap::from([(
            "Issue".to_owned(),
            Counts {
                added: 2,
                ..Counts::default()
            },
        )]),
        started_at_ms: Some(NOW_MS + 1),
        ended_at_ms: Some(NOW_MS + 2),
        duration_us: Some(1_234),
        // Rewriting leaves what a run is for as it is.
        function: "other".to_owned(),
        ..fixture.run(299)
    };
    store.write_runs(std::slice::from_ref(&ended)).await.unwrap();
    store.write_runs(&[]).await.unwrap();

    let stored = store.run(&fixture.environment.id, &ended.id).await.unwrap().unwrap();
    assert_eq!(
        (stored.state, stored.duration_us, stored.ended_at_ms),
        (RunState::Failed, Some(1_234), Some(NOW_MS + 2))
    );
    assert_eq!(stored.function, "whoami");
    assert_eq!(stored.result, ended.result);
    let error = stored.error.unwrap();
    assert_eq!(
        (error.message.as_str(), error.payload.unwrap().get()),
        ("no\0pe", r#"{"why":  "\u0000"}"#)
    );
    let first = store
        .run(&fixture.environment.id, &queued[0].id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (first.state, first.started_at_ms, first.error.is_none()),
        (RunState::Queued, None, true)
    );
    assert!(store.run(&"env_other".into(), &ended.id).await.unwrap().is_none());
}

async fn a_sync_has_one_open_run(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let sync = fixture.insert_sync(&key, "issues").await;
    assert!(store.enqueue_sync_run(&fixture.sync_run(&sync, 1)).await.unwrap());
    assert!(
        !store.enqueue_sync_run(&fixture.sync_run(&sync, 2)).await.unwrap(),
        "one is queued"
    );
    let claimed = store.claim_sync_runs(NOW_MS, LEASE_MS, 10).await.unwrap();
    assert!(
        !store.enqueue_sync_run(&fixture.sync_run(&sync, 3)).await.unwrap(),
        "one is running"
    );
    let run = Run {
        state: RunState::Succeeded,
        ended_at_ms: Some(NOW_MS + 9),
        ..claimed[0].run.clone()
    };
    assert!(
        store
            .finish_sync_run(&run, claimed[0].fence, Retry::Succeeded, &[])
            .await
            .unwrap()
    );
    assert!(store.enqueue_sync_run(&fixture.sync_run(&sync, 4)).await.unwrap());

    let newest = store.last_run(&sync.id, &[]).await.unwrap().unwrap();
    assert_eq!(
        (newest.id, newest.state),
        (fixture.sync_run(&sync, 4).id, RunState::Queued)
    );
    let ended = store
        .last_run(&sync.id, &[RunState::Succeeded, RunState::Failed])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (ended.id, ended.started_at_ms, ended.ended_at_ms),
        (run.id, Some(NOW_MS), Some(NOW_MS + 9))
    );
    assert!(
        store
            .last_run(&sync.id, &[RunState::Cancelled])
            .await
            .unwrap()
            .is_none()
    );

    let gone = Sync {
        id: "syn_gone".into(),
        ..sync
    };
    assert!(
        !store.enqueue_sync_run(&fixture.sync_run(&gone, 5)).await.unwrap(),
        "its sync is gone"
    );
}

async fn a_stale_fence_writes_nothing(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let sync = fixture.insert_sync(&key, "issues").await;
    store.enqueue_sync_run(&fixture.sync_run(&sync, 1)).await.unwrap();
    let first = store.claim_sync_runs(NOW_MS, LEASE_MS, 10).await.unwrap().remove(0);
    assert_eq!(first.run.state, RunState::Running);
    assert!(
        store.claim_sync_runs(NOW_MS, LEASE_MS, 10).await.unwrap().is_empty(),
        "the lease holds"
    );
    assert!(
        store
            .renew_lease(&first.run.id, first.fence, LEASE_MS + 1, &first.run.result)
            .await
            .unwrap()
    );
    assert!(
        store.claim_sync_runs(LEASE_MS, LEASE_MS, 10).await.unwrap().is_empty(),
        "the renewed lease holds"
    );

    let second = store
        .claim_sync_runs(LEASE_MS + 1, LEASE_MS * 2, 10)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(second.run.id, first.run.id);
    assert!(second.fence > first.fence);
    assert_eq!(second.run.started_at_ms, Some(NOW_MS), "when it first started");
    let done = Run {
        state: RunState::Succeeded,
        ..first.run.clone()
    };
    assert!(
        !store
            .renew_lease(&first.run.id, first.fence, LEASE_MS * 3, &first.run.result)
            .await
            .unwrap()
    );
    assert!(
        !store
            .finish_sync_run(&done, first.fence, Retry::Succeeded, &[])
            .await
            .unwrap()
    );
    store
        .write_runs(&[Run {
            state: RunState::Failed,
            ..first.run
        }])
        .await
        .unwrap();
    let stored = store.run(&fixture.environment.id, &done.id).await.unwrap().unwrap();
    assert_eq!(stored.state, RunState::Running, "the log leaves claimed runs alone");
    assert!(
        store
            .finish_sync_run(&done, second.fence, Retry::Succeeded, &[])
            .await
            .unwrap()
    );
    assert!(
        !store
            .finish_sync_run(&done, second.fence, Retry::Succeeded, &[])
            .await
            .unwrap(),
        "it ends once"
    );
}

async fn concurrent_clients_never_claim_a_run_twice(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    for number in 0..200 {
        let sync = fixture.insert_sync(&key, &format!("sync-{number}")).await;
        assert!(store.enqueue_sync_run(&fixture.sync_run(&sync, number)).await.unwrap());
    }
    let clients = (0..6).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            for _ in 0..40 {
                claimed.extend(store.claim_sync_runs(NOW_MS, LEASE_MS, 7).await.unwrap());
            }
            claimed
        })
    });
    let mut claimed = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        claimed.extend(client.await.unwrap());
    }
    assert_eq!(claimed.len(), 200);
    assert!(claimed.iter().all(|claimed| claimed.fence == 1));
    let ids: std::collections::HashSet<_> = claimed.iter().map(|claimed| claimed.run.id.clone()).collect();
    assert_eq!(ids.len(), 200);
}

async fn old_runs_go_but_open_and_last_ones_stay(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let sync = fixture.insert_sync(&key, "issues").await;
    let ended = |run: Run| Run {
        state: RunState::Succeeded,
        ..run
    };
    let runs = [
        ended(fixture.run(1)),
        ended(fixture.sync_run(&sync, 2)),
        ended(fixture.sync_run(&sync, 3)),
        fixture.run(4),
    ];
    store.write_runs(&runs).await.unwrap();
    assert_eq!(store.delete_runs_before(NOW_MS, 100).await.unwrap(), 0);
    assert_eq!(store.delete_runs_before(NOW_MS + 1, 1).await.unwrap(), 1);
    assert_eq!(store.delete_runs_before(NOW_MS + 1, 100).await.unwrap(), 1);
    let left = async |run: &Run| store.run(&fixture.environment.id, &run.id).await.unwrap().is_some();
    assert!(!left(&runs[0]).await && !left(&runs[1]).await && left(&runs[2]).await && left(&runs[3]).await);
}

async fn the_history_has_all_kinds_and_the_names_of_what_is_left(store: Store) {
    let fixture = Fixture::new(&store).await;
    let connection = store.upsert_connection(&fixture.connection("a")).await.unwrap();
    let greeted = Run {
        connection_key: connection.key.clone(),
        integration_id: connection.integration_id.clone(),
        kind: FunctionKind::OnEvent,
        trigger: Trigger::Event,
        function: "greet".to_owned(),
        ..fixture.run(7)
    };
    let runs = [fixture.run(1), greeted.clone(), fixture.run(9)];
    store.write_runs(&runs).await.unwrap();
    let list = async |query: RunQuery| {
        let found = store
            .runs(&fixture.environment.id, &RunQuery { limit: 10, ..query })
            .await
            .unwrap();
        found.into_iter().map(|named| named.run.id).collect::<Vec<_>>()
    };
    let all = list(RunQuery::default()).await;
    assert_eq!(
        all,
        [runs[2].id.clone(), greeted.id.clone(), runs[0].id.clone()],
        "the newest first"
    );
    let of_events = RunQuery {
        kind: Some(FunctionKind::OnEvent),
        connection_id: Some("a".to_owned()),
        ..RunQuery::default()
    };
    assert_eq!(list(of_events).await, vec![greeted.id.clone()]);
    let before = RunQuery {
        before: Some(greeted.id.clone()),
        ..RunQuery::default()
    };
    assert_eq!(list(before).await, [runs[0].id.clone()]);
    let named = store
        .named_run(&fixture.environment.id, &greeted.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (named.connection_id.as_deref(), named.run.trigger),
        (Some("a"), Trigger::Event)
    );
    let elsewhere = store.named_run(&"env_other".into(), &greeted.id).await.unwrap();
    assert!(elsewhere.is_none());
}
