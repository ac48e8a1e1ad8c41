//! Schedules, on both databases.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::model::{Fence, Frequency, FrequencySource, FunctionManifest};
use crate::store::{CronSync, RecordKey, RecordWrite, Retry, StoreError, SyncData};

for_each_db! {
    missed_slots_run_once_and_the_grid_stays,
    concurrent_schedulers_never_claim_one_sync_twice,
    a_clock_that_moves_loses_and_doubles_nothing,
    due_syncs_are_found_by_an_index,
    a_crontab_is_asked_for_the_next_slot,
    a_suspended_run_waits_and_keeps_what_it_counted,
    rows_of_a_release_without_schedules_are_spread_and_paused_as_declared,
    a_cancelled_run_writes_nothing_more,
    a_reset_leaves_other_variants_alone,
    a_connection_gets_what_is_deployed_and_keeps_its_own_frequency,
}

fn no_cron(_: CronSync<'_>, _: i64) -> Option<i64> {
    None
}

/// Ids of runs, one after the other.
fn ids(from: u64) -> impl FnMut() -> RunId + Send {
    let mut number = from;
    move || {
        number += 1;
        let mut random = [0; 16];
        random[..8].copy_from_slice(&number.to_be_bytes());
        RunId::new(NOW_MS, random)
    }
}

/// Makes `function` one that is deployed.
async fn deployed(fixture: &Fixture, functions: &[&str]) {
    let manifests: Vec<FunctionManifest> = functions
        .iter()
        .map(|name| serde_json::from_value(serde_json::json!({"name": name, "kind": "sync"})).unwrap())
        .collect();
    let deployment = crate::store::NewDeployment {
        id: "dep_1".into(),
        environment_id: fixture.environment.id.clone(),
        integration_id: fixture.integration.id.clone(),
        provider_config_key: "github",
        digest: "d1",
        component: b"",
        functions: &manifests,
        canary: None,
        now_ms: NOW_MS,
    };
    let active = fixture
        .store
        .functions(&fixture.environment.id, Some("github"))
        .await
        .unwrap();
    let seen = active
        .into_iter()
        .map(|function| (function.name, function.digest))
        .collect();
    let seen = [(&fixture.integration.id, &seen)];
    let deployed = fixture.store.insert_deployments(&[deployment], &seen, &[]).await;
    assert!(deployed.unwrap().is_some());
}

async fn due(store: &Store, id: &SyncId) -> Option<i64> {
    store.sync(id).await.unwrap().unwrap().next_due_at_ms
}

async fn missed_slots_run_once_and_the_grid_stays(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    deployed(&fixture, &["a", "b", "paused", "triggered", "later"]).await;
    let on_time = fixture.insert_sync(&key, "a").await;
    let late = Sync {
        anchor_ms: NOW_MS - 200_000,
        next_due_at_ms: Some(NOW_MS - 200_000),
        ..fixture.sync(&key, "b")
    };
    store.ensure_sync(&late).await.unwrap();
    for not_due in [
        Sync {
            state: SyncState::Paused,
            ..fixture.sync(&key, "paused")
        },
        Sync {
            frequency_ms: None,
            next_due_at_ms: None,
            ..fixture.sync(&key, "triggered")
        },
        Sync {
            next_due_at_ms: Some(NOW_MS + 1),
            ..fixture.sync(&key, "later")
        },
    ] {
        store.ensure_sync(&not_due).await.unwrap();
    }
    let mut next_id = ids(0);
    assert_eq!(
        store.enqueue_due_syncs(NOW_MS, 1, no_cron, &mut next_id).await.unwrap(),
        (1, 1)
    );
    assert_eq!(
        due(&store, &late.id).await,
        Some(NOW_MS + 40_000),
        "on the grid, not from now"
    );
    assert_eq!(
        store
            .enqueue_due_syncs(NOW_MS, 100, no_cron, &mut next_id)
            .await
            .unwrap(),
        (1, 1)
    );
    assert_eq!(due(&store, &on_time.id).await, Some(NOW_MS + 60_000));
    assert_eq!(
        store
            .enqueue_due_syncs(NOW_MS, 100, no_cron, &mut next_id)
            .await
            .unwrap(),
        (0, 0)
    );
    // Both are still queued when their next slots come: those are skipped.
    let (claimed, queued) = store
        .enqueue_due_syncs(NOW_MS + 60_000, 100, no_cron, &mut next_id)
        .await
        .unwrap();
    assert_eq!((claimed, queued), (3, 1), "only `later` has no run yet");
}

