//! `POST /sync/trigger`: runs syncs of one connection, or of all of an integration.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::names::{is_connection_id, is_function_name, is_provider_config_key};
use crate::config::AlreadyRunning;
use crate::connections::ConnectionsError;
use crate::runtime::{InvokeError, Runtime, SyncCommand};

/// Syncs that one call may name.
const SYNCS_MAX: usize = 256;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerSync {
    /// Names, `name::variant`, or `{name, variant}`; all syncs of the integration when empty.
    syncs: Vec<SyncName>,
    /// May also come as a header.
    #[serde(default)]
    provider_config_key: Option<String>,
    /// All connections of the integration when absent.
    #[serde(default)]
    connection_id: Option<String>,
    #[serde(default)]
    opts: Option<TriggerOptions>,
    #[serde(default)]
    sync_mode: Option<SyncMode>,
    #[serde(default)]
    full_resync: Option<bool>,
    /// Whether to start from scratch, and then whether to forget the records.
    #[serde(skip)]
    reset: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SyncName {
    Text(String),
    Object { name: String, variant: String },
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TriggerOptions {
    /// Forget the checkpoint first.
    #[serde(default)]
    reset: bool,
    /// With `reset`: forget the records first.
    #[serde(default)]
    empty_cache: bool,
}

#[derive(Debug, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    Incremental,
    FullRefresh,
    FullRefreshAndClearCache,
}

#[derive(Serialize, ToSchema)]
pub struct Triggered {
    success: bool,
}

/// Run syncs now.
#[utoipa::path(
    post, path = "/sync/trigger", tag = "syncs", request_body = TriggerSync,
    responses((status = 200, body = Triggered), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn trigger(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::SyncsExecute>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let trigger = TriggerSync::parse(&parts.headers, &body)?;
    let syncs: Vec<String> = trigger.syncs.into_iter().map(SyncName::into_text).collect();
    let provider_config_key = trigger.provider_config_key.unwrap_or_default();
    let connection_id = trigger.connection_id.as_deref();
    let environment = caller.connections(&provider_config_key, connection_id)?;
    if let Some(empty_records) = trigger.reset {
        let command = SyncCommand::Reset { empty_records };
        runtime
            .command_syncs(environment, &provider_config_key, &syncs, connection_id, command)
            .await
            .map_err(trigger_error)?;
        return Ok(json_response(StatusCode::OK, &Triggered { success: true }));
    }
    let triggered = runtime
        .trigger_syncs(environment, &provider_config_key, &syncs, connection_id)
        .await
        .map_err(trigger_error)?;
    let refused = triggered.queued.is_empty() && !triggered.running.is_empty();
    if refused && runtime.config().sync_already_running == AlreadyRunning::Conflict {
        let message = format!(
            "A run is queued or running already of: {}; wait for it or cancel it first",
            triggered.running.join(", ")
        );
        return Err(ApiError::new(StatusCode::CONFLICT, "sync_already_running", message));
    }
    Ok(json_response(StatusCode::OK, &Triggered { success: true }))
}

impl TriggerSync {
    fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, ApiError> {
        let mut trigger: Self = parse(body)?;
        let header = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        trigger.provider_config_key = trigger.provider_config_key.or_else(|| header("provider-config-key"));
        trigger.connection_id = trigger.connection_id.or_else(|| header("connection-id"));
        trigger.check()?;
        trigger.reset = trigger.asks_for_reset();
        Ok(trigger)
    }

    fn check(&self) -> Result<(), ApiError> {
        let Some(provider_config_key) = &self.provider_config_key else {
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "missing_provider_config_key",
                "Name the integration as provider_config_key in the body or as Provider-Config-Key in the headers",
            ));
        };
        let mut faults = Vec::new();
        if !is_provider_config_key(provider_config_key) {
            faults.push(Fault::malformed_name("provider_config_key", "provider config key"));
        }
        if self.connection_id.as_deref().is_some_and(|id| !is_connection_id(id)) {
            faults.push(Fault::malformed_name("connection_id", "connection id"));
        }
        if self.syncs.len() > SYNCS_MAX {
            faults.push(Fault::new(
                "too_big",
                format!("Too big: expected at most {SYNCS_MAX} syncs"),
                "syncs",
            ));
        }
        if !self.syncs.iter().all(SyncName::is_valid) {
            faults.push(Fault::malformed_name(
                "syncs",
                "list of sync names, each with ::variant behind it or not",
            ));
        }
        if self.opts.is_some() && (self.sync_mode.is_some() || self.full_resync.is_some()) {
            faults.push(Fault::new(
                "custom",
                "Give either opts or the older sync_mode and full_resync",
                "opts",
            ));
        }
        if !faults.is_empty() {
            return Err(ApiError::faults("invalid_body", faults));
        }
        Ok(())
    }

    /// As Nango reads the newer options and the older ones: `emptyCache` means nothing without `reset`.
    fn asks_for_reset(&self) -> Option<bool> {
        if let Some(opts) = &self.opts {
            return opts.reset.then_some(opts.empty_cache);
        }
        match (&self.sync_mode, self.full_resync) {
            (Some(SyncMode::FullRefreshAndClearCache), _) => Some(true),
            (Some(SyncMode::FullRefresh), _) | (None, Some(true)) => Some(false),
            (Some(SyncMode::Incremental), _) | (None, Some(false) | None) => None,
        }
    }
}

