//! `ANY /proxy/*`: one authenticated request to the provider of a connection. The path and query behind `/proxy` go on byte for byte,
//! bodies stream both ways, and the answer keeps its true status and headers. How the request is built, sent and retried is not
//! decided here.

use axum::body::Body as HttpBody;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderName, Method, Uri, header};
use http_body::Body as _;

use super::auth::{Key, need};
use super::body;
use super::error::{ApiError, ErrorEnvelope, NetworkFailure};
use super::proxy_headers::CallHeaders;
use super::target::TargetHeaders;
use crate::proxy::{Body, ByteStream, ProxyError, ProxyRequest};
use crate::runtime::Runtime;

/// Bodies up to this size are read before they are sent, so that a retry can send them again. Larger ones stream and are sent once.
pub const REPLAYABLE_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Send a request to the provider's API with the credentials of a connection.
///
/// Everything behind `/proxy` is path and query below the provider's base URL. Headers named `Nango-Proxy-<Name>` are sent as `<Name>`.
#[utoipa::path(
    method(get, post, put, patch, delete, head, options), path = "/proxy/{path}", tag = "proxy", operation_id = "proxy",
    params(
        ("path" = String, Path, description = "Path below the base URL; may contain slashes"),
        ("Provider-Config-Key" = String, Header),
        ("Connection-Id" = String, Header),
        ("Retries" = Option<u32>, Header, description = "Attempts after the first, at most 10"),
        ("Retry-On" = Option<String>, Header, description = "More status codes to retry, with commas between"),
        ("Retry-Header-At" = Option<String>, Header, description = "Names of response headers that hold the time to retry at, with commas between"),
        ("Retry-Header-After" = Option<String>, Header, description = "Names of response headers that hold the seconds to wait, with commas between"),
        ("Base-Url-Override" = Option<String>, Header, description = "Instead of the provider's base URL"),
        ("Decompress" = Option<bool>, Header, description = "Decode the answer's content encoding; done unasked when there is no Accept-Encoding"),
        ("Forward-Headers-On-Redirect" = Option<bool>, Header, description = "Let credentials follow to other origins"),
        ("Nango-Activity-Log-Id" = Option<String>, Header, description = "Log to this operation instead of one of its own"),
        ("Nango-Is-Dry-Run" = Option<bool>, Header, description = "Mark the log operation as part of a dry run"),
        ("Nango-Is-Sync" = Option<bool>, Header, description = "Mark the log operation as part of a sync"),
        ("Nango-Is-Script" = Option<bool>, Header, description = "Mark the log operation as part of a function"),
    ),
    responses(
        (status = "default", description = "The provider's answer: its status, its headers, its body"),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 429, body = ErrorEnvelope, description = "`rate_limited`, `rate_limit_queue_full`: not sent, because the provider's rate limit would have it wait too long; `Retry-After` says how long"),
        (status = 500, description = "No answer came", body = NetworkFailure),
    ),
)]
pub async fn call(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::Proxy>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let endpoint = endpoint(&parts.uri);
    let mut call = CallHeaders::parse(&parts.headers)?;
    let body = request_body(body).await?;
    if !matches!(body, Body::Empty) {
        call.describe_body(&parts.headers);
    }
    // The length is known to the caller only: without it the provider would get chunks, which some refuse.
    if let Some(length) = parts.headers.get(header::CONTENT_LENGTH)
        && matches!(body, Body::Stream(_))
    {
        call.forwarded.insert(header::CONTENT_LENGTH, length.clone());
    }
    let TargetHeaders {
        provider_config_key,
        connection_id,
    } = call.target;
    let method = parts.method.clone();
    let request = ProxyRequest {
        method: parts.method,
        endpoint,
        query: Vec::new(),
        headers: call.forwarded,
        body,
        retries: call.retries,
        retry_on: call.retry_on,
        retry_header: call.retry_header,
        base_url_override: call.base_url_override,
        decompress: call.decompress,
        forward_headers_on_redirect: call.forward_headers_on_redirect,
        wait_ms_max: None,
        masker: None,
    };
    let environment = caller.request(provider_config_key, connection_id, &request)?;
    let answer = runtime
        .proxy(environment, provider_config_key, connection_id, request, call.origin)
        .await
        .map_err(|error| call_error(error, &method))?;
    let mut response = Response::new(HttpBody::from_stream(answer.body.0));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    remove_cors(response.headers_mut());
    Ok(response)
}

