//! `nango-runtime keys`: API keys of the environment, and the encryption keys of the installation.

use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::encryption_keys;
use super::input::InputSource;
use super::output::{self, Output, list_at, text_at};

#[derive(Debug, clap::Subcommand)]
pub enum KeysCommand {
    #[command(visible_alias = "ls")]
    List,
    /// Make a key; it is shown once, on standard output
    Create(Create),
    /// From then on nobody gets in with it
    Revoke {
        /// As `keys list` shows it
        id: String,
    },
    /// Encryption: seal with a new key, and move what is sealed to it while the server goes on; what is stored in clear stays so
    Rotate {
        /// Use this key, 32 bytes in base64, instead of a random one: @FILE, - or env:NAME
        #[arg(long, value_name = "KEY")]
        key: Option<InputSource>,
        /// Do not wait until everything is moved
        #[arg(long)]
        no_wait: bool,
    },
    /// Encryption: which keys there are, what is sealed with each, which processes have them
    Status,
    /// Encryption: let go of an old key that nothing is sealed with any more
    Retire {
        /// As `keys status` shows it
        version: i64,
    },
}

#[derive(Debug, clap::Args)]
pub struct Create {
    name: String,
    /// What it may do, such as environment:proxy or environment:connections:*; repeatable
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,
    /// Limit it to this integration; repeatable
    #[arg(long = "integration", value_name = "KEY")]
    integrations: Vec<String>,
    /// Limit it to this connection; repeatable
    #[arg(long = "connection", value_name = "ID")]
    connections: Vec<String>,
    /// Limit its proxy requests to this method; repeatable
    #[arg(long = "method", value_name = "METHOD")]
    methods: Vec<String>,
    /// Limit its proxy requests to this path and what is below it; repeatable
    #[arg(long = "path", value_name = "PREFIX")]
    paths: Vec<String>,
}

pub async fn run(command: KeysCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        KeysCommand::List => {
            let answer = client.request(Method::GET, &["api-keys"]).answer().await?;
            output.show(&answer, table)?;
        }
        KeysCommand::Create(create) => {
            let answer = client
                .request(Method::POST, &["api-keys"])
                .json(&create.into_body())
                .answer()
                .await?;
            let id = text_at(&answer, "/data/id");
            output.note(&format!("Made the API key {id}. It is shown only now:"));
            output.show(&answer, |answer| text_at(answer, "/data/key"))?;
        }
        KeysCommand::Revoke { id } => {
            let answer = client.request(Method::DELETE, &["api-keys", &id]).answer().await?;
            output.show(&answer, |_| format!("Revoked the API key {id}"))?;
        }
        KeysCommand::Rotate { key, no_wait } => encryption_keys::rotate(key, no_wait, client, output).await?,
        KeysCommand::Status => encryption_keys::status(client, output).await?,
        KeysCommand::Retire { version } => encryption_keys::retire(version, client, output).await?,
    }
    Ok(())
}

impl Create {
    fn into_body(self) -> Value {
        let list = |entries: Vec<String>| {
            if entries.is_empty() {
                Value::Null
            } else {
                json!(entries)
            }
        };
        let methods = self.methods.iter().map(|method| method.to_ascii_uppercase()).collect();
        json!({
            "name": self.name,
            "scopes": self.scopes,
            "limits": {
                "integrations": list(self.integrations),
                "connections": list(self.connections),
                "methods": list(methods),
                "path_prefixes": list(self.paths),
            },
        })
    }
}

fn table(answer: &Value) -> String {
    let joined = |key: &Value, pointer: &str| {
        let entries = list_at(key, pointer).iter().filter_map(Value::as_str);
        entries.collect::<Vec<_>>().join(" ")
    };
    let limits = |key: &Value| {
        let all = ["integrations", "connections", "methods", "path_prefixes"];
        let each = all.map(|name| joined(key, &format!("/limits/{name}")));
        each.into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    };
    let row = |key: &Value| {
        [
            text_at(key, "/id"),
            text_at(key, "/name"),
            joined(key, "/scopes"),
            limits(key),
            text_at(key, "/last_used_at"),
        ]
    };
    let rows: Vec<[String; 5]> = list_at(answer, "/data").iter().map(row).collect();
    output::table(["id", "name", "scopes", "limits", "last used"], &rows, "No API keys")
}
