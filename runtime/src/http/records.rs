//! `GET /records`: what syncs keep fresh, in order of change. Records go out as they were saved, with `_nango_metadata` added to the
//! text; they are never parsed. A page leaves in pieces, so that ten thousand records are in memory once, not twice.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::stream;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::raw_json_response;
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::names::{is_function_name, is_model};
use super::query::Query;
use super::target::TargetHeaders;
use super::timestamp::parse_us;
use crate::connections::ConnectionsError;
use crate::model::{RecordAction, RecordFilter};
use crate::records::RecordForm;
use crate::runtime::{RecordsApiError, RecordsOf, Runtime};

const LIMIT_DEFAULT: i64 = 100;
const LIMIT_MAX: i64 = 10_000;
pub(super) const CURSOR_BYTES_MAX: usize = 1_000;
const IDS_MAX: usize = 100;
const ID_BYTES_MAX: usize = 256;
pub(super) const BASE_VARIANT: &str = "base";

#[derive(Debug)]
pub(super) struct ListRecords {
    pub(super) model: String,
    pub(super) variant: String,
    pub(super) filter: RecordFilter,
}

/// Only for the description of the API: the answer is put together as text.
#[derive(Serialize, ToSchema)]
pub struct RecordList {
    /// Where to read on; none when this is the end.
    next_cursor: Option<String>,
    /// Records as the sync saved them, each with `_nango_metadata`.
    #[schema(value_type = Vec<Object>)]
    records: Vec<serde_json::Value>,
}

/// List the records of a model.
#[utoipa::path(
    get, path = "/records", tag = "records",
    params(
        ("Provider-Config-Key" = String, Header),
        ("Connection-Id" = String, Header),
        ("model" = String, Query),
        ("variant" = Option<String>, Query),
        ("modified_after" = Option<String>, Query, description = "ISO 8601; inclusive"),
        ("cursor" = Option<String>, Query, description = "Of a record or of the page before; exclusive"),
        ("limit" = Option<i64>, Query, description = "1 to 10000, otherwise 100"),
        ("filter" = Option<String>, Query, description = "Any of added, updated, deleted, with commas between"),
        ("ids" = Option<Vec<String>>, Query, description = "At most 100"),
    ),
    responses((status = 200, body = RecordList), (status = 400, body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::RecordsRead>,
    request: Request,
) -> Result<Response, ApiError> {
    let target = TargetHeaders::parse(request.headers())?;
    let mut list = ListRecords::parse(request.uri().query())?;
    list.filter.bytes_max = runtime.config().limits.records_page_bytes;
    let environment = caller.connection(target.provider_config_key, target.connection_id)?;
    let page = runtime
        .records_text(environment, list.of(&target), &list.filter, RecordForm::Elements)
        .await
        .map_err(records_error)?;
    let mut pieces = page.into_document();
    // A page of one piece has a known length.
    let body = if pieces.len() == 1 {
        Body::from(pieces.pop().unwrap_or_default())
    } else {
        Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::convert::Infallible>)))
    };
    Ok(raw_json_response(StatusCode::OK, body))
}

impl ListRecords {
    pub(super) fn of<'a>(&'a self, target: &TargetHeaders<'a>) -> RecordsOf<'a> {
        RecordsOf {
            provider_config_key: target.provider_config_key,
            connection_id: target.connection_id,
            model: &self.model,
            variant: &self.variant,
        }
    }

    pub(super) fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        Self::of_query(Query::parse(query))
    }

    pub(super) fn of_query(mut query: Query) -> Result<Self, ApiError> {
        let model = query.required_name("model", "model name, like GithubIssue", is_model);
        let variant = query.optional_name("variant", "variant name", is_function_name);
        let filter = RecordFilter {
            actions: actions(&mut query),
            external_ids: ids(&mut query),
            modified_after_us: modified_after_us(&mut query),
            cursor: query.optional_name("cursor", "cursor", |cursor| {
                (1..=CURSOR_BYTES_MAX).contains(&cursor.len())
            }),
            limit: query.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT),
            bytes_max: 0,
        };
        query.finish()?;
        Ok(Self {
            model,
            variant: variant.unwrap_or_else(|| BASE_VARIANT.to_owned()),
            filter,
        })
    }
}

