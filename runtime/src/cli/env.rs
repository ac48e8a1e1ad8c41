//! `nango-runtime env`: environment variables. A value is never an argument: arguments stay in the shell's history and show in the
//! process list.

use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::input::{InputError, InputSource};
use super::output::{self, Output, list_at, text_at};

#[derive(Debug, clap::Subcommand)]
pub enum EnvCommand {
    /// Their names; their values only with --values
    #[command(visible_alias = "ls")]
    List {
        /// Show the values too; the audit then has that you were shown them
        #[arg(long)]
        values: bool,
    },
    /// Make one, or replace its value
    Set {
        name: String,
        /// Where the value comes from: @FILE, env:NAME or - (standard input); one line break at the end is left out
        #[arg(value_name = "SOURCE", default_value = "-", value_parser = parse_source)]
        value: InputSource,
    },
    /// Delete one
    Unset { name: String },
}

pub async fn run(command: EnvCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        EnvCommand::List { values } => {
            let request = client.request(Method::GET, &["environment-variables"]);
            let answer = request.query("names_only", (!values).then_some(true)).answer().await?;
            output.show(&answer, if values { values_table } else { names_table })?;
        }
        EnvCommand::Set { name, value } => {
            let value = text(&value)?;
            let answer = client
                .request(Method::PUT, &["environment-variables", &name])
                .json(&json!({"value": value}))
                .answer()
                .await?;
            output.show(&answer, |_| format!("Set the environment variable {name}"))?;
        }
        EnvCommand::Unset { name } => {
            let request = client.request(Method::DELETE, &["environment-variables", &name]);
            output.show(&request.answer().await?, |_| {
                format!("Deleted the environment variable {name}")
            })?;
        }
    }
    Ok(())
}

/// The value as it is, but for the line break that editors and `echo` put at the end.
fn text(source: &InputSource) -> Result<String, InputError> {
    const WHAT: &str = "the value";
    let mut text = String::from_utf8(source.bytes(WHAT)?).map_err(|_| InputError::NotText { what: WHAT })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(InputError::Empty { what: WHAT });
    }
    Ok(text)
}

fn parse_source(text: &str) -> Result<InputSource, String> {
    match text.parse() {
        Ok(InputSource::Literal(_)) => Err(
            "a value that is an argument stays in the shell's history: give @FILE, env:NAME, or - for standard input"
                .to_owned(),
        ),
        Ok(source) => Ok(source),
        // Every text is some source.
        Err(never) => match never {},
    }
}

const NONE: &str = "No environment variables";

fn names_table(answer: &Value) -> String {
    let row = |variable: &Value| {
        let hidden = "(hidden)".to_owned();
        [text_at(variable, "/name"), hidden, text_at(variable, "/updated_at")]
    };
    let rows: Vec<[String; 3]> = list_at(answer, "").iter().map(row).collect();
    output::table(["name", "value", "updated"], &rows, NONE)
}

fn values_table(answer: &Value) -> String {
    let row = |variable: &Value| [text_at(variable, "/name"), text_at(variable, "/value")];
    let rows: Vec<[String; 2]> = list_at(answer, "").iter().map(row).collect();
    output::table(["name", "value"], &rows, NONE)
}
