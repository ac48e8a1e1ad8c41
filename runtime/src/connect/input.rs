//! What callers give and get.

use std::collections::BTreeMap;

use crate::credentials::Secret;
use crate::model::{EndUser, IntegrationDefaults, IntegrationOverrides, Reconnect};

/// A session to open, not yet checked.
#[derive(Debug, Default)]
pub struct OpenSession {
    pub end_user: Option<EndUser>,
    pub tags: BTreeMap<String, String>,
    /// Unique keys; none is all of the environment.
    pub allowed_integrations: Option<Vec<String>>,
    /// By unique key.
    pub defaults: BTreeMap<String, IntegrationDefaults>,
    /// By unique key.
    pub overrides: BTreeMap<String, IntegrationOverrides>,
    pub webhook_url_override: Option<String>,
    /// For a connection that is there already.
    pub reconnect: Option<Reconnect>,
}

/// An open session. Its token is nowhere else.
#[derive(Debug)]
pub struct NewConnectSession {
    pub token: Secret<String>,
    pub expires_at_ms: i64,
}
