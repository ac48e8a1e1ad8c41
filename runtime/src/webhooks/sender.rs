//! Sends what is in the outbox: claims what is due under a lease and a fence, so that of several processes one sends each, asks the
//! receiver outside of any transaction, and writes down what came of it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::answer::{self, Answer, FAILURES_MAX, Moment};
use super::{Parts, Webhooks, WebhooksError, record};
use crate::model::{Webhook, WebhookState};
use crate::store::{ClaimedWebhook, StoreError, WebhookClaim};

/// Webhooks that a process has on their way at the same time.
pub const SENDS_MAX: usize = 64;
/// To one address.
pub const URL_SENDS_MAX: usize = 8;
/// What is claimed and has no end after this is somebody else's. Longer than the longest time an attempt may take.
pub const LEASE_MS: i64 = 120_000;
/// Webhooks that are due are found at the latest after this long.
const POLL_INTERVAL_MS: u64 = 1_000;
/// A webhook holds back the later ones of its connection until it was tried so often: about 20 s.
const HOLDING_ATTEMPTS: i64 = 4;
/// Tries to write the end of an attempt before it is left to its lease.
const END_TRIES_MAX: u32 = 5;
const END_RETRY_MS: u64 = 500;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// How long those that were delivered can be looked at and sent again.
const DELIVERED_KEPT_MS: i64 = DAY_MS;
/// Rows that are given up or deleted by one statement.
const TIDY_CHUNK: i64 = 1_000;
const TIDY_CHUNKS_MAX: u32 = 20;

impl Webhooks {
    /// Claims webhooks that are due and starts sending them. Gives how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn tick(&self, now_ms: i64) -> Result<usize, StoreError> {
        let parts = &self.0;
        let free = parts.slots.available_permits();
        if free == 0 {
            return Ok(0);
        }
        let under_way = parts.under_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let claimed = parts
            .store
            .claim_webhooks(&WebhookClaim {
                now_ms,
                lease_until_ms: now_ms.saturating_add(LEASE_MS),
                limit: free,
                url_limit: URL_SENDS_MAX,
                under_way,
                failures_max: FAILURES_MAX,
                holding_attempts: HOLDING_ATTEMPTS,
            })
            .await?;
        let count = claimed.len();
        for claimed in claimed {
            // Only this loop takes permits, so one is free for each webhook claimed above.
            let Ok(slot) = Arc::clone(&parts.slots).try_acquire_owned() else {
                break;
            };
            let on_its_way = OnItsWay::new(Arc::clone(parts), claimed.webhook.url.clone());
            let webhooks = self.clone();
            tokio::spawn(async move {
                webhooks.0.attempt(&claimed).await;
                drop(on_its_way);
                drop(slot);
                webhooks.wake();
            });
        }
        Ok(count)
    }

    /// Ticks until the future is dropped.
    pub async fn run(&self) {
        loop {
            // Registered before looking, so that a webhook written between look and wait is not overlooked.
            let woken = self.0.wake.notified();
            if let Err(error) = self.tick(self.0.clock.now_ms()).await {
                tracing::error!(%error, "Webhooks that are due cannot be read from the database: {error}; trying again");
            }
            tokio::select! {
                () = woken => {}
                () = self.0.clock.sleep(Duration::from_millis(POLL_INTERVAL_MS)) => {}
            }
        }
    }

    /// Waits until this process has none on its way, at most `wait_ms`. True when it is so.
    pub async fn drain(&self, wait_ms: u64) -> bool {
        let all = u32::try_from(SENDS_MAX).unwrap_or(u32::MAX);
        let idle = self.0.slots.acquire_many(all);
        tokio::time::timeout(Duration::from_millis(wait_ms), idle).await.is_ok()
    }

    /// Gives up what waits for longer than a day without having been tried, or is more than may wait; lets go of what was delivered
    /// a day ago, and of dead letters that are old or too many. Gives how many rows. To be called every few minutes; does a bounded
    /// amount of work.
    ///
    /// # Errors
    /// The database failed; what was done before stays done.
    pub async fn tidy(&self, now_ms: i64) -> Result<u64, StoreError> {
        let Parts { store, options, .. } = &*self.0;
        let dead_before_ms = now_ms.saturating_sub(i64::from(options.retention_days).saturating_mul(DAY_MS));
        let kept = [
            (WebhookState::Delivered, now_ms.saturating_sub(DELIVERED_KEPT_MS)),
            (WebhookState::Dead, dead_before_ms),
        ];
        let mut rows = 0;
        for (state, before_ms) in kept {
            for _ in 0..TIDY_CHUNKS_MAX {
                let some = store.delete_webhooks_before(state, before_ms, TIDY_CHUNK).await?;
                rows += some;
                if some == 0 {
                    break;
                }
            }
        }
        let queued_before_ms = now_ms.saturating_sub(answer::AGE_MS_MAX + LEASE_MS);
        rows += store
            .give_up_webhooks_before(queued_before_ms, now_ms, TIDY_CHUNK)
            .await?;
        let queue_max = i64::from(options.queue_max);
        for environment in store.environments().await? {
            for _ in 0..TIDY_CHUNKS_MAX {
                let bounded = store.bound_webhooks(&environment.id, queue_max, queue_max, now_ms, TIDY_CHUNK);
                let some = bounded.await?;
                rows += some;
                if some == 0 {
                    break;
                }
            }
        }
        store
            .forget_webhook_targets_before(now_ms.saturating_sub(DAY_MS))
            .await?;
        Ok(rows)
    }
}