impl SyncName {
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Text(text) => is_sync_name(text),
            Self::Object { name, variant } => is_function_name(name) && is_function_name(variant),
        }
    }

    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Object { name, variant } => format!("{name}::{variant}"),
        }
    }
}

pub(super) fn is_sync_name(text: &str) -> bool {
    match text.split_once("::") {
        Some((name, variant)) => is_function_name(name) && is_function_name(variant),
        None => is_function_name(text),
    }
}

pub(super) fn trigger_error(error: InvokeError) -> ApiError {
    let message = error.to_string();
    match error {
        InvokeError::Connections(ConnectionsError::UnknownIntegration { .. }) => {
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_provider_config", message)
        }
        InvokeError::Connections(ConnectionsError::UnknownConnection { .. }) => {
            ApiError::new(StatusCode::NOT_FOUND, "unknown_connection", message)
        }
        InvokeError::UnknownFunction { .. } | InvokeError::UnknownVariant { .. } | InvokeError::Disabled { .. } => {
            ApiError::new(StatusCode::BAD_REQUEST, "no_syncs_found", message)
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    #[tokio::test]
    async fn what_may_be_asked_for() {
        let parse = |body: &str| TriggerSync::parse(&HeaderMap::new(), body.as_bytes());
        let full = r#"{"syncs":["a","b::eu",{"name":"c","variant":"us"}],"provider_config_key":"github","connection_id":null,"opts":{"reset":false}}"#;
        let names: Vec<_> = parse(full)
            .unwrap()
            .syncs
            .into_iter()
            .map(SyncName::into_text)
            .collect();
        assert_eq!(names, ["a", "b::eu", "c::us"]);
        for (body, expected) in [
            (
                r#"{"syncs":[]}"#,
                r#"400 {"error":{"code":"missing_provider_config_key""#,
            ),
            (
                r#"{"provider_config_key":"g"}"#,
                r#"400 {"error":{"code":"invalid_body""#,
            ),
            (
                r#"{"syncs":["a b"],"provider_config_key":"g"}"#,
                r#"400 {"error":{"code":"invalid_body""#,
            ),
            (
                r#"{"syncs":[],"provider_config_key":"g","opts":{},"full_resync":false}"#,
                r#"400 {"error":{"code":"invalid_body""#,
            ),
        ] {
            let refusal = rendered(parse(body).unwrap_err()).await;
            assert!(refusal.starts_with(expected), "{body}: {refusal}");
        }
        for (options, expected) in [
            (r#""opts":{"reset":true}"#, Some(false)),
            (r#""opts":{"reset":true,"emptyCache":true}"#, Some(true)),
            (r#""opts":{"emptyCache":true}"#, None),
            (r#""sync_mode":"full_refresh""#, Some(false)),
            (r#""sync_mode":"full_refresh_and_clear_cache""#, Some(true)),
            (r#""full_resync":true"#, Some(false)),
            (r#""sync_mode":"incremental""#, None),
        ] {
            let body = format!(r#"{{"syncs":[],"provider_config_key":"g",{options}}}"#);
            assert_eq!(parse(&body).unwrap().reset, expected, "{options}");
        }
    }
}
