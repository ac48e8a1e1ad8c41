//! The connect page: a customer chooses an integration, fills in what it needs or goes through the provider's own pages, and sees
//! what came of it. It is a program in the browser that calls the routes a headless client calls, with the token of a connect
//! session; this file only puts it together.

use std::sync::LazyLock;

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::document::Document;

/// One module, in the order in which the parts use each other.
const SCRIPT: &str = concat!(
    include_str!("connect/texts.js"),
    include_str!("connect/host.js"),
    include_str!("connect/api.js"),
    include_str!("connect/popup.js"),
    include_str!("connect/fields.js"),
    include_str!("connect/page.js"),
);

static DOCUMENT: LazyLock<Document> =
    LazyLock::new(|| Document::new(include_str!("connect/page.css"), SCRIPT, "'self'"));

/// The page, which pages of these sources may show in a frame.
pub fn connect(frame_ancestors: &[String]) -> Response {
    let body = include_str!("connect/body.html");
    let ancestors = frame_ancestors.join(" ");
    DOCUMENT.answer(StatusCode::OK, "Connect an account", body, &Value::Null, &ancestors)
}
