//! Where a run begins. Handing a run to the guests' threads and its result back wakes two threads, which costs several times what a
//! short function takes. So a function that has shown to be short takes its first slice where its caller is; whatever does not
//! end in that slice goes on with the guests. A slice ends at the next epoch, which bounds what a function that lied can
//! take from its caller's thread to one tick.

use std::hash::{BuildHasher, RandomState};

use quick_cache::sync::Cache;

use crate::model::Function;

/// A function is short while its last run took no longer, waiting included.
const SHORT_US_MAX: i64 = 500;
/// Functions remembered as short.
const SHORT_FUNCTIONS_MAX: usize = 1_000;

pub(super) struct Placement {
    /// Hashes of component and function: a collision costs one slice in the wrong place.
    short: Cache<u64, ()>,
    hasher: RandomState,
}

impl Placement {
    pub(super) fn new() -> Self {
        Self {
            short: Cache::new(SHORT_FUNCTIONS_MAX),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn is_short(&self, function: &Function) -> bool {
        self.short.get(&self.key(function)).is_some()
    }

    /// `was_short` is what was known when it began.
    pub(super) fn learn(&self, function: &Function, was_short: bool, duration_us: i64) {
        let is_short = duration_us <= SHORT_US_MAX;
        if is_short && !was_short {
            self.short.insert(self.key(function), ());
        } else if was_short && !is_short {
            self.short.remove(&self.key(function));
        }
    }

    fn key(&self, function: &Function) -> u64 {
        self.hasher.hash_one((&function.digest, &function.name))
    }
}
