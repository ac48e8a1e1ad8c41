//! What becomes of old records, on both databases, with a clock that is moved.

use std::collections::BTreeMap;

use super::*;
use crate::clock::ManualClock;
use crate::logs::{LogOptions, Logs};
use crate::model::{ConnectionKey, FunctionManifest, Operation, OperationKind, RunState, Sync};
use crate::store::{NewDeployment, OperationQuery, RetentionBatch, Retry};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

for_each_db! {
    payloads_that_do_not_change_are_emptied,
    sealed_payloads_that_do_not_change_are_emptied,
    records_of_syncs_that_do_not_run_are_deleted,
    one_process_at_a_time_does_it,
    a_tick_keeps_to_its_limit_and_the_next_goes_on,
    sealing_keeps_to_its_limit_and_goes_on_where_it_was,
}

struct Scene {
    fixture: Fixture,
    records: Records,
    retention: Retention,
    clock: ManualClock,
}

impl Scene {
    async fn new(store: Store, seals: bool, days: RetentionDays) -> Self {
        let fixture = Fixture::new(&store).await;
        let (clock, hand) = Clock::manual(NOW_MS);
        let retention = Retention {
            store: store.clone(),
            logs: Logs::start(store.clone(), clock.clone(), &LogOptions::default()),
            clock: clock.clone(),
            entropy: Entropy::seeded(3),
            days,
            looked: Looked::default(),
            batches_max: RETENTION_BATCHES_MAX,
        };
        Self {
            fixture,
            records: open(store, clock, seals).await,
            retention,
            clock: hand,
        }
    }

    async fn model(&self, name: &str) -> RecordKey {
        RecordKey {
            connection_key: self.fixture.insert_connection("a").await,
            model: name.to_owned(),
        }
    }

    async fn save(&self, key: &RecordKey, ids: std::ops::Range<usize>, value: u64) -> Counts {
        let record = |id| serde_json::json!({"id": format!("i{id}"), "value": value});
        let batch = serde_json::Value::from_iter(ids.map(record)).to_string();
        save(&self.records, key, &batch).await.unwrap()
    }

    /// Cursors of all, and of how many the payload is left.
    async fn list(&self, key: &RecordKey) -> (Vec<String>, usize) {
        let filter = RecordFilter {
            limit: 10_000,
            ..RecordFilter::default()
        };
        let records = self.records.list(key, &filter).await.unwrap().records;
        let whole = records.iter().filter(|record| record.data.get().contains("value"));
        assert_eq!(
            whole.clone().count(),
            records.iter().filter(|record| record.pruned_at_us.is_none()).count()
        );
        (
            records.iter().map(|record| record.cursor.clone()).collect(),
            whole.count(),
        )
    }

    fn advance_days(&self, days: i64) {
        self.clock.advance_ms(days * DAY_MS);
    }

    async fn tick(&self) -> (u64, u64) {
        let done = self.retention.tick(self.retention.clock.now_ms()).await.unwrap();
        assert!(!done.more);
        (done.pruned, done.deleted)
    }

    async fn operations(&self) -> Vec<Operation> {
        self.retention.logs.flush().await;
        let query = OperationQuery {
            limit: 100,
            ..OperationQuery::default()
        };
        let environment = &self.fixture.environment.id;
        self.fixture.store.operations(environment, &query).await.unwrap()
    }

    /// A sync that was deployed, and that has run once.
    async fn sync(&self, key: &ConnectionKey) -> Sync {
        let manifest: FunctionManifest = serde_json::from_value(serde_json::json!({
            "name": "issues", "kind": "sync", "frequency": "every hour", "models": {"Issue": {"type": "object"}},
        }))
        .unwrap();
        let deployment = NewDeployment {
            id: "dep_1".into(),
            environment_id: self.fixture.environment.id.clone(),
            integration_id: self.fixture.integration.id.clone(),
            provider_config_key: "github",
            digest: "d1",
            component: &[0],
            functions: &[manifest],
            canary: None,
            now_ms: NOW_MS,
        };
        let seen = BTreeMap::new();
        let seen = [(&self.fixture.integration.id, &seen)];
        let deployed = self.fixture.store.insert_deployments(&[deployment], &seen, &[]).await;
        assert!(deployed.unwrap().is_some());
        let sync = self.fixture.insert_sync(key, "issues").await;
        self.run(&sync).await;
        sync
    }

    /// Runs it without writing anything.
    async fn run(&self, sync: &Sync) {
        let (store, now_ms) = (&self.fixture.store, self.retention.clock.now_ms());
        let mut run = self.fixture.sync_run(sync, 1);
        run.id = crate::model::RunId::new(now_ms, [1; 16]);
        run.created_at_ms = now_ms;
        assert!(store.enqueue_sync_run(&run).await.unwrap());
        let mut claimed = store
            .claim_sync_runs(now_ms, now_ms + 1_000, 1)
            .await
            .unwrap()
            .remove(0);
        claimed.run.state = RunState::Succeeded;
        claimed.run.ended_at_ms = Some(now_ms);
        assert!(
            store
                .finish_sync_run(&claimed.run, claimed.fence, Retry::Succeeded, &[])
                .await
                .unwrap()
        );
    }
}