impl Parts {
    async fn attempt(&self, claimed: &ClaimedWebhook) {
        let webhook = &claimed.webhook;
        let started_us = self.clock.monotonic_us();
        let answer = match self.send(webhook).await {
            Ok(answer) => answer,
            Err(WebhooksError::Store(error)) => {
                // Nothing was sent; the lease ends, and it is claimed again.
                tracing::warn!(webhook.id = %webhook.id, %error, "A webhook was not sent: {error}");
                return;
            }
            Err(error) => Answer::Refused(error.to_string()),
        };
        let moment = Moment {
            now_ms: self.clock.now_ms(),
            fraction: self.entropy.fraction(),
        };
        let attempt = answer::judge(answer, webhook, &self.options, moment);
        for number in 1..=END_TRIES_MAX {
            match self.store.end_webhook_attempt(claimed, &attempt).await {
                Ok(true) => {
                    record::write(self, webhook, &attempt, started_us);
                    return;
                }
                Ok(false) => {
                    tracing::warn!(webhook.id = %webhook.id, "The webhook {} is somebody else's by now; what came of it is not written here", webhook.id);
                    return;
                }
                Err(error) => {
                    tracing::error!(webhook.id = %webhook.id, %error, attempt = number, "What came of the webhook {} was not written: {error}", webhook.id);
                    self.clock.sleep(Duration::from_millis(END_RETRY_MS)).await;
                }
            }
        }
    }

    async fn send(&self, webhook: &Webhook) -> Result<Answer, WebhooksError> {
        let content = self.open_content(webhook)?;
        let settings = self.settings(&webhook.environment_id).await?;
        let now_ms = self.clock.now_ms();
        let key = self.keys_at(&webhook.environment_id, &settings, now_ms)?.current;
        let event_id = webhook.event_id.as_str();
        Ok(self.client.send(&webhook.url, event_id, &key, &content, now_ms).await)
    }
}

/// Counts a webhook among those on their way to its address, however its sending ends.
struct OnItsWay {
    parts: Arc<Parts>,
    url: String,
}

impl OnItsWay {
    fn new(parts: Arc<Parts>, url: String) -> Self {
        let mut under_way = parts.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        *under_way.entry(url.clone()).or_default() += 1;
        drop(under_way);
        Self { parts, url }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut under_way = self.parts.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.url) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.url);
            }
        }
    }
}
