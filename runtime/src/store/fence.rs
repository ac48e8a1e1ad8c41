//! Keeps a run that was cancelled, or that somebody else has claimed, from writing: each of its writes looks, in the same
//! transaction, whether the run is still its own.

use std::sync::Arc;

use sqlx::{Any, Transaction, query};

use super::{Store, StoreError};
use crate::model::Fence;

impl Store {
    /// The same database, for one claim of a run: records and checkpoints are written as long as the claim holds, and
    /// refused with [`StoreError::Superseded`] from then on.
    #[must_use]
    pub fn fenced(&self, fence: Fence) -> Self {
        Self {
            fence: Some(Arc::new(fence)),
            ..self.clone()
        }
    }

    /// Must be the first statement of a transaction: on Postgres it keeps others from claiming or cancelling the run
    /// until the transaction has ended.
    pub(super) async fn check_fence(&self, transaction: &mut Transaction<'static, Any>) -> Result<(), StoreError> {
        let Some(fence) = &self.fence else { return Ok(()) };
        let held = query("UPDATE runs SET fence = fence WHERE id = $1 AND fence = $2 AND state = 'running'")
            .bind(fence.run_id.as_str())
            .bind(fence.number)
            .execute(&mut **transaction)
            .await?;
        if held.rows_affected() == 1 {
            return Ok(());
        }
        // It may be one for a webhook, which has a queue of its own.
        let held = query("UPDATE webhook_runs SET fence = fence WHERE id = $1 AND fence = $2 AND lease_until_ms > 0")
            .bind(fence.run_id.as_str())
            .bind(fence.number)
            .execute(&mut **transaction)
            .await?;
        if held.rows_affected() == 1 {
            return Ok(());
        }
        Err(StoreError::Superseded {
            run_id: fence.run_id.clone(),
        })
    }
}
