//! How many requests may go out, as far as the provider's answers tell. Pure: what was sent, what came back and the monotonic
//! time go in; whether the next one may go comes out.
//!
//! What is known, from best to worst:
//! - The provider said how many requests are left until when: so many are under way at most, until then.
//! - It refused one: nobody goes before the time it told, or before a backoff that doubles with each refusal. Then one goes
//!   to probe; each that passes lets one more be under way, so that they double with each round trip.
//! - How many passed between an opening and the next refusal is remembered as the pace: so many in each window of that
//!   length. After a row of windows that were used up without a refusal, a little more is tried.

/// The first backoff when a refusal tells no time; doubles with each refusal in a row.
const BACKOFF_MS: u64 = 3_000;
const BACKOFF_MS_MAX: u64 = 60_000;
/// However long the provider says: after this a probe may go. A wrong clock or header costs no more.
pub(super) const CLOSED_MS_MAX: u64 = 3_600_000;
/// Windows used up without a refusal before the pace is raised.
const WINDOWS_BEFORE_RAISE: u32 = 8;
/// A request that is not answered for so long holds nobody up any more: one more goes to see.
const PROBE_MS: u64 = 1_000;
/// Requests under way that count as no limit.
const RAMP_MAX: u64 = 4_096;
/// A limit that was not heard of for so long is forgotten.
const FORGET_MS: u64 = 600_000;

/// One connection's (or integration's) limit.
#[derive(Debug)]
pub(super) struct Gate {
    /// Waits longer than this are not taken on faith, only after a refusal.
    faith_us: u64,
    in_flight: u64,
    sent: u64,
    closed_until_us: Option<u64>,
    refusals: u32,
    told: Option<Told>,
    /// How many of a window may be under way while nobody says how many may be sent. None: any number.
    ramp: Option<u64>,
    ramped_us: u64,
    window: Window,
    pace: Option<Pace>,
    /// Requests were refused although the provider's count said that some were left: there is another limit, which it does
    /// not tell, so its count alone opens nothing.
    hidden: bool,
    heard_us: u64,
}

/// What the provider says is left.
#[derive(Debug)]
struct Told {
    remaining: u64,
    resets_us: u64,
    /// Requests sent until the last answer that counted.
    sent: u64,
}

/// From one opening to the next.
#[derive(Debug, Default)]
struct Window {
    number: u64,
    /// When its first request was sent.
    started_us: Option<u64>,
    /// When the one before it began, if it was opened because that one's time was over.
    previous_started_us: Option<u64>,
    sent: u64,
    in_flight: u64,
    passed: u64,
}

#[derive(Debug)]
struct Pace {
    requests: u64,
    window_us: u64,
    /// The window it was learned in.
    learned_in: u64,
    full_windows: u32,
}

/// A request that was let through. The default stands for one sent before anything was known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    number: u64,
    window: u64,
}

/// What the provider says with an answer: how many are left, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Quota {
    pub(in super::super) remaining: u64,
    pub(in super::super) resets_in_ms: u64,
}

/// Whether one more may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Open,
    /// When an answer comes, at that moment at the latest.
    Busy {
        until_us: u64,
    },
    /// Not before that moment.
    Closed {
        until_us: u64,
    },
}

impl Gate {
    /// `faith_ms`: how long one waits for a window that was announced, but not yet enforced.
    pub(super) fn new(faith_ms: u64, now_us: u64) -> Self {
        Self {
            faith_us: faith_ms.saturating_mul(1_000),
            in_flight: 0,
            sent: 0,
            closed_until_us: None,
            refusals: 0,
            told: None,
            ramp: None,
            ramped_us: now_us,
            window: Window::default(),
            pace: None,
            hidden: false,
            heard_us: now_us,
        }
    }

