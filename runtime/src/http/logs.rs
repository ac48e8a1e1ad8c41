//! `/logs`: what happened. Operations newest first, the messages of one of them oldest first. Secrets were masked when they were
//! written.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::json_response;
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::query::{PathParams, Query};
use super::timestamp::{ms_utc, parse_moment_ms, us_offset};
use crate::model::log::Source;
use crate::model::{Level, Message, Operation, OperationKind, OperationState, Usage};
use crate::runtime::Runtime;
use crate::store::{MessageQuery, OperationQuery};

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;
const SEARCH_CHARS_MAX: usize = 256;

#[derive(Serialize, ToSchema)]
pub struct OperationList {
    data: Vec<OperationItem>,
    /// To be given as `cursor` for those before; none when there are no more.
    next_cursor: Option<String>,
    /// To be given as `changed_after` for what is written from now on.
    change_cursor: String,
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
    /// Of a run: `cpu_us`, `memory_bytes` at its peak, `requests`, and bytes sent, received and given as output.
    #[schema(value_type = Option<Object>)]
    usage: Option<Usage>,
}

/// List operations, newest first; or, to follow the log, in the order of their last change.
#[utoipa::path(
    get, path = "/logs/operations", tag = "logs",
    params(
        ("integration" = Option<String>, Query, description = "Its unique key"),
        ("connection" = Option<String>, Query, description = "Its connection id"),
        ("function" = Option<String>, Query),
        ("run" = Option<String>, Query, description = "Of this run"),
        ("type" = Option<String>, Query, description = "For example `action:run`, or `action` for all that begins so"),
        ("state" = Option<String>, Query, description = "running, success or failed"),
        ("since" = Option<String>, Query, description = "Started then or later: an ISO date-time, or an age as in 90s, 15m, 2h, 7d"),
        ("until" = Option<String>, Query, description = "Started before: as since"),
        ("search" = Option<String>, Query, description = "Text in the operation or in one of its messages; it reads all in the range of time"),
        ("cursor" = Option<String>, Query, description = "The next_cursor of an earlier page"),
        ("changed_after" = Option<i64>, Query, description = "The change_cursor of an earlier answer: gives what was written since, the earliest first. Not with cursor"),
        ("limit" = Option<i64>, Query, description = "1 to 500, otherwise 50"),
    ),
    responses((status = 200, body = OperationList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn operations(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::LogsRead>,
    request: Request,
) -> Result<Response, ApiError> {
    let (query, changed_after) = operation_query(request.uri().query(), runtime.now_ms())?;
    let environment = caller.environment()?;
    let (operations, change) = match changed_after {
        Some(after) => runtime.changed_operations(environment, &query, after).await?,
        None => {
            // Read before: what changes meanwhile is told again by who goes on from here, not missed.
            let change = runtime.last_operation_change().await?;
            (runtime.operations(environment, &query).await?, change)
        }
    };
    let next = last_of_full_page(&operations, query.limit).filter(|_| changed_after.is_none());
    let next_cursor = next.map(|operation| operation.id.to_string());
    let list = OperationList {
        next_cursor,
        change_cursor: change.to_string(),
        data: operations.into_iter().map(OperationItem::from).collect(),
    };
    Ok(json_response(StatusCode::OK, &list))
}

/// Which operations, and after which change when it is the changes that are asked for.
fn operation_query(query: Option<&str>, now_ms: i64) -> Result<(OperationQuery, Option<i64>), ApiError> {
    let mut query = Query::parse(query);
    let kinds = query.optional("type").map(|wanted| {
        let is_wanted = |kind: &&OperationKind| {
            let rest = kind.as_str().strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        OperationKind::ALL.iter().filter(is_wanted).copied().collect::<Vec<_>>()
    });
    if kinds.as_ref().is_some_and(Vec::is_empty) {
        let known: Vec<&str> = OperationKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let message = format!("Invalid option: expected one of {}", known.join("|"));
        query.fault(Fault::new("invalid_value", message, "type"));
    }
    let state = query.word("state", &["running", "success", "failed"]);
    let moment = |query: &mut Query, name| {
        let text = query.optional(name)?;
        let at_ms = parse_moment_ms(&text, now_ms);
        if at_ms.is_none() {
            let message = "Invalid input: expected an ISO date-time, or an age such as 90s, 15m, 2h or 7d";
            query.fault(Fault::new("invalid_format", message, name));
        }
        at_ms
    };
    let (since_ms, until_ms) = (moment(&mut query, "since"), moment(&mut query, "until"));
    let changed_after = query
        .has("changed_after")
        .then(|| query.integer("changed_after", 0..=i64::MAX, 0));
    let before = query.optional("cursor");
    if before.is_some() && changed_after.is_some() {
        let message = "Invalid input: cursor and changed_after cannot be given together";
        query.fault(Fault::new("invalid_value", message, "cursor"));
    }
    let list = OperationQuery {
        provider_config_key: query.optional("integration"),
        connection_id: query.optional("connection"),
        function: query.optional("function"),
        run_id: query.optional("run").map(|id| id.as_str().into()),
        kinds: kinds.unwrap_or_default(),
        state,
        since_ms,
        until_ms,
        search: search(&mut query),
        before: before.map(Into::into),
        limit: query.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT),
    };
    query.finish()?;
    Ok((list, changed_after))
}

/// An empty one counts as none.
fn search(query: &mut Query) -> Option<String> {
    let text = query.optional("search").filter(|text| !text.is_empty())?;
    if text.chars().count() > SEARCH_CHARS_MAX {
        let message = format!("Too big: expected at most {SEARCH_CHARS_MAX} characters");
        query.fault(Fault::new("too_big", message, "search"));
    }
    Some(text)
}

/// Get one operation.
#[utoipa::path(
    get, path = "/logs/operations/{id}", tag = "logs",
    params(("id" = String, Path)),
    responses((status = 200, body = OperationItem), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn operation(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::LogsRead>,
    PathParams(id): PathParams<String>,
) -> Result<Response, ApiError> {
    let operation = runtime.operation(caller.environment()?, &id.as_str().into()).await?;
    let Some(operation) = operation else {
        let message = format!("There is no operation {id:?}; it may be older than the days for which logs are kept");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message));
    };
    Ok(json_response(StatusCode::OK, &OperationItem::from(operation)))
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
    fields: Option<Box<RawValue>>,
}

/// List the messages of one operation, oldest first.
#[utoipa::path(
    get, path = "/logs/messages", tag = "logs",
    params(
        ("operation_id" = String, Query),
        ("level" = Option<String>, Query, description = "debug, info, warn or error: this level and above"),
        ("search" = Option<String>, Query, description = "Text in the message or its fields"),
        ("cursor" = Option<i64>, Query),
        ("limit" = Option<i64>, Query, description = "1 to 500, otherwise 50"),
    ),
    responses((status = 200, body = MessageList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn messages(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::LogsRead>,
    request: Request,
) -> Result<Response, ApiError> {
    let query = message_query(request.uri().query())?;
    let messages = runtime.messages(caller.environment()?, &query).await?;
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
        level: query.word("level", &["debug", "info", "warn", "error"]),
        search: search(&mut query),
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
            provider_config_key: operation.provider_config_key.as_deref().map(str::to_owned),
            connection_id: operation.connection_id.as_deref().map(str::to_owned),
            function: operation.function.as_deref().map(str::to_owned),
            run_id: operation.run_id.map(|id| id.to_string()),
            message: operation.message,
            started_at: ms_utc(operation.started_at_ms),
            ended_at: operation.ended_at_ms.map(ms_utc),
            duration_us: operation.duration_us,
            usage: operation.usage,
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
            usage: None,
        };
        assert_eq!(
            serde_json::to_string(&OperationItem::from(operation)).unwrap(),
            concat!(
                r#"{"id":"op_1","type":"action:run","state":"success","provider_config_key":"github","connection_id":"c1","#,
                r#""function":"whoami","run_id":"run_1","message":"Action whoami succeeded","#,
                r#""started_at":"2026-11-22T11:16:49.746Z","ended_at":null,"duration_us":null,"usage":null}"#
            )
        );
    }

    #[test]
    fn queries() {
        let parse = |text| operation_query(Some(text), 1_795_346_209_746);
        let (list, changed_after) = parse("function=whoami&cursor=op_9").unwrap();
        assert_eq!(
            (list.limit, list.before, changed_after),
            (50, Some("op_9".into()), None)
        );
        let (list, changed_after) =
            parse("type=action&state=failed&since=1h&until=2026-11-22T11:16:49.746Z&search=x&changed_after=7").unwrap();
        assert_eq!(list.kinds, [OperationKind::ActionRun]);
        assert_eq!(
            (list.state, list.search.as_deref()),
            (Some(OperationState::Failed), Some("x"))
        );
        assert_eq!(
            (list.since_ms, list.until_ms),
            (Some(1_795_342_609_746), Some(1_795_346_209_746))
        );
        assert_eq!(changed_after, Some(7));
        let (list, _) = parse("type=sync:run&search=").unwrap();
        assert_eq!((list.kinds, list.search), (vec![OperationKind::SyncRun], None));
        for bad in [
            "provider_config_key=github",
            "type=act",
            "state=done",
            "since=yesterday",
            "changed_after=x",
            "changed_after=1&cursor=op_1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(message_query(Some("limit=5")).is_err());
        assert!(message_query(Some("operation_id=op_1&level=loud")).is_err());
        let list = message_query(Some("operation_id=op_1&cursor=7&level=warn")).unwrap();
        assert_eq!((list.after, list.level), (7, Some(Level::Warn)));
    }

    #[test]
    fn there_is_more_only_behind_a_full_page() {
        assert_eq!(last_of_full_page(&[1, 2], 2), Some(&2));
        assert_eq!(last_of_full_page(&[1], 2), None);
        assert_eq!(last_of_full_page::<i32>(&[], 2), None);
    }
}
