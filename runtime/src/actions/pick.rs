//! Which queued actions come next. Pure.

use std::collections::HashMap;

use crate::config::Limits;
use crate::store::{ActionScope, RunningActions, WaitingAction};

/// Attempts under way at the same time, in all processes; 0 for no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct PickLimits {
    environment_max: i64,
    connection_max: i64,
    function_max: i64,
}

impl PickLimits {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            environment_max: limits.concurrent_runs_of_environment.into(),
            connection_max: limits.concurrent_runs_of_connection.into(),
            function_max: limits.concurrent_runs_of_function.into(),
        }
    }
}

/// How many attempts run for each environment, connection and function.
#[derive(Default)]
struct Counts<'a> {
    environments: HashMap<&'a str, i64>,
    connections: HashMap<&'a str, i64>,
    functions: HashMap<(&'a str, &'a str, &'a str), i64>,
}

impl<'a> Counts<'a> {
    fn add(&mut self, of: &'a ActionScope, count: i64) {
        *self.environments.entry(&of.environment_id).or_insert(0) += count;
        *self.connections.entry(&of.connection_key).or_insert(0) += count;
        *self.functions.entry(function(of)).or_insert(0) += count;
    }

    fn of_connection(&self, of: &ActionScope) -> i64 {
        self.connections.get(of.connection_key.as_str()).copied().unwrap_or(0)
    }

    fn permits(&self, of: &'a ActionScope, limits: &PickLimits) -> bool {
        let is_below = |count: Option<&i64>, max: i64| max == 0 || count.copied().unwrap_or(0) < max;
        is_below(
            self.environments.get(of.environment_id.as_str()),
            limits.environment_max,
        ) && is_below(self.connections.get(of.connection_key.as_str()), limits.connection_max)
            && is_below(self.functions.get(&function(of)), limits.function_max)
    }
}

fn function(of: &ActionScope) -> (&str, &str, &str) {
    (&of.environment_id, &of.provider_config_key, &of.function)
}

/// Chooses up to `free`: always of the connection for which the fewest run, and of those the one that waits longest. So a
/// connection with thousands of queued actions makes another one wait for a single slot at most.
pub(super) fn pick(
    waiting: &[WaitingAction],
    running: &[RunningActions],
    limits: PickLimits,
    free: usize,
) -> Vec<String> {
    let mut counts = Counts::default();
    for one in running {
        counts.add(&one.of, one.count);
    }
    let mut left: Vec<&WaitingAction> = waiting.iter().collect();
    let mut picked = Vec::with_capacity(free.min(left.len()));
    while picked.len() < free {
        let next = left
            .iter()
            .enumerate()
            .filter(|(_, one)| counts.permits(&one.of, &limits))
            .min_by_key(|(index, one)| (counts.of_connection(&one.of), *index));
        let Some((index, _)) = next else { break };
        let one = left.remove(index);
        counts.add(&one.of, 1);
        picked.push(one.id.clone());
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: PickLimits = PickLimits {
        environment_max: 0,
        connection_max: 0,
        function_max: 0,
    };

    fn of(connection: &str, function: &str) -> ActionScope {
        ActionScope {
            environment_id: "env".into(),
            provider_config_key: "github".into(),
            connection_key: connection.into(),
            function: function.into(),
        }
    }

    /// `a1` is the first one of connection a; a capital letter means another function.
    fn waiting(names: &[&str]) -> Vec<WaitingAction> {
        let one = |name: &&str| {
            let connection = name[..1].to_lowercase();
            let function = if name.starts_with(char::is_uppercase) { "g" } else { "f" };
            WaitingAction {
                id: (*name).to_owned(),
                of: of(&connection, function),
            }
        };
        names.iter().map(one).collect()
    }

    #[test]
    fn connections_share() {
        let queue = waiting(&["a1", "a2", "a3", "a4", "b1", "b2", "c1"]);
        assert_eq!(pick(&queue, &[], FREE, 4), ["a1", "b1", "c1", "a2"]);
        let running = [RunningActions {
            of: of("a", "f"),
            count: 3,
        }];
        assert_eq!(pick(&queue, &running, FREE, 4), ["b1", "c1", "b2", "a1"]);
        assert_eq!(pick(&queue, &[], FREE, 99).len(), 7);
        assert!(pick(&queue, &[], FREE, 0).is_empty());
    }

    #[test]
    fn limits_hold_back() {
        let queue = waiting(&["a1", "A2", "b1", "B2", "c1"]);
        let limits = |environment_max, connection_max, function_max| PickLimits {
            environment_max,
            connection_max,
            function_max,
        };
        assert_eq!(pick(&queue, &[], limits(2, 0, 0), 9).len(), 2);
        assert_eq!(pick(&queue, &[], limits(0, 1, 0), 9), ["a1", "b1", "c1"]);
        assert_eq!(pick(&queue, &[], limits(0, 0, 1), 9), ["a1", "B2"]);
    }
}
