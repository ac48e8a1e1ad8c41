//! Time and randomness as parameters. Everything that needs the current time takes a [`Clock`], everything that needs
//! random bytes an [`Entropy`]; `clippy.toml` forbids the global ones. A manual clock and a seeded source make every test
//! reproducible and free of sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

/// The current time, from the system or moved by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started: std::time::Instant },
    Manual(ManualClock),
}

impl Clock {
    /// The clock of the machine.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        let started = std::time::Instant::now();
        Self(Source::System { started })
    }

    /// A clock that stands still at `now_ms` until the returned handle moves it.
    #[must_use]
    pub fn manual(now_ms: i64) -> (Self, ManualClock) {
        let manual = ManualClock {
            monotonic_ms: Arc::new(AtomicI64::new(now_ms)),
            set_by_ms: Arc::new(AtomicI64::new(0)),
            moved: Arc::new(watch::Sender::new(())),
        };
        (Self(Source::Manual(manual.clone())), manual)
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_us() / 1_000
    }

    /// Microseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        match &self.0 {
            Source::System { .. } => {
                #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
                let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                since_epoch.map_or(0, |elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
            }
            Source::Manual(manual) => {
                let monotonic_ms = manual.monotonic_ms.load(Ordering::Acquire);
                let now_ms = monotonic_ms.saturating_add(manual.set_by_ms.load(Ordering::Acquire));
                now_ms.saturating_mul(1_000)
            }
        }
    }

    /// Microseconds since some moment in the past; never goes back while the process lives.
    #[must_use]
    pub fn monotonic_us(&self) -> u64 {
        match &self.0 {
            Source::System { started } => u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            Source::Manual(manual) => {
                let monotonic_ms = manual.monotonic_ms.load(Ordering::Acquire);
                u64::try_from(monotonic_ms.saturating_mul(1_000)).unwrap_or(0)
            }
        }
    }

    /// By how much the clock is ahead of the monotonic time. That does not change unless the clock is set.
    fn ahead_ms(&self) -> i64 {
        match &self.0 {
            Source::System { .. } => {
                let monotonic_ms = i64::try_from(self.monotonic_us() / 1_000).unwrap_or(i64::MAX);
                self.now_ms().saturating_sub(monotonic_ms)
            }
            Source::Manual(manual) => manual.set_by_ms.load(Ordering::Acquire),
        }
    }

    /// Waits for `duration` of this clock's time, however it is set meanwhile.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::System { .. } => tokio::time::sleep(duration).await,
            Source::Manual(manual) => {
                let duration_ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
                let until_ms = manual.monotonic_ms.load(Ordering::Acquire).saturating_add(duration_ms);
                // Subscribed before the first look, so that no move can fall between look and wait.
                let mut moved = manual.moved.subscribe();
                while manual.monotonic_ms.load(Ordering::Acquire) < until_ms {
                    if moved.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Moves a manual [`Clock`].
#[derive(Clone, Debug)]
pub struct ManualClock {
    monotonic_ms: Arc<AtomicI64>,
    /// By how much the clock was set since it began.
    set_by_ms: Arc<AtomicI64>,
    moved: Arc<watch::Sender<()>>,
}

impl ManualClock {
    /// Lets time pass, and wakes everyone whose wait is over.
    pub fn advance_ms(&self, by_ms: i64) {
        self.monotonic_ms.fetch_add(by_ms, Ordering::AcqRel);
        self.moved.send_replace(());
    }

    /// Sets the clock forward, or back when negative, as an administrator does or the end of a machine's sleep: no time passes, and
    /// nobody's wait is over sooner or later.
    pub fn set_by_ms(&self, by_ms: i64) {
        self.set_by_ms.fetch_add(by_ms, Ordering::AcqRel);
    }
}

/// A clock that goes back by less was corrected, not set.
const BACK_MS_MIN: i64 = 1_000;
/// A clock that goes ahead by less ends no lease that anybody would not have renewed by then.
const AHEAD_MS_MIN: i64 = 5_000;

/// Notices when the clock was set: between two looks it should go on by as much as the monotonic time does.
#[derive(Debug)]
pub struct ClockWatch {
    settle_ms: i64,
    seen: std::sync::Mutex<Option<Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    ahead_ms: i64,
    /// Leases are not to be trusted before this monotonic time.
    unsettled_until_ms: i64,
}

/// What a look at the clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockLook {
    pub set_back: SetBack,
    /// False for a while after the clock was set forward: then leases have ended whose holders live. They renew them meanwhile.
    pub leases_count: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetBack {
    No,
    /// This is the first look: nobody knows what the clock was before.
    Perhaps,
    Seen,
}

impl ClockWatch {
    /// `settle_ms` is how long holders of leases take to renew them, at most.
    #[must_use]
    pub fn new(settle_ms: i64) -> Self {
        Self {
            settle_ms,
            seen: std::sync::Mutex::new(None),
        }
    }

    /// To be called more often than the clock is set.
    pub fn look(&self, clock: &Clock) -> ClockLook {
        let monotonic_ms = i64::try_from(clock.monotonic_us() / 1_000).unwrap_or(i64::MAX);
        let ahead_ms = clock.ahead_ms();
        // Held for a few comparisons; what is behind it is whole after each.
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (moved_ms, mut unsettled_until_ms) = match *seen {
            Some(seen) => (ahead_ms.saturating_sub(seen.ahead_ms), seen.unsettled_until_ms),
            None => (0, i64::MIN),
        };
        if moved_ms > AHEAD_MS_MIN {
            unsettled_until_ms = monotonic_ms.saturating_add(self.settle_ms);
        }
        let set_back = match *seen {
            None => SetBack::Perhaps,
            Some(_) if moved_ms < -BACK_MS_MIN => SetBack::Seen,
            Some(_) => SetBack::No,
        };
        *seen = Some(Seen {
            ahead_ms,
            unsettled_until_ms,
        });
        ClockLook {
            set_back,
            leases_count: monotonic_ms >= unsettled_until_ms,
        }
    }
}

/// A source of random bytes for ids, nonces, keys and jitter.
#[derive(Clone)]
pub struct Entropy(
    // A std mutex: held for the few nanoseconds of one draw and never across an await.
    Arc<std::sync::Mutex<StdRng>>,
);

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

impl Entropy {
    /// A cryptographically secure generator, seeded by the operating system.
    #[must_use]
    pub fn system() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that draws from the operating system"
        )]
        let seed: [u8; 32] = rand::random();
        Self(Arc::new(std::sync::Mutex::new(StdRng::from_seed(seed))))
    }

    /// The same bytes for the same seed. For tests and replays only.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(std::sync::Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A cryptographically secure generator that gives the same bytes for the same seed: for runs that may be replayed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Arc::new(std::sync::Mutex::new(StdRng::from_seed(seed))))
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&self, bytes: &mut [u8]) {
        // A poisoned generator is still a generator: no draw can panic half-way.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .fill_bytes(bytes);
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A number in `0.0..1.0`, for jitter.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        let bits = u64::from_le_bytes(self.bytes()) >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
        let fraction = bits as f64 / (1u64 << 53) as f64;
        fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_noticed_and_one_that_goes_on_is_not() {
        let (clock, hand) = Clock::manual(1_800_000_000_000);
        let watch = ClockWatch::new(6_000);
        let look = || watch.look(&clock);
        let seen = |set_back, leases_count| ClockLook { set_back, leases_count };
        assert_eq!(look(), seen(SetBack::Perhaps, true));
        hand.advance_ms(86_400_000);
        assert_eq!(look(), seen(SetBack::No, true), "a process that slept, or was slow");
        hand.set_by_ms(-900);
        assert_eq!(look(), seen(SetBack::No, true), "a correction");
        hand.set_by_ms(-86_400_000);
        assert_eq!(look(), seen(SetBack::Seen, true));
        assert_eq!(look(), seen(SetBack::No, true), "once");
        hand.set_by_ms(86_400_000);
        assert_eq!(look(), seen(SetBack::No, false));
        hand.advance_ms(5_999);
        assert_eq!(look(), seen(SetBack::No, false));
        hand.advance_ms(1);
        assert_eq!(look(), seen(SetBack::No, true));
    }
}
