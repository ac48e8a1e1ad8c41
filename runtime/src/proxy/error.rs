//! Why a request has no answer, with the codes that callers match on. Messages name hosts, settings and keys, never a value
//! that came from credentials.

use std::error::Error;
use std::io;

use crate::connections::ConnectionsError;
use crate::credentials::IdentityError;
use crate::egress::EgressDenied;
use crate::oauth::{NoCredentials, OAuthError};
use crate::provider::template::TemplateError;
use crate::signing::rsa_sha1::RsaSha1Error;

/// An error of a library, kept as the source.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What a time limit was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connect,
    /// The caller's body, not the provider.
    Upload,
    FirstByte,
    Total,
}

impl Phase {
    fn describe(self) -> &'static str {
        match self {
            Self::Connect => "did not accept a connection",
            Self::Upload => "was sent nothing more of the request's body by the caller",
            Self::FirstByte => "did not begin to answer",
            Self::Total => "did not finish its answer",
        }
    }
}

/// Why there is no answer. `at` is a host with its port.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error("the connection {connection_id:?} of the integration {provider_config_key:?} cannot be used: {reason}")]
    NoCredentials {
        provider_config_key: String,
        connection_id: String,
        reason: NoCredentials,
    },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the provider {provider:?} has no base URL; give one with `Base-Url-Override` or in the integration")]
    MissingApiUrl { provider: String },
    #[error("connections of the provider {provider:?} cannot be used yet: its auth mode is not supported")]
    UnsupportedAuth { provider: String },
    #[error(
        "`{name}` has no value, and {place} of the provider {provider:?} needs it; set it on the connection \
         {connection_id:?} (or its integration)"
    )]
    MissingValue {
        provider: String,
        connection_id: String,
        place: String,
        name: String,
    },
    #[error("{place} of the provider {provider:?} cannot be built")]
    Template {
        provider: String,
        place: String,
        #[source]
        source: TemplateError,
    },
    #[error("{place} of the provider {provider:?} cannot be built for the connection {connection_id:?}: {source}")]
    UnusableValue {
        provider: String,
        connection_id: String,
        place: String,
        #[source]
        source: TemplateError,
    },
    #[error(
        "requests to the provider {provider:?} are signed with an OAuth client, and the integration {provider_config_key:?} \
         has none; give it `credentials` with `client_id` and `client_secret`"
    )]
    MissingClient {
        provider: String,
        provider_config_key: String,
    },
    #[error("requests of the integration {provider_config_key:?} cannot be signed: {source}")]
    Signature {
        provider_config_key: String,
        source: RsaSha1Error,
    },
    #[error(
        "the provider {provider:?} needs the whole body to sign or complete it, and this one is not held in memory; send at \
         most 1 MiB, with a `Content-Length`"
    )]
    BodyNeeded { provider: String },
    #[error("{place} is no usable URL: {reason}")]
    InvalidUrl { place: &'static str, reason: &'static str },
    #[error("the value for the header {name:?} holds characters that a header cannot carry")]
    InvalidHeader { name: String },
    #[error("{method} requests are not passed on: a provider would answer with the credentials, or open a tunnel")]
    MethodNotAllowed { method: http::Method },
    #[error(transparent)]
    EgressDenied(EgressDenied),
    #[error(
        "`Base-Url-Override` may not name {host:?}: it is no host of the provider {provider:?}; to allow it, set \
         `override_hosts = [\"{host}\"]` in the config file, or, if its addresses are private, start with `--egress-allow CIDR`"
    )]
    OverrideNotAllowed { host: String, provider: String },
    #[error(transparent)]
    UrlNotAllowed(EgressDenied),
    #[error(
        "the function may not fetch from {host:?}: {}; add the host to `fetch(…)` in its attribute, deploy it, and allow it there: \
         --allow fetch:{host}", named(.hosts)
    )]
    HostNotDeclared {
        host: String,
        hosts: crate::model::FetchHosts,
    },
    #[error("{host:?} redirects to what is no `http://` or `https://` URL without a user name")]
    InvalidRedirect { host: String },
    #[error("{host:?} redirected more than {redirects_max} times")]
    TooManyRedirects { host: String, redirects_max: u32 },
    #[error("the host name {host:?} cannot be resolved")]
    Dns {
        host: String,
        #[source]
        source: BoxError,
    },
    #[error("no connection to {at:?}: {}", kind.map_or_else(|| "it failed".to_owned(), |kind| kind.to_string()))]
    Connect {
        at: String,
        kind: Option<io::ErrorKind>,
        #[source]
        source: BoxError,
    },
    #[error("no TLS connection to {at:?}")]
    Tls {
        at: String,
        #[source]
        source: BoxError,
    },
    #[error("{at:?} {} within {timeout_ms} ms", phase.describe())]
    Timeout { at: String, phase: Phase, timeout_ms: u64 },
    #[error("{at:?} broke the connection off before it answered")]
    Reset {
        at: String,
        #[source]
        source: BoxError,
    },
    #[error("{at:?} answered with what is no HTTP response")]
    InvalidAnswer {
        at: String,
        #[source]
        source: BoxError,
    },
    #[error("the body to be sent broke off")]
    RequestBody(#[source] BoxError),
    #[error("the body of the answer broke off")]
    ResponseBody(#[source] io::Error),
    #[error("the answer is larger than {body_bytes_max} bytes")]
    ResponseTooLarge { body_bytes_max: usize },
    #[error(
        "the provider's rate limit holds the requests of {of} back for {wait_ms} ms more, and this one may wait {budget_ms} ms; \
         ask again after that, or raise `limits.proxy_retry_wait_ms`"
    )]
    RateLimited { of: String, wait_ms: u64, budget_ms: u64 },
    #[error(
        "{queue_max} requests wait in line for the rate limit of {of} already, which is all that \
         `limits.proxy_rate_limit_queue` allows; ask again later"
    )]
    RateLimitQueueFull { of: String, queue_max: usize, wait_ms: u64 },
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl ProxyError {
    /// Stable code, as REST and functions report it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connections(error) => connections_code(error),
            Self::NoCredentials { reason, .. } => reason.code(),
            // (Nango compatibility.)
            Self::Identity(_) => "invalid_certificate_or_key_format",
            Self::MissingApiUrl { .. } => "missing_api_url",
            Self::UnsupportedAuth { .. } => "unsupported_auth",
            Self::MissingValue { .. } => "missing_template_value",
            Self::Template { .. } => "invalid_template",
            Self::UnusableValue {
                source: TemplateError::NotInHost { .. },
                ..
            } => "invalid_url",
            Self::UnusableValue { .. } => "invalid_template_value",
            Self::MissingClient { .. } | Self::Signature { .. } => "unsupported_auth",
            Self::BodyNeeded { .. } => "request_body_too_large",
            Self::InvalidUrl { .. } => "invalid_url",
            Self::InvalidHeader { .. } => "invalid_header_value",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            // One code for every denial, as clients of Nango know it.
            Self::EgressDenied(_) | Self::OverrideNotAllowed { .. } => "base_url_override_not_allowed",
            Self::UrlNotAllowed(_) | Self::HostNotDeclared { .. } => "url_not_allowed",
            Self::InvalidRedirect { .. } => "invalid_redirect",
            Self::TooManyRedirects { .. } => "too_many_redirects",
            Self::Dns { .. } => "upstream_dns_failed",
            Self::Connect { .. } => "upstream_unreachable",
            Self::Tls { .. } => "upstream_tls_failed",
            Self::Timeout {
                phase: Phase::Upload, ..
            } => "request_body_failed",
            Self::Timeout { .. } => "upstream_timeout",
            Self::ResponseBody(source) if source.kind() == io::ErrorKind::TimedOut => "upstream_timeout",
            Self::Reset { .. } | Self::ResponseBody(_) => "upstream_reset",
            Self::InvalidAnswer { .. } => "upstream_invalid_answer",
            Self::RequestBody(_) => "request_body_failed",
            Self::ResponseTooLarge { .. } => "response_too_large",
            Self::RateLimited { .. } => "rate_limited",
            Self::RateLimitQueueFull { .. } => "rate_limit_queue_full",
            Self::Setup(_) => "proxy_setup_failed",
        }
    }

    /// Whole seconds after which it is worth asking again, where that is known; at least 1.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::RateLimited { wait_ms, .. } | Self::RateLimitQueueFull { wait_ms, .. } => {
                Some(wait_ms.div_ceil(1_000).max(1))
            }
            _ => None,
        }
    }

    /// The name that Node gives such a network failure, as Nango passes it on; none when it is no network failure.
    #[must_use]
    pub fn node_error_name(&self) -> Option<&'static str> {
        match self {
            Self::Dns { .. } => Some("ENOTFOUND"),
            Self::Connect { kind, .. } => Some(match kind {
                Some(io::ErrorKind::HostUnreachable) => "EHOSTUNREACH",
                Some(io::ErrorKind::NetworkUnreachable) => "ENETUNREACH",
                Some(io::ErrorKind::TimedOut) => "ETIMEDOUT",
                Some(io::ErrorKind::ConnectionReset) => "ECONNRESET",
                Some(_) | None => "ECONNREFUSED",
            }),
            Self::Tls { .. } => Some("EPROTO"),
            Self::Timeout {
                phase: Phase::Upload, ..
            } => None,
            Self::Timeout { .. } => Some("ETIMEDOUT"),
            Self::ResponseBody(source) if source.kind() == io::ErrorKind::TimedOut => Some("ETIMEDOUT"),
            Self::Reset { .. } | Self::ResponseBody(_) => Some("ECONNRESET"),
            // Node's own distinguishes many; this one is general.
            Self::InvalidAnswer { .. } => Some("HPE_INVALID_CONSTANT"),
            Self::TooManyRedirects { .. } => Some("ERR_FR_TOO_MANY_REDIRECTS"),
            Self::Connections(_)
            | Self::NoCredentials { .. }
            | Self::Identity(_)
            | Self::MissingApiUrl { .. }
            | Self::UnsupportedAuth { .. }
            | Self::MissingValue { .. }
            | Self::Template { .. }
            | Self::UnusableValue { .. }
            | Self::MissingClient { .. }
            | Self::Signature { .. }
            | Self::BodyNeeded { .. }
            | Self::InvalidUrl { .. }
            | Self::InvalidHeader { .. }
            | Self::MethodNotAllowed { .. }
            | Self::EgressDenied(_)
            | Self::OverrideNotAllowed { .. }
            | Self::UrlNotAllowed(_)
            | Self::HostNotDeclared { .. }
            | Self::InvalidRedirect { .. }
            | Self::RequestBody(_)
            | Self::ResponseTooLarge { .. }
            | Self::RateLimited { .. }
            | Self::RateLimitQueueFull { .. }
            | Self::Setup(_) => None,
        }
    }
}

