//! `/logs`: what happened. Operations newest first, the messages of one of them oldest first. Secrets were masked when they were
//! written.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::Key;
use super::body::json_response;
use super::error::{ApiError, ErrorEnvelope};
use super::query::Query;
use super::timestamp::{ms_utc, us_offset};
use crate::model::log::Source;
use crate::model::{Level, Message, Operation, OperationKind, OperationState};
use crate::runtime::Runtime;
use crate::store::{MessageQuery, OperationQuery};

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;

#[derive(Serialize, ToSchema)]
pub struct OperationList {
    data: Vec<OperationItem>,
    /// To be given as `cursor` for those before; none when there are no more.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct OperationItem {
    id: String,
    /// For example `action:run`.
    #[schema(value_type = String)]
    r#type: OperationKind,
    /// running, success or failed.
    #[schema(value_type = String)]
    state: OperationState,
    provider_config_key: Option<String>,
    connection_id: Option<String>,
    function: Option<String>,
    run_id: Option<String>,
    message: String,
    started_at: String,
    ended_at: Option<String>,
    duration_us: Option<i64>,
}

/// List operations, newest first.
#[utoipa::path(
    get, path = "/logs/operations", tag = "logs",
    params(
        ("integration" = Option<String>, Query, description = "Its unique key"),
        ("connection" = Option<String>, Query, description = "Its connection id"),
        ("function" = Option<String>, Query),
        ("cursor" = Option<String>, Query),
        ("limit" = Option<i64>, Query, description = "1 to 500, otherwise 50"),
    ),
    responses((status = 200, body = OperationList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn operations(
    State(runtime): State<Runtime>,
    Key(caller): Key,
    request: Request,
) -> Result<Response, ApiError> {
    let query = operation_query(request.uri().query())?;
    let operations = runtime.operations(&caller.environment.id, &query).await?;
    let next_cursor = last_of_full_page(&operations, query.limit).map(|operation| operation.id.to_string());
    let data = operations.into_iter().map(OperationItem::from).collect();
    Ok(json_response(StatusCode::OK, &OperationList { data, next_cursor }))
}

fn operation_query(query: Option<&str>) -> Result<OperationQuery, ApiError> {
    let mut query = Query::parse(query);
    let list = OperationQuery {
        provider_config_key: query.optional("integration"),
        connection_id: query.optional("connection"),
        function: query.optional("function"),
        before: query.optional("cursor").map(Into::into),
        limit: query.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT),
    };
    query.finish()?;
    Ok(list)
}

#[derive(Serialize, ToSchema)]
pub struct MessageList {
    data: Vec<MessageItem>,
    /// To be given as `cursor` for those after; none when there are no more.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct MessageItem {
    /// Position within the operation.
    sequence: i64,
    created_at: String,
    /// debug, info, warn or error.
    #[schema(value_type = String)]
    level: Level,
    /// `user` for what a function wrote, otherwise `internal`.
    #[schema(value_type = String)]
    source: Source,
    message: String,
    /// Request, response, retry, error, and what a function gave along.
    #[schema(value_type = Option<Object>)]
    fields: Option<Value>,
}

/// List the messages of one operation, oldest first.
#[utoipa::path(
    get, path = "/logs/messages", tag = "logs",
    params(
        ("operation_id" = String, Query),
        ("cursor" = Option<i64>, Query),
        ("limit" = Option<i64>, Query, description = "1 to 500, otherwise 50"),
    ),
    responses((status = 200, body = MessageList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn messages(
    State(runtime): State<Runtime>,
    Key(caller): Key,
    request: Request,
) -> Result<Response, ApiError> {
    let query = message_query(request.uri().query())?;
    let messages = runtime.messages(&caller.environment.id, &query).await?;
    let next_cursor = last_of_full_page(&messages, query.limit).map(|(sequence, _)| sequence.to_string());
    let data = messages
        .into_iter()
        .map(|(sequence, message)| MessageItem::new(sequence, message))
        .collect();
    Ok(json_response(StatusCode::OK, &MessageList { data, next_cursor }))
}

fn message_query(query: Option<&str>) -> Result<MessageQuery, ApiError> {
    let mut query = Query::parse(query);
    let list = MessageQuery {
        operation_id: query.required("operation_id").into(),
        after: query.integer("cursor", 0..=i64::MAX, 0),
        limit: query.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT),
    };
    query.finish()?;
    Ok(list)
}

/// Only behind a full page there may be more.
fn last_of_full_page<T>(items: &[T], limit: i64) -> Option<&T> {
    let is_full = i64::try_from(items.len()).is_ok_and(|length| length >= limit);
    items.last().filter(|_| is_full)
}

impl From<Operation> for OperationItem {
    fn from(operation: Operation) -> Self {
        Self {
            id: operation.id.to_string(),
            r#type: operation.kind,
            state: operation.state,
            provider_config_key: operation.provider_config_key,
            connection_id: operation.connection_id,
            function: operation.function,
            run_id: operation.run_id.map(|id| id.to_string()),
            message: operation.message,
            started_at: ms_utc(operation.started_at_ms),
            ended_at: operation.ended_at_ms.map(ms_utc),
            duration_us: operation.duration_us,
        }
    }
}

impl MessageItem {
    fn new(sequence: i64, message: Message) -> Self {
        Self {
            sequence,
            created_at: us_offset(message.created_at_us),
            level: message.level,
            source: message.source,
            message: message.text,
            fields: message.fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_in_json() {
        let operation = Operation {
            id: "op_1".into(),
            environment_id: "env_1".into(),
            kind: OperationKind::ActionRun,
            state: OperationState::Success,
            provider_config_key: Some("github".into()),
            connection_id: Some("c1".into()),
            function: Some("whoami".into()),
            run_id: Some("run_1".into()),
            message: "Action whoami succeeded".into(),
            started_at_ms: 1_795_346_209_746,
            ended_at_ms: None,
            duration_us: None,
        };
        assert_eq!(
            serde_json::to_string(&OperationItem::from(operation)).unwrap(),
            concat!(
                r#"{"id":"op_1","type":"action:run","state":"success","provider_config_key":"github","connection_id":"c1","#,
                r#""function":"whoami","run_id":"run_1","message":"Action whoami succeeded","#,
                r#""started_at":"2026-11-22T11:16:49.746Z","ended_at":null,"duration_us":null}"#
            )
        );
    }

    #[test]
    fn queries() {
        let list = operation_query(Some("function=whoami&cursor=op_9")).unwrap();
        assert_eq!((list.limit, list.before), (50, Some("op_9".into())));
        assert!(operation_query(Some("provider_config_key=github")).is_err());
        assert!(message_query(Some("limit=5")).is_err());
        assert_eq!(message_query(Some("operation_id=op_1&cursor=7")).unwrap().after, 7);
    }

    #[test]
    fn there_is_more_only_behind_a_full_page() {
        assert_eq!(last_of_full_page(&[1, 2], 2), Some(&2));
        assert_eq!(last_of_full_page(&[1], 2), None);
        assert_eq!(last_of_full_page::<i32>(&[], 2), None);
    }
}
