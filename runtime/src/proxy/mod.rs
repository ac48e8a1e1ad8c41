//! The one door to upstreams. Owns the attempt loop; does not know whether a guest or an HTTP client called.
//!
//! [`Proxy::send`] gets the target, with credentials refreshed if they are due, then `call` makes attempts: `request` builds
//! (with `base_url`, `url`, `values`, `body_template`, `authorization` and `signing`), `client` sends within the limits of
//! `crate::egress`, `redirect` says where an answer leads, `retry` decides, `rate_limit` has calls wait in line for a
//! connection's limit, `attempt_log` notes what happened, `response` passes the answer on. [`Proxy::fetch`] is another way out, for
//! requests to any public host, which know nothing of credentials.

mod attempt_log;
mod authorization;
mod base_url;
mod body;
mod body_template;
mod call;
mod client;
mod error;
mod fetch;
mod rate_limit;
mod redirect;
mod request;
mod response;
mod retry;
mod signing;
mod url;
mod values;
mod verification;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use crate::clock::{Clock, Entropy};
use crate::connections::{ConnectionsError, RunMasker, Target};
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::model::ExecutionContext;
use crate::oauth::OAuth;
use call::{Call, Renew, Shared};
use client::HttpClient;
use rate_limit::RateLimits;

pub use crate::egress::{EgressDenied, Resolve};
pub use error::{BoxError, Phase, ProxyError};
pub use fetch::FetchRequest;
pub use redirect::REDIRECTS_MAX;
pub use retry::{RETRIES_MAX, RETRY_BODY_BYTES_MAX, RetryHeader};
pub use verification::{VERIFICATION_TIMEOUT_MS, VerificationError};

/// Cheap to clone.
#[derive(Clone)]
pub struct Proxy {
    oauth: OAuth,
    shared: Arc<Shared>,
    /// The same for requests that try credentials, with limits of their own.
    verifying: Arc<Shared>,
}

/// What to ask of the provider. Neither provider-config-key nor connection-id: both are in the [`ExecutionContext`].
#[derive(Debug)]
pub struct ProxyRequest {
    pub method: Method,
    /// Path below the base URL with its query string, byte for byte as the caller gave it.
    pub endpoint: String,
    /// Parameters to append to the query, percent-encoded here.
    pub query: Vec<(String, String)>,
    /// The caller's headers for the upstream (prefix removed). A `content-length` counts for a streamed body only.
    pub headers: HeaderMap,
    pub body: Body,
    /// Extra attempts after the first, at most [`RETRIES_MAX`].
    pub retries: u32,
    /// Status codes to retry besides the usual ones.
    pub retry_on: Vec<u16>,
    /// Response headers that tell how long to wait, before those of the provider's data.
    pub retry_header: RetryHeader,
    /// An empty one counts as none.
    pub base_url_override: Option<String>,
    /// Decode the answer's content encoding.
    pub decompress: bool,
    pub forward_headers_on_redirect: Option<bool>,
    /// All waits of the call together, in the place of [`ProxyOptions::retry_wait_ms_max`].
    pub wait_ms_max: Option<u64>,
    /// What is masked in the log besides the connection's secrets, because the caller knows it and may send it.
    pub masker: Option<RunMasker>,
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

/// Limits and policy; see `config`.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// CIDRs that may be reached although they are private or loopback.
    pub egress_allow: Vec<ipnet::IpNet>,
    /// Hosts that `Base-Url-Override` may name besides the provider's own: `api.example.com`, `.example.com` for all below
    /// it, or `*` for every public host.
    pub override_hosts: Vec<String>,
    /// Looks up the hosts of requests.
    pub resolve: Resolve,
    /// Name, TCP and TLS together.
    pub connect_timeout_ms: u64,
    /// From the last piece of the request sent to the head of the answer.
    pub first_byte_timeout_ms: u64,
    /// Between two pieces of the answer.
    pub idle_timeout_ms: u64,
    /// One attempt from its start to the end of the answer's body, redirects included.
    pub total_timeout_ms: u64,
    /// Waiting for a provider's 429 whatever `retries` says: at most this often.
    pub rate_limit_retries_max: u32,
    /// All waits of one call together: between its attempts and in line for a rate limit.
    pub retry_wait_ms_max: u64,
    /// Requests that wait in line for one rate limit.
    pub rate_limit_queue_max: usize,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            egress_allow: Vec::new(),
            override_hosts: Vec::new(),
            resolve: Resolve::system(),
            connect_timeout_ms: 10_000,
            first_byte_timeout_ms: 60_000,
            idle_timeout_ms: 60_000,
            total_timeout_ms: 600_000,
            rate_limit_retries_max: 3,
            retry_wait_ms_max: 60_000,
            rate_limit_queue_max: 10_000,
        }
    }
}

