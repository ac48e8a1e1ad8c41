//! What becomes of records that have got old: payloads that were not changed for a while are emptied, and records of syncs that have not
//! run for a while are deleted. Neither is done unless the settings say so.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::RecordsError;
use crate::clock::{Clock, Entropy};
use crate::logs::Logs;
use crate::model::{Checkpoint, Connection, FunctionKind, Level, Operation, OperationKind, OperationState, Sync};
use crate::store::{IdleSync, RecordKey, RetentionBatch, Store, UpkeepLease};

const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;
/// Records of one transaction, so that others get their turn.
pub const RETENTION_BATCH_RECORDS: i64 = 256;
/// Transactions of one tick of the server.
pub const RETENTION_BATCHES_MAX: usize = 1_000;
/// A process that takes longer for a batch has lost its turn.
const LEASE_MS: i64 = 5 * 60 * 1_000;
const WORK: &str = "record_retention";

/// Looks after old records. Cheap to clone.
#[derive(Clone)]
pub struct Retention {
    pub store: Store,
    pub logs: Logs,
    pub clock: Clock,
    pub entropy: Entropy,
    pub days: RetentionDays,
    pub looked: Looked,
    /// Transactions of one tick; the next one goes on.
    pub batches_max: usize,
}

/// Up to when this process has looked for records to delete. A model that is old may have a sync that runs and finds nothing new, which
/// takes some queries to know: that is done once a day.
#[derive(Clone, Debug, Default)]
pub struct Looked(Arc<AtomicI64>);

/// How long what is kept. 0: for ever.
#[derive(Clone, Copy, Debug)]
pub struct RetentionDays {
    /// A payload after its record was changed.
    pub payloads: u32,
    /// Records after the last run of their sync.
    pub records: u32,
}

/// What a tick did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    pub pruned: u64,
    pub deleted: u64,
    /// There is more to be done now.
    pub more: bool,
}

/// The transactions a tick has left.
struct Turn {
    lease: UpkeepLease,
    batches_left: usize,
}

impl Retention {
    /// Empties and deletes what has got too old by `now_ms`, in batches. To be called every few minutes, by every process: one at a
    /// time does something.
    ///
    /// # Errors
    /// When the database fails; what was done stays done.
    pub async fn tick(&self, now_ms: i64) -> Result<Retained, RecordsError> {
        if self.days.payloads == 0 && self.days.records == 0 {
            return Ok(Retained::default());
        }
        let lease_until_ms = now_ms.saturating_add(LEASE_MS);
        let Some(lease) = self.store.acquire_upkeep(WORK, now_ms, lease_until_ms).await? else {
            return Ok(Retained::default());
        };
        let mut turn = Turn {
            lease,
            batches_left: self.batches_max,
        };
        let now_us = now_ms.saturating_mul(1_000);
        // Deleted first: what goes needs not be emptied.
        let deleted = match self.days.records {
            0 => 0,
            days => {
                let before_us = before_us(now_us, days);
                self.delete(&mut turn, before_us - before_us.rem_euclid(DAY_US), now_ms)
                    .await?
            }
        };
        let pruned = match self.days.payloads {
            0 => 0,
            days => self.prune(&mut turn, before_us(now_us, days), now_us).await?,
        };
        self.store.release_upkeep(lease).await?;
        Ok(Retained {
            pruned,
            deleted,
            more: turn.batches_left == 0,
        })
    }

    async fn prune(&self, turn: &mut Turn, before_us: i64, now_us: i64) -> Result<u64, RecordsError> {
        let (mut in_all, mut after) = (0, None);
        while let Some(key) = self.store.next_model_to_prune(after.as_ref(), before_us).await? {
            let mut pruned = 0;
            while let Some(batch) = turn.batch(self.clock.now_ms()) {
                let Some(done) = self.store.prune_old_records(batch, &key, before_us, now_us).await? else {
                    turn.batches_left = 0;
                    break;
                };
                pruned += done.count;
                if !done.has_more {
                    break;
                }
            }
            if pruned > 0 {
                let days = self.days.payloads;
                self.log(&key, OperationKind::RecordsPrune, |model| {
                    format!(
                        "The payloads of {pruned} records of {model} were emptied: they had not changed for {days} days \
                         (limits.record_payload_retention_days)"
                    )
                })
                .await?;
            }
            in_all += pruned;
            if turn.batches_left == 0 {
                break;
            }
            after = Some(key);
        }
        Ok(in_all)
    }