async fn payloads_that_do_not_change_are_emptied(store: Store) {
    are_emptied(store, false).await;
}

async fn sealed_payloads_that_do_not_change_are_emptied(store: Store) {
    are_emptied(store, true).await;
}

async fn are_emptied(store: Store, seals: bool) {
    let days = RetentionDays {
        payloads: 30,
        records: 0,
    };
    let scene = Scene::new(store, seals, days).await;
    let (key, other) = (scene.model("Issue").await, scene.model("Issue::eu").await);
    // More than one batch, of one moment.
    scene.save(&key, 0..700, 1).await;
    scene.save(&other, 0..3, 1).await;
    scene.advance_days(10);
    scene.save(&key, 0..100, 2).await;
    let (before, _) = scene.list(&key).await;
    scene.advance_days(19);
    assert_eq!(scene.tick().await, (0, 0), "29 days are not 30");
    scene.advance_days(2);
    assert_eq!(scene.tick().await, (603, 0));
    assert_eq!(scene.tick().await, (0, 0), "each once");
    assert_eq!(scene.list(&key).await, (before, 100), "readers see no change");
    let operations = scene.operations().await;
    let told: Vec<(OperationKind, &str, Option<&str>)> = operations
        .iter()
        .map(|operation| (operation.kind, &*operation.message, operation.connection_id.as_deref()))
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let wanted = "The payloads of 600 records of Issue were emptied: they had not changed for 30 days \
                  (limits.record_payload_retention_days)";
    assert!(
        told.contains(&(OperationKind::RecordsPrune, wanted, Some("a"))),
        "{told:?}"
    );

    // What is saved as it was is no change, whatever was emptied; what is saved otherwise is whole again.
    let again = scene.save(&key, 100..700, 1).await;
    assert_eq!((again.updated, again.unchanged), (0, 600));
    assert_eq!(scene.save(&key, 690..700, 3).await.updated, 10);
    assert_eq!(scene.list(&key).await.1, 110);
    scene.advance_days(10);
    assert_eq!(scene.tick().await, (100, 0));
    // A clock that was wrong for a while does not keep what comes after it.
    scene.advance_days(-40);
    assert_eq!(scene.save(&key, 0..5, 4).await.updated, 5);
    scene.advance_days(100);
    assert_eq!(scene.tick().await, (15, 0));
    assert_eq!(scene.list(&key).await.1, 0);
}

