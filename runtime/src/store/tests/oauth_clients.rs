//! Clients that register themselves, on both databases.

use super::*;
use crate::store::{StoreError, StoredOAuthClient};

for_each_db! {
    one_registers_and_all_find_it,
    who_comes_late_does_not_overwrite,
    a_client_that_is_unknown_is_forgotten,
    an_integration_takes_its_clients_along,
}

const LEASE_MS: i64 = 60_000;

fn client(hash: &str, expires_at_ms: Option<i64>) -> StoredOAuthClient {
    StoredOAuthClient {
        details: Sealed(hash.as_bytes().to_vec()),
        client_id_hash: hash.to_owned(),
        expires_at_ms,
    }
}

async fn one_registers_and_all_find_it(store: Store) {
    let Fixture { integration, .. } = Fixture::new(&store).await;
    let id = &integration.id;
    let asked = (0..8).map(|_| store.acquire_oauth_client_lease("key", id, NOW_MS, NOW_MS + LEASE_MS));
    let leases = futures_util::future::join_all(asked).await;
    let leases: Vec<_> = leases.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(leases.len(), 1);
    assert_eq!(store.oauth_client("key", NOW_MS).await.unwrap(), None);
    let client = client("hash", Some(NOW_MS + 5_000));
    let written = store.write_oauth_client("key", leases[0], &client, NOW_MS).await;
    assert!(written.unwrap());
    assert_eq!(store.oauth_client("key", NOW_MS).await.unwrap(), Some(client.details));
    assert_eq!(store.oauth_client("other", NOW_MS).await.unwrap(), None);
    assert_eq!(
        store.oauth_client("key", NOW_MS + 5_000).await.unwrap(),
        None,
        "its secret has ended by then"
    );
}

async fn who_comes_late_does_not_overwrite(store: Store) {
    let Fixture { integration, .. } = Fixture::new(&store).await;
    let id = &integration.id;
    let lease = |now_ms| store.acquire_oauth_client_lease("key", id, now_ms, now_ms + LEASE_MS);
    let first = lease(NOW_MS).await.unwrap().unwrap();
    assert!(lease(NOW_MS + LEASE_MS - 1).await.unwrap().is_none());
    let second = lease(NOW_MS + LEASE_MS).await.unwrap().unwrap();
    assert!(second.fence > first.fence);
    let now_ms = NOW_MS + LEASE_MS + 1;
    let written = store
        .write_oauth_client("key", second, &client("two", None), now_ms)
        .await;
    assert!(written.unwrap());
    let late = store
        .write_oauth_client("key", first, &client("one", None), now_ms)
        .await;
    assert!(!late.unwrap());
    assert_eq!(
        store.oauth_client("key", i64::MAX).await.unwrap(),
        Some(client("two", None).details)
    );
    // Giving back what is not one's own any more does nothing; giving back one's own lets the next in.
    let third = lease(now_ms).await.unwrap().unwrap();
    store.end_oauth_client_lease("key", second).await.unwrap();
    assert!(lease(now_ms).await.unwrap().is_none());
    store.end_oauth_client_lease("key", third).await.unwrap();
    assert!(lease(now_ms).await.unwrap().is_some());
}

async fn a_client_that_is_unknown_is_forgotten(store: Store) {
    let Fixture { integration, .. } = Fixture::new(&store).await;
    let id = &integration.id;
    for (key, hash) in [("a", "one"), ("b", "two")] {
        let lease = store.acquire_oauth_client_lease(key, id, NOW_MS, NOW_MS + LEASE_MS);
        let lease = lease.await.unwrap().unwrap();
        let written = store.write_oauth_client(key, lease, &client(hash, None), NOW_MS).await;
        assert!(written.unwrap());
    }
    assert_eq!(store.forget_oauth_client(id, "one").await.unwrap(), 1);
    assert_eq!(store.forget_oauth_client(id, "one").await.unwrap(), 0);
    assert_eq!(store.forget_oauth_client(&"int_other".into(), "two").await.unwrap(), 0);
    assert_eq!(store.oauth_client("a", NOW_MS).await.unwrap(), None);
    assert!(store.oauth_client("b", NOW_MS).await.unwrap().is_some());
}

async fn an_integration_takes_its_clients_along(store: Store) {
    let Fixture {
        integration,
        environment,
        ..
    } = Fixture::new(&store).await;
    let lease = store.acquire_oauth_client_lease("key", &integration.id, NOW_MS, NOW_MS + LEASE_MS);
    let lease = lease.await.unwrap().unwrap();
    let deleted = store.delete_integration(&environment.id, &integration.unique_key, NOW_MS);
    assert!(deleted.await.unwrap());
    let written = store
        .write_oauth_client("key", lease, &client("one", None), NOW_MS)
        .await;
    assert!(!written.unwrap());
    let gone = store.acquire_oauth_client_lease("key", &integration.id, NOW_MS, NOW_MS + LEASE_MS);
    assert!(matches!(gone.await, Err(StoreError::ParentGone(_))));
}
