//! `nango-runtime logs`: operations (a run, a proxied request, a deploy), newest first, or the messages of one of them.

use http::Method;
use serde_json::Value;

use super::client::Client;
use super::output::{self, Output, list_at, text_at};

#[derive(Debug, clap::Args)]
pub struct Logs {
    /// The messages of this operation
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
    /// Only operations of this integration
    #[arg(long, value_name = "KEY", conflicts_with = "operation")]
    integration: Option<String>,
    /// Only operations of this connection
    #[arg(long, value_name = "ID", conflicts_with = "operation")]
    connection: Option<String>,
    /// Only operations of this function
    #[arg(long, value_name = "NAME", conflicts_with = "operation")]
    function: Option<String>,
    /// Lines a page, 500 at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Where to read on: the next_cursor of an earlier page
    #[arg(long)]
    cursor: Option<String>,
}

pub async fn run(logs: Logs, client: &Client, output: Output) -> anyhow::Result<()> {
    let route = if logs.operation.is_some() {
        "messages"
    } else {
        "operations"
    };
    let answer = client
        .request(Method::GET, &["logs", route])
        .query("operation_id", logs.operation.as_ref())
        .query("provider_config_key", logs.integration)
        .query("connection_id", logs.connection)
        .query("function", logs.function)
        .query("cursor", logs.cursor)
        .query("limit", Some(logs.limit))
        .answer()
        .await?;
    output.show(&answer, if logs.operation.is_some() { messages } else { operations })?;
    output.note_next_page(&answer);
    if logs.operation.is_none() {
        output.note("the messages of one: nango-runtime logs --operation ID");
    }
    Ok(())
}

fn operations(answer: &Value) -> String {
    let row = |operation: &Value| {
        let text = |at| text_at(operation, at);
        let target = [text("/provider_config_key"), text("/connection_id")].join(" ");
        let took = operation
            .get("duration_us")
            .and_then(Value::as_i64)
            .map_or(String::new(), duration);
        [
            text("/id"),
            text("/started_at"),
            text("/type"),
            text("/state"),
            target,
            took,
            text("/message"),
        ]
    };
    let rows: Vec<[String; 7]> = list_at(answer, "/data").iter().map(row).collect();
    let heading = ["operation", "started", "type", "state", "for", "took", "message"];
    output::table(heading, &rows, "No operations")
}

fn duration(duration_us: i64) -> String {
    format!("{}.{} ms", duration_us / 1_000, duration_us % 1_000 / 100)
}

fn messages(answer: &Value) -> String {
    let row =
        |message: &Value| ["/created_at", "/level", "/source", "/message", "/fields"].map(|at| text_at(message, at));
    let rows: Vec<[String; 5]> = list_at(answer, "/data").iter().map(row).collect();
    output::table(["at", "level", "from", "message", "more"], &rows, "No messages")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_operation_in_one_line() {
        let answer = json!({"data": [{
            "id": "op_1", "type": "action:run", "state": "success", "provider_config_key": "github",
            "connection_id": "c", "message": "Action whoami succeeded", "duration_us": 1_250,
            "started_at": "2026-01-01T00:00:00.000Z",
        }]});
        let expected = "\
OPERATION  STARTED                   TYPE        STATE    FOR       TOOK    MESSAGE
op_1       2026-01-01T00:00:00.000Z  action:run  success  github c  1.2 ms  Action whoami succeeded
";
        assert_eq!(operations(&answer), expected);
    }
}
