//! `POST /connections/purge`: an operator does not want to wait until what was deleted is old.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::auth::{Key, need};
use crate::http::body::{json_response, parse, read_json};
use crate::http::error::{ApiError, ErrorEnvelope};
use crate::runtime::{PurgeQuery, Purged, Runtime};

/// Which of the deleted connections to purge; all when nothing is named.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeConnections {
    /// What the integration is or was called.
    provider_config_key: Option<String>,
    /// What the connection was called; only together with `provider_config_key`.
    connection_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct PurgeAnswer {
    /// Connections that are gone for good.
    connections: u64,
    integrations: u64,
    /// Rows of these connections: records, runs, checkpoints, operations and messages of the log.
    rows: u64,
    /// There is more: call again.
    more: bool,
}

impl From<Purged> for PurgeAnswer {
    fn from(purged: Purged) -> Self {
        Self {
            connections: purged.connections,
            integrations: purged.integrations,
            rows: purged.rows,
            more: purged.more,
        }
    }
}

/// Purge deleted connections, with their records, runs and log, whatever their age.
#[utoipa::path(
    post, path = "/connections/purge", tag = "connections", request_body = PurgeConnections,
    responses((status = 200, body = PurgeAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn purge(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsDelete>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let named = parse::<PurgeConnections>(&body)?;
    let environment = match (&named.provider_config_key, &named.connection_id) {
        (Some(provider_config_key), connection_id) => {
            caller.connections(provider_config_key, connection_id.as_deref())?
        }
        (None, None) => caller.environment()?,
        (None, Some(_)) => {
            let message = "connection_id needs provider_config_key: ids are unique within an integration only";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_body", message));
        }
    };
    let query = PurgeQuery {
        provider_config_key: named.provider_config_key.clone(),
        connection_id: named.connection_id.clone(),
    };
    let purged = runtime.purge_deleted(environment, query).await?;
    Ok(json_response(StatusCode::OK, &PurgeAnswer::from(purged)))
}
