//! Why there are no fresh credentials. Messages name hosts, settings and fields; never a token, and never a client secret.

use std::sync::Arc;

use super::jwt::JwtError;
use super::xml::XmlError;
use crate::connections::{AwsError, ConnectionsError, Target};
use crate::credentials::{CredentialsError, CredentialsType, IdentityError};
use crate::egress::EgressDenied;
use crate::provider::template::TemplateError;
use crate::signing::rsa_sha1::RsaSha1Error;
use crate::store::StoreError;

/// Why one refresh came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error(
        "the integration {provider_config_key:?} has no `client_id` and `client_secret`, which a refresh needs; set its \
         `credentials`"
    )]
    NoClient { provider_config_key: String },
    #[error(
        "`{name}` has no value, and `{key}` of the provider {provider:?} needs it; set it in the connection_config"
    )]
    MissingValue {
        provider: String,
        key: &'static str,
        name: String,
    },
    #[error("`{key}` of the provider {provider:?} cannot be built")]
    Template {
        provider: String,
        key: &'static str,
        #[source]
        source: TemplateError,
    },
    #[error("`{key}` of the provider {provider:?} is no usable URL: {reason}")]
    Url {
        provider: String,
        key: &'static str,
        reason: String,
    },
    #[error("the value for the header {name:?} holds characters that a header cannot carry")]
    Header { name: String },
    #[error("the provider {provider:?} asks for {what}, which is not supported yet")]
    Unsupported { provider: String, what: String },
    #[error(
        "the integration {provider_config_key:?} has no `app_id` and `private_key`, which its app's tokens are signed with; set its `credentials`"
    )]
    NoApp { provider_config_key: String },
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error("`token` of the provider {provider:?} cannot be signed")]
    Jwt {
        provider: String,
        #[source]
        source: JwtError,
    },
    #[error("`{key}` of the provider {provider:?} cannot be written as XML")]
    Xml {
        provider: String,
        key: &'static str,
        #[source]
        source: XmlError,
    },
    #[error(transparent)]
    Rsa(#[from] RsaSha1Error),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("no HTTP client for the client certificate can be set up")]
    Client(#[source] Box<reqwest::Error>),
    #[error(transparent)]
    EgressDenied(EgressDenied),
    #[error("the token endpoint at {host:?} did not answer within {timeout_ms} ms")]
    Timeout { host: String, timeout_ms: u64 },
    #[error("no answer from the token endpoint at {host:?}")]
    Network {
        host: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the answer of the token endpoint at {host:?} is larger than {bytes_max} bytes")]
    TooLarge { host: String, bytes_max: usize },
    #[error("the token endpoint at {host:?} redirects; secrets are not sent after it")]
    Redirect { host: String },
    #[error("the token endpoint at {host:?} answered {status}{}", told(error.as_deref(), description.as_deref()))]
    Status {
        host: String,
        status: u16,
        error: Option<String>,
        description: Option<String>,
    },
    #[error("the token endpoint at {host:?} answered no JSON object")]
    NotJson { host: String },
    #[error("the token endpoint at {host:?} answered no form, as OAuth 1.0a has it")]
    NotForm { host: String },
    #[error(
        "the provider {provider:?} did not take note of where the customer is to come back to (`oauth_callback_confirmed` is not true)"
    )]
    NotConfirmed { provider: String },
    #[error("the token endpoint at {host:?} did not answer with keys as AWS does")]
    NotXml { host: String },
    #[error("the token endpoint gave no token{}", told(error.as_deref(), description.as_deref()))]
    NoToken {
        error: Option<String>,
        description: Option<String>,
    },
    #[error("the token endpoint gave a token that cannot be stored")]
    Unusable(#[source] CredentialsError),
    #[error(
        "the answer that `after_connect` of the provider {provider:?} asks for has nothing at {path:?}, which is for `{name}`"
    )]
    NotLearned {
        provider: String,
        name: String,
        path: String,
    },
    #[error("somebody else has been refreshing the connection for {waited_ms} ms")]
    Busy { waited_ms: u64 },
    #[error("the refresh ended without a result; the runtime's log says why")]
    Broken,
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RefreshError {
    /// Whether the database is at fault, so that the same may work later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Connections(error) => error.is_outage(),
            _ => false,
        }
    }

    /// Whether the provider says that it does not know the client (RFC 6749, section 5.2).
    #[must_use]
    pub fn is_unknown_client(&self) -> bool {
        let (Self::Status { error, .. } | Self::NoToken { error, .. }) = self else {
            return false;
        };
        error.as_deref() == Some("invalid_client")
    }
}

