//! The interfaces `clock`, `random` and `sleep`, for guests without WASI.

use std::time::Duration;

use super::bindings::nango::functions::{clock, random, sleep};
use super::state::GuestState;

/// Bytes of one request for randomness.
const RANDOM_BYTES_MAX: u32 = 65_536;

impl clock::Host for GuestState {
    fn now_us(&mut self) -> wasmtime::Result<u64> {
        let now_us = match self.reach() {
            Some(reach) => reach.now_us(&self.clock),
            None => self.clock.now_us(),
        };
        Ok(u64::try_from(now_us).unwrap_or(0))
    }

    fn monotonic_us(&mut self) -> wasmtime::Result<u64> {
        Ok(match self.reach() {
            Some(reach) => reach.monotonic_us(&self.clock),
            None => self.clock.monotonic_us(),
        })
    }
}

impl random::Host for GuestState {
    fn bytes(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        if length > RANDOM_BYTES_MAX {
            wasmtime::bail!("{length} random bytes at once: at most {RANDOM_BYTES_MAX} are allowed");
        }
        let mut bytes = vec![0; usize::try_from(length)?];
        self.entropy.fill(&mut bytes);
        Ok(bytes)
    }
}

impl sleep::Host for GuestState {
    async fn sleep_ms(&mut self, duration: u64) -> wasmtime::Result<()> {
        if self
            .reach()
            .is_some_and(|reach| reach.slept(duration.saturating_mul(1_000)))
        {
            return Ok(());
        }
        // Not beyond the deadline: whoever sleeps until then is interrupted on waking.
        let left_us = self.deadline_us.saturating_sub(self.clock.monotonic_us());
        let duration_us = duration.saturating_mul(1_000).min(left_us);
        self.clock.sleep(Duration::from_micros(duration_us)).await;
        Ok(())
    }
}
