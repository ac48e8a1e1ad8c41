//! Which stored credentials are tried again, and writing down what came of it. How they are tried is not known here.

use super::{Connections, ConnectionsError, Target};
use crate::credentials::Credentials;
use crate::model::{Connection, RefreshFailure, Webhook};

/// How often credentials that nothing refreshes are tried. (Nango compatibility.)
pub const VERIFICATION_INTERVAL_MS: i64 = 24 * 60 * 60 * 1_000;

impl Target {
    /// Whether the provider's data says how the credentials are tried.
    #[must_use]
    pub fn has_verification(&self) -> bool {
        let proxy = self.provider.proxy.as_ref();
        proxy.is_some_and(|proxy| proxy.verification.is_some())
    }

    /// Whether they are tried day by day: those that would otherwise fail only when somebody needs them.
    pub(super) fn is_tried_daily(&self) -> bool {
        let is_typed = match &self.credentials {
            Credentials::ApiKey { .. } | Credentials::Basic { .. } | Credentials::Tba { .. } => true,
            Credentials::OAuth1 { .. }
            | Credentials::OAuth2 { .. }
            | Credentials::OAuth2Cc { .. }
            | Credentials::AwsSigV4(_)
            | Credentials::App { .. }
            | Credentials::Session { .. }
            | Credentials::None => false,
        };
        is_typed && self.has_verification()
    }
}

impl Connections {
    /// Takes connections of all environments whose credentials are to be tried again, at most `limit`. Each is given to one
    /// caller, and is due again after [`VERIFICATION_INTERVAL_MS`].
    pub async fn claim_verifications(&self, now_ms: i64, limit: i64) -> Result<Vec<Connection>, ConnectionsError> {
        let store = &self.0.store;
        let next_ms = now_ms.saturating_add(VERIFICATION_INTERVAL_MS);
        let mut connections = Vec::new();
        for key in store.claim_verifications(now_ms, next_ms, limit).await? {
            connections.extend(store.connection_by_key(&key).await?);
        }
        Ok(connections)
    }

    /// Tries them again at `due_at_ms`.
    pub async fn verify_at(&self, target: &Target, due_at_ms: i64) -> Result<(), ConnectionsError> {
        Ok(self
            .0
            .store
            .set_verification_due(&target.connection.key, due_at_ms)
            .await?)
    }

    /// Writes that the provider refused the credentials, with the webhooks that say so, or, without a failure, that it took them.
    pub async fn write_verification(
        &self,
        target: &Target,
        failure: Option<&RefreshFailure>,
        webhooks: &[Webhook],
    ) -> Result<(), ConnectionsError> {
        let connection = &target.connection;
        let epoch = connection.refresh.generation.epoch;
        let store = &self.0.store;
        store
            .write_verification(&connection.key, epoch, failure, webhooks)
            .await?;
        self.0.caches.forget_connection(
            &connection.environment_id,
            &connection.provider_config_key,
            &connection.connection_id,
        );
        Ok(())
    }
}
