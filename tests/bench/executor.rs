//! A fresh instance, a trivial action and the drop through `Runtime::invoke`, against the same component run with nothing but
//! wasmtime in the same process.

use std::time::{Duration, Instant};

use nango_runtime::Runtime;
use nango_runtime::connections::{NewConnection, NewIntegration};
use nango_runtime::deploy::{Consent, NewComponent};
use nango_runtime::model::EnvironmentId;
use nango_runtime_tests::server::cpu_seconds;
use nango_runtime_tests::{embedded, guest};
use serde_json::json;
use wasmtime::component::{Component, ComponentType, InstancePre, Lift, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::report::{Figure, Target, median};
use crate::{Effort, peer};

const RATIO_MAX: f64 = 2.0;
const A_SECOND_A_CORE_MIN: f64 = 30_000.0;
/// Runs under way at once while CPU time is measured: enough for every core.
const CONCURRENT: usize = 8;
/// Runs between two looks at the clock.
const BATCH: u32 = 100;

/// The error of the contract, as `run` gives it.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
#[allow(dead_code, reason = "read by `Debug` alone, when a run fails")]
struct GuestError {
    code: String,
    message: String,
    details: Vec<(String, String)>,
}

pub async fn measure(effort: Effort) -> Vec<Figure> {
    let (runtime, _folder) = embedded::start(|_| {}).await;
    let environment = prepare(&runtime).await;
    let bare = Bare::new();
    let budget = Duration::from_millis(effort.round_ms);
    let (mut ours_us, mut bare_us) = (Vec::new(), Vec::new());
    ours(&runtime, &environment, budget / 4).await;
    bare.run(budget / 4);
    for _ in 0..effort.rounds {
        ours_us.push(ours(&runtime, &environment, budget).await);
        bare_us.push(bare.run(budget));
    }
    let mut a_second_a_core = Vec::new();
    for _ in 0..effort.rounds {
        a_second_a_core.push(by_cpu_time(&runtime, &environment, budget).await);
    }
    runtime.shutdown().await;
    let ratio = median(ours_us.iter().zip(&bare_us).map(|(ours, bare)| ours / bare).collect());
    vec![
        Figure {
            name: "Runtime::invoke : bare wasmtime".to_owned(),
            unit: "x",
            value: ratio,
            target: Target::AtMost(RATIO_MAX),
            detail: format!("{:.1} : {:.1} us", median(ours_us), median(bare_us)),
        },
        Figure {
            name: "Runtime::invoke a core".to_owned(),
            unit: "/s",
            value: median(a_second_a_core),
            target: Target::AtLeast(A_SECOND_A_CORE_MIN),
            detail: "by CPU time of the process, logs and run rows written".to_owned(),
        },
    ]
}

async fn prepare(runtime: &Runtime) -> EnvironmentId {
    let environment = runtime.default_environment().id.clone();
    let integration = NewIntegration {
        unique_key: "bench".to_owned(),
        provider: "unauthenticated".to_owned(),
        display_name: None,
        credentials: None,
        custom: serde_json::Map::new(),
        forward_webhooks: false,
    };
    runtime
        .create_integration(&environment, integration)
        .await
        .expect("the integration can be created");
    let connection = NewConnection {
        provider_config_key: "bench".to_owned(),
        connection_id: Some("conn".to_owned()),
        credentials: json!({"type": "NONE"}),
        connection_config: serde_json::Map::new(),
        metadata: serde_json::Map::new(),
        tags: std::collections::BTreeMap::new(),
        end_user: None,
        webhook_url_override: None,
    };
    runtime
        .import_connection(&environment, connection)
        .await
        .expect("the connection can be imported");
    let bytes = guest::component("noop");
    let component = NewComponent {
        name: None,
        provider_config_key: "bench",
        bytes: &bytes,
        signature: None,
    };
    runtime
        .deploy(&environment, &[component], &Consent::default())
        .await
        .expect("the guest can be deployed");
    environment
}

async fn invoke(runtime: &Runtime, environment: &EnvironmentId) {
    let output = runtime
        .invoke(environment, "bench", "conn", "noop", "null".to_owned())
        .await;
    assert_eq!(output.expect("the action succeeds"), peer::ANSWER);
}

/// Microseconds a run, one after the other.
async fn ours(runtime: &Runtime, environment: &EnvironmentId, budget: Duration) -> f64 {
    let (started, mut runs) = (Instant::now(), 0);
    while started.elapsed() < budget {
        for _ in 0..BATCH {
            invoke(runtime, environment).await;
        }
        runs += BATCH;
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(runs)
}

/// Runs a second of CPU time of the whole process, whatever else the machine does.
async fn by_cpu_time(runtime: &Runtime, environment: &EnvironmentId, budget: Duration) -> f64 {
    let (cpu, until) = (cpu_seconds("self"), Instant::now() + budget);
    let tasks: Vec<_> = (0..CONCURRENT)
        .map(|_| {
            let (runtime, environment) = (runtime.clone(), environment.clone());
            tokio::spawn(async move {
                let mut runs = 0;
                while Instant::now() < until {
                    invoke(&runtime, &environment).await;
                    runs += 1;
                }
                runs
            })
        })
        .collect();
    let mut runs = 0;
    for task in tasks {
        runs += task.await.expect("the invocations end");
    }
    f64::from(runs) / (cpu_seconds("self") - cpu)
}

/// The same component with nothing around it: pooled, no interruption, no limits, no log.
pub struct Bare {
    engine: Engine,
    component: InstancePre<()>,
}

impl Bare {
    pub fn new() -> Self {
        let mut config = Config::new();
        // What a runtime without async types would choose too: without it the comparison would flatter us.
        config.concurrency_support(false);
        let mut pool = PoolingAllocationConfig::new();
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            pool.pagemap_scan(Enabled::Yes)
                .linear_memory_keep_resident(1 << 20)
                .table_keep_resident(64 << 10);
        }
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).expect("the engine can be made");
        let component = Component::new(&engine, guest::component("noop")).expect("the guest compiles");
        let mut linker = Linker::new(&engine);
        linker
            .define_unknown_imports_as_traps(&component)
            .expect("imports can be stubbed");
        let component = linker.instantiate_pre(&component).expect("the guest links");
        Self { engine, component }
    }

    /// Microseconds a run, one after the other.
    fn run(&self, budget: Duration) -> f64 {
        let (started, mut runs) = (Instant::now(), 0);
        while started.elapsed() < budget {
            for _ in 0..BATCH {
                assert_eq!(self.once(), peer::ANSWER);
            }
            runs += BATCH;
        }
        started.elapsed().as_secs_f64() * 1e6 / f64::from(runs)
    }

    pub fn once(&self) -> String {
        let mut store = Store::new(&self.engine, ());
        let instance = self
            .component
            .instantiate(&mut store)
            .expect("the guest can be instantiated");
        let run = instance
            .get_typed_func::<(&str, &[(&str, &str)]), (Result<String, GuestError>,)>(&mut store, "run")
            .expect("a guest has `run`");
        let trigger = [
            ("kind", "action"),
            ("input", "null"),
            ("run-id", "run_0"),
            ("variant", "base"),
        ];
        let (output,) = run.call(&mut store, ("noop", &trigger[..])).expect("the run ends");
        output.expect("the action succeeds")
    }
}
