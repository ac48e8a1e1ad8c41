//! `nango-runtime webhooks`: where webhooks to the application go, what became of them, and the key that signs them.

use http::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::input::InputSource;
use super::output::{self, Output, fields, list_at, text_at};

#[derive(Debug, clap::Subcommand)]
pub enum WebhooksCommand {
    /// Those that wait, those delivered in the last day, and dead letters; newest first
    #[command(visible_alias = "ls")]
    List {
        /// Only those in this state: pending, delivered or dead
        #[arg(long, value_name = "STATE")]
        state: Option<String>,
        /// Only of this connection
        #[arg(long, value_name = "ID")]
        connection: Option<String>,
        /// Lines a page, 100 at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Where to read on: the next_cursor of an earlier page
        #[arg(long)]
        cursor: Option<String>,
    },
    /// One with its body
    Show { id: String },
    /// Send again, the same body under the same id
    Resend {
        /// As `webhooks list` shows it
        #[arg(required_unless_present = "dead")]
        id: Option<String>,
        /// All dead letters instead, the oldest first, 1000 at most
        #[arg(long, conflicts_with = "id")]
        dead: bool,
    },
    /// Show where webhooks go and which are sent, or change it
    Settings(Settings),
    /// Show the key that signs webhooks: the webhookSigningKey of @nangohq/node
    SigningKey,
    /// Sign webhooks with another key
    RotateKey {
        /// Use this key instead of a random one: @FILE, - or env:NAME
        #[arg(long, value_name = "KEY")]
        key: Option<InputSource>,
        /// Seconds until it signs, so that receivers can be given it before
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        activate_in: u64,
    },
}

#[derive(Debug, clap::Args)]
pub struct Settings {
    /// The address that is told everything; "" takes it away
    #[arg(long, value_name = "URL")]
    primary_url: Option<String>,
    /// A second one, told the same; "" takes it away
    #[arg(long, value_name = "URL")]
    secondary_url: Option<String>,
    /// Connections that were made or authorised anew
    #[arg(long, value_name = "BOOL")]
    on_auth_creation: Option<bool>,
    /// Credentials that cannot be refreshed
    #[arg(long, value_name = "BOOL")]
    on_auth_refresh_error: Option<bool>,
    /// Every run of a sync, also those that changed nothing
    #[arg(long, value_name = "BOOL")]
    on_sync_completion_always: Option<bool>,
    /// Runs of syncs that failed
    #[arg(long, value_name = "BOOL")]
    on_sync_error: Option<bool>,
    /// Actions in the background that have ended
    #[arg(long, value_name = "BOOL")]
    on_async_action_completion: Option<bool>,
}

pub async fn run(command: WebhooksCommand, client: &Client, output: Output) -> anyhow::Result<()> {
    match command {
        WebhooksCommand::List {
            state,
            connection,
            limit,
            cursor,
        } => {
            let answer = client
                .request(Method::GET, &["webhooks"])
                .query("state", state.as_ref())
                .query("connection", connection.as_ref())
                .query("cursor", cursor.as_ref())
                .query("limit", Some(limit))
                .answer()
                .await?;
            output.show(&answer, table)?;
            output.note_next_page(&answer);
        }
        WebhooksCommand::Show { id } => {
            let answer = client.request(Method::GET, &["webhooks", &id]).answer().await?;
            output.show(&answer, describe)?;
        }
        WebhooksCommand::Resend { id: Some(id), .. } => {
            let request = client.request(Method::POST, &["webhooks", &id, "resend"]);
            let answer = request.answer().await?;
            output.show(&answer, |_| format!("The webhook {id} is sent again"))?;
        }
        WebhooksCommand::Resend { id: None, .. } => {
            let answer = client.request(Method::POST, &["webhooks", "resend"]).answer().await?;
            output.show(&answer, |answer| {
                format!("Dead letters that are sent again: {}", answer["count"])
            })?;
        }
        WebhooksCommand::Settings(settings) => {
            let patch = settings.into_patch();
            let path = ["environment", "webhooks"];
            let request = if patch.is_empty() {
                client.request(Method::GET, &path)
            } else {
                client.request(Method::PATCH, &path).json(&Value::Object(patch))
            };
            let answer = request.answer().await?;
            output.show(&answer, describe_settings)?;
        }
        WebhooksCommand::SigningKey => {
            let request = client.request(Method::GET, &["environment", "webhook-signing-key"]);
            let answer = request.answer().await?;
            show_key(&answer, output)?;
        }
        WebhooksCommand::RotateKey { key, activate_in } => {
            let key = key.map(|source| source.text("the signing key")).transpose()?;
            let path = ["environment", "webhook-signing-key", "rotate"];
            let body = json!({ "key": key, "activate_in_s": activate_in });
            let answer = client.request(Method::POST, &path).json(&body).answer().await?;
            show_key(&answer, output)?;
        }
    }
    Ok(())
}

