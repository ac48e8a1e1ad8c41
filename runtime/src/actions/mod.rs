//! Actions that outlive the request that asked for them: those in the background, and those that a caller may ask for again
//! under the same idempotency key.
//!
//! An action is in the database before anybody is told that it was accepted. An attempt is claimed with a lease and a fence, as a
//! sync's run is. An attempt whose process dies counts: it is made again only within the action's retries, so that a
//! function runs at most once where no retries were asked for.

mod announcement;
mod attempt;
mod pick;
mod retry;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::claimer::{Claimer, Lease};
use crate::clock::{Clock, ClockWatch, Entropy};
use crate::config::Limits;
use crate::connections::Connections;
use crate::executor::{Cancel, Executor, RunRequest};
use crate::model::{Action, RunError, RunState};
use crate::store::{ActionInserted, Store, StoreError};
use crate::webhooks::Webhooks;

use pick::{PickLimits, pick};

const LEASE: Lease = Lease {
    lasts_ms: 30_000,
    renewal_ms: 5_000,
};
/// After the clock was set forward, by when all who live have renewed their leases.
const LEASE_SETTLE_MS: i64 = 10_000;
/// Also finds actions whose wait has ended.
const POLL_INTERVAL_MS: u64 = 500;
/// How often old rows are looked for.
pub const MAINTENANCE_INTERVAL_MS: u64 = 60_000;
/// How long an idempotency key is remembered: a day.
const KEY_MS: i64 = 24 * 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Rows deleted, or failed, by one statement.
const CHUNK: i64 = 1_000;
/// Statements of one [`Actions::maintain`].
const CHUNKS_MAX: usize = 100;

/// Cheap to clone.
#[derive(Clone)]
pub struct Actions(Arc<Parts>);

struct Parts {
    store: Store,
    executor: Executor,
    connections: Connections,
    clock: Clock,
    entropy: Entropy,
    webhooks: Webhooks,
    environment_name: Arc<str>,
    limits: Limits,
    /// With a slot for each attempt this process may have going.
    claimer: Arc<Claimer>,
    /// Attempts of this process, by the action's id.
    running: Mutex<HashMap<String, Cancel>>,
    clock_watch: ClockWatch,
}

/// What they are made of.
pub struct ActionsParts {
    pub store: Store,
    pub executor: Executor,
    pub connections: Connections,
    pub clock: Clock,
    pub entropy: Entropy,
    pub webhooks: Webhooks,
    pub environment_name: Arc<str>,
    pub limits: Limits,
}

