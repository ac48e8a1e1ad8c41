//! Environments and integrations, on both databases.

use super::*;
use crate::store::StoreError;

for_each_db! {
    environments_and_settings,
    integrations_keep_blobs_and_nulls,
}

async fn environments_and_settings(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    assert_eq!(
        store.environment_by_name("prod").await.unwrap().unwrap().id,
        environment.id
    );
    assert!(store.environment_by_name("dev").await.unwrap().is_none());
    let again = store.insert_environment(&environment).await.unwrap_err();
    assert!(matches!(again, StoreError::Taken { .. }), "{again}");

    assert_eq!(store.setting("check").await.unwrap(), None);
    assert_eq!(store.insert_setting("check", &[0, 255]).await.unwrap(), [0, 255]);
    assert_eq!(store.insert_setting("check", &[1]).await.unwrap(), [0, 255]);
    assert_eq!(store.setting("check").await.unwrap(), Some(vec![0, 255]));
}

async fn integrations_keep_blobs_and_nulls(store: Store) {
    let Fixture {
        environment,
        integration: mut github,
        ..
    } = Fixture::new(&store).await;
    assert!(!store.insert_integration(&github).await.unwrap(), "the key is taken");
    let stored = store.integration(&environment.id, "github").await.unwrap().unwrap();
    assert_eq!((stored.secrets, stored.forward_webhooks), (None, true));

    github.secrets = Some(Sealed(vec![0, 200, 255]));
    github.forward_webhooks = false;
    github.unique_key = "hub".to_owned();
    assert!(store.update_integration(&github).await.unwrap());
    let stored = store.integration(&environment.id, "hub").await.unwrap().unwrap();
    assert_eq!(
        (stored.secrets, stored.forward_webhooks),
        (Some(Sealed(vec![0, 200, 255])), false)
    );
    assert!(store.integration(&environment.id, "github").await.unwrap().is_none());

    let mut slack = integration(&environment, "slack");
    slack.created_at_ms += 1;
    assert!(store.insert_integration(&slack).await.unwrap());
    let newest_first: Vec<String> = store
        .integrations(&environment.id)
        .await
        .unwrap()
        .into_iter()
        .map(|i| i.unique_key)
        .collect();
    assert_eq!(newest_first, ["slack", "hub"]);
    slack.unique_key = "hub".to_owned();
    let taken = store.update_integration(&slack).await.unwrap_err();
    assert!(matches!(taken, StoreError::Taken { .. }), "{taken}");

    assert!(store.delete_integration(&environment.id, "hub", NOW_MS).await.unwrap());
    assert!(!store.delete_integration(&environment.id, "hub", NOW_MS).await.unwrap());
    assert!(!store.update_integration(&github).await.unwrap());
}
