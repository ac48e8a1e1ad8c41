//! The queue of runs for providers' webhooks, on both databases.

use super::*;
use crate::model::{Fence, IncomingWebhook, WebhookRun};
use crate::store::{RecordKey, RunQuery, StoreError};

for_each_db! {
    runs_are_claimed_in_the_order_of_their_line,
    a_claim_ends_and_its_writes_with_it,
    the_queue_is_bounded_and_leaves_nothing,
    a_run_that_has_ended_is_in_the_history,
    connections_that_changed_are_found,
    environments_have_two_names,
}

const LEASE_MS: i64 = 30_000;

fn incoming(fixture: &Fixture, id: &str) -> IncomingWebhook {
    IncomingWebhook {
        id: id.into(),
        environment_id: fixture.environment.id.clone(),
        content: Sealed(id.as_bytes().to_vec()),
        received_at_ms: NOW_MS,
    }
}

fn run(fixture: &Fixture, incoming: &str, id: &str, connection: &ConnectionKey, function: &str) -> WebhookRun {
    WebhookRun {
        id: id.into(),
        incoming_id: incoming.into(),
        environment_id: fixture.environment.id.clone(),
        connection_key: connection.clone(),
        function: function.to_owned(),
        queued_at_ms: NOW_MS,
    }
}

async fn claim(store: &Store, now_ms: i64) -> Vec<(String, i64)> {
    let claimed = store.claim_webhook_runs(now_ms, now_ms + LEASE_MS, 100).await.unwrap();
    let mut claimed: Vec<(String, i64)> = claimed
        .into_iter()
        .map(|one| (one.run.id.as_str().to_owned(), one.fence))
        .collect();
    claimed.sort();
    claimed
}

async fn runs_are_claimed_in_the_order_of_their_line(store: Store) {
    let fixture = Fixture::new(&store).await;
    let (a, b) = (
        fixture.insert_connection("a").await,
        fixture.insert_connection("b").await,
    );
    for (id, runs) in [
        ("inw_1", [("run_1", &a, "x"), ("run_2", &a, "y"), ("run_3", &b, "x")]),
        ("inw_2", [("run_4", &a, "x"), ("run_5", &a, "y"), ("run_6", &b, "x")]),
    ] {
        let runs = runs.map(|(run_id, connection, function)| run(&fixture, id, run_id, connection, function));
        let kept = store.accept_webhook(&incoming(&fixture, id), &runs, &[], 100).await;
        assert!(kept.unwrap());
    }
    let first = claim(&store, NOW_MS).await;
    assert_eq!(
        first,
        [
            ("run_1".to_owned(), 1),
            ("run_2".to_owned(), 1),
            ("run_3".to_owned(), 1)
        ]
    );
    assert_eq!(claim(&store, NOW_MS).await, []);
    let done = run(&fixture, "inw_1", "run_1", &a, "x");
    assert!(store.finish_webhook_run(&done, 1, None, &[]).await.unwrap());
    assert!(!store.finish_webhook_run(&done, 1, None, &[]).await.unwrap());
    let claimed = store.claim_webhook_runs(NOW_MS, NOW_MS + LEASE_MS, 100).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].run.id.as_str()), (1, "run_4"));
    assert_eq!(claimed[0].content, Sealed(b"inw_2".to_vec()));
    // Put back, it is first in its line again when its time comes.
    assert!(
        store
            .requeue_webhook_run(&"run_2".into(), 1, NOW_MS + 50, true)
            .await
            .unwrap()
    );
    assert_eq!(claim(&store, NOW_MS + 49).await, []);
    assert_eq!(claim(&store, NOW_MS + 50).await, [("run_2".to_owned(), 2)]);
    // However often there was no room for it, that is no claim that counts.
    for _ in 0..20 {
        let requeued = store.requeue_webhook_run(&"run_2".into(), 2, NOW_MS + 50, false).await;
        assert!(requeued.unwrap());
        assert_eq!(claim(&store, NOW_MS + 50).await, [("run_2".to_owned(), 2)]);
    }
}

async fn a_claim_ends_and_its_writes_with_it(store: Store) {
    let fixture = Fixture::new(&store).await;
    let connection = fixture.insert_connection("a").await;
    let only = run(&fixture, "inw_1", "run_1", &connection, "x");
    let runs = std::slice::from_ref(&only);
    assert!(
        store
            .accept_webhook(&incoming(&fixture, "inw_1"), runs, &[], 100)
            .await
            .unwrap()
    );
    let of_claim = |number| {
        store.fenced(Fence {
            run_id: "run_1".into(),
            number,
        })
    };
    let key = RecordKey {
        connection_key: connection.clone(),
        model: "Issue".to_owned(),
    };
    let write = async |store: Store| store.save_records(&key, &[], &in_clear(), None, NOW_MS * 1_000).await;
    let save = async |store: Store, seen| {
        store
            .save_checkpoint(&connection, "webhook:x:base", "{}", seen, NOW_MS)
            .await
    };
    assert!(
        matches!(save(of_claim(0), 0).await, Err(StoreError::Superseded { .. })),
        "not claimed yet"
    );
    assert_eq!(claim(&store, NOW_MS).await.len(), 1);
    write(of_claim(1)).await.unwrap();
    assert_eq!(save(of_claim(1), 0).await.unwrap(), Some(1));
    assert!(store.renew_webhook_run(&only.id, 1, NOW_MS + LEASE_MS).await.unwrap());
    // Somebody else has it.
    assert_eq!(claim(&store, NOW_MS + LEASE_MS).await, [("run_1".to_owned(), 2)]);
    assert!(
        !store
            .renew_webhook_run(&only.id, 1, NOW_MS + 2 * LEASE_MS)
            .await
            .unwrap()
    );
    assert!(!store.requeue_webhook_run(&only.id, 1, NOW_MS, true).await.unwrap());
    assert!(!store.finish_webhook_run(&only, 1, None, &[]).await.unwrap());
    assert!(matches!(save(of_claim(1), 1).await, Err(StoreError::Superseded { .. })));
    assert_eq!(save(of_claim(2), 1).await.unwrap(), Some(2));
    // Its owner is known to be dead.
    store.release_leases().await.unwrap();
    assert_eq!(claim(&store, NOW_MS + LEASE_MS).await, [("run_1".to_owned(), 3)]);
    assert!(store.finish_webhook_run(&only, 3, None, &[]).await.unwrap());
    assert!(
        matches!(save(of_claim(3), 2).await, Err(StoreError::Superseded { .. })),
        "it has ended"
    );
}

