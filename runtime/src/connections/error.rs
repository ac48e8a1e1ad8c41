//! What can be wrong with a call, in fields that the HTTP API can answer with.

use super::AwsError;
use crate::credentials::CredentialsError;
use crate::encryption::EncryptionError;
use crate::store::StoreError;

/// Why something about integrations or connections cannot be done. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionsError {
    #[error("there is no integration {unique_key:?} in this environment; `GET /integrations` lists them")]
    UnknownIntegration { unique_key: String },
    #[error("integration {provider_config_key:?} has no connection {connection_id:?}; `GET /connections` lists them")]
    UnknownConnection {
        provider_config_key: String,
        connection_id: String,
    },
    #[error("there is no provider {provider:?} in the catalogue; `GET /providers` lists them")]
    UnknownProvider { provider: String },
    #[error("the integration {unique_key:?} is there already")]
    IntegrationExists { unique_key: String },
    #[error(
        "the integration {unique_key:?} has connections, so it cannot be renamed; make a new one, or delete them first"
    )]
    IntegrationInUse { unique_key: String },
    /// Both modes as the API names them.
    #[error("provider {provider:?} takes {auth_mode} credentials, not {given}")]
    CredentialsType {
        provider: String,
        auth_mode: String,
        given: String,
    },
    #[error("provider {provider:?} authenticates with {auth_mode}, which is not supported yet")]
    UnsupportedAuthMode { provider: String, auth_mode: String },
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// A field of the call, as a path such as `credentials.apiKey`.
    #[error("{field}: {message}")]
    Invalid { field: String, message: String },
    #[error("the stored value {place} is no JSON")]
    StoredJson {
        place: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the stored value {place} cannot be used")]
    StoredCredentials {
        place: String,
        #[source]
        source: CredentialsError,
    },
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ConnectionsError {
    /// Whether the database is at fault, so that the same may work later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }

    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            message: message.into(),
        }
    }
}
