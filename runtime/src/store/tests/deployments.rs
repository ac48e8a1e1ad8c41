//! Deployments and versions, on both databases.

use std::collections::BTreeMap;

use super::*;
use crate::model::{Function, FunctionManifest};
use crate::store::NewDeployment;

fn manifest(name: &str) -> FunctionManifest {
    serde_json::from_value(serde_json::json!({
        "name": name, "kind": "sync", "frequency": "every hour", "models": {"Issue": {"type": "object"}},
    }))
    .unwrap()
}

async fn deploy(fixture: &Fixture, id: &str, digest: &str, names: &[&str]) -> Vec<(String, i64)> {
    let functions: Vec<FunctionManifest> = names.iter().map(|name| manifest(name)).collect();
    let deployment = NewDeployment {
        id: id.into(),
        environment_id: fixture.environment.id.clone(),
        integration_id: fixture.integration.id.clone(),
        provider_config_key: "github",
        digest,
        component: &[0, 97, 115, 109, 255],
        functions: &functions,
        canary: None,
        now_ms: NOW_MS,
    };
    loop {
        let seen = seen(fixture).await;
        let seen = [(&fixture.integration.id, &seen)];
        let deployed = fixture
            .store
            .insert_deployments(std::slice::from_ref(&deployment), &seen, &[])
            .await;
        // None: another one was faster.
        if let Some(deployed) = deployed.unwrap() {
            return versions(&deployed[0]);
        }
    }
}

async fn seen(fixture: &Fixture) -> BTreeMap<String, String> {
    let active = fixture
        .store
        .functions(&fixture.environment.id, Some("github"))
        .await
        .unwrap();
    active
        .into_iter()
        .map(|function| (function.name, function.digest))
        .collect()
}

fn versions(functions: &[Function]) -> Vec<(String, i64)> {
    functions
        .iter()
        .map(|function| (function.name.clone(), function.version))
        .collect()
}

fn expect(versions: &[(&str, i64)]) -> Vec<(String, i64)> {
    versions
        .iter()
        .map(|(name, version)| ((*name).to_owned(), *version))
        .collect()
}

for_each_db! {
    removed_functions_take_their_syncs_along,
    versions_count_for_each_function,
    concurrent_deployments_get_versions_of_their_own,
    a_failed_deployment_changes_nothing,
}

async fn versions_count_for_each_function(store: Store) {
    let fixture = Fixture::new(&store).await;
    let environment_id = &fixture.environment.id;
    assert_eq!(
        deploy(&fixture, "dep_1", "d1", &["b", "a"]).await,
        expect(&[("b", 1), ("a", 1)])
    );
    assert_eq!(
        deploy(&fixture, "dep_2", "d1", &["a", "b"]).await,
        expect(&[("a", 1), ("b", 1)]),
        "the same bytes"
    );
    assert_eq!(
        deploy(&fixture, "dep_3", "d2", &["a", "c"]).await,
        expect(&[("a", 2), ("c", 1)])
    );
    assert_eq!(store.component("d1").await.unwrap().unwrap(), [0, 97, 115, 109, 255]);
    assert!(store.component("d9").await.unwrap().is_none());

    let active = store.functions(environment_id, None).await.unwrap();
    assert_eq!(versions(&active), expect(&[("a", 2), ("b", 1), ("c", 1)]));
    assert_eq!(active[0].manifest.frequency.as_deref(), Some("every hour"));
    assert_eq!((active[0].digest.as_str(), active[0].active_version), ("d2", 2));
    assert_eq!(store.functions(environment_id, Some("slack")).await.unwrap().len(), 0);

    let rolled_back = store
        .activate_version(environment_id, "github", "a", 1, NOW_MS)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            rolled_back.version,
            rolled_back.active_version,
            rolled_back.digest.as_str()
        ),
        (1, 1, "d1")
    );
    assert!(
        store
            .activate_version(environment_id, "github", "a", 9, NOW_MS)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .activate_version(environment_id, "github", "x", 1, NOW_MS)
            .await
            .unwrap()
            .is_none()
    );
    let before = store.version_before(environment_id, "github", "a").await.unwrap();
    assert_eq!(before, None, "it is at its first");
    let active = store
        .active_function(environment_id, "github", "a")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(active.version, 1);
    assert!(
        store
            .active_function(environment_id, "github", "x")
            .await
            .unwrap()
            .is_none()
    );

    assert_eq!(
        deploy(&fixture, "dep_4", "d2", &["a"]).await,
        expect(&[("a", 3)]),
        "counts on from the newest"
    );
    // Somebody wanted 2, so that it is not given up; but 3 is of the same bytes.
    for version in [2, 3] {
        let activated = store
            .activate_version(environment_id, "github", "a", version, NOW_MS)
            .await;
        assert!(activated.unwrap().is_some());
    }
    let before = store.version_before(environment_id, "github", "a").await.unwrap();
    assert_eq!(before, Some(1));
    let all = store.function_versions(environment_id, "github", "a").await.unwrap();
    assert_eq!(versions(&all), expect(&[("a", 3), ("a", 2), ("a", 1)]));
    assert!(all.iter().all(|function| function.active_version == 3));

    assert!(
        store
            .delete_integration(environment_id, "github", NOW_MS)
            .await
            .unwrap()
    );
    assert_eq!(store.functions(environment_id, None).await.unwrap().len(), 0);
}

