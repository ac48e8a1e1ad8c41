//! Canaries: what is looked after while they run, and ending them by hand. Whatever ends one is an operation in the log.

use super::Runtime;
use super::logs::Started;
use crate::connections::ConnectionsError;
use crate::deploy::{Verdict, judge};
use crate::model::{Canary, CanaryState, EnvironmentId};
use crate::store::StoreError;

/// How a canary is ended by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryEnd {
    /// Its versions become active for all connections.
    Promote,
    /// The connections that tried it go back to the active versions.
    Abort,
}

impl Runtime {
    /// The last canary of an integration, running or not; none when there was none.
    ///
    /// # Errors
    /// When the integration is unknown, or the database fails.
    pub async fn canary(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
    ) -> Result<Option<Canary>, ConnectionsError> {
        let integration = self.integration(environment, provider_config_key).await?;
        Ok(self.0.store.canary(&integration.id).await?)
    }

    /// Ends the running canary of an integration and gives it as it is then; none when none is running.
    ///
    /// # Errors
    /// When the integration is unknown, or the database fails.
    pub async fn end_canary(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        end: CanaryEnd,
    ) -> Result<Option<Canary>, ConnectionsError> {
        let started = self.started();
        let running = self.canary(environment, provider_config_key).await?;
        let Some(canary) = running.filter(|canary| canary.state == CanaryState::Running) else {
            return Ok(None);
        };
        let (state, reason) = match end {
            CanaryEnd::Promote => (CanaryState::Promoted, "somebody promoted it"),
            CanaryEnd::Abort => (CanaryState::Aborted, "somebody aborted it"),
        };
        if !self.close_canary(&canary, state, reason, &started).await? {
            return Ok(None);
        }
        self.canary(environment, provider_config_key).await
    }

    /// Promotes and rolls back what is ripe for it.
    pub(super) async fn tick_canaries(&self, now_ms: i64) -> Result<(), StoreError> {
        for canary in self.0.store.running_canaries().await? {
            let started = self.started();
            let (state, reason) = match judge(&canary, now_ms) {
                Verdict::GoesOn => continue,
                Verdict::RollBack(reason) => (CanaryState::RolledBack, reason),
                Verdict::Promote(reason) => (CanaryState::Promoted, reason),
            };
            self.close_canary(&canary, state, &reason, &started).await?;
        }
        Ok(())
    }

    /// False when somebody else has done it.
    async fn close_canary(
        &self,
        canary: &Canary,
        state: CanaryState,
        reason: &str,
        started: &Started,
    ) -> Result<bool, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let store = &self.0.store;
        let is_ended = store.end_canary(&canary.integration_id, state, reason, now_ms).await?;
        // Also what others ended is to be seen at once.
        for function in &canary.functions {
            let key = &canary.provider_config_key;
            self.0.functions.forget(&canary.environment_id, key, &function.name);
        }
        if is_ended {
            self.0.scheduler.wake();
            self.log_canary(canary, state, reason, started);
        }
        Ok(is_ended)
    }
}
