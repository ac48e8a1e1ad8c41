//! Asks token endpoints. Each request is made once: a refresh token that is used twice may be void. Addresses are checked as
//! those of every other request; redirects are not followed, because secrets would follow them.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use quick_cache::sync::Cache;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::Value;
use url::{Host, form_urlencoded};

use super::RefreshError;
use super::answer::refusal;
use super::request::TokenRequest;
use super::xml;
use crate::credentials::{ClientIdentity, IdentityHash, Secret};
use crate::egress::{
    EgressDenied, EgressPolicy, EgressResolver, IDENTITIES_MAX, ResolveError, tls_config, tls_config_of,
};
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

/// An object that came with a 2xx.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) object: Secret<JsonObject>,
    /// Cookies are among them.
    pub(super) headers: HeaderMap,
}

/// Whatever was answered.
pub(super) struct RawAnswer {
    pub(super) host: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// It may hold secrets.
    pub(super) body: Secret<Vec<u8>>,
}

pub(super) struct TokenClient {
    http: reqwest::Client,
    /// For those who show a certificate: connections are theirs alone.
    identified: Cache<IdentityHash, reqwest::Client>,
    tls: rustls::ClientConfig,
    policy: Arc<EgressPolicy>,
}

impl TokenClient {
    pub(super) fn new(egress_allow: Vec<ipnet::IpNet>) -> Result<Self, SetupError> {
        Self::with_tls(tls_config()?, egress_allow)
    }

    fn with_tls(tls: rustls::ClientConfig, egress_allow: Vec<ipnet::IpNet>) -> Result<Self, SetupError> {
        let policy = Arc::new(EgressPolicy::public(egress_allow));
        Ok(Self {
            http: http_client(tls.clone(), &policy)?,
            identified: Cache::new(IDENTITIES_MAX),
            tls,
            policy,
        })
    }

    /// The client that shows this certificate, or none.
    fn http(&self, identity: Option<ClientIdentity<'_>>) -> Result<reqwest::Client, RefreshError> {
        let Some(identity) = identity else {
            return Ok(self.http.clone());
        };
        self.identified.get_or_insert_with(&identity.hash(), || {
            let tls = tls_config_of(&self.tls, identity.certified()?);
            http_client(tls, &self.policy).map_err(|source| RefreshError::Client(Box::new(source)))
        })
    }

    /// Gives a successful answer that is an object, or a form or XML that says it is that: some older endpoints know nothing else.
    pub(super) async fn send(&self, request: TokenRequest) -> Result<Answer, RefreshError> {
        self.send_as(None, request).await
    }

    /// As [`TokenClient::send`], of a client that shows this certificate.
    pub(super) async fn send_as(
        &self,
        identity: Option<ClientIdentity<'_>>,
        request: TokenRequest,
    ) -> Result<Answer, RefreshError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let (body, headers) = read(self.send_raw_as(identity, request).await?)?;
        let object = match serde_json::from_slice(body.expose()) {
            Ok(Value::Object(object)) => Some(object),
            Ok(_) => None,
            Err(_) if is_form(&headers) => form(body.expose()),
            Err(_) if is_xml(&headers) => xml_object(body.expose()),
            Err(_) => None,
        };
        let object = Secret::new(object.ok_or(RefreshError::NotJson { host })?);
        Ok(Answer { object, headers })
    }

    /// Gives a successful answer that is a form, whatever it calls itself: RFC 5849, section 2.1, whose providers call it text.
    pub(super) async fn send_for_form(&self, request: TokenRequest) -> Result<Secret<JsonObject>, RefreshError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let (body, _) = self.send_for_bytes(request).await?;
        let object = form(body.expose());
        object.map(Secret::new).ok_or(RefreshError::NotForm { host })
    }

    /// Gives a successful answer. It may hold secrets.
    pub(super) async fn send_for_json(&self, request: TokenRequest) -> Result<(Value, HeaderMap), RefreshError> {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let (body, headers) = self.send_for_bytes(request).await?;
        let json = serde_json::from_slice(body.expose());
        Ok((json.map_err(|_| RefreshError::NotJson { host })?, headers))
    }

    async fn send_for_bytes(&self, request: TokenRequest) -> Result<(Secret<Vec<u8>>, HeaderMap), RefreshError> {
        read(self.send_raw(request).await?)
    }

    /// Gives the answer with its status, whatever it is; not one that leads elsewhere.
    pub(super) async fn send_raw(&self, request: TokenRequest) -> Result<RawAnswer, RefreshError> {
        self.send_raw_as(None, request).await
    }

    async fn send_raw_as(
        &self,
        identity: Option<ClientIdentity<'_>>,
        request: TokenRequest,
    ) -> Result<RawAnswer, RefreshError> {
        let http = self.http(identity)?;
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let limits = Limits {
            timeout_ms: TOKEN_TIMEOUT_MS,
            bytes_max: Some(TOKEN_ANSWER_BYTES_MAX),
        };
        let answer = self.fetch_by(&http, request, limits).await;
        let answer = answer.map_err(|error| of_token_endpoint(error, &host))?;
        if answer.status.is_redirection() {
            return Err(RefreshError::Redirect { host });
        }
        Ok(RawAnswer {
            host,
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
        })
    }

    /// Which addresses it connects to.
    pub(super) fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// Gives whatever is answered; redirects are answers. It may hold secrets.
    pub(super) async fn fetch(&self, request: TokenRequest, limits: Limits) -> Result<Fetched, FetchError> {
        self.fetch_by(&self.http, request, limits).await
    }

    async fn fetch_by(
        &self,
        http: &reqwest::Client,
        request: TokenRequest,
        limits: Limits,
    ) -> Result<Fetched, FetchError> {
        let host = request.url.host_str().unwrap_or_default();
        // An address is not resolved, so nobody else would look at it.
        let address = match request.url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(address) = address {
            self.policy.check(host, address).map_err(FetchError::EgressDenied)?;
        }
        let classify = |error| classify(error, limits.timeout_ms);
        let sent = http
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body.expose().clone())
            .timeout(Duration::from_millis(limits.timeout_ms))
            .send()
            .await;
        let mut answer = sent.map_err(classify)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = Vec::new();
        let bytes_max = limits.bytes_max.filter(|_| !status.is_redirection());
        if let Some(bytes_max) = bytes_max {
            while let Some(piece) = answer.chunk().await.map_err(classify)? {
                if body.len() + piece.len() > bytes_max {
                    return Err(FetchError::TooLarge { bytes_max });
                }
                body.extend_from_slice(&piece);
            }
        }
        Ok(Fetched {
            status,
            headers,
            body: Secret::new(body),
        })
    }
}

