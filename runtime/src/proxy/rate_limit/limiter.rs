//! The limiter of one connection (or integration): the gate and the line before it. While somebody waits, one task keeps the
//! time and lets waiters through in order; nobody else does, so that ten thousand waiters need one timer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::gate::{Check, Gate, Quota, Sent};
use super::line::{Lane, Line};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Who may wait exactly until the gate opens is still let through then.
const GRACE_MS: u64 = 500;
/// What a refusal tells to wait when the end of the wait is not known.
const UNKNOWN_WAIT_MS: u64 = 1_000;

pub(in super::super) struct Limiter {
    /// Whose limit it is, for people: `connection "customer-1"`.
    pub(super) of: String,
    clock: Clock,
    queue_max: usize,
    metrics: Metrics,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    gate: Gate,
    line: Line<Waiter>,
    /// A task keeps the time.
    driven: bool,
}

struct Waiter {
    deadline_us: u64,
    turn: oneshot::Sender<Result<Pass, Refusal>>,
}

/// Why somebody may not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Refusal {
    /// The wait would be longer than what is left of the caller's budget.
    TooLong {
        wait_ms: u64,
    },
    QueueFull {
        queue_max: usize,
        wait_ms: u64,
    },
}

/// What became of a caller.
pub(in super::super) enum Entry {
    Passed(Pass),
    Waiting(Waiting),
}

impl Limiter {
    pub(super) fn new(of: String, clock: Clock, queue_max: usize, faith_ms: u64, metrics: Metrics) -> Self {
        let gate = Gate::new(faith_ms, clock.monotonic_us());
        Self {
            of,
            clock,
            queue_max,
            metrics,
            state: Mutex::new(State {
                gate,
                line: Line::new(),
                driven: false,
            }),
            changed: Notify::new(),
        }
    }

    /// Lets the caller through, or into the line if his turn can come within `budget_ms`. Must be called on a tokio runtime.
    pub(super) fn enter(self: &Arc<Self>, lane: Lane, arrival: u64, budget_ms: u64) -> Result<Entry, Refusal> {
        let now_us = self.clock.monotonic_us();
        let mut state = self.lock();
        let check = state.gate.check(now_us);
        if check == Check::Open && state.line.is_empty() {
            let sent = state.gate.send(now_us);
            drop(state);
            return Ok(Entry::Passed(self.pass(sent)));
        }
        let wait_ms = match check {
            Check::Open => Some(0),
            Check::Busy { .. } => None,
            Check::Closed { until_us } => Some(until_us.saturating_sub(now_us).div_ceil(1_000)),
        };
        if budget_ms == 0 || wait_ms.is_some_and(|wait_ms| wait_ms > budget_ms) {
            let wait_ms = wait_ms.unwrap_or(UNKNOWN_WAIT_MS);
            return Err(Refusal::TooLong { wait_ms });
        }
        if state.line.len() >= self.queue_max {
            return Err(Refusal::QueueFull {
                queue_max: self.queue_max,
                wait_ms: wait_ms.unwrap_or(UNKNOWN_WAIT_MS),
            });
        }
        let (turn, my_turn) = oneshot::channel();
        let deadline_us = now_us.saturating_add(budget_ms.saturating_mul(1_000));
        let position = state.line.push(&lane, arrival, Waiter { deadline_us, turn });
        self.metrics.rate_limit_queued();
        let starts = !std::mem::replace(&mut state.driven, true);
        drop(state);
        if starts {
            tokio::spawn(drive(Driver {
                limiter: Arc::clone(self),
                has_ended: false,
            }));
        } else {
            self.changed.notify_one();
        }
        Ok(Entry::Waiting(Waiting {
            limiter: Arc::clone(self),
            lane,
            arrival,
            my_turn,
            position,
            wait_ms,
            budget_ms,
            started_us: now_us,
        }))
    }

    /// An answer that is no refusal; `sent` is the default for one that was sent before there was a limiter.
    pub(super) fn passed(&self, sent: Sent, quota: Option<Quota>) {
        let now_us = self.clock.monotonic_us();
        self.lock().gate.passed(sent, quota, now_us);
        self.changed.notify_one();
    }

    /// The provider refused a request. Those who cannot wait so long are sent away at once. Gives how long nobody goes.
    pub(super) fn refused(&self, sent: Sent, wait_ms: Option<u64>, remaining: Option<u64>) -> u64 {
        let now_us = self.clock.monotonic_us();
        let mut state = self.lock();
        state.gate.refused(sent, wait_ms, remaining, now_us);
        let Check::Closed { until_us } = state.gate.check(now_us) else {
            return 0;
        };
        let too_late = state.line.remove_all(|waiter| waiter.deadline_us < until_us);
        drop(state);
        self.changed.notify_one();
        let wait_ms = until_us.saturating_sub(now_us).div_ceil(1_000);
        for waiter in too_late {
            self.metrics.rate_limit_left();
            // Who does not listen any more has gone himself.
            let _ = waiter.turn.send(Err(Refusal::TooLong { wait_ms }));
        }
        wait_ms
    }

