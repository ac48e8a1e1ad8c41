//! Authorizations under way, on both databases.

use super::*;

for_each_db! {
    an_authorization_is_taken_once_and_in_time,
    one_is_replaced_only_by_who_has_seen_it,
    places_are_found_by_their_start,
}

async fn an_authorization_is_taken_once_and_in_time(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    let details = Sealed(vec![1, 0, 255]);
    for number in 1..=3 {
        let ends_at_ms = NOW_MS + i64::from(number) * 1_000;
        store
            .insert_authorization(&format!("hash-{number}"), &environment.id, &details, ends_at_ms)
            .await
            .unwrap();
    }
    // Of many who come with the same state, one gets it.
    let takes = (0..8).map(|_| store.take_authorization("hash-1", NOW_MS));
    let taken = futures_util::future::join_all(takes).await;
    let taken: Vec<_> = taken.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(taken, std::slice::from_ref(&details));
    assert_eq!(store.take_authorization("hash-9", NOW_MS).await.unwrap(), None);
    assert_eq!(store.take_authorization("hash-2", NOW_MS + 2_000).await.unwrap(), None);
    assert_eq!(
        store.delete_expired_authorizations(NOW_MS + 2_999).await.unwrap(),
        1,
        "the one that came late"
    );
    assert_eq!(store.delete_expired_authorizations(NOW_MS + 3_000).await.unwrap(), 1);
}

async fn one_is_replaced_only_by_who_has_seen_it(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    let of = |number: u8| Sealed(vec![number, 0, 255]);
    let times = (NOW_MS, NOW_MS + 1_000);
    let keep = async |details: &Sealed, before: Option<&Sealed>, times| {
        let kept = store
            .replace_authorization("hash", &environment.id, details, before, times)
            .await;
        kept.unwrap()
    };
    assert!(keep(&of(1), None, times).await);
    assert!(!keep(&of(2), None, times).await, "there is one");
    assert!(!keep(&of(2), Some(&of(9)), times).await, "another one");
    assert_eq!(store.authorization("hash", NOW_MS).await.unwrap(), Some(of(1)));
    assert!(keep(&of(2), Some(&of(1)), times).await);
    assert_eq!(store.authorization("hash", NOW_MS).await.unwrap(), Some(of(2)));
    // What has ended is in nobody's way.
    assert_eq!(store.authorization("hash", NOW_MS + 1_000).await.unwrap(), None);
    assert!(keep(&of(3), None, (NOW_MS + 1_000, NOW_MS + 2_000)).await);
    assert_eq!(store.take_authorization("hash", NOW_MS).await.unwrap(), Some(of(3)));
    assert_eq!(store.authorization("hash", NOW_MS).await.unwrap(), None);
}

async fn places_are_found_by_their_start(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    for place in ["page:a", "page:b", "pageant", "a-page:"] {
        let details = Sealed(vec![1]);
        let kept = store
            .insert_authorization(place, &environment.id, &details, NOW_MS)
            .await;
        kept.unwrap();
    }
    let mut found = store.authorizations_at("page:", 10).await.unwrap();
    found.sort();
    assert_eq!(found, ["page:a", "page:b"]);
    assert_eq!(store.authorizations_at("page:", 1).await.unwrap().len(), 1);
}
