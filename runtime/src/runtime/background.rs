//! What a runtime does by itself, from its start to its end: loops that tick, and how they and what runs are ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::Runtime;
use super::audit;
use super::keys::{KEYS_RELOAD_INTERVAL_MS, KEYS_USED_INTERVAL_MS};
use crate::actions::MAINTENANCE_INTERVAL_MS;
use crate::ingress;
use crate::records::{SEALING_STEPS_MAX, SealedStored, SealingPlace};
use crate::rotation::ROTATION_INTERVAL_MS;

/// How long [`Runtime::shutdown`] waits for runs that were ended to be written down.
const END_WAIT_MS: u64 = 1_000;
/// How long it waits for answers to webhooks.
const WEBHOOKS_WAIT_MS: u64 = 2_000;
const RETENTION_INTERVAL_MS: u64 = 600_000;
/// The same after a look at records that did not come to its end.
const RETENTION_AGAIN_MS: u64 = 1_000;
/// How often rate limits that nobody hears of any more are looked for.
const RATE_LIMITS_INTERVAL_MS: u64 = 60_000;
/// Between two looks at canaries: how long a faulty one goes on at most, besides what other processes have in memory.
const CANARIES_INTERVAL_MS: u64 = 1_000;
/// How often processes that share a database say that they live; several times before [`crate::logs::WRITER_DEAD_AFTER_MS`].
const SIGN_OF_LIFE_INTERVAL_MS: u64 = 15_000;
/// How often credentials that nobody uses at the moment are looked after.
const REFRESH_INTERVAL_MS: u64 = 60_000;

/// The loops behind a runtime.
#[derive(Default)]
pub(super) struct Background(Mutex<Vec<JoinHandle<()>>>);

