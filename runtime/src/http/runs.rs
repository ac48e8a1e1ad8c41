//! `GET /runs`: what has run, of all kinds of functions, and what it took.

use std::collections::BTreeMap;

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
use crate::model::{Counts, FunctionKind, Operation, RunError, RunState, Trigger, Usage};
use crate::runtime::Runtime;
use crate::store::{NamedRun, RunQuery};

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;

#[derive(Serialize, ToSchema)]
pub struct RunList {
    data: Vec<RunItem>,
    /// To be given as `cursor` for those before; none when there are no more.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct RunAnswer {
    data: RunItem,
}

#[derive(Serialize, ToSchema)]
pub struct RunItem {
    id: String,
    function: String,
    /// action, sync or on-event.
    r#type: &'static str,
    version: i64,
    provider_config_key: Option<String>,
    connection_id: Option<String>,
    /// api, schedule, event, or webhook for the handler of a sync.
    #[schema(value_type = String)]
    trigger: Trigger,
    /// queued, running, succeeded, failed or cancelled.
    #[schema(value_type = String)]
    state: RunState,
    #[schema(value_type = Option<Object>)]
    error: Option<RunError>,
    /// What a sync did to records, by model.
    #[schema(value_type = Object)]
    result: BTreeMap<String, Counts>,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    duration_us: Option<i64>,
    /// Its operation in the log, where one run is asked for and the log still has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_id: Option<String>,
    /// As an operation has it, where one run is asked for: `cpu_us`, `memory_bytes` at its peak, `requests` and bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    usage: Option<Usage>,
}

/// List runs of functions, newest first.
///
/// Actions, on-event functions and handlers of webhooks are there when they have ended, syncs from the moment they are queued.
#[utoipa::path(
    get, path = "/runs", tag = "logs",
    params(
        ("integration" = Option<String>, Query, description = "Its unique key"),
        ("connection" = Option<String>, Query, description = "Its connection id"),
        ("function" = Option<String>, Query),
        ("type" = Option<String>, Query, description = "action, sync or on-event"),
        ("state" = Option<String>, Query, description = "queued, running, succeeded, failed or cancelled"),
        ("cursor" = Option<String>, Query, description = "The next_cursor of an earlier page"),
        ("limit" = Option<i64>, Query, description = "1 to 500, otherwise 50"),
    ),
    responses((status = 200, body = RunList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::LogsRead>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let wanted = RunQuery {
        provider_config_key: query.optional("integration"),
        connection_id: query.optional("connection"),
        function: query.optional("function"),
        kind: query.word("type", &["action", "sync", "on-event"]),
        state: query.word("state", &["queued", "running", "succeeded", "failed", "cancelled"]),
        before: query.optional("cursor").map(|cursor| cursor.as_str().into()),
        limit: query.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT),
    };
    query.finish()?;
    let runs = runtime.runs(caller.environment()?, &wanted).await?;
    let is_full = i64::try_from(runs.len()).is_ok_and(|length| length >= wanted.limit);
    let next_cursor = runs.last().filter(|_| is_full).map(|last| last.run.id.to_string());
    let data = runs.into_iter().map(|run| RunItem::new(run, None)).collect();
    Ok(json_response(StatusCode::OK, &RunList { data, next_cursor }))
}

/// Get one run, with what it took.
#[utoipa::path(
    get, path = "/runs/{id}", tag = "logs", params(("id" = String, Path)),
    responses((status = 200, body = RunAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn show(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::LogsRead>,
    PathParams(id): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    let found = runtime.run(caller.environment()?, &id.as_str().into()).await?;
    let Some((run, operation)) = found else {
        let message = format!("There is no run {id:?}; it may be older than the days for which runs are kept");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message));
    };
    let data = RunItem::new(run, operation);
    Ok(json_response(StatusCode::OK, &RunAnswer { data }))
}

impl RunItem {
    fn new(named: NamedRun, operation: Option<Operation>) -> Self {
        let run = named.run;
        Self {
            id: run.id.to_string(),
            function: run.function,
            r#type: FunctionKind::as_str(run.kind),
            version: run.version,
            provider_config_key: named.provider_config_key,
            connection_id: named.connection_id,
            trigger: run.trigger,
            state: run.state,
            error: run.error,
            result: run.result,
            created_at: ms_utc(run.created_at_ms),
            started_at: run.started_at_ms.map(ms_utc),
            ended_at: run.ended_at_ms.map(ms_utc),
            duration_us: run.duration_us,
            usage: operation.as_ref().and_then(|operation| operation.usage),
            operation_id: operation.map(|operation| operation.id.to_string()),
        }
    }
}
