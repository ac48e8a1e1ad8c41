//! Work that is done by itself and by one process at a time: a lease for each kind, with a fence that grows. Each step of the work
//! prolongs the lease in the transaction of what it does, so that whoever lost it changes nothing more.

use sqlx::{Any, Transaction, query, query_scalar};

use super::{Store, StoreError};

/// That this process does the work for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpkeepLease {
    name: &'static str,
    fence: i64,
}

impl Store {
    /// Takes the lease of a kind of work until `until_ms`; none while somebody has it.
    pub async fn acquire_upkeep(
        &self,
        name: &'static str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<Option<UpkeepLease>, StoreError> {
        let fence: Option<i64> = query_scalar(
            "INSERT INTO upkeep (name, fence, until_ms) VALUES ($1, 1, $3) ON CONFLICT (name) DO UPDATE \
             SET fence = upkeep.fence + 1, until_ms = excluded.until_ms WHERE upkeep.until_ms <= $2 RETURNING fence",
        )
        .bind(name)
        .bind(now_ms)
        .bind(until_ms)
        .fetch_optional(&self.writer)
        .await?;
        Ok(fence.map(|fence| UpkeepLease { name, fence }))
    }

    /// Gives a lease back.
    pub async fn release_upkeep(&self, lease: UpkeepLease) -> Result<(), StoreError> {
        query("UPDATE upkeep SET until_ms = 0 WHERE name = $1 AND fence = $2")
            .bind(lease.name)
            .bind(lease.fence)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

/// Prolongs a lease within the transaction of a step. False when somebody else has it: nothing may be done then.
pub(super) async fn renew_upkeep(
    transaction: &mut Transaction<'static, Any>,
    lease: UpkeepLease,
    until_ms: i64,
) -> Result<bool, StoreError> {
    let renewed = query("UPDATE upkeep SET until_ms = $3 WHERE name = $1 AND fence = $2 AND until_ms > 0")
        .bind(lease.name)
        .bind(lease.fence)
        .bind(until_ms)
        .execute(&mut **transaction)
        .await?;
    Ok(renewed.rows_affected() == 1)
}
