//! What tests that repeat something take from outside: how often, and the seed of what is random in them.
//!
//! `NANGO_SOAK=1` has them repeat it often, which takes minutes (`make soak` sets it); `NANGO_TEST_SEED=NUMBER` repeats what a
//! failed test printed.

use std::time::{Duration, Instant};

use nango_runtime::clock::Entropy;

/// A soak that takes longer has hung, or was made too long for anybody to run it.
const SOAK_MAX: Duration = Duration::from_secs(30 * 60);

/// How often to repeat: `few` times, or `many` in a soak.
#[must_use]
pub fn rounds(few: u32, many: u32) -> u32 {
    if std::env::var_os("NANGO_SOAK").is_some() {
        many
    } else {
        few
    }
}

/// The numbers 1 to `few`, or to `many` in a soak, for what is repeated. Prints how long all took.
///
/// # Panics
///
/// As [`Watch::check`].
pub fn repeat(test: &str, few: u32, many: u32) -> impl Iterator<Item = u32> {
    let watch = Watch::start(test);
    (1..=rounds(few, many)).inspect(move |_| watch.check())
}

/// Prints how long a test took, when it is dropped.
#[derive(Debug)]
pub struct Watch {
    test: String,
    started: Instant,
}

impl Watch {
    #[must_use]
    pub fn start(test: &str) -> Self {
        Self {
            test: test.to_owned(),
            started: Instant::now(),
        }
    }

    /// # Panics
    ///
    /// When the test has taken longer than half an hour.
    pub fn check(&self) {
        let elapsed = self.started.elapsed();
        assert!(elapsed < SOAK_MAX, "{} has taken {elapsed:?}", self.test);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        eprintln!("{}: took {:.1} s", self.test, self.started.elapsed().as_secs_f64());
    }
}

/// Where a test's random numbers come from. Prints the seed.
///
/// # Panics
///
/// When `NANGO_TEST_SEED` is no number.
#[must_use]
pub fn random(test: &str) -> Entropy {
    let seed = match std::env::var("NANGO_TEST_SEED") {
        Ok(given) => given.parse().expect("NANGO_TEST_SEED is a number"),
        Err(_) => u64::from(u32::from_le_bytes(Entropy::system().bytes())),
    };
    eprintln!("{test}: NANGO_TEST_SEED={seed}");
    Entropy::seeded(seed)
}

/// A random number of microseconds within the range.
#[must_use]
pub fn micros(random: &Entropy, range: std::ops::Range<u64>) -> u64 {
    let width = range.end.saturating_sub(range.start).max(1);
    range.start + u64::from_le_bytes(random.bytes()) % width
}
