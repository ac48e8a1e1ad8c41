//! API keys, on both databases.

use super::*;
use crate::model::{ApiKey, ApiKeyId, EnvironmentId, KeyLimits, Scopes};

for_each_db! {
    keys_keep_what_they_may_do,
    there_is_a_most,
}

fn key(environment: &Environment, number: u8) -> ApiKey {
    ApiKey {
        id: ApiKeyId::from(format!("key_{number}")),
        environment_id: environment.id.clone(),
        name: "ci".to_owned(),
        sha256: [number; 32],
        scopes: vec!["environment:proxy".to_owned()].into(),
        limits: KeyLimits {
            methods: Some(vec!["GET".to_owned()]),
            ..KeyLimits::default()
        },
        created_at_ms: NOW_MS + i64::from(number),
        last_used_at_ms: None,
    }
}

async fn keys_keep_what_they_may_do(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    let (first, mut second) = (key(&environment, 1), key(&environment, 2));
    second.scopes = Scopes::everything();
    second.limits = KeyLimits::default();
    assert!(store.insert_api_key(&first, 50).await.unwrap());
    assert!(store.insert_api_key(&second, 50).await.unwrap());
    let keys = store.api_keys().await.unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(
        (&keys[0].sha256, &keys[0].scopes, &keys[0].limits),
        (&[1; 32], &first.scopes, &first.limits)
    );
    assert_eq!(
        (&keys[1].id, &keys[1].scopes, keys[1].last_used_at_ms),
        (&second.id, &second.scopes, None)
    );

    let uses = [(first.id.clone(), NOW_MS + 9), (ApiKeyId::from("key_9"), NOW_MS)];
    store.set_api_keys_used(&uses).await.unwrap();
    store
        .set_api_keys_used(&[(first.id.clone(), NOW_MS + 5)])
        .await
        .unwrap();
    assert_eq!(store.api_keys().await.unwrap()[0].last_used_at_ms, Some(NOW_MS + 9));

    let elsewhere = EnvironmentId::from("env_other");
    assert!(!store.delete_api_key(&elsewhere, &first.id).await.unwrap());
    assert!(store.delete_api_key(&environment.id, &first.id).await.unwrap());
    assert!(!store.delete_api_key(&environment.id, &first.id).await.unwrap());
    assert_eq!(store.api_keys().await.unwrap().len(), 1);
}

async fn there_is_a_most(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    let keys: Vec<ApiKey> = (1..=6).map(|number| key(&environment, number)).collect();
    let inserts = keys.iter().map(|key| store.insert_api_key(key, 3));
    let inserted = futures_util::future::join_all(inserts).await;
    let inserted = inserted.into_iter().filter(|inserted| *inserted.as_ref().unwrap());
    assert_eq!((inserted.count(), store.api_keys().await.unwrap().len()), (3, 3));
}
