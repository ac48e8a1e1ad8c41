//! How many webhooks of an environment are taken within a minute, in this process. Only those that are genuine count, so that nobody
//! who forges them keeps the others out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::model::EnvironmentId;

const MINUTE_MS: i64 = 60_000;

#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<HashMap<EnvironmentId, Minute>>);

#[derive(Clone, Copy, Debug)]
struct Minute {
    since_ms: i64,
    count: u32,
}

impl Pace {
    /// Counts one. When there were enough: the seconds until there may be more.
    pub(super) fn enter(&self, environment: &EnvironmentId, per_minute_max: u32, now_ms: i64) -> Result<(), u64> {
        if per_minute_max == 0 {
            return Ok(());
        }
        let mut minutes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Minute {
            since_ms: now_ms,
            count: 0,
        };
        let minute = minutes.entry(environment.clone()).or_insert(fresh);
        // Also after a clock that went back.
        if !(0..MINUTE_MS).contains(&now_ms.saturating_sub(minute.since_ms)) {
            *minute = fresh;
        }
        if minute.count >= per_minute_max {
            let left_ms = minute.since_ms.saturating_add(MINUTE_MS).saturating_sub(now_ms);
            return Err(u64::try_from(left_ms).unwrap_or(0).div_ceil(1_000));
        }
        minute.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_and_the_next_one_again() {
        let pace = Pace::default();
        let (one, other) = (EnvironmentId::from("env_1"), EnvironmentId::from("env_2"));
        assert_eq!(pace.enter(&one, 2, 0), Ok(()));
        assert_eq!(pace.enter(&one, 2, 1), Ok(()));
        assert_eq!(pace.enter(&one, 2, 30_500), Err(30));
        assert_eq!(pace.enter(&other, 2, 30_500), Ok(()));
        assert_eq!(pace.enter(&one, 2, 60_000), Ok(()));
        assert_eq!(pace.enter(&one, 0, 60_000), Ok(()));
    }
}
