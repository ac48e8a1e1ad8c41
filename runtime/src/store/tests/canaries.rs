//! Canaries, on both databases.

use std::collections::BTreeMap;

use super::*;
use crate::model::{
    CanaryFunction, CanaryShare, CanaryState, FunctionManifest, IncomingWebhook, RunCounts, WebhookRun,
};
use crate::store::{NewCanary, NewDeployment, Retry};

for_each_db! {
    a_canary_is_tried_and_promoted_once,
    what_is_rolled_back_leaves_no_trace_in_functions,
    one_canary_at_a_time_and_no_other_deploy,
    a_version_that_is_activated_is_no_canary,
    going_back_passes_over_what_was_given_up,
    the_run_of_a_sync_counts_with_its_end,
    the_run_of_a_handler_counts_if_it_began,
}

const NEW: NewCanary = NewCanary {
    percent: 40,
    errors_percent: 10,
    began_at_ms: NOW_MS,
    until_ms: NOW_MS + 60_000,
};

/// Deploys `a` and `b`; false when that was not to be done.
async fn deploy(fixture: &Fixture, digest: &str, canary: Option<NewCanary>) -> bool {
    let manifest = |name: &str| -> FunctionManifest {
        serde_json::from_value(serde_json::json!({"name": name, "kind": "action"})).unwrap()
    };
    let functions = [manifest("a"), manifest("b")];
    let deployment = NewDeployment {
        id: format!("dep_{digest}_{}", canary.map_or(0, |canary| canary.percent)).into(),
        environment_id: fixture.environment.id.clone(),
        integration_id: fixture.integration.id.clone(),
        provider_config_key: "github",
        digest,
        component: &[0, 97, 115, 109],
        functions: &functions,
        canary,
        now_ms: NOW_MS,
    };
    let active = fixture.store.functions(&fixture.environment.id, None).await.unwrap();
    let seen: BTreeMap<String, String> = active.into_iter().map(|it| (it.name, it.digest)).collect();
    let seen = [(&fixture.integration.id, &seen)];
    let deployed = fixture.store.insert_deployments(&[deployment], &seen, &[]).await;
    deployed.unwrap().is_some()
}

/// Of function `a`: the active version, and what is tried.
async fn versions(fixture: &Fixture) -> (i64, Option<CanaryShare>) {
    let store = &fixture.store;
    let rollout = store
        .rollout(&fixture.environment.id, "github", "a")
        .await
        .unwrap()
        .unwrap();
    let tried = rollout.canary.as_ref().map(|(function, percent)| CanaryShare {
        version: function.version,
        percent: *percent,
    });
    assert_eq!(tried, rollout.active.canary);
    (rollout.active.version, tried)
}

fn ran(fixture: &Fixture, number: u64, version: i64, state: RunState) -> Run {
    Run {
        function: "a".to_owned(),
        kind: FunctionKind::Action,
        version,
        sync_id: None,
        state,
        ..fixture.run(number)
    }
}

async fn a_canary_is_tried_and_promoted_once(store: Store) {
    let fixture = Fixture::new(&store).await;
    assert!(deploy(&fixture, "d1", None).await);
    assert!(deploy(&fixture, "d2", Some(NEW)).await);
    assert_eq!(
        versions(&fixture).await,
        (
            1,
            Some(CanaryShare {
                version: 2,
                percent: 40
            })
        )
    );
    let runs = [
        ran(&fixture, 1, 2, RunState::Succeeded),
        ran(&fixture, 2, 2, RunState::Failed),
        ran(&fixture, 3, 1, RunState::Succeeded),
        ran(&fixture, 4, 2, RunState::Succeeded),
        ran(&fixture, 5, 2, RunState::Cancelled),
        ran(&fixture, 6, 9, RunState::Failed),
    ];
    store.write_runs(&runs).await.unwrap();
    let running = store.running_canaries().await.unwrap();
    let canary = store.canary(&fixture.integration.id).await.unwrap().unwrap();
    assert_eq!(running, std::slice::from_ref(&canary));
    assert_eq!((canary.percent, canary.state), (40, CanaryState::Running));
    let expected = |name: &str, runs: (i64, i64), active: (i64, i64)| CanaryFunction {
        name: name.to_owned(),
        version: 2,
        runs: RunCounts {
            succeeded: runs.0,
            failed: runs.1,
        },
        active_version: Some(1),
        active_runs: RunCounts {
            succeeded: active.0,
            failed: active.1,
        },
    };
    let functions = [expected("a", (2, 1), (1, 0)), expected("b", (0, 0), (0, 0))];
    assert_eq!(canary.functions, functions);

    let mut ends = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (store, integration) = (store.clone(), fixture.integration.id.clone());
        ends.spawn(async move {
            let end = store.end_canary(&integration, CanaryState::Promoted, "good", NOW_MS + 5);
            end.await.unwrap()
        });
    }
    let ended = ends.join_all().await;
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
    assert_eq!(versions(&fixture).await, (2, None));
    let canary = store.canary(&fixture.integration.id).await.unwrap().unwrap();
    assert_eq!(
        (canary.state, canary.reason.as_deref(), canary.ended_at_ms),
        (CanaryState::Promoted, Some("good"), Some(NOW_MS + 5))
    );
    store
        .write_runs(&[ran(&fixture, 7, 2, RunState::Failed)])
        .await
        .unwrap();
    let later = store.canary(&fixture.integration.id).await.unwrap().unwrap();
    assert_eq!(later.functions, functions, "what comes after its end does not count");
    assert_eq!(store.running_canaries().await.unwrap(), []);
}

