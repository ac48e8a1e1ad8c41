//! `/integrations/{unique_key}/canary`: a deploy that some connections try, promoting it and giving it up.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::json_response;
use super::error::{ApiError, ErrorEnvelope};
use super::query::{PathParams, Query};
use super::timestamp::ms_utc;
use crate::model::{Canary, CanaryFunction, CanaryState, RunCounts};
use crate::runtime::{Caller, CanaryEnd, Runtime};

#[derive(Serialize, ToSchema)]
pub struct CanaryAnswer {
    data: CanaryItem,
}

/// The last canary of an integration.
#[derive(Serialize, ToSchema)]
pub struct CanaryItem {
    integration: String,
    /// running, promoted, rolled_back (too many runs failed) or aborted
    #[schema(value_type = String)]
    state: CanaryState,
    /// Of the connections.
    percent: i64,
    /// Of a function's runs may fail.
    errors_percent: i64,
    began_at: String,
    /// When it is promoted, unless something is wrong with it.
    until: String,
    ended_at: Option<String>,
    /// Why it ended.
    reason: Option<String>,
    functions: Vec<CanaryFunctionItem>,
}

#[derive(Serialize, ToSchema)]
pub struct CanaryFunctionItem {
    name: String,
    /// The version that is tried.
    version: i64,
    runs: RunsItem,
    /// The version that was active when it began.
    active_version: Option<i64>,
    active_runs: RunsItem,
}

/// Runs that ended since the canary began.
#[derive(Serialize, ToSchema)]
pub struct RunsItem {
    succeeded: i64,
    failed: i64,
}

/// Show the last canary of an integration, running or not.
#[utoipa::path(
    get, path = "/integrations/{unique_key}/canary", tag = "functions", params(("unique_key" = String, Path)),
    responses((status = 200, body = CanaryAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn show(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::FunctionsRead>,
    PathParams(unique_key): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    let canary = runtime.canary(caller.integration(&unique_key)?, &unique_key).await?;
    answer(canary, || format!("Integration {unique_key:?} never had a canary"))
}

/// Make the versions of the running canary active for all connections.
#[utoipa::path(
    post, path = "/integrations/{unique_key}/canary/promote", tag = "functions", params(("unique_key" = String, Path)),
    responses((status = 200, body = CanaryAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn promote(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::Deploy>,
    PathParams(unique_key): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    end(&runtime, &caller, &unique_key, CanaryEnd::Promote).await
}

/// Give the running canary up: all connections run the active versions.
#[utoipa::path(
    post, path = "/integrations/{unique_key}/canary/abort", tag = "functions", params(("unique_key" = String, Path)),
    responses((status = 200, body = CanaryAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn abort(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::Deploy>,
    PathParams(unique_key): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    end(&runtime, &caller, &unique_key, CanaryEnd::Abort).await
}

async fn end(runtime: &Runtime, caller: &Caller, unique_key: &str, end: CanaryEnd) -> Result<Response, ApiError> {
    let environment = caller.whole_integration(unique_key)?;
    let ended = runtime.end_canary(environment, unique_key, end).await?;
    answer(ended, || {
        format!("Integration {unique_key:?} has no canary that is running")
    })
}

fn answer(canary: Option<Canary>, none: impl FnOnce() -> String) -> Result<Response, ApiError> {
    match canary {
        Some(canary) => Ok(json_response(StatusCode::OK, &CanaryAnswer { data: canary.into() })),
        None => Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", none())),
    }
}

impl From<Canary> for CanaryItem {
    fn from(canary: Canary) -> Self {
        Self {
            integration: canary.provider_config_key,
            state: canary.state,
            percent: canary.percent,
            errors_percent: canary.errors_percent,
            began_at: ms_utc(canary.began_at_ms),
            until: ms_utc(canary.until_ms),
            ended_at: canary.ended_at_ms.map(ms_utc),
            reason: canary.reason,
            functions: canary.functions.into_iter().map(CanaryFunctionItem::from).collect(),
        }
    }
}

impl From<CanaryFunction> for CanaryFunctionItem {
    fn from(function: CanaryFunction) -> Self {
        Self {
            name: function.name,
            version: function.version,
            runs: function.runs.into(),
            active_version: function.active_version,
            active_runs: function.active_runs.into(),
        }
    }
}

impl From<RunCounts> for RunsItem {
    fn from(counts: RunCounts) -> Self {
        Self {
            succeeded: counts.succeeded,
            failed: counts.failed,
        }
    }
}
