//! Credentials by auth mode, and the type that keeps secrets out of logs.

mod secret;
pub use secret::Secret;

use crate::model::JsonObject;

/// What a connection authenticates with. Stored sealed, in the JSON shape of the public API (`{"type": "API_KEY", "apiKey": …}`).
#[derive(Clone, Debug)]
pub enum Credentials {
    ApiKey {
        api_key: Secret<String>,
    },
    Basic {
        username: String,
        password: Secret<String>,
    },
    OAuth2 {
        access_token: Secret<String>,
        refresh_token: Option<Secret<String>>,
        expires_at_ms: Option<i64>,
        raw: Secret<JsonObject>,
    },
    None,
}
