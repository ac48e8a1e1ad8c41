//! Syncs, on both databases.

use super::*;
use crate::store::StoreError;

for_each_db! {
    a_sync_is_inserted_once_and_listed_with_its_last_run,
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
