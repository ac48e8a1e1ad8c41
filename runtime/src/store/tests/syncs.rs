//! Syncs, on both databases.

use super::*;
use crate::store::StoreError;

for_each_db! {
    a_sync_is_inserted_once_and_listed_with_its_last_run,
    due_syncs_move_along_their_grid,
    concurrent_schedulers_never_claim_one_sync_twice,
}

async fn a_sync_is_inserted_once_and_listed_with_its_last_run(store: Store) {
    let fixture = Fixture::new(&store).await;
    let b = fixture.insert_connection("b").await;
    let a = fixture.insert_connection("a").await;
    let first = fixture.insert_sync(&b, "issues").await;
    let again = Sync {
        id: "syn_new".into(),
        frequency_ms: None,
        ..fixture.sync(&b, "issues")
    };
    assert_eq!(store.ensure_sync(&again).await.unwrap().id, first.id);
    assert_eq!((first.connection_id.as_str(), first.frequency_ms), ("b", Some(60_000)));
    let extra = Sync {
        id: "syn_extra".into(),
        variant: "archive".to_owned(),
        ..fixture.sync(&b, "issues")
    };
    store.ensure_sync(&extra).await.unwrap();
    fixture.insert_sync(&a, "issues").await;
    let gone = store
        .ensure_sync(&fixture.sync(&"con_gone".into(), "issues"))
        .await
        .unwrap_err();
    assert!(matches!(gone, StoreError::ParentGone(_)), "{gone}");

    for number in [1, 2] {
        let run = Run {
            state: RunState::Failed,
            ..fixture.sync_run(&first, number)
        };
        store.write_runs(&[run]).await.unwrap();
    }
    let syncs = store.syncs(&fixture.environment.id, "github", None).await.unwrap();
    let listed: Vec<_> = syncs
        .iter()
        .map(|sync| {
            (
                sync.connection_id.as_str(),
                sync.variant.as_str(),
                sync.last_run.as_ref().map(|run| &run.id),
            )
        })
        .collect();
    let newest = fixture.sync_run(&first, 2).id;
    assert_eq!(
        listed,
        [
            ("a", "base", None),
            ("b", "archive", None),
            ("b", "base", Some(&newest))
        ]
    );
    assert_eq!(
        store
            .syncs(&fixture.environment.id, "github", Some(&a))
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        store.sync(&first.id).await.unwrap().unwrap().last_run.unwrap().id,
        newest
    );
    assert!(store.sync(&"syn_gone".into()).await.unwrap().is_none());
}

async fn due_syncs_move_along_their_grid(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let on_time = fixture.insert_sync(&key, "a").await;
    let late = Sync {
        next_due_at_ms: Some(NOW_MS - 200_000),
        ..fixture.sync(&key, "b")
    };
    store.ensure_sync(&late).await.unwrap();
    for not_due in [
        Sync {
            state: SyncState::Paused,
            ..fixture.sync(&key, "paused")
        },
        Sync {
            frequency_ms: None,
            ..fixture.sync(&key, "triggered")
        },
        Sync {
            next_due_at_ms: Some(NOW_MS + 1),
            ..fixture.sync(&key, "later")
        },
    ] {
        store.ensure_sync(&not_due).await.unwrap();
    }
    let first = store.claim_due_syncs(NOW_MS, 1).await.unwrap();
    assert_eq!(
        (first.len(), &first[0].id),
        (1, &late.id),
        "the longest due comes first"
    );
    assert_eq!(
        first[0].next_due_at_ms,
        Some(NOW_MS + 40_000),
        "on the grid, not from now"
    );
    let second = store.claim_due_syncs(NOW_MS, 100).await.unwrap();
    assert_eq!((second.len(), &second[0].id), (1, &on_time.id));
    assert_eq!(second[0].next_due_at_ms, Some(NOW_MS + 60_000));
    assert_eq!(store.claim_due_syncs(NOW_MS, 100).await.unwrap().len(), 0);
}

async fn concurrent_schedulers_never_claim_one_sync_twice(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    for number in 0..60 {
        fixture.insert_sync(&key, &format!("sync-{number}")).await;
    }
    let schedulers = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            // An empty answer may mean that all candidates went to others: only the count of all tells the end.
            for _ in 0..40 {
                claimed.extend(
                    store
                        .claim_due_syncs(NOW_MS, 3)
                        .await
                        .unwrap()
                        .into_iter()
                        .map(|sync| sync.id),
                );
            }
            claimed
        })
    });
    let mut all = Vec::new();
    for scheduler in schedulers.collect::<Vec<_>>() {
        all.extend(scheduler.await.unwrap());
    }
    assert_eq!(all.len(), 60);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 60);
}
