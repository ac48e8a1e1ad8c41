//! `nango-runtime runs`: actions in the background, and those that were asked for under an idempotency key; and the history of all runs.

use anyhow::bail;
use http::Method;
use serde_json::Value;

use super::client::{Client, Request};
use super::output::{self, Output, list_at, text_at};

/// What ids of runs begin with; those of actions in the background are UUIDs.
const RUN_PREFIX: &str = "run_";

#[derive(Debug, clap::Subcommand)]
pub enum Runs {
    /// What is queued, runs or has ended, newest first
    List(Wanted),
    /// What has run, of all kinds of functions, newest first
    History {
        #[command(flatten)]
        wanted: Wanted,
        /// Only of this kind: action, sync or on-event
        #[arg(long = "type", value_name = "KIND")]
        kind: Option<String>,
    },
    /// How an action in the background stands, and its output or error; of a run (run_…) how it ended and what it took
    Show { id: String },
    /// End one that is queued or runs; one that has ended stays as it is
    Cancel { id: String },
}

/// Which of them.
#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// Only of this integration
    #[arg(long, value_name = "KEY")]
    integration: Option<String>,
    /// Only for this connection
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
    /// Only of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only in this state: queued, running, succeeded, failed or cancelled
    #[arg(long)]
    state: Option<String>,
    /// Lines a page, 500 at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Where to read on: the next_cursor of an earlier page
    #[arg(long)]
    cursor: Option<String>,
}

impl Wanted {
    fn of<'c>(&self, client: &'c Client, route: &str) -> Request<'c> {
        client
            .request(Method::GET, &[route])
            .query("integration", self.integration.as_ref())
            .query("connection", self.connection.as_ref())
            .query("function", self.function.as_ref())
            .query("state", self.state.as_ref())
            .query("cursor", self.cursor.as_ref())
            .query("limit", Some(self.limit))
    }
}

pub async fn run(command: Runs, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        Runs::List(wanted) => {
            let answer = wanted.of(client, "actions").answer().await?;
            output.show(&answer, table)?;
            output.note_next_page(&answer);
        }
        Runs::History { wanted, kind } => {
            let request = wanted.of(client, "runs").query("type", kind.as_ref());
            let answer = request.answer().await?;
            output.show(&answer, history)?;
            output.note_next_page(&answer);
        }
        Runs::Show { id } if id.starts_with(RUN_PREFIX) => {
            let answer = client.request(Method::GET, &["runs", &id]).answer().await?;
            output.show(&answer, run_details)?;
        }
        Runs::Show { id } => {
            let mut answer = client.request(Method::GET, &["actions", &id]).answer().await?;
            if text_at(&answer, "/data/state") == "succeeded" {
                let result = client.request(Method::GET, &["action", &id]).answer().await?;
                if let Some(Value::Object(shown)) = answer.get_mut("data") {
                    shown.insert("output".to_owned(), result);
                }
            }
            output.show(&answer, details)?;
        }
        Runs::Cancel { id } if id.starts_with(RUN_PREFIX) => bail!(
            "{id} is no action in the background: `runs list` shows their ids\nhint: what runs of a sync is cancelled with \
             `nango-runtime sync cancel INTEGRATION SYNC --connection ID`"
        ),
        Runs::Cancel { id } => {
            let request = client.request(Method::POST, &["action", &id, "cancel"]);
            let answer = request.answer().await?;
            output.show(&answer, |answer| match text_at(answer, "/data/state").as_str() {
                // Whoever runs it has been told.
                "running" => format!("{id} is being cancelled"),
                state => format!("{id} is {state}"),
            })?;
        }
    }
    Ok(())
}

fn table(answer: &Value) -> String {
    let row = |run: &Value| {
        [
            text_at(run, "/id"),
            text_at(run, "/state"),
            attempts(run),
            text_at(run, "/provider_config_key"),
            text_at(run, "/connection_id"),
            text_at(run, "/function"),
            text_at(run, "/created_at"),
            text_at(run, "/error/code"),
        ]
    };
    let rows: Vec<[String; 8]> = list_at(answer, "/data").iter().map(row).collect();
    let heading = [
        "id",
        "state",
        "attempts",
        "integration",
        "connection",
        "action",
        "created",
        "error",
    ];
    output::table(heading, &rows, "No actions in the background")
}

