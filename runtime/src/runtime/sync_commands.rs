//! What can be commanded of syncs besides a run: pause, start, cancel, reset, another frequency, variants.

use super::syncs::{BASE_VARIANT, checkpoint_key};
use super::{InvokeError, Runtime};
use crate::deploy::frequency::{self, FrequencyError};
use crate::model::{EnvironmentId, Frequency, FrequencySource, Function, RunId, Sync, SyncState};
use crate::scheduler::planned;
use crate::store::{StoreError, SyncData};

/// Syncs of one connection, variants included.
const SYNCS_OF_CONNECTION_MAX: usize = 100;

/// What to do with the syncs named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncCommand {
    /// Schedule them, from now on.
    Start,
    /// Schedule them no more, and cancel what runs.
    Pause,
    /// Cancel what waits or runs; the schedule and the checkpoint stay.
    Cancel,
    /// Cancel what runs, forget the checkpoint, and run from the beginning.
    Reset {
        /// Delete the records as well, once.
        empty_records: bool,
    },
}

/// Why a command was refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SyncCommandError {
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    #[error(transparent)]
    Frequency(#[from] FrequencyError),
    #[error(
        "the variant {BASE_VARIANT:?} is the sync itself: it can be neither created nor deleted; choose another name"
    )]
    Reserved,
    #[error("the sync {function:?} of this connection has a variant {variant:?} already")]
    Taken { function: String, variant: String },
    #[error("the connection has {SYNCS_OF_CONNECTION_MAX} syncs, variants included; delete one first")]
    TooMany,
    #[error("the sync {function:?} of this connection has no variant {variant:?}")]
    UnknownVariant { function: String, variant: String },
}

impl From<StoreError> for SyncCommandError {
    fn from(error: StoreError) -> Self {
        Self::Invoke(error.into())
    }
}

impl Runtime {
    /// Does `command` to each sync (`name` or `name::variant`; all of the integration when empty), of one connection or of
    /// all. Nothing is done unless all names are known. A run that is under way in this process ends at once, one of another
    /// process within seconds and without writing anything more.
    ///
    /// # Errors
    /// [`InvokeError`]: an unknown integration, connection or sync.
    pub async fn command_syncs(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        syncs: &[String],
        connection_id: Option<&str>,
        command: SyncCommand,
    ) -> Result<(), InvokeError> {
        let now_ms = self.0.clock.now_ms();
        let selected = self
            .selected_syncs(environment, provider_config_key, syncs, connection_id)
            .await?;
        for (sync, version) in selected {
            let store = &self.0.store;
            let cancelled: Option<RunId> = match command {
                SyncCommand::Start => store.set_sync_state(&sync.id, SyncState::Started, now_ms).await?,
                SyncCommand::Pause => store.set_sync_state(&sync.id, SyncState::Paused, now_ms).await?,
                SyncCommand::Cancel => store.cancel_sync_run(&sync.id, now_ms).await?,
                SyncCommand::Reset { empty_records } => {
                    let function = self
                        .0
                        .functions
                        .active(environment, provider_config_key, &sync.function, now_ms)
                        .await?;
                    let mut data = data_of(&sync, function.as_deref());
                    data.with_records = empty_records;
                    let run = self.queued_run(&sync, version, now_ms);
                    store.reset_sync(&sync, &data, &run, now_ms).await?
                }
            };
            if let Some(run_id) = cancelled {
                self.0.scheduler.stop(&run_id);
            }
        }
        self.0.scheduler.wake();
        Ok(())
    }

    /// Sets how often a sync of one connection runs; none restores what the function declares. Deploys leave it alone. Gives
    /// the frequency that holds now.
    ///
    /// # Errors
    /// [`SyncCommandError`]: an unknown integration, connection or sync, a frequency that is not understood.
    pub async fn set_sync_frequency(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        sync: &str,
        frequency: Option<&str>,
    ) -> Result<Option<Frequency>, SyncCommandError> {
        let frequency = frequency.map(frequency::parse).transpose()?;
        let names = [sync.to_owned()];
        let selected = self
            .selected_syncs(environment, provider_config_key, &names, Some(connection_id))
            .await?;
        let now_ms = self.0.clock.now_ms();
        let mut now_holds = frequency.clone();
        for (sync, _) in selected {
            let from = match &frequency {
                Some(_) => FrequencySource::Connection,
                None => {
                    let function = self
                        .0
                        .functions
                        .active(environment, provider_config_key, &sync.function, now_ms)
                        .await?;
                    now_holds = function.as_deref().and_then(planned::declared);
                    FrequencySource::Function
                }
            };
            let cron = now_holds.as_ref().and_then(Frequency::cron);
            let next_cron_at_ms = cron.and_then(|cron| {
                planned::next_cron_ms(
                    cron,
                    sync.connection_key.as_str(),
                    &sync.function,
                    &sync.variant,
                    now_ms,
                )
            });
            self.0
                .store
                .set_sync_frequency(&sync.id, now_holds.as_ref(), next_cron_at_ms, from, now_ms)
                .await?;
        }
        self.0.scheduler.wake();
        Ok(now_holds)
    }

