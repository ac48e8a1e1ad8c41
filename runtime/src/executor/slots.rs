//! Room for `concurrent_runs` runs; who comes later waits, not too long and not with too many others. The pool of instances is
//! sized so that whoever has a slot finds an instance.
//!
//! Whoever waits does so in the line of his connection, and the lines take turns: a connection with thousands of waiting runs
//! makes another one wait for one run at most. Callers who wait for an answer come before background work most of the time, and
//! never all of it.

mod line;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

pub(super) use line::{Class, Place};
use line::{Lines, Waiter};

use crate::config::Limits;

/// How often it is looked whether the last run has ended, while stopping.
const IDLE_POLL_MS: u64 = 5;

pub(super) struct Slots {
    limits: SlotLimits,
    free: AtomicU32,
    /// How many wait; changed under the lock only.
    waiting: AtomicUsize,
    closed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct SlotLimits {
    pub(super) slots_max: u32,
    /// How long a run waits for a slot.
    pub(super) wait_ms: u64,
    /// Runs that wait at the same time.
    pub(super) waiting_max: usize,
    /// Runs under way of one environment, connection, function; 0 for no limit but `slots_max`.
    pub(super) environment_max: u32,
    pub(super) connection_max: u32,
    pub(super) function_max: u32,
}

#[derive(Default)]
struct State {
    lines: Lines,
    /// What runs, by what it counts for; empty while nothing is limited.
    running: HashMap<Scope, u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Environment(std::sync::Arc<str>),
    Connection(std::sync::Arc<str>),
    Function(std::sync::Arc<str>, String),
}

/// Room for one run; given back when dropped.
pub(super) struct Slot<'a> {
    slots: &'a Slots,
    /// What it counts for, where anything is limited.
    place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SlotError {
    #[error(
        "no run ended within {wait_ms} ms (limits.run_wait_ms) while {slots_max} were under way (limits.concurrent_runs): try again later"
    )]
    Timeout { slots_max: u32, wait_ms: u64 },
    #[error("{waiting_max} runs are waiting already (limits.waiting_runs): try again later")]
    TooManyWaiting { waiting_max: usize },
    #[error("{slots_max} runs that functions asked for are under way (limits.concurrent_runs): try again later")]
    NoneFree { slots_max: u32 },
    #[error("the runtime is stopping")]
    Stopping,
    #[error("it was cancelled before it began")]
    Cancelled,
}

impl SlotLimits {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            slots_max: limits.concurrent_runs.max(1),
            wait_ms: limits.run_wait_ms,
            waiting_max: limits.waiting_runs,
            environment_max: limits.concurrent_runs_of_environment,
            connection_max: limits.concurrent_runs_of_connection,
            function_max: limits.concurrent_runs_of_function,
        }
    }

    fn counts(&self) -> bool {
        self.environment_max > 0 || self.connection_max > 0 || self.function_max > 0
    }

    fn scopes(&self, place: &Place) -> impl Iterator<Item = (Scope, u32)> {
        [
            (self.environment_max, Scope::Environment(place.environment_id.0.clone())),
            (self.connection_max, Scope::Connection(place.connection_key.0.clone())),
            (
                self.function_max,
                Scope::Function(place.integration_id.0.clone(), place.function.clone()),
            ),
        ]
        .into_iter()
        .filter(|(max, _)| *max > 0)
        .map(|(max, scope)| (scope, max))
    }
}

impl Slots {
    pub(super) fn new(limits: SlotLimits) -> Self {
        Self {
            free: AtomicU32::new(limits.slots_max),
            limits,
            waiting: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            state: Mutex::new(State::default()),
        }
    }