    /// How long nobody goes, in milliseconds; none while somebody may.
    pub(super) fn held_back_ms(&self) -> Option<u64> {
        let now_us = self.clock.monotonic_us();
        match self.lock().gate.check(now_us) {
            Check::Closed { until_us } => Some(until_us.saturating_sub(now_us).div_ceil(1_000)),
            Check::Open | Check::Busy { .. } => None,
        }
    }

    pub(super) fn is_forgettable(&self) -> bool {
        let now_us = self.clock.monotonic_us();
        let mut state = self.lock();
        state.line.is_empty() && state.gate.is_forgettable(now_us)
    }

    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.lock().line.len()
    }

    /// Lets through who may go. Gives when to look again at the latest, or nothing when nobody waits.
    fn release(self: &Arc<Self>) -> Option<u64> {
        let now_us = self.clock.monotonic_us();
        let mut turns = Vec::new();
        let again = {
            let mut state = self.lock();
            loop {
                if state.line.is_empty() {
                    state.driven = false;
                    break None;
                }
                match state.gate.check(now_us) {
                    Check::Busy { until_us } | Check::Closed { until_us } => break Some(until_us),
                    Check::Open => {}
                }
                if let Some(waiter) = state.line.pop() {
                    turns.push((waiter.turn, state.gate.send(now_us)));
                }
            }
        };
        for (turn, sent) in turns {
            self.metrics.rate_limit_left();
            // Who has just gone leaves a pass behind, whose drop makes room for the next.
            let _ = turn.send(Ok(self.pass(sent)));
        }
        again
    }

    fn pass(self: &Arc<Self>, sent: Sent) -> Pass {
        Pass {
            limiter: Arc::clone(self),
            sent,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Held for a few steps, never across an await; nothing in them can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that nobody keeps the time any more, should the task be dropped with its runtime.
struct Driver {
    limiter: Arc<Limiter>,
    has_ended: bool,
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.has_ended {
            self.limiter.lock().driven = false;
        }
    }
}

/// Keeps the time until nobody waits.
async fn drive(mut driver: Driver) {
    let limiter = Arc::clone(&driver.limiter);
    while let Some(again_us) = limiter.release() {
        let wait_us = again_us.saturating_sub(limiter.clock.monotonic_us());
        // Rounded up: before the moment nothing opens.
        let wait = Duration::from_millis(wait_us.div_ceil(1_000));
        tokio::select! {
            () = limiter.changed.notified() => {}
            () = limiter.clock.sleep(wait) => {}
        }
    }
    driver.has_ended = true;
}

/// A place in the line; given up when dropped.
pub(in super::super) struct Waiting {
    limiter: Arc<Limiter>,
    lane: Lane,
    arrival: u64,
    my_turn: oneshot::Receiver<Result<Pass, Refusal>>,
    /// 1 is next.
    pub(in super::super) position: usize,
    /// Until the gate opens, as far as that is known.
    pub(in super::super) wait_ms: Option<u64>,
    budget_ms: u64,
    started_us: u64,
}

impl Waiting {
    pub(in super::super) fn of(&self) -> &str {
        &self.limiter.of
    }

    /// Waits for the turn, at most as long as the budget lasts. Gives the milliseconds waited as well.
    pub(in super::super) async fn turn(mut self) -> (Result<Pass, Refusal>, u64) {
        let limiter = Arc::clone(&self.limiter);
        let patience = Duration::from_millis(self.budget_ms.saturating_add(GRACE_MS));
        let result = tokio::select! {
            biased;
            turn = &mut self.my_turn => turn.unwrap_or(Err(Refusal::TooLong { wait_ms: UNKNOWN_WAIT_MS })),
            () = limiter.clock.sleep(patience) => Err(Refusal::TooLong { wait_ms: limiter.closed_ms() }),
        };
        let waited_ms = limiter
            .clock
            .monotonic_us()
            .saturating_sub(self.started_us)
            .div_ceil(1_000);
        limiter.metrics.rate_limit_waited(waited_ms);
        (result, waited_ms)
    }
}

impl Limiter {
    /// Until the gate opens, as far as that is known.
    fn closed_ms(&self) -> u64 {
        let now_us = self.clock.monotonic_us();
        match self.lock().gate.check(now_us) {
            Check::Closed { until_us } => until_us.saturating_sub(now_us).div_ceil(1_000),
            Check::Open | Check::Busy { .. } => UNKNOWN_WAIT_MS,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let removed = self.limiter.lock().line.remove(&self.lane, self.arrival);
        if removed.is_some() {
            self.limiter.metrics.rate_limit_left();
        }
    }
}

/// The right to have one request under way.
pub(in super::super) struct Pass {
    pub(super) limiter: Arc<Limiter>,
    pub(super) sent: Sent,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.limiter.lock().gate.end(self.sent);
        self.limiter.changed.notify_one();
    }
}
