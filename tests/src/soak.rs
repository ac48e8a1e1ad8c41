//! What tests that repeat something take from outside: how often, and the seed of what is random in them.
//!
//! `NANGO_SOAK=1` has them repeat it often, which takes minutes (`make soak` sets it); `NANGO_TEST_SEED=NUMBER` repeats what a
//! failed test printed.

use nango_runtime::clock::Entropy;

/// How often to repeat: `few` times, or `many` in a soak.
#[must_use]
pub fn rounds(few: u32, many: u32) -> u32 {
    if std::env::var_os("NANGO_SOAK").is_some() {
        many
    } else {
        few
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
