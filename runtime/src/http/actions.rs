//! Actions in the background: their results as Nango gives them (`/action/{id}`), and how they stand (`/actions`).

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, raw_json_response};
use super::error::{ApiError, ErrorDetails, ErrorEnvelope};
use super::fault::Fault;
use super::query::{PathParams, Query};
use super::timestamp::ms_utc;
use crate::model::{Action, RunError, RunState};
use crate::runtime::Runtime;
use crate::store::ActionQuery;

/// Tells what a status alone does not: whether a 404 means "not yet" or "never".
const STATE_HEADER: HeaderName = HeaderName::from_static("x-action-state");
const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;
/// When to look again at an action that has not ended.
const RETRY_AFTER_S: u64 = 1;

#[derive(Serialize, ToSchema)]
pub struct ActionList {
    data: Vec<ActionItem>,
    /// To be given as `cursor` for those before; none when there are no more.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ActionAnswer {
    data: ActionItem,
}

#[derive(Serialize, ToSchema)]
pub struct ActionItem {
    id: String,
    function: String,
    provider_config_key: String,
    connection_id: String,
    /// queued, running, succeeded, failed or cancelled.
    #[schema(value_type = String)]
    state: RunState,
    /// Attempts begun.
    attempts: i64,
    /// Attempts that may follow the first.
    retries_max: i64,
    /// Of the last attempt.
    run_id: Option<String>,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    /// When somebody asked to cancel it.
    cancelled_at: Option<String>,
    /// Of a queued one: not begun before.
    due_at: Option<String>,
    /// Of the last attempt that failed.
    #[schema(value_type = Option<Object>)]
    error: Option<RunError>,
}

/// Get the output of an action in the background, or why it has none.
#[utoipa::path(
    get, path = "/action/{id}", tag = "actions", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The action's output", body = serde_json::Value),
        (status = 404, description = "No such action, or it has not ended: the header X-Action-State tells", body = ErrorEnvelope),
        (status = "4XX", body = ErrorEnvelope),
        (status = 500, description = "The action failed", body = ErrorEnvelope),
    ),
)]
pub async fn result(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ActionsExecute>,
    PathParams(id): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    check_id(&id)?;
    let action = runtime.action(&caller, &id).await?;
    let state = state_name(action.state);
    let mut response = match action.state {
        RunState::Succeeded => {
            let output = action.output.unwrap_or_else(|| "null".to_owned());
            raw_json_response(StatusCode::OK, output)
        }
        RunState::Failed | RunState::Cancelled => match action.error {
            Some(error) => ApiError::from(error).into_response(),
            None => ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "unknown_empty_error",
                "The action failed",
            )
            .into_response(),
        },
        RunState::Queued | RunState::Running => {
            let details = ErrorDetails {
                message: Some(format!("Action '{id}' has not ended: it is {state}")),
                ..ErrorDetails::code("not_found").with_payload(&json!({"state": state, "attempts": action.attempts}))
            };
            ApiError::from_details(StatusCode::NOT_FOUND, details)
                .retry_after(Some(RETRY_AFTER_S))
                .into_response()
        }
    };
    response
        .headers_mut()
        .insert(STATE_HEADER, HeaderValue::from_static(state));
    Ok(response)
}

/// Cancel an action in the background. One that has ended stays as it is.
#[utoipa::path(
    post, path = "/action/{id}/cancel", tag = "actions", params(("id" = String, Path)),
    responses((status = 200, body = ActionAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn cancel(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ActionsExecute>,
    PathParams(id): PathParams<String>,
) -> Result<Response, ApiError> {
    check_id(&id)?;
    let data = runtime.cancel_action(&caller, &id).await?.into();
    Ok(json_response(StatusCode::OK, &ActionAnswer { data }))
}

/// How an action in the background stands.
#[utoipa::path(
    get, path = "/actions/{id}", tag = "actions", params(("id" = String, Path)),
    responses((status = 200, body = ActionAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn show(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ActionsExecute>,
    PathParams(id): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    check_id(&id)?;
    let data = runtime.action(&caller, &id).await?.into();
    Ok(json_response(StatusCode::OK, &ActionAnswer { data }))
}

/// List actions in the background, newest first.
#[utoipa::path(
    get, path = "/actions", tag = "actions",
    params(
        ("integration" = Option<String>, Query, description = "Its unique key"),
        ("connection" = Option<String>, Query, description = "Its connection id"),
        ("function" = Option<String>, Query),
        ("state" = Option<String>, Query, description = "queued, running, succeeded, failed or cancelled"),
        ("cursor" = Option<String>, Query, description = "The next_cursor of an earlier page"),
        ("limit" = Option<i64>, Query, description = "1 to 500, otherwise 50"),
    ),
    responses((status = 200, body = ActionList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ActionsExecute>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let cursor = query.optional("cursor");
    let before = cursor.as_deref().and_then(parse_cursor);
    if cursor.is_some() && before.is_none() {
        let message = "Invalid input: this is no cursor of an earlier page";
        query.fault(Fault::new("invalid_format", message, "cursor"));
    }
    let wanted = ActionQuery {
        provider_config_key: query.optional("integration"),
        connection_id: query.optional("connection"),
        function: query.optional("function"),
        state: query.word("state", &["queued", "running", "succeeded", "failed", "cancelled"]),
        before,
        limit: query.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT),
    };
    query.finish()?;
    let environment = match (&wanted.provider_config_key, &wanted.connection_id) {
        (Some(key), connection_id) => caller.connections(key, connection_id.as_deref())?,
        (None, _) => caller.environment()?,
    };
    let actions = runtime.actions(environment, &wanted).await?;
    let is_full = i64::try_from(actions.len()).is_ok_and(|len| len == wanted.limit);
    let last = actions.last().filter(|_| is_full);
    let next_cursor = last.map(|action| format!("{}_{}", action.created_at_ms, action.id));
    let data = actions.into_iter().map(ActionItem::from).collect();
    Ok(json_response(StatusCode::OK, &ActionList { data, next_cursor }))
}

fn parse_cursor(cursor: &str) -> Option<(i64, String)> {
    let (created_at_ms, id) = cursor.split_once('_')?;
    Some((created_at_ms.parse().ok()?, id.to_owned()))
}

/// 400 `invalid_uri_params`, as Nango answers what is no UUID.
fn check_id(id: &str) -> Result<(), ApiError> {
    if id.len() == 36 && uuid::Uuid::try_parse(id).is_ok() {
        return Ok(());
    }
    let fault = Fault::new("invalid_format", "Invalid UUID", "id");
    Err(ApiError::faults("invalid_uri_params", vec![fault]))
}

fn state_name(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "queued",
        RunState::Running => "running",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
    }
}

impl From<Action> for ActionItem {
    fn from(action: Action) -> Self {
        Self {
            due_at: (action.state == RunState::Queued).then(|| ms_utc(action.due_at_ms)),
            id: action.id,
            function: action.function,
            provider_config_key: action.provider_config_key,
            connection_id: action.connection_id,
            state: action.state,
            attempts: action.attempts,
            retries_max: action.retries_max,
            run_id: action.run_id.map(|id| id.to_string()),
            created_at: ms_utc(action.created_at_ms),
            started_at: action.started_at_ms.map(ms_utc),
            ended_at: action.ended_at_ms.map(ms_utc),
            cancelled_at: action.cancelled_at_ms.map(ms_utc),
            error: action.error,
        }
    }
}
