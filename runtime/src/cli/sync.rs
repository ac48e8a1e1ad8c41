//! `nango-runtime sync`: runs syncs, commands their schedules, and shows how they stand.

mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::client::{Client, Request};
use super::output::{self, Output, list_at, text_at};
use crate::clock::Clock;

/// Time between two looks at the status while waiting.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Subcommand)]
pub enum Sync {
    /// Schedules: how often syncs run, and when next
    List(Selection),
    /// Run syncs now
    Trigger {
        #[command(flatten)]
        selection: Selection,
        /// Wait until the runs have ended; fails when one of them failed
        #[arg(long)]
        wait: bool,
        /// Seconds to wait at most
        #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
        timeout: u32,
    },
    /// Schedule syncs
    Start(Selection),
    /// Schedule syncs no more, and cancel what runs of them
    Pause(Selection),
    /// Cancel what waits or runs of syncs; their checkpoints and schedules stay
    Cancel(Selection),
    /// Forget the checkpoints of syncs and run them from the beginning
    Reset {
        #[command(flatten)]
        selection: Selection,
        /// Delete their records first
        #[arg(long)]
        empty_records: bool,
    },
    /// State, last run and records of syncs
    Status {
        #[command(flatten)]
        selection: Selection,
        /// Show it anew each second, with records a second
        #[arg(long)]
        watch: bool,
        /// End when no sync runs
        #[arg(long, requires = "watch")]
        until_idle: bool,
    },
}

/// Which syncs, of which connection.
#[derive(Debug, clap::Args)]
pub struct Selection {
    integration: String,
    /// Names of syncs, with ::variant behind or not; all of the integration when left out
    syncs: Vec<String>,
    /// Of which connection; all of the integration when left out
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum WaitError {
    #[error(
        "the sync {names} failed\nhint: `nango-runtime logs --type sync --state failed --integration {integration}` shows why"
    )]
    Failed { names: String, integration: String },
    #[error(
        "the syncs have not ended within {seconds} s; they go on\nhint: `nango-runtime sync status` shows how they stand"
    )]
    Timeout { seconds: u32 },
}

pub async fn run(command: Sync, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        Sync::List(selection) => output.show(&status(client, &selection).answer().await?, schedules)?,
        Sync::Trigger {
            selection,
            wait,
            timeout,
        } => {
            let before = if wait {
                runs_ended(&status(client, &selection).answer().await?)
            } else {
                BTreeMap::new()
            };
            let answer = command_syncs(client, "trigger", &selection, json!({})).await?;
            if !wait {
                output.show(&answer, |_| {
                    "Triggered; `nango-runtime sync status` shows how it goes".to_owned()
                })?;
                return Ok(());
            }
            output.note("triggered; waiting for the runs to end");
            let after = wait_until_ended(client, &selection, &before, timeout).await?;
            output.show(&after, table)?;
            check_succeeded(&after, &selection.integration)?;
        }
        Sync::Start(selection) => {
            let answer = command_syncs(client, "start", &selection, json!({})).await?;
            output.show(&answer, |_| "Scheduled".to_owned())?;
        }
        Sync::Pause(selection) => {
            let answer = command_syncs(client, "pause", &selection, json!({})).await?;
            output.show(&answer, |_| {
                "Paused; `nango-runtime sync start` schedules them again".to_owned()
            })?;
        }
        Sync::Cancel(selection) => {
            let answer = command_syncs(client, "cancel", &selection, json!({})).await?;
            output.show(&answer, |_| "Cancelled what ran".to_owned())?;
        }
        Sync::Reset {
            selection,
            empty_records,
        } => {
            let options = json!({"opts": {"reset": true, "emptyCache": empty_records}});
            let answer = command_syncs(client, "trigger", &selection, options).await?;
            output.show(&answer, |_| {
                "Running from the beginning; `nango-runtime sync status` shows how it goes".to_owned()
            })?;
        }
        Sync::Status {
            selection,
            watch: true,
            until_idle,
        } => watch::run(client, &selection, output, until_idle).await?,
        Sync::Status { selection, .. } => output.show(&status(client, &selection).answer().await?, table)?,
    }
    Ok(())
}

/// `POST /sync/{command}`.
async fn command_syncs(
    client: &Client,
    command: &str,
    selection: &Selection,
    mut body: Value,
) -> anyhow::Result<Value> {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("provider_config_key".to_owned(), json!(selection.integration));
        fields.insert("syncs".to_owned(), json!(selection.syncs));
        if let Some(connection) = &selection.connection {
            fields.insert("connection_id".to_owned(), json!(connection));
        }
    }
    Ok(client
        .request(Method::POST, &["sync", command])
        .json(&body)
        .answer()
        .await?)
}

fn status<'c>(client: &'c Client, selection: &Selection) -> Request<'c> {
    let syncs = if selection.syncs.is_empty() {
        "*".to_owned()
    } else {
        selection.syncs.join(",")
    };
    client
        .request(Method::GET, &["sync", "status"])
        .query("provider_config_key", Some(&selection.integration))
        .query("syncs", Some(syncs))
        .query("connection_id", selection.connection.as_ref())
}

