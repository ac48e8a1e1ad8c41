//! httpbin, an HTTP test server that others wrote. One for all tests; it keeps no state.

use std::process::Command;
use std::sync::OnceLock;

use crate::process::{Process, loopback_url};
use crate::repository;

/// The URL of a running httpbin.
///
/// # Panics
///
/// When `scripts/test-deps` has not brought it.
#[must_use]
pub fn url() -> &'static str {
    static HTTPBIN: OnceLock<(Process, String)> = OnceLock::new();
    let (_, url) = HTTPBIN.get_or_init(|| {
        let gunicorn = repository::require(repository::cache().join("httpbin/bin/gunicorn"), "httpbin");
        let mut command = Command::new(gunicorn);
        command.args([
            "--bind",
            "127.0.0.1:0",
            "--worker-class",
            "gthread",
            "--threads",
            "16",
            "httpbin:app",
        ]);
        let process = Process::start_tied("httpbin", &command);
        let url = process.wait_for_line(loopback_url);
        (process, url)
    });
    url
}
