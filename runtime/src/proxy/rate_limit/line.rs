//! Who waits, and who is next. Pure. Each run is a lane, and so are the REST callers together; lanes take turns, so that a run
//! with hundreds of requests does not make a short one wait for all of them. Within a lane, who arrived first goes first,
//! also when he comes back after a refusal.

use std::collections::{HashMap, VecDeque};

use crate::model::RunId;

/// Who takes turns with whom: a run, or (none) the REST callers.
pub(super) type Lane = Option<RunId>;

/// The line. `arrival` numbers are unique.
pub(super) struct Line<T> {
    lanes: HashMap<Lane, VecDeque<(u64, T)>>,
    /// The lanes that are not empty, the next one first.
    turns: VecDeque<Lane>,
    len: usize,
}

impl<T> Line<T> {
    pub(super) fn new() -> Self {
        Self {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts one in. Gives his position: 1 for who is next, if nobody leaves or comes meanwhile.
    pub(super) fn push(&mut self, lane: &Lane, arrival: u64, item: T) -> usize {
        let queue = self.lanes.entry(lane.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(lane.clone());
        }
        let index = queue.partition_point(|(other, _)| *other < arrival);
        queue.insert(index, (arrival, item));
        self.len += 1;
        self.ahead(lane, index) + 1
    }

    /// Takes out who is next.
    pub(super) fn pop(&mut self) -> Option<T> {
        let lane = self.turns.pop_front()?;
        let queue = self.lanes.get_mut(&lane)?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.lanes.remove(&lane);
        } else {
            self.turns.push_back(lane);
        }
        let (_, item) = item?;
        self.len -= 1;
        Some(item)
    }

    /// Takes out one who does not want to wait any more; none when it was his turn already.
    pub(super) fn remove(&mut self, lane: &Lane, arrival: u64) -> Option<T> {
        let queue = self.lanes.get_mut(lane)?;
        let index = queue.binary_search_by_key(&arrival, |(other, _)| *other).ok()?;
        let (_, item) = queue.remove(index)?;
        self.len -= 1;
        if queue.is_empty() {
            self.lanes.remove(lane);
            self.turns.retain(|other| other != lane);
        }
        Some(item)
    }

    /// Takes out all that `wanted` picks.
    pub(super) fn remove_all(&mut self, wanted: impl Fn(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for queue in self.lanes.values_mut() {
            if queue.iter().any(|(_, item)| wanted(item)) {
                for (arrival, item) in std::mem::take(queue) {
                    if wanted(&item) {
                        removed.push(item);
                    } else {
                        queue.push_back((arrival, item));
                    }
                }
            }
        }
        self.len -= removed.len();
        self.lanes.retain(|_, queue| !queue.is_empty());
        self.turns.retain(|lane| self.lanes.contains_key(lane));
        removed
    }

    /// How many go before the one at `index` of a lane.
    fn ahead(&self, lane: &Lane, index: usize) -> usize {
        let own_turn = self.turns.iter().position(|other| other == lane).unwrap_or(0);
        let others = self.turns.iter().enumerate().filter(|(turn, _)| *turn != own_turn);
        let before: usize = others
            .map(|(turn, other)| {
                let rounds = index + usize::from(turn < own_turn);
                self.lanes.get(other).map_or(0, VecDeque::len).min(rounds)
            })
            .sum();
        index + before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str) -> Lane {
        Some(RunId::from(name))
    }

    fn drained(line: &mut Line<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| line.pop()).collect()
    }

    #[test]
    fn lanes_take_turns_and_within_a_lane_the_first_goes_first() {
        let mut line = Line::new();
        for (arrival, item) in [(1, "s1"), (2, "s2"), (3, "s3")] {
            line.push(&run("sync"), arrival, item);
        }
        assert_eq!(line.push(&run("action"), 4, "a"), 2);
        assert_eq!(line.push(&None, 5, "rest"), 3);
        assert_eq!(line.push(&run("sync"), 6, "s4"), 6);
        assert_eq!(drained(&mut line), ["s1", "a", "rest", "s2", "s3", "s4"]);
        assert!(line.is_empty() && line.lanes.is_empty() && line.turns.is_empty());
    }

    #[test]
    fn who_comes_back_gets_the_old_place() {
        let mut line = Line::new();
        line.push(&None, 8, "eighth");
        line.push(&None, 9, "ninth");
        assert_eq!(line.push(&None, 3, "third"), 1);
        assert_eq!(drained(&mut line), ["third", "eighth", "ninth"]);
    }

    #[test]
    fn who_leaves_is_gone() {
        let mut line = Line::new();
        line.push(&run("sync"), 1, "s1");
        line.push(&None, 2, "r2");
        line.push(&None, 3, "r3");
        assert_eq!(line.remove(&run("sync"), 1), Some("s1"));
        assert_eq!(line.remove(&run("sync"), 1), None);
        assert_eq!(line.remove(&None, 7), None);
        assert_eq!(line.remove_all(|item| *item == "r2"), ["r2"]);
        assert_eq!(line.len(), 1);
        assert_eq!(drained(&mut line), ["r3"]);
    }

    #[test]
    fn the_position_is_the_number_of_pops_until_one_is_there() {
        for late in 0..40 {
            let mut line = Line::new();
            for arrival in 0..60_u64 {
                let lane = run(["a", "b", "c"][usize::try_from(arrival % 7 % 3).unwrap()]);
                line.push(&lane, arrival * 10, arrival);
            }
            for _ in 0..late {
                line.pop();
            }
            let position = line.push(&run("b"), 10_001, 1_000);
            let pops = std::iter::from_fn(|| line.pop())
                .position(|item| item == 1_000)
                .unwrap()
                + 1;
            assert_eq!(position, pops, "{late}");
        }
    }
}