/// Why an action was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ActionsError {
    #[error(
        "{queued_max} actions of this environment are queued already (limits.queued_async_actions): try again later"
    )]
    QueueFull { queued_max: u32 },
    #[error(
        "the idempotency key {key:?} was used within the last 24 hours for something else: take a new key for a new call"
    )]
    KeyReused { key: String },
    #[error("the first call with the idempotency key {key:?} is still under way: ask again in a moment")]
    KeyInFlight { key: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Actions {
    #[must_use]
    pub fn new(parts: ActionsParts) -> Self {
        let ActionsParts {
            store,
            executor,
            connections,
            clock,
            entropy,
            webhooks,
            environment_name,
            limits,
        } = parts;
        let claimer = Claimer::new(clock.clone(), limits.concurrent_async_actions, POLL_INTERVAL_MS);
        Self(Arc::new(Parts {
            store,
            executor,
            connections,
            clock,
            entropy,
            webhooks,
            environment_name,
            claimer,
            limits,
            running: Mutex::default(),
            clock_watch: ClockWatch::new(LEASE_SETTLE_MS),
        }))
    }

    /// Accepts an action for the background. What it gives is committed. A repetition under the same idempotency key gives the
    /// first one.
    ///
    /// # Errors
    /// [`ActionsError`]: too many are queued, or the key was used for something else.
    pub async fn queue(&self, action: Action) -> Result<Action, ActionsError> {
        match self.insert(&action).await? {
            Some(known) => Ok(known),
            None => {
                self.0.claimer.wake();
                Ok(action)
            }
        }
    }

    /// Runs an action under an idempotency key and gives its output; the same again, errors included, to whoever repeats the
    /// call. Goes on when the caller stops waiting.
    ///
    /// # Errors
    /// [`ActionsError`], or within it how the run failed.
    pub async fn perform(&self, action: Action, request: RunRequest) -> Result<Result<String, RunError>, ActionsError> {
        if let Some(known) = self.insert(&action).await? {
            return match known.state {
                RunState::Queued | RunState::Running => Err(ActionsError::KeyInFlight { key: key_of(&known) }),
                RunState::Succeeded => Ok(Ok(known.output.unwrap_or_else(|| "null".to_owned()))),
                RunState::Failed | RunState::Cancelled => Ok(Err(known.error.unwrap_or_else(interrupted))),
            };
        }
        let actions = self.clone();
        let performed = tokio::spawn(async move { actions.perform_once(action, request).await });
        Ok(performed.await.unwrap_or_else(|_| Err(interrupted())))
    }

    /// Asks for the end of an action. One that has ended stays as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cancel(&self, id: &str) -> Result<(), StoreError> {
        self.0
            .store
            .cancel_action(id, &cancelled(), self.0.clock.now_ms(), &self.0.announce().await?)
            .await?;
        self.0.webhooks.wake();
        if let Some(cancel) = self.running().get(id) {
            cancel.cancel();
        }
        Ok(())
    }

    /// Frees what dead processes held, then claims as many queued actions as there are free slots and starts them. Gives how
    /// many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tick(&self, now_ms: i64) -> Result<usize, StoreError> {
        let parts = &self.0;
        let look = parts.clock_watch.look(&parts.clock);
        if look.leases_count && parts.store.has_lost_actions(now_ms).await? {
            let announce = parts.announce().await?;
            let recovered = parts
                .store
                .recover_actions(now_ms, &cancelled(), &interrupted(), &announce)
                .await?;
            parts.webhooks.wake();
            tracing::warn!("{recovered} attempts of actions were under way when their process ended");
        }
        let limits = PickLimits::of(&parts.limits);
        let claim = |free| {
            let of_each_max = i64::try_from(free).unwrap_or(i64::MAX);
            let until_ms = now_ms + LEASE.lasts_ms;
            parts
                .store
                .claim_actions(now_ms, until_ms, of_each_max, move |waiting, running| {
                    pick(waiting, running, limits, free)
                })
        };
        let work = |one| {
            let actions = self.clone();
            async move { actions.attempt(one).await }
        };
        parts.claimer.begin(claim, work).await
    }

    /// Has the queue looked at: something was put into it.
    pub fn wake(&self) {
        self.0.claimer.wake();
    }

    /// Ticks until the future is dropped.
    pub async fn run(&self) {
        self.0.claimer.run("actions", |now_ms| self.tick(now_ms)).await;
    }

    /// Fails what was queued for too long, frees idempotency keys, deletes old results and locks that ended. To be called every
    /// [`MAINTENANCE_INTERVAL_MS`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn maintain(&self, now_ms: i64) -> Result<(), StoreError> {
        let Parts { store, limits, .. } = &*self.0;
        let wait_ms = i64::try_from(limits.async_wait_ms).unwrap_or(i64::MAX);
        let error = expired(limits.async_wait_ms);
        for _ in 0..CHUNKS_MAX {
            let before_ms = now_ms.saturating_sub(wait_ms);
            let announce = self.0.announce().await?;
            if store
                .expire_actions(before_ms, &error, now_ms, CHUNK, &announce)
                .await?
                == 0
            {
                break;
            }
        }
        store.forget_idempotency_keys(now_ms.saturating_sub(KEY_MS)).await?;
        let kept_ms = i64::from(limits.action_retention_days) * DAY_MS;
        for _ in 0..CHUNKS_MAX {
            if store
                .delete_actions_before(now_ms.saturating_sub(kept_ms), CHUNK)
                .await?
                == 0
            {
                break;
            }
        }
        store.delete_locks_before(now_ms).await?;
        Ok(())
    }

    /// Waits until no attempt runs in this process, at most `wait_ms`. True when it is so.
    pub async fn drain(&self, wait_ms: u64) -> bool {
        self.0.claimer.drain(wait_ms).await
    }

    /// The one that is there already under the same key, if it is the same call.
    async fn insert(&self, action: &Action) -> Result<Option<Action>, ActionsError> {
        let parts = &self.0;
        let queued_max = parts.limits.queued_async_actions;
        let lease_until_ms = (action.state == RunState::Running).then(|| parts.clock.now_ms() + LEASE.lasts_ms);
        if action.idempotency.is_some() {
            // A key that is a day old is free, whenever that was last looked at.
            let before_ms = action.created_at_ms.saturating_sub(KEY_MS);
            parts.store.forget_idempotency_keys(before_ms).await?;
        }
        match parts
            .store
            .insert_action(action, lease_until_ms, queued_max.into())
            .await?
        {
            ActionInserted::New => Ok(None),
            ActionInserted::Full => Err(ActionsError::QueueFull { queued_max }),
            ActionInserted::Known(known) if known.idempotency == action.idempotency => Ok(Some(*known)),
            ActionInserted::Known(known) => Err(ActionsError::KeyReused { key: key_of(&known) }),
        }
    }

    /// A std mutex: never held across an await.
    fn running(&self) -> MutexGuard<'_, HashMap<String, Cancel>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(action: &Action) -> String {
    action
        .idempotency
        .as_ref()
        .map_or_else(String::new, |it| it.key.clone())
}

fn failure(code: &str, message: String) -> RunError {
    RunError {
        code: code.to_owned(),
        message,
        payload: None,
        upstream: None,
    }
}

fn interrupted() -> RunError {
    failure(
        "action_script_failure",
        "the process that ran the action ended before it did, and no retry was left".to_owned(),
    )
}

fn cancelled() -> RunError {
    failure("script_aborted", "the action was cancelled".to_owned())
}

fn expired(wait_ms: u64) -> RunError {
    failure(
        "action_script_failure",
        format!("the action was not begun within {wait_ms} ms (limits.async_wait_ms)"),
    )
}
