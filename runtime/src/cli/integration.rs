//! `nango-runtime integration`: configured providers.

use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::input::InputSource;
use super::output::{self, Output, fields, list_at, text_at};

#[derive(Debug, clap::Subcommand)]
pub enum IntegrationCommand {
    #[command(visible_alias = "ls")]
    List,
    Show {
        key: String,
    },
    /// Configure a provider
    Create {
        /// Its unique key: the provider-config-key of the API
        key: String,
        /// A provider of the catalogue; `providers list` shows them
        #[arg(long, value_name = "NAME")]
        provider: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change what is given, leave the rest
    Update {
        key: String,
        /// A new unique key
        #[arg(long, value_name = "KEY")]
        rename: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Delete it with its connections, functions and records
    Delete {
        key: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct Settings {
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// OAuth client and the like: JSON, @FILE, - or env:NAME
    #[arg(long, value_name = "JSON")]
    credentials: Option<InputSource>,
    /// Values that the templates of generic providers need: JSON, @FILE, - or env:NAME
    #[arg(long, value_name = "JSON")]
    custom: Option<InputSource>,
}

pub async fn run(command: IntegrationCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        IntegrationCommand::List => {
            let answer = client.request(Method::GET, &["integrations"]).answer().await?;
            output.show(&answer, table)?;
        }
        IntegrationCommand::Show { key } => {
            let answer = client.request(Method::GET, &["integrations", &key]).answer().await?;
            output.show(&answer, describe)?;
        }
        IntegrationCommand::Create {
            key,
            provider,
            settings,
        } => {
            let body = settings.into_body(json!({"unique_key": key, "provider": provider}))?;
            let answer = client
                .request(Method::POST, &["integrations"])
                .json(&body)
                .answer()
                .await?;
            output.show(&answer, describe)?;
        }
        IntegrationCommand::Update { key, rename, settings } => {
            let body = rename.map_or(json!({}), |rename| json!({"unique_key": rename}));
            let body = settings.into_body(body)?;
            let answer = client
                .request(Method::PATCH, &["integrations", &key])
                .json(&body)
                .answer()
                .await?;
            output.show(&answer, describe)?;
        }
        IntegrationCommand::Delete { key } => {
            let answer = client.request(Method::DELETE, &["integrations", &key]).answer().await?;
            output.show(&answer, |_| format!("Deleted the integration {key}"))?;
        }
    }
    Ok(())
}

impl Settings {
    fn into_body(self, mut body: Value) -> anyhow::Result<Value> {
        let credentials = self
            .credentials
            .map(|source| source.json_object("--credentials"))
            .transpose()?;
        let custom = self.custom.map(|source| source.json_object("--custom")).transpose()?;
        let given = [
            ("display_name", self.display_name.map(Value::String)),
            ("credentials", credentials),
            ("custom", custom),
        ];
        if let Some(fields) = body.as_object_mut() {
            let given = given
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            fields.extend(given);
        }
        Ok(body)
    }
}

fn table(answer: &Value) -> String {
    let row = |integration: &Value| {
        ["/unique_key", "/provider", "/display_name", "/created_at"].map(|at| text_at(integration, at))
    };
    let rows: Vec<[String; 4]> = list_at(answer, "/data").iter().map(row).collect();
    let none = "No integrations; make one with `nango-runtime integration create KEY --provider NAME`";
    output::table(["integration", "provider", "name", "created"], &rows, none)
}

fn describe(answer: &Value) -> String {
    fields(&[
        ("integration", text_at(answer, "/data/unique_key")),
        ("provider", text_at(answer, "/data/provider")),
        ("name", text_at(answer, "/data/display_name")),
        ("created", text_at(answer, "/data/created_at")),
        ("updated", text_at(answer, "/data/updated_at")),
    ])
}
