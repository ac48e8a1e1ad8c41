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
            now_ms: Arc::new(AtomicI64::new(now_ms)),
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
            Source::Manual(manual) => manual.now_ms.load(Ordering::Acquire).saturating_mul(1_000),
        }
    }

    /// Microseconds since some moment in the past; never goes back while the process lives.
    #[must_use]
    pub fn monotonic_us(&self) -> u64 {
        match &self.0 {
            Source::System { started } => u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            Source::Manual(_) => u64::try_from(self.now_us()).unwrap_or(0),
        }
    }

    /// Waits for `duration` of this clock's time.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::System { .. } => tokio::time::sleep(duration).await,
            Source::Manual(manual) => {
                let duration_ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
                let until_ms = self.now_ms().saturating_add(duration_ms);
                // Subscribed before the first look, so that no move can fall between look and wait.
                let mut moved = manual.moved.subscribe();
                while manual.now_ms.load(Ordering::Acquire) < until_ms {
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
    now_ms: Arc<AtomicI64>,
    moved: Arc<watch::Sender<()>>,
}

impl ManualClock {
    /// Moves the clock forward (or back, when negative) and wakes everyone who waits.
    pub fn advance_ms(&self, by_ms: i64) {
        self.now_ms.fetch_add(by_ms, Ordering::AcqRel);
        self.moved.send_replace(());
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
