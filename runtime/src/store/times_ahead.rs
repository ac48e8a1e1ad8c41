//! What waits for a time that a clock said which has been set back since. Who waits is let go, or waits for as long as he might
//! by the clock as it is now.

use sqlx::query;

use super::{Store, StoreError};

/// No lease of a live process ends later than this; the longest is that of a revocation, 5 minutes.
const LEASE_MS_MAX: i64 = 10 * 60 * 1_000;
/// For as long a lease that ends later goes on: long enough for its holder, should he live, to renew it or to end.
const LEASE_MS: i64 = 2 * 60 * 1_000;
/// Longest wait for an attempt of an action.
const ACTION_WAIT_MS_MAX: i64 = 10 * 60 * 1_000;
/// Longest wait for an attempt to send a webhook.
const WEBHOOK_WAIT_MS_MAX: i64 = 4 * 60 * 60 * 1_000;
/// Longest wait for an attempt to revoke a token.
const REVOCATION_WAIT_MS_MAX: i64 = 6 * 60 * 60 * 1_000;
/// Longest time for which a sync waits for a rate limit, a lock is taken, or credentials are not tried.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

impl Store {
    /// Has done at once what waits for later than it may. When the clock was `seen` going back, what waits at all is done at once:
    /// whatever it waits for says so again. Leases and locks that end later than they may are cut. Gives how much no longer waits.
    pub async fn forget_times_ahead(&self, now_ms: i64, seen: bool) -> Result<u64, StoreError> {
        let waits = [
            (
                "UPDATE runs SET lease_until_ms = $1 WHERE sync_id IS NOT NULL AND state = 'queued' AND lease_until_ms > $2",
                DAY_MS,
            ),
            (
                "UPDATE actions SET due_at_ms = $1 WHERE state = 'queued' AND due_at_ms > $2",
                ACTION_WAIT_MS_MAX,
            ),
            (
                "UPDATE webhooks SET due_at_ms = $1 WHERE state = 'pending' AND due_at_ms > $2",
                WEBHOOK_WAIT_MS_MAX,
            ),
            (
                "UPDATE webhook_targets SET closed_until_ms = $1 WHERE closed_until_ms > $2",
                WEBHOOK_WAIT_MS_MAX,
            ),
            (
                "UPDATE revocations SET due_at_ms = $1 WHERE due_at_ms > $2",
                REVOCATION_WAIT_MS_MAX,
            ),
        ];
        let mut done = 0;
        for (statement, wait_ms_max) in waits {
            let limit_ms = now_ms.saturating_add(if seen { 0 } else { wait_ms_max });
            let updated = query(statement)
                .bind(now_ms)
                .bind(limit_ms)
                .execute(&self.writer)
                .await?;
            done += updated.rows_affected();
        }
        // What is done once a day is not done for all at once.
        let verified = query("UPDATE connections SET verify_due_at_ms = $1 WHERE verify_due_at_ms > $1");
        verified
            .bind(now_ms.saturating_add(DAY_MS))
            .execute(&self.writer)
            .await?;
        let leases = [
            "UPDATE runs SET lease_until_ms = $1 WHERE sync_id IS NOT NULL AND state = 'running' AND lease_until_ms > $2",
            "UPDATE actions SET lease_until_ms = $1 WHERE state = 'running' AND lease_until_ms > $2",
            "UPDATE webhooks SET lease_until_ms = $1 WHERE state = 'pending' AND lease_until_ms > $2",
            "UPDATE refresh_leases SET until_ms = $1 WHERE until_ms > $2",
            "UPDATE revocations SET lease_until_ms = $1 WHERE lease_until_ms > $2",
            "UPDATE upkeep SET until_ms = $1 WHERE until_ms > $2",
        ];
        for statement in leases {
            query(statement)
                .bind(now_ms.saturating_add(LEASE_MS))
                .bind(now_ms.saturating_add(LEASE_MS_MAX))
                .execute(&self.writer)
                .await?;
        }
        query("UPDATE locks SET until_ms = $1 WHERE until_ms > $1")
            .bind(now_ms.saturating_add(DAY_MS))
            .execute(&self.writer)
            .await?;
        Ok(done)
    }
}