/// When the last run of each sync ended, empty if none did.
fn runs_ended(status: &Value) -> BTreeMap<String, String> {
    list_at(status, "/syncs")
        .iter()
        .map(|sync| (text_at(sync, "/id"), text_at(sync, "/finishedAt")))
        .collect()
}

/// Polls until no sync runs and each has ended a run since `before`.
async fn wait_until_ended(
    client: &Client,
    selection: &Selection,
    before: &BTreeMap<String, String>,
    timeout_s: u32,
) -> anyhow::Result<Value> {
    let clock = Clock::system();
    let deadline_us = clock.monotonic_us() + u64::from(timeout_s) * 1_000_000;
    while clock.monotonic_us() < deadline_us {
        let now = status(client, selection).answer().await?;
        if has_ended(&now, before) {
            return Ok(now);
        }
        clock.sleep(POLL_INTERVAL).await;
    }
    Err(WaitError::Timeout { seconds: timeout_s }.into())
}

fn has_ended(now: &Value, before: &BTreeMap<String, String>) -> bool {
    let syncs = list_at(now, "/syncs");
    let ended = |sync: &Value| {
        let at = text_at(sync, "/finishedAt");
        text_at(sync, "/status") != "RUNNING" && !at.is_empty() && before.get(&text_at(sync, "/id")) != Some(&at)
    };
    !syncs.is_empty() && syncs.iter().all(ended)
}

fn check_succeeded(status: &Value, integration: &str) -> Result<(), WaitError> {
    let failed = |sync: &&Value| text_at(sync, "/latestExecutionStatus") == "ERROR";
    let names: Vec<String> = list_at(status, "/syncs")
        .iter()
        .filter(failed)
        .map(|sync| text_at(sync, "/name"))
        .collect();
    if names.is_empty() {
        Ok(())
    } else {
        Err(WaitError::Failed {
            names: names.join(", "),
            integration: integration.to_owned(),
        })
    }
}

fn schedules(answer: &Value) -> String {
    let row = |sync: &Value| {
        [
            "/name",
            "/variant",
            "/connection_id",
            "/frequency",
            "/nextScheduledSyncAt",
            "/status",
        ]
        .map(|at| text_at(sync, at))
    };
    let rows: Vec<[String; 6]> = list_at(answer, "/syncs").iter().map(row).collect();
    let heading = ["sync", "variant", "connection", "runs", "next", "status"];
    output::table(heading, &rows, "No syncs")
}

/// What a sync does, or until when it cannot go on.
fn doing(sync: &Value) -> String {
    match text_at(sync, "/rateLimitedUntil") {
        until if until.is_empty() => text_at(sync, "/status"),
        until => format!("waits for the rate limit until {until}"),
    }
}

fn table(answer: &Value) -> String {
    let row = |sync: &Value| {
        let text = |at| text_at(sync, at);
        [
            text("/name"),
            text("/variant"),
            text("/connection_id"),
            doing(sync),
            text("/latestExecutionStatus"),
            text("/finishedAt"),
            text("/latestResult"),
            text("/recordCount"),
        ]
    };
    let rows: Vec<[String; 8]> = list_at(answer, "/syncs").iter().map(row).collect();
    let heading = [
        "sync",
        "variant",
        "connection",
        "status",
        "last run",
        "last ended",
        "last result",
        "records",
    ];
    output::table(heading, &rows, "No syncs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(finished_at: Option<&str>, status: &str) -> Value {
        json!({"syncs": [{"id": "a", "name": "issues", "finishedAt": finished_at, "status": status,
            "latestExecutionStatus": status}]})
    }

    #[test]
    fn a_sync_has_ended_when_a_newer_run_has() {
        let before = runs_ended(&status_of(Some("t1"), "SUCCESS"));
        let check = |now: Value, expected| assert_eq!(has_ended(&now, &before), expected, "{now}");
        check(status_of(Some("t1"), "SUCCESS"), false);
        check(status_of(Some("t1"), "RUNNING"), false);
        check(status_of(Some("t2"), "SUCCESS"), true);
        check(status_of(Some("t2"), "ERROR"), true);
        check(status_of(None, "SUCCESS"), false);
        check(json!({"syncs": []}), false);
    }

    #[test]
    fn a_failed_sync_is_named() {
        assert!(check_succeeded(&status_of(Some("t"), "SUCCESS"), "github").is_ok());
        let error = check_succeeded(&status_of(Some("t"), "ERROR"), "github").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the sync issues failed\nhint: `nango-runtime logs --type sync --state failed --integration github` shows why"
        );
    }

    #[test]
    fn the_status_says_until_when_a_sync_waits() {
        let mut status = status_of(None, "RUNNING");
        status["syncs"][0]["rateLimitedUntil"] = json!("2026-01-01T00:00:00.000Z");
        let table = table(&status);
        assert!(
            table.contains("waits for the rate limit until 2026-01-01T00:00:00.000Z"),
            "{table}"
        );
    }
}