async fn concurrent_schedulers_never_claim_one_sync_twice(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let names: Vec<String> = (0..60).map(|number| format!("sync-{number}")).collect();
    deployed(&fixture, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for name in &names {
        fixture.insert_sync(&key, name).await;
    }
    let schedulers = (0..4_u64).map(|scheduler| {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut claimed, mut next_id) = (0, ids(1_000 * scheduler));
            // An empty answer may mean that all candidates went to others: only the count of all tells the end.
            for _ in 0..40 {
                claimed += store
                    .enqueue_due_syncs(NOW_MS, 3, no_cron, &mut next_id)
                    .await
                    .unwrap()
                    .0;
            }
            claimed
        })
    });
    let mut all = 0;
    for scheduler in schedulers.collect::<Vec<_>>() {
        all += scheduler.await.unwrap();
    }
    assert_eq!(all, 60);
}

/// The model: a sync runs at a tick exactly if a slot of its grid lies after the tick before and not after this one.
async fn a_clock_that_moves_loses_and_doubles_nothing(store: Store) {
    const FREQUENCIES_MS: [i64; 3] = [30_000, 60_000, 3_600_000];
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let names: Vec<String> = (0..9).map(|number| format!("s{number}")).collect();
    deployed(&fixture, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let seed = 7;
    let mut random = StdRng::seed_from_u64(seed);
    let mut syncs = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let frequency_ms = FREQUENCIES_MS[number % 3];
        let anchor_ms = NOW_MS - random.random_range(0..30_000);
        let sync = Sync {
            frequency_ms: Some(frequency_ms),
            anchor_ms,
            next_due_at_ms: Some(anchor_ms + frequency_ms),
            ..fixture.sync(&key, name)
        };
        syncs.push(store.ensure_sync(&sync).await.unwrap());
    }
    let slots_until = |sync: &Sync, at_ms: i64| (at_ms - sync.anchor_ms).div_euclid(sync.frequency_ms.unwrap());
    let mut next_id = ids(0);
    let mut now_ms = NOW_MS;
    for step in 0..150 {
        let before_ms = now_ms;
        now_ms += match random.random_range(0..10) {
            0 => -random.random_range(0..7_200_000),
            1 => random.random_range(0..86_400_000),
            _ => random.random_range(0..90_000),
        };
        if now_ms < before_ms {
            store.rejoin_grid(now_ms, no_cron).await.unwrap();
        }
        let expected = syncs
            .iter()
            .filter(|sync| slots_until(sync, now_ms) > slots_until(sync, before_ms))
            .count();
        let (_, queued) = store
            .enqueue_due_syncs(now_ms, 256, no_cron, &mut next_id)
            .await
            .unwrap();
        if now_ms >= before_ms {
            assert_eq!(queued, expected as u64, "seed {seed}, step {step}");
        } else {
            assert_eq!(queued, 0, "seed {seed}, step {step}: the clock went back");
        }
        for claimed in store.claim_sync_runs(now_ms, now_ms + 30_000, 256).await.unwrap() {
            let run = Run {
                state: RunState::Succeeded,
                ended_at_ms: Some(now_ms),
                ..claimed.run
            };
            assert!(
                store
                    .finish_sync_run(&run, claimed.fence, Retry::Succeeded, &[])
                    .await
                    .unwrap()
            );
        }
        for sync in &syncs {
            let wait_ms = due(&store, &sync.id).await.unwrap() - now_ms;
            let frequency_ms = sync.frequency_ms.unwrap();
            assert!(
                (1..=frequency_ms).contains(&wait_ms),
                "seed {seed}, step {step}: {wait_ms}"
            );
        }
    }
    // A failed run comes again before its slot, and the slot stays.
    let sync = &syncs[2];
    store
        .enqueue_due_syncs(now_ms + 3_600_000, 256, no_cron, &mut next_id)
        .await
        .unwrap();
    now_ms += 3_600_000;
    let slot = due(&store, &sync.id).await.unwrap();
    for claimed in store.claim_sync_runs(now_ms, now_ms + 30_000, 256).await.unwrap() {
        let retry = Retry::FailedRetryAt(now_ms + 1);
        assert!(
            store
                .finish_sync_run(&claimed.run, claimed.fence, retry, &[])
                .await
                .is_ok()
        );
    }
    let failed = store.sync(&sync.id).await.unwrap().unwrap();
    assert_eq!((failed.failures, failed.next_due_at_ms), (1, Some(now_ms + 1)));
    store
        .enqueue_due_syncs(now_ms + 1, 256, no_cron, &mut next_id)
        .await
        .unwrap();
    assert_eq!(due(&store, &sync.id).await, Some(slot));
}

