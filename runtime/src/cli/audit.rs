//! `nango-runtime audit`: who was shown credentials, newest first.

use http::Method;
use serde_json::Value;

use super::client::Client;
use super::output::{self, Output, list_at, text_at};

#[derive(Debug, clap::Args)]
pub struct Audit {
    /// Only of this integration
    #[arg(long, value_name = "KEY")]
    integration: Option<String>,
    /// Only of this connection
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
    /// Only with this API key; its id, as `keys list` shows it
    #[arg(long, value_name = "ID")]
    api_key: Option<String>,
    /// Only this type: connection, import, integration, variables or token
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only then or later: an ISO date-time, or an age such as 90s, 15m, 2h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before: as --since
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Lines a page, 500 at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Where to read on: the next_cursor of an earlier page
    #[arg(long)]
    cursor: Option<String>,
}

pub async fn run(audit: Audit, client: &Client, output: Output) -> anyhow::Result<()> {
    let answer = client
        .request(Method::GET, &["audit"])
        .query("integration", audit.integration.as_ref())
        .query("connection", audit.connection.as_ref())
        .query("api_key", audit.api_key.as_ref())
        .query("type", audit.kind.as_ref())
        .query("since", audit.since.as_ref())
        .query("until", audit.until.as_ref())
        .query("cursor", audit.cursor.as_ref())
        .query("limit", Some(audit.limit))
        .answer()
        .await?;
    output.show(&answer, table)?;
    output.note_next_page(&answer);
    Ok(())
}

/// An API key, or the function that was told.
fn who(read: &Value) -> String {
    if read.get("function").is_some() {
        return format!("function {}", text_at(read, "/function/name"));
    }
    format!("{} ({})", text_at(read, "/api_key/name"), text_at(read, "/api_key/id"))
}

fn table(answer: &Value) -> String {
    let with = |read: &Value| {
        let notes = [("/force_refresh", "forced"), ("/refresh_token", "refresh token")];
        let true_ones = notes
            .iter()
            .filter(|(pointer, _)| read.pointer(pointer) == Some(&Value::Bool(true)));
        true_ones.map(|(_, note)| *note).collect::<Vec<_>>().join(", ")
    };
    let row = |read: &Value| {
        [
            text_at(read, "/read_at"),
            text_at(read, "/type"),
            text_at(read, "/provider_config_key"),
            text_at(read, "/connection_id"),
            who(read),
            with(read),
            ["/request_id", "/function/run_id", "/function/operation_id"]
                .iter()
                .map(|at| text_at(read, at))
                .find(|id| !id.is_empty())
                .unwrap_or_default(),
        ]
    };
    let rows: Vec<[String; 7]> = list_at(answer, "/data").iter().map(row).collect();
    let heading = [
        "time",
        "type",
        "integration",
        "connection",
        "who",
        "with",
        "request or run",
    ];
    output::table(heading, &rows, "Nobody was shown credentials")
}
