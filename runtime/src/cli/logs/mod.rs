//! `nango-runtime logs`: operations (a run, a proxied request, a deploy), newest first, or the messages of one of them; once, or
//! as they come.

mod follow;
mod lines;
mod of_run;

use http::Method;

use super::client::{Client, Request};
use super::output::{self, Output, list_at};

/// Lines of a page, and of what was before when following.
const LIMIT_DEFAULT: u32 = 50;
const FOLLOW_LIMIT_DEFAULT: u32 = 10;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("one").args(["run", "operation"])))]
pub struct Logs {
    /// The messages of this run (run_…), action in the background, or operation (op_…)
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// The messages of this operation
    #[arg(long, value_name = "ID")]
    operation: Option<String>,
    /// Go on with what comes, until Ctrl-C or the end of the operation; with --json one object a line
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    filter: Filter,
    /// Only messages of this level and above: debug, info, warn or error
    #[arg(long, requires = "one")]
    level: Option<String>,
    /// Only what contains this text: an operation, one of its messages, or a message
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Lines a page, 500 at most [default: 50; of what was before --follow: 10]
    #[arg(long)]
    limit: Option<u32>,
    /// Where to read on: the next_cursor of an earlier page
    #[arg(long, conflicts_with = "follow")]
    cursor: Option<String>,
}

/// Which operations.
#[derive(Clone, Debug, clap::Args)]
struct Filter {
    /// Only operations of this integration
    #[arg(long, value_name = "KEY", conflicts_with = "one")]
    integration: Option<String>,
    /// Only operations of this connection
    #[arg(long, value_name = "ID", conflicts_with = "one")]
    connection: Option<String>,
    /// Only operations of this function
    #[arg(long, value_name = "NAME", conflicts_with = "one")]
    function: Option<String>,
    /// Only operations of this type: proxy, action, sync, deploy, or one such as action:run
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "one")]
    kind: Option<String>,
    /// Only operations in this state: running, success or failed
    #[arg(long, conflicts_with = "one")]
    state: Option<String>,
    /// Only operations that began then or later: an ISO date-time, or an age such as 90s, 15m, 2h or 7d
    #[arg(long, value_name = "TIME", conflicts_with = "one")]
    since: Option<String>,
    /// Only operations that began before: as --since
    #[arg(long, value_name = "TIME", conflicts_with = "one")]
    until: Option<String>,
}

pub async fn run(mut logs: Logs, client: &Client, output: Output) -> anyhow::Result<()> {
    if let Some(run) = &logs.run {
        logs.operation = Some(of_run::operation(client, run, logs.follow).await?);
    }
    if logs.follow {
        return follow::run(&logs, client, output).await;
    }
    let Some(id) = &logs.operation else {
        let answer = logs.page(logs.operations_request(client)).answer().await?;
        output.show(&answer, lines::operations_table)?;
        output.note_next_page(&answer);
        output.note("the messages of one: nango-runtime logs OPERATION");
        return Ok(());
    };
    let answer = logs.page(logs.messages_request(client, id)).answer().await?;
    if output.json {
        return Ok(output::print_json(&answer)?);
    }
    // Whole, as nothing else shows them.
    for message in list_at(&answer, "/data") {
        output::print(&lines::message(message, output))?;
    }
    let operation = client.request(Method::GET, &["logs", "operations", id]);
    output::print(&lines::operation(&operation.answer().await?, output))?;
    output.note_next_page(&answer);
    Ok(())
}

impl Logs {
    fn page<'c>(&self, request: Request<'c>) -> Request<'c> {
        request
            .query("cursor", self.cursor.as_ref())
            .query("limit", Some(self.limit.unwrap_or(LIMIT_DEFAULT)))
    }

    fn operations_request<'c>(&self, client: &'c Client) -> Request<'c> {
        let filter = &self.filter;
        client
            .request(Method::GET, &["logs", "operations"])
            .query("integration", filter.integration.as_ref())
            .query("connection", filter.connection.as_ref())
            .query("function", filter.function.as_ref())
            .query("type", filter.kind.as_ref())
            .query("state", filter.state.as_ref())
            .query("since", filter.since.as_ref())
            .query("until", filter.until.as_ref())
            .query("search", self.search.as_ref())
    }

    fn messages_request<'c>(&self, client: &'c Client, operation_id: &str) -> Request<'c> {
        client
            .request(Method::GET, &["logs", "messages"])
            .query("operation_id", Some(operation_id))
            .query("level", self.level.as_ref())
            .query("search", self.search.as_ref())
    }
}
