//! The client commands' way to a running server: its address, the API key, requests, and answers or errors made for
//! people. Knows nothing of single routes.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use url::Url;

use crate::clock::Clock;
use crate::credentials::Secret;

pub const HOSTPORT_DEFAULT: &str = "http://127.0.0.1:3003";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries to reach a server that was there before.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Longest silence while waiting for an answer: longer than any action may run by default.
const READ_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes of an answer that a command reads at once; answers of `proxy` are streamed.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Error codes with which the server itself refuses an API key.
const KEY_REFUSALS: [&str; 4] = [
    "missing_auth_header",
    "malformed_auth_header",
    "invalid_secret_key_format",
    "unknown_account",
];
/// Characters of an answer that is no JSON shown in an error.
const EXCERPT_CHARS_MAX: usize = 200;

/// Why a command got no answer it can use.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("NANGO_HOSTPORT is {value:?}, which is no URL such as {HOSTPORT_DEFAULT}")]
    BadHostport { value: String },
    #[error(
        "NANGO_HOSTPORT has more than scheme, host, port and path; it is a URL such as {HOSTPORT_DEFAULT}, and the API key goes into \
         NANGO_SECRET_KEY"
    )]
    TooMuchInHostport,
    #[error(
        "no API key: set NANGO_SECRET_KEY to the key that `nango-runtime serve` printed on its first start (or was given)"
    )]
    NoKey,
    #[error("NANGO_SECRET_KEY holds characters that no API key has")]
    BadKey,
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
    #[error("{name:?} is no valid header")]
    BadHeader { name: String },
    #[error("no server answers at {base}\nhint: start one with `nango-runtime serve`, or set NANGO_HOSTPORT")]
    Unreachable {
        base: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the server at {base} broke off")]
    Interrupted {
        base: String,
        #[source]
        source: reqwest::Error,
    },
    #[error(
        "the server at {base} refuses the API key: {message} ({code})\nhint: NANGO_SECRET_KEY must hold the key that `nango-runtime serve` printed on its first start (or was given)"
    )]
    Unauthorized {
        base: String,
        code: String,
        message: String,
    },
    #[error("{message} ({code}, status {status})")]
    Refused {
        status: StatusCode,
        code: String,
        message: String,
        /// The answer, for `--json`.
        answer: Value,
    },
    #[error(
        "the server at {base} answered {status} with something that is not its JSON: {excerpt:?}\nhint: is NANGO_HOSTPORT the address of a nango-runtime?"
    )]
    NotOurs {
        base: String,
        status: StatusCode,
        excerpt: String,
    },
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes; ask for less, for example with --limit")]
    TooLarge,
}

impl ClientError {
    /// Whether the same request may be answered later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => true,
            Self::Refused { status, .. } => status.is_server_error(),
            _ => false,
        }
    }
}

/// A server and the key to use it with.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: Secret<String>,
}

impl Client {
    /// `key` none is an error here, before anything is sent.
    pub fn new(hostport: &str, key: Option<String>) -> Result<Self, ClientError> {
        // A value that may hold a secret, before an @ or behind a question mark, is not repeated.
        if hostport.contains(['@', '?', '#']) {
            return Err(ClientError::TooMuchInHostport);
        }
        let bad = || ClientError::BadHostport {
            value: hostport.to_owned(),
        };
        let base: Url = hostport.parse().map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(bad());
        }
        let key = key.filter(|key| !key.is_empty()).ok_or(ClientError::NoKey)?;
        // Needed once a process; a second installation is refused and harmless.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("nango-runtime/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(ClientError::Setup)?;
        Ok(Self {
            http,
            base,
            key: Secret::new(key),
        })
    }

    /// A request to the path made of `segments`, each of which is percent-encoded.
    pub fn request(&self, method: Method, segments: &[&str]) -> Request<'_> {
        let mut url = self.base.clone();
        // An http(s) URL always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        Request {
            client: self,
            inner: reqwest::Request::new(method, url),
        }
    }

    /// A request to `/proxy/…`: `path` is sent byte for byte, query string included.
    pub fn proxy_request(&self, method: Method, path: &str) -> Result<Request<'_>, ClientError> {
        let base = self.base.as_str().trim_end_matches('/');
        let text = format!("{base}/proxy/{}", path.trim_start_matches('/'));
        let url = text
            .parse()
            .map_err(|_| ClientError::BadHostport { value: base.to_owned() })?;
        Ok(Request {
            client: self,
            inner: reqwest::Request::new(method, url),
        })
    }

    /// The error that the body of a 401 means, when it is the server's own and not one that a provider gave.
    #[must_use]
    pub fn key_refusal(&self, body: &[u8]) -> Option<ClientError> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let code = answer.pointer("/error/code")?.as_str()?;
        KEY_REFUSALS
            .contains(&code)
            .then(|| refusal(self.base(), StatusCode::UNAUTHORIZED, answer.clone()))
    }

    /// For messages: also with the port that goes without saying, since a forgotten one is why nobody answers.
    fn base(&self) -> String {
        let base = &self.base;
        let port = base.port_or_known_default().unwrap_or_default();
        let host = base.host_str().unwrap_or_default();
        let path = base.path().trim_end_matches('/');
        format!("{}://{host}:{port}{path}", base.scheme())
    }
}

