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
    /// Lines at most
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

pub async fn run(logs: Logs, client: &Client, output: Output) -> anyhow::Result<()> {
    if let Some(operation) = logs.operation {
        let request = client.request(Method::GET, &["logs", "messages"]);
        let answer = request
            .query("operation_id", Some(operation))
            .query("limit", Some(logs.limit))
            .answer()
            .await?;
        output.show(&answer, messages)?;
    } else {
        let request = client
            .request(Method::GET, &["logs", "operations"])
            .query("integration", logs.integration)
            .query("connection", logs.connection)
            .query("limit", Some(logs.limit));
        let answer = request.answer().await?;
        output.show(&answer, operations)?;
        output.note("\nthe messages of one: nango-runtime logs --operation ID");
    }
    Ok(())
}

fn operations(answer: &Value) -> String {
    let row = |operation: &Value| {
        [
            "/id",
            "/started_at",
            "/type",
            "/state",
            "/provider_config_key",
            "/connection_id",
            "/message",
        ]
        .map(|at| text_at(operation, at))
    };
    let rows: Vec<[String; 7]> = list_at(answer, "/data").iter().map(row).collect();
    let heading = [
        "operation",
        "started",
        "type",
        "state",
        "integration",
        "connection",
        "message",
    ];
    output::table(heading, &rows, "No operations")
}

fn messages(answer: &Value) -> String {
    let row =
        |message: &Value| ["/created_at", "/level", "/source", "/message", "/retry"].map(|at| text_at(message, at));
    let rows: Vec<[String; 5]> = list_at(answer, "/data").iter().map(row).collect();
    output::table(["at", "level", "from", "message", "retry"], &rows, "No messages")
}
