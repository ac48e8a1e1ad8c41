//! Why an authorization came to nothing. The types are those that Nango's popup names; clients match on them.

use crate::connect::CreateError;
use crate::connections::ConnectionsError;
use crate::encryption::EncryptionError;
use crate::model::EnvironmentId;
use crate::oauth::{DiscoveryError, NotObtained, RegistrationError};
use crate::store::StoreError;

/// Why an authorization came to nothing. Holds no secret; what a provider said is bounded.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    #[error("a new connection gets its id when it is made: leave `connection_id` out")]
    IdGiven,
    #[error(
        "the connect session is not for the integration {provider_config_key:?}; the customer's back end names those that it is for when it opens the session"
    )]
    NotAllowed { provider_config_key: String },
    #[error(
        "connections of the integration {provider_config_key:?} are not made by going to the provider: its mode is {auth_mode}"
    )]
    Mode {
        provider_config_key: String,
        auth_mode: String,
    },
    #[error(
        "the integration {provider_config_key:?} has no {what}, without which nobody can be sent to the provider; set its `credentials`"
    )]
    NotConfigured {
        provider_config_key: String,
        what: &'static str,
    },
    #[error(
        "an installation of the integration {provider_config_key:?} begins at the provider: say who is awaited with POST /auth/oauth-outbound"
    )]
    Outbound { provider_config_key: String },
    #[error(
        "installations of the integration {provider_config_key:?} do not begin at the provider, or its data does not say how it tells \
         of them (`webhook.installation`); its mode is {auth_mode}"
    )]
    NotOutbound {
        provider_config_key: String,
        auth_mode: String,
    },
    #[error(
        "the installation of {awaited:?} is awaited for somebody else already; it can be awaited again when that has ended"
    )]
    AwaitedBySomebody { awaited: String },
    #[error("`token_params.grant_type` of the provider is {grant_type:?}: that needs no authorization by a customer")]
    GrantType { grant_type: String },
    #[error("where to send the customer cannot be said: {reason}")]
    Url { reason: String },
    #[error("the provider sent the customer back without a `state`, so it is not known what for")]
    NoState,
    #[error("the `state` is unknown: it was used already, took longer than 30 minutes, or is not one of this server's")]
    UnknownState,
    #[error(
        "this browser did not begin the authorization, or it keeps no cookies: its cookie {cookie:?} is missing or another's"
    )]
    OtherBrowser { cookie: String },
    #[error("the integration {provider_config_key:?} was changed or deleted meanwhile")]
    IntegrationChanged { provider_config_key: String },
    #[error("the provider sent the customer back without access: {told}")]
    Refused { told: String },
    #[error(
        "the provider sent the customer back with another `oauth_token` than the one that he was sent away with, so it is another authorization's end"
    )]
    OtherToken,
    #[error("the answer came from {given:?}, and the authorization was asked for at {expected:?}")]
    Issuer { given: String, expected: String },
    #[error("the answer does not say where it comes from, and {expected:?} promised that it would")]
    NoIssuer { expected: String },
    #[error(transparent)]
    Discovery(Box<DiscoveryError>),
    #[error(transparent)]
    Registration(Box<RegistrationError>),
    #[error(
        "the authorization server {issuer:?} registers no clients by itself; register one there with the redirect URI \
         {redirect_uri:?}, and set its id as `client_id` in the integration's `credentials`"
    )]
    NoRegistration { issuer: String, redirect_uri: String },
    #[error(
        "the provider reads about its clients at {document:?}, which it cannot reach; set `public_url` to the https address \
         at which this server is found"
    )]
    Unreachable { document: String },
    #[error(transparent)]
    NoToken(Box<NotObtained>),
    #[error("what the provider's data asks for after the authorization failed: {reason}")]
    After { reason: String },
    #[error(transparent)]
    Create(Box<CreateError>),
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error("the authorization that is under way cannot be read")]
    Stored(#[source] serde_json::Error),
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An end without a connection, with what is known of the beginning.
#[derive(Debug)]
pub struct Failure {
    pub error: FlowError,
    pub environment_id: Option<EnvironmentId>,
    pub provider_config_key: Option<String>,
    /// See [`super::Begin::popup_id`].
    pub popup_id: Option<String>,
}

impl From<NotObtained> for FlowError {
    fn from(error: NotObtained) -> Self {
        Self::NoToken(Box::new(error))
    }
}

impl From<DiscoveryError> for FlowError {
    fn from(error: DiscoveryError) -> Self {
        Self::Discovery(Box::new(error))
    }
}

impl From<RegistrationError> for FlowError {
    fn from(error: RegistrationError) -> Self {
        Self::Registration(Box::new(error))
    }
}

impl From<CreateError> for FlowError {
    fn from(error: CreateError) -> Self {
        Self::Create(Box::new(error))
    }
}

impl FlowError {
    /// Whether the database is at fault, so that the same may work later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Connections(error) => error.is_outage(),
            Self::NoToken(error) => error.error.is_outage(),
            Self::Create(error) => match &**error {
                CreateError::Connections(error) => error.is_outage(),
                CreateError::NotObtained(error) => error.error.is_outage(),
                _ => false,
            },
            _ => false,
        }
    }

    /// The type as clients know it. (Nango compatibility; the last ones are ours.)
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::IdGiven => "missing_connection_id",
            Self::NotAllowed { .. } => "integration_not_allowed",
            Self::Mode { .. } | Self::Outbound { .. } | Self::NotOutbound { .. } => "auth_mode_err",
            Self::AwaitedBySomebody { .. } => "installation_awaited",
            Self::NotConfigured { .. } | Self::IntegrationChanged { .. } | Self::Unreachable { .. } => {
                "provider_config_err"
            }
            Self::GrantType { .. } => "grant_type_err",
            Self::Url { .. } => "url_param_err",
            Self::NoState | Self::UnknownState | Self::Stored(_) => "state_err",
            Self::OtherBrowser { .. } => "state_cookie_err",
            Self::Refused { .. } | Self::OtherToken | Self::Issuer { .. } | Self::NoIssuer { .. } => "callback_err",
            Self::NoToken(_) => "token_err",
            Self::Discovery(_) => "discovery_err",
            Self::Registration(_) | Self::NoRegistration { .. } => "client_registration_err",
            Self::After { .. } => "connection_validation_failed",
            Self::Create(error) => match &**error {
                CreateError::NotVerified(_)
                | CreateError::Identity(_)
                | CreateError::Refused(_)
                | CreateError::Overtaken { .. } => "connection_validation_failed",
                CreateError::Interrupted => "unknown_err",
                CreateError::IntegrationNotAllowed { .. } => "integration_not_allowed",
                CreateError::ConnectionGone { .. } => "connection_not_found",
                CreateError::NotObtained(_) => "token_err",
                CreateError::Connections(error) => of_connections(error),
                CreateError::IdGiven => "missing_connection_id",
            },
            Self::Connections(error) => of_connections(error),
            Self::Encryption(_) | Self::Store(_) => "unknown_err",
        }
    }
}

fn of_connections(error: &ConnectionsError) -> &'static str {
    match error {
        ConnectionsError::UnknownIntegration { .. } => "unknown_config_key",
        ConnectionsError::UnknownConnection { .. } => "connection_not_found",
        ConnectionsError::UnknownProvider { .. } => "provider_config_err",
        ConnectionsError::UnsupportedAuthMode { .. } | ConnectionsError::CredentialsType { .. } => "auth_mode_err",
        ConnectionsError::Invalid { .. } | ConnectionsError::Aws(_) => "url_param_err",
        _ => "unknown_err",
    }
}
