//! `/connections`: customers' authorisations. Lists leave credentials out; one connection is shown with them, without its refresh token
//! unless it is asked for.

mod import;
mod legacy;
mod list;
mod patch;
mod purge;
mod view;
mod webhook;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::audit::RequestId;
use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::integrations::Success;
use super::names::is_provider_config_key;
use super::query::{PathParams, Query};
use crate::connect::CreateError;
use crate::connections::{ConnectionsError, Target};
use crate::model::{CredentialReadKind, Scope};
use crate::oauth::OAuthError;
use crate::runtime::{Caller, Reading, Runtime};

use import::ImportConnection;
use legacy::LegacyImport;
use patch::PatchConnection;
pub use purge::{__path_purge, purge};
pub use view::EndUserItem;
use view::{ConnectionItem, FullConnection, Shown};
pub use webhook::{__path_put_webhook, put_webhook};

#[derive(Serialize, ToSchema)]
pub struct ConnectionList {
    connections: Vec<ConnectionItem>,
}

/// List connections, newest first.
#[utoipa::path(
    get, path = "/connections", tag = "connections",
    params(
        ("connectionId" = Option<String>, Query),
        ("search" = Option<String>, Query, description = "A part of the connection id or of the end user's id, e-mail or name"),
        ("endUserId" = Option<String>, Query),
        ("endUserOrganizationId" = Option<String>, Query),
        ("integrationId" = Option<String>, Query, description = "Unique keys with commas between"),
        ("tags[key]" = Option<String>, Query, description = "Only those with this tag; may be repeated with other keys"),
        ("limit" = Option<i64>, Query, description = "1 to 2000, otherwise 2000"),
        ("page" = Option<i64>, Query, description = "From 0"),
    ),
    responses((status = 200, body = ConnectionList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsList>,
    request: Request,
) -> Result<Response, ApiError> {
    let query = list::parse(request.uri().query())?;
    let connections = runtime.connections(caller.environment()?, &query).await?;
    let connections = connections.iter().map(ConnectionItem::from).collect();
    Ok(json_response(StatusCode::OK, &ConnectionList { connections }))
}

/// Import a connection: create it, or overwrite the one of that id.
#[utoipa::path(
    post, path = "/connections", tag = "connections", request_body = ImportConnection,
    responses((status = 201, body = FullConnection), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn import(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsCreate>,
    request_id: RequestId,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let new = parse::<ImportConnection>(&body)?.into_new()?;
    let environment = caller.connections(&new.provider_config_key, new.connection_id.as_deref())?;
    let target = runtime.import_connection(environment, new).await?;
    imported(&runtime, &caller, &request_id, &target).await
}

/// Import a connection in the old form, with its credentials' fields beside the others.
#[utoipa::path(
    post, path = "/connection", tag = "connections", request_body = LegacyImport,
    responses((status = 201, body = FullConnection), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn import_legacy(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsCreate>,
    request_id: RequestId,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let import = parse::<LegacyImport>(&body)?;
    let environment = caller.connections(import.provider_config_key(), import.connection_id())?;
    let integration = runtime.integration(environment, import.provider_config_key()).await?;
    let provider = runtime.providers().get(&integration.provider);
    let stored = provider.and_then(|provider| provider.auth_mode.credentials_type());
    let target = runtime.import_connection(environment, import.into_new(stored)?).await?;
    imported(&runtime, &caller, &request_id, &target).await
}

async fn imported(
    runtime: &Runtime,
    caller: &Caller,
    request_id: &RequestId,
    target: &Target,
) -> Result<Response, ApiError> {
    let reading = reading(CredentialReadKind::Import, target, request_id);
    let shown = shown(
        runtime,
        caller,
        Reading {
            with_refresh_token: true,
            ..reading
        },
    )
    .await?;
    let connection = FullConnection::new(target, &shown, runtime.now_ms());
    Ok(json_response(StatusCode::CREATED, &connection))
}

/// Show one connection with its credentials.
#[utoipa::path(
    get, path = "/connections/{connection_id}", tag = "connections",
    params(
        ("connection_id" = String, Path),
        ("provider_config_key" = String, Query),
        ("refresh_token" = Option<bool>, Query, description = "Show the refresh token too"),
        ("force_refresh" = Option<bool>, Query, description = "Get a fresh token first, whatever the time and former failures say"),
        ("refresh_github_app_jwt_token" = Option<bool>, Query),
    ),
    responses((status = 200, body = FullConnection), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn show(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsRead>,
    PathParams(connection_id): PathParams<String>,
    request_id: RequestId,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let provider_config_key = query.required_name("provider_config_key", "provider config key", is_provider_config_key);
    let with_refresh_token = query.boolean("refresh_token");
    let force_refresh = query.boolean("force_refresh");
    // Only credentials of GitHub Apps have such a token, and there are none.
    query.boolean("refresh_github_app_jwt_token");
    query.finish()?;
    let environment = caller.connection(&provider_config_key, &connection_id)?;
    if with_refresh_token || force_refresh {
        caller.require(Scope::ConnectionsReadCredentials)?;
    }
    let target = if force_refresh {
        runtime
            .refreshed_connection(environment, &provider_config_key, &connection_id)
            .await
    } else {
        runtime
            .connection(environment, &provider_config_key, &connection_id)
            .await
    }
    .map_err(show_error)?;
    let reading = Reading {
        forced: force_refresh,
        with_refresh_token,
        ..reading(CredentialReadKind::Connection, &target, &request_id)
    };
    let shown = shown(&runtime, &caller, reading).await?;
    let connection = FullConnection::new(&target, &shown, runtime.now_ms());
    Ok(json_response(StatusCode::OK, &connection))
}

fn reading<'a>(kind: CredentialReadKind, target: &'a Target, request_id: &'a RequestId) -> Reading<'a> {
    Reading {
        kind,
        provider_config_key: Some(&target.connection.provider_config_key),
        connection_id: Some(&target.connection.connection_id),
        request_id: request_id.as_str(),
        forced: false,
        with_refresh_token: false,
    }
}

/// What of the credentials is shown: nothing without the scope for it, otherwise what is noted.
async fn shown(runtime: &Runtime, caller: &Caller, reading: Reading<'_>) -> Result<Shown, ApiError> {
    if !caller.has(Scope::ConnectionsReadCredentials) {
        return Ok(Shown::Nothing);
    }
    let noted = runtime.note_credential_read(caller, &reading).await?;
    Ok(if reading.with_refresh_token {
        Shown::Everything(noted)
    } else {
        Shown::WithoutRefreshToken(noted)
    })
}

fn show_error(error: OAuthError) -> ApiError {
    match error {
        OAuthError::Connections(error) => named_error(error),
        OAuthError::NoCredentials { .. } => error.into(),
    }
}

/// The whole query of a route that names a connection in its path and takes nothing else.
fn provider_config_key(uri: &Uri) -> Result<String, ApiError> {
    let mut query = Query::parse(uri.query());
    let provider_config_key = query.required_name("provider_config_key", "provider config key", is_provider_config_key);
    query.finish()?;
    Ok(provider_config_key)
}

/// Of routes that name one connection in their path.
fn named_error(error: ConnectionsError) -> ApiError {
    let message = error.to_string();
    match error {
        ConnectionsError::UnknownIntegration { .. } => {
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_provider_config", message)
        }
        ConnectionsError::UnknownConnection { .. } => ApiError::new(StatusCode::NOT_FOUND, "not_found", message),
        other => other.into(),
    }
}

/// Change a connection: end user, tags, where webhooks go, values of `connection_config`, credentials.
///
/// Values of `connection_config` may say where requests go, so that to change them without giving credentials takes the scope to read
/// credentials.
#[utoipa::path(
    patch, path = "/connections/{connection_id}", tag = "connections", request_body = PatchConnection,
    params(("connection_id" = String, Path), ("provider_config_key" = String, Query)),
    responses((status = 200, body = Success), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn update(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsUpdate>,
    PathParams(connection_id): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let provider_config_key = provider_config_key(&parts.uri)?;
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let patch = parse::<PatchConnection>(&body)?;
    if patch.may_lead_elsewhere() {
        caller.require(Scope::ConnectionsReadCredentials)?;
    }
    let change = patch.into_change()?;
    runtime
        .change_connection(
            caller.connection(&provider_config_key, &connection_id)?,
            &provider_config_key,
            &connection_id,
            change,
        )
        .await
        .map_err(|error| match error {
            CreateError::Connections(error) => named_error(error),
            error => error.into(),
        })?;
    Ok(json_response(StatusCode::OK, &Success { success: true }))
}

/// Delete a connection: it is hidden and its credentials are emptied at once, its tokens are revoked at the provider soon after
/// where the provider's data says how, and its records and checkpoints are purged later.
#[utoipa::path(
    delete, path = "/connections/{connection_id}", tag = "connections",
    params(("connection_id" = String, Path), ("provider_config_key" = String, Query)),
    responses((status = 200, body = Success), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn remove(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectionsDelete>,
    PathParams(connection_id): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let provider_config_key = provider_config_key(request.uri())?;
    runtime
        .delete_connection(
            caller.connection(&provider_config_key, &connection_id)?,
            &provider_config_key,
            &connection_id,
        )
        .await
        .map_err(remove_error)?;
    Ok(json_response(StatusCode::OK, &Success { success: true }))
}

fn remove_error(error: ConnectionsError) -> ApiError {
    let message = error.to_string();
    match error {
        ConnectionsError::UnknownIntegration { .. } => {
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_provider_config", message)
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    #[tokio::test]
    async fn unknown_ones_have_other_codes_on_each_route() {
        let connection = || ConnectionsError::UnknownConnection {
            provider_config_key: "github".into(),
            connection_id: "nope".into(),
        };
        let integration = || ConnectionsError::UnknownIntegration {
            unique_key: "nope".into(),
        };
        for (error, expected) in [
            (show_error(connection().into()), r#"404 {"error":{"code":"not_found""#),
            (
                show_error(integration().into()),
                r#"400 {"error":{"code":"unknown_provider_config""#,
            ),
            (
                remove_error(connection()),
                r#"400 {"error":{"code":"unknown_connection""#,
            ),
            (integration().into(), r#"404 {"error":{"code":"not_found""#),
        ] {
            let text = rendered(error).await;
            assert!(text.starts_with(expected), "{text}");
        }
    }
}