impl Background {
    fn add(&self, task: JoinHandle<()>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    fn stop(&self) {
        for task in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl Runtime {
    pub(super) fn start_background(&self) {
        let scheduler = self.0.scheduler.clone();
        self.0
            .background
            .add(tokio::spawn(async move { scheduler.run().await }));
        let deletion = self.0.deletion.clone();
        self.0.background.add(tokio::spawn(async move { deletion.run().await }));
        self.start_canaries();
        self.start_webhooks();
        self.start_ingress();
        let actions = self.0.actions.clone();
        self.0.background.add(tokio::spawn(async move { actions.run().await }));
        let (actions, clock) = (self.0.actions.clone(), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                if let Err(error) = actions.maintain(clock.now_ms()).await {
                    tracing::warn!(%error, "Old actions were not deleted: {error}");
                }
                clock.sleep(Duration::from_millis(MAINTENANCE_INTERVAL_MS)).await;
            }
        }));
        let (proxy, clock) = (self.0.proxy.clone(), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                clock.sleep(Duration::from_millis(RATE_LIMITS_INTERVAL_MS)).await;
                proxy.tick();
            }
        }));
        if self.0.config.database_url.is_some() {
            let (logs, clock) = (self.0.logs.clone(), self.0.clock.clone());
            self.0.background.add(tokio::spawn(async move {
                loop {
                    clock.sleep(Duration::from_millis(SIGN_OF_LIFE_INTERVAL_MS)).await;
                    if let Err(error) = logs.interrupt_orphans(clock.now_ms(), false).await {
                        tracing::warn!(%error, "Operations of processes that died were not looked for: {error}");
                    }
                }
            }));
        }
        self.start_with_keys();
        let (rotation, clock) = (self.0.rotation.clone(), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                if let Err(error) = rotation.tick().await {
                    tracing::warn!(%error, "Encryption keys were not looked after: {error}");
                }
                clock.sleep(Duration::from_millis(ROTATION_INTERVAL_MS)).await;
            }
        }));
        let (oauth, clock) = (self.0.oauth.clone(), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                if let Err(error) = oauth.tick(clock.now_ms()).await {
                    tracing::warn!(%error, "Credentials that are due were not looked for: {error}");
                }
                clock.sleep(Duration::from_millis(REFRESH_INTERVAL_MS)).await;
            }
        }));
        let authorize = self.0.authorize.clone();
        self.0
            .background
            .add(tokio::spawn(async move { authorize.run().await }));
        let (authorize, clock) = (self.0.authorize.clone(), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                if let Err(error) = authorize.delete_ended(clock.now_ms()).await {
                    tracing::warn!(%error, "Authorizations that nobody came back from were not deleted: {error}");
                }
                clock.sleep(Duration::from_millis(RETENTION_INTERVAL_MS)).await;
            }
        }));
        self.start_audit();
        self.start_record_upkeep();
        let (connect, clock) = (self.0.connect.clone(), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                if let Err(error) = connect.delete_ended(clock.now_ms()).await {
                    tracing::warn!(%error, "Connect sessions that have ended were not deleted: {error}");
                }
                clock.sleep(Duration::from_millis(RETENTION_INTERVAL_MS)).await;
            }
        }));
        let (connect, clock) = (self.0.connect.clone(), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                if let Err(error) = connect.tick(clock.now_ms()).await {
                    tracing::warn!(%error, "Credentials that are to be tried again were not looked for: {error}");
                }
                clock.sleep(Duration::from_millis(REFRESH_INTERVAL_MS)).await;
            }
        }));
        let (logs, clock) = (self.0.logs.clone(), self.0.clock.clone());
        let recordings = self.0.recordings.clone();
        self.0.background.add(tokio::spawn(async move {
            loop {
                if let Err(error) = logs.tick(clock.now_ms()).await {
                    tracing::warn!(%error, "Old log operations were not deleted: {error}");
                }
                if let Err(error) = recordings.tick(clock.now_ms()).await {
                    tracing::warn!(%error, "Old recordings of runs were not deleted: {error}");
                }
                clock.sleep(Duration::from_millis(RETENTION_INTERVAL_MS)).await;
            }
        }));
    }

    fn start_canaries(&self) {
        // Not to keep alive what it belongs to.
        let (parts, clock) = (Arc::downgrade(&self.0), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                clock.sleep(Duration::from_millis(CANARIES_INTERVAL_MS)).await;
                let Some(parts) = parts.upgrade() else { return };
                if let Err(error) = Self(parts).tick_canaries(clock.now_ms()).await {
                    tracing::warn!(%error, "Canaries were not looked after: {error}");
                }
            }
        }));
    }

    fn start_webhooks(&self) {
        let webhooks = self.0.webhooks.clone();
        self.0.background.add(tokio::spawn(async move { webhooks.run().await }));
        let (webhooks, clock) = (self.0.webhooks.clone(), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                if let Err(error) = webhooks.tidy(clock.now_ms()).await {
                    tracing::warn!(%error, "Old webhooks were not deleted: {error}");
                }
                clock.sleep(Duration::from_millis(RETENTION_INTERVAL_MS)).await;
            }
        }));
    }

    fn start_ingress(&self) {
        let ingress = self.0.ingress.clone();
        self.0.background.add(tokio::spawn(async move { ingress.run().await }));
        let (ingress, clock) = (self.0.ingress.clone(), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                if let Err(error) = ingress.maintain(clock.now_ms()).await {
                    tracing::warn!(%error, "Webhooks that were handled were not deleted: {error}");
                }
                clock
                    .sleep(Duration::from_millis(ingress::MAINTENANCE_INTERVAL_MS))
                    .await;
            }
        }));
    }

    fn start_record_upkeep(&self) {
        let (records, retention) = (self.0.records.clone(), self.0.retention.clone());
        let clock = self.0.clock.clone();
        self.0.background.add(tokio::spawn(async move {
            let mut place = SealingPlace::default();
            loop {
                let more_in_clear = match records.seal_stored(&mut place, SEALING_STEPS_MAX).await {
                    Ok(SealedStored { sealed, more }) => {
                        if sealed > 0 {
                            let rest = if more { "; there are more" } else { "" };
                            tracing::info!("{sealed} records that were stored in clear were encrypted{rest}");
                        }
                        more
                    }
                    Err(error) => {
                        tracing::warn!(%error, "Records stay in clear until the next try: {error}");
                        false
                    }
                };
                let more = match retention.tick(clock.now_ms()).await {
                    Ok(retained) => retained.more,
                    Err(error) => {
                        tracing::warn!(%error, "Old records were not looked for: {error}");
                        false
                    }
                };
                let wait_ms = if more || more_in_clear {
                    RETENTION_AGAIN_MS
                } else {
                    RETENTION_INTERVAL_MS
                };
                clock.sleep(Duration::from_millis(wait_ms)).await;
            }
        }));
    }

    fn start_audit(&self) {
        let (store, clock) = (self.0.store.clone(), self.0.clock.clone());
        let kept_days = self.0.config.limits.audit_retention_days;
        self.0.background.add(tokio::spawn(async move {
            loop {
                if let Err(error) = audit::tick(&store, kept_days, clock.now_ms()).await {
                    tracing::warn!(%error, "Old entries of the audit were not deleted: {error}");
                }
                clock.sleep(Duration::from_millis(RETENTION_INTERVAL_MS)).await;
            }
        }));
    }

    fn start_with_keys(&self) {
        let (keys, clock) = (Arc::clone(&self.0.keys), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            let mut since_ms = clock.now_ms();
            loop {
                clock.sleep(Duration::from_millis(KEYS_USED_INTERVAL_MS)).await;
                let now_ms = clock.now_ms();
                match keys.write_uses(since_ms).await {
                    Ok(()) => since_ms = now_ms.saturating_sub(1),
                    Err(error) => tracing::warn!(%error, "When API keys were last used was not written down: {error}"),
                }
            }
        }));
        if self.0.config.database_url.is_none() {
            return;
        }
        let (keys, clock) = (Arc::clone(&self.0.keys), self.0.clock.clone());
        self.0.background.add(tokio::spawn(async move {
            loop {
                clock.sleep(Duration::from_millis(KEYS_RELOAD_INTERVAL_MS)).await;
                if let Err(error) = keys.reload().await {
                    tracing::warn!(%error, "API keys that others made or revoked are not known: {error}");
                }
            }
        }));
    }

    /// Takes no queued work any more and tells all running functions to save what they have and return. To be called when the
    /// order to stop comes, before requests under way are waited for.
    pub fn begin_shutdown(&self) {
        self.0.background.stop();
        self.0.executor.ask_to_stop();
    }

    /// Stops taking queued work, tells running functions to return, waits for them (`limits.shutdown_timeout_ms` at most; a sync that
    /// is ended then is resumed from its checkpoint, an action tried again within its retries) and writes what is left of the
    /// log.
    pub async fn shutdown(&self) {
        self.begin_shutdown();
        let wait_ms = self.0.config.limits.shutdown_timeout_ms;
        let (syncs, actions, webhooks) = tokio::join!(
            self.0.scheduler.drain(wait_ms),
            self.0.actions.drain(wait_ms),
            self.0.ingress.drain(wait_ms)
        );
        if !syncs || !actions || !webhooks {
            tracing::warn!("Some runs did not end within {wait_ms} ms (limits.shutdown_timeout_ms) and are ended");
        }
        self.0.executor.shutdown(END_WAIT_MS).await;
        self.0.actions.drain(END_WAIT_MS).await;
        self.0.ingress.drain(END_WAIT_MS).await;
        // What is on its way is sent again when its lease ends, should it not have an answer by then.
        self.0.webhooks.drain(WEBHOOKS_WAIT_MS).await;
        self.0.recordings.close().await;
        if let Err(error) = self.0.keys.write_uses(0).await {
            tracing::warn!(%error, "When API keys were last used was not written down: {error}");
        }
        self.0.logs.close().await;
        if let Err(error) = self.0.rotation.end().await {
            tracing::warn!(%error, "Others may wait a minute for this process when they rotate encryption keys: {error}");
        }
        self.0.store.close().await;
    }
}