    /// Waits in line, unless a slot is free and nobody waits for it. While nothing is limited by environment, connection or
    /// function that takes no lock, and `place` is not asked for.
    pub(super) async fn take(&self, class: Class, place: impl FnOnce() -> Place) -> Result<Slot<'_>, SlotError> {
        if !self.limits.counts() && self.waiting.load(Ordering::SeqCst) == 0 && self.take_free() {
            return self.unless_closed(Slot {
                slots: self,
                place: None,
            });
        }
        let place = place();
        let counted = self.limits.counts().then(|| place.clone());
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.lock();
            if self.is_closed() {
                return Err(SlotError::Stopping);
            }
            let full = SlotError::TooManyWaiting {
                waiting_max: self.limits.waiting_max,
            };
            let waiter = Waiter { place, sender };
            // Looked at as if it waited, so that nobody overtakes; it may not have to.
            state.lines.push(class, waiter);
            self.dispatch(&mut state);
            if state.lines.len() > self.limits.waiting_max {
                state.lines.forget_gone();
            }
            if state.lines.len() > self.limits.waiting_max {
                state.lines.turn_away_one(full);
            }
            self.waiting.store(state.lines.len(), Ordering::SeqCst);
            // A slot given back before that was seen by nobody.
            self.dispatch(&mut state);
        }
        let mut waiting = Waiting {
            slots: self,
            place: counted,
            receiver,
            served: false,
        };
        let timeout = Duration::from_millis(self.limits.wait_ms);
        match tokio::time::timeout(timeout, &mut waiting.receiver).await {
            Ok(Ok(granted)) => {
                waiting.served = true;
                granted?;
                Ok(Slot {
                    slots: self,
                    place: waiting.place.take(),
                })
            }
            Ok(Err(_gone)) => Err(SlotError::Stopping),
            // What was given in the same moment is given back by `waiting`.
            Err(_elapsed) => Err(SlotError::Timeout {
                slots_max: self.limits.slots_max,
                wait_ms: self.limits.wait_ms,
            }),
        }
    }

    /// A slot that is free now.
    pub(super) fn try_take(&self) -> Result<Slot<'_>, SlotError> {
        if self.take_free() {
            return self.unless_closed(Slot {
                slots: self,
                place: None,
            });
        }
        Err(SlotError::NoneFree {
            slots_max: self.limits.slots_max,
        })
    }

    /// Looked at once the slot is taken: either who closes waits for it, or it is seen here that somebody does.
    fn unless_closed<'a>(&self, slot: Slot<'a>) -> Result<Slot<'a>, SlotError> {
        if self.is_closed() {
            Err(SlotError::Stopping)
        } else {
            Ok(slot)
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Takes no more, waits up to `grace_ms` for those that run or wait already, then turns away who still waits.
    pub(super) async fn close(&self, grace_ms: u64) {
        {
            // Under the lock: nobody who saw it open may join the line afterwards.
            let _state = self.lock();
            self.closed.store(true, Ordering::SeqCst);
        }
        let idle = async {
            while self.free.load(Ordering::SeqCst) < self.limits.slots_max || self.waiting.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(IDLE_POLL_MS)).await;
            }
        };
        if tokio::time::timeout(Duration::from_millis(grace_ms), idle)
            .await
            .is_err()
        {
            tracing::warn!("Runs were still under way after {grace_ms} ms and are ended");
        }
        let mut state = self.lock();
        state.lines.turn_away_all(&SlotError::Stopping);
        self.waiting.store(0, Ordering::SeqCst);
    }

    fn take_free(&self) -> bool {
        let one_less = |free: u32| free.checked_sub(1);
        self.free
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok()
    }

    /// Gives free slots to those whose turn it is.
    fn dispatch(&self, state: &mut State) {
        let State { lines, running } = state;
        while !lines.is_empty() && self.take_free() {
            let may_run = |place: &Place| {
                self.limits
                    .scopes(place)
                    .all(|(scope, max)| running.get(&scope).copied().unwrap_or(0) < max)
            };
            let Some(next) = lines.next(may_run) else {
                self.free.fetch_add(1, Ordering::SeqCst);
                break;
            };
            let counted: Vec<Scope> = self.limits.scopes(&next.place).map(|(scope, _)| scope).collect();
            if next.sender.send(Ok(())).is_err() {
                // Nobody waits for it any more.
                self.free.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            for scope in counted {
                *running.entry(scope).or_insert(0) += 1;
            }
        }
        self.waiting.store(lines.len(), Ordering::SeqCst);
    }

    fn release(&self, place: Option<&Place>) {
        if let Some(place) = place {
            let mut state = self.lock();
            for (scope, _) in self.limits.scopes(place) {
                if let Some(count) = state.running.get_mut(&scope) {
                    *count -= 1;
                    if *count == 0 {
                        state.running.remove(&scope);
                    }
                }
            }
        }
        self.free.fetch_add(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.dispatch(&mut self.lock());
        }
    }

    /// A std mutex: never held across an await.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.release(self.place.as_ref());
    }
}

/// Gives back what was granted to somebody who had stopped waiting.
struct Waiting<'a> {
    slots: &'a Slots,
    place: Option<Place>,
    receiver: oneshot::Receiver<Result<(), SlotError>>,
    served: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.served {
            return;
        }
        self.receiver.close();
        if let Ok(Ok(())) = self.receiver.try_recv() {
            self.slots.release(self.place.as_ref());
        }
    }
}

#[cfg(test)]
mod tests;