/// `: invalid_grant (…)`
fn told(error: Option<&str>, description: Option<&str>) -> String {
    match (error, description) {
        (Some(error), Some(description)) => format!(": {error} ({description})"),
        (Some(text), None) | (None, Some(text)) => format!(": {text}"),
        (None, None) => String::new(),
    }
}

/// Why a connection has no usable credentials. Cheap to clone: everyone who waited for a refresh gets it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoCredentials {
    #[error(
        "its token could not be refreshed {failed_ago_ms} ms ago, and it is not tried again within {backoff_ms} ms; the log \
         operation {operation_id} says why"
    )]
    Backoff {
        failed_ago_ms: i64,
        backoff_ms: i64,
        operation_id: String,
    },
    #[error(
        "its token could not be refreshed on {failing_days} days, so it is not tried any more; connect it anew, or get it \
         with `force_refresh=true`. The log operation {operation_id} says why"
    )]
    Exhausted { failing_days: i64, operation_id: String },
    #[error("its token could not be refreshed: {}", chain(.0))]
    Refresh(Arc<RefreshError>),
}

/// What cannot be done with a connection's credentials.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error("the connection {connection_id:?} of the integration {provider_config_key:?} cannot be used: {reason}")]
    NoCredentials {
        provider_config_key: String,
        connection_id: String,
        reason: NoCredentials,
    },
}

/// Why there is no token for a new connection.
#[derive(Debug, thiserror::Error)]
#[error(
    "the integration {provider_config_key:?} got no token for the connection, which is not stored: {}",
    chain(error)
)]
pub struct NotObtained {
    pub provider_config_key: String,
    pub mode: CredentialsType,
    pub error: RefreshError,
}

impl NoCredentials {
    /// As [`RefreshError::is_outage`].
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Refresh(error) if error.is_outage())
    }

    /// Stable code. (Nango compatibility.)
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Backoff { .. } => "connection_refresh_backoff",
            Self::Exhausted { .. } => "connection_refresh_exhausted",
            Self::Refresh(error) => Self::code_of(error),
        }
    }

    /// The code of one failed refresh.
    #[must_use]
    pub fn code_of(error: &RefreshError) -> &'static str {
        match error {
            RefreshError::Connections(_) | RefreshError::Store(_) | RefreshError::Broken => "server_error",
            RefreshError::NoClient { .. }
            | RefreshError::MissingValue { .. }
            | RefreshError::Template { .. }
            | RefreshError::Url { .. }
            | RefreshError::Header { .. }
            | RefreshError::Unsupported { .. }
            | RefreshError::NoApp { .. }
            | RefreshError::Aws(_)
            | RefreshError::NotXml { .. }
            | RefreshError::Jwt { .. }
            | RefreshError::Xml { .. }
            | RefreshError::Rsa(_)
            | RefreshError::Identity(_)
            | RefreshError::Client(_)
            | RefreshError::EgressDenied(_)
            | RefreshError::Timeout { .. }
            | RefreshError::Network { .. }
            | RefreshError::TooLarge { .. }
            | RefreshError::Redirect { .. }
            | RefreshError::Status { .. }
            | RefreshError::NotJson { .. }
            | RefreshError::NotForm { .. }
            | RefreshError::NotConfirmed { .. }
            | RefreshError::NoToken { .. }
            | RefreshError::Unusable(_)
            | RefreshError::NotLearned { .. }
            | RefreshError::Busy { .. } => "refresh_token_external_error",
        }
    }
}

/// The error without the secrets that were sent, should the provider have repeated them.
pub(super) fn without_secrets(target: &Target, error: RefreshError) -> RefreshError {
    retold(error, |text| target.masker().mask(&text).into_owned())
}

/// The error with the provider's words changed.
pub(super) fn retold(error: RefreshError, change: impl Fn(String) -> String) -> RefreshError {
    match error {
        RefreshError::Status {
            host,
            status,
            error,
            description,
        } => RefreshError::Status {
            host,
            status,
            error: error.map(&change),
            description: description.map(&change),
        },
        RefreshError::NoToken { error, description } => RefreshError::NoToken {
            error: error.map(&change),
            description: description.map(&change),
        },
        other => other,
    }
}

/// An error with its causes, which is where the system's own words are.
pub(super) fn chain(error: &RefreshError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
