//! Room for `concurrent_runs` runs; who comes later waits, not too long and not with too many others. The pool of instances is
//! sized so that whoever has a slot finds an instance.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// How long a run waits for a slot.
const SLOT_TIMEOUT_MS: u64 = 30_000;
/// Runs that wait for a slot at the same time.
const WAITING_MAX: usize = 10_000;

pub(super) struct Slots {
    slots: Semaphore,
    slots_max: u32,
    timeout_ms: u64,
    waiting: AtomicUsize,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SlotError {
    #[error(
        "no run ended within {timeout_ms} ms while {slots_max} were under way (limits.concurrent_runs): try again later"
    )]
    Timeout { slots_max: u32, timeout_ms: u64 },
    #[error("{WAITING_MAX} runs are waiting already: try again later")]
    TooManyWaiting,
    #[error("the runtime is stopping")]
    Stopping,
}

impl Slots {
    pub(super) fn new(slots_max: u32) -> Self {
        let slots_max = slots_max.max(1);
        let permits = usize::try_from(slots_max).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            slots: Semaphore::new(permits.min(Semaphore::MAX_PERMITS)),
            slots_max,
            timeout_ms: SLOT_TIMEOUT_MS,
            waiting: AtomicUsize::new(0),
        }
    }

    pub(super) async fn take(&self) -> Result<SemaphorePermit<'_>, SlotError> {
        if let Ok(slot) = self.slots.try_acquire() {
            return Ok(slot);
        }
        let _waiting = Waiting::enter(&self.waiting).ok_or(SlotError::TooManyWaiting)?;
        match tokio::time::timeout(Duration::from_millis(self.timeout_ms), self.slots.acquire()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_closed)) => Err(SlotError::Stopping),
            Err(_elapsed) => Err(SlotError::Timeout {
                slots_max: self.slots_max,
                timeout_ms: self.timeout_ms,
            }),
        }
    }

    /// Waits up to `grace_ms` until all slots are free, then gives none any more.
    pub(super) async fn close(&self, grace_ms: u64) {
        // Runs that wait already come first, which is fair; new ones come after this and are refused.
        let all = tokio::time::timeout(Duration::from_millis(grace_ms), self.slots.acquire_many(self.slots_max)).await;
        if all.is_err() {
            tracing::warn!("Runs were still under way after {grace_ms} ms and are ended");
        }
        self.slots.close();
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize) -> Option<Self> {
        let entered = Self(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < WAITING_MAX).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_a_slot_but_not_for_ever() {
        let mut slots = Slots::new(1);
        slots.timeout_ms = 0;
        let first = slots.take().await.unwrap();
        assert_eq!(
            slots.take().await.unwrap_err(),
            SlotError::Timeout {
                slots_max: 1,
                timeout_ms: 0
            }
        );
        drop(first);
        assert!(slots.take().await.is_ok());
        slots.close(10).await;
        assert_eq!(slots.take().await.unwrap_err(), SlotError::Stopping);
    }
}
