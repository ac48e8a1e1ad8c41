//! Checkpoints, on both databases.

use super::*;

for_each_db! {
    a_checkpoint_conflicts_unless_the_last_version_was_seen,
    of_concurrent_saves_one_wins,
}

async fn a_checkpoint_conflicts_unless_the_last_version_was_seen(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let save = async |json: &str, seen| {
        store
            .save_checkpoint(&key, "sync:issues:base", json, seen, NOW_MS)
            .await
            .unwrap()
    };
    let stored = async || {
        store
            .checkpoint(&key, "sync:issues:base")
            .await
            .unwrap()
            .map(|c| (c.json, c.version))
    };

    assert_eq!(stored().await, None);
    assert_eq!(save("{}", 3).await, None, "nothing to have seen");
    assert_eq!(save(r#"{"page":1}"#, 0).await, Some(1));
    assert_eq!(save(r#"{"page":9}"#, 0).await, None, "one is there");
    assert_eq!(save(r#"{"page":2}"#, 1).await, Some(2));
    assert_eq!(save(r#"{"page":9}"#, 1).await, None, "stale");
    assert_eq!(stored().await, Some((r#"{"page":2}"#.to_owned(), 2)));

    store.clear_checkpoint(&key, "sync:issues:base", NOW_MS).await.unwrap();
    assert_eq!(stored().await, None);
    assert_eq!(save("{}", 2).await, None, "cleared since");
    assert_eq!(save(r#"{"page":1}"#, 0).await, Some(4), "the version goes on counting");
    assert!(store.checkpoint(&key, "sync:other:base").await.unwrap().is_none());
}

async fn of_concurrent_saves_one_wins(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    for seen in 0..5 {
        let saves = (0..4).map(|n| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move {
                store
                    .save_checkpoint(&key, "k", &format!("{{\"n\":{n}}}"), seen, NOW_MS)
                    .await
                    .unwrap()
            })
        });
        let mut won = 0;
        for save in saves.collect::<Vec<_>>() {
            won += i32::from(save.await.unwrap() == Some(seen + 1));
        }
        assert_eq!(won, 1);
    }
}
