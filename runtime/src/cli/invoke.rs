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
    /// Have it run in the background and print its id
    #[arg(long = "async")]
    is_async: bool,
    /// Attempts in the background that may follow a failed one
    #[arg(long, value_name = "0-5", requires = "is_async")]
    retries: Option<u8>,
    /// The same call with the same key gives the same answer for 24 hours
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

pub async fn run(invoke: Invoke, client: &Client) -> anyhow::Result<()> {
    let input = invoke.input.map_or(Ok(Value::Null), |input| input.json("--input"))?;
    let mut body = json!({"action_name": invoke.function});
    if !input.is_null()
        && let Some(fields) = body.as_object_mut()
    {
        fields.insert("input".to_owned(), input);
    }
    let mut request = client.request(Method::POST, &["action", "trigger"]);
    if invoke.is_async {
        request = request.header("x-async", "true")?;
    }
    if let Some(retries) = invoke.retries {
        request = request.header("x-max-retries", &retries.to_string())?;
    }
    if let Some(key) = &invoke.idempotency_key {
        request = request.header("idempotency-key", key)?;
    }
    let answer = request
        .target(&invoke.integration, &invoke.connection)?
        .json(&body)
        .answer()
        .await?;
    output::print_json(&answer)?;
    Ok(())
}
