//! What can be wrong with a call about webhooks.

use crate::encryption::EncryptionError;
use crate::store::StoreError;

/// The HTTP client of webhooks cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("TLS for webhooks cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("the HTTP client for webhooks cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// Why something about webhooks cannot be done. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum WebhooksError {
    /// A field of the call.
    #[error("{field}: {message}")]
    Invalid { field: &'static str, message: String },
    #[error("there is no webhook {id:?}, or it was deleted; `nango-runtime webhooks list` shows those that are kept")]
    Unknown { id: String },
    #[error("the webhook {id} is on its way just now; wait for what comes of it")]
    UnderWay { id: String },
    #[error("the environment was deleted")]
    EnvironmentGone,
    #[error("somebody else changed the signing keys at the same time; look at them, then try again")]
    KeysChanged,
    #[error("the stored value {place} cannot be used")]
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
