//! Integrations and connections with their secrets opened: cached, checked, sealed. The one place that turns stored rows into
//! something a request can be built from. It does not send anything: whether credentials work shows when they are used.

mod acceptance;
mod app;
mod applicant;
mod aws;
mod cache;
mod deletion;
mod error;
mod fields;
mod freshness;
mod identity;
mod import;
mod incoming;
mod input;
mod integrations;
mod masking;
mod sealing;
#[cfg(test)]
pub(crate) mod tests;
mod told;
mod users_own;
pub(crate) mod validation;
mod verification;
mod webhook_address;

use std::sync::{Arc, OnceLock};

pub use app::{CLIENT_ID_CHARS_MAX, CLIENT_SECRET_CHARS_MAX};
pub use applicant::{AboutClient, Applicant};
pub use aws::{AwsError, EndpointAuth, KeySource};
pub use cache::{CACHE_TTL_MS, INTEGRATIONS_MAX, TARGETS_MAX};
pub use error::ConnectionsError;
pub(crate) use fields::{check_typed, complete_config, connection_config as check_config};
pub(crate) use freshness::DISCOVERED_TOKEN_ENDPOINT;
pub use freshness::{Fresh, REFRESH_MARGIN_MS, RefreshRight};
pub use input::{IntegrationPatch, NewConnection, NewIntegration};
pub use masking::{Masking, RunMasker};
pub use told::{TOLD_TOKENS_MAX, ToldTokens};
use users_own::WRITES_MAX;
pub use users_own::keep_users_own;
pub use validation::{CONFIG_BYTES_MAX, METADATA_BYTES_MAX, NAME_CHARS_MAX, TAG_KEY_CHARS_MAX, TAGS_MAX};
pub use verification::VERIFICATION_INTERVAL_MS;
pub use webhook_address::{Kept, WebhookAddress};

use cache::Caches;

use crate::clock::{Clock, Entropy};
use crate::credentials::{AppKey, Credentials, OAuthClient};
use crate::encryption::Keyring;
use crate::model::{Connection, EnvironmentId, Integration, JsonObject};
use crate::provider::template::Template;
use crate::provider::{Catalogue, Provider};
use crate::store::{ConnectionPatch, ConnectionQuery, Store};

/// Connections listed by one call, at most.
pub const LIST_LIMIT_MAX: i64 = 2_000;
/// Connections whose metadata one call may set.
pub const METADATA_CONNECTIONS_MAX: usize = 1_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    store: Store,
    catalogue: Arc<Catalogue>,
    keyring: Keyring,
    clock: Clock,
    entropy: Entropy,
    caches: Caches,
}

/// Everything a request for one connection is built from.
pub struct Target {
    pub integration: Arc<Integration>,
    pub provider: Arc<Provider>,
    pub connection: Arc<Connection>,
    pub credentials: Credentials,
    pub connection_config: JsonObject,
    /// The integration's `custom` map and, as `clientId`, its client id: for templates and generic providers.
    pub integration_config: JsonObject,
    /// What must not be logged of all this; see [`Target::masker`].
    pub masking: Masking,
    /// The integration's OAuth client.
    pub client: Option<OAuthClient>,
    /// The integration's own `valueTemplate`, read when it is first needed.
    pub value_template: OnceLock<Template>,
    /// The integration's app.
    pub app: Option<AppKey>,
}

/// Leaves out both configs: they may hold secrets.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("integration", &self.integration.unique_key)
            .field("provider", &self.provider.name)
            .field("connection", &self.connection)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

