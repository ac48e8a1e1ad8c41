//! That somebody was shown credentials, or other secrets: what the audit keeps.

use super::id::{ApiKeyId, CredentialReadId, EnvironmentId};

/// Credentials were shown to the holder of an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRead {
    pub id: CredentialReadId,
    pub environment_id: EnvironmentId,
    pub read_at_ms: i64,
    pub kind: CredentialReadKind,
    /// None for environment variables.
    pub provider_config_key: Option<String>,
    /// None for those of an integration, and for environment variables.
    pub connection_id: Option<String>,
    pub api_key_id: ApiKeyId,
    /// As the key was named then.
    pub api_key_name: String,
    /// The `X-Request-Id` of the answer.
    pub request_id: String,
    /// Fresh credentials were asked for.
    pub forced: bool,
    /// The refresh token was shown too.
    pub with_refresh_token: bool,
}

/// Which credentials were shown, in answer to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialReadKind {
    /// A connection's, which was asked for.
    Connection,
    /// A connection's, in the answer to its import.
    Import,
    /// An integration's: the client secret and the like.
    Integration,
    /// The environment variables, all of them.
    Variables,
}