async fn records_of_syncs_that_do_not_run_are_deleted(store: Store) {
    let days = RetentionDays {
        payloads: 0,
        records: 60,
    };
    let scene = Scene::new(store.clone(), false, days).await;
    let (key, orphan) = (scene.model("Issue").await, scene.model("Gone").await);
    let sync = scene.sync(&key.connection_key).await;
    scene.save(&key, 0..600, 1).await;
    scene.save(&orphan, 0..5, 1).await;
    let checkpoint = "sync:issues:base";
    let saved = store
        .save_checkpoint(&key.connection_key, checkpoint, "{}", 0, NOW_MS)
        .await;
    assert_eq!(saved.unwrap(), Some(1));
    let (before, _) = scene.list(&key).await;
    scene.advance_days(50);
    // It finds nothing to write.
    scene.run(&sync).await;
    scene.advance_days(11);
    assert_eq!(scene.tick().await, (0, 5), "of a model that no sync writes any more");
    assert_eq!(scene.list(&key).await.0.len(), 600, "its sync has run");
    assert!(
        store
            .checkpoint(&key.connection_key, checkpoint)
            .await
            .unwrap()
            .is_some()
    );
    scene.advance_days(50);
    assert_eq!(scene.tick().await, (0, 600));
    assert_eq!(scene.list(&key).await.0.len(), 0);
    // It knows no more of what it has read, and reads it again.
    assert!(
        store
            .checkpoint(&key.connection_key, checkpoint)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(scene.tick().await, (0, 0));
    let operations = scene.operations().await;
    let deleted = operations
        .iter()
        .filter(|operation| operation.kind == OperationKind::RecordsDelete);
    assert_eq!(deleted.count(), 2, "{operations:?}");

    // A reader who stopped where he was sees what comes, whatever the clock says.
    scene.advance_days(-200);
    assert_eq!(scene.save(&key, 0..3, 1).await.added, 3);
    let filter = RecordFilter {
        cursor: before.last().cloned(),
        limit: 10,
        ..RecordFilter::default()
    };
    assert_eq!(scene.records.list(&key, &filter).await.unwrap().records.len(), 3);
}

async fn one_process_at_a_time_does_it(store: Store) {
    let days = RetentionDays {
        payloads: 1,
        records: 1,
    };
    let scene = Scene::new(store.clone(), false, days).await;
    let key = scene.model("Issue").await;
    scene.save(&key, 0..5, 1).await;
    scene.advance_days(2);
    let now_ms = scene.retention.clock.now_ms();
    let lease = store
        .acquire_upkeep("record_retention", now_ms, now_ms + 1_000)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(scene.tick().await, (0, 0), "somebody else is at it");
    // He was too slow: what he does from then on is refused.
    scene.clock.advance_ms(1_000);
    assert_eq!(scene.tick().await, (0, 5));
    scene.save(&key, 0..5, 1).await;
    scene.advance_days(2);
    let batch = RetentionBatch {
        lease,
        until_ms: now_ms,
        records: 10,
    };
    let now_us = scene.retention.clock.now_us();
    assert_eq!(
        store.prune_old_records(batch, &key, now_us, now_us).await.unwrap(),
        None
    );
    assert_eq!(
        store
            .delete_old_records(batch, &key, &[], now_us, now_ms)
            .await
            .unwrap(),
        None
    );
    assert_eq!(scene.list(&key).await.1, 5);

    // Nothing is done where nothing is set.
    let off = Retention {
        days: RetentionDays {
            payloads: 0,
            records: 0,
        },
        ..scene.retention.clone()
    };
    assert_eq!(
        off.tick(scene.retention.clock.now_ms()).await.unwrap(),
        Retained::default()
    );
}

/// What each tick did until nothing was left.
async fn ticks(scene: &Scene) -> Vec<u64> {
    let mut done = Vec::new();
    loop {
        let tick = scene.retention.tick(scene.retention.clock.now_ms()).await.unwrap();
        done.push(tick.pruned + tick.deleted);
        if !tick.more {
            return done;
        }
    }
}

async fn a_tick_keeps_to_its_limit_and_the_next_goes_on(store: Store) {
    const BATCH: u64 = RETENTION_BATCH_RECORDS.cast_unsigned();
    let days = RetentionDays {
        payloads: 30,
        records: 60,
    };
    let mut scene = Scene::new(store, true, days).await;
    scene.retention.batches_max = 2;
    let keys = [scene.model("Issue").await, scene.model("Issue::eu").await];
    for key in &keys {
        scene.save(key, 0..700, 1).await;
    }
    scene.advance_days(31);
    let done = ticks(&scene).await;
    assert!(done.iter().all(|count| *count <= 2 * BATCH), "{done:?}");
    assert_eq!(done.iter().sum::<u64>(), 1_400, "{done:?}");
    assert_eq!(scene.list(&keys[0]).await.1 + scene.list(&keys[1]).await.1, 0);

    scene.advance_days(31);
    let done = ticks(&scene).await;
    assert!(done.iter().all(|count| *count <= 2 * BATCH), "{done:?}");
    assert_eq!(done.iter().sum::<u64>(), 1_400, "{done:?}");
    for key in &keys {
        assert_eq!(scene.list(key).await.0.len(), 0);
    }
}

async fn sealing_keeps_to_its_limit_and_goes_on_where_it_was(store: Store) {
    let days = RetentionDays {
        payloads: 0,
        records: 0,
    };
    let scene = Scene::new(store.clone(), false, days).await;
    let keys = [scene.model("Issue").await, scene.model("Issue::eu").await];
    for key in &keys {
        scene.save(key, 0..700, 1).await;
    }
    let before = [scene.list(&keys[0]).await, scene.list(&keys[1]).await];
    let sealing = open(store.clone(), scene.retention.clock.clone(), true).await;
    let mut place = SealingPlace::default();
    let mut done = Vec::new();
    loop {
        let call = sealing.seal_stored(&mut place, 2).await.unwrap();
        done.push(call.sealed);
        if !call.more {
            break;
        }
        // One that was written behind what has been sealed is found by another look.
        if done.len() == 2 {
            scene.save(&keys[0], 0..1, 2).await;
        }
    }
    assert!(done.iter().all(|count| *count <= 512), "{done:?}");
    assert_eq!(done.iter().sum::<u64>(), 1_400, "each once: {done:?}");
    let again = sealing.seal_stored(&mut place, 100).await.unwrap();
    assert_eq!((again.sealed, again.more), (1, false));
    let again = sealing.seal_stored(&mut place, 100).await.unwrap();
    assert_eq!(again, SealedStored::default());
    assert_eq!(
        store.next_model_in_clear(None).await.unwrap().map(|key| key.model),
        None
    );
    assert_eq!(scene.list(&keys[1]).await, before[1], "sealing is no change");
    assert_eq!(scene.list(&keys[0]).await.1, before[0].1);
}
