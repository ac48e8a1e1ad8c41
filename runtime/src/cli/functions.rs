//! `nango-runtime functions`: what is deployed, in which version, and back to an earlier one.

use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{self, Output, list_at, text_at};

#[derive(Debug, clap::Subcommand)]
pub enum Functions {
    /// Deployed functions of one integration, or of all
    #[command(visible_alias = "ls")]
    List { integration: Option<String> },
    /// One function: its schemas, its versions
    Show { integration: String, function: String },
    /// Make an earlier version active
    Rollback {
        integration: String,
        function: String,
        /// The version to make active; the one before the active one when left out
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
            output.show(&answer, |answer| format!("{:#}", answer.get("data").unwrap_or(answer)))?;
        }
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

/// `{"data": […]}`, each function with its integration.
async fn list(client: &Client, integration: Option<String>) -> anyhow::Result<Value> {
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
        let answer = client
            .request(Method::GET, &["integrations", &key, "functions"])
            .answer()
            .await?;
        for function in list_at(&answer, "/data") {
            let mut function = function.clone();
            if let Some(fields) = function.as_object_mut() {
                fields.insert("integration".to_owned(), json!(key));
            }
            functions.push(function);
        }
    }
    Ok(json!({"data": functions}))
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
        .map(|at| text_at(function, at))
    };
    let rows: Vec<[String; 6]> = list_at(answer, "/data").iter().map(row).collect();
    let none = "No functions; deploy some with `nango-runtime deploy PATH --integration KEY`";
    output::table(
        ["integration", "function", "type", "version", "deployed", "description"],
        &rows,
        none,
    )
}
