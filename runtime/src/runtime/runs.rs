//! The history of runs.

use super::Runtime;
use crate::logs::READ_WAIT_MS;
use crate::model::{EnvironmentId, Operation, RunId};
use crate::store::{NamedRun, OperationQuery, RunQuery, StoreError};

impl Runtime {
    /// Runs of functions, newest first: those that have ended, handlers of webhooks among them, and open ones of syncs.
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
        let query = OperationQuery {
            run_id: Some(id.clone()),
            limit: 1,
            ..OperationQuery::default()
        };
        let operation = self.0.store.operations(environment, &query).await?.into_iter().next();
        Ok(Some((found, operation)))
    }
}