impl Settings {
    fn into_patch(self) -> Map<String, Value> {
        let given = [
            ("primary_url", self.primary_url.map(Value::String)),
            ("secondary_url", self.secondary_url.map(Value::String)),
            ("on_auth_creation", self.on_auth_creation.map(Value::Bool)),
            ("on_auth_refresh_error", self.on_auth_refresh_error.map(Value::Bool)),
            (
                "on_sync_completion_always",
                self.on_sync_completion_always.map(Value::Bool),
            ),
            ("on_sync_error", self.on_sync_error.map(Value::Bool)),
            (
                "on_async_action_completion",
                self.on_async_action_completion.map(Value::Bool),
            ),
        ];
        let given = given.into_iter();
        given
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// The newest key goes to standard output alone, for pipes.
fn show_key(answer: &Value, output: Output) -> anyhow::Result<()> {
    let from = text_at(answer, "/data/next/active_from");
    if !from.is_empty() {
        output.note(&format!("It signs from {from} on; until then the key before does"));
    }
    output.show(answer, |answer| {
        let next = text_at(answer, "/data/next/signing_key");
        if next.is_empty() {
            text_at(answer, "/data/signing_key")
        } else {
            next
        }
    })?;
    Ok(())
}

fn table(answer: &Value) -> String {
    let row = |webhook: &Value| {
        [
            "/id",
            "/state",
            "/kind",
            "/connection_id",
            "/url",
            "/attempts",
            "/next_attempt_at",
            "/problem",
        ]
        .map(|at| match webhook.pointer(at) {
            Some(Value::Number(number)) => number.to_string(),
            _ => text_at(webhook, at),
        })
    };
    let rows: Vec<[String; 8]> = list_at(answer, "/data").iter().map(row).collect();
    let heading = ["id", "state", "kind", "connection", "to", "attempts", "next", "problem"];
    output::table(heading, &rows, "No webhooks")
}

fn describe(answer: &Value) -> String {
    let text = |name: &str| text_at(answer, &format!("/data/{name}"));
    let described = fields(&[
        ("webhook", text("id")),
        ("event", text("event_id")),
        ("kind", text("kind")),
        ("state", text("state")),
        ("to", text("url")),
        ("attempts", json_at(answer, "/data/attempts")),
        ("next", text("next_attempt_at")),
        ("problem", text("problem")),
        ("operation", text("operation_id")),
        ("created", text("created_at")),
    ]);
    format!("{described}\n{}\n", json_at(answer, "/data/body"))
}

fn json_at(answer: &Value, pointer: &str) -> String {
    answer
        .pointer(pointer)
        .map(|value| format!("{value:#}"))
        .unwrap_or_default()
}

fn describe_settings(answer: &Value) -> String {
    let text = |name: &str| text_at(answer, &format!("/data/{name}"));
    let switch = |name: &str| {
        let is_on = answer.pointer(&format!("/data/{name}")) == Some(&Value::Bool(true));
        if is_on { "on".to_owned() } else { "off".to_owned() }
    };
    fields(&[
        ("primary url", text("primary_url")),
        ("secondary url", text("secondary_url")),
        ("on auth creation", switch("on_auth_creation")),
        ("on auth refresh error", switch("on_auth_refresh_error")),
        ("on sync completion always", switch("on_sync_completion_always")),
        ("on sync error", switch("on_sync_error")),
        ("on async action completion", switch("on_async_action_completion")),
    ])
}
