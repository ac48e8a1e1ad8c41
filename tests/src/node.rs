//! Scripts in tests/node, which use the published `@nangohq/node`.

use std::process::Command;

use serde_json::Value;

use crate::repository;
use crate::server::{SECRET_KEY, Server};

/// A command that runs `tests/node/<script>`.
///
/// # Panics
///
/// When `scripts/test-deps` has not brought the packages.
#[must_use]
pub fn command(script: &str) -> Command {
    let folder = repository::root().join("tests/node");
    let _ = repository::require(folder.join("node_modules/made-from"), "node");
    let mut command = Command::new("node");
    command.arg(folder.join(script)).current_dir(folder);
    command
}

/// Runs a script against `server` and gives the JSON that it prints.
///
/// # Panics
///
/// When it fails.
#[must_use]
pub fn run(server: &Server, script: &str, environment: &[(&str, &str)]) -> Value {
    let mut command = command(script);
    command
        .env("NANGO_HOSTPORT", server.base_url())
        .env("NANGO_SECRET_KEY", SECRET_KEY);
    let output = command
        .envs(environment.iter().copied())
        .output()
        .expect("node can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} failed: {stderr}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{script} printed no JSON ({error}): {stderr}"))
}
