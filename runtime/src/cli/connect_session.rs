//! `nango-runtime connect-session`: links by which your customers connect in their browser.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::connection::parse_tag;
use super::output::{Output, text_at};
use crate::model::JsonObject;

#[derive(Debug, clap::Subcommand)]
pub enum ConnectSessionCommand {
    /// Open a session and print the link to the connect page; it works for 30 minutes
    Create(Create),
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// An integration that may be connected; repeatable, all when none is given
    #[arg(long = "integration", value_name = "KEY")]
    integrations: Vec<String>,
    /// Whose the connection will be, by your own id of that user
    #[arg(long, value_name = "ID")]
    end_user_id: Option<String>,
    /// A tag of the connection, such as plan=pro; repeatable
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = parse_tag)]
    tags: Vec<(String, String)>,
    /// Authorise this connection of the one integration anew
    #[arg(long, value_name = "CONNECTION", requires = "integrations")]
    reconnect: Option<String>,
}

pub async fn run(command: ConnectSessionCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    let ConnectSessionCommand::Create(create) = command;
    let (path, body) = create.into_request()?;
    let answer = client.request(Method::POST, path).json(&body).answer().await?;
    let until = text_at(&answer, "/data/expires_at");
    output.note(&format!("Whoever has the link can connect until {until}:"));
    output.show(&answer, |answer| text_at(answer, "/data/connect_link"))?;
    Ok(())
}

impl Create {
    fn into_request(self) -> anyhow::Result<(&'static [&'static str], Value)> {
        let tags: BTreeMap<String, String> = self.tags.into_iter().collect();
        let mut fields = JsonObject::from_iter([("tags".to_owned(), json!(tags))]);
        if let Some(id) = self.end_user_id {
            fields.insert("end_user".to_owned(), json!({"id": id}));
        }
        let Some(connection_id) = self.reconnect else {
            if !self.integrations.is_empty() {
                fields.insert("allowed_integrations".to_owned(), json!(self.integrations));
            }
            return Ok((&["connect", "sessions"], Value::Object(fields)));
        };
        let [integration] = self.integrations.as_slice() else {
            anyhow::bail!("--reconnect needs the one --integration that the connection belongs to");
        };
        fields.insert("connection_id".to_owned(), json!(connection_id));
        fields.insert("integration_id".to_owned(), json!(integration));
        Ok((&["connect", "sessions", "reconnect"], Value::Object(fields)))
    }
}
