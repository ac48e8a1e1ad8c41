//! Trying stored credentials again, on both databases.

use super::*;
use crate::model::RefreshFailure;

for_each_db! {
    each_that_is_due_is_claimed_once,
    a_failure_is_that_of_the_credentials_it_was_about,
}

async fn each_that_is_due_is_claimed_once(store: Store) {
    let fixture = Fixture::new(&store).await;
    for (connection_id, due_at_ms) in [
        ("a", Some(NOW_MS)),
        ("b", Some(NOW_MS - 1)),
        ("c", Some(NOW_MS + 1)),
        ("d", None),
    ] {
        let key = fixture.insert_connection(connection_id).await;
        if let Some(due_at_ms) = due_at_ms {
            store.set_verification_due(&key, due_at_ms).await.unwrap();
        }
    }
    let claim = |now_ms, limit| {
        let store = store.clone();
        async move {
            let keys = store.claim_verifications(now_ms, now_ms + 1_000, limit).await.unwrap();
            let mut keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            keys.sort();
            keys
        }
    };
    assert_eq!(claim(NOW_MS, 1).await, ["con_b"], "the longest due first");
    let claims = futures_util::future::join_all((0..4).map(|_| claim(NOW_MS, 10))).await;
    assert_eq!(claims.concat(), ["con_a"]);
    assert_eq!(claim(NOW_MS + 999, 10).await, ["con_c"]);
    assert_eq!(claim(NOW_MS + 1_000, 10).await, ["con_a", "con_b"]);
    // Whoever imports says anew when.
    let connection = fixture.connection("a");
    store.upsert_connection(&connection).await.unwrap();
    assert_eq!(claim(NOW_MS + 10_000, 10).await, ["con_b", "con_c"]);
}

async fn a_failure_is_that_of_the_credentials_it_was_about(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let failure = RefreshFailure {
        failed_at_ms: NOW_MS,
        failing_days: 2,
        operation_id: "op_1".into(),
    };
    let stored = || async { store.connection_by_key(&key).await.unwrap().unwrap().refresh };
    assert!(store.write_verification(&key, 0, Some(&failure), &[]).await.unwrap());
    assert_eq!(stored().await.failure, Some(failure.clone()));
    assert!(store.write_verification(&key, 0, None, &[]).await.unwrap());
    assert_eq!(stored().await.failure, None);
    store.upsert_connection(&fixture.connection("a")).await.unwrap();
    assert!(!store.write_verification(&key, 0, Some(&failure), &[]).await.unwrap());
    assert_eq!(stored().await.failure, None);
}