    async fn delete(&self, turn: &mut Turn, before_us: i64, now_ms: i64) -> Result<u64, RecordsError> {
        let (mut in_all, mut after) = (0, None);
        if self.looked.0.load(Ordering::Acquire) == before_us {
            return Ok(in_all);
        }
        while let Some(key) = self.store.next_model_unwritten(after.as_ref(), before_us).await? {
            let Some(syncs) = self.idle_syncs(&key, before_us / 1_000).await? else {
                after = Some(key);
                continue;
            };
            let mut deleted = 0;
            while let Some(batch) = turn.batch(self.clock.now_ms()) {
                let done = self.store.delete_old_records(batch, &key, &syncs, before_us, now_ms);
                let Some(done) = done.await? else {
                    turn.batches_left = 0;
                    break;
                };
                deleted += done;
                if done == 0 {
                    break;
                }
            }
            if deleted > 0 {
                let days = self.days.records;
                self.log(&key, OperationKind::RecordsDelete, |model| {
                    format!(
                        "{deleted} records of {model} were deleted: no sync that writes them has run for {days} days \
                         (limits.record_retention_days)"
                    )
                })
                .await?;
            }
            in_all += deleted;
            if turn.batches_left == 0 {
                return Ok(in_all);
            }
            after = Some(key);
        }
        self.looked.0.store(before_us, Ordering::Release);
        Ok(in_all)
    }

    /// The syncs that write a model; none when one of them has run since, or the connection is gone.
    async fn idle_syncs(&self, key: &RecordKey, since_ms: i64) -> Result<Option<Vec<IdleSync>>, RecordsError> {
        let Some(connection) = self.store.connection_by_key(&key.connection_key).await? else {
            return Ok(None);
        };
        let Connection {
            environment_id,
            provider_config_key,
            ..
        } = &connection;
        let functions = self.store.functions(environment_id, Some(provider_config_key)).await?;
        let writes = |sync: &Sync| {
            let mut functions = functions.iter();
            let function = functions.find(|function| function.name == sync.function);
            function.is_some_and(|function| function.writes(&key.model, &sync.variant))
        };
        let mut syncs = self
            .store
            .syncs(environment_id, provider_config_key, Some(&key.connection_key))
            .await?;
        syncs.retain(writes);
        let ran_since = |sync: &Sync| {
            let last = sync.last_run.as_ref();
            last.is_some_and(|run| run.ended_at_ms.is_none_or(|ended_at_ms| ended_at_ms > since_ms))
        };
        if syncs.iter().any(ran_since) {
            return Ok(None);
        }
        let idle = syncs.iter().map(|sync| IdleSync {
            id: sync.id.clone(),
            checkpoint_key: Checkpoint::key(FunctionKind::Sync, &sync.function, &sync.variant),
        });
        Ok(Some(idle.collect()))
    }

    async fn log(
        &self,
        key: &RecordKey,
        kind: OperationKind,
        text: impl FnOnce(&str) -> String,
    ) -> Result<(), RecordsError> {
        // Deleted meanwhile: nobody asks.
        let Some(connection) = self.store.connection_by_key(&key.connection_key).await? else {
            return Ok(());
        };
        let operation = Operation {
            provider_config_key: Some(connection.provider_config_key.into()),
            connection_id: Some(connection.connection_id.into()),
            ..Operation::at_once(
                self.clock.now_ms(),
                self.entropy.bytes(),
                connection.environment_id,
                kind,
                OperationState::Success,
                text(&key.model),
            )
        };
        self.logs.event(operation, Level::Info);
        Ok(())
    }
}

impl Turn {
    fn batch(&mut self, now_ms: i64) -> Option<RetentionBatch> {
        self.batches_left = self.batches_left.checked_sub(1)?;
        Some(RetentionBatch {
            lease: self.lease,
            until_ms: now_ms.saturating_add(LEASE_MS),
            records: RETENTION_BATCH_RECORDS,
        })
    }
}

fn before_us(now_us: i64, days: u32) -> i64 {
    now_us.saturating_sub(i64::from(days).saturating_mul(DAY_US))
}