fn named(hosts: &crate::model::FetchHosts) -> String {
    match hosts.iter().collect::<Vec<_>>().as_slice() {
        [] => "it declares no hosts".to_owned(),
        hosts => format!("it declares {}", hosts.join(", ")),
    }
}

impl From<OAuthError> for ProxyError {
    fn from(error: OAuthError) -> Self {
        match error {
            OAuthError::Connections(error) => Self::Connections(error),
            OAuthError::NoCredentials {
                provider_config_key,
                connection_id,
                reason,
            } => Self::NoCredentials {
                provider_config_key,
                connection_id,
                reason,
            },
        }
    }
}

fn connections_code(error: &ConnectionsError) -> &'static str {
    match error {
        ConnectionsError::UnknownIntegration { .. } => "unknown_provider_config",
        ConnectionsError::UnknownConnection { .. } => "unknown_connection",
        ConnectionsError::UnknownProvider { .. } => "unknown_provider",
        ConnectionsError::IntegrationExists { .. } => "duplicate_provider_config",
        ConnectionsError::IntegrationInUse { .. } => "integration_in_use",
        ConnectionsError::UnsupportedAuthMode { .. } => "unsupported_auth",
        ConnectionsError::Invalid { .. } | ConnectionsError::Aws(_) | ConnectionsError::CredentialsType { .. } => {
            "invalid_body"
        }
        ConnectionsError::StoredJson { .. }
        | ConnectionsError::StoredCredentials { .. }
        | ConnectionsError::Encryption(_)
        | ConnectionsError::Store(_) => "server_error",
    }
}
