//! What was read from the database a moment ago. Bounded; entries of this process' own writes are dropped at once, those of
//! other processes' after [`CACHE_TTL_MS`]. What was not found is not remembered.

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::Target;
use crate::clock::Clock;
use crate::model::{EnvironmentId, Integration};

/// Opened connections kept in memory.
pub const TARGETS_MAX: usize = 10_000;
/// Integrations kept in memory.
pub const INTEGRATIONS_MAX: usize = 2_000;
/// How long another process' write may go unseen.
pub const CACHE_TTL_MS: u64 = 5_000;

pub(super) struct Caches {
    clock: Clock,
    targets: Cache<TargetKey, Kept<Target>>,
    integrations: Cache<IntegrationKey, Kept<Integration>>,
    /// Counts writes. Who reads the database takes a [`Ticket`] first, and what he read is kept only if nothing was
    /// written since: otherwise a slow reader could put back what a writer has just dropped.
    /// A std mutex: held for one insertion or removal, never across an await, and not at all when a lookup hits.
    writes: Mutex<u64>,
}

struct Kept<T> {
    value: Arc<T>,
    read_at_us: u64,
}

// Not derived: that would ask for T: Clone.
impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            read_at_us: self.read_at_us,
        }
    }
}

/// The moment a read began.
#[derive(Clone, Copy)]
pub(super) struct Ticket {
    writes: u64,
    read_at_us: u64,
}

impl Caches {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            targets: Cache::new(TARGETS_MAX),
            integrations: Cache::new(INTEGRATIONS_MAX),
            writes: Mutex::new(0),
        }
    }

    pub fn target(&self, environment_id: &EnvironmentId, integration: &str, connection: &str) -> Option<Arc<Target>> {
        self.fresh(self.kept_target(environment_id, integration, connection)?)
    }

    /// Whatever its age: to be used only if the rows it was made of are still the same.
    pub fn old_target(
        &self,
        environment_id: &EnvironmentId,
        integration: &str,
        connection: &str,
    ) -> Option<Arc<Target>> {
        self.kept_target(environment_id, integration, connection)
            .map(|kept| kept.value)
    }

    fn kept_target(&self, environment_id: &EnvironmentId, integration: &str, connection: &str) -> Option<Kept<Target>> {
        let key = TargetRef {
            environment: environment_id.as_str(),
            integration,
            connection,
        };
        self.targets.get(&key)
    }

    pub fn integration(&self, environment_id: &EnvironmentId, integration: &str) -> Option<Arc<Integration>> {
        let key = IntegrationRef {
            environment: environment_id.as_str(),
            integration,
        };
        self.fresh(self.integrations.get(&key)?)
    }

    /// To be taken before the database is read.
    pub fn ticket(&self) -> Ticket {
        Ticket {
            writes: *self.writes.lock().unwrap_or_else(PoisonError::into_inner),
            read_at_us: self.clock.monotonic_us(),
        }
    }

    pub fn keep_target(&self, ticket: Ticket, target: &Arc<Target>) {
        let key = TargetKey {
            environment: target.connection.environment_id.clone(),
            integration: target.integration.unique_key.as_str().into(),
            connection: target.connection.connection_id.as_str().into(),
        };
        self.keep(&self.targets, ticket, key, target);
    }

    pub fn keep_integration(&self, ticket: Ticket, integration: &Arc<Integration>) {
        let key = IntegrationKey {
            environment: integration.environment_id.clone(),
            integration: integration.unique_key.as_str().into(),
        };
        self.keep(&self.integrations, ticket, key, integration);
    }

    /// To be called once a write of the connection is done.
    pub fn forget_connection(&self, environment_id: &EnvironmentId, integration: &str, connection: &str) {
        let key = TargetRef {
            environment: environment_id.as_str(),
            integration,
            connection,
        };
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        *writes += 1;
        self.targets.remove(&key);
    }

    /// To be called once a write of the integration is done: drops it with its connections.
    pub fn forget_integration(&self, environment_id: &EnvironmentId, integration: &str) {
        let key = IntegrationRef {
            environment: environment_id.as_str(),
            integration,
        };
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        *writes += 1;
        self.integrations.remove(&key);
        self.targets.retain(|target, _| {
            target.environment.as_str() != key.environment || &*target.integration != key.integration
        });
    }

    fn fresh<T>(&self, kept: Kept<T>) -> Option<Arc<T>> {
        let age_us = self.clock.monotonic_us().saturating_sub(kept.read_at_us);
        (age_us < CACHE_TTL_MS * 1_000).then_some(kept.value)
    }

    fn keep<K: Eq + Hash, T>(&self, cache: &Cache<K, Kept<T>>, ticket: Ticket, key: K, value: &Arc<T>) {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if *writes == ticket.writes {
            let value = Arc::clone(value);
            let read_at_us = ticket.read_at_us;
            cache.insert(key, Kept { value, read_at_us });
        }
    }
}

