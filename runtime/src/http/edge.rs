//! What happens to every request and response whatever the route: a request id, CORS, the reporting of unexpected failures, and that
//! a large body whose answer came early is read to its end. Nothing here may cost more than some hundred nanoseconds: it is on the
//! path of every action and every proxy call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::audit::RequestId;
use super::error::{ApiError, DatabaseOutage, ErrorDetails, InternalFailure};
use super::linger;
use crate::clock::Entropy;

/// Names a request in the log and in the answer. An upstream's id that comes through the proxy is left as it is.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Etag, Content-Type, Content-Length, X-Nango-Signature, X-RateLimit-Limit, X-RateLimit-Remaining, \
     X-RateLimit-Reset, X-Request-Id, Location, Link, Retry-After",
);

/// Request headers a browser may send across origins, besides `Nango-Proxy-*`.
const ALLOWED_HEADERS: [&str; 20] = [
    "authorization",
    "content-type",
    "accept",
    "origin",
    "x-requested-with",
    "x-async",
    "x-max-retries",
    "nango-activity-log-id",
    "nango-is-dry-run",
    "nango-is-sync",
    "nango-is-script",
    "provider-config-key",
    "connection-id",
    "base-url-override",
    "decompress",
    "forward-headers-on-redirect",
    "retries",
    "retry-on",
    "retry-header-at",
    "retry-header-after",
];

/// How long a browser may remember a preflight's answer.
const PREFLIGHT_MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// State of the edge: ids are a random prefix of this process and a counter.
#[derive(Clone)]
pub struct Edge {
    prefix: Arc<str>,
    next: Arc<AtomicU64>,
}

impl Edge {
    pub fn new(entropy: &Entropy) -> Self {
        let prefix = u64::from_le_bytes(entropy.bytes());
        Self {
            prefix: format!("req_{prefix:016x}").into(),
            next: Arc::new(AtomicU64::new(1)),
        }
    }

    fn next_id(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Hexadecimal digits always make a header value.
        HeaderValue::try_from(format!("{}{number:08x}", self.prefix)).unwrap_or(HeaderValue::from_static("req"))
    }
}

/// The middleware.
pub async fn layer(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let handle = |mut request: Request, id: &HeaderValue| {
        request.extensions_mut().insert(RequestId(id.clone()));
        next.run(request)
    };
    run(&edge, request, handle).await
}

/// Has `handle` answer the request, and does what is due before and after.
pub async fn run<F: Future<Output = Response>>(
    edge: &Edge,
    request: Request,
    handle: impl FnOnce(Request, &HeaderValue) -> F,
) -> Response {
    if is_preflight(&request) {
        return preflight(request.headers());
    }
    let id = edge.next_id();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut response = handle(linger::wrap(request), &id).await;
    if let Some(DatabaseOutage(error)) = response.extensions_mut().remove() {
        tracing::warn!(
            request.id = id.to_str().unwrap_or_default(),
            error = &*error as &(dyn std::error::Error + 'static),
            "{method} {} had no database: {error}",
            uri.path()
        );
    }
    if let Some(InternalFailure(error)) = response.extensions_mut().remove() {
        let id = id.to_str().unwrap_or_default();
        // The path only: a query may carry what is nobody's business.
        tracing::error!(
            request.id = id,
            error = &*error as &(dyn std::error::Error + 'static),
            "{method} {} failed: {error}",
            uri.path()
        );
        response = internal_error(id);
    }
    let headers = response.headers_mut();
    headers.entry(REQUEST_ID).or_insert(id);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    response
}

fn internal_error(request_id: &str) -> Response {
    let details = ErrorDetails {
        message: Some(format!(
            "The server failed; its log says why under the request id {request_id}"
        )),
        ..ErrorDetails::code("generic_error_support").with_payload(&request_id)
    };
    ApiError::from_details(StatusCode::INTERNAL_SERVER_ERROR, details).into_response()
}

/// Any other `OPTIONS` is a call for the provider.
fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_SECONDS);
    headers.insert(
        header::VARY,
        HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers"),
    );
    // Providers take any method.
    if let Some(method) = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    }
    let names = asked
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .and_then(|names| names.to_str().ok());
    if let Some(Ok(allowed)) = names.map(|names| HeaderValue::try_from(allowed_headers(names))) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    response
}

/// Those of the headers asked for that may be sent.
fn allowed_headers(asked: &str) -> String {
    let allowed = asked.split(',').map(str::trim).map(str::to_ascii_lowercase);
    let allowed = allowed.filter(|name| name.starts_with("nango-proxy-") || ALLOWED_HEADERS.contains(&name.as_str()));
    allowed.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::any;
    use http_body_util::BodyExt;

    use super::*;

    async fn ask(request: http::request::Builder) -> Response {
        let failing = any(async || ApiError::internal(std::io::Error::other("a secret place")));
        let outage = any(async || ApiError::outage(std::io::Error::other("a secret place")));
        let fine = any(async |method: Method| ([("x-request-id", "of-upstream")], method.to_string()));
        let router = Router::new()
            .route("/fine", fine)
            .route("/failing", failing)
            .route("/outage", outage)
            .layer(axum::middleware::from_fn_with_state(
                Edge::new(&Entropy::seeded(1)),
                layer,
            ));
        let request = request.body(Body::empty()).unwrap();
        hyper::service::Service::call(&hyper_util::service::TowerToHyperService::new(router), request)
            .await
            .unwrap()
    }

    async fn text(response: Response) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_unexpected_failure_names_the_request_and_nothing_else() {
        let response = ask(Request::get("/failing")).await;
        assert_eq!(response.status(), 500);
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(id.starts_with("req_"), "{id}");
        assert_eq!(
            text(response).await,
            format!(
                r#"{{"error":{{"code":"generic_error_support","message":"The server failed; its log says why under the request id {id}","payload":"{id}"}}}}"#
            )
        );
    }

    #[tokio::test]
    async fn an_outage_keeps_its_answer() {
        let response = ask(Request::get("/outage")).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "5");
        let text = text(response).await;
        assert!(
            text.starts_with(r#"{"error":{"code":"database_unavailable""#) && !text.contains("secret"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn the_id_of_an_upstream_stays() {
        let response = ask(Request::get("/fine")).await;
        assert_eq!(response.headers()["x-request-id"], "of-upstream");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
    }

    #[tokio::test]
    async fn only_a_preflight_is_answered_as_one() {
        let preflight = ask(Request::options("/fine")
            .header("Access-Control-Request-Method", "PURGE")
            .header("Access-Control-Request-Headers", "Retries, nango-proxy-x-custom,Cookie"))
        .await;
        assert_eq!(preflight.status(), 204);
        assert_eq!(preflight.headers()["access-control-allow-methods"], "PURGE");
        assert_eq!(
            preflight.headers()["access-control-allow-headers"],
            "retries, nango-proxy-x-custom"
        );
        let other = ask(Request::options("/fine")).await;
        assert_eq!(text(other).await, "OPTIONS");
    }
}