/// A request being put together.
pub struct Request<'a> {
    client: &'a Client,
    inner: reqwest::Request,
}

impl Request<'_> {
    /// Adds a query parameter when there is a value.
    #[must_use]
    pub fn query(mut self, name: &str, value: Option<impl std::fmt::Display>) -> Self {
        if let Some(value) = value {
            self.inner
                .url_mut()
                .query_pairs_mut()
                .append_pair(name, &value.to_string());
        }
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::BadHeader { name: name.to_owned() };
        let header_name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let header_value = HeaderValue::from_str(value).map_err(|_| bad())?;
        self.inner.headers_mut().append(header_name, header_value);
        Ok(self)
    }

    /// For which connection: the two headers of the public API.
    pub fn target(self, integration: &str, connection: &str) -> Result<Self, ClientError> {
        self.header("provider-config-key", integration)?
            .header("connection-id", connection)
    }

    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body(
            body.to_string().into_bytes(),
            HeaderValue::from_static("application/json"),
        )
    }

    #[must_use]
    pub fn body(mut self, body: Vec<u8>, content_type: HeaderValue) -> Self {
        let headers = self.inner.headers_mut();
        headers.entry(header::CONTENT_TYPE).or_insert(content_type);
        *self.inner.body_mut() = Some(body.into());
        self
    }

    /// The answer, whatever its status.
    pub async fn send(mut self) -> Result<reqwest::Response, ClientError> {
        let bearer = format!("Bearer {}", self.client.key.expose());
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| ClientError::BadKey)?;
        bearer.set_sensitive(true);
        self.inner.headers_mut().insert(header::AUTHORIZATION, bearer);
        let base = self.client.base();
        self.client.http.execute(self.inner).await.map_err(|source| {
            let source = source.without_url();
            if source.is_connect() {
                ClientError::Unreachable { base, source }
            } else {
                ClientError::Interrupted { base, source }
            }
        })
    }

    /// The JSON of an answer with a status of success; null when it has no body.
    pub async fn answer(self) -> Result<Value, ClientError> {
        let base = self.client.base();
        let response = self.send().await?;
        let status = response.status();
        let body = read(response, &base).await?;
        if body.is_empty() && status.is_success() {
            return Ok(Value::Null);
        }
        let Ok(answer) = serde_json::from_slice::<Value>(&body) else {
            let excerpt = String::from_utf8_lossy(&body).chars().take(EXCERPT_CHARS_MAX).collect();
            return Err(ClientError::NotOurs { base, status, excerpt });
        };
        if status.is_success() {
            Ok(answer)
        } else {
            Err(refusal(base, status, answer))
        }
    }
}

/// The answer of a server that was there before: waits while it is away, or fails, as when it has no database.
pub async fn patiently<'c>(clock: &Clock, request: impl Fn() -> Request<'c>) -> Result<Value, ClientError> {
    let mut is_told = false;
    loop {
        let error = match request().answer().await {
            Err(error) if error.may_pass() => error,
            answer => {
                if is_told {
                    eprintln!("the server answers again");
                }
                return answer;
            }
        };
        if !is_told {
            let told = error.to_string();
            let told = told.lines().next().unwrap_or_default();
            eprintln!("{told}; waiting for it to come back (Ctrl-C ends)");
            is_told = true;
        }
        clock.sleep(RETRY_INTERVAL).await;
    }
}

async fn read(mut response: reqwest::Response, base: &str) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    let interrupted = |source: reqwest::Error| ClientError::Interrupted {
        base: base.to_owned(),
        source: source.without_url(),
    };
    while let Some(chunk) = response.chunk().await.map_err(interrupted)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ClientError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether the payload is nothing but words that `message` holds already.
