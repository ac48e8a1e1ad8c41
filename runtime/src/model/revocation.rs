//! What the provider of a deleted connection has still to be told.

use super::{EnvironmentId, RevocationId, Sealed};

/// Tokens of a deleted connection that are to be revoked at their provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub id: RevocationId,
    pub environment_id: EnvironmentId,
    /// What the integration and the connection were called.
    pub provider_config_key: String,
    pub connection_id: String,
    /// The provider's name in the catalogue.
    pub provider: String,
    /// Sealed JSON: the requests that are left to be made.
    pub requests: Sealed,
    /// How often it was tried, the try under way included.
    pub attempts: i64,
    pub due_at_ms: i64,
    pub created_at_ms: i64,
}
