//! `GET /health`: is the server there? Answers without a key and without the database, so that a slow database does not get a
//! healthy process killed. That the log cannot be written is no reason for that either: it is told besides.
//!
//! `GET /health/ready`: does its database answer as well? For those who choose between servers; anybody may ask, so it says no more.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json_response;
use super::error::{ApiError, ErrorEnvelope};
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
///
/// It is whenever this is answered, whatever the state of its database: for whoever restarts servers that hang.
#[utoipa::path(get, path = "/health", tag = "server", security(()), responses((status = 200, body = Health)))]
pub async fn show(State(runtime): State<Runtime>) -> Response {
    health(&runtime)
}

/// Is the server there, and does its database answer?
///
/// For whoever decides which servers get requests. The database is asked once a second at most, and not waited for longer than 2 s.
#[utoipa::path(
    get, path = "/health/ready", tag = "server", security(()),
    responses(
        (status = 200, body = Health),
        (status = 503, description = "`database_unavailable`", body = ErrorEnvelope),
    ),
)]
pub async fn ready(State(runtime): State<Runtime>) -> Result<Response, ApiError> {
    if runtime.is_ready().await {
        Ok(health(&runtime))
    } else {
        // Said once in the log, and not for each who asks.
        Err(ApiError::known_outage())
    }
}

fn health(runtime: &Runtime) -> Response {
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
