//! Deleting: what is deleted is hidden at once, then emptied of its secrets, and what its provider has still to be told is kept
//! sealed. What that is, and telling it, is for others.

use std::sync::Arc;

use serde_json::Value;

use super::integrations::unknown_integration;
use super::users_own::{forget_users_own, keep_users_own};
use super::{Connections, ConnectionsError, Fresh, Target, unknown_connection};
use crate::credentials::Secret;
use crate::model::{Connection, ConnectionKey, EnvironmentId, Revocation, RevocationId, Sealed};
use crate::store::DeletedConnection;

impl Connections {
    /// Marks it as deleted: nobody finds it any more, and its name is free. It still has its secrets; see [`Connections::wipe`].
    pub async fn delete(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<ConnectionKey, ConnectionsError> {
        let inner = &self.0;
        self.stored_integration(environment_id, provider_config_key).await?;
        let connection = self.stored(environment_id, provider_config_key, connection_id).await?;
        let deleted = inner
            .store
            .delete_connection(&connection.key, inner.clock.now_ms())
            .await;
        inner
            .caches
            .forget_connection(environment_id, provider_config_key, connection_id);
        if deleted? {
            Ok(connection.key)
        } else {
            Err(unknown_connection(provider_config_key, connection_id))
        }
    }

    /// The same with an integration, its connections and functions.
    pub async fn delete_integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
    ) -> Result<(), ConnectionsError> {
        let inner = &self.0;
        let now_ms = inner.clock.now_ms();
        let deleted = inner.store.delete_integration(environment_id, unique_key, now_ms).await;
        inner.caches.forget_integration(environment_id, unique_key);
        if deleted? {
            Ok(())
        } else {
            Err(unknown_integration(unique_key))
        }
    }

    /// A deleted connection that still has its secrets, with them opened.
    pub fn open_deleted(&self, deleted: &DeletedConnection) -> Result<Target, ConnectionsError> {
        self.0
            .open(Arc::new(deleted.integration.clone()), deleted.connection.clone())
    }

    /// The same connection with fresh credentials, which are stored nowhere.
    pub fn with_fresh(&self, target: &Target, fresh: Fresh) -> Result<Target, ConnectionsError> {
        let mut config = target.connection_config.clone();
        match &fresh.users_own {
            Some(own) => keep_users_own(&mut config, own),
            // Those that are there are revoked with the connection.
            None => forget_users_own(&mut config),
        }
        self.0.target(
            Arc::clone(&target.integration),
            Connection::clone(&target.connection),
            fresh.credentials,
            config,
        )
    }

    /// Empties the secrets of a deleted connection and keeps `requests`, from now on to be made, in the same transaction. False when
    /// somebody else did it: then nothing is kept.
    pub async fn wipe(
        &self,
        deleted: &DeletedConnection,
        requests: Option<&Secret<Value>>,
    ) -> Result<bool, ConnectionsError> {
        let now_ms = self.0.clock.now_ms();
        let revocation = requests.map(|requests| self.revocation(&deleted.connection, requests));
        let key = &deleted.connection.key;
        Ok(self.0.store.wipe_connection(key, revocation.as_ref(), now_ms).await?)
    }

    /// Keeps requests that are to be made for a connection that was deleted before.
    pub async fn keep_revocation(
        &self,
        connection: &Connection,
        requests: &Secret<Value>,
    ) -> Result<(), ConnectionsError> {
        let revocation = self.revocation(connection, requests);
        Ok(self.0.store.insert_revocation(&revocation).await?)
    }

    /// Opens what is left to be told.
    pub fn open_revocation(&self, revocation: &Revocation) -> Result<Secret<Value>, ConnectionsError> {
        self.0.open_json(&place(&revocation.id), &revocation.requests)
    }

    /// Seals what is left to be told.
    #[must_use]
    pub fn seal_revocation(&self, id: &RevocationId, requests: &Secret<Value>) -> Sealed {
        self.0.seal_json(&place(id), requests)
    }

    fn revocation(&self, connection: &Connection, requests: &Secret<Value>) -> Revocation {
        let now_ms = self.0.clock.now_ms();
        let id = RevocationId::new(now_ms, self.0.entropy.bytes());
        Revocation {
            requests: self.seal_revocation(&id, requests),
            id,
            environment_id: connection.environment_id.clone(),
            provider_config_key: connection.provider_config_key.clone(),
            connection_id: connection.connection_id.clone(),
            provider: connection.provider.clone(),
            attempts: 0,
            due_at_ms: now_ms,
            created_at_ms: now_ms,
        }
    }
}

fn place(id: &RevocationId) -> String {
    format!("revocation:{id}:requests")
}