async fn due_syncs_are_found_by_an_index(store: Store) {
    let explain = match store.dialect {
        Dialect::Sqlite => "EXPLAIN QUERY PLAN ",
        Dialect::Postgres => "EXPLAIN ",
    };
    let mut connection = store.writer.acquire().await.unwrap();
    if store.dialect == Dialect::Postgres {
        // An empty table is read whole, however many indexes it has.
        connection.execute("SET enable_seqscan = off").await.unwrap();
    }
    // So many or few schedules and waiting runs there are: what is not due is not looked at, and nothing is sorted.
    for (statement, index) in [
        (crate::store::schedules::CLAIM_DUE, "syncs_due"),
        (crate::store::runs::CLAIM_RUNS, "runs_open"),
    ] {
        let statement = statement
            .replace("$1", &NOW_MS.to_string())
            .replace("$2", "256")
            .replace("$3", "256");
        let rows = QueryBuilder::<Any>::new(format!("{explain}{statement}"))
            .build()
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let column = if store.dialect == Dialect::Postgres { 0 } else { 3 };
        let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, column)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("SCAN syncs\n") && !plan.contains("Seq Scan"), "{plan}");
        assert!(!plan.contains("Sort") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

async fn a_crontab_is_asked_for_the_next_slot(store: Store) {
    fn in_a_second(sync: CronSync<'_>, now_ms: i64) -> Option<i64> {
        assert_eq!((sync.cron, sync.function, sync.variant), ("0 9 * * * UTC", "a", "base"));
        Some(now_ms + 1_000)
    }
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    deployed(&fixture, &["a"]).await;
    let sync = Sync {
        frequency_ms: None,
        cron: Some("0 9 * * * UTC".to_owned()),
        ..fixture.sync(&key, "a")
    };
    store.ensure_sync(&sync).await.unwrap();
    let mut next_id = ids(0);
    let claimed = store.enqueue_due_syncs(NOW_MS, 10, in_a_second, &mut next_id).await;
    assert_eq!(claimed.unwrap(), (1, 1));
    assert_eq!(due(&store, &sync.id).await, Some(NOW_MS + 1_000));
    let earlier_ms = NOW_MS - 86_400_000;
    let moved = store.rejoin_grid(earlier_ms, in_a_second).await;
    assert_eq!(moved.unwrap(), 1, "the clock was set back");
    assert_eq!(due(&store, &sync.id).await, Some(earlier_ms + 1_000));
    let every = Frequency::EveryMs(300_000);
    let (own, now) = (FrequencySource::Connection, NOW_MS);
    store
        .set_sync_frequency(&sync.id, Some(&every), None, own, now)
        .await
        .unwrap();
    let changed = store.sync(&sync.id).await.unwrap().unwrap();
    assert_eq!((changed.cron, changed.frequency_ms), (None, Some(300_000)));
}

async fn a_suspended_run_waits_and_keeps_what_it_counted(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let sync = fixture.insert_sync(&key, "issues").await;
    assert!(store.enqueue_sync_run(&fixture.sync_run(&sync, 1)).await.unwrap());
    let mut claimed = store
        .claim_sync_runs(NOW_MS, NOW_MS + 30_000, 1)
        .await
        .unwrap()
        .remove(0);
    let counts = crate::model::Counts {
        added: 7,
        ..Default::default()
    };
    claimed.run.result.insert("Issue".to_owned(), counts);
    let until_ms = NOW_MS + 600_000;
    assert!(
        store
            .suspend_sync_run(&claimed.run, claimed.fence, until_ms)
            .await
            .unwrap()
    );
    assert!(
        !store
            .suspend_sync_run(&claimed.run, claimed.fence, until_ms)
            .await
            .unwrap()
    );
    assert_eq!(
        store.sync(&sync.id).await.unwrap().unwrap().waits_until_ms,
        Some(until_ms)
    );
    assert!(
        !store.enqueue_sync_run(&fixture.sync_run(&sync, 2)).await.unwrap(),
        "it is open"
    );
    // Neither time before, nor a restart, wakes it.
    store.release_leases().await.unwrap();
    assert!(
        store
            .claim_sync_runs(until_ms - 1, until_ms, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let again = store
        .claim_sync_runs(until_ms, until_ms + 30_000, 10)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(again.run.result["Issue"].added, 7);
    assert!(again.fence > claimed.fence);
    // Whoever dies leaves counts behind that nobody vouches for.
    let dead = store
        .claim_sync_runs(until_ms + 30_000, until_ms + 60_000, 10)
        .await
        .unwrap()
        .remove(0);
    assert!(dead.run.result.is_empty());
}

async fn rows_of_a_release_without_schedules_are_spread_and_paused_as_declared(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    deployed(&fixture, &["runs", "waits"]).await;
    for name in ["runs", "waits"] {
        let old = Sync {
            anchor_ms: 0,
            next_due_at_ms: None,
            ..fixture.sync(&key, name)
        };
        store.ensure_sync(&old).await.unwrap();
    }
    let stale = store.stale_schedules(10).await.unwrap().remove(0);
    let spread = Some(NOW_MS + 5_000);
    let wanted = [
        Sync {
            next_due_at_ms: spread,
            ..fixture.sync(&key, "runs")
        },
        Sync {
            next_due_at_ms: spread,
            state: SyncState::Paused,
            ..fixture.sync(&key, "waits")
        },
    ];
    assert!(store.update_schedules(&stale, &wanted, NOW_MS).await.unwrap());
    let syncs = store
        .syncs(&fixture.environment.id, "github", Some(&key))
        .await
        .unwrap();
    let states: Vec<_> = syncs.iter().map(|sync| (sync.state, sync.next_due_at_ms)).collect();
    assert_eq!(states, [(SyncState::Started, spread), (SyncState::Paused, spread)]);
}

async fn a_cancelled_run_writes_nothing_more(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let sync = fixture.insert_sync(&key, "issues").await;
    assert!(store.enqueue_sync_run(&fixture.sync_run(&sync, 1)).await.unwrap());
    let claimed = store
        .claim_sync_runs(NOW_MS, NOW_MS + 30_000, 1)
        .await
        .unwrap()
        .remove(0);
    let fenced = store.fenced(Fence {
        run_id: claimed.run.id.clone(),
        number: claimed.fence,
    });
    let model = RecordKey {
        connection_key: key.clone(),
        model: "Issue".to_owned(),
    };
    let write = RecordWrite {
        external_id: "1",
        hash: [1; 32],
        json: r#"{"id":"1"}"#,
    };
    let records = [write];
    assert_eq!(
        fenced
            .save_records(&model, &records, &in_clear(), None, NOW_US)
            .await
            .unwrap()
            .added,
        1
    );
    let version = fenced
        .save_checkpoint(&key, "sync:issues:base", "{}", 0, NOW_MS)
        .await
        .unwrap();
    assert_eq!(version, Some(1));

    let cancelled = store.cancel_sync_run(&sync.id, NOW_MS).await.unwrap();
    assert_eq!(cancelled, Some(claimed.run.id.clone()));
    assert_eq!(store.cancel_sync_run(&sync.id, NOW_MS).await.unwrap(), None);
    let superseded = |error: StoreError| assert!(matches!(error, StoreError::Superseded { .. }), "{error}");
    superseded(
        fenced
            .save_records(&model, &records, &in_clear(), None, NOW_US)
            .await
            .unwrap_err(),
    );
    superseded(fenced.delete_records(&model, &["1"], None, NOW_US).await.unwrap_err());
    superseded(
        fenced
            .save_checkpoint(&key, "sync:issues:base", "{}", 1, NOW_MS)
            .await
            .unwrap_err(),
    );
    superseded(
        fenced
            .clear_checkpoint(&key, "sync:issues:base", NOW_MS)
            .await
            .unwrap_err(),
    );
    let kept = store.checkpoint(&key, "sync:issues:base").await.unwrap();
    assert_eq!(kept.unwrap().version, 1, "the checkpoint stays");
    assert!(
        !store
            .finish_sync_run(&claimed.run, claimed.fence, Retry::Failed, &[])
            .await
            .unwrap()
    );
}

async fn a_reset_leaves_other_variants_alone(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let sync = fixture.insert_sync(&key, "issues").await;
    for checkpoint in ["sync:issues:base", "sync:issues:base-eu"] {
        store.save_checkpoint(&key, checkpoint, "{}", 0, NOW_MS).await.unwrap();
    }
    let data = SyncData {
        checkpoint_key: "sync:issues:base".to_owned(),
        models: vec!["Issue".to_owned()],
        with_records: true,
    };
    let run = fixture.sync_run(&sync, 1);
    assert_eq!(store.reset_sync(&sync, &data, &run, NOW_MS).await.unwrap(), None);
    assert!(store.checkpoint(&key, "sync:issues:base").await.unwrap().is_none());
    assert!(store.checkpoint(&key, "sync:issues:base-eu").await.unwrap().is_some());
    let again = fixture.sync_run(&sync, 2);
    assert_eq!(
        store.reset_sync(&sync, &data, &again, NOW_MS).await.unwrap(),
        Some(run.id)
    );
}

async fn a_connection_gets_what_is_deployed_and_keeps_its_own_frequency(store: Store) {
    let fixture = Fixture::new(&store).await;
    let key = fixture.insert_connection("a").await;
    let stale = store.stale_schedules(10).await.unwrap().remove(0);
    let wanted = [fixture.sync(&key, "a"), fixture.sync(&key, "b")];
    assert!(store.update_schedules(&stale, &wanted, NOW_MS).await.unwrap());
    assert!(
        !store.update_schedules(&stale, &wanted, NOW_MS).await.unwrap(),
        "done once"
    );
    assert!(store.stale_schedules(10).await.unwrap().is_empty());
    let own = Some(300_000);
    let every = Frequency::EveryMs(300_000);
    store
        .set_sync_frequency(&wanted[0].id, Some(&every), None, FrequencySource::Connection, NOW_MS)
        .await
        .unwrap();
    deployed(&fixture, &["a"]).await;
    let stale = store.stale_schedules(10).await.unwrap().remove(0);
    let slower = [Sync {
        frequency_ms: Some(600_000),
        ..wanted[0].clone()
    }];
    assert!(store.update_schedules(&stale, &slower, NOW_MS).await.unwrap());
    let syncs = store
        .syncs(&fixture.environment.id, "github", Some(&key))
        .await
        .unwrap();
    let left: Vec<_> = syncs
        .iter()
        .map(|sync| (sync.function.as_str(), sync.frequency_ms))
        .collect();
    assert_eq!(left, [("a", own)], "b is not deployed any more");
    assert_eq!(syncs[0].next_due_at_ms, Some(NOW_MS + 300_000));
}