async fn what_is_rolled_back_leaves_no_trace_in_functions(store: Store) {
    let fixture = Fixture::new(&store).await;
    assert!(deploy(&fixture, "d1", None).await);
    assert!(deploy(&fixture, "d2", Some(NEW)).await);
    let end = async |state| {
        store
            .end_canary(&fixture.integration.id, state, "bad", NOW_MS + 5)
            .await
            .unwrap()
    };
    assert!(end(CanaryState::RolledBack).await);
    assert!(!end(CanaryState::Promoted).await, "it has ended");
    assert_eq!(versions(&fixture).await, (1, None));
    // The next one begins anew, with a version of its own.
    assert!(deploy(&fixture, "d2", Some(NewCanary { percent: 5, ..NEW })).await);
    assert_eq!(
        versions(&fixture).await,
        (1, Some(CanaryShare { version: 3, percent: 5 }))
    );
    let canary = store.canary(&fixture.integration.id).await.unwrap().unwrap();
    assert_eq!(
        (canary.state, canary.reason, canary.ended_at_ms),
        (CanaryState::Running, None, None)
    );
    assert_eq!(
        (canary.functions[0].version, canary.functions[0].runs),
        (3, RunCounts::default())
    );
}

async fn one_canary_at_a_time_and_no_other_deploy(store: Store) {
    let fixture = Fixture::new(&store).await;
    assert!(deploy(&fixture, "d1", None).await);
    assert!(deploy(&fixture, "d2", Some(NEW)).await);
    assert!(!deploy(&fixture, "d3", Some(NEW)).await);
    assert!(!deploy(&fixture, "d3", None).await);
    let end = store.end_canary(&fixture.integration.id, CanaryState::Aborted, "", NOW_MS);
    assert!(end.await.unwrap());
    assert!(deploy(&fixture, "d3", None).await);
    assert_eq!(versions(&fixture).await, (3, None));
}

async fn a_version_that_is_activated_is_no_canary(store: Store) {
    let fixture = Fixture::new(&store).await;
    assert!(deploy(&fixture, "d1", None).await);
    assert!(deploy(&fixture, "d2", None).await);
    assert!(deploy(&fixture, "d3", Some(NEW)).await);
    let activate = store.activate_version(&fixture.environment.id, "github", "a", 1, NOW_MS);
    assert!(activate.await.unwrap().is_some());
    assert_eq!(versions(&fixture).await, (1, None));
    let end = store.end_canary(&fixture.integration.id, CanaryState::Promoted, "", NOW_MS);
    assert!(end.await.unwrap());
    assert_eq!(versions(&fixture).await, (1, None), "it was taken out of it");
    let b = store
        .rollout(&fixture.environment.id, "github", "b")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(b.active.version, 3);
}

