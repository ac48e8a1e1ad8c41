//! That somebody was shown credentials, or other secrets: what the audit keeps.

use super::id::{ApiKeyId, CredentialReadId, EnvironmentId, OperationId, RunId};

/// Credentials were shown to the holder of an API key, or told to a function.
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
    pub by: CredentialReader,
    /// Fresh credentials were asked for.
    pub forced: bool,
    /// The refresh token was shown too.
    pub with_refresh_token: bool,
}

/// Who was shown credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialReader {
    ApiKey {
        id: ApiKeyId,
        /// As the key was named then.
        name: String,
        /// The `X-Request-Id` of the answer.
        request_id: String,
    },
    Function {
        name: String,
        /// None of a dry run.
        run_id: Option<RunId>,
        operation_id: OperationId,
    },
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
    /// A connection's, to a function that was given that.
    Token,
}
