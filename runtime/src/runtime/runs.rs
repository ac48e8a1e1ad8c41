//! The history of runs.

use super::Runtime;
use crate::logs::READ_WAIT_MS;
use crate::model::{EnvironmentId, Operation, RunId};
use crate::store::{NamedRun, RunQuery, StoreError};

/// Operations of a run begin with it, or when it is claimed; clocks of two nodes may be apart by so much.
const CLOCKS_APART_MS: i64 = 60_000;

impl Runtime {
    /// Runs of functions, newest first: those that have ended, and open ones of syncs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn runs(&self, environment: &EnvironmentId, wanted: &RunQuery) -> Result<Vec<NamedRun>, StoreError> {
        self.0.logs.flush_within(READ_WAIT_MS).await;
        self.0.store.runs(environment, wanted).await
    }

    /// One run, and its operation in the log unless that is too old; none when there is no such, or it is another environment's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn run(
        &self,
        environment: &EnvironmentId,
        id: &RunId,
    ) -> Result<Option<(NamedRun, Option<Operation>)>, StoreError> {
        self.0.logs.flush_within(READ_WAIT_MS).await;
        let Some(found) = self.0.store.named_run(environment, id).await? else {
            return Ok(None);
        };
        let from_ms = found.run.created_at_ms.saturating_sub(CLOCKS_APART_MS);
        let until_ms = found.run.ended_at_ms.unwrap_or_else(|| self.now_ms()).saturating_add(CLOCKS_APART_MS);
        let operation = self.0.store.operation_of_run(environment, id, (from_ms, until_ms)).await?;
        Ok(Some((found, operation)))
    }
}
