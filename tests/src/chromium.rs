//! A real browser: scripts in tests/node that drive Chromium.

use serde_json::Value;

use crate::server::Server;
use crate::{node, repository};

/// Runs `scenario` of `tests/node/connect_page.mjs` against `server` and gives what it saw. Screenshots are in `target/screenshots`.
///
/// # Panics
///
/// When it fails, or `scripts/test-deps` has not brought the browser.
#[must_use]
pub fn connect_page(server: &Server, scenario: &str) -> Value {
    run(server, "connect_page.mjs", scenario)
}

/// The same with `tests/node/frontend_auth.mjs`.
///
/// # Panics
///
/// When it fails, or `scripts/test-deps` has not brought the browser.
#[must_use]
pub fn frontend_auth(server: &Server, scenario: &str) -> Value {
    run(server, "frontend_auth.mjs", scenario)
}

fn run(server: &Server, script: &str, scenario: &str) -> Value {
    let chromium = repository::require(repository::cache().join("chromium/chromium"), "chromium");
    let screenshots = repository::root().join("target/screenshots");
    let text = |path: &std::path::Path| path.to_str().expect("paths here are UTF-8").to_owned();
    let (chromium, screenshots) = (text(&chromium), text(&screenshots));
    let environment = [
        ("SCENARIO", scenario),
        ("CHROMIUM", chromium.as_str()),
        ("SCREENSHOTS", screenshots.as_str()),
    ];
    node::run(server, script, &environment)
}
