//! `ANY /proxy/*`: one authenticated request to the provider of a connection. The path and query behind `/proxy` go on byte for byte,
//! bodies stream both ways, and the answer keeps its true status and headers. How the request is built, sent and retried is not
//! decided here.

use axum::body::Body as HttpBody;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use http_body::Body as _;

use super::auth::Key;
use super::body;
use super::error::{ApiError, ErrorEnvelope, NetworkFailure};
use super::fault::Fault;
use super::target::TargetHeaders;
use crate::proxy::{Body, ByteStream, ProxyError, ProxyRequest, RetryHeader};
use crate::runtime::Runtime;

/// Bodies up to this size are read before they are sent, so that a retry can send them again. Larger ones stream and are sent once.
pub const REPLAYABLE_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Attempts a caller may ask for after the first; larger numbers count as this one.
pub const RETRIES_MAX: u32 = 10;

const FORWARD_PREFIX: &str = "nango-proxy-";

/// What the caller's headers ask for.
#[derive(Debug)]
struct CallHeaders<'a> {
    target: TargetHeaders<'a>,
    retries: u32,
    retry_on: Vec<u16>,
    retry_header: RetryHeader,
    base_url_override: Option<String>,
    decompress: bool,
    forward_headers_on_redirect: Option<bool>,
    forwarded: HeaderMap,
}

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
        ("Decompress" = Option<bool>, Header, description = "Decode the answer's content encoding"),
        ("Forward-Headers-On-Redirect" = Option<bool>, Header),
    ),
    responses(
        (status = "default", description = "The provider's answer: its status, its headers, its body"),
        (status = 400, body = ErrorEnvelope),
        (status = 404, body = ErrorEnvelope),
        (status = 429, body = ErrorEnvelope, description = "`rate_limited`, `rate_limit_queue_full`: not sent, because the provider's rate limit would have it wait too long; `Retry-After` says how long"),
        (status = 500, description = "No answer came", body = NetworkFailure),
    ),
)]
pub async fn call(State(runtime): State<Runtime>, Key(caller): Key, request: Request) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let endpoint = endpoint(&parts.uri);
    let content_type = parts.headers.remove(header::CONTENT_TYPE);
    let mut call = CallHeaders::parse(&parts.headers)?;
    let body = request_body(body).await?;
    if let Some(content_type) = content_type
        && !matches!(body, Body::Empty)
    {
        call.forwarded.entry(header::CONTENT_TYPE).or_insert(content_type);
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
    };
    let answer = runtime
        .proxy(&caller.environment.id, provider_config_key, connection_id, request)
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

/// Whether the caller reads content encodings itself. For one who does not say so, an answer is decoded here: some upstreams
/// compress unasked.
fn accepts_encodings(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .any(|value| value != "identity")
}

impl<'a> CallHeaders<'a> {
    fn parse(headers: &'a HeaderMap) -> Result<Self, ApiError> {
        let mut faults = Vec::new();
        let call = Self {
            target: TargetHeaders::parse_into(headers, &mut faults),
            retries: retries(headers, &mut faults),
            retry_on: retry_on(headers, &mut faults),
            retry_header: RetryHeader {
                at: header_names(headers, "retry-header-at", &mut faults),
                after: header_names(headers, "retry-header-after", &mut faults),
            },
            base_url_override: base_url_override(headers, &mut faults),
            decompress: boolean(headers, "decompress", &mut faults).unwrap_or(false) || !accepts_encodings(headers),
            forward_headers_on_redirect: boolean(headers, "forward-headers-on-redirect", &mut faults),
            forwarded: forwarded(headers),
        };
        if faults.is_empty() {
            Ok(call)
        } else {
            Err(ApiError::faults("invalid_headers", faults))
        }
    }
}

/// The text of a header; empty when it is absent, empty or not text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .trim()
}

fn retries(headers: &HeaderMap, faults: &mut Vec<Fault>) -> u32 {
    let number = text(headers, "retries");
    if number.is_empty() {
        return 0;
    }
    match number.parse() {
        Ok(retries) => RETRIES_MAX.min(retries),
        Err(_) => {
            let message = format!("Invalid input: expected a number from 0 to {RETRIES_MAX}, received {number:?}");
            faults.push(Fault::new("invalid_type", message, "retries"));
            0
        }
    }
}

fn retry_on(headers: &HeaderMap, faults: &mut Vec<Fault>) -> Vec<u16> {
    let codes = text(headers, "retry-on");
    if codes.is_empty() {
        return Vec::new();
    }
    let parsed: Result<Vec<u16>, _> = codes.split(',').map(str::parse).collect();
    parsed.unwrap_or_else(|_| {
        let message = "Invalid input: expected status codes with commas between, like 404,409";
        faults.push(Fault::new("invalid_format", message, "retry-on"));
        Vec::new()
    })
}

fn header_names(headers: &HeaderMap, name: &'static str, faults: &mut Vec<Fault>) -> Vec<HeaderName> {
    let names = text(headers, name)
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let parsed: Result<Vec<HeaderName>, _> = names.map(|name| HeaderName::from_bytes(name.as_bytes())).collect();
    parsed.unwrap_or_else(|_| {
        let message = "Invalid input: expected names of headers with commas between, like x-ratelimit-reset";
        faults.push(Fault::new("invalid_format", message, name));
        Vec::new()
    })
}

