//! `nango-runtime dryrun`: runs a function for a connection without writing what it writes, and shows what it did.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use http::Method;
use serde_json::{Map, Value};

use super::client::Client;
use super::input::{InputError, InputSource};
use super::output::{Output, list_at, text_at};
use super::run_report;
use super::signing::SigningKey;

/// Requests are for real, those that change something at the provider included. Records, checkpoint and metadata stay as they are.
#[derive(Debug, clap::Args)]
pub struct DryRun {
    function: String,
    /// For which connection
    connection: String,
    /// The connection's integration; found by the connection when there is only one of that id
    #[arg(long, alias = "integration-id", value_name = "KEY")]
    integration: Option<String>,
    /// The input: JSON, @FILE, - or env:NAME
    #[arg(long, short, value_name = "JSON")]
    input: Option<InputSource>,
    /// A webhook that the sync handles: a file with a JSON object of `headers`, `body` and, if need be, `query`, `method` and `events`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "variant"])]
    webhook: Option<PathBuf>,
    /// Metadata in the place of the connection's, a JSON object
    #[arg(long, short, value_name = "JSON")]
    metadata: Option<InputSource>,
    /// Checkpoint in the place of the saved one, a JSON object
    #[arg(long, short, value_name = "JSON")]
    checkpoint: Option<InputSource>,
    /// Which variant of a sync
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Run the function of this component, which need not be deployed; the key must be allowed to deploy
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// What that component may be given: `token`, `fetch:HOST`, `fetch` for any host, or `all`
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', requires = "component")]
    allow: Vec<String>,
    /// Sign that component with this Ed25519 private key (PEM), for servers that have `deploy_keys`
    #[arg(long, value_name = "FILE", env = "NANGO_SIGNING_KEY_FILE")]
    signing_key: Option<PathBuf>,
    /// Keep the traffic as a test fixture, tests/FUNCTION.test.json (FUNCTION.webhook.test.json) unless a file is given
    #[arg(long, alias = "save-responses", value_name = "FILE", num_args = 0..=1, default_missing_value = "")]
    save: Option<String>,
}

pub async fn run(dry: DryRun, client: &Client, output: Output) -> anyhow::Result<()> {
    let integration = match &dry.integration {
        Some(integration) => integration.clone(),
        None => integration_of(client, &dry.connection).await?,
    };
    let body = dry.body()?;
    let report = send(client, &integration, &dry.function, &body).await?;
    output.show(&report, |report| {
        format!(
            "{}Dry run: records, checkpoint and metadata are as they were\n",
            run_report::render(report)
        )
    })?;
    if let Some(path) = &dry.save {
        let path = if path.is_empty() {
            let case = if dry.webhook.is_some() { ".webhook" } else { "" };
            Path::new("tests").join(format!("{}{case}.test.json", dry.function))
        } else {
            PathBuf::from(path)
        };
        save(&path, &report)?;
        output.note(&format!("saved {}", path.display()));
    }
    if report.get("success") != Some(&Value::Bool(true)) {
        bail!("the function failed: {}", text_at(&report, "/error/message"));
    }
    Ok(())
}

impl DryRun {
    fn body(&self) -> anyhow::Result<Map<String, Value>> {
        let mut body = Map::new();
        body.insert("connection_id".to_owned(), Value::from(self.connection.as_str()));
        if let Some(input) = &self.input {
            body.insert("input".to_owned(), input.json("--input")?);
        }
        if let Some(path) = &self.webhook {
            let webhook = InputSource::File(path.clone()).json_object("--webhook")?;
            body.insert("webhook".to_owned(), webhook);
        }
        if let Some(metadata) = &self.metadata {
            body.insert("metadata".to_owned(), metadata.json_object("--metadata")?);
        }
        if let Some(checkpoint) = &self.checkpoint {
            body.insert("checkpoint".to_owned(), checkpoint.json_object("--checkpoint")?);
        }
        if let Some(variant) = &self.variant {
            body.insert("variant".to_owned(), Value::from(variant.as_str()));
        }
        if let Some(path) = &self.component {
            let component = std::fs::read(path).map_err(|source| InputError::File {
                what: "--component",
                path: path.clone(),
                source,
            })?;
            if let Some(path) = &self.signing_key {
                let signature = SigningKey::read(path)?.sign(&component)?;
                body.insert("signature".to_owned(), Value::from(signature));
            }
            let text = base64::engine::general_purpose::STANDARD.encode(component);
            body.insert("component".to_owned(), Value::from(text));
            body.insert("allow".to_owned(), Value::from(self.allow.clone()));
        }
        Ok(body)
    }
}

/// Asks the server for a dry run; `body` is that of its route.
pub async fn send(
    client: &Client,
    integration: &str,
    function: &str,
    body: &Map<String, Value>,
) -> anyhow::Result<Value> {
    let path = ["integrations", integration, "functions", function, "dry-run"];
    let request = client.request(Method::POST, &path);
    Ok(request.json(&Value::Object(body.clone())).answer().await?)
}

/// The integration of the one connection of that id.
pub async fn integration_of(client: &Client, connection: &str) -> anyhow::Result<String> {
    let request = client.request(Method::GET, &["connections"]);
    let answer = request.query("connectionId", Some(connection)).answer().await?;
    let keys: Vec<String> = list_at(&answer, "/connections")
        .iter()
        .map(|connection| text_at(connection, "/provider_config_key"))
        .collect();
    match keys.as_slice() {
        [key] => Ok(key.clone()),
        [] => bail!("there is no connection {connection:?}\nhint: `nango-runtime connection list` lists them"),
        keys => bail!(
            "{} integrations have a connection {connection:?}: {}\nhint: name one with --integration",
            keys.len(),
            keys.join(", ")
        ),
    }
}

/// Writes the fixture of a report.
pub fn save(path: &Path, report: &Value) -> anyhow::Result<()> {
    // Its text, because a value would lose the order of headers.
    let fixture = report
        .get("fixture")
        .and_then(Value::as_str)
        .context("the server gave no fixture")?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    std::fs::write(path, fixture).with_context(|| format!("cannot write {}", path.display()))
}
