//! Asks token endpoints. Each request is made once: a refresh token that is used twice may be void. Addresses are checked as
//! those of every other request; redirects are not followed, because secrets would follow them.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::Value;
use url::Host;

use super::RefreshError;
use super::answer::refusal;
use super::request::TokenRequest;
use crate::credentials::Secret;
use crate::egress::{EgressPolicy, EgressResolver, ResolveError, tls_config};
use crate::model::JsonObject;

/// From the first attempt to connect to the last byte of the answer. Much shorter than a lease.
pub const TOKEN_TIMEOUT_MS: u64 = 20_000;
const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// The body of an answer.
pub const TOKEN_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The HTTP client of refreshes cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("TLS for token endpoints cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("the HTTP client for token endpoints cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// A JSON object that came with a 2xx.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) object: Secret<JsonObject>,
    /// Cookies are among them.
    pub(super) headers: HeaderMap,
}

pub(super) struct TokenClient {
    http: reqwest::Client,
    policy: Arc<EgressPolicy>,
}

impl TokenClient {
    pub(super) fn new(egress_allow: Vec<ipnet::IpNet>) -> Result<Self, SetupError> {
        let policy = Arc::new(EgressPolicy::public(egress_allow));
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_config()?)
            .dns_resolver(Arc::new(Resolver(EgressResolver {
                policy: policy.clone(),
                resolve: crate::egress::Resolve::system(),
            })))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
            .timeout(Duration::from_millis(TOKEN_TIMEOUT_MS))
            .build()?;
        Ok(Self { http, policy })
    }

    /// Gives a successful answer that is an object.
    pub(super) async fn send(&self, request: TokenRequest) -> Result<Answer, RefreshError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        match self.send_for_json(request).await? {
            (Value::Object(object), headers) => Ok(Answer {
                object: Secret::new(object),
                headers,
            }),
            _ => Err(RefreshError::NotJson { host }),
        }
    }

    /// Gives a successful answer. It may hold secrets.
    pub(super) async fn send_for_json(&self, request: TokenRequest) -> Result<(Value, HeaderMap), RefreshError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let (status, headers, body) = self.send_once(request).await?;
        let json = serde_json::from_slice(body.expose()).ok();
        if status.is_success() {
            let json = json.ok_or(RefreshError::NotJson { host })?;
            return Ok((json, headers));
        }
        let object = match json {
            Some(Value::Object(object)) => Some(Secret::new(object)),
            Some(_) | None => None,
        };
        Err(refused(host, status, object.as_ref()))
    }

    /// Gives whatever is answered, but no redirect. It may hold secrets.
    pub(super) async fn send_once(
        &self,
        request: TokenRequest,
    ) -> Result<(StatusCode, HeaderMap, Secret<Vec<u8>>), RefreshError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        // An address is not resolved, so nobody else would look at it.
        let address = match request.url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(address) = address {
            self.policy.check(&host, address).map_err(RefreshError::EgressDenied)?;
        }
        let sent = self
            .http
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body.expose().clone())
            .send()
            .await;
        let mut answer = sent.map_err(|error| classify(error, &host))?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(RefreshError::Redirect { host });
        }
        let headers = answer.headers().clone();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| classify(error, &host))? {
            if body.len() + piece.len() > TOKEN_ANSWER_BYTES_MAX {
                return Err(RefreshError::TooLarge {
                    host,
                    bytes_max: TOKEN_ANSWER_BYTES_MAX,
                });
            }
            body.extend_from_slice(&piece);
        }
        Ok((status, headers, Secret::new(body)))
    }
}

pub(super) fn refused(host: String, status: StatusCode, object: Option<&Secret<JsonObject>>) -> RefreshError {
    let (error, description) = match object.map(|object| refusal(object.expose())) {
        Some(RefreshError::NoToken { error, description }) => (error, description),
        Some(_) | None => (None, None),
    };
    RefreshError::Status {
        host,
        status: status.as_u16(),
        error,
        description,
    }
}

fn classify(error: reqwest::Error, host: &str) -> RefreshError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(ResolveError::Denied(denied)) = found.downcast_ref() {
            return RefreshError::EgressDenied(denied.clone());
        }
        cause = found.source();
    }
    if error.is_timeout() {
        return RefreshError::Timeout {
            host: host.to_owned(),
            timeout_ms: TOKEN_TIMEOUT_MS,
        };
    }
    RefreshError::Network {
        host: host.to_owned(),
        // Some providers take secrets in the query.
        source: error.without_url(),
    }
}

/// Gives reqwest only the addresses that the policy permits.
struct Resolver(EgressResolver);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let looking_up = self.0.addresses(name.as_str());
        Box::pin(async move {
            let addresses: Addrs = Box::new(looking_up.await?);
            Ok(addresses)
        })
    }
}
