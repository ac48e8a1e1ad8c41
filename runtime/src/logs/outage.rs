//! What is said when the log cannot be written: at once, then now and then, and at the end how much was lost.

use std::error::Error;

use super::queue::Shared;
use crate::model::{EnvironmentId, Operation, OperationId, OperationKind, OperationState};

/// How often an outage, or that entries are dropped, is spoken of at most.
const NOTICE_INTERVAL_US: u64 = 10_000_000;

#[derive(Default)]
pub(super) struct Outage {
    failing: bool,
    failure_spoken_at_us: Option<u64>,
    lost_spoken_of: u64,
    lost_spoken_at_us: Option<u64>,
}

impl Outage {
    /// A try to write has failed and will be repeated, or takes long.
    pub(super) fn fails(&mut self, shared: &Shared, now_us: u64, error: &(dyn Error + 'static)) {
        self.failing = true;
        shared.set_failure(Some(error.to_string()));
        if is_recent(self.failure_spoken_at_us, now_us) {
            return;
        }
        self.failure_spoken_at_us = Some(now_us);
        let status = shared.status();
        let (waiting, dropped) = (status.waiting, status.dropped);
        tracing::warn!(
            waiting,
            dropped,
            error,
            "The log cannot be written: {waiting} entries wait, {dropped} were dropped so far. Requests and runs go on"
        );
    }

    /// A batch was written, or refused for what it holds.
    pub(super) fn ends(&mut self, shared: &Shared) {
        if !self.failing {
            return;
        }
        self.failing = false;
        self.failure_spoken_at_us = None;
        shared.set_failure(None);
        // Said in any case now, not an interval later.
        self.lost_spoken_at_us = None;
        let dropped = shared.dropped().saturating_sub(self.lost_spoken_of);
        tracing::warn!(dropped, "The log can be written again; {dropped} entries were lost");
    }

    /// The operation that says in the log what is missing in it, when that is due.
    pub(super) fn lost(
        &mut self,
        dropped: u64,
        environment_id: &EnvironmentId,
        now_ms: i64,
        now_us: u64,
    ) -> Option<Operation> {
        if self.failing || dropped == self.lost_spoken_of || is_recent(self.lost_spoken_at_us, now_us) {
            return None;
        }
        let lost = dropped - self.lost_spoken_of;
        self.lost_spoken_of = dropped;
        self.lost_spoken_at_us = Some(now_us);
        tracing::warn!(
            dropped = lost,
            "{lost} log entries were dropped: more was logged than the database took"
        );
        // The count grows with each notice, so no two have the same id.
        let mut unique = [0; 16];
        for (byte, part) in unique.iter_mut().zip(dropped.to_le_bytes()) {
            *byte = part;
        }
        for (byte, part) in unique.iter_mut().rev().zip(std::process::id().to_le_bytes()) {
            *byte = part;
        }
        Some(Operation {
            id: OperationId::new(now_ms, unique),
            environment_id: environment_id.clone(),
            kind: OperationKind::LogsLost,
            state: OperationState::Failed,
            provider_config_key: None,
            connection_id: None,
            function: None,
            run_id: None,
            message: format!("{lost} log entries before this were lost: the database did not take them in time"),
            started_at_ms: now_ms,
            ended_at_ms: Some(now_ms),
            duration_us: None,
            usage: None,
        })
    }
}

fn is_recent(spoken_at_us: Option<u64>, now_us: u64) -> bool {
    spoken_at_us.is_some_and(|spoken_at_us| now_us.saturating_sub(spoken_at_us) < NOTICE_INTERVAL_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_said_once_an_interval_and_not_while_nothing_can_be_written() {
        let mut outage = Outage::default();
        let mut lost = |dropped, now_us| {
            let notice = outage.lost(dropped, &"env_1".into(), 1_000, now_us);
            notice.map(|notice| notice.message.split(' ').next().unwrap().to_owned())
        };
        assert_eq!(lost(0, 0), None);
        assert_eq!(lost(5, 0).as_deref(), Some("5"));
        assert_eq!(lost(9, NOTICE_INTERVAL_US - 1), None);
        assert_eq!(lost(9, NOTICE_INTERVAL_US).as_deref(), Some("4"));
        let shared = Shared::new(usize::MAX);
        let error = std::io::Error::other("on purpose");
        outage.fails(&shared, NOTICE_INTERVAL_US, &error);
        assert!(shared.status().failure.is_some());
        assert!(
            outage
                .lost(12, &"env_1".into(), 1_000, 9 * NOTICE_INTERVAL_US)
                .is_none()
        );
        outage.ends(&shared);
        assert_eq!(shared.status().failure, None);
        assert!(
            outage
                .lost(12, &"env_1".into(), 1_000, NOTICE_INTERVAL_US + 1)
                .is_some()
        );
    }
}