async fn removed_functions_take_their_syncs_along(store: Store) {
    let fixture = Fixture::new(&store).await;
    deploy(&fixture, "dep_1", "d1", &["a", "b"]).await;
    let connection_key = fixture.insert_connection("c").await;
    store.ensure_sync(&fixture.sync(&connection_key, "a")).await.unwrap();
    let removed = [(&fixture.integration.id, "a")];
    let stale = BTreeMap::new();
    let nothing = store
        .insert_deployments(&[], &[(&fixture.integration.id, &stale)], &removed)
        .await;
    assert!(nothing.unwrap().is_none(), "something else was seen");
    assert_eq!(seen(&fixture).await.len(), 2);
    let now = seen(&fixture).await;
    let done = store
        .insert_deployments(&[], &[(&fixture.integration.id, &now)], &removed)
        .await;
    assert!(done.unwrap().is_some());
    assert_eq!(seen(&fixture).await.into_keys().collect::<Vec<_>>(), ["b"]);
    let syncs = store.syncs(&fixture.environment.id, "github", None).await.unwrap();
    assert_eq!(syncs.len(), 0);
}

async fn concurrent_deployments_get_versions_of_their_own(store: Store) {
    let fixture = std::sync::Arc::new(Fixture::new(&store).await);
    let deployments = (0..8).map(|n| {
        let fixture = fixture.clone();
        tokio::spawn(async move { deploy(&fixture, &format!("dep_{n}"), &format!("d{n}"), &["a"]).await })
    });
    let mut seen = Vec::new();
    for deployment in deployments.collect::<Vec<_>>() {
        seen.push(deployment.await.unwrap()[0].1);
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=8).collect::<Vec<i64>>());
}

async fn a_failed_deployment_changes_nothing(store: Store) {
    let fixture = Fixture::new(&store).await;
    deploy(&fixture, "dep_1", "d1", &["a"]).await;
    let functions = [manifest("a")];
    // The id of the deployment is taken.
    let deployment = NewDeployment {
        id: "dep_1".into(),
        environment_id: fixture.environment.id.clone(),
        integration_id: fixture.integration.id.clone(),
        provider_config_key: "github",
        digest: "d2",
        component: &[],
        functions: &functions,
        canary: None,
        now_ms: NOW_MS,
    };
    let seen = seen(&fixture).await;
    let seen = [(&fixture.integration.id, &seen)];
    store.insert_deployments(&[deployment], &seen, &[]).await.unwrap_err();
    assert!(store.component("d2").await.unwrap().is_none(), "rolled back");
    assert_eq!(
        store
            .active_function(&fixture.environment.id, "github", "a")
            .await
            .unwrap()
            .unwrap()
            .digest,
        "d1"
    );
}
