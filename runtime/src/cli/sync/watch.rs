//! `nango-runtime sync status --watch`: how syncs stand, again and again, with how fast they are.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::Value;

use super::{Selection, doing, status};
use crate::cli::client::{Client, patiently};
use crate::cli::output::{self, Output, list_at, text_at};
use crate::clock::Clock;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(1_000);
/// Moves to the upper left corner and clears from there.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What is known of a sync from the looks before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pace {
    /// Records that its run has handled so far, and when there were so many, in microseconds.
    records: u64,
    at_us: u64,
    records_a_second: u64,
}

impl Pace {
    fn look(self, records: u64, now_us: u64) -> Self {
        if records < self.records || self.at_us == 0 {
            // Another run.
            return Self {
                records,
                at_us: now_us,
                records_a_second: 0,
            };
        }
        let elapsed_us = now_us.saturating_sub(self.at_us).max(1);
        Self {
            records,
            at_us: now_us,
            records_a_second: (records - self.records).saturating_mul(1_000_000) / elapsed_us,
        }
    }
}

pub(super) async fn run(
    client: &Client,
    selection: &Selection,
    output: Output,
    until_idle: bool,
) -> anyhow::Result<()> {
    let clock = Clock::system();
    let mut paces: HashMap<String, Pace> = HashMap::new();
    let mut shown = String::new();
    loop {
        let request = || status(client, selection);
        // A server that is not there is an error at the beginning only.
        let now = if shown.is_empty() {
            request().answer().await?
        } else {
            patiently(&clock, request).await?
        };
        let syncs = list_at(&now, "/syncs");
        for sync in syncs {
            let pace = paces.entry(text_at(sync, "/id")).or_default();
            *pace = pace.look(records(sync), clock.monotonic_us());
        }
        if output.json {
            let line = now.to_string();
            if line != shown {
                output::print(&line)?;
                shown = line;
            }
        } else {
            let table = table(syncs, &paces);
            if std::io::stdout().is_terminal() {
                output::print(&format!("{CLEAR}{table}"))?;
            } else if table != shown {
                output::print(&table)?;
            }
            shown = table;
        }
        if until_idle && !syncs.iter().any(is_running) {
            return Ok(());
        }
        clock.sleep(LOOK_INTERVAL).await;
    }
}

fn is_running(sync: &Value) -> bool {
    text_at(sync, "/status") == "RUNNING"
}

/// Records that its run has handled: all of them where the server runs it, else those that were written.
fn records(sync: &Value) -> u64 {
    let records = sync.pointer("/progress/records").and_then(Value::as_u64);
    records.unwrap_or_else(|| written(sync))
}

/// Records that the last run added, updated and deleted.
fn written(sync: &Value) -> u64 {
    let models = sync.get("latestResult").and_then(Value::as_object);
    let counts = models
        .into_iter()
        .flatten()
        .filter_map(|(_, counts)| counts.as_object());
    counts.flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

fn table(syncs: &[Value], paces: &HashMap<String, Pace>) -> String {
    let row = |sync: &Value| {
        let pace = paces.get(&text_at(sync, "/id")).copied().unwrap_or_default();
        let is_running = is_running(sync);
        [
            text_at(sync, "/name"),
            text_at(sync, "/variant"),
            text_at(sync, "/connection_id"),
            doing(sync),
            if is_running {
                pace.records_a_second.to_string()
            } else {
                String::new()
            },
            text_at(sync, "/progress/pages"),
            text_at(sync, "/progress/requests"),
            written(sync).to_string(),
            text_at(sync, "/recordCount"),
            text_at(sync, "/nextScheduledSyncAt"),
        ]
    };
    let rows: Vec<[String; 10]> = syncs.iter().map(row).collect();
    let heading = [
        "sync",
        "variant",
        "connection",
        "status",
        "records/s",
        "pages",
        "requests",
        "written",
        "records",
        "next",
    ];
    output::table(heading, &rows, "No syncs")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_pace_is_that_between_two_looks() {
        let pace = Pace::default().look(100, 1_000_000);
        assert_eq!(pace.records_a_second, 0);
        let pace = pace.look(600, 2_000_000);
        assert_eq!((pace.records, pace.records_a_second), (600, 500));
        assert_eq!(pace.look(600, 3_000_000).records_a_second, 0, "it does nothing");
        assert_eq!(pace.look(5, 4_000_000).records_a_second, 0, "another run");
    }

    #[test]
    fn who_waits_says_until_when() {
        let sync = json!({"id": "a", "name": "issues", "status": "RUNNING", "rateLimitedUntil": "2026-01-01T00:00:00.000Z",
            "latestResult": {"Issue": {"added": 2, "updated": 3, "deleted": 0}}});
        assert_eq!((written(&sync), records(&sync)), (5, 5));
        let table = table(&[sync], &HashMap::new());
        assert!(
            table.contains("waits for the rate limit until 2026-01-01T00:00:00.000Z"),
            "{table}"
        );
    }
}
