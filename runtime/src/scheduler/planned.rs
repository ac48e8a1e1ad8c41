//! Which sync a deployed function makes for a connection, and when it runs. Pure but for the id.

use crate::clock::Entropy;
use crate::deploy::{cron, frequency};
use crate::model::{ConnectionKey, EnvironmentId, Frequency, FrequencySource, Function, Sync, SyncId, SyncState};

/// Slots of different connections are apart by up to this much, so that a deploy does not make all due together.
pub const JITTER_MS_MAX: i64 = 10 * 60 * 1_000;

/// For which connection.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub environment_id: &'a EnvironmentId,
    pub connection_key: &'a ConnectionKey,
    pub connection_id: &'a str,
}

/// How far the first runs after a deploy are apart: a second for each connection of the integration but the first, and
/// [`JITTER_MS_MAX`] at most.
#[must_use]
pub fn spread_ms(connections: i64) -> i64 {
    (connections - 1).clamp(0, JITTER_MS_MAX / 1_000) * 1_000
}

/// A sync as it begins: started unless the function says otherwise; due within `spread_ms`, then on a grid, or at times of a crontab,
/// whose phase is the connection's own. Without a frequency it runs only when triggered.
#[must_use]
pub fn sync(
    function: &Function,
    variant: &str,
    owner: Owner<'_>,
    now_ms: i64,
    spread_ms: i64,
    entropy: &Entropy,
) -> Sync {
    let frequency = declared(function);
    let seed = seed(owner.connection_key.as_str(), &function.name, variant);
    let first_due_at_ms = now_ms + jitter_ms(seed, spread_ms + 1);
    let phase_ms = frequency
        .as_ref()
        .and_then(Frequency::every_ms)
        .map_or(0, |frequency_ms| jitter_ms(seed, frequency_ms));
    Sync {
        id: SyncId::new(now_ms, entropy.bytes()),
        environment_id: owner.environment_id.clone(),
        integration_id: function.integration_id.clone(),
        connection_key: owner.connection_key.clone(),
        connection_id: owner.connection_id.to_owned(),
        function: function.name.clone(),
        variant: variant.to_owned(),
        state: if function.manifest.auto_start {
            SyncState::Started
        } else {
            SyncState::Paused
        },
        frequency_ms: frequency.as_ref().and_then(Frequency::every_ms),
        cron: frequency.as_ref().and_then(Frequency::cron).map(str::to_owned),
        frequency_from: FrequencySource::Function,
        anchor_ms: first_due_at_ms - phase_ms,
        next_due_at_ms: frequency.map(|_| first_due_at_ms),
        failures: 0,
        waits_until_ms: None,
        last_run: None,
    }
}

/// When the function says it runs. Checked at deploy.
#[must_use]
pub fn declared(function: &Function) -> Option<Frequency> {
    let frequency = function.manifest.frequency.as_deref()?;
    frequency::parse(frequency).ok()
}

/// The first slot after `now_ms` of a sync that follows a crontab.
#[must_use]
pub fn next_cron_ms(cron: &str, connection_key: &str, function: &str, variant: &str, now_ms: i64) -> Option<i64> {
    cron::next_ms(cron, seed(connection_key, function, variant), now_ms)
}

/// The same for the same names (FNV-1a).
fn seed(connection_key: &str, function: &str, variant: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in [connection_key, function, variant].join("\n").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The low bits of this hash change with the last bytes only; the high ones with all.
    hash >> 20
}

/// Spread evenly below `below_ms`.
fn jitter_ms(seed: u64, below_ms: i64) -> i64 {
    i64::try_from(seed).unwrap_or(0) % below_ms.clamp(1, JITTER_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_connections_are_spread_and_stay_where_they_are() {
        let jitter = |number: i32| jitter_ms(seed(&format!("con_{number}"), "issues", "base"), 3_600_000);
        let mut seconds = std::collections::HashMap::<i64, u32>::new();
        for number in 0..10_000 {
            let jitter_ms = jitter(number);
            assert!((0..JITTER_MS_MAX).contains(&jitter_ms));
            assert_eq!(jitter_ms, jitter(number));
            *seconds.entry(jitter_ms / 1_000).or_default() += 1;
        }
        // 10,000 over 600 seconds are 17 a second on average.
        assert!(seconds.values().all(|count| *count < 60), "{seconds:?}");
        assert!(jitter_ms(seed("con_1", "issues", "base"), 30_000) < 30_000);
    }

    #[test]
    fn a_deploy_for_one_connection_runs_at_once_and_one_for_many_is_spread() {
        assert_eq!([1, 2, 101, 100_000].map(spread_ms), [0, 1_000, 100_000, JITTER_MS_MAX]);
    }
}
