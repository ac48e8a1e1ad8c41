//! Which sync a deployed function makes for a connection, and when it runs. Pure but for the id.

use crate::clock::Entropy;
use crate::deploy::frequency;
use crate::model::{ConnectionKey, EnvironmentId, FrequencySource, Function, Sync, SyncId, SyncState};

/// Slots of different connections are apart by up to this much, so that a deploy does not make all due together.
pub const JITTER_MS_MAX: i64 = 10 * 60 * 1_000;

/// For which connection.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub environment_id: &'a EnvironmentId,
    pub connection_key: &'a ConnectionKey,
    pub connection_id: &'a str,
}

/// A sync as it begins: started unless the function says otherwise, due at once, then on a grid whose phase is the
/// connection's own. Without a frequency it runs only when triggered.
#[must_use]
pub fn sync(function: &Function, variant: &str, owner: Owner<'_>, now_ms: i64, entropy: &Entropy) -> Sync {
    let frequency_ms = declared_ms(function);
    let jitter = frequency_ms.map_or(0, |frequency_ms| {
        jitter_ms(owner.connection_key.as_str(), &function.name, variant, frequency_ms)
    });
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
        frequency_ms,
        frequency_from: FrequencySource::Function,
        anchor_ms: now_ms - jitter,
        next_due_at_ms: frequency_ms.map(|_| now_ms),
        failures: 0,
        last_run: None,
    }
}

/// How often the function says it runs. Checked at deploy.
#[must_use]
pub fn declared_ms(function: &Function) -> Option<i64> {
    let frequency = function.manifest.frequency.as_deref()?;
    frequency::parse(frequency).ok()
}

/// The same for the same names, spread evenly below the frequency (FNV-1a).
fn jitter_ms(connection_key: &str, function: &str, variant: &str, frequency_ms: i64) -> i64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in [connection_key, function, variant].join("\n").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The low bits of this hash change with the last bytes only; the high ones with all.
    let spread = i64::try_from(hash >> 20).unwrap_or(0);
    spread % frequency_ms.clamp(1, JITTER_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_connections_are_spread_and_stay_where_they_are() {
        let jitter = |number: i32| jitter_ms(&format!("con_{number}"), "issues", "base", 3_600_000);
        let mut seconds = std::collections::HashMap::<i64, u32>::new();
        for number in 0..10_000 {
            let jitter_ms = jitter(number);
            assert!((0..JITTER_MS_MAX).contains(&jitter_ms));
            assert_eq!(jitter_ms, jitter(number));
            *seconds.entry(jitter_ms / 1_000).or_default() += 1;
        }
        // 10,000 over 600 seconds are 17 a second on average.
        assert!(seconds.values().all(|count| *count < 60), "{seconds:?}");
        assert!(jitter_ms("con_1", "issues", "base", 30_000) < 30_000);
    }
}
