//! The bodies of webhooks, as Nango's clients know them: names, order and which fields are there. Keys are sorted at every depth
//! (the type of JSON objects here keeps them so) and no white space is put in. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Value, json};

use crate::model::{Connection, Counts, JsonObject, Made, RunError};

const MILLISECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthOperation {
    Creation,
    Override,
    Refresh,
}

impl From<Made> for AuthOperation {
    fn from(made: Made) -> Self {
        match made {
            Made::Creation => Self::Creation,
            Made::Override => Self::Override,
        }
    }
}

/// What went wrong with a connection. Must hold no secret.
#[derive(Clone, Debug)]
pub struct Failure {
    /// A code, such as `refresh_token_external_error`.
    pub kind: String,
    pub description: String,
}

/// How a run of a sync ended. Must hold no secret.
#[derive(Debug)]
pub struct SyncEnd<'a> {
    pub connection: &'a Connection,
    pub sync: &'a str,
    pub variant: &'a str,
    pub sync_type: SyncType,
    /// All models that the sync may write.
    pub models: Vec<&'a str>,
    /// What the run did, by model.
    pub counts: &'a BTreeMap<String, Counts>,
    /// Whether the counts are not those of the whole run: it went on after another process had died with it.
    pub resumed: bool,
    /// Where it began and how far it came; none for syncs without checkpoints.
    pub checkpoints: Option<Checkpoints>,
    pub started_at_ms: i64,
    pub ended_at_ms: i64,
    pub error: Option<&'a RunError>,
}

/// JSON objects; null where there was none.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    pub from: Value,
    pub to: Value,
}

/// Whether the sync had succeeded before. (Nango compatibility: deprecated there.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncType {
    Initial,
    Incremental,
    /// It was a run for a provider's webhook.
    Webhook,
}

pub(super) fn auth(
    connection: &Connection,
    auth_mode: &str,
    environment: &str,
    operation: AuthOperation,
    failure: Option<&Failure>,
) -> Value {
    let operation = match operation {
        AuthOperation::Creation => "creation",
        AuthOperation::Override => "override",
        AuthOperation::Refresh => "refresh",
    };
    let mut body = json!({
        "from": "nango",
        "type": "auth",
        "operation": operation,
        "connectionId": connection.connection_id,
        "providerConfigKey": connection.provider_config_key,
        "provider": connection.provider,
        "authMode": auth_mode,
        "environment": environment,
        "success": failure.is_none(),
        "tags": connection.tags,
    });
    if let Some(end_user) = &connection.end_user {
        let mut shown = json!({ "endUserId": end_user.id, "tags": end_user.tags });
        if let Some(email) = &end_user.email {
            put(&mut shown, "endUserEmail", email.as_str());
        }
        if let Some(organization) = &end_user.organization {
            put(&mut shown, "organizationId", organization.id.as_str());
        }
        put(&mut body, "endUser", shown);
    }
    if let Some(failure) = failure {
        let error = json!({ "type": failure.kind, "description": failure.description });
        put(&mut body, "error", error);
    }
    body
}

/// One for each model; `all` also of those that did not change.
pub(super) fn sync_success(end: &SyncEnd<'_>, all: bool) -> Vec<Value> {
    let mut models = end.models.clone();
    // A model that the function wrote without having named it.
    models.extend(end.counts.keys().map(String::as_str));
    models.sort_unstable();
    models.dedup();
    let body = |model: &str| {
        let counts = end.counts.get(model).copied().unwrap_or_default();
        let is_changed = counts.added + counts.updated + counts.deleted > 0;
        if !all && !end.resumed && !is_changed {
            return None;
        }
        let mut body = sync_base(end, model);
        put(&mut body, "success", true);
        put(&mut body, "modifiedAfter", iso(end.started_at_ms));
        put(&mut body, "queryTimeStamp", iso(end.started_at_ms));
        let results = json!({ "added": counts.added, "updated": counts.updated, "deleted": counts.deleted });
        put(&mut body, "responseResults", results);
        Some(body)
    };
    models.into_iter().filter_map(body).collect()
}

pub(super) fn sync_failure(end: &SyncEnd<'_>, error: &RunError) -> Value {
    let mut body = sync_base(end, &end.models.join(","));
    let mut shown = json!({ "type": error.code, "description": error.message });
    let payload = error
        .payload
        .as_ref()
        .map(|payload| serde_json::from_str::<Value>(payload.get()));
    if let Some(Ok(payload)) = payload {
        put(&mut shown, "payload", payload);
    }
    put(&mut body, "success", false);
    put(&mut body, "error", shown);
    put(&mut body, "startedAt", iso(end.started_at_ms));
    put(&mut body, "failedAt", iso(end.ended_at_ms));
    body
}

fn sync_base(end: &SyncEnd<'_>, model: &str) -> Value {
    let mut body = json!({
        "from": "nango",
        "type": "sync",
        "connectionId": end.connection.connection_id,
        "providerConfigKey": end.connection.provider_config_key,
        "syncName": end.sync,
        "syncVariant": end.variant,
        "model": model,
        "syncType": match end.sync_type {
            SyncType::Initial => "INITIAL",
            SyncType::Incremental => "INCREMENTAL",
            SyncType::Webhook => "WEBHOOK",
        },
    });
    if let Some(checkpoints) = &end.checkpoints {
        let checkpoints = json!({ "from": checkpoints.from, "to": checkpoints.to });
        put(&mut body, "checkpoints", checkpoints);
    }
    body
}

/// The output is not in it: the application asks for it at `statusUrl`.
pub(super) fn async_action(connection: &Connection, action_id: &str) -> Value {
    json!({
        "from": "nango",
        "type": "async_action",
        "connectionId": connection.connection_id,
        "providerConfigKey": connection.provider_config_key,
        "payload": { "id": action_id, "statusUrl": format!("/action/{action_id}") },
    })
}

/// A provider's webhook for a connection. What no connection was found for is passed on as it is, without this around it.
pub(super) fn forward(connection: &Connection, payload: &Value) -> Value {
    json!({
        "from": connection.provider,
        "type": "forward",
        "connectionId": connection.connection_id,
        "providerConfigKey": connection.provider_config_key,
        "payload": payload,
    })
}

fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Value::Object(object) = object {
        object.insert(name.to_owned(), value.into());
    }
}

/// `2026-11-22T12:48:08.273Z`
fn iso(at_ms: i64) -> String {
    let end = if at_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    MILLISECONDS.timestamp_to_string(&Timestamp::from_millisecond(at_ms).unwrap_or(end))
}

impl Checkpoints {
    /// Of checkpoints as they are stored; none where there was neither.
    #[must_use]
    pub fn new(from: Option<&str>, to: Option<&str>) -> Option<Self> {
        let parse = |json: Option<&str>| {
            let object = json.and_then(|json| serde_json::from_str::<JsonObject>(json).ok());
            object.map(Value::Object)
        };
        let (from, to) = (parse(from), parse(to));
        if from.is_none() && to.is_none() {
            return None;
        }
        Some(Self {
            from: from.unwrap_or(Value::Null),
            to: to.unwrap_or(Value::Null),
        })
    }
}

#[cfg(test)]
mod tests;
