//! `/environment-variables`: values that all functions of the environment share. That they are shown is written into the audit first.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit::RequestId;
use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::integrations::Success;
use super::query::{PathParams, Query};
use super::timestamp::ms_utc;
use crate::credentials::Secret;
use crate::model::CredentialReadKind;
use crate::runtime::{Noted, Reading, Runtime};
use crate::variables::{EnvironmentVariable, VariableName};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetEnvironmentVariable {
    /// 1 to 16384 bytes.
    value: String,
}

/// A variable as Nango gives it; with `names_only`, `updated_at` stands in the place of `value`.
#[derive(Serialize, ToSchema)]
pub struct EnvironmentVariableItem {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

/// List the environment variables, by name.
#[utoipa::path(
    get, path = "/environment-variables", tag = "environment variables",
    params(("names_only" = Option<bool>, Query, description = "Without the values, and without an entry in the audit")),
    responses((status = 200, body = Vec<EnvironmentVariableItem>), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::VariablesRead>,
    request_id: RequestId,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let names_only = query.boolean("names_only");
    query.finish()?;
    let environment = caller.environment()?;
    let items: Vec<EnvironmentVariableItem> = if names_only {
        let names = runtime.environment_variable_names(environment).await?;
        names.into_iter().map(EnvironmentVariableItem::from).collect()
    } else {
        let variables = runtime.environment_variables(environment).await?;
        let reading = Reading {
            kind: CredentialReadKind::Variables,
            provider_config_key: None,
            connection_id: None,
            request_id: request_id.as_str(),
            forced: false,
            with_refresh_token: false,
        };
        let noted = runtime.note_credential_read(&caller, &reading).await?;
        let item = |variable| EnvironmentVariableItem::showing(variable, &noted);
        variables.into_iter().map(item).collect()
    };
    Ok(json_response(StatusCode::OK, &items))
}

/// Make an environment variable, or replace its value.
#[utoipa::path(
    put, path = "/environment-variables/{name}", tag = "environment variables",
    params(("name" = String, Path)), request_body = SetEnvironmentVariable,
    responses((status = 200, body = Success), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn set(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::VariablesWrite>,
    PathParams(name): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let environment = caller.environment()?;
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let SetEnvironmentVariable { value } = parse(&body)?;
    runtime
        .set_environment_variable(environment, &name, &Secret::new(value))
        .await?;
    Ok(json_response(StatusCode::OK, &Success { success: true }))
}

/// Delete an environment variable.
#[utoipa::path(
    delete, path = "/environment-variables/{name}", tag = "environment variables", params(("name" = String, Path)),
    responses((status = 200, body = Success), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn unset(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::VariablesWrite>,
    PathParams(name): PathParams<String>,
) -> Result<Response, ApiError> {
    runtime.unset_environment_variable(caller.environment()?, &name).await?;
    Ok(json_response(StatusCode::OK, &Success { success: true }))
}

impl EnvironmentVariableItem {
    fn showing(variable: EnvironmentVariable, _noted: &Noted) -> Self {
        Self {
            name: variable.name,
            value: Some(variable.value.expose().clone()),
            updated_at: None,
        }
    }
}

impl From<VariableName> for EnvironmentVariableItem {
    fn from(variable: VariableName) -> Self {
        Self {
            name: variable.name,
            value: None,
            updated_at: Some(ms_utc(variable.updated_at_ms)),
        }
    }
}
