//! `nango-runtime providers`: the catalogue.

use http::Method;
use serde_json::Value;

use super::client::Client;
use super::output::{self, Output, list_at, text_at};

#[derive(Debug, clap::Subcommand)]
pub enum Providers {
    /// All providers, or those whose name contains a text
    #[command(visible_alias = "ls")]
    List { search: Option<String> },
    /// One provider, as in the catalogue
    Show { provider: String },
}

pub async fn run(command: Providers, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        Providers::List { search } => {
            let answer = client
                .request(Method::GET, &["providers"])
                .query("search", search)
                .answer()
                .await?;
            output.show(&answer, table)?;
        }
        Providers::Show { provider } => {
            let answer = client.request(Method::GET, &["providers", &provider]).answer().await?;
            output.show(&answer, |answer| format!("{:#}", answer.get("data").unwrap_or(answer)))?;
        }
    }
    Ok(())
}

fn table(answer: &Value) -> String {
    let row = |provider: &Value| ["/name", "/display_name", "/auth_mode"].map(|at| text_at(provider, at));
    let rows: Vec<[String; 3]> = list_at(answer, "/data").iter().map(row).collect();
    output::table(["provider", "name", "credentials"], &rows, "No such provider")
}
