//! Who waits for a slot: a line for each connection, lines that take turns, and classes that share the turns. Pure.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use super::SlotError;
use crate::model::{ConnectionKey, EnvironmentId, IntegrationId};

/// Why somebody waits, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Somebody waits for the answer.
    Blocking,
    /// An action that was asked for in the background.
    Async,
    /// A sync.
    Background,
}

/// Whose turn it is, over and over: of eight slots five go to callers who wait, two to actions in the background, one to
/// syncs; what one class does not need goes to the others.
const TURNS: [Class; 8] = [
    Class::Blocking,
    Class::Blocking,
    Class::Async,
    Class::Blocking,
    Class::Blocking,
    Class::Async,
    Class::Blocking,
    Class::Background,
];

/// For whom a run is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) environment_id: EnvironmentId,
    pub(crate) integration_id: IntegrationId,
    pub(crate) connection_key: ConnectionKey,
    pub(crate) function: String,
}

pub(super) struct Waiter {
    pub(super) place: Place,
    pub(super) sender: oneshot::Sender<Result<(), SlotError>>,
}

#[derive(Default)]
pub(super) struct Lines {
    blocking: Lane,
    in_background: Lane,
    syncs: Lane,
    turn: usize,
}

/// The lines of one class.
#[derive(Default)]
struct Lane {
    lines: HashMap<ConnectionKey, VecDeque<Waiter>>,
    /// Each line once, the next to be served first.
    order: VecDeque<ConnectionKey>,
    len: usize,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.blocking.len + self.in_background.len + self.syncs.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, class: Class, waiter: Waiter) {
        self.lane(class).push(waiter);
    }

    /// The next one that may run.
    pub(super) fn next(&mut self, may_run: impl Fn(&Place) -> bool) -> Option<Waiter> {
        let turn = TURNS.get(self.turn % TURNS.len()).copied().unwrap_or(Class::Blocking);
        self.turn = self.turn.wrapping_add(1);
        [turn, Class::Blocking, Class::Async, Class::Background]
            .into_iter()
            .find_map(|class| self.lane(class).next(&may_run))
    }

    /// The last one of the longest line goes: so one connection cannot take the room of the others.
    pub(super) fn turn_away_one(&mut self, why: SlotError) {
        let lanes = [&mut self.blocking, &mut self.in_background, &mut self.syncs];
        let longest = lanes
            .into_iter()
            .max_by_key(|lane| lane.longest().map_or(0, |(_, len)| len));
        if let Some(waiter) = longest.and_then(Lane::pop_of_longest) {
            // Whoever does not wait any more need not be told.
            let _ = waiter.sender.send(Err(why));
        }
    }

    /// Drops those who do not wait any more. They would be skipped when it is their turn; until then they take room.
    pub(super) fn forget_gone(&mut self) {
        for lane in [&mut self.blocking, &mut self.in_background, &mut self.syncs] {
            for line in lane.lines.values_mut() {
                line.retain(|waiter| !waiter.sender.is_closed());
            }
            lane.lines.retain(|_, line| !line.is_empty());
            lane.order.retain(|key| lane.lines.contains_key(key));
            lane.len = lane.lines.values().map(VecDeque::len).sum();
        }
    }

    pub(super) fn turn_away_all(&mut self, why: &SlotError) {
        for lane in [&mut self.blocking, &mut self.in_background, &mut self.syncs] {
            for waiter in std::mem::take(lane).lines.into_values().flatten() {
                let _ = waiter.sender.send(Err(why.clone()));
            }
        }
    }

    fn lane(&mut self, class: Class) -> &mut Lane {
        match class {
            Class::Blocking => &mut self.blocking,
            Class::Async => &mut self.in_background,
            Class::Background => &mut self.syncs,
        }
    }
}

impl Lane {
    fn push(&mut self, waiter: Waiter) {
        let key = waiter.place.connection_key.clone();
        let line = self.lines.entry(key.clone()).or_default();
        if line.is_empty() {
            self.order.push_back(key);
        }
        line.push_back(waiter);
        self.len += 1;
    }

    /// The first that may run of the first line that has one; that line is last then.
    fn next(&mut self, may_run: impl Fn(&Place) -> bool) -> Option<Waiter> {
        for index in 0..self.order.len() {
            let key = self.order.get(index)?.clone();
            let Some(line) = self.lines.get_mut(&key) else {
                continue;
            };
            let first = line
                .iter()
                .position(|waiter| waiter.sender.is_closed() || may_run(&waiter.place));
            let Some(waiter) = first.and_then(|first| line.remove(first)) else {
                continue;
            };
            self.order.remove(index);
            if line.is_empty() {
                self.lines.remove(&key);
            } else {
                self.order.push_back(key);
            }
            self.len -= 1;
            return Some(waiter);
        }
        None
    }

    fn longest(&self) -> Option<(&ConnectionKey, usize)> {
        self.lines
            .iter()
            .map(|(key, line)| (key, line.len()))
            .max_by_key(|(_, len)| *len)
    }

    fn pop_of_longest(&mut self) -> Option<Waiter> {
        let key = self.longest()?.0.clone();
        let line = self.lines.get_mut(&key)?;
        let waiter = line.pop_back()?;
        self.len -= 1;
        if line.is_empty() {
            self.lines.remove(&key);
            self.order.retain(|other| *other != key);
        }
        Some(waiter)
    }
}