async fn the_queue_is_bounded_and_leaves_nothing(store: Store) {
    let fixture = Fixture::new(&store).await;
    let connection = fixture.insert_connection("a").await;
    let two = ["run_1", "run_2"].map(|id| run(&fixture, "inw_1", id, &connection, "x"));
    assert!(
        !store
            .accept_webhook(&incoming(&fixture, "inw_1"), &two, &[], 1)
            .await
            .unwrap()
    );
    assert!(
        store
            .accept_webhook(&incoming(&fixture, "inw_1"), &two, &[], 2)
            .await
            .unwrap()
    );
    assert_eq!(store.queued_webhook_runs(&fixture.environment.id).await.unwrap(), 2);
    let third = [run(&fixture, "inw_2", "run_3", &connection, "x")];
    assert!(
        !store
            .accept_webhook(&incoming(&fixture, "inw_2"), &third, &[], 2)
            .await
            .unwrap()
    );
    // What no run is for takes no place.
    assert!(
        store
            .accept_webhook(&incoming(&fixture, "inw_3"), &[], &[], 2)
            .await
            .unwrap()
    );
    for one in &two {
        assert_eq!(claim(&store, NOW_MS).await.len(), 1);
        assert!(store.finish_webhook_run(one, 1, None, &[]).await.unwrap());
    }
    assert_eq!(store.queued_webhook_runs(&fixture.environment.id).await.unwrap(), 0);
    // It went with its last run.
    assert_eq!(store.delete_handled_webhooks(NOW_MS, 100).await.unwrap(), 0);
}

async fn a_run_that_has_ended_is_in_the_history(store: Store) {
    let fixture = Fixture::new(&store).await;
    let connection = fixture.insert_connection("a").await;
    let queued = run(&fixture, "inw_1", "run_1", &connection, "x");
    let runs = std::slice::from_ref(&queued);
    let kept = store.accept_webhook(&incoming(&fixture, "inw_1"), runs, &[], 100).await;
    assert!(kept.unwrap());
    assert_eq!(claim(&store, NOW_MS).await.len(), 1);
    let ran = Run {
        id: queued.id.clone(),
        connection_key: connection,
        function: "x".to_owned(),
        kind: FunctionKind::Sync,
        trigger: Trigger::Webhook,
        state: RunState::Succeeded,
        ..fixture.run(1)
    };
    let environment = &fixture.environment.id;
    let history = async || {
        store
            .runs(
                environment,
                &RunQuery {
                    limit: 10,
                    ..RunQuery::default()
                },
            )
            .await
            .unwrap()
    };
    assert!(!store.finish_webhook_run(&queued, 2, Some(&ran), &[]).await.unwrap());
    assert!(history().await.is_empty(), "somebody else has it");
    assert!(store.finish_webhook_run(&queued, 1, Some(&ran), &[]).await.unwrap());
    let found = history().await;
    assert_eq!((found.len(), found[0].run.trigger), (1, Trigger::Webhook));
    assert_eq!(found[0].connection_id.as_deref(), Some("a"));
    // Nobody claims it as a run of a sync.
    assert!(
        store
            .claim_sync_runs(NOW_MS, NOW_MS + LEASE_MS, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn connections_that_changed_are_found(store: Store) {
    let fixture = Fixture::new(&store).await;
    let keys = [
        fixture.insert_connection("a").await,
        fixture.insert_connection("b").await,
    ];
    let integration = &fixture.integration.id;
    let all = store
        .connections_changed(integration, (i64::MIN, ""), 10)
        .await
        .unwrap();
    assert_eq!(all.len(), 2);
    let last = &all[0];
    let after = (last.updated_at_ms, last.key.as_str());
    let rest = store.connections_changed(integration, after, 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    let later_ms = NOW_MS + 60_000;
    let _ = store
        .set_metadata(&keys[..1], &JsonObject::new(), false, later_ms)
        .await
        .unwrap();
    let changed = store
        .connections_changed(integration, (later_ms - 1, ""), 10)
        .await
        .unwrap();
    assert_eq!(changed.iter().map(|it| &it.key).collect::<Vec<_>>(), [&keys[0]]);
}

async fn environments_have_two_names(store: Store) {
    let fixture = Fixture::new(&store).await;
    let (id, name) = (fixture.environment.id.as_str(), fixture.environment.name.as_str());
    for given in [id, name] {
        let found = store.environment_by_id_or_name(given).await.unwrap().unwrap();
        assert_eq!(found.id, fixture.environment.id);
    }
    assert!(store.environment_by_id_or_name("nowhere").await.unwrap().is_none());
}
