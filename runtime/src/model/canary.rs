//! Canaries: deploys that a share of an integration's connections tries before they become active for all. Also which connections those
//! are, which is the same on every node and for as long as a canary runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ConnectionKey, EnvironmentId, Function, IntegrationId};

/// The last canary of an integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    pub environment_id: EnvironmentId,
    pub integration_id: IntegrationId,
    pub provider_config_key: String,
    pub state: CanaryState,
    /// Of the connections, 1 to 99.
    pub percent: i64,
    /// Of a function's runs may fail, 0 to 99.
    pub errors_percent: i64,
    pub began_at_ms: i64,
    /// When it is promoted unless something is wrong with it.
    pub until_ms: i64,
    pub ended_at_ms: Option<i64>,
    /// Why it ended, for people.
    pub reason: Option<String>,
    /// By name.
    pub functions: Vec<CanaryFunction>,
}

/// A function of which another version is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryFunction {
    pub name: String,
    /// The version that is tried.
    pub version: i64,
    pub runs: RunCounts,
    /// The version that was active when the canary began; none when it is not known any more.
    pub active_version: Option<i64>,
    pub active_runs: RunCounts,
}

/// Runs that ended since a canary began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunCounts {
    pub succeeded: i64,
    pub failed: i64,
}

impl RunCounts {
    #[must_use]
    pub fn all(self) -> i64 {
        self.succeeded.saturating_add(self.failed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryState {
    Running,
    /// It is active for all.
    Promoted,
    /// Too many of its runs failed.
    RolledBack,
    /// Somebody ended it.
    Aborted,
}

/// That a function is tried in another version, and by how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryShare {
    pub version: i64,
    /// Of the connections.
    pub percent: i64,
}

/// A function in the versions that run: the active one, and the one that a canary tries.
#[derive(Clone, Debug)]
pub struct Rollout {
    pub active: Arc<Function>,
    /// With its share of the connections, in percent.
    pub canary: Option<(Arc<Function>, i64)>,
}

impl Rollout {
    /// The version that runs for this connection.
    #[must_use]
    pub fn of(&self, connection: &ConnectionKey) -> &Arc<Function> {
        match &self.canary {
            Some((canary, percent)) if is_tried_by(&canary.digest, connection, *percent) => canary,
            Some(_) | None => &self.active,
        }
    }
}

/// Whether a connection is among those that try a component. Others are for another component, so that it is not always the same
/// customers; those of a share are also among those of a greater one.
fn is_tried_by(digest: &str, connection: &ConnectionKey, percent: i64) -> bool {
    let hash = Sha256::new()
        .chain_update(digest)
        .chain_update([0])
        .chain_update(connection.as_str())
        .finalize();
    let place = hash
        .iter()
        .take(8)
        .fold(0_u64, |place, byte| (place << 8) | u64::from(*byte))
        % 100;
    i64::try_from(place).unwrap_or(i64::MAX) < percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_stable_and_about_as_large_as_it_should_be() {
        let keys: Vec<ConnectionKey> = (0..10_000).map(|number| format!("con_{number}").into()).collect();
        let share = |digest: &str, percent: i64| -> Vec<bool> {
            keys.iter().map(|key| is_tried_by(digest, key, percent)).collect()
        };
        let count = |share: &[bool]| share.iter().filter(|is_in| **is_in).count();
        let ten = share("d1", 10);
        assert!((850..1_150).contains(&count(&ten)), "{}", count(&ten));
        assert_eq!(ten, share("d1", 10));
        let twenty = share("d1", 20);
        assert!(ten.iter().zip(&twenty).all(|(in_ten, in_twenty)| !in_ten || *in_twenty));
        let other = share("d2", 10);
        let both = ten.iter().zip(&other).filter(|(a, b)| **a && **b).count();
        assert!(both < 200, "{both}");
        assert_eq!((count(&share("d1", 0)), count(&share("d1", 100))), (0, 10_000));
    }
}
