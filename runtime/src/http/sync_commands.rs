//! `POST /sync/start`, `/sync/pause`, `/sync/cancel`, `PUT /sync/update-connection-frequency`, and
//! `/sync/{name}/variant/{variant}`.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::names::{is_connection_id, is_function_name, is_provider_config_key};
use super::sync_status::frequency_text;
use super::sync_trigger::{SyncName, trigger_error};
use crate::connections::ConnectionsError;
use crate::model::Frequency;
use crate::runtime::{BASE_VARIANT, Caller, InvokeError, Runtime, SyncCommand, SyncCommandError};

/// Syncs that one call may name.
const SYNCS_MAX: usize = 256;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedSyncs {
    /// Names, `name::variant`, or `{name, variant}`; all syncs of the integration when empty.
    syncs: Vec<SyncName>,
    provider_config_key: String,
    /// All connections of the integration when absent.
    #[serde(default)]
    connection_id: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFrequency {
    sync_name: String,
    #[serde(default)]
    sync_variant: Option<String>,
    provider_config_key: String,
    connection_id: String,
    /// For example `every 2 hours` or `0 9 * * MON-FRI Europe/Berlin`; null restores what the function declares.
    frequency: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct NowHolds {
    /// For example `2 hours`, or a crontab; none when it runs only when triggered.
    frequency: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfConnection {
    provider_config_key: String,
    connection_id: String,
}

#[derive(Serialize, ToSchema)]
pub struct Variant {
    id: String,
    name: String,
    variant: String,
}

#[derive(Serialize, ToSchema)]
pub struct Done {
    success: bool,
}

/// Schedule syncs.
#[utoipa::path(
    post, path = "/sync/start", tag = "syncs", request_body = NamedSyncs,
    responses((status = 200, body = Done), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn start(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::SyncsExecute>,
    request: Request,
) -> Result<Response, ApiError> {
    command(&runtime, &caller, request, SyncCommand::Start).await
}

/// Schedule syncs no more, and cancel what runs of them.
#[utoipa::path(
    post, path = "/sync/pause", tag = "syncs", request_body = NamedSyncs,
    responses((status = 200, body = Done), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn pause(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::SyncsExecute>,
    request: Request,
) -> Result<Response, ApiError> {
    command(&runtime, &caller, request, SyncCommand::Pause).await
}

/// Cancel what waits or runs of syncs; their checkpoints stay.
#[utoipa::path(
    post, path = "/sync/cancel", tag = "syncs", request_body = NamedSyncs,
    responses((status = 200, body = Done), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn cancel(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::SyncsExecute>,
    request: Request,
) -> Result<Response, ApiError> {
    command(&runtime, &caller, request, SyncCommand::Cancel).await
}

async fn command(
    runtime: &Runtime,
    caller: &Caller,
    request: Request,
    command: SyncCommand,
) -> Result<Response, ApiError> {
    let body: NamedSyncs = read(runtime, request).await?;
    let connection_id = body.connection_id.as_deref();
    let mut faults = name_faults(&body.provider_config_key, connection_id);
    if body.syncs.len() > SYNCS_MAX {
        let message = format!("Too big: expected at most {SYNCS_MAX} syncs");
        faults.push(Fault::new("too_big", message, "syncs"));
    }
    if !body.syncs.iter().all(SyncName::is_valid) {
        let what = "list of sync names, each with ::variant behind it or not";
        faults.push(Fault::malformed_name("syncs", what));
    }
    refuse(faults)?;
    let environment = caller.connections(&body.provider_config_key, connection_id)?;
    let syncs: Vec<String> = body.syncs.into_iter().map(SyncName::into_text).collect();
    runtime
        .command_syncs(environment, &body.provider_config_key, &syncs, connection_id, command)
        .await
        .map_err(trigger_error)?;
    Ok(json_response(StatusCode::OK, &Done { success: true }))
}

/// Set how often a sync of one connection runs.
#[utoipa::path(
    put, path = "/sync/update-connection-frequency", tag = "syncs", request_body = NewFrequency,
    responses((status = 200, body = NowHolds), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn update_frequency(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::SyncsExecute>,
    request: Request,
) -> Result<Response, ApiError> {
    let body: NewFrequency = read(&runtime, request).await?;
    let variant = body.sync_variant.as_deref().unwrap_or(BASE_VARIANT);
    let mut faults = name_faults(&body.provider_config_key, Some(&body.connection_id));
    if !is_function_name(&body.sync_name) {
        faults.push(Fault::malformed_name("sync_name", "name of a sync"));
    }
    if !is_function_name(variant) {
        faults.push(Fault::malformed_name("sync_variant", "name of a variant"));
    }
    refuse(faults)?;
    let environment = caller.connections(&body.provider_config_key, Some(&body.connection_id))?;
    let frequency = runtime
        .set_sync_frequency(
            environment,
            &body.provider_config_key,
            &body.connection_id,
            &format!("{}::{variant}", body.sync_name),
            body.frequency.as_deref(),
        )
        .await
        .map_err(command_error)?;
    let frequency = frequency.map(|frequency| match frequency {
        Frequency::Cron(cron) => cron,
        Frequency::EveryMs(frequency_ms) => {
            let text = frequency_text(frequency_ms);
            text.strip_prefix("every ").unwrap_or(&text).to_owned()
        }
    });
    Ok(json_response(StatusCode::OK, &NowHolds { frequency }))
}

/// Make a variant of a sync for one connection.
#[utoipa::path(
    post, path = "/sync/{name}/variant/{variant}", tag = "syncs", request_body = OfConnection,
    params(("name" = String, Path), ("variant" = String, Path)),
    responses((status = 200, body = Variant), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn create_variant(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::SyncsExecute>,
    Path((name, variant)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = of_connection(&runtime, request, &name, &variant).await?;
    let environment = caller.connections(&body.provider_config_key, Some(&body.connection_id))?;
    let sync = runtime
        .create_sync_variant(
            environment,
            &body.provider_config_key,
            &body.connection_id,
            &name,
            &variant,
        )
        .await
        .map_err(command_error)?;
    let id = sync.id.to_string();
    Ok(json_response(StatusCode::OK, &Variant { id, name, variant }))
}

/// Delete a variant of a sync with its records.
#[utoipa::path(
    delete, path = "/sync/{name}/variant/{variant}", tag = "syncs", request_body = OfConnection,
    params(("name" = String, Path), ("variant" = String, Path)),
    responses((status = 200, body = Done), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn delete_variant(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::SyncsExecute>,
    Path((name, variant)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = of_connection(&runtime, request, &name, &variant).await?;
    let environment = caller.connections(&body.provider_config_key, Some(&body.connection_id))?;
    runtime
        .delete_sync_variant(
            environment,
            &body.provider_config_key,
            &body.connection_id,
            &name,
            &variant,
        )
        .await
        .map_err(command_error)?;
    Ok(json_response(StatusCode::OK, &Done { success: true }))
}

async fn of_connection(
    runtime: &Runtime,
    request: Request,
    name: &str,
    variant: &str,
) -> Result<OfConnection, ApiError> {
    let body: OfConnection = read(runtime, request).await?;
    let mut faults = name_faults(&body.provider_config_key, Some(&body.connection_id));
    if !is_function_name(name) {
        faults.push(Fault::malformed_name("name", "name of a sync"));
    }
    if !is_function_name(variant) {
        faults.push(Fault::malformed_name("variant", "name of a variant"));
    }
    refuse(faults)?;
    Ok(body)
}

async fn read<T: serde::de::DeserializeOwned>(runtime: &Runtime, request: Request) -> Result<T, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    parse(&body)
}

fn name_faults(provider_config_key: &str, connection_id: Option<&str>) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !is_provider_config_key(provider_config_key) {
        faults.push(Fault::malformed_name("provider_config_key", "provider config key"));
    }
    if connection_id.is_some_and(|id| !is_connection_id(id)) {
        faults.push(Fault::malformed_name("connection_id", "connection id"));
    }
    faults
}

fn refuse(faults: Vec<Fault>) -> Result<(), ApiError> {
    if faults.is_empty() {
        Ok(())
    } else {
        Err(ApiError::faults("invalid_body", faults))
    }
}

fn command_error(error: SyncCommandError) -> ApiError {
    let message = error.to_string();
    let refused = |code| ApiError::new(StatusCode::BAD_REQUEST, code, message.clone());
    match error {
        SyncCommandError::Reserved => refused("invalid_variant"),
        SyncCommandError::Taken { .. } => refused("sync_variant_already_exists"),
        SyncCommandError::TooMany => refused("resource_capped"),
        SyncCommandError::UnknownVariant { .. } => ApiError::new(StatusCode::NOT_FOUND, "not_found", message),
        SyncCommandError::Frequency(_) => {
            ApiError::faults("invalid_body", vec![Fault::new("invalid_format", message, "frequency")])
        }
        SyncCommandError::Invoke(InvokeError::Connections(ConnectionsError::UnknownConnection { .. })) => {
            refused("unknown_connection")
        }
        SyncCommandError::Invoke(InvokeError::UnknownFunction { .. } | InvokeError::UnknownVariant { .. }) => {
            refused("unknown_sync")
        }
        SyncCommandError::Invoke(error) => trigger_error(error),
    }
}
