//! Why a session cannot be used, and why a connection is not made.

use super::Refusal;
use crate::connections::ConnectionsError;
use crate::credentials::IdentityError;
use crate::encryption::EncryptionError;
use crate::oauth::NotObtained;
use crate::proxy::VerificationError;
use crate::store::StoreError;

/// Why a token opens nothing.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(
        "this is no connect session token, which is `nango_connect_session_` and 64 hexadecimal digits; the customer's back end gets one from `POST /connect/sessions`"
    )]
    Format,
    #[error(
        "the connect session is unknown, or it has ended: they last 30 minutes; get a new one from `POST /connect/sessions`"
    )]
    Unknown,
    #[error("the stored session {place} is no session")]
    Stored {
        place: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a connection is not made. Holds no secret; what a provider answered is masked.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(transparent)]
    NotObtained(#[from] NotObtained),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the credentials were not found to be good, so the connection is not stored: {0}")]
    NotVerified(#[from] VerificationError),
    #[error(
        "the connect session is not for the integration {unique_key:?}; the customer's back end names those that it is for when it opens the session"
    )]
    IntegrationNotAllowed { unique_key: String },
    #[error("with a connect session no connection id can be given: one is made, or it is the one of the session")]
    IdGiven,
    #[error("the connection {connection_id:?}, which the connect session is for, is gone")]
    ConnectionGone { connection_id: String },
    /// In the function's words: who makes the connection is to read them.
    #[error("{}", .0.message)]
    Refused(Refusal),
    #[error(
        "the connection {connection_id:?} was overwritten or deleted while functions were asked about it; connect it again"
    )]
    Overtaken { connection_id: String },
    #[error(
        "the server stopped before functions had been asked about the connection, which does not count; connect it again"
    )]
    Interrupted,
}
