//! `nango-runtime connection`: authorisations of customers. Credentials come in from anywhere but are never printed, except
//! by `show --json`, which gives the server's whole answer.

use http::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::input::InputSource;
use super::output::{self, Output, fields, list_at, text_at};

#[derive(Debug, clap::Subcommand)]
pub enum ConnectionCommand {
    #[command(visible_alias = "ls")]
    List {
        /// Only those of one integration
        #[arg(long, value_name = "KEY")]
        integration: Option<String>,
    },
    Show {
        integration: String,
        connection: String,
    },
    /// Take over an authorisation that was obtained elsewhere
    Import(Import),
    Delete {
        integration: String,
        connection: String,
    },
    /// Remove what was deleted for good, with its records, runs and log, instead of waiting until it is old
    Purge {
        /// Only connections of this integration, which may be deleted itself
        integration: Option<String>,
        /// Only those that had this id
        connection: Option<String>,
    },
    /// Show the metadata, or change it
    Metadata(Metadata),
    /// Show the connection's own address for the provider's webhooks, made when it has none
    Webhook {
        integration: String,
        connection: String,
        /// What the provider signs webhooks at that address with, in the place of what was there: @FILE, - or env:NAME
        #[arg(long, value_name = "SOURCE")]
        secret: Option<InputSource>,
    },
}

#[derive(Debug, clap::Args)]
pub struct Import {
    integration: String,
    /// Your name for the connection, unique in the integration
    connection: String,
    /// Just the token, API key or user:password, as the provider's credentials need it: @FILE, - or env:NAME
    #[arg(
        long,
        value_name = "SOURCE",
        required_unless_present = "credentials",
        conflicts_with = "credentials"
    )]
    token: Option<InputSource>,
    /// The credentials, such as {"type": "OAUTH2", "access_token": "…"}: JSON, @FILE, - or env:NAME
    #[arg(long, value_name = "JSON")]
    credentials: Option<InputSource>,
    /// Values that the provider's URLs need, such as {"subdomain": "acme"}
    #[arg(long, value_name = "JSON")]
    config: Option<InputSource>,
    #[arg(long, value_name = "JSON")]
    metadata: Option<InputSource>,
    /// Repeatable
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = parse_tag)]
    tags: Vec<(String, String)>,
}

#[derive(Debug, clap::Args)]
pub struct Metadata {
    integration: String,
    connection: String,
    /// Replace all metadata
    #[arg(long, value_name = "JSON", conflicts_with = "update")]
    set: Option<InputSource>,
    /// Change the given fields only
    #[arg(long, value_name = "JSON")]
    update: Option<InputSource>,
}

pub async fn run(command: ConnectionCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        ConnectionCommand::Webhook {
            integration,
            connection,
            secret,
        } => {
            let secret = secret.map(|secret| secret.text("--secret")).transpose()?;
            let answer = client
                .request(Method::PUT, &["connections", &connection, "webhook"])
                .query("provider_config_key", Some(&integration))
                .json(&json!({ "secret": secret }))
                .answer()
                .await?;
            output.show(&answer, |answer| text_at(answer, "/data/url"))?;
        }
        ConnectionCommand::List { integration } => {
            let answer = client
                .request(Method::GET, &["connections"])
                .query("integrationId", integration)
                .answer()
                .await?;
            output.show(&answer, table)?;
        }
        ConnectionCommand::Show {
            integration,
            connection,
        } => {
            let answer = one(client, Method::GET, &integration, &connection).await?;
            output.show(&answer, describe)?;
        }
        ConnectionCommand::Import(import) => {
            let body = import_body(import, client).await?;
            let answer = client
                .request(Method::POST, &["connections"])
                .json(&body)
                .answer()
                .await?;
            // The answer repeats the credentials, which the caller knows.
            output.show(&without_credentials(answer), describe)?;
        }
        ConnectionCommand::Delete {
            integration,
            connection,
        } => {
            let answer = one(client, Method::DELETE, &integration, &connection).await?;
            output.show(&answer, |_| {
                format!("Deleted the connection {connection} of {integration}")
            })?;
        }
        ConnectionCommand::Purge {
            integration,
            connection,
        } => {
            let answer = purge(client, integration.as_deref(), connection.as_deref()).await?;
            output.show(&answer, purged)?;
        }
        ConnectionCommand::Metadata(command) => metadata(command, client).await?,
    }
    Ok(())
}

/// Calls until nothing is left; gives all that was purged.
async fn purge(client: &Client, integration: Option<&str>, connection: Option<&str>) -> anyhow::Result<Value> {
    let mut body = Map::new();
    let named = [("provider_config_key", integration), ("connection_id", connection)];
    body.extend(
        named
            .iter()
            .filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.into()))),
    );
    let body = Value::Object(body);
    let mut all: [u64; 3] = [0; 3];
    loop {
        let answer = client
            .request(Method::POST, &["connections", "purge"])
            .json(&body)
            .answer()
            .await?;
        for (sum, name) in all.iter_mut().zip(["connections", "integrations", "rows"]) {
            *sum += answer.get(name).and_then(Value::as_u64).unwrap_or(0);
        }
        if answer.get("more").and_then(Value::as_bool) != Some(true) {
            let [connections, integrations, rows] = all;
            return Ok(json!({"connections": connections, "integrations": integrations, "rows": rows}));
        }
    }
}

fn purged(answer: &Value) -> String {
    format!(
        "Purged {} connections with {} rows, and {} integrations",
        text_at(answer, "/connections"),
        text_at(answer, "/rows"),
        text_at(answer, "/integrations")
    )
}

