//! The HTTP client: pooled connections to checked addresses, HTTP/1.1 and 2, no redirects, no cookies, no decompression, no
//! proxies out of the environment. It sends one request once and says what went wrong. Built on hyper directly, because
//! a client that takes parsed URLs rewrites query strings, and because this is the hot path.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use quick_cache::sync::Cache;
use thread_local::ThreadLocal;
use tokio::net::TcpStream;

use super::base_url::Reach;
use super::body::{Progress, SourceBroke, UpstreamBody};
use super::error::{BoxError, Phase, ProxyError};
use super::url::UpstreamUrl;
use super::{ProxyOptions, Resolve};
use crate::clock::Clock;
use crate::credentials::{ClientIdentity, IdentityHash};
use crate::egress::{EgressPolicy, EgressResolver, IDENTITIES_MAX, ResolveError, tls_config, tls_config_of};

/// Connections kept open to one host by one thread while nobody uses them.
const IDLE_CONNECTIONS_MAX: usize = 128;
/// How long they are kept. Below the usual keep-alive of servers, so that a request rarely meets a closing connection.
const IDLE_CONNECTION_MS: u64 = 50_000;
const TCP_KEEPALIVE_MS: u64 = 60_000;

/// Sends requests. Each thread has pools of its own: an open connection is driven by the tokio runtime that opened it, and
/// handing a request to a connection of another thread, and its answer back, costs two wake-ups.
pub(super) struct HttpClient {
    pools: ThreadLocal<Pools>,
    pub(super) tls: rustls::ClientConfig,
    public: Arc<EgressPolicy>,
    allowed: Arc<EgressPolicy>,
    clock: Clock,
    resolve: Resolve,
    connect_timeout_ms: u64,
    first_byte_timeout_ms: u64,
}

/// One pool for public hosts, one for hosts that must lie within `egress_allow`; and two more for each client that shows a certificate:
/// a connection is that of whose certificate was shown on it.
struct Pools {
    own: Pair,
    identified: Cache<IdentityHash, Pair>,
}

#[derive(Clone)]
struct Pair {
    public: Pool,
    allowed: Pool,
}

#[derive(Clone)]
struct Pool {
    client: Client<TimedConnector, UpstreamBody>,
    policy: Arc<EgressPolicy>,
}

impl HttpClient {
    pub(super) fn new(options: &ProxyOptions, clock: Clock) -> Result<Self, ProxyError> {
        Ok(Self {
            pools: ThreadLocal::new(),
            tls: tls_config().map_err(ProxyError::Setup)?,
            public: Arc::new(EgressPolicy::public(options.egress_allow.clone())),
            allowed: Arc::new(EgressPolicy::only(options.egress_allow.clone())),
            clock,
            resolve: options.resolve.clone(),
            connect_timeout_ms: options.connect_timeout_ms,
            first_byte_timeout_ms: options.first_byte_timeout_ms,
        })
    }

    fn pools(&self) -> Pools {
        Pools {
            own: self.pair(&self.tls),
            identified: Cache::new(IDENTITIES_MAX),
        }
    }

    fn pair(&self, tls: &rustls::ClientConfig) -> Pair {
        Pair {
            public: self.pool(tls, &self.public),
            allowed: self.pool(tls, &self.allowed),
        }
    }

    fn pool(&self, tls: &rustls::ClientConfig, policy: &Arc<EgressPolicy>) -> Pool {
        let resolver = EgressResolver {
            policy: policy.clone(),
            resolve: self.resolve.clone(),
        };
        let connector = TimedConnector::new(tls, resolver, self.connect_timeout_ms, self.clock.clone());
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_millis(IDLE_CONNECTION_MS))
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .timer(TokioTimer::new())
            .build(connector);
        Pool {
            client,
            policy: policy.clone(),
        }
    }

    /// Sends the request and waits for the head of the answer, at most until `deadline_us` of the monotonic clock. The time
    /// to the first byte runs from the last moment the body moved, so that a large upload takes what it takes.
    pub(super) async fn send(
        &self,
        url: &UpstreamUrl,
        reach: Reach,
        identity: Option<ClientIdentity<'_>>,
        request: Request<UpstreamBody>,
        progress: &Progress,
        deadline: Deadline,
    ) -> Result<Response<Incoming>, ProxyError> {
        let pools = self.pools.get_or(|| self.pools());
        let identified;
        let pair = match identity {
            None => &pools.own,
            Some(identity) => {
                identified = pools.identified.get_or_insert_with(&identity.hash(), || {
                    let tls = tls_config_of(&self.tls, identity.certified()?);
                    Ok::<_, ProxyError>(self.pair(&tls))
                })?;
                &identified
            }
        };
        let pool = match reach {
            Reach::Public => &pair.public,
            Reach::AllowedOnly => &pair.allowed,
        };
        if let Some(address) = url.address {
            pool.policy
                .check(url.host(), address)
                .map_err(ProxyError::EgressDenied)?;
        }
        let mut answer = pool.client.request(request);
        loop {
            let seen = progress.count();
            let left_ms = deadline.left_ms(&self.clock);
            let wait = Duration::from_millis(self.first_byte_timeout_ms.min(left_ms));
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map_err(|error| classify(error, url)),
                () = self.clock.sleep(wait) => {
                    let (phase, timeout_ms) = if deadline.left_ms(&self.clock) == 0 {
                        (Phase::Total, deadline.total_ms)
                    } else if progress.count() != seen {
                        continue;
                    } else if progress.is_starved() {
                        (Phase::Upload, self.first_byte_timeout_ms)
                    } else {
                        (Phase::FirstByte, self.first_byte_timeout_ms)
                    };
                    return Err(ProxyError::Timeout { at: url.host_and_port(), phase, timeout_ms });
                }
            }
        }
    }
}