async fn going_back_passes_over_what_was_given_up(store: Store) {
    let fixture = Fixture::new(&store).await;
    let environment = &fixture.environment.id;
    let before = async || store.version_before(environment, "github", "a").await.unwrap();
    let go_back = async || {
        for name in ["a", "b"] {
            let version = store
                .version_before(environment, "github", name)
                .await
                .unwrap()
                .unwrap();
            let activated = store
                .activate_version(environment, "github", name, version, NOW_MS)
                .await
                .unwrap();
            assert_eq!(activated.unwrap().active_version, version);
        }
    };
    assert!(deploy(&fixture, "d1", None).await);
    assert_eq!(before().await, None);
    assert!(deploy(&fixture, "d2", Some(NEW)).await);
    // While one is tried, it is gone back to the active one; with the last function the canary has ended.
    assert_eq!(before().await, Some(1));
    go_back().await;
    assert_eq!(versions(&fixture).await, (1, None));
    let canary = store.canary(&fixture.integration.id).await.unwrap().unwrap();
    assert_eq!(
        (canary.state, canary.reason.as_deref()),
        (CanaryState::Aborted, Some("its functions were rolled back"))
    );
    // One that was rolled back as bad is not what was there before the next.
    assert!(deploy(&fixture, "d3", Some(NEW)).await);
    let end = store.end_canary(&fixture.integration.id, CanaryState::RolledBack, "", NOW_MS);
    assert!(end.await.unwrap());
    assert!(deploy(&fixture, "d4", None).await);
    assert_eq!((versions(&fixture).await, before().await), ((4, None), Some(1)));
    // Neither is one that somebody went back from, nor the same bytes again.
    go_back().await;
    assert!(deploy(&fixture, "d5", None).await);
    assert_eq!((versions(&fixture).await, before().await), ((5, None), Some(1)));
    let forward = store
        .activate_version(environment, "github", "a", 4, NOW_MS)
        .await
        .unwrap();
    assert_eq!(forward.unwrap().version, 4);
    let forward = store
        .activate_version(environment, "github", "a", 5, NOW_MS)
        .await
        .unwrap();
    assert!(forward.is_some());
    assert_eq!(before().await, Some(4), "somebody wanted it again");
}

async fn the_run_of_a_sync_counts_with_its_end(store: Store) {
    let fixture = Fixture::new(&store).await;
    assert!(deploy(&fixture, "d1", None).await);
    assert!(deploy(&fixture, "d2", Some(NEW)).await);
    let key = fixture.insert_connection("a").await;
    let sync = fixture.insert_sync(&key, "a").await;
    store.enqueue_sync_run(&fixture.sync_run(&sync, 1)).await.unwrap();
    let claimed = store
        .claim_sync_runs(NOW_MS, NOW_MS + 30_000, 10)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(claimed.run.version, 1);
    // It was queued before anybody knew which version it would be.
    let ended = Run {
        state: RunState::Failed,
        version: 2,
        ..claimed.run
    };
    let finish = async |fence| store.finish_sync_run(&ended, fence, Retry::Failed, &[]).await.unwrap();
    assert!(!finish(claimed.fence + 1).await);
    assert!(finish(claimed.fence).await);
    let stored = store.run(&fixture.environment.id, &ended.id).await.unwrap().unwrap();
    assert_eq!(stored.version, 2);
    let canary = store.canary(&fixture.integration.id).await.unwrap().unwrap();
    assert_eq!(
        canary.functions[0].runs,
        RunCounts {
            succeeded: 0,
            failed: 1
        }
    );
}

async fn the_run_of_a_handler_counts_if_it_began(store: Store) {
    let fixture = Fixture::new(&store).await;
    assert!(deploy(&fixture, "d1", None).await);
    assert!(deploy(&fixture, "d2", Some(NEW)).await);
    let connection_key = fixture.insert_connection("a").await;
    let incoming = IncomingWebhook {
        id: "inw_1".into(),
        environment_id: fixture.environment.id.clone(),
        content: Sealed(Vec::new()),
        received_at_ms: NOW_MS,
    };
    let queued = [1, 2, 3].map(|number| WebhookRun {
        id: fixture.run(number).id,
        incoming_id: incoming.id.clone(),
        environment_id: fixture.environment.id.clone(),
        connection_key: connection_key.clone(),
        function: "a".to_owned(),
        queued_at_ms: NOW_MS,
    });
    assert!(store.accept_webhook(&incoming, &queued, &[], 10).await.unwrap());
    let ends = [
        (RunState::Succeeded, Some(NOW_MS)),
        (RunState::Failed, Some(NOW_MS)),
        (RunState::Failed, None),
    ];
    for ((number, queued), (state, started_at_ms)) in (1..).zip(&queued).zip(ends) {
        let claimed = store.claim_webhook_runs(NOW_MS, NOW_MS + 30_000, 10).await.unwrap();
        assert_eq!(claimed.len(), 1);
        let run = Run {
            started_at_ms,
            ..ran(&fixture, number, 2, state)
        };
        assert!(store.finish_webhook_run(queued, 1, Some(&run), &[]).await.unwrap());
    }
    let canary = store.canary(&fixture.integration.id).await.unwrap().unwrap();
    let counted = RunCounts {
        succeeded: 1,
        failed: 1,
    };
    assert_eq!(canary.functions[0].runs, counted);
}
