//! `GET /connect`: the connect page. The page is the same for everybody, and says nothing without the token of a session.

use axum::extract::State;
use axum::response::Response;

use super::pages;
use crate::runtime::Runtime;

/// The connect page.
#[utoipa::path(
    get, path = "/connect", tag = "connect", security(()),
    params(
        ("session_token" = Option<String>, Query, description = "Of a connect session; in a frame, it may come as a message instead"),
        ("lang" = Option<String>, Query, description = "The language, such as `en`"),
        ("theme" = Option<String>, Query, description = "`light`, `dark` or `system`"),
        ("detectClosedAuthWindow" = Option<bool>, Query, description = "Whether a closed window of the provider is a failure at once"),
    ),
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
pub async fn show(State(runtime): State<Runtime>) -> Response {
    pages::connect(&runtime.config().connect_frame_ancestors)
}