/// The Node client sends an empty one when there is none.
fn base_url_override(headers: &HeaderMap, faults: &mut Vec<Fault>) -> Option<String> {
    let url = text(headers, "base-url-override");
    if url.is_empty() {
        return None;
    }
    let is_http = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_http {
        let message = "Invalid input: expected a URL that begins with http:// or https://";
        faults.push(Fault::new("invalid_union", message, "base-url-override"));
    }
    Some(url.to_owned())
}

fn boolean(headers: &HeaderMap, name: &'static str, faults: &mut Vec<Fault>) -> Option<bool> {
    match text(headers, name) {
        "" => None,
        "true" => Some(true),
        "false" => Some(false),
        _ => {
            faults.push(Fault::new(
                "invalid_value",
                "Invalid input: expected \"true\" or \"false\"",
                name,
            ));
            None
        }
    }
}

/// The caller's headers for the provider: those with our prefix, without it. Of equal names the last one counts.
fn forwarded(headers: &HeaderMap) -> HeaderMap<HeaderValue> {
    let mut forwarded = HeaderMap::new();
    for (name, value) in headers {
        if let Some(bare) = name.as_str().strip_prefix(FORWARD_PREFIX)
            && let Ok(bare) = HeaderName::from_bytes(bare.as_bytes())
        {
            forwarded.insert(bare, value.clone());
        }
    }
    forwarded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("provider-config-key", "github"), ("connection-id", "c1")]
            .iter()
            .chain(pairs)
        {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

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

    #[test]
    fn what_the_node_client_sends() {
        let headers = headers(&[
            ("accept-encoding", "gzip, compress, deflate, br"),
            ("base-url-override", ""),
            ("nango-activity-log-id", ""),
            ("nango-proxy-x-custom", "v"),
        ]);
        let call = CallHeaders::parse(&headers).unwrap();
        assert_eq!(
            call.target,
            TargetHeaders {
                provider_config_key: "github",
                connection_id: "c1"
            }
        );
        assert_eq!((call.retries, call.retry_on, call.base_url_override), (0, vec![], None));
        assert_eq!((call.decompress, call.forward_headers_on_redirect), (false, None));
        assert_eq!(call.forwarded.len(), 1);
        assert_eq!(call.forwarded["x-custom"], "v");
    }

    #[test]
    fn every_option() {
        let headers = headers(&[
            ("retries", "99"),
            ("retry-on", "404,409"),
            ("retry-header-at", "X-Reset, x-other"),
            ("retry-header-after", "x-wait"),
            ("base-url-override", "https://eu.example.com/v2"),
            ("decompress", "true"),
            ("forward-headers-on-redirect", "false"),
            ("nango-proxy-a", "first"),
            ("nango-proxy-a", "last"),
            ("nango-proxy-b", ""),
            ("nango-proxy-", "nameless"),
        ]);
        let call = CallHeaders::parse(&headers).unwrap();
        assert_eq!(call.retries, RETRIES_MAX);
        assert_eq!(call.retry_on, [404, 409]);
        assert_eq!(call.retry_header.at, ["x-reset", "x-other"]);
        assert_eq!(call.retry_header.after, ["x-wait"]);
        assert_eq!(call.base_url_override.as_deref(), Some("https://eu.example.com/v2"));
        assert_eq!((call.decompress, call.forward_headers_on_redirect), (true, Some(false)));
        assert_eq!(call.forwarded["a"], "last");
        assert_eq!(call.forwarded["b"], "");
        assert_eq!(call.forwarded.len(), 2);
    }

    #[tokio::test]
    async fn all_faults_at_once() {
        let mut headers = headers(&[
            ("retries", "-1"),
            ("retry-on", "404,x"),
            ("retry-header-at", "no name"),
            ("base-url-override", "not a url"),
            ("decompress", "yes"),
        ]);
        headers.remove("connection-id");
        assert_eq!(
            rendered(CallHeaders::parse(&headers).unwrap_err()).await,
            concat!(
                r#"400 {"error":{"code":"invalid_headers","errors":["#,
                r#"{"code":"invalid_type","message":"Invalid input: expected string, received undefined","path":["connection-id"]},"#,
                r#"{"code":"invalid_type","message":"Invalid input: expected a number from 0 to 10, received \"-1\"","path":["retries"]},"#,
                r#"{"code":"invalid_format","message":"Invalid input: expected status codes with commas between, like 404,409","path":["retry-on"]},"#,
                r#"{"code":"invalid_format","message":"Invalid input: expected names of headers with commas between, like x-ratelimit-reset","path":["retry-header-at"]},"#,
                r#"{"code":"invalid_union","message":"Invalid input: expected a URL that begins with http:// or https://","path":["base-url-override"]},"#,
                r#"{"code":"invalid_value","message":"Invalid input: expected \"true\" or \"false\"","path":["decompress"]}]}}"#
            )
        );
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
            host: "127.0.0.1".into(),
            kind: Some(std::io::ErrorKind::ConnectionRefused),
            source: "os error 111".into(),
        };
        assert_eq!(
            rendered(call_error(refused, &Method::GET)).await,
            r#"500 {"message":"no connection to \"127.0.0.1\": connection refused","code":"ECONNREFUSED","method":"get"}"#
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