/// When an attempt has to be over, its answer's body included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at_us: u64,
    pub(super) total_ms: u64,
}

impl Deadline {
    pub(super) fn after(clock: &Clock, total_ms: u64) -> Self {
        Self {
            at_us: clock.monotonic_us().saturating_add(total_ms.saturating_mul(1_000)),
            total_ms,
        }
    }

    pub(super) fn left_ms(&self, clock: &Clock) -> u64 {
        self.at_us.saturating_sub(clock.monotonic_us()).div_ceil(1_000)
    }
}

/// Connects (name, TCP, TLS) within a time limit.
#[derive(Clone)]
struct TimedConnector {
    inner: HttpsConnector<HttpConnector<EgressResolver>>,
    timeout_ms: u64,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
#[error("no connection within {timeout_ms} ms")]
struct ConnectTimeout {
    timeout_ms: u64,
}

impl TimedConnector {
    fn new(tls: &rustls::ClientConfig, resolver: EgressResolver, timeout_ms: u64, clock: Clock) -> Self {
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(Duration::from_millis(TCP_KEEPALIVE_MS)));
        // Shared out over the addresses of a name, so that a dead first address leaves time for the second.
        http.set_connect_timeout(Some(Duration::from_millis(timeout_ms)));
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        Self {
            inner,
            timeout_ms,
            clock,
        }
    }
}

impl tower_service::Service<Uri> for TimedConnector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let (clock, timeout_ms) = (self.clock.clone(), self.timeout_ms);
        Box::pin(async move {
            tokio::select! {
                biased;
                connected = connecting => connected,
                () = clock.sleep(Duration::from_millis(timeout_ms)) => Err(Box::new(ConnectTimeout { timeout_ms }) as BoxError),
            }
        })
    }
}

/// What went wrong, out of the causes that the layers below wrapped into each other.
fn classify(error: legacy::Error, url: &UpstreamUrl) -> ProxyError {
    let at = url.host_and_port();
    if let Some(source) = find::<SourceBroke>(&error) {
        return ProxyError::RequestBody(Box::new(io::Error::new(source.0.kind(), source.0.to_string())));
    }
    if find::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse) {
        return ProxyError::InvalidAnswer {
            at,
            source: Box::new(error),
        };
    }
    if !error.is_connect() {
        return ProxyError::Reset {
            at,
            source: Box::new(error),
        };
    }
    match find::<ResolveError>(&error) {
        Some(ResolveError::Denied(denied)) => return ProxyError::EgressDenied(denied.clone()),
        Some(ResolveError::Lookup(_) | ResolveError::Empty) => {
            return ProxyError::Dns {
                host: url.host().to_owned(),
                source: Box::new(error),
            };
        }
        None => {}
    }
    let timed_out = find::<ConnectTimeout>(&error).map(|timeout| timeout.timeout_ms);
    if let Some(timeout_ms) = timed_out {
        return ProxyError::Timeout {
            at,
            phase: Phase::Connect,
            timeout_ms,
        };
    }
    if find::<rustls::Error>(&error).is_some() {
        return ProxyError::Tls {
            at,
            source: Box::new(error),
        };
    }
    ProxyError::Connect {
        at,
        kind: find::<io::Error>(&error).map(io::Error::kind),
        source: Box::new(error),
    }
}

/// Whether the connection was closed in good order before a byte of the answer came. That happens to a request that meets a
/// kept-alive connection at the moment the provider lets go of it.
pub(super) fn closed_unanswered(error: &ProxyError) -> bool {
    let ProxyError::Reset { source, .. } = error else {
        return false;
    };
    find::<hyper::Error>(source.as_ref()).is_some_and(hyper::Error::is_incomplete_message)
}

/// The first cause of type `E`. An `io::Error` hides the error it was made of from the chain of sources.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let hidden = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match hidden {
            Some(hidden) => Some(hidden as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}
