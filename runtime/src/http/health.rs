//! `GET /health`: is the server there? Answers without a key and without the database, so that a slow database does not get a
//! healthy process killed. That the log cannot be written is no reason for that either: it is told besides.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json_response;
use crate::runtime::Runtime;

#[derive(Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    result: &'static str,
    /// Only when the log cannot be written, or lost something since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<LogHealth>,
}

#[derive(Serialize, ToSchema)]
pub struct LogHealth {
    /// `failing` while the database does not take what is logged, otherwise `ok`.
    state: &'static str,
    /// Entries that wait to be written.
    waiting: u64,
    /// Entries lost since the start.
    dropped: u64,
}

/// Is the server there?
#[utoipa::path(get, path = "/health", tag = "server", security(()), responses((status = 200, body = Health)))]
pub async fn show(State(runtime): State<Runtime>) -> Response {
    let log = runtime.log_status();
    let is_failing = log.failure.is_some();
    let health = Health {
        result: "ok",
        log: (is_failing || log.dropped > 0).then_some(LogHealth {
            state: if is_failing { "failing" } else { "ok" },
            waiting: log.waiting,
            dropped: log.dropped,
        }),
    };
    json_response(StatusCode::OK, &health)
}