/// A network failure is answered in the shape that clients of Nango know from Node.
fn call_error(error: ProxyError, method: &Method) -> ApiError {
    match error.node_error_name() {
        Some(code) => ApiError::network(NetworkFailure {
            message: error.to_string(),
            code,
            method: method.as_str().to_ascii_lowercase(),
        }),
        None => error.into(),
    }
}

/// What is behind `/proxy`, as it came.
fn endpoint(uri: &Uri) -> String {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    target.strip_prefix("/proxy").unwrap_or(target).to_owned()
}

/// Bodies of any method go on: what the caller sends is what the provider gets.
async fn request_body(body: HttpBody) -> Result<Body, ApiError> {
    if body.is_end_stream() {
        return Ok(Body::Empty);
    }
    match body.size_hint().exact() {
        Some(length) if length <= REPLAYABLE_BODY_BYTES_MAX as u64 => {
            Ok(Body::Bytes(body::read(body, REPLAYABLE_BODY_BYTES_MAX).await?))
        }
        Some(_) | None => Ok(Body::Stream(ByteStream(Box::pin(
            body.into_data_stream().map_err(std::io::Error::other),
        )))),
    }
}

/// Whom the answer is shared with across origins is our decision, not the provider's.
fn remove_cors(headers: &mut HeaderMap) {
    const PREFIX: &str = "access-control-";
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(PREFIX))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::http::error::tests::rendered;

    #[test]
    fn the_endpoint_is_what_came() {
        for (target, expected) in [
            ("/proxy/user?x=1", "/user?x=1"),
            (
                "/proxy/a%2Fb/%7e//c/../d?q=a+b%20c&&=",
                "/a%2Fb/%7e//c/../d?q=a+b%20c&&=",
            ),
            ("/proxy?x=1", "?x=1"),
            ("/proxy/", "/"),
            ("/proxy", ""),
            ("/proxy/proxy/x", "/proxy/x"),
        ] {
            assert_eq!(endpoint(&target.parse().unwrap()), expected);
        }
    }

    #[tokio::test]
    async fn small_bodies_can_be_replayed_and_large_ones_stream() {
        assert!(matches!(request_body(HttpBody::empty()).await, Ok(Body::Empty)));
        assert!(matches!(request_body(HttpBody::from("x")).await, Ok(Body::Bytes(bytes)) if bytes == "x"));
        let large = HttpBody::from(vec![0; REPLAYABLE_BODY_BYTES_MAX + 1]);
        assert!(matches!(request_body(large).await, Ok(Body::Stream(_))));
        let chunked = HttpBody::from_stream(futures_util::stream::iter([Ok::<_, std::io::Error>("x")]));
        assert!(matches!(request_body(chunked).await, Ok(Body::Stream(_))));
    }

    #[tokio::test]
    async fn no_answer_at_all() {
        let refused = ProxyError::Connect {
            at: "127.0.0.1:9".into(),
            kind: Some(std::io::ErrorKind::ConnectionRefused),
            source: "os error 111".into(),
        };
        assert_eq!(
            rendered(call_error(refused, &Method::GET)).await,
            r#"500 {"message":"no connection to \"127.0.0.1:9\": connection refused","code":"ECONNREFUSED","method":"get"}"#
        );
        let missing = ProxyError::MissingApiUrl { provider: "x".into() };
        assert!(
            rendered(call_error(missing, &Method::GET))
                .await
                .starts_with(r#"400 {"error":{"code":"missing_api_url""#)
        );
    }

    #[test]
    fn the_providers_cors_does_not_come_through() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "access-control-allow-origin",
            HeaderValue::from_static("https://provider.example"),
        );
        headers.insert("x-ratelimit-remaining", HeaderValue::from_static("9"));
        remove_cors(&mut headers);
        assert_eq!(headers.len(), 1);
    }
}
