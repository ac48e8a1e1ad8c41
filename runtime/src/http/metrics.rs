//! `GET /metrics`: what the process counts, for Prometheus. It asks for a key like the rest of the API.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, header};

use super::auth::{Key, need};
use super::error::{ApiError, ErrorEnvelope};
use crate::runtime::{METRICS_CONTENT_TYPE, Runtime};

/// Counters of this process.
///
/// In Prometheus' text format: requests to providers by outcome, retries by reason, waits for rate limits, runs, dropped log entries.
#[utoipa::path(
    get, path = "/metrics", tag = "server",
    responses(
        (status = 200, description = "Text format, version 0.0.4", content_type = "text/plain", body = String),
        (status = 401, body = ErrorEnvelope),
    ),
)]
pub async fn show(State(runtime): State<Runtime>, Key(_, _): Key<need::MetricsRead>) -> Result<Response, ApiError> {
    let mut response = Response::new(runtime.metrics().into());
    let content_type = HeaderValue::from_static(METRICS_CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}
