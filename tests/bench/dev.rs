//! What `nango-runtime dev` adds to the compiler: from a file that is saved to what the function did shown, less the time that cargo
//! ran.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::process::Stream;
use nango_runtime_tests::{Server, TestRuntime, repository};
use serde_json::json;

use crate::Effort;
use crate::report::{Figure, Target, median};

const ADDED_MS_MAX: f64 = 200.0;
const NAME: &str = "look-up";
/// So that a change comes while `dev` waits for one.
const PAUSE: Duration = Duration::from_millis(200);

pub async fn measure(effort: Effort) -> Vec<Figure> {
    let server = TestRuntime::new().environment("NANGO_LOG", "warn").start();
    let client = server.client();
    let _ = client.create_integration("bench", "unauthenticated").await.ok();
    let _ = client
        .import_connection("bench", "conn", json!({"type": "NONE"}))
        .await
        .ok();
    let root = repository::root();
    let sdk = root.to_string_lossy().into_owned();
    let made = Cli::of(&server, &["new", NAME, "--kind", "action", "--sdk", &sdk]).run();
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let folder = server.folder().join(NAME);
    std::fs::copy(root.join("tests/guests/Cargo.lock"), folder.join("Cargo.lock")).expect("a file can be copied");
    let source = folder.join("src/lib.rs");
    write(&source, 0);
    let times = server.folder().join("times");
    let dev = dev(&server, &times);
    let shown = |version: usize| {
        dev.wait_for_line(|line| line.contains(&format!("deployed {NAME} v{version} ")).then_some(()));
        // What the function gave is what is shown last of a run.
        dev.wait_for_line(|line| line.contains(&format!("round-{}", version - 1)).then_some(()));
    };
    shown(1);
    let mut added_ms = Vec::new();
    for round in 1..=effort.rounds {
        tokio::time::sleep(PAUSE).await;
        write(&source, round);
        let saved = SystemTime::now();
        shown(round + 1);
        let elapsed = saved.elapsed().expect("the clock stands still at worst");
        added_ms.push(elapsed.as_secs_f64() * 1e3 - cargo_ms(&times));
    }
    assert!(!dev.text(Some(Stream::Stderr)).contains("error:"));
    vec![Figure {
        name: "dev, besides the compiler".to_owned(),
        unit: "ms",
        value: median(added_ms),
        target: Target::AtMost(ADDED_MS_MAX),
        detail: "from a file that is saved to what the function did".to_owned(),
    }]
}

/// An action that says which it is.
fn write(source: &Path, round: usize) {
    let text = format!(
        "use nango_guest_sdk::prelude::*;\n\n#[action(name = \"{NAME}\")]\nfn look_up(_nango: &Nango) -> Result<Value, \
         ActionError> {{\n    Ok(json!(\"round-{round}\"))\n}}\n\nnango_guest_sdk::functions!(look_up);\n"
    );
    std::fs::write(source, text).expect("a file can be written");
}

/// Starts `dev` with a cargo that notes when it began and ended.
fn dev(server: &Server, times: &Path) -> nango_runtime_tests::process::Process {
    let cargo = server.folder().join("cargo");
    let script = "#!/bin/sh\nbegan=$(date +%s%N)\ncargo \"$@\"\ncode=$?\necho \"$began $(date +%s%N)\" >\"$BENCH_TIMES\"\nexit $code\n";
    std::fs::write(&cargo, script).expect("a file can be written");
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).expect("a file's mode can be set");
    let arguments = [
        "dev",
        NAME,
        "--integration",
        "bench",
        "--invoke",
        NAME,
        "--connection",
        "conn",
    ];
    let cli = Cli::of(server, &arguments)
        .environment("CARGO", &cargo.to_string_lossy())
        .environment("BENCH_TIMES", &times.to_string_lossy());
    let cli = repository::guest_compiler()
        .iter()
        .fold(cli, |cli, (name, value)| cli.environment(name, value));
    cli.start()
}

/// How long the last build took.
fn cargo_ms(times: &Path) -> f64 {
    let text = std::fs::read_to_string(times).expect("cargo has run");
    let nanoseconds: Vec<u64> = text.split_whitespace().filter_map(|part| part.parse().ok()).collect();
    let [began, ended] = nanoseconds[..] else {
        panic!("{text:?} is not two times")
    };
    assert!(UNIX_EPOCH + Duration::from_nanos(ended) <= SystemTime::now());
    Duration::from_nanos(ended - began).as_secs_f64() * 1e3
}
