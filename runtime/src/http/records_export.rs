//! `GET /records/export`: all records of a model in one answer, a line of JSON each (NDJSON), for bulk readers. Pages are read while the
//! client takes what came before, so that any number of records needs the memory of one page. A reader whose connection breaks goes on
//! with the cursor of the last record it has.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, header};

use super::auth::{Key, need};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::query::Query;
use super::records::{ListRecords, records_error};
use super::target::TargetHeaders;
use crate::model::{EnvironmentId, RecordFilter};
use crate::records::{RecordForm, RenderedRecords};
use crate::runtime::{RecordsApiError, RecordsOf, Runtime};

/// Records read at once.
const PAGE_RECORDS: i64 = 1_000;
/// Payloads read at once.
const PAGE_BYTES_MAX: usize = 8 << 20;
const NDJSON: &str = "application/x-ndjson";

/// Where an export is.
struct Export {
    runtime: Runtime,
    environment: EnvironmentId,
    provider_config_key: String,
    connection_id: String,
    model: String,
    variant: String,
    filter: RecordFilter,
    is_done: bool,
}

/// Export the records of a model as lines of JSON.
#[utoipa::path(
    get, path = "/records/export", tag = "records",
    params(
        ("Provider-Config-Key" = String, Header),
        ("Connection-Id" = String, Header),
        ("model" = String, Query),
        ("variant" = Option<String>, Query),
        ("modified_after" = Option<String>, Query, description = "ISO 8601; inclusive"),
        ("cursor" = Option<String>, Query, description = "Of a record; exclusive"),
        ("filter" = Option<String>, Query, description = "Any of added, updated, deleted, with commas between"),
        ("ids" = Option<Vec<String>>, Query, description = "At most 100"),
    ),
    responses(
        (status = 200, body = String, content_type = "application/x-ndjson"),
        (status = "4XX", body = ErrorEnvelope),
    ),
)]
pub async fn export(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::RecordsRead>,
    request: Request,
) -> Result<Response, ApiError> {
    let target = TargetHeaders::parse(request.headers())?;
    let mut query = Query::parse(request.uri().query());
    if query.has("limit") {
        let message = "An export has no limit: stop reading, and go on with the cursor of the last record";
        query.fault(Fault::new("unrecognized_keys", message, "limit"));
        query.repeated("limit");
    }
    let list = ListRecords::of_query(query)?;
    let environment = caller.connection(target.provider_config_key, target.connection_id)?;
    let mut export = Export {
        runtime: runtime.clone(),
        environment: environment.clone(),
        provider_config_key: target.provider_config_key.to_owned(),
        connection_id: target.connection_id.to_owned(),
        model: list.model,
        variant: list.variant,
        filter: RecordFilter {
            limit: PAGE_RECORDS,
            bytes_max: PAGE_BYTES_MAX,
            ..list.filter
        },
        is_done: false,
    };
    // What is wrong with the request shows before the answer begins.
    let first = export.page().await.map_err(records_error)?;
    let rest = stream::try_unfold(export, |mut export| async move {
        if export.is_done {
            return Ok(None);
        }
        let page = export.page().await?;
        Ok::<_, RecordsApiError>(Some((page, export)))
    });
    let pages = stream::iter([Ok(first)]).chain(rest);
    let pieces = pages
        .map_ok(|page| stream::iter(page.into_pieces().map(Ok::<_, RecordsApiError>)))
        .try_flatten();
    let mut response = Response::new(Body::from_stream(pieces));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    Ok(response)
}

impl Export {
    async fn page(&mut self) -> Result<RenderedRecords, RecordsApiError> {
        let of = RecordsOf {
            provider_config_key: &self.provider_config_key,
            connection_id: &self.connection_id,
            model: &self.model,
            variant: &self.variant,
        };
        let page = self
            .runtime
            .records_text(&self.environment, of, &self.filter, RecordForm::Lines)
            .await?;
        self.filter.cursor.clone_from(&page.next_cursor);
        self.is_done = page.next_cursor.is_none();
        Ok(page)
    }
}
