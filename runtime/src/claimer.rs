//! How a process gets at work that waits in the database for whichever process has room: actions in the background, syncs and runs for
//! webhooks. What is claimed is worked on under a lease that is renewed, and its end is written until it is written; a process
//! that dies leaves a lease that ends, and the work is claimed again. What is claimed, and what is done then, is the queue's own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::clock::Clock;
use crate::store::StoreError;

/// Tries to write the end of something before it is left to its lease.
const WRITE_TRIES_MAX: u32 = 5;
const WRITE_RETRY_MS: u64 = 500;

/// The room that this process has for work of one queue, and when it looks for some.
pub struct Claimer {
    clock: Clock,
    wake: Notify,
    /// One permit for each piece of work; all of them free means idle.
    slots: Arc<Semaphore>,
    slots_max: u32,
    /// Work is found at the latest after this long, should a wake-up be lost or another process have queued it.
    poll_interval_ms: u64,
}

impl Claimer {
    #[must_use]
    pub fn new(clock: Clock, slots_max: u32, poll_interval_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            clock,
            wake: Notify::new(),
            slots: Arc::new(Semaphore::new(slots_max as usize)),
            slots_max,
            poll_interval_ms,
        })
    }

    /// Has the queue looked at: something was put into it.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Claims as much as there are free slots, with `claim`, and does the `work` of each in a task of its own. Gives how much it began.
    ///
    /// # Errors
    /// Those of `claim`.
    pub async fn begin<T, F, W>(
        self: &Arc<Self>,
        claim: impl FnOnce(usize) -> F,
        work: impl Fn(T) -> W,
    ) -> Result<usize, StoreError>
    where
        F: Future<Output = Result<Vec<T>, StoreError>>,
        W: Future<Output = ()> + Send + 'static,
    {
        let free = self.slots.available_permits();
        if free == 0 {
            return Ok(0);
        }
        let claimed = claim(free).await?;
        let count = claimed.len();
        for one in claimed {
            // Nobody else takes permits, so one is free for each that was claimed.
            let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
                break;
            };
            let (claimer, work) = (Arc::clone(self), work(one));
            tokio::spawn(async move {
                work.await;
                drop(slot);
                claimer.wake();
            });
        }
        Ok(count)
    }

    /// Calls `tick` with the time whenever there may be work, until the future is dropped. `what` the queue holds is for the log.
    pub async fn run<F>(&self, what: &str, tick: impl Fn(i64) -> F)
    where
        F: Future<Output = Result<usize, StoreError>>,
    {
        loop {
            // Registered before looking, so that what is queued between look and wait is not overlooked.
            let woken = self.wake.notified();
            if let Err(error) = tick(self.clock.now_ms()).await {
                tracing::error!(%error, "Queued {what} cannot be read from the database: {error}; trying again");
            }
            tokio::select! {
                () = woken => {}
                () = self.clock.sleep(Duration::from_millis(self.poll_interval_ms)) => {}
            }
        }
    }

    /// Waits until nothing is under way in this process, at most `wait_ms`. True when it is so.
    pub async fn drain(&self, wait_ms: u64) -> bool {
        let idle = self.slots.acquire_many(self.slots_max);
        tokio::time::timeout(Duration::from_millis(wait_ms), idle).await.is_ok()
    }

    /// Renews the lease of `what` again and again; comes back when it is lost, which `renew` says with false. `renew` is given until when it
    /// is to last.
    pub async fn lease_lost<F>(&self, lease: Lease, what: &str, renew: impl Fn(i64) -> F)
    where
        F: Future<Output = Result<bool, StoreError>>,
    {
        loop {
            self.clock.sleep(Duration::from_millis(lease.renewal_ms)).await;
            match renew(self.clock.now_ms() + lease.lasts_ms).await {
                Ok(true) => {}
                Ok(false) => return,
                // The lease may still hold; the next renewal tells.
                Err(error) => tracing::warn!(%error, "The lease of {what} was not renewed: {error}"),
            }
        }
    }

    /// Writes the end of `what`. None when it could not be written: the lease decides.
    pub async fn insist<T, F>(&self, what: &str, write: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        for attempt in 1..=WRITE_TRIES_MAX {
            match write().await {
                Ok(written) => return Some(written),
                Err(error) => {
                    tracing::error!(%error, attempt, "The end of {what} was not recorded: {error}");
                    self.clock.sleep(Duration::from_millis(WRITE_RETRY_MS)).await;
                }
            }
        }
        None
    }
}

/// How long a claim lasts and how often it is renewed.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// What is not renewed for so long is somebody else's.
    pub lasts_ms: i64,
    /// Well before it ends; and how long something goes on at most that another process has cancelled and that writes nothing.
    pub renewal_ms: u64,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn no_more_is_claimed_than_there_is_room_for() {
        let claimer = Claimer::new(Clock::system(), 2, 60_000);
        let (given, taken) = tokio::sync::mpsc::unbounded_channel();
        let asked = Mutex::new(Vec::new());
        let taken = Arc::new(tokio::sync::Mutex::new(taken));
        let tick = || {
            let taken = Arc::clone(&taken);
            claimer.begin(
                |free| {
                    asked.lock().unwrap().push(free);
                    async move { Ok((0..free).collect()) }
                },
                move |_: usize| {
                    let taken = Arc::clone(&taken);
                    async move { assert_eq!(taken.lock().await.recv().await, Some(())) }
                },
            )
        };
        assert_eq!(tick().await.unwrap(), 2);
        assert_eq!(tick().await.unwrap(), 0, "there is no room, so nothing is asked");
        assert!(!claimer.drain(10).await);
        given.send(()).unwrap();
        claimer.wake.notified().await;
        assert_eq!(tick().await.unwrap(), 1);
        given.send(()).unwrap();
        given.send(()).unwrap();
        assert!(claimer.drain(60_000).await);
        assert_eq!(*asked.lock().unwrap(), [2, 1]);
    }
}