    pub(super) fn check(&mut self, now_us: u64) -> Check {
        self.roll(now_us);
        if let Some(until_us) = self.closed_until_us {
            return Check::Closed { until_us };
        }
        if let Some(told) = &self.told {
            let until_us = told.resets_us;
            // An announcement may be about a part of the API only. Who would wait long for it goes, one at a time: the
            // provider's refusal is the proof.
            let doubtful = told.remaining == 0 && until_us.saturating_sub(now_us) > self.faith_us;
            let may = if doubtful { 1 } else { told.remaining };
            if self.in_flight >= may {
                return if told.remaining == 0 && !doubtful {
                    Check::Closed { until_us }
                } else {
                    Check::Busy { until_us }
                };
            }
            if !self.hidden {
                return Check::Open;
            }
        }
        if let (Some(pace), Some(started_us)) = (&self.pace, self.window.started_us)
            && self.window.sent >= pace.requests
        {
            return Check::Closed {
                until_us: started_us.saturating_add(pace.window_us),
            };
        }
        let Some(ramp) = self.ramp.filter(|ramp| self.window.in_flight >= *ramp) else {
            return Check::Open;
        };
        let until_us = after(self.ramped_us, PROBE_MS);
        if now_us < until_us {
            return Check::Busy { until_us };
        }
        self.ramp = Some(ramp + 1);
        self.ramped_us = now_us;
        Check::Open
    }

    /// Lets one through.
    pub(super) fn send(&mut self, now_us: u64) -> Sent {
        self.in_flight += 1;
        self.sent += 1;
        self.window.sent += 1;
        self.window.in_flight += 1;
        self.window.started_us.get_or_insert(now_us);
        Sent {
            number: self.sent,
            window: self.window.number,
        }
    }

