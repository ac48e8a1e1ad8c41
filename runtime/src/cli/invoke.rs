//! `nango-runtime invoke`: runs an action for a connection and prints its output, JSON, whether `--json` is given or not.

use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::input::InputSource;
use super::output;

#[derive(Debug, clap::Args)]
pub struct Invoke {
    integration: String,
    /// The action's name
    function: String,
    /// For which connection
    #[arg(long, value_name = "ID")]
    connection: String,
    /// The action's input: JSON, @FILE, - or env:NAME
    #[arg(long, value_name = "JSON")]
    input: Option<InputSource>,
}

pub async fn run(invoke: Invoke, client: &Client) -> anyhow::Result<()> {
    let input = invoke.input.map_or(Ok(Value::Null), |input| input.json("--input"))?;
    let mut body = json!({"action_name": invoke.function});
    if !input.is_null()
        && let Some(fields) = body.as_object_mut()
    {
        fields.insert("input".to_owned(), input);
    }
    let request = client.request(Method::POST, &["action", "trigger"]);
    let answer = request
        .target(&invoke.integration, &invoke.connection)?
        .json(&body)
        .answer()
        .await?;
    output::print_json(&answer)?;
    Ok(())
}
