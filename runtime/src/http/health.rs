//! `GET /health`: is the server there? Answers without a key and without the database, so that a slow database does not get a
//! healthy process killed.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json_response;

#[derive(Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    result: &'static str,
}

/// Is the server there?
#[utoipa::path(get, path = "/health", tag = "server", security(()), responses((status = 200, body = Health)))]
pub async fn show() -> Response {
    json_response(StatusCode::OK, &Health { result: "ok" })
}
