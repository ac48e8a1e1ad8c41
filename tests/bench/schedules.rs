//! What it costs to find, queue, claim and end runs of syncs that are due, with 100,000 schedules against 100. Both tables give the
//! same number of runs at the same times, so that only the number of schedules differs; functions are not run.

use std::collections::BTreeMap;

use nango_runtime::model::{
    BASE_VARIANT, Connection, DeploymentId, Environment, FrequencySource, FunctionKind, FunctionManifest, Integration,
    RefreshState, RunId, RunState, Sealed, Sync, SyncId, SyncState,
};
use nango_runtime::store::{NewDeployment, Retry, Store};
use nango_runtime_tests::server::cpu_seconds;

use crate::Effort;
use crate::report::{Figure, Target};

const FEW: u32 = 100;
/// Times that a run costs with many schedules what it costs with few.
const RATIO_MAX: f64 = 1.5;
/// Of one core, for an hour of 100,000 runs.
const CPU_PERCENT_MAX: f64 = 5.0;
const HOUR_MS: i64 = 60 * 60 * 1_000;
/// Between two looks of the scheduler.
const TICK_MS: i64 = 1_000;
const BEGIN_MS: i64 = 1_800_000_000_000;
const LEASE_MS: i64 = 30_000;
/// Runs claimed at once.
const CLAIM: i64 = 256;

/// What an hour took.
struct Hour {
    runs: u32,
    cpu_seconds: f64,
}

impl Hour {
    fn us_a_run(&self) -> f64 {
        self.cpu_seconds * 1e6 / f64::from(self.runs)
    }
}

pub async fn measure(effort: Effort) -> Vec<Figure> {
    let many = effort.schedules;
    let (few, all) = (hour(FEW, many).await, hour(many, many).await);
    assert_eq!(few.runs, all.runs, "both have the same work");
    vec![
        Figure {
            name: "a run that is due, of many schedules : few".to_owned(),
            unit: "x",
            value: all.us_a_run() / few.us_a_run(),
            target: Target::AtMost(RATIO_MAX),
            detail: format!(
                "{:.0} us of CPU with {many} : {:.0} us with {FEW}",
                all.us_a_run(),
                few.us_a_run()
            ),
        },
        Figure {
            name: "CPU for many schedules due over an hour".to_owned(),
            unit: "%",
            value: all.cpu_seconds / 3_600.0 * 100.0,
            target: Target::AtMost(CPU_PERCENT_MAX),
            detail: format!("of one core; {} runs queued, claimed and ended", all.runs),
        },
    ]
}

/// Goes through an hour second by second with `schedules` of which about `runs` become due, evenly.
async fn hour(schedules: u32, runs: u32) -> Hour {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("bench.sqlite").display()))
        .await
        .expect("a database can be made");
    prepare(&store, schedules, runs).await;
    let (mut number, mut ended) = (0_u128, 0);
    let before = cpu_seconds("self");
    let mut now_ms = BEGIN_MS;
    while now_ms < BEGIN_MS + HOUR_MS {
        now_ms += TICK_MS;
        let id = || {
            number += 1;
            RunId::new(now_ms, number.to_le_bytes())
        };
        store
            .enqueue_due_syncs(now_ms, CLAIM, |_, _| None, id)
            .await
            .expect("what is due can be queued");
        let claimed = store
            .claim_sync_runs(now_ms, now_ms + LEASE_MS, CLAIM)
            .await
            .expect("what is queued can be claimed");
        for mut claimed in claimed {
            claimed.run.state = RunState::Succeeded;
            claimed.run.ended_at_ms = Some(now_ms);
            claimed.run.duration_us = Some(1);
            let is_mine = store
                .finish_sync_run(&claimed.run, claimed.fence, Retry::Succeeded, &[])
                .await;
            assert!(is_mine.expect("a run can be ended"), "nobody else is here");
            ended += 1;
        }
    }
    let cpu_seconds = cpu_seconds("self") - before;
    store.close().await;
    Hour {
        runs: ended,
        cpu_seconds,
    }
}

async fn prepare(store: &Store, schedules: u32, runs: u32) {
    let environment = Environment {
        id: "env_1".into(),
        name: "prod".to_owned(),
        created_at_ms: 0,
    };
    store
        .insert_environment(&environment)
        .await
        .expect("an environment can be made");
    let integration = Integration {
        id: "int_1".into(),
        environment_id: environment.id.clone(),
        unique_key: "bench".to_owned(),
        provider: "unauthenticated".to_owned(),
        display_name: "Bench".to_owned(),
        secrets: None,
        forward_webhooks: false,
        created_at_ms: 0,
        updated_at_ms: 0,
    };
    assert!(
        store
            .insert_integration(&integration)
            .await
            .expect("an integration can be made")
    );
    let manifest: FunctionManifest =
        serde_json::from_value(serde_json::json!({"name": "sync", "kind": FunctionKind::Sync}))
            .expect("it is a manifest");
    let deployment = NewDeployment {
        canary: None,
        id: DeploymentId::from("dep_1"),
        environment_id: environment.id.clone(),
        integration_id: integration.id.clone(),
        provider_config_key: "bench",
        digest: "0",
        component: &[],
        functions: &[manifest],
        now_ms: 0,
    };
    store
        .insert_deployments(&[deployment], &[(&integration.id, &BTreeMap::new())], &[])
        .await
        .expect("a function can be deployed");
    // Each is due `runs / schedules` times within the hour, at its own moment.
    let frequency_ms = HOUR_MS * i64::from(schedules) / i64::from(runs);
    for number in 0..schedules {
        let connection = Connection {
            key: format!("con_{number:08}").as_str().into(),
            environment_id: environment.id.clone(),
            integration_id: integration.id.clone(),
            provider_config_key: "bench".to_owned(),
            provider: "unauthenticated".to_owned(),
            connection_id: format!("conn-{number}"),
            credentials: Sealed(Vec::new()),
            connection_config: Sealed(Vec::new()),
            metadata: serde_json::Map::new(),
            tags: BTreeMap::new(),
            end_user: None,
            webhook_url_override: None,
            created_at_ms: 0,
            updated_at_ms: 0,
            refresh: RefreshState::default(),
        };
        store
            .upsert_connection(&connection)
            .await
            .expect("a connection can be made");
        let anchor_ms = BEGIN_MS + frequency_ms * i64::from(number) / i64::from(schedules) - frequency_ms;
        let sync = Sync {
            id: SyncId::from(format!("syn_{number:08}")),
            environment_id: environment.id.clone(),
            integration_id: integration.id.clone(),
            connection_key: connection.key.clone(),
            connection_id: String::new(),
            function: "sync".to_owned(),
            variant: BASE_VARIANT.to_owned(),
            state: SyncState::Started,
            frequency_ms: Some(frequency_ms),
            cron: None,
            frequency_from: FrequencySource::Function,
            anchor_ms,
            next_due_at_ms: Some(anchor_ms + frequency_ms),
            failures: 0,
            waits_until_ms: None,
            last_run: None,
        };
        store.ensure_sync(&sync).await.expect("a sync can be made");
    }
}
