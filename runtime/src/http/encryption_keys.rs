//! `/encryption-keys`: which keys the installation seals secrets with, and changing them while it runs. No answer holds a key.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::integrations::Success;
use super::query::{PathParams, Query};
use super::timestamp::ms_utc;
use crate::credentials::Secret;
use crate::encryption::KeyError;
use crate::model::EncryptionKeyState;
use crate::runtime::{KeyStatus, RotationError, RotationStatus, Runtime};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateEncryptionKey {
    /// 32 bytes in base64; otherwise one that the server has and never used, or a random one.
    #[serde(default)]
    key: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct EncryptionKeyList {
    data: Vec<EncryptionKeyItem>,
    /// Values that are still sealed with an older key.
    remaining: i64,
    /// Whether payloads of records are stored in clear. A rotation leaves them so; where `record_encryption` is on, they are sealed in the
    /// background.
    records_in_clear: bool,
    /// Those that live.
    processes: Vec<ProcessItem>,
}

#[derive(Serialize, ToSchema)]
pub struct EncryptionKeyItem {
    version: i64,
    /// As sealed values carry it.
    id: String,
    /// waiting, sealing, opening or retired.
    state: &'static str,
    created_at: String,
    /// What is sealed with it.
    values: Vec<PlaceItem>,
}

#[derive(Serialize, ToSchema)]
pub struct PlaceItem {
    place: String,
    count: i64,
}

#[derive(Serialize, ToSchema)]
pub struct ProcessItem {
    id: String,
    key_ids: Vec<String>,
    sealing_with: String,
    seen_at: String,
}

/// List the encryption keys, oldest first, with what is sealed with each.
#[utoipa::path(
    get, path = "/encryption-keys", tag = "encryption keys",
    responses((status = 200, body = EncryptionKeyList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::EncryptionKeysRead>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    caller.environment()?;
    let status = runtime.encryption_keys().await?;
    Ok(json_response(StatusCode::OK, &EncryptionKeyList::from(status)))
}

/// Seal with a new encryption key, as soon as every process has it, and move what is sealed to it.
#[utoipa::path(
    post, path = "/encryption-keys/rotate", tag = "encryption keys", request_body = RotateEncryptionKey,
    responses((status = 200, body = EncryptionKeyList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn rotate(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::EncryptionKeysRotate>,
    request: Request,
) -> Result<Response, ApiError> {
    caller.environment()?;
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let given = parse::<RotateEncryptionKey>(&body)?.key.map(Secret::new);
    runtime.rotate_encryption_key(given).await.map_err(rotate_error)?;
    let status = runtime.encryption_keys().await?;
    Ok(json_response(StatusCode::OK, &EncryptionKeyList::from(status)))
}

fn rotate_error(error: RotationError) -> ApiError {
    let RotationError::Key(KeyError::Given) = &error else {
        return error.into();
    };
    let fault = Fault::new("invalid_string", error.to_string(), "key");
    ApiError::faults("invalid_body", vec![fault])
}

/// Let go of an old encryption key. Refused while anything is sealed with it.
#[utoipa::path(
    delete, path = "/encryption-keys/{version}", tag = "encryption keys", params(("version" = i64, Path)),
    responses((status = 200, body = Success), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn retire(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::EncryptionKeysRotate>,
    PathParams(version): PathParams<i64>,
) -> Result<Response, ApiError> {
    caller.environment()?;
    runtime.retire_encryption_key(version).await?;
    Ok(json_response(StatusCode::OK, &Success { success: true }))
}

impl From<RotationStatus> for EncryptionKeyList {
    fn from(status: RotationStatus) -> Self {
        let remaining = status.remaining();
        let process = |holder: crate::model::KeyHolder| ProcessItem {
            id: holder.process,
            key_ids: holder.key_ids,
            sealing_with: holder.sealing_with,
            seen_at: ms_utc(holder.seen_at_ms),
        };
        Self {
            remaining,
            records_in_clear: status.records_in_clear,
            data: status.keys.into_iter().map(EncryptionKeyItem::from).collect(),
            processes: status.processes.into_iter().map(process).collect(),
        }
    }
}

impl From<KeyStatus> for EncryptionKeyItem {
    fn from(status: KeyStatus) -> Self {
        let values = status.values.into_iter();
        Self {
            version: status.key.version,
            id: status.key.key_id,
            state: match status.key.state {
                EncryptionKeyState::Waiting => "waiting",
                EncryptionKeyState::Sealing => "sealing",
                EncryptionKeyState::Opening => "opening",
                EncryptionKeyState::Retired => "retired",
            },
            created_at: ms_utc(status.key.created_at_ms),
            values: values.map(|(place, count)| PlaceItem { place, count }).collect(),
        }
    }
}
