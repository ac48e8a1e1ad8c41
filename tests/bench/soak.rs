//! The load of the action bench for a long time: memory must settle.

use nango_runtime_tests::TestRuntime;

use crate::action;
use crate::load::CONNECTIONS;
use crate::report::{Figure, Target};

/// Ten minutes.
pub const SECONDS: u64 = 600;
/// Memory after the last look as a share of that after the warm-up, a tenth of the time.
const GROWTH_MAX: f64 = 1.2;
/// Looks at memory.
const LOOKS: u64 = 10;

pub async fn measure(seconds: u64) -> Vec<Figure> {
    let server = TestRuntime::new().environment("NANGO_LOG", "warn").start();
    let load = action::prepare(&server).await;
    let look_ms = seconds * 1_000 / LOOKS;
    let mut resident_kib = Vec::new();
    for look in 1..=LOOKS {
        let a_second = load.run(CONNECTIONS, look_ms).await.a_second;
        let kib = u32::try_from(server.resident_bytes() >> 10).unwrap_or(u32::MAX);
        eprintln!(
            "{:>6} s: {} MiB, {a_second:.0} requests/s",
            look * look_ms / 1_000,
            kib >> 10
        );
        resident_kib.push(f64::from(kib));
    }
    let (first, last) = (resident_kib[0], resident_kib[resident_kib.len() - 1]);
    vec![Figure {
        name: "memory after a long load".to_owned(),
        unit: "x",
        value: last / first,
        target: Target::AtMost(GROWTH_MAX),
        detail: format!("{:.0} MiB, then {:.0} MiB", first / 1024.0, last / 1024.0),
    }]
}