impl Proxy {
    /// Fails when the machine offers no root certificates.
    pub fn new(
        oauth: OAuth,
        logs: Logs,
        metrics: Metrics,
        clock: Clock,
        entropy: Entropy,
        options: ProxyOptions,
    ) -> Result<Self, ProxyError> {
        let verifying = verification::options(&options);
        let never: Renew = Box::new(|_| Box::pin(async { false }));
        let parts = (logs.clone(), metrics.clone(), clock.clone(), entropy.clone());
        Ok(Self {
            verifying: shared(parts, verifying, never)?,
            shared: shared((logs, metrics, clock, entropy), options, renew(oauth.clone()))?,
            oauth,
        })
    }

    /// Forgets rate limits that were not heard of for some minutes. To be called every few minutes.
    pub fn tick(&self) {
        self.shared.rate_limits.tick();
        self.verifying.rate_limits.tick();
    }

    /// How long the rate limit of the context's connection lets nobody through, in milliseconds; none when it does, or when it is
    /// not known.
    pub async fn held_back_ms(&self, ctx: &ExecutionContext) -> Option<u64> {
        let (key, connection_id) = (&ctx.provider_config_key, &ctx.connection_id);
        let target = self.oauth.target(&ctx.environment_id, key, connection_id).await.ok()?;
        self.held_back_of(&target)
    }

    /// The same of a connection that is at hand.
    #[must_use]
    pub fn held_back_of(&self, target: &Target) -> Option<u64> {
        self.shared.rate_limits.held_back_ms(target)
    }

    /// Sends the request for the context's connection: builds, injects, sends, retries, logs each attempt to `ctx.operation_id`.
    pub async fn send(&self, ctx: &ExecutionContext, request: ProxyRequest) -> Result<ProxyResponse, ProxyError> {
        let outcome = self.attempts(ctx, request).await;
        self.shared.metrics.proxy_request(match &outcome {
            Ok(response) => Ok(response.status),
            Err(error) => Err(error.code()),
        });
        outcome
    }

    /// The context's connection, with credentials that were refreshed if they are due.
    ///
    /// # Errors
    /// When it is unknown, or there are no credentials that work.
    pub async fn target(&self, ctx: &ExecutionContext) -> Result<Arc<Target>, ProxyError> {
        let (key, connection_id) = (&ctx.provider_config_key, &ctx.connection_id);
        let target = self.oauth.target(&ctx.environment_id, key, connection_id).await?;
        if ctx.means(&target.connection.key) {
            Ok(target)
        } else {
            Err(gone(ctx).into())
        }
    }

    async fn attempts(&self, ctx: &ExecutionContext, request: ProxyRequest) -> Result<ProxyResponse, ProxyError> {
        // RFC 9110, 9.3.8: a TRACE carries no credentials, since it is answered with what was sent.
        if matches!(request.method, Method::TRACE | Method::CONNECT) {
            return Err(ProxyError::MethodNotAllowed { method: request.method });
        }
        let mut call = Call::new(&self.shared, ctx, request);
        loop {
            let target = self.target(ctx).await?;
            if let Some(outcome) = call.attempt(&target).await {
                return outcome;
            }
        }
    }
}

/// Of a run whose connection was deleted, though another one has its name.
fn gone(ctx: &ExecutionContext) -> ConnectionsError {
    ConnectionsError::UnknownConnection {
        provider_config_key: ctx.provider_config_key.as_ref().to_owned(),
        connection_id: ctx.connection_id.as_ref().to_owned(),
    }
}

fn shared(
    (logs, metrics, clock, entropy): (Logs, Metrics, Clock, Entropy),
    options: ProxyOptions,
    renew: Renew,
) -> Result<Arc<Shared>, ProxyError> {
    Ok(Arc::new(Shared {
        client: HttpClient::new(&options, clock.clone())?,
        rate_limits: RateLimits::new(clock.clone(), &options, metrics.clone()),
        metrics,
        clock,
        entropy,
        options,
        log: Box::new(move |note| logs.message_later(note.bytes(), move || note.message())),
        renew,
    }))
}

fn renew(oauth: OAuth) -> Renew {
    Box::new(move |rejected| {
        let oauth = oauth.clone();
        Box::pin(async move { oauth.renew(&rejected).await })
    })
}
