//! `nango-runtime functions`: what is deployed, in which version, and back to an earlier one.

use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{self, Output, list_at, text_at};

/// Functions asked for at once: the most that the server gives.
const PAGE_FUNCTIONS: usize = 100;
/// Pages read at most, of each integration.
const PAGES_MAX: usize = 1_000;

#[derive(Debug, clap::Subcommand)]
pub enum Functions {
    /// Deployed functions of one integration, or of all
    #[command(visible_alias = "ls")]
    List { integration: Option<String> },
    /// One function: its schemas, its versions
    Show { integration: String, function: String },
    /// Have an action or an on-event function run again
    Enable { integration: String, function: String },
    /// Have an action or an on-event function run no more, until it is enabled; a sync is paused instead
    Disable { integration: String, function: String },
    /// Make an earlier version active
    Rollback {
        integration: String,
        function: String,
        /// The version to make active; when left out the one before: while a canary tries another the active one, else the newest older
        /// one of other code that nobody has gone back from
        #[arg(long, value_name = "VERSION")]
        to: Option<i64>,
    },
}

pub async fn run(command: Functions, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        Functions::List { integration } => {
            let answer = list(client, integration).await?;
            output.show(&answer, table)?;
        }
        Functions::Show { integration, function } => {
            let request = client.request(Method::GET, &["integrations", &integration, "functions", &function]);
            let answer = request.answer().await?;
            output.show(&answer, describe)?;
        }
        Functions::Enable { integration, function } => enable(client, output, &integration, &function, true).await?,
        Functions::Disable { integration, function } => enable(client, output, &integration, &function, false).await?,
        Functions::Rollback {
            integration,
            function,
            to,
        } => {
            let path = ["integrations", &integration, "functions", &function, "rollback"];
            let body = to.map_or(json!({}), |version| json!({"version": version}));
            let answer = client.request(Method::POST, &path).json(&body).answer().await?;
            output.show(&answer, |answer| {
                let function_now = answer.get("data").unwrap_or(answer);
                format!(
                    "{function} of {integration} is now at version {}",
                    text_at(function_now, "/version")
                )
            })?;
        }
    }
    Ok(())
}

async fn enable(
    client: &Client,
    output: Output,
    integration: &str,
    function: &str,
    enabled: bool,
) -> anyhow::Result<()> {
    let path = ["integrations", integration, "functions", function];
    let request = client
        .request(Method::PATCH, &path)
        .json(&json!({ "enabled": enabled }));
    let answer = request.answer().await?;
    output.show(&answer, |_| {
        let now = if enabled { "enabled" } else { "disabled" };
        format!("{function} of {integration} is {now}")
    })?;
    Ok(())
}

/// `{"data": […]}`, each function with its integration.
pub async fn list(client: &Client, integration: Option<String>) -> anyhow::Result<Value> {
    let keys = match integration {
        Some(key) => vec![key],
        None => {
            let integrations = client.request(Method::GET, &["integrations"]).answer().await?;
            list_at(&integrations, "/data")
                .iter()
                .map(|integration| text_at(integration, "/unique_key"))
                .collect()
        }
    };
    let mut functions = Vec::new();
    for key in keys {
        for page in 0..PAGES_MAX {
            let request = client.request(Method::GET, &["integrations", &key, "functions"]);
            let answer = request
                .query("page", Some(page))
                .query("limit", Some(PAGE_FUNCTIONS))
                .answer()
                .await?;
            let found = list_at(&answer, "/data");
            functions.extend(found.iter().map(|function| with_integration(function, &key)));
            if found.len() < PAGE_FUNCTIONS {
                break;
            }
        }
    }
    Ok(json!({"data": functions}))
}

fn with_integration(function: &Value, key: &str) -> Value {
    let mut function = function.clone();
    if let Some(fields) = function.as_object_mut() {
        fields.insert("integration".to_owned(), json!(key));
    }
    function
}

/// What the function is, its schemas, and all its versions.
fn describe(answer: &Value) -> String {
    let row = |version: &Value| ["/version", "/active", "/deployed_at", "/digest"].map(|at| text_at(version, at));
    let versions: Vec<[String; 4]> = list_at(answer, "/versions").iter().map(row).collect();
    let text = |at| text_at(answer, at);
    format!(
        "{}\n{}\nschemas\n{:#}\n",
        output::fields(&[
            ("function", text("/data/name")),
            ("type", text("/data/type")),
            ("description", text("/data/description")),
            ("runs", text("/data/runs")),
            ("event", text("/data/event")),
            ("input", text("/data/input")),
            ("returns", text("/data/returns")),
        ]),
        output::table(["version", "active", "deployed", "sha256"], &versions, "No versions"),
        answer.pointer("/data/json_schema/definitions").unwrap_or(&Value::Null),
    )
}

/// The active version, and the one that is tried: `3 (4: 10 %)`.
pub fn versions(function: &Value) -> String {
    let [version, tried, percent] = ["/version", "/canary/version", "/canary/percent"].map(|at| text_at(function, at));
    if tried.is_empty() {
        version
    } else {
        format!("{version} ({tried}: {percent} %)")
    }
}

fn table(answer: &Value) -> String {
    let row = |function: &Value| {
        [
            "/integration",
            "/name",
            "/type",
            "/version",
            "/last_deployed",
            "/description",
        ]
        .map(|at| {
            if at == "/version" && function.get("enabled") == Some(&Value::Bool(false)) {
                format!("{} (disabled)", versions(function))
            } else if at == "/version" {
                versions(function)
            } else {
                text_at(function, at)
            }
        })
    };
    let rows: Vec<[String; 6]> = list_at(answer, "/data").iter().map(row).collect();
    let none = "No functions; deploy some with `nango-runtime deploy PATH --integration KEY`";
    output::table(
        ["integration", "function", "type", "version", "deployed", "description"],
        &rows,
        none,
    )
}