fn history(answer: &Value) -> String {
    let row = |run: &Value| {
        [
            text_at(run, "/id"),
            text_at(run, "/type"),
            text_at(run, "/trigger"),
            text_at(run, "/state"),
            text_at(run, "/provider_config_key"),
            text_at(run, "/connection_id"),
            text_at(run, "/function"),
            text_at(run, "/created_at"),
            milliseconds(run, "/duration_us"),
            text_at(run, "/error/code"),
        ]
    };
    let rows: Vec<[String; 10]> = list_at(answer, "/data").iter().map(row).collect();
    let heading = [
        "id",
        "type",
        "trigger",
        "state",
        "integration",
        "connection",
        "function",
        "created",
        "took",
        "error",
    ];
    output::table(heading, &rows, "No runs")
}

fn run_details(answer: &Value) -> String {
    let run = answer.get("data").unwrap_or(answer);
    let number = |pointer: &str| run.pointer(pointer).map_or_else(String::new, Value::to_string);
    let result = run
        .get("result")
        .filter(|result| result.as_object().is_some_and(|it| !it.is_empty()));
    output::fields(&[
        ("id", text_at(run, "/id")),
        ("type", text_at(run, "/type")),
        ("state", text_at(run, "/state")),
        ("integration", text_at(run, "/provider_config_key")),
        ("connection", text_at(run, "/connection_id")),
        ("function", text_at(run, "/function")),
        ("version", number("/version")),
        ("trigger", text_at(run, "/trigger")),
        ("created", text_at(run, "/created_at")),
        ("started", text_at(run, "/started_at")),
        ("ended", text_at(run, "/ended_at")),
        ("took", milliseconds(run, "/duration_us")),
        ("processor time", milliseconds(run, "/usage/cpu_us")),
        ("memory at most", bytes(run, "/usage/memory_bytes")),
        ("requests", number("/usage/requests")),
        ("sent", bytes(run, "/usage/sent_bytes")),
        ("received", bytes(run, "/usage/received_bytes")),
        ("result", result.map_or_else(String::new, Value::to_string)),
        ("error", error(run)),
        ("log", text_at(run, "/operation_id")),
    ])
}

fn milliseconds(run: &Value, pointer: &str) -> String {
    let micros = run.pointer(pointer).and_then(Value::as_u64);
    micros.map_or_else(String::new, |micros| {
        format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
    })
}

fn bytes(run: &Value, pointer: &str) -> String {
    let bytes = run.pointer(pointer).and_then(Value::as_u64);
    bytes.map_or_else(String::new, |bytes| format!("{bytes} bytes"))
}

/// Those begun, of those that may be.
fn attempts(run: &Value) -> String {
    let count = |pointer: &str| run.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    format!("{}/{}", count("/attempts"), count("/retries_max").saturating_add(1))
}

fn details(answer: &Value) -> String {
    let run = answer.get("data").unwrap_or(answer);
    output::fields(&[
        ("id", text_at(run, "/id")),
        ("state", text_at(run, "/state")),
        ("attempts", attempts(run)),
        ("integration", text_at(run, "/provider_config_key")),
        ("connection", text_at(run, "/connection_id")),
        ("action", text_at(run, "/function")),
        ("last run", text_at(run, "/run_id")),
        ("created", text_at(run, "/created_at")),
        ("started", text_at(run, "/started_at")),
        ("ended", text_at(run, "/ended_at")),
        ("next attempt", text_at(run, "/due_at")),
        ("error", error(run)),
        ("output", run.get("output").map_or_else(String::new, Value::to_string)),
    ])
}

fn error(run: &Value) -> String {
    let (code, message) = (text_at(run, "/error/code"), text_at(run, "/error/message"));
    if code.is_empty() {
        code
    } else {
        format!("{code}: {message}")
    }
}
