//! From the start of the process to the first answer of `/health`, with functions deployed; and the memory of an idle server.

use std::time::{Duration, Instant};

use nango_runtime_tests::{Server, TestRuntime, guest};

use crate::Effort;
use crate::report::{Figure, Target, median};

const FUNCTIONS: usize = 20;
const START_MS_MAX: f64 = 200.0;
const IDLE_MIB_MAX: f64 = 60.0;
/// Until what a start leaves behind has been given back.
const SETTLE: Duration = Duration::from_secs(2);

pub async fn measure(effort: Effort) -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let start = || TestRuntime::new().data(folder.path()).start();
    let server = start();
    let mut deployed = 0;
    while deployed < FUNCTIONS {
        let integration = format!("integration-{deployed}");
        let _ = server
            .client()
            .create_integration(&integration, "unauthenticated")
            .await
            .ok();
        let answer = server
            .client()
            .deploy(&integration, guest::component("basic"))
            .await
            .ok();
        deployed += answer["functions"].as_array().map_or(0, Vec::len).max(1);
    }
    drop(server);
    let mut starts_ms = Vec::new();
    let mut last: Option<Server> = None;
    for _ in 0..effort.rounds {
        drop(last.take());
        let started = Instant::now();
        let server = start();
        let health = server.client().get("/health").await;
        starts_ms.push(started.elapsed().as_secs_f64() * 1e3);
        assert_eq!(health.status, 200);
        last = Some(server);
    }
    tokio::time::sleep(SETTLE).await;
    let resident = last.map_or(0, |server| server.resident_bytes());
    let resident_mib = f64::from(u32::try_from(resident >> 10).unwrap_or(u32::MAX)) / 1024.0;
    let detail = format!("{deployed} functions deployed, {} starts", effort.rounds);
    vec![
        Figure {
            name: "start to /health".to_owned(),
            unit: "ms",
            value: median(starts_ms),
            target: Target::AtMost(START_MS_MAX),
            detail: detail.clone(),
        },
        Figure {
            name: "idle resident memory".to_owned(),
            unit: "MiB",
            value: resident_mib,
            target: Target::AtMost(IDLE_MIB_MAX),
            detail,
        },
    ]
}
