//! Connect sessions, on both databases.

use super::*;
use crate::store::StoredConnectSession;

for_each_db! {
    sessions_are_found_by_their_hash_until_they_end,
    what_ended_is_deleted,
}

fn session(environment: &Environment, number: u8) -> StoredConnectSession {
    StoredConnectSession {
        id: format!("cse_{number}").as_str().into(),
        environment_id: environment.id.clone(),
        sha256: [number; 32],
        details: Sealed(vec![number, 0, 255]),
        created_at_ms: NOW_MS,
        expires_at_ms: NOW_MS + i64::from(number) * 1_000,
    }
}

async fn sessions_are_found_by_their_hash_until_they_end(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    let (first, second) = (session(&environment, 1), session(&environment, 2));
    store.insert_connect_session(&first).await.unwrap();
    store.insert_connect_session(&second).await.unwrap();
    let found = |sha256: [u8; 32], now_ms| {
        let store = store.clone();
        async move { store.connect_session(&sha256, now_ms).await.unwrap() }
    };
    assert_eq!(found([1; 32], NOW_MS).await.as_ref(), Some(&first));
    assert_eq!(found([2; 32], NOW_MS + 1_999).await.as_ref(), Some(&second));
    assert_eq!(found([2; 32], NOW_MS + 2_000).await, None);
    assert_eq!(found([3; 32], NOW_MS).await, None);
    assert!(store.insert_connect_session(&first).await.is_err());

    assert!(store.delete_connect_session(&first.id).await.unwrap());
    assert!(!store.delete_connect_session(&first.id).await.unwrap());
    assert_eq!(found([1; 32], NOW_MS).await, None);
}

async fn what_ended_is_deleted(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    for number in 1..=4 {
        store
            .insert_connect_session(&session(&environment, number))
            .await
            .unwrap();
    }
    assert_eq!(store.delete_expired_connect_sessions(NOW_MS).await.unwrap(), 0);
    assert_eq!(store.delete_expired_connect_sessions(NOW_MS + 3_000).await.unwrap(), 3);
    assert!(store.connect_session(&[4; 32], NOW_MS).await.unwrap().is_some());
}
