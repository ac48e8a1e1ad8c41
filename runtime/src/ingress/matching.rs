//! Which connections a webhook is about. What a provider calls an account is within connections' sealed values, so no database can look
//! for it: a process keeps what it has read of the connections of an integration that gets webhooks, and reads what has changed since.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::request::Reader;
use crate::connections::{Connections, ConnectionsError};
use crate::model::{Connection, ConnectionKey, Integration, IntegrationId};
use crate::provider::ConnectionRule;
use crate::store::Store;

/// Connections that one webhook may be about; the rest is left out, and the log says so.
pub const MATCHES_MAX: usize = 1_000;
/// Integrations that are remembered.
const INTEGRATIONS_MAX: usize = 256;
/// Changes are read again for so long: they are seen once they are committed, by the clock of who made them.
const OVERLAP_MS: i64 = 60_000;
/// Then everything is read anew, whatever clocks did.
const REBUILD_MS: i64 = 600_000;
const PAGE: i64 = 1_000;

#[derive(Default)]
pub(super) struct Indexes(Mutex<HashMap<IntegrationId, Arc<tokio::sync::Mutex<Index>>>>);

/// What is known of the connections of one integration.
#[derive(Default)]
struct Index {
    built_at_ms: Option<i64>,
    looked_at_ms: i64,
    /// What the rules make of each.
    known: HashMap<ConnectionKey, Vec<Option<String>>>,
    /// By rule and value.
    found: HashMap<(usize, String), BTreeSet<ConnectionKey>>,
}

impl Indexes {
    /// The connections of which a rule holds, in the order of their keys.
    pub(super) async fn matches(
        &self,
        parts: (&Store, &Connections),
        integration: &Integration,
        rules: &[ConnectionRule],
        reader: &Reader<'_>,
        now_ms: i64,
    ) -> Result<Vec<Connection>, ConnectionsError> {
        let (store, connections) = parts;
        let wanted: BTreeSet<(usize, String)> = rules
            .iter()
            .enumerate()
            .flat_map(|(number, rule)| reader.at(&rule.from).into_iter().map(move |value| (number, value)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let index = self.of(&integration.id);
        let keys: BTreeSet<ConnectionKey> = {
            let mut index = index.lock().await;
            index.update(parts, integration, rules, now_ms).await?;
            let found = wanted.iter().filter_map(|wanted| index.found.get(wanted));
            found.flatten().cloned().collect()
        };
        if keys.len() > MATCHES_MAX {
            tracing::warn!(
                integration = integration.unique_key,
                "A webhook is about {} connections; it is handled for {MATCHES_MAX} of them",
                keys.len()
            );
        }
        let mut matches = Vec::new();
        for key in keys.iter().take(MATCHES_MAX) {
            // As it is now: it may have been deleted, be somebody else's by now, or not count yet.
            let Some(connection) = store.connection_that_counts(key).await? else {
                continue;
            };
            let values = connections.webhook_values(&connection, rules.iter().map(|rule| &rule.equals))?;
            let mut values = values.into_iter().enumerate();
            if values.any(|(number, value)| value.is_some_and(|value| wanted.contains(&(number, value)))) {
                matches.push(connection);
            }
        }
        Ok(matches)
    }

    fn of(&self, integration: &IntegrationId) -> Arc<tokio::sync::Mutex<Index>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= INTEGRATIONS_MAX && !all.contains_key(integration) {
            all.clear();
        }
        Arc::clone(all.entry(integration.clone()).or_default())
    }
}

impl Index {
    async fn update(
        &mut self,
        (store, connections): (&Store, &Connections),
        integration: &Integration,
        rules: &[ConnectionRule],
        now_ms: i64,
    ) -> Result<(), ConnectionsError> {
        let is_fresh = self
            .built_at_ms
            .is_some_and(|built_at_ms| (0..REBUILD_MS).contains(&now_ms.saturating_sub(built_at_ms)));
        if !is_fresh {
            *self = Self::default();
        }
        let mut after = match self.built_at_ms {
            Some(_) => (self.looked_at_ms.saturating_sub(OVERLAP_MS), String::new()),
            None => (i64::MIN, String::new()),
        };
        loop {
            let page = store
                .connections_changed(&integration.id, (after.0, &after.1), PAGE)
                .await?;
            let is_last = i64::try_from(page.len()).unwrap_or(PAGE) < PAGE;
            for connection in &page {
                self.take(connections, connection, rules)?;
                after = (connection.updated_at_ms, connection.key.as_str().to_owned());
            }
            if is_last {
                break;
            }
        }
        self.built_at_ms.get_or_insert(now_ms);
        self.looked_at_ms = now_ms;
        Ok(())
    }

    fn take(
        &mut self,
        connections: &Connections,
        connection: &Connection,
        rules: &[ConnectionRule],
    ) -> Result<(), ConnectionsError> {
        let values = connections.webhook_values(connection, rules.iter().map(|rule| &rule.equals))?;
        for (number, value) in values.iter().enumerate() {
            if let Some(value) = value {
                let keys = self.found.entry((number, value.clone())).or_default();
                keys.insert(connection.key.clone());
            }
        }
        if let Some(old) = self.known.insert(connection.key.clone(), values) {
            self.forget(&connection.key, &old);
        }
        Ok(())
    }

    /// Takes those values of a connection away that it has no more.
    fn forget(&mut self, key: &ConnectionKey, old: &[Option<String>]) {
        let Some(new) = self.known.get(key) else { return };
        for (number, value) in old.iter().enumerate() {
            let Some(value) = value else { continue };
            if new.get(number).and_then(Option::as_ref) == Some(value) {
                continue;
            }
            let place = (number, value.clone());
            if let Some(keys) = self.found.get_mut(&place) {
                keys.remove(key);
                if keys.is_empty() {
                    self.found.remove(&place);
                }
            }
        }
    }
}
