use super::{Store, StoreError};
use crate::model::{EnvironmentId, Run, RunId, RunState, SyncId};

impl Store {
    /// Inserts runs or, where the id is there already, rewrites state, error, result and times. One statement for many rows.
    pub async fn write_runs(&self, _runs: &[Run]) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn run(&self, _environment_id: &EnvironmentId, _id: &RunId) -> Result<Option<Run>, StoreError> {
        todo!()
    }
    /// Queues a run of a sync unless one is queued or running: false then.
    pub async fn enqueue_sync_run(&self, _run: &Run) -> Result<bool, StoreError> {
        todo!()
    }
    /// Claims up to `limit` runs that are queued, or running with a lease that ended, in one statement (compare-and-set): they become running
    /// with `lease_until_ms`. The fence grows with each claim.
    pub async fn claim_sync_runs(
        &self,
        _now_ms: i64,
        _lease_until_ms: i64,
        _limit: i64,
    ) -> Result<Vec<ClaimedRun>, StoreError> {
        todo!()
    }
    /// Prolongs the lease. False when the fence is stale: somebody else has the run, stop.
    pub async fn renew_lease(&self, _id: &RunId, _fence: i64, _lease_until_ms: i64) -> Result<bool, StoreError> {
        todo!()
    }
    /// Writes the end of a claimed run. False when the fence is stale.
    pub async fn finish_sync_run(&self, _run: &Run, _fence: i64) -> Result<bool, StoreError> {
        todo!()
    }
    /// The newest run of a sync in one of `states` (all when empty).
    pub async fn last_run(&self, _sync_id: &SyncId, _states: &[RunState]) -> Result<Option<Run>, StoreError> {
        todo!()
    }
}

/// A run and the token that proves whose it is.
#[derive(Clone, Debug)]
pub struct ClaimedRun {
    pub run: Run,
    pub fence: i64,
}
