//! Deleting connections and integrations, in four steps of which each leaves enough behind for the next: mark (nobody finds it any
//! more, its name is free), wipe (its secrets are gone, but for the requests that revoke its tokens, sealed), revoke (the provider
//! is told) and purge (its rows are gone). A delete answers after the second; [`Deletion::tick`] does the rest, and what a process
//! that died left undone.

mod purging;
mod revoking;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

pub use purging::{PurgeQuery, Purged};
pub use revoking::REVOCATION_ATTEMPTS_MAX;

use crate::clock::{Clock, Entropy};
use crate::connections::{Connections, ConnectionsError};
use crate::logs::Logs;
use crate::model::{Connection, ConnectionKey, EnvironmentId, Level, Operation, OperationKind, OperationState};
use crate::oauth::{OAuth, RevocationRequest};
use crate::store::{DeletedConnection, Store};

/// How often there is looked for what is to be done, unless somebody deletes something.
const TICK_INTERVAL_MS: u64 = 60_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct Deletion(Arc<Parts>);

struct Parts {
    connections: Connections,
    oauth: OAuth,
    store: Store,
    logs: Logs,
    clock: Clock,
    entropy: Entropy,
    retention_days: u32,
    log_retention_days: u32,
    wake: Notify,
}

/// What deleting is made of.
pub struct DeletionParts {
    pub connections: Connections,
    pub oauth: OAuth,
    pub store: Store,
    pub logs: Logs,
    pub clock: Clock,
    pub entropy: Entropy,
    /// How long rows of what is deleted are kept.
    pub retention_days: u32,
    /// How long the log is kept; what is in it longer than that is purged with its connection.
    pub log_retention_days: u32,
}

impl Deletion {
    #[must_use]
    pub fn new(parts: DeletionParts) -> Self {
        Self(Arc::new(Parts {
            connections: parts.connections,
            oauth: parts.oauth,
            store: parts.store,
            logs: parts.logs,
            clock: parts.clock,
            entropy: parts.entropy,
            retention_days: parts.retention_days,
            log_retention_days: parts.log_retention_days,
            wake: Notify::new(),
        }))
    }

    /// Deletes a connection: hides it and empties its secrets. Its provider is told soon after.
    ///
    /// # Errors
    /// [`ConnectionsError`]: an unknown integration or connection. What fails after the connection is hidden is none: it is done
    /// again by the next tick.
    pub async fn delete_connection(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<(), ConnectionsError> {
        let key = self
            .0
            .connections
            .delete(environment_id, provider_config_key, connection_id)
            .await?;
        self.wipe_or_leave(Some(&key)).await;
        self.0.wake.notify_one();
        Ok(())
    }

    /// Deletes an integration with its connections and functions, as [`Deletion::delete_connection`].
    ///
    /// # Errors
    /// [`ConnectionsError`]: an unknown integration.
    pub async fn delete_integration(
        &self,
        environment_id: &EnvironmentId,
        unique_key: &str,
    ) -> Result<(), ConnectionsError> {
        self.0
            .connections
            .delete_integration(environment_id, unique_key)
            .await?;
        self.wipe_or_leave(None).await;
        self.0.wake.notify_one();
        Ok(())
    }

    /// Goes on with all that was deleted: wipes, revokes what is due, purges what was deleted long ago. To be called every minute.
    ///
    /// # Errors
    /// When the database fails; what was done stays done.
    pub async fn tick(&self, now_ms: i64) -> Result<(), ConnectionsError> {
        self.wipe(None).await?;
        self.revoke_due(now_ms).await?;
        self.purge_old(now_ms).await?;
        Ok(self.0.store.forget_erased().await?)
    }

    /// Ticks until the future is dropped.
    pub async fn run(&self) {
        loop {
            // Registered before looking, so that a deletion between look and wait is not overlooked.
            let woken = self.0.wake.notified();
            if let Err(error) = self.tick(self.0.clock.now_ms()).await {
                tracing::warn!(%error, "Deleted connections were not looked after: {error}");
            }
            tokio::select! {
                () = woken => {}
                () = self.0.clock.sleep(Duration::from_millis(TICK_INTERVAL_MS)) => {}
            }
        }
    }

    async fn wipe_or_leave(&self, only: Option<&ConnectionKey>) {
        if let Err(error) = self.wipe(only).await {
            tracing::warn!(%error, "The secrets of a deleted connection are still there; they are emptied later: {error}");
        }
    }

    /// Empties the secrets of deleted connections, of `only` one or of all, and then those of deleted integrations.
    async fn wipe(&self, only: Option<&ConnectionKey>) -> Result<(), ConnectionsError> {
        let parts = &self.0;
        let mut after = String::new();
        loop {
            let deleted = parts.store.connections_to_wipe(only, &after).await?;
            let Some(last) = deleted.last() else { break };
            after = last.connection.key.to_string();
            for deleted in &deleted {
                self.wipe_one(deleted).await?;
            }
        }
        if only.is_none() {
            parts.store.wipe_integrations().await?;
        }
        Ok(())
    }

    async fn wipe_one(&self, deleted: &DeletedConnection) -> Result<(), ConnectionsError> {
        let parts = &self.0;
        let requests = match parts.connections.open_deleted(deleted) {
            Ok(target) => parts.oauth.revocation(&target).map_err(|error| error.to_string()),
            Err(ConnectionsError::Store(error)) => return Err(error.into()),
            Err(error) => Err(error.to_string()),
        };
        let kept = match &requests {
            Ok(requests) => RevocationRequest::seal_ready(requests),
            Err(_) => None,
        };
        if !parts.connections.wipe(deleted, kept.as_ref()).await? {
            return Ok(());
        }
        let (level, text) = match (&requests, &kept) {
            (Err(error), _) => (
                Level::Warn,
                format!("The connection was deleted; its tokens are not revoked at the provider: {error}"),
            ),
            (Ok(_), None) => (
                Level::Info,
                "The connection was deleted; there is nothing to revoke at the provider".to_owned(),
            ),
            (Ok(_), Some(_)) => (
                Level::Info,
                "The connection was deleted; its tokens are to be revoked at the provider".to_owned(),
            ),
        };
        self.log(
            OperationKind::ConnectionDelete,
            &names(&deleted.connection),
            OperationState::Success,
            level,
            text,
        );
        Ok(())
    }

    fn log(&self, kind: OperationKind, of: &Names<'_>, state: OperationState, level: Level, text: String) {
        let parts = &self.0;
        let operation = Operation {
            provider_config_key: Some(of.provider_config_key.into()),
            connection_id: Some(of.connection_id.into()),
            ..Operation::at_once(
                parts.clock.now_ms(),
                parts.entropy.bytes(),
                of.environment_id.clone(),
                kind,
                state,
                text,
            )
        };
        parts.logs.event(operation, level);
    }
}

/// What a deleted connection was called.
struct Names<'a> {
    environment_id: &'a EnvironmentId,
    provider_config_key: &'a str,
    connection_id: &'a str,
}

fn names(connection: &Connection) -> Names<'_> {
    Names {
        environment_id: &connection.environment_id,
        provider_config_key: &connection.provider_config_key,
        connection_id: &connection.connection_id,
    }
}