    /// One that was let through is not under way any more.
    pub(super) fn end(&mut self, sent: Sent) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if sent.window == self.window.number {
            self.window.in_flight = self.window.in_flight.saturating_sub(1);
        }
    }

    /// An answer that is no refusal.
    pub(super) fn passed(&mut self, sent: Sent, quota: Option<Quota>, now_us: u64) {
        if sent.window == self.window.number {
            self.window.passed += 1;
            if self.closed_until_us.is_none() {
                self.refusals = 0;
            }
            self.ramp = self.ramp.map(|ramp| ramp + 1).filter(|ramp| *ramp <= RAMP_MAX);
            self.ramped_us = now_us;
            if let Some(pace) = &mut self.pace
                && pace.learned_in == self.window.number
            {
                pace.requests = pace.requests.max(self.window.passed);
            }
        }
        let Some(quota) = quota else { return };
        // What was counted before a refusal is about a window that is over.
        if self.closed_until_us.is_some() || quota.resets_in_ms == 0 {
            return;
        }
        self.heard_us = now_us;
        let remaining = match &self.told {
            // Requests and answers overtake each other: only one that was sent after the last answer can raise the count.
            Some(told) if told.sent >= sent.number => told.remaining.min(quota.remaining),
            Some(_) | None => quota.remaining,
        };
        self.told = Some(Told {
            remaining,
            resets_us: after(now_us, quota.resets_in_ms),
            sent: self.sent,
        });
    }

    /// The provider refused it. `wait_ms`: how long it asks to wait; `remaining`: how many requests it says are left.
    pub(super) fn refused(&mut self, sent: Sent, wait_ms: Option<u64>, remaining: Option<u64>, now_us: u64) {
        self.roll(now_us);
        let is_current = sent.window == self.window.number;
        // One that was sent before the last opening says nothing about this one.
        if !is_current && self.closed_until_us.is_none() {
            return;
        }
        self.heard_us = now_us;
        if self.closed_until_us.is_none() {
            self.refusals = self.refusals.saturating_add(1);
        }
        self.hidden |= match (remaining, &self.told) {
            (Some(remaining), _) => remaining > 0,
            (None, Some(told)) => told.remaining > self.in_flight,
            (None, None) => false,
        };
        self.told = None;
        let wait_ms = wait_ms.unwrap_or_else(|| {
            let doubled = BACKOFF_MS.saturating_mul(1 << self.refusals.saturating_sub(1).min(10));
            doubled.min(BACKOFF_MS_MAX)
        });
        let until_us = after(now_us, wait_ms).max(self.closed_until_us.unwrap_or(0));
        self.closed_until_us = Some(until_us);
        if is_current {
            self.learn_pace(until_us);
        }
    }

    /// What passed in the window that was just closed is the pace; whether the window was opened too early shows as well.
    fn learn_pace(&mut self, until_us: u64) {
        let passed = self.window.passed;
        let known = self.pace.as_ref().map(|pace| (pace.requests, pace.window_us));
        let (requests, started_us, shortest_us) = match (known, self.window.previous_started_us) {
            // The pace opened it, and so few passed: the provider's window was not over yet, and is longer than was thought.
            (Some((requests, window_us)), Some(previous_us)) if passed < requests.div_ceil(2) => {
                (requests, Some(previous_us), window_us)
            }
            (Some((_, window_us)), _) if passed > 0 => (passed, self.window.started_us, window_us),
            // The first window began before anybody counted.
            (None, _) if passed > 0 && self.window.number > 0 => (passed, self.window.started_us, 0),
            (Some(_) | None, _) => return,
        };
        let Some(started_us) = started_us else { return };
        let window_us = until_us.saturating_sub(started_us).max(shortest_us);
        self.pace = (window_us <= self.faith_us).then_some(Pace {
            requests,
            window_us,
            learned_in: self.window.number,
            full_windows: 0,
        });
    }

    /// Nothing is under way and nothing is known that would still matter.
    pub(super) fn is_forgettable(&mut self, now_us: u64) -> bool {
        self.roll(now_us);
        let quiet = now_us.saturating_sub(self.heard_us) >= FORGET_MS * 1_000;
        self.in_flight == 0 && self.closed_until_us.is_none() && self.told.is_none() && quiet
    }

    /// Begins a new window where one is over.
    fn roll(&mut self, now_us: u64) {
        // A clock that jumped back must not make anybody wait longer than the limit.
        let latest_us = after(now_us, CLOSED_MS_MAX);
        self.closed_until_us = self.closed_until_us.map(|until_us| until_us.min(latest_us));
        if let Some(told) = &mut self.told {
            told.resets_us = told.resets_us.min(latest_us);
        }
        self.window.started_us = self.window.started_us.map(|started_us| started_us.min(now_us));
        self.ramped_us = self.ramped_us.min(now_us);

        let reopens = self.closed_until_us.is_some_and(|until_us| until_us <= now_us);
        let resets = self.told.as_ref().is_some_and(|told| told.resets_us <= now_us);
        if reopens || resets {
            if reopens {
                self.closed_until_us = None;
            }
            if resets {
                self.told = None;
            }
            self.ramp = Some(1);
            self.ramped_us = now_us;
            self.begin_window(None);
        } else if let (Some(pace), Some(started_us)) = (&mut self.pace, self.window.started_us)
            && self.closed_until_us.is_none()
            && started_us.saturating_add(pace.window_us) <= now_us
        {
            if self.window.sent >= pace.requests {
                pace.full_windows += 1;
            }
            if pace.full_windows >= WINDOWS_BEFORE_RAISE {
                pace.full_windows = 0;
                pace.requests += (pace.requests / 8).max(1);
            }
            self.begin_window(Some(started_us));
        }
    }

    fn begin_window(&mut self, previous_started_us: Option<u64>) {
        self.window = Window {
            number: self.window.number + 1,
            previous_started_us,
            ..Window::default()
        };
    }
}

fn after(now_us: u64, wait_ms: u64) -> u64 {
    now_us.saturating_add(wait_ms.min(CLOSED_MS_MAX).saturating_mul(1_000))
}
