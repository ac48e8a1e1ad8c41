//! Writes down what a run asks of its host. Calls overlap, so that each takes its place when it begins and its result when it ends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;

use super::bindings::nango::functions::types;
use super::fault::Fault;
use crate::clock::Clock;
use crate::recording::{Call, HostError, Outcome, Time};

/// Readings of clocks that a recording keeps; who reads more than this is waiting in a loop.
const READINGS_MAX: usize = 10_000;
/// What a call takes in a recording besides its texts, about.
const CALL_BYTES: usize = 200;

pub(crate) struct Tape {
    clock: Clock,
    began_us: u64,
    bytes_max: usize,
    /// A std mutex: held for a push, never across an await.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    time: Time,
    bytes: usize,
    full: bool,
}

/// Of a call that has begun.
pub(super) struct Place {
    index: Option<usize>,
    started_us: u64,
}

/// What was taped.
pub(crate) struct Taped {
    pub(crate) calls: Vec<Call>,
    pub(crate) time: Time,
    pub(crate) complete: bool,
}

impl Tape {
    /// Takes calls until their texts have `bytes_max` together.
    pub(crate) fn new(clock: Clock, bytes_max: usize) -> Self {
        let began_us = clock.monotonic_us();
        let time = Time {
            began_us: clock.now_us(),
            ..Time::default()
        };
        Self {
            clock,
            began_us,
            bytes_max,
            state: Mutex::new(State {
                time,
                ..State::default()
            }),
        }
    }

    pub(super) fn begin(&self, import: &'static str, arguments: Value) -> Place {
        let started_us = self.elapsed_us();
        let bytes = size(&arguments);
        let mut state = self.state();
        if !state.take(bytes, self.bytes_max) {
            return Place {
                index: None,
                started_us,
            };
        }
        state.calls.push(Call {
            import: import.into(),
            arguments,
            result: None,
            started_us,
            took_us: 0,
        });
        Place {
            index: Some(state.calls.len() - 1),
            started_us,
        }
    }

    pub(super) fn end<T: Serialize>(&self, place: &Place, result: Result<T, &Fault>) {
        let Some(index) = place.index else { return };
        let outcome = match result {
            Ok(value) => serde_json::to_value(value).map_or_else(|error| Outcome::Trap(error.to_string()), Outcome::Ok),
            Err(Fault::Error(error)) => Outcome::Error(HostError::from(error)),
            Err(Fault::Trap(trap)) => Outcome::Trap(format!("{trap:#}")),
        };
        let took_us = self.elapsed_us().saturating_sub(place.started_us);
        let bytes = match &outcome {
            Outcome::Ok(value) => size(value),
            Outcome::Error(_) | Outcome::Trap(_) => 0,
        };
        let mut state = self.state();
        if !state.take(bytes, self.bytes_max) {
            // A call without its answer would be played as one that never ended.
            state.calls.truncate(index);
            return;
        }
        if let Some(call) = state.calls.get_mut(index) {
            call.result = Some(outcome);
            call.took_us = took_us;
        }
    }

    /// What needs no answer.
    pub(super) fn note(&self, import: &'static str, arguments: Value) {
        let place = self.begin(import, arguments);
        self.end(&place, Ok(()));
    }

    pub(super) fn read_clock(&self, us: i64) {
        let mut state = self.state();
        if state.time.clock_us.len() < READINGS_MAX {
            state.time.clock_us.push(us);
        }
    }

    pub(super) fn read_monotonic(&self, us: u64) {
        let mut state = self.state();
        if state.time.monotonic_us.len() < READINGS_MAX {
            state.time.monotonic_us.push(us);
        }
    }

    /// Takes what is on it. Calls that are still under way stay without a result.
    pub(crate) fn finish(&self) -> Taped {
        let state = std::mem::take(&mut *self.state());
        Taped {
            calls: state.calls,
            time: state.time,
            complete: !state.full,
        }
    }

    fn elapsed_us(&self) -> u64 {
        self.clock.monotonic_us().saturating_sub(self.began_us)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, bytes: usize, bytes_max: usize) -> bool {
        if self.full {
            return false;
        }
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(CALL_BYTES);
        self.full = self.bytes > bytes_max;
        !self.full
    }
}

/// Bytes of the texts in a value, about.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + size(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

impl From<&types::Error> for HostError {
    fn from(error: &types::Error) -> Self {
        Self {
            code: error.code.clone(),
            message: error.message.clone(),
            details: error.details.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_that_overlap_keep_the_order_of_their_beginnings() {
        let (clock, _) = Clock::manual(5);
        let tape = Tape::new(clock, 10_000);
        let (first, second) = (tape.begin("a", json!(1)), tape.begin("b", json!(2)));
        tape.end(&second, Ok("y"));
        tape.end(&first, Ok("x"));
        let taped = tape.finish();
        let told: Vec<_> = taped
            .calls
            .iter()
            .map(|call| (call.import.as_ref(), call.result.clone()))
            .collect();
        assert_eq!(
            told,
            [
                ("a", Some(Outcome::Ok(json!("x")))),
                ("b", Some(Outcome::Ok(json!("y"))))
            ]
        );
        assert_eq!((taped.time.began_us, taped.complete), (5_000, true));
    }

    #[test]
    fn a_tape_has_an_end() {
        let (clock, _) = Clock::manual(0);
        let tape = Tape::new(clock, 1_000);
        let first = tape.begin("a", json!("x"));
        tape.end(&first, Ok(()));
        let second = tape.begin("b", json!("x"));
        tape.end(&second, Ok("y".repeat(1_000)));
        tape.note("c", json!(null));
        let taped = tape.finish();
        assert_eq!((taped.calls.len(), taped.complete), (1, false), "half a call is none");
    }
}