async fn one(client: &Client, method: Method, integration: &str, connection: &str) -> anyhow::Result<Value> {
    let request = client.request(method, &["connections", connection]);
    Ok(request.query("provider_config_key", Some(integration)).answer().await?)
}

async fn import_body(import: Import, client: &Client) -> anyhow::Result<Value> {
    let credentials = match (import.credentials, import.token) {
        (Some(credentials), _) => credentials.json_object("--credentials")?,
        (None, Some(token)) => {
            let token = token.text("--token")?;
            credentials_from_token(&auth_mode(client, &import.integration).await?, &token)?
        }
        (None, None) => Value::Null,
    };
    let mut body = json!({
        "provider_config_key": import.integration,
        "connection_id": import.connection,
        "credentials": credentials,
    });
    let tags: Map<String, Value> = import
        .tags
        .into_iter()
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    let given = [
        (
            "connection_config",
            import.config.map(|source| source.json_object("--config")).transpose()?,
        ),
        (
            "metadata",
            import
                .metadata
                .map(|source| source.json_object("--metadata"))
                .transpose()?,
        ),
        ("tags", (!tags.is_empty()).then_some(Value::Object(tags))),
    ];
    if let Some(fields) = body.as_object_mut() {
        fields.extend(
            given
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?))),
        );
    }
    Ok(body)
}

/// Which kind of credentials the provider of an integration needs.
async fn auth_mode(client: &Client, integration: &str) -> anyhow::Result<String> {
    let integration = client
        .request(Method::GET, &["integrations", integration])
        .answer()
        .await?;
    let provider = text_at(&integration, "/data/provider");
    let provider = client.request(Method::GET, &["providers", &provider]).answer().await?;
    Ok(text_at(&provider, "/data/auth_mode"))
}

fn credentials_from_token(auth_mode: &str, token: &str) -> anyhow::Result<Value> {
    Ok(match auth_mode {
        "OAUTH2" => json!({"type": "OAUTH2", "access_token": token}),
        "API_KEY" => json!({"type": "API_KEY", "apiKey": token}),
        "BASIC" => {
            let (username, password) = token.split_once(':').unwrap_or((token, ""));
            json!({"type": "BASIC", "username": username, "password": password})
        }
        other => anyhow::bail!("credentials of the type {other} are more than a token; give them with --credentials"),
    })
}

async fn metadata(command: Metadata, client: &Client) -> anyhow::Result<()> {
    let change = match (&command.set, &command.update) {
        (Some(set), _) => Some((Method::POST, set.json_object("--set")?)),
        (None, Some(update)) => Some((Method::PATCH, update.json_object("--update")?)),
        (None, None) => None,
    };
    if let Some((method, metadata)) = change {
        let body = json!({
            "provider_config_key": command.integration,
            "connection_id": command.connection,
            "metadata": metadata,
        });
        client
            .request(method, &["connections", "metadata"])
            .json(&body)
            .answer()
            .await?;
    }
    let connection = one(client, Method::GET, &command.integration, &command.connection).await?;
    output::print_json(connection.get("metadata").unwrap_or(&Value::Null))?;
    Ok(())
}

fn without_credentials(mut answer: Value) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("credentials");
    }
    answer
}

pub(super) fn parse_tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("a tag is NAME=VALUE".to_owned()),
    }
}

fn table(answer: &Value) -> String {
    let row = |connection: &Value| {
        [
            "/provider_config_key",
            "/connection_id",
            "/provider",
            "/created",
            "/tags",
        ]
        .map(|at| text_at(connection, at))
    };
    let rows: Vec<[String; 5]> = list_at(answer, "/connections").iter().map(row).collect();
    let none = "No connections; take one over with `nango-runtime connection import INTEGRATION ID --token -`";
    output::table(
        ["integration", "connection", "provider", "created", "tags"],
        &rows,
        none,
    )
}

fn describe(answer: &Value) -> String {
    fields(&[
        ("connection", text_at(answer, "/connection_id")),
        ("integration", text_at(answer, "/provider_config_key")),
        ("provider", text_at(answer, "/provider")),
        ("credentials", text_at(answer, "/credentials/type")),
        ("metadata", text_at(answer, "/metadata")),
        ("tags", text_at(answer, "/tags")),
        ("created", text_at(answer, "/created_at")),
        ("updated", text_at(answer, "/updated_at")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_becomes_the_credentials_that_the_provider_needs() {
        let check = |mode, token, expected: Value| assert_eq!(credentials_from_token(mode, token).unwrap(), expected);
        check("OAUTH2", "t", json!({"type": "OAUTH2", "access_token": "t"}));
        check("API_KEY", "t", json!({"type": "API_KEY", "apiKey": "t"}));
        check(
            "BASIC",
            "u:p:q",
            json!({"type": "BASIC", "username": "u", "password": "p:q"}),
        );
        assert!(credentials_from_token("JWT", "t").is_err());
    }

    #[test]
    fn tags_have_a_name() {
        assert_eq!(parse_tag("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(parse_tag("a").is_err() && parse_tag("=b").is_err());
    }

    #[test]
    fn people_never_see_credentials() {
        let answer = json!({"connection_id": "c", "credentials": {"type": "API_KEY", "apiKey": "hunter2"}});
        assert!(!describe(&answer).contains("hunter2"));
        assert!(describe(&answer).contains("API_KEY"));
        assert!(!without_credentials(answer).to_string().contains("hunter2"));
    }
}