// Keys and the borrowed forms they are looked up with must hash alike: same fields, same order, and text hashes as text
// whatever holds it.

#[derive(PartialEq, Eq, Hash)]
struct TargetKey {
    environment: EnvironmentId,
    integration: Box<str>,
    connection: Box<str>,
}

#[derive(Hash)]
struct TargetRef<'a> {
    environment: &'a str,
    integration: &'a str,
    connection: &'a str,
}

impl Equivalent<TargetKey> for TargetRef<'_> {
    fn equivalent(&self, key: &TargetKey) -> bool {
        self.connection == &*key.connection
            && self.integration == &*key.integration
            && self.environment == key.environment.as_str()
    }
}

#[derive(PartialEq, Eq, Hash)]
struct IntegrationKey {
    environment: EnvironmentId,
    integration: Box<str>,
}

#[derive(Hash)]
struct IntegrationRef<'a> {
    environment: &'a str,
    integration: &'a str,
}

impl Equivalent<IntegrationKey> for IntegrationRef<'_> {
    fn equivalent(&self, key: &IntegrationKey) -> bool {
        self.integration == &*key.integration && self.environment == key.environment.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{integration, target};
    use super::*;
    use crate::clock::ManualClock;

    fn caches() -> (Caches, ManualClock, EnvironmentId) {
        let (clock, manual) = Clock::manual(1_000_000);
        (Caches::new(clock), manual, EnvironmentId::from("env_1"))
    }

    #[test]
    fn what_is_kept_is_found_until_its_time_is_over() {
        let (caches, clock, environment) = caches();
        caches.keep_target(caches.ticket(), &target("github", "c1"));
        assert!(caches.target(&environment, "github", "c1").is_some());
        assert!(caches.target(&environment, "github", "c2").is_none());
        assert!(caches.target(&EnvironmentId::from("env_2"), "github", "c1").is_none());
        clock.advance_ms(4_999);
        assert!(caches.target(&environment, "github", "c1").is_some());
        clock.advance_ms(1);
        assert!(caches.target(&environment, "github", "c1").is_none());
    }

    #[test]
    fn writes_drop_exactly_what_they_concern() {
        let (caches, _, environment) = caches();
        for (integration_key, connection_id) in [("github", "c1"), ("github", "c2"), ("slack", "c1")] {
            caches.keep_target(caches.ticket(), &target(integration_key, connection_id));
            caches.keep_integration(caches.ticket(), &integration(integration_key));
        }
        let found = |key, id| caches.target(&environment, key, id).is_some();
        caches.forget_connection(&environment, "github", "c1");
        assert!(!found("github", "c1") && found("github", "c2") && found("slack", "c1"));
        assert!(caches.integration(&environment, "github").is_some());
        caches.forget_integration(&environment, "github");
        assert!(!found("github", "c2") && found("slack", "c1"));
        assert!(caches.integration(&environment, "github").is_none());
        assert!(caches.integration(&environment, "slack").is_some());
    }

    #[test]
    fn a_read_overtaken_by_a_write_is_not_kept() {
        let (caches, _, environment) = caches();
        let ticket = caches.ticket();
        caches.forget_connection(&environment, "github", "c1");
        caches.keep_target(ticket, &target("github", "c1"));
        assert!(caches.target(&environment, "github", "c1").is_none());
    }
}
