//! From a component that nobody has seen to the first answer of its function; back to the version before; and the memory of a server
//! with many functions of which few are used.

use std::time::Instant;

use nango_runtime_tests::{Server, TestRuntime, guest};
use serde_json::{Value, json};

use crate::Effort;
use crate::report::{Figure, Target, median};

const DEPLOY_MS_MAX: f64 = 300.0;
const ROLLBACK_MS_MAX: f64 = 10.0;
const FUNCTIONS: usize = 1_000;
const RESIDENT_MIB_MAX: f64 = 150.0;
/// Functions in use, each of another component.
const HOT: usize = 10;
/// Calls of each.
const HOT_CALLS: usize = 200;
/// An action of the guest `basic` that asks nobody.
const HOT_ACTION: &str = "echo";
const CONNECTION: &str = "conn";

pub async fn measure(effort: Effort) -> Vec<Figure> {
    let mut figures = deploys(effort).await;
    figures.push(many(effort).await);
    figures
}

async fn deploys(effort: Effort) -> Vec<Figure> {
    let component = guest::component("noop");
    let (mut deploys_ms, mut rollbacks_ms) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        // A server of its own: one that has compiled these functions before would find them.
        let server = server();
        integration(&server, "bench").await;
        let client = server.client();
        let answer = async || {
            let answer = client.trigger_action("bench", CONNECTION, "noop", Value::Null).await;
            assert_eq!(answer.ok(), json!({"ok": true}));
        };
        let started = Instant::now();
        let _ = client.deploy("bench", another(&component, round)).await.ok();
        answer().await;
        deploys_ms.push(started.elapsed().as_secs_f64() * 1e3);
        let _ = client.deploy("bench", another(&component, round + 1)).await.ok();
        answer().await;
        let started = Instant::now();
        let rolled = client
            .post("/integrations/bench/functions/noop/rollback", &json!({}))
            .await
            .ok();
        rollbacks_ms.push(started.elapsed().as_secs_f64() * 1e3);
        assert_eq!(rolled["data"]["version"], 1, "{rolled}");
        answer().await;
    }
    vec![
        Figure {
            name: "deploy to first answer".to_owned(),
            unit: "ms",
            value: median(deploys_ms),
            target: Target::AtMost(DEPLOY_MS_MAX),
            detail: format!("a component of {} KB, never seen before", component.len() / 1_000),
        },
        Figure {
            name: "rollback".to_owned(),
            unit: "ms",
            value: median(rollbacks_ms),
            target: Target::AtMost(ROLLBACK_MS_MAX),
            detail: "answered, with the version before active".to_owned(),
        },
    ]
}

async fn many(effort: Effort) -> Figure {
    let server = server();
    let client = server.client();
    let component = guest::component("basic");
    let (mut deployed, mut integrations) = (0, Vec::new());
    let wanted = FUNCTIONS / effort.fewer_functions;
    while deployed < wanted {
        let name = format!("integration-{}", integrations.len());
        integration(&server, &name).await;
        let answer = client.deploy(&name, another(&component, integrations.len())).await.ok();
        deployed += answer["functions"].as_array().map_or(0, Vec::len).max(1);
        integrations.push(name);
    }
    for _ in 0..HOT_CALLS {
        for name in integrations.iter().take(HOT) {
            let answer = client
                .trigger_action(name, CONNECTION, HOT_ACTION, json!({"a": 1}))
                .await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    let resident_kib = u32::try_from(server.resident_bytes() >> 10).unwrap_or(u32::MAX);
    Figure {
        name: "memory with many functions".to_owned(),
        unit: "MiB",
        value: f64::from(resident_kib) / 1024.0,
        target: Target::AtMost(RESIDENT_MIB_MAX),
        detail: format!(
            "{deployed} functions in {} components of {} KB, {HOT} of them in use",
            integrations.len(),
            component.len() / 1_000
        ),
    }
}

fn server() -> Server {
    TestRuntime::new().environment("NANGO_LOG", "warn").start()
}

async fn integration(server: &Server, name: &str) {
    let client = server.client();
    let _ = client.create_integration(name, "unauthenticated").await.ok();
    let _ = client
        .import_connection(name, CONNECTION, json!({"type": "NONE"}))
        .await
        .ok();
}

/// The same component with another digest: a custom section at its end.
fn another(component: &[u8], number: usize) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let content = [&[5_u8][..], b"bench", &(number as u64).to_le_bytes()].concat();
    bytes.push(0);
    bytes.push(u8::try_from(content.len()).expect("it is short"));
    bytes.extend_from_slice(&content);
    bytes
}
