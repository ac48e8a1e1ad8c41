//! The interface `lifecycle`: how long the run may go on, so that a function can save what it has and return in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bindings::nango::functions::lifecycle::Host;
use super::state::GuestState;

/// The time after which a function is told to stop, of all it has: four fifths.
const SOFT_NUMERATOR: u64 = 4;
const SOFT_DENOMINATOR: u64 = 5;

/// Whether the process is about to end. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Stopping(Arc<AtomicBool>);

impl Stopping {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

pub(super) fn soft_us(timeout_us: u64) -> u64 {
    timeout_us / SOFT_DENOMINATOR * SOFT_NUMERATOR
}

impl Host for GuestState {
    fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(self.deadline_us.saturating_sub(self.clock.monotonic_us()) / 1_000)
    }

    fn stop_reason(&mut self) -> wasmtime::Result<Option<String>> {
        let is_late = self.clock.monotonic_us() >= self.soft_deadline_us;
        let is_stopping = self.facts()?.services.stopping.has_begun();
        let reason = match (is_stopping, is_late) {
            (true, _) => "shutdown",
            (false, true) => "deadline",
            (false, false) => return Ok(None),
        };
        self.told_to_stop = true;
        Ok(Some(reason.to_owned()))
    }
}