impl Connections {
    #[must_use]
    pub fn new(store: Store, catalogue: Arc<Catalogue>, keyring: Keyring, clock: Clock, entropy: Entropy) -> Self {
        Self(Arc::new(Inner {
            store,
            catalogue,
            keyring,
            caches: Caches::new(clock.clone()),
            clock,
            entropy,
        }))
    }

    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.0.catalogue
    }

    /// From the cache where possible: no database on the hot path.
    pub async fn target(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<Arc<Target>, ConnectionsError> {
        let inner = &self.0;
        if let Some(target) = inner.caches.target(environment_id, provider_config_key, connection_id) {
            return Ok(target);
        }
        let integration = self.integration(environment_id, provider_config_key).await?;
        let ticket = inner.caches.ticket();
        let connection = self.stored(environment_id, provider_config_key, connection_id).await?;
        // Opening it, and making its masker anew, costs far more than to see that nothing has changed.
        let old = inner
            .caches
            .old_target(environment_id, provider_config_key, connection_id)
            .filter(|old| *old.connection == connection && old.integration == integration);
        let target = match old {
            Some(old) => old,
            None => Arc::new(inner.open(integration, connection)?),
        };
        inner.caches.keep_target(ticket, &target);
        Ok(target)
    }

    /// What is in the cache, at once. None when it is not there or may be old.
    #[must_use]
    pub fn known_target(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Option<Arc<Target>> {
        self.0.caches.target(environment_id, provider_config_key, connection_id)
    }

    /// Newest first.
    pub async fn list(
        &self,
        environment_id: &EnvironmentId,
        query: &ConnectionQuery,
    ) -> Result<Vec<Connection>, ConnectionsError> {
        if !(1..=LIST_LIMIT_MAX).contains(&query.limit) {
            let message = format!("must be 1 to {LIST_LIMIT_MAX}, not {}", query.limit);
            return Err(ConnectionsError::invalid("limit", message));
        }
        if query.page < 0 {
            return Err(ConnectionsError::invalid("page", "must be 0 or more"));
        }
        Ok(self.0.store.connections(environment_id, query).await?)
    }

    /// Changes tags, end user, the URL of webhooks and the connection_config, into which `config` is merged: null takes a value away. Other
    /// credentials come by importing anew. A patch that names nothing changes nothing.
    pub async fn patch(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        patch: ConnectionPatch,
        config: Option<&JsonObject>,
    ) -> Result<(), ConnectionsError> {
        let inner = &self.0;
        let mut patch = ConnectionPatch {
            tags: patch.tags.map(|tags| validation::tags("tags", tags)).transpose()?,
            end_user: match patch.end_user {
                Some(Some(end_user)) => Some(Some(validation::end_user(end_user)?)),
                taken_away_or_left => taken_away_or_left,
            },
            webhook_url_override: match patch.webhook_url_override {
                Some(Some(url)) => Some(Some(validation::webhook_url("webhook_url_override", url)?)),
                taken_away_or_left => taken_away_or_left,
            },
            connection_config: None,
        };
        let integration = Arc::new(self.stored_integration(environment_id, provider_config_key).await?);
        for _ in 0..WRITES_MAX {
            let connection = self.stored(environment_id, provider_config_key, connection_id).await?;
            if let Some(config) = config {
                let before = connection.connection_config.clone();
                let opened = inner.open(Arc::clone(&integration), connection.clone())?;
                let merged = merged_config(&opened, config)?;
                patch.connection_config = Some((before, inner.seal_config(&connection, merged)));
            } else if patch.tags.is_none() && patch.end_user.is_none() && patch.webhook_url_override.is_none() {
                return Ok(());
            }
            let now_ms = inner.clock.now_ms();
            let patched = inner.store.patch_connection(&connection, &patch, now_ms).await;
            inner
                .caches
                .forget_connection(environment_id, provider_config_key, connection_id);
            if patched? {
                return Ok(());
            }
            // Somebody else has changed the connection_config meanwhile, or the connection is gone, which the next look tells.
        }
        let message = "was changed by others again and again at the same moment; try again";
        Err(ConnectionsError::invalid("connection_config", message))
    }

    /// Replaces (or merges into) the metadata of all the connections, or of none. Gives the new metadata in order.
    pub async fn set_metadata(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_ids: &[String],
        metadata: &JsonObject,
        merge: bool,
    ) -> Result<Vec<JsonObject>, ConnectionsError> {
        let inner = &self.0;
        if connection_ids.len() > METADATA_CONNECTIONS_MAX {
            let message = format!(
                "at most {METADATA_CONNECTIONS_MAX} ids are allowed, not {}",
                connection_ids.len()
            );
            return Err(ConnectionsError::invalid("connection_id", message));
        }
        validation::size("metadata", metadata, METADATA_BYTES_MAX)?;
        let mut keys = Vec::with_capacity(connection_ids.len());
        for connection_id in connection_ids {
            let connection = self.stored(environment_id, provider_config_key, connection_id).await?;
            if merge {
                let mut merged = connection.metadata;
                merged.append(&mut metadata.clone());
                validation::size("metadata", &merged, METADATA_BYTES_MAX)?;
            }
            keys.push(connection.key);
        }
        let set = inner
            .store
            .set_metadata(&keys, metadata, merge, inner.clock.now_ms())
            .await;
        for connection_id in connection_ids {
            inner
                .caches
                .forget_connection(environment_id, provider_config_key, connection_id);
        }
        set?.ok_or_else(|| unknown_connection(provider_config_key, &connection_ids.join(", ")))
    }

    /// The row as it is now.
    async fn stored(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<Connection, ConnectionsError> {
        let store = &self.0.store;
        let connection = store
            .connection(environment_id, provider_config_key, connection_id)
            .await?;
        connection.ok_or_else(|| unknown_connection(provider_config_key, connection_id))
    }
}

/// What a connection_config is with these values in it, or without those that are null.
pub(crate) fn merged_config(target: &Target, config: &JsonObject) -> Result<JsonObject, ConnectionsError> {
    let mut merged = target.connection_config.clone();
    for (name, value) in config {
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    validation::size("connection_config", &merged, CONFIG_BYTES_MAX)?;
    fields::connection_config(&target.provider, &merged)?;
    Ok(merged)
}

fn unknown_connection(provider_config_key: &str, connection_id: &str) -> ConnectionsError {
    ConnectionsError::UnknownConnection {
        provider_config_key: provider_config_key.to_owned(),
        connection_id: connection_id.to_owned(),
    }
}