fn http_client(tls: rustls::ClientConfig, policy: &Arc<EgressPolicy>) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Resolver(EgressResolver {
            policy: policy.clone(),
            resolve: crate::egress::Resolve::system(),
        })))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
        .build()
}

/// Body and headers of a successful answer.
fn read(answer: RawAnswer) -> Result<(Secret<Vec<u8>>, HeaderMap), RefreshError> {
    if answer.status.is_success() {
        return Ok((answer.body, answer.headers));
    }
    let object = match serde_json::from_slice(answer.body.expose()) {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) => None,
        Err(_) if is_xml(&answer.headers) => xml_object(answer.body.expose()),
        Err(_) => form(answer.body.expose()),
    };
    Err(refused(answer.host, answer.status, object.map(Secret::new).as_ref()))
}

/// How long one request may take, and how much of the answer is read; of the body nothing when none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) timeout_ms: u64,
    pub(super) bytes_max: Option<usize>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Secret<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    EgressDenied(EgressDenied),
    #[error("no answer within {timeout_ms} ms")]
    Timeout { timeout_ms: u64 },
    #[error("no answer")]
    Network(#[source] reqwest::Error),
    #[error("the answer is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
}

fn of_token_endpoint(error: FetchError, host: &str) -> RefreshError {
    let host = host.to_owned();
    match error {
        FetchError::EgressDenied(denied) => RefreshError::EgressDenied(denied),
        FetchError::Timeout { timeout_ms } => RefreshError::Timeout { host, timeout_ms },
        FetchError::Network(source) => RefreshError::Network { host, source },
        FetchError::TooLarge { bytes_max } => RefreshError::TooLarge { host, bytes_max },
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    kind(headers) == "application/x-www-form-urlencoded"
}

/// RFC 7303.
fn is_xml(headers: &HeaderMap) -> bool {
    let kind = kind(headers);
    kind == "application/xml" || kind == "text/xml" || kind.ends_with("+xml")
}

/// The media type, in lower case and without parameters.
fn kind(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

fn xml_object(body: &[u8]) -> Option<JsonObject> {
    xml::object(std::str::from_utf8(body).ok()?)
}

/// A form's pairs; none of a text that is no form, such as a page or a sentence.
fn form(body: &[u8]) -> Option<JsonObject> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let is_pair = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        pair.contains('=')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.%".contains(&byte))
    };
    if text.is_empty() || !text.split('&').all(is_pair) {
        return None;
    }
    let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
    Some(pairs.map(|(name, value)| (name, value.into())).collect())
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

fn classify(error: reqwest::Error, timeout_ms: u64) -> FetchError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(ResolveError::Denied(denied)) = found.downcast_ref() {
            return FetchError::EgressDenied(denied.clone());
        }
        cause = found.source();
    }
    if error.is_timeout() {
        return FetchError::Timeout { timeout_ms };
    }
    // Some providers take secrets in the query.
    FetchError::Network(error.without_url())
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

#[cfg(test)]
mod tests;
