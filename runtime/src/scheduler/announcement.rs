//! What the application is told of the end of a run.

use super::{Parts, Scheduler};
use crate::model::{Checkpoint, FunctionKind, Run, RunState, Sync, Webhook};
use crate::store::StoreError;
use crate::webhooks::{Checkpoints, SyncEnd, SyncType};

/// What is known of a run before it goes on.
pub(super) struct Before {
    /// None when the sync or its connection is gone: there is nobody to be told about.
    sync: Option<Sync>,
    /// As it is stored, JSON.
    checkpoint: Option<String>,
    /// Another process has died with this run: what that one counted is not known.
    resumed: bool,
}

impl Scheduler {
    pub(super) async fn before(&self, run: &Run, fence: i64) -> Before {
        let found = async {
            let sync = self.0.sync_of_run(run).await?;
            let checkpoint = match &sync {
                Some(sync) => self.0.checkpoint(run, sync).await?,
                None => None,
            };
            Ok::<_, StoreError>((sync, checkpoint))
        };
        let (sync, checkpoint) = found.await.unwrap_or_else(|error| {
            tracing::warn!(run.id = %run.id, %error, "Where run {} begins was not read: {error}", run.id);
            (None, None)
        });
        Before {
            sync,
            checkpoint,
            resumed: fence > 1,
        }
    }

    /// The webhooks that tell of a run that has ended.
    pub(super) async fn announcement(&self, run: &Run, before: &Before) -> Result<Vec<Webhook>, StoreError> {
        let parts = &*self.0;
        // Looked for again: the database may have failed before.
        let sync = match &before.sync {
            Some(sync) => Some(sync.clone()),
            None => parts.sync_of_run(run).await?,
        };
        let connection = parts.store.connection_by_key(&run.connection_key).await?;
        let Some((sync, connection)) = sync.zip(connection) else {
            return Ok(Vec::new());
        };
        let function = parts
            .store
            .function_for(
                &run.environment_id,
                &connection.provider_config_key,
                &run.function,
                &run.connection_key,
            )
            .await?;
        let models = function.iter().flat_map(|function| function.manifest.models.keys());
        let checkpoint = parts.checkpoint(run, &sync).await?;
        let succeeded = parts.store.last_run(&sync.id, &[RunState::Succeeded]).await?;
        let plan = parts.webhooks.plan(&run.environment_id).await?;
        Ok(plan.sync_ended(&SyncEnd {
            connection: &connection,
            sync: &run.function,
            variant: &sync.variant,
            sync_type: match succeeded {
                Some(_) => SyncType::Incremental,
                None => SyncType::Initial,
            },
            models: models.map(String::as_str).collect(),
            counts: &run.result,
            resumed: before.resumed,
            checkpoints: Checkpoints::new(before.checkpoint.as_deref(), checkpoint.as_deref()),
            started_at_ms: run.started_at_ms.unwrap_or(run.created_at_ms),
            ended_at_ms: run.ended_at_ms.unwrap_or_else(|| parts.clock.now_ms()),
            error: run.error.as_ref(),
        }))
    }
}

impl Parts {
    async fn sync_of_run(&self, run: &Run) -> Result<Option<Sync>, StoreError> {
        match &run.sync_id {
            Some(id) => self.store.sync(id).await,
            None => Ok(None),
        }
    }

    async fn checkpoint(&self, run: &Run, sync: &Sync) -> Result<Option<String>, StoreError> {
        let key = Checkpoint::key(FunctionKind::Sync, &run.function, &sync.variant);
        let checkpoint = self.store.checkpoint(&run.connection_key, &key).await?;
        Ok(checkpoint.map(|checkpoint| checkpoint.json))
    }
}
