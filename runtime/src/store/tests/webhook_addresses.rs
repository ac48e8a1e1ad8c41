//! Addresses of connections for providers' webhooks, on both databases.

use super::*;
use crate::model::Sealed;
use crate::store::StoredWebhookAddress;

for_each_db! {
    a_connection_has_one_address_until_it_is_deleted,
}

async fn a_connection_has_one_address_until_it_is_deleted(store: Store) {
    let fixture = Fixture::new(&store).await;
    let connection = store.upsert_connection(&fixture.connection("a")).await.unwrap();
    let address = |token_hash: &str| StoredWebhookAddress {
        connection_key: connection.key.clone(),
        integration_id: connection.integration_id.clone(),
        token_hash: token_hash.to_owned(),
        sealed: Sealed(b"first".to_vec()),
    };
    assert!(store.webhook_address(&connection.key).await.unwrap().is_none());
    assert!(store.insert_webhook_address(&address("one")).await.unwrap());
    assert!(
        !store.insert_webhook_address(&address("two")).await.unwrap(),
        "it has one"
    );
    let found = store.webhook_address_by_token("one").await.unwrap().unwrap();
    assert_eq!(
        (found.connection_key, found.token_hash),
        (connection.key.clone(), "one".to_owned())
    );
    assert!(store.webhook_address_by_token("two").await.unwrap().is_none());
    let (first, second) = (Sealed(b"first".to_vec()), Sealed(b"second".to_vec()));
    assert!(
        store
            .replace_webhook_address(&connection.key, &first, &second)
            .await
            .unwrap()
    );
    assert!(
        !store
            .replace_webhook_address(&connection.key, &first, &second)
            .await
            .unwrap(),
        "it is another by now"
    );
    assert!(store.delete_connection(&connection.key, NOW_MS).await.unwrap());
    assert!(store.webhook_address_by_token("one").await.unwrap().is_none());
}
