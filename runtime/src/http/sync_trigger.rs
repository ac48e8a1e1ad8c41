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
use crate::connections::ConnectionsError;
use crate::runtime::{InvokeError, Runtime};

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
    /// Forget the records first.
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
    runtime
        .trigger_syncs(
            caller.connections(&provider_config_key, trigger.connection_id.as_deref())?,
            &provider_config_key,
            &syncs,
            trigger.connection_id.as_deref(),
        )
        .await
        .map_err(trigger_error)?;
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
        let resets = self.opts.as_ref().is_some_and(|opts| opts.reset || opts.empty_cache)
            || self.full_resync == Some(true)
            || self
                .sync_mode
                .as_ref()
                .is_some_and(|mode| *mode != SyncMode::Incremental);
        if resets {
            return Err(ApiError::not_implemented(
                "Starting a sync from scratch (opts, sync_mode, full_resync)",
            ));
        }
        Ok(())
    }
}

impl SyncName {
    fn is_valid(&self) -> bool {
        match self {
            Self::Text(text) => is_sync_name(text),
            Self::Object { name, variant } => is_function_name(name) && is_function_name(variant),
        }
    }

    fn into_text(self) -> String {
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
        InvokeError::UnknownFunction { .. } => ApiError::new(StatusCode::BAD_REQUEST, "no_syncs_found", message),
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
            (
                r#"{"syncs":[],"provider_config_key":"g","opts":{"reset":true}}"#,
                r#"501 {"error":{"code":"not_implemented""#,
            ),
            (
                r#"{"syncs":[],"provider_config_key":"g","sync_mode":"full_refresh"}"#,
                r#"501 {"error":{"code":"not_implemented""#,
            ),
        ] {
            let refusal = rendered(parse(body).unwrap_err()).await;
            assert!(refusal.starts_with(expected), "{body}: {refusal}");
        }
    }
}