    /// Makes a variant of a sync for one connection: another sync of the same function with its own schedule, checkpoint and
    /// records.
    ///
    /// # Errors
    /// [`SyncCommandError`]: the name is reserved or taken, the connection has too many, an unknown integration, connection
    /// or sync.
    pub async fn create_sync_variant(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        function: &str,
        variant: &str,
    ) -> Result<Sync, SyncCommandError> {
        if variant == BASE_VARIANT {
            return Err(SyncCommandError::Reserved);
        }
        let names = [function.to_owned()];
        let base = self
            .selected_syncs(environment, provider_config_key, &names, Some(connection_id))
            .await?;
        let target = self
            .0
            .connections
            .target(environment, provider_config_key, connection_id)
            .await
            .map_err(InvokeError::from)?;
        let deployed = self
            .0
            .functions
            .active(environment, provider_config_key, function, self.0.clock.now_ms())
            .await?;
        let (Some(deployed), false) = (deployed, base.is_empty()) else {
            return Err(SyncCommandError::UnknownVariant {
                function: function.to_owned(),
                variant: variant.to_owned(),
            });
        };
        let key = Some(&target.connection.key);
        if self.0.store.syncs(environment, provider_config_key, key).await?.len() >= SYNCS_OF_CONNECTION_MAX {
            return Err(SyncCommandError::TooMany);
        }
        let sync = self.new_sync(&deployed, variant, &target.connection, 0);
        if !self.0.store.insert_new_sync(&sync).await? {
            return Err(SyncCommandError::Taken {
                function: function.to_owned(),
                variant: variant.to_owned(),
            });
        }
        self.0.scheduler.wake();
        Ok(sync)
    }

    /// Deletes a variant with its checkpoint and records; what runs of it is cancelled.
    ///
    /// # Errors
    /// [`SyncCommandError`]: the name is reserved or unknown, an unknown integration or connection.
    pub async fn delete_sync_variant(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
        function: &str,
        variant: &str,
    ) -> Result<(), SyncCommandError> {
        if variant == BASE_VARIANT {
            return Err(SyncCommandError::Reserved);
        }
        let target = self
            .0
            .connections
            .target(environment, provider_config_key, connection_id)
            .await
            .map_err(InvokeError::from)?;
        let key = Some(&target.connection.key);
        let syncs = self.0.store.syncs(environment, provider_config_key, key).await?;
        let sync = syncs
            .into_iter()
            .find(|sync| sync.function == function && sync.variant == variant)
            .ok_or_else(|| SyncCommandError::UnknownVariant {
                function: function.to_owned(),
                variant: variant.to_owned(),
            })?;
        let now_ms = self.0.clock.now_ms();
        let deployed = self
            .0
            .functions
            .active(environment, provider_config_key, function, now_ms)
            .await?;
        let data = data_of(&sync, deployed.as_deref());
        if let Some(run_id) = self.0.store.delete_sync(&sync, &data, now_ms).await? {
            self.0.scheduler.stop(&run_id);
        }
        Ok(())
    }
}

/// The checkpoint of this variant alone, and the models the function declares, as this variant stores them.
fn data_of(sync: &Sync, function: Option<&Function>) -> SyncData {
    let models = function
        .into_iter()
        .flat_map(|function| function.manifest.models.keys());
    SyncData {
        checkpoint_key: checkpoint_key(sync),
        models: models
            .map(|model| {
                if sync.variant == BASE_VARIANT {
                    model.clone()
                } else {
                    format!("{model}::{}", sync.variant)
                }
            })
            .collect(),
        with_records: true,
    }
}
