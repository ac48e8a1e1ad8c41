//! Plays a recording to a run: answers its calls with what was answered then, and gives it that run's time. Knows no upstream, no
//! database and no clock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bindings::nango::functions::types;
use super::fault::Fault;
use crate::recording::{Book, HostError, Outcome, Recording, Request, import};

/// What a reading of a clock that was not recorded comes after the last one.
const STEP_US: i64 = 1;

pub(crate) struct Player(
    // A std mutex: held for a look-up, never across an await.
    Mutex<State>,
);

struct State {
    requests: Book,
    /// To any host.
    fetches: Book,
    /// Other calls by import and arguments.
    calls: HashMap<(String, String), VecDeque<Outcome>>,
    clock: Readings<i64>,
    monotonic: Readings<u64>,
    misses: Vec<String>,
}

struct Readings<T> {
    recorded: VecDeque<T>,
    last: T,
}

impl Player {
    pub(crate) fn new(recording: &Recording) -> Self {
        let (mut requests, mut fetches) = (Book::default(), Book::default());
        let mut calls: HashMap<_, VecDeque<Outcome>> = HashMap::new();
        for call in &recording.calls {
            let never = || Outcome::Trap("the recorded run ended before this call did".to_owned());
            let outcome = call.result.clone().unwrap_or_else(never);
            let book = match call.import.as_ref() {
                import::REQUEST => &mut requests,
                import::FETCH => &mut fetches,
                _ => {
                    let key = (call.import.clone().into_owned(), call.arguments.to_string());
                    calls.entry(key).or_default().push_back(outcome);
                    continue;
                }
            };
            if let Ok(request) = serde_json::from_value::<Request>(call.arguments.clone()) {
                book.add(request, outcome);
            }
        }
        let time = &recording.time;
        Self(Mutex::new(State {
            requests,
            fetches,
            calls,
            clock: Readings {
                recorded: time.clock_us.iter().copied().collect(),
                last: time.began_us,
            },
            monotonic: Readings {
                recorded: time.monotonic_us.iter().copied().collect(),
                last: 0,
            },
            misses: Vec::new(),
        }))
    }

    /// What the same call was answered; the last answer ever after. None when there was no such call.
    pub(super) fn answer<T: DeserializeOwned>(&self, import: &str, arguments: &Value) -> Option<Result<T, Fault>> {
        let mut state = self.state();
        match state.next(import, arguments) {
            // One of all.
            None if import == import::VARIABLE => {
                let all = state.next(import::VARIABLES, &Value::Null)?;
                Some(told(among(all, arguments)))
            }
            outcome => outcome.map(told),
        }
    }

    /// The answer to a request. One that was not recorded ends the run: no answer that could be given would be true.
    pub(super) fn request<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Fault> {
        self.answered(|state| state.requests.answer(request))
    }

    /// The answer to a request to any host: likewise.
    pub(super) fn fetch<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Fault> {
        self.answered(|state| state.fetches.answer(request))
    }

    fn answered<T: DeserializeOwned>(
        &self,
        answer: impl FnOnce(&mut State) -> Result<Outcome, String>,
    ) -> Result<T, Fault> {
        let mut state = self.state();
        match answer(&mut state) {
            Ok(outcome) => told(outcome),
            Err(miss) => {
                state.misses.push(miss.clone());
                Err(Fault::trap(miss))
            }
        }
    }

    /// A call that was not recorded and cannot be answered without the world.
    pub(super) fn miss(&self, import: &str, arguments: &Value) -> Fault {
        let miss = format!("{import} {arguments} was not recorded");
        self.state().misses.push(miss.clone());
        Fault::trap(miss)
    }

    /// Calls that had no answer.
    pub(crate) fn misses(&self) -> Vec<String> {
        self.state().misses.clone()
    }

    pub(super) fn now_us(&self) -> i64 {
        let clock = &mut self.state().clock;
        clock.last = clock.recorded.pop_front().unwrap_or(clock.last.saturating_add(STEP_US));
        clock.last
    }

    pub(super) fn monotonic_us(&self) -> u64 {
        let monotonic = &mut self.state().monotonic;
        let next = monotonic.last.saturating_add(STEP_US.unsigned_abs());
        monotonic.last = monotonic.recorded.pop_front().unwrap_or(next);
        monotonic.last
    }

