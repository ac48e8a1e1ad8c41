//! The runtime as a library, for tests and benches that need neither a process nor HTTP.

use nango_runtime::Runtime;
use nango_runtime::config::{self, Config};
use tempfile::TempDir;

/// A runtime with a data folder of its own and room to change the defaults.
///
/// # Panics
///
/// When it cannot start.
pub async fn start(change: impl FnOnce(&mut Config)) -> (Runtime, TempDir) {
    let folder = TempDir::with_prefix("nango-runtime-test-").expect("a temporary folder can be made");
    let mut config = config::load(None, [], Vec::new())
        .expect("the defaults are valid")
        .config;
    config.data_dir = folder.path().join("data");
    change(&mut config);
    let runtime = Runtime::start(config)
        .await
        .unwrap_or_else(|error| panic!("the runtime cannot start: {error:?}"));
    (runtime, folder)
}
