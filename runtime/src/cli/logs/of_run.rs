//! Which operation is meant by a run, or by an action in the background.

use std::time::Duration;

use anyhow::bail;
use http::Method;

use crate::cli::client::Client;
use crate::cli::output::{list_at, text_at};
use crate::clock::Clock;

const OPERATION_PREFIX: &str = "op_";
const RUN_PREFIX: &str = "run_";
/// Between two looks for what has not begun.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// The last operation of the run, or of the action's last attempt. `waits` until there is one, as long as there may be.
pub(super) async fn operation(client: &Client, run: &str, waits: bool) -> anyhow::Result<String> {
    if run.starts_with(OPERATION_PREFIX) {
        return Ok(run.to_owned());
    }
    let clock = Clock::system();
    let mut is_told = false;
    loop {
        let (run_id, may_begin) = if run.starts_with(RUN_PREFIX) {
            // One that has not ended is there if it is a sync's.
            let known = client.request(Method::GET, &["runs", run]).answer().await;
            let state = known.map_or_else(|_| String::new(), |known| text_at(&known, "/data/state"));
            (run.to_owned(), state == "queued" || state == "running")
        } else {
            let action = client.request(Method::GET, &["actions", run]).answer().await?;
            let state = text_at(&action, "/data/state");
            (
                text_at(&action, "/data/run_id"),
                state == "queued" || state == "running",
            )
        };
        if !run_id.is_empty() {
            let request = client.request(Method::GET, &["logs", "operations"]);
            let found = request
                .query("run", Some(&run_id))
                .query("limit", Some(1))
                .answer()
                .await?;
            if let Some(operation) = list_at(&found, "/data").first() {
                return Ok(text_at(operation, "/id"));
            }
        }
        if !waits || !may_begin {
            bail!("the log has nothing of {run}: it has not begun, or is older than the days for which logs are kept");
        }
        if !is_told {
            eprintln!("waiting for {run} to begin (Ctrl-C ends)");
            is_told = true;
        }
        clock.sleep(LOOK_INTERVAL).await;
    }
}