    /// Lets time pass where no recorded reading says that it did.
    pub(super) fn sleep(&self, duration_us: u64) {
        let mut state = self.state();
        if state.clock.recorded.is_empty() {
            state.clock.last = state.clock.last.saturating_add_unsigned(duration_us);
        }
        if state.monotonic.recorded.is_empty() {
            state.monotonic.last = state.monotonic.last.saturating_add(duration_us);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self, import: &str, arguments: &Value) -> Option<Outcome> {
        let outcomes = self.calls.get_mut(&(import.to_owned(), arguments.to_string()))?;
        match outcomes.len() {
            0 | 1 => outcomes.front().cloned(),
            _ => outcomes.pop_front(),
        }
    }
}

/// The variable of that name among all; `null` when it is not there.
fn among(all: Outcome, arguments: &Value) -> Outcome {
    let Outcome::Ok(Value::Array(pairs)) = &all else {
        return all;
    };
    let is_it = |pair: &&Value| pair.get(0) == arguments.get("name");
    let value = pairs.iter().find(is_it).and_then(|pair| pair.get(1));
    Outcome::Ok(value.cloned().unwrap_or_default())
}

fn told<T: DeserializeOwned>(outcome: Outcome) -> Result<T, Fault> {
    match outcome {
        Outcome::Ok(value) => serde_json::from_value(value)
            .map_err(|error| Fault::trap(format!("the recording holds an answer that is none: {error}"))),
        Outcome::Error(HostError { code, message, details }) => {
            Err(Fault::Error(types::Error { code, message, details }))
        }
        Outcome::Trap(message) => Err(Fault::trap(message)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::FunctionKind;
    use crate::recording::{Call, Fixture};

    fn recording(calls: &[(&str, Value)]) -> Recording {
        let mut recording = Fixture::default().recording("f", FunctionKind::Action);
        recording.time.began_us = 100;
        recording.time.clock_us = vec![110, 120];
        recording.calls = calls
            .iter()
            .map(|(import, answer)| Call {
                import: (*import).to_owned().into(),
                arguments: Value::Null,
                result: Some(Outcome::Ok(answer.clone())),
                started_us: 0,
                took_us: 0,
            })
            .collect();
        recording
    }

    #[test]
    fn time_goes_on_where_the_recording_ends() {
        let player = Player::new(&recording(&[]));
        assert_eq!([player.now_us(), player.now_us(), player.now_us()], [110, 120, 121]);
        player.sleep(1_000);
        assert_eq!(player.now_us(), 1_122);
        assert_eq!((player.monotonic_us(), player.monotonic_us()), (1_001, 1_002));
    }

    #[test]
    fn a_variable_is_one_of_all() {
        let player = Player::new(&recording(&[(import::VARIABLES, json!([["A", "a"], ["B", "b"]]))]));
        let get = |name: &str| {
            let told = player.answer::<Option<String>>(import::VARIABLE, &json!({ "name": name }));
            told.unwrap().unwrap()
        };
        assert_eq!(
            [get("B"), get("C"), get("B")],
            [Some("b".into()), None, Some("b".into())]
        );
        let nothing = Player::new(&recording(&[]));
        let told = nothing.answer::<Option<String>>(import::VARIABLE, &json!({"name": "A"}));
        assert!(told.is_none(), "nobody asked, so nobody knows");
    }

    #[test]
    fn answers_come_in_order_and_by_import() {
        let player = Player::new(&recording(&[("a", json!(1)), ("b", json!(2)), ("a", json!(3))]));
        let answer = |import: &str| player.answer::<u32>(import, &Value::Null).map(Result::unwrap);
        assert_eq!([answer("a"), answer("a"), answer("a")], [Some(1), Some(3), Some(3)]);
        assert_eq!((answer("b"), answer("c")), (Some(2), None));
        let other = player.answer::<u32>("a", &json!(1));
        assert!(other.is_none(), "other arguments are another call");
        assert!(
            player.answer::<String>("b", &Value::Null).unwrap().is_err(),
            "an answer of another type"
        );
    }
}
