//! The one door to upstreams. Owns the attempt loop; does not know whether a guest or an HTTP client called.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::clock::{Clock, Entropy};
use crate::connections::{Connections, ConnectionsError};
use crate::logs::Logs;
use crate::model::ExecutionContext;

/// Cheap to clone.
#[derive(Clone)]
pub struct Proxy {}

/// What to ask of the provider. Neither provider-config-key nor connection-id: both are in the [`ExecutionContext`].
#[derive(Debug)]
pub struct ProxyRequest {
    pub method: Method,
    /// Path below the base URL with its query string, byte for byte as the caller gave it.
    pub endpoint: String,
    /// Parameters to append to the query, percent-encoded here.
    pub query: Vec<(String, String)>,
    /// The caller's headers for the upstream (prefix removed).
    pub headers: HeaderMap,
    pub body: Body,
    /// Extra attempts after the first.
    pub retries: u32,
    /// Status codes to retry besides the usual ones.
    pub retry_on: Vec<u16>,
    pub base_url_override: Option<String>,
    /// Decode the answer's content encoding.
    pub decompress: bool,
    pub forward_headers_on_redirect: Option<bool>,
}

/// A request body.
#[derive(Debug)]
pub enum Body {
    Empty,
    /// Replayable: can be sent again by a retry.
    Bytes(Bytes),
    /// Can be sent once.
    Stream(ByteStream),
}

/// A body as it comes.
pub struct ByteStream(pub std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send>>);

impl std::fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByteStream")
    }
}

/// The upstream's answer: true status, all headers but the hop-by-hop ones, the body as it comes.
#[derive(Debug)]
pub struct ProxyResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: ByteStream,
}

impl ProxyResponse {
    /// Reads the whole body, up to `body_bytes_max`.
    pub async fn collect(self, _body_bytes_max: usize) -> Result<(StatusCode, HeaderMap, Bytes), ProxyError> {
        todo!()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error("the answer is larger than {body_bytes_max} bytes")]
    ResponseTooLarge { body_bytes_max: usize },
}

impl ProxyError {
    /// Stable code, as REST and functions report it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        todo!()
    }
}

/// Limits and policy; see `config`.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// CIDRs that may be reached although they are private or loopback.
    pub egress_allow: Vec<ipnet::IpNet>,
    pub connect_timeout_ms: u64,
    pub first_byte_timeout_ms: u64,
    pub total_timeout_ms: u64,
    /// Waiting for a provider's 429 whatever `retries` says: at most this often and this long in all.
    pub rate_limit_retries_max: u32,
    pub retry_wait_ms_max: u64,
}

impl Proxy {
    pub fn new(
        _connections: Connections,
        _logs: Logs,
        _clock: Clock,
        _entropy: Entropy,
        _options: ProxyOptions,
    ) -> Result<Self, ProxyError> {
        todo!()
    }
    /// Sends the request for the context's connection: builds, injects, sends, retries, logs each attempt to `ctx.operation_id`.
    pub async fn send(&self, _ctx: &ExecutionContext, _request: ProxyRequest) -> Result<ProxyResponse, ProxyError> {
        todo!()
    }
}