fn actions(query: &mut Query) -> Vec<RecordAction> {
    let mut actions = Vec::new();
    for action in query.optional("filter").as_deref().unwrap_or_default().split(',') {
        match action.trim().to_ascii_lowercase().as_str() {
            "" => {}
            "added" => actions.push(RecordAction::Added),
            "updated" => actions.push(RecordAction::Updated),
            "deleted" => actions.push(RecordAction::Deleted),
            _ => {
                let message = "Invalid input: expected added, updated or deleted, with commas between";
                query.fault(Fault::new("invalid_value", message, "filter"));
            }
        }
    }
    actions
}

fn ids(query: &mut Query) -> Vec<String> {
    let ids = query.repeated("ids");
    if ids.len() > IDS_MAX {
        query.fault(Fault::new(
            "too_big",
            format!("Too big: expected at most {IDS_MAX} ids"),
            "ids",
        ));
    }
    if ids.iter().any(|id| !(1..=ID_BYTES_MAX).contains(&id.len())) {
        let message = format!("Invalid input: expected ids of 1 to {ID_BYTES_MAX} bytes");
        query.fault(Fault::new("invalid_format", message, "ids"));
    }
    ids
}

/// `delta` is its old name.
fn modified_after_us(query: &mut Query) -> Option<i64> {
    for name in ["modified_after", "delta"] {
        if let Some(text) = query.optional(name) {
            let at_us = parse_us(&text);
            if at_us.is_none() {
                let message = "Invalid input: expected an ISO date-time like 2026-01-31T00:00:00Z";
                query.fault(Fault::new("invalid_format", message, name));
            }
            return at_us;
        }
    }
    None
}

pub(super) fn records_error(error: RecordsApiError) -> ApiError {
    match error {
        RecordsApiError::Connections(error @ ConnectionsError::UnknownIntegration { .. }) => {
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_connection", error.to_string())
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    #[test]
    fn every_parameter() {
        let query =
            "model=Item&variant=eu&delta=2026-11-22T11:21:53Z&cursor=c&limit=10000&filter=Added,DELETED&ids=1&ids=2";
        let list = ListRecords::parse(Some(query)).unwrap();
        assert_eq!((list.model.as_str(), list.variant.as_str()), ("Item", "eu"));
        assert_eq!(list.filter.actions, [RecordAction::Added, RecordAction::Deleted]);
        assert_eq!(list.filter.external_ids, ["1", "2"]);
        assert_eq!(list.filter.modified_after_us, Some(1_795_346_513_000_000));
        assert_eq!(list.filter.cursor.as_deref(), Some("c"));
        assert_eq!(list.filter.limit, 10_000);
        let list = ListRecords::parse(Some("model=Item")).unwrap();
        assert_eq!((list.variant.as_str(), list.filter.limit), ("base", 100));
    }

    #[tokio::test]
    async fn strict_about_each() {
        for (query, path) in [
            ("", r#""path":["model"]"#),
            ("model=item", r#""path":["model"]"#),
            ("model=Item&limit=10001", r#""path":["limit"]"#),
            ("model=Item&filter=new", r#""path":["filter"]"#),
            ("model=Item&modified_after=2026-01-01", r#""path":["modified_after"]"#),
            ("model=Item&cursor=", r#""path":["cursor"]"#),
            ("model=Item&ids=", r#""path":["ids"]"#),
            ("model=Item&offset=3", r#""code":"unrecognized_keys""#),
        ] {
            let refusal = rendered(ListRecords::parse(Some(query)).unwrap_err()).await;
            assert!(
                refusal.starts_with(r#"400 {"error":{"code":"invalid_query_params""#),
                "{refusal}"
            );
            assert!(refusal.contains(path), "{query}: {refusal}");
        }
    }
}
