//! Why a session cannot be used.

use crate::encryption::EncryptionError;
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
