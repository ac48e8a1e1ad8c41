//! The interface `lifecycle`: how long the run may go on, so that a function can save what it has and return in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bindings::nango::functions::lifecycle::Host;
use super::fault::Fault;
use super::state::{GuestState, Services};
use crate::recording::import;

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
        let remaining_ms = self.deadline_us.saturating_sub(self.clock.monotonic_us()) / 1_000;
        let Some(reach) = self.reach() else {
            return Ok(remaining_ms);
        };
        reach
            .look(import::REMAINING, |_| remaining_ms, || remaining_ms)
            .map_err(trap)
    }

    fn stop_reason(&mut self) -> wasmtime::Result<Option<String>> {
        let is_late = self.clock.monotonic_us() >= self.soft_deadline_us;
        let reason = |services: &Services| match (services.stopping.has_begun(), is_late) {
            (true, _) => Some("shutdown".to_owned()),
            (false, true) => Some("deadline".to_owned()),
            (false, false) => None,
        };
        let Some(reach) = self.reach() else {
            return Ok(None);
        };
        // A replay takes no time: nothing but its recording could tell it to stop.
        let reason = reach.look(import::STOP_REASON, reason, || None).map_err(trap)?;
        self.told_to_stop |= reason.is_some();
        Ok(reason)
    }
}

/// The contract has no place for an error here.
fn trap(fault: Fault) -> wasmtime::Error {
    match fault.into_error() {
        Ok(error) => wasmtime::Error::msg(format!("{}: {}", error.code, error.message)),
        Err(trap) => trap,
    }
}