fn repeats(payload: &Value, message: &str) -> bool {
    match payload {
        Value::Array(items) => items.iter().all(|item| repeats(item, message)),
        Value::Object(fields) => fields.values().all(|value| repeats(value, message)),
        Value::String(text) => message.contains(text.as_str()),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// An error of the public API: `{"error": {"code", "message", "errors": [{"message", "path"}], "payload"}}`.
fn refusal(base: String, status: StatusCode, answer: Value) -> ClientError {
    let text = |pointer| answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let code = text("/error/code").unwrap_or_else(|| "unknown_error".to_owned());
    let mut message = text("/error/message").unwrap_or_default();
    let faults: Vec<String> = super::output::list_at(&answer, "/error/errors")
        .iter()
        .map(fault)
        .collect();
    let payload = answer
        .pointer("/error/payload")
        .filter(|payload| !is_empty(payload) && !repeats(payload, &message));
    for more in faults.into_iter().chain(payload.map(Value::to_string)) {
        if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(&more);
    }
    if message.is_empty() {
        message = status.canonical_reason().unwrap_or("refused").to_owned();
    }
    match status {
        StatusCode::UNAUTHORIZED => ClientError::Unauthorized { base, code, message },
        _ => ClientError::Refused {
            status,
            code,
            message,
            answer,
        },
    }
}

/// One of several faults of a request, after the path of the field it is about.
fn fault(fault: &Value) -> String {
    let path: Vec<String> = super::output::list_at(fault, "/path")
        .iter()
        .map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned))
        .collect();
    let message = super::output::text_at(fault, "/message");
    if path.is_empty() {
        message
    } else {
        format!("{}: {message}", path.join("."))
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "4bd5efca-1c2a-4b8e-9a53-a1b0d8c9f6e7";

    fn client(hostport: &str) -> Result<Client, ClientError> {
        Client::new(hostport, Some(KEY.to_owned()))
    }

    #[test]
    fn addresses_are_checked() {
        for bad in ["127.0.0.1:3003", "localhost", "ftp://x", ""] {
            assert!(matches!(client(bad), Err(ClientError::BadHostport { .. })), "{bad}");
        }
        assert!(matches!(Client::new(HOSTPORT_DEFAULT, None), Err(ClientError::NoKey)));
        assert!(matches!(
            Client::new(HOSTPORT_DEFAULT, Some(String::new())),
            Err(ClientError::NoKey)
        ));
    }

    #[test]
    fn messages_name_host_and_port_and_no_secret() {
        for (hostport, expected) in [
            (HOSTPORT_DEFAULT, "http://127.0.0.1:3003"),
            ("http://localhost", "http://localhost:80"),
            ("https://nango.example.com/base/", "https://nango.example.com:443/base"),
            ("http://[::1]:1/", "http://[::1]:1"),
        ] {
            assert_eq!(client(hostport).unwrap().base(), expected);
        }
        for bad in [
            "http://me:s3cret@localhost:3003",
            "me:s3cret@localhost",
            "http://localhost?key=s3cret",
            "http://localhost/#s3cret",
        ] {
            let error = client(bad).err().unwrap();
            assert!(matches!(error, ClientError::TooMuchInHostport), "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn paths_and_queries_are_encoded() {
        let client = client("http://host:1/base/").unwrap();
        let request = client
            .request(Method::GET, &["integrations", "a/b c"])
            .query("x", Some("1&2"))
            .query("y", None::<u8>);
        assert_eq!(
            request.inner.url().as_str(),
            "http://host:1/base/integrations/a%2Fb%20c?x=1%262"
        );
        let request = client.proxy_request(Method::GET, "/search?q=a%2Fb").unwrap();
        assert_eq!(request.inner.url().as_str(), "http://host:1/base/proxy/search?q=a%2Fb");
    }

    #[test]
    fn the_servers_own_401_is_told_from_a_providers() {
        let client = client(HOSTPORT_DEFAULT).unwrap();
        let check =
            |body: &str, expected| assert_eq!(client.key_refusal(body.as_bytes()).is_some(), expected, "{body}");
        check(r#"{"error": {"code": "unknown_account", "message": "No"}}"#, true);
        check(r#"{"error": {"code": "bad_credentials"}}"#, false);
        check(r#"{"message": "Bad credentials"}"#, false);
        check("Unauthorized", false);
    }

    #[test]
    fn refusals_tell_all_the_server_said() {
        let check = |status: u16, answer: Value, expected: &str| {
            let error = refusal("http://h".into(), StatusCode::from_u16(status).unwrap(), answer);
            assert_eq!(error.to_string().lines().next().unwrap(), expected);
        };
        check(
            404,
            json!({"error": {"code": "not_found", "message": "Action not found"}}),
            "Action not found (not_found, status 404 Not Found)",
        );
        check(
            400,
            json!({"error": {"code": "invalid_body", "errors": [{"message": "Invalid provider", "path": ["provider"]}]}}),
            "provider: Invalid provider (invalid_body, status 400 Bad Request)",
        );
        check(
            500,
            json!({"error": {"code": "action_script_runtime_error", "message": "It failed", "payload": {"code": 42}}}),
            "It failed; {\"code\":42} (action_script_runtime_error, status 500 Internal Server Error)",
        );
        check(
            409,
            json!({"error": {"code": "destructive_change", "message": "It would lose b 1; say so", "payload": ["b 1"]}}),
            "It would lose b 1; say so (destructive_change, status 409 Conflict)",
        );
        check(502, json!({}), "Bad Gateway (unknown_error, status 502 Bad Gateway)");
        check(
            401,
            json!({"error": {"code": "unknown_account", "message": "No such key", "payload": {}}}),
            "the server at http://h refuses the API key: No such key (unknown_account)",
        );
    }
}
