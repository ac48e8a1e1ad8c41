//! Canaries, and how the runs of their functions end. Whether one is good is for others to judge; ending one is one transaction, which
//! whoever comes second finds done.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use sqlx::{Any, Transaction, query};

use super::columns::{Columns, Word};
use super::schedules::mark_stale;
use super::sql::Sql;
use super::{Store, StoreError};
use crate::model::{Canary, CanaryFunction, CanaryState, IntegrationId, Run, RunCounts, RunState};

/// Canaries that are looked after at once; each is of an integration of its own.
const CANARIES_MAX: i64 = 1_000;

/// How a deploy is tried.
#[derive(Clone, Copy, Debug)]
pub struct NewCanary {
    /// Of the connections.
    pub percent: i64,
    /// Of a function's runs may fail.
    pub errors_percent: i64,
    pub began_at_ms: i64,
    pub until_ms: i64,
}

macro_rules! select_canary {
    () => {
        "SELECT c.integration_id, i.environment_id, i.unique_key, c.state, c.percent, c.errors_percent, c.began_at_ms, \
         c.until_ms, c.ended_at_ms, c.reason FROM canaries c \
         JOIN integrations i ON i.id = c.integration_id AND i.deleted_at_ms IS NULL"
    };
}

impl Store {
    /// The last canary of an integration, running or not.
    pub async fn canary(&self, integration_id: &IntegrationId) -> Result<Option<Canary>, StoreError> {
        let row = query(concat!(select_canary!(), " WHERE c.integration_id = $1"))
            .bind(integration_id.as_str())
            .fetch_optional(&self.reader)
            .await?;
        match row {
            Some(row) => Ok(Some(self.with_runs(canary(&row)?).await?)),
            None => Ok(None),
        }
    }

    /// Those that have not ended.
    pub async fn running_canaries(&self) -> Result<Vec<Canary>, StoreError> {
        let rows = query(concat!(
            select_canary!(),
            " WHERE c.state = 'running' ORDER BY c.integration_id LIMIT $1"
        ))
        .bind(CANARIES_MAX)
        .fetch_all(&self.reader)
        .await?;
        let mut canaries = Vec::with_capacity(rows.len());
        for row in &rows {
            canaries.push(self.with_runs(canary(row)?).await?);
        }
        Ok(canaries)
    }

    /// Ends the running canary of an integration: its versions become the active ones if it is promoted, otherwise nobody runs them any
    /// more. False, and nothing changed, when none is running.
    pub async fn end_canary(
        &self,
        integration_id: &IntegrationId,
        state: CanaryState,
        reason: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let ended = query(
            "UPDATE canaries SET state = $2, reason = $3, ended_at_ms = $4 \
             WHERE integration_id = $1 AND state = 'running'",
        )
        .bind(integration_id.as_str())
        .bind(state.word())
        .bind(reason)
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        if ended.rows_affected() == 0 {
            return Ok(false);
        }
        let is_promoted = state == CanaryState::Promoted;
        if !is_promoted {
            query(
                "UPDATE function_versions SET given_up_at_ms = $2 WHERE integration_id = $1 AND EXISTS (SELECT 1 FROM functions f \
                 WHERE f.integration_id = function_versions.integration_id AND f.name = function_versions.name \
                 AND f.canary_version = function_versions.version)",
            )
            .bind(integration_id.as_str())
            .bind(now_ms)
            .execute(&mut *transaction)
            .await?;
        }
        query(if is_promoted {
            "UPDATE functions SET active_version = canary_version, canary_version = NULL \
             WHERE integration_id = $1 AND canary_version IS NOT NULL"
        } else {
            "UPDATE functions SET canary_version = NULL WHERE integration_id = $1 AND canary_version IS NOT NULL"
        })
        .bind(integration_id.as_str())
        .execute(&mut *transaction)
        .await?;
        if is_promoted {
            mark_stale(&mut transaction, integration_id).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn with_runs(&self, mut canary: Canary) -> Result<Canary, StoreError> {
        let rows = query(
            "SELECT function, version, tried, succeeded, failed FROM canary_runs WHERE integration_id = $1 \
             ORDER BY function, tried DESC",
        )
        .bind(canary.integration_id.as_str())
        .fetch_all(&self.reader)
        .await?;
        for row in &rows {
            let mut columns = Columns::new(row, "canary_runs");
            let (name, version): (String, i64) = (columns.get("function")?, columns.get("version")?);
            let is_tried = columns.get::<&str>("tried")? == "yes";
            let runs = RunCounts {
                succeeded: columns.get("succeeded")?,
                failed: columns.get("failed")?,
            };
            if is_tried {
                canary.functions.push(CanaryFunction {
                    name,
                    version,
                    runs,
                    active_version: None,
                    active_runs: RunCounts::default(),
                });
            } else if let Some(function) = canary.functions.last_mut().filter(|function| function.name == name) {
                (function.active_version, function.active_runs) = (Some(version), runs);
            }
        }
        Ok(canary)
    }
}

/// Whether the integration has a canary that has not ended.
pub(super) async fn has_canary(
    transaction: &mut Transaction<'static, Any>,
    integration_id: &IntegrationId,
) -> Result<bool, StoreError> {
    let running = query("SELECT integration_id FROM canaries WHERE integration_id = $1 AND state = 'running'")
        .bind(integration_id.as_str())
        .fetch_optional(&mut **transaction)
        .await?;
    Ok(running.is_some())
}

/// Ends the running canary of an integration when all its functions have been taken out of it.
pub(super) async fn end_empty_canary(
    transaction: &mut Transaction<'static, Any>,
    integration_id: &IntegrationId,
    now_ms: i64,
) -> Result<(), StoreError> {
    query(
        "UPDATE canaries SET state = 'aborted', reason = 'its functions were rolled back', ended_at_ms = $2 \
         WHERE integration_id = $1 AND state = 'running' \
         AND NOT EXISTS (SELECT 1 FROM functions f WHERE f.integration_id = $1 AND f.canary_version IS NOT NULL)",
    )
    .bind(integration_id.as_str())
    .bind(now_ms)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Begins a canary, or goes on with one that was begun in the same transaction: `functions` are names, versions that are tried, and
/// versions that are active.
pub(super) async fn begin_canary(
    store: &Store,
    transaction: &mut Transaction<'static, Any>,
    integration_id: &IntegrationId,
    new: &NewCanary,
    functions: &[(&str, i64, i64)],
) -> Result<(), StoreError> {
    if !has_canary(transaction, integration_id).await? {
        query("DELETE FROM canary_runs WHERE integration_id = $1")
            .bind(integration_id.as_str())
            .execute(&mut **transaction)
            .await?;
        query(
            "INSERT INTO canaries (integration_id, state, percent, errors_percent, began_at_ms, until_ms) \
             VALUES ($1, 'running', $2, $3, $4, $5) ON CONFLICT (integration_id) DO UPDATE SET state = excluded.state, \
             percent = excluded.percent, errors_percent = excluded.errors_percent, began_at_ms = excluded.began_at_ms, \
             until_ms = excluded.until_ms, ended_at_ms = NULL, reason = NULL",
        )
        .bind(integration_id.as_str())
        .bind(new.percent)
        .bind(new.errors_percent)
        .bind(new.began_at_ms)
        .bind(new.until_ms)
        .execute(&mut **transaction)
        .await?;
    }
    for (name, version, active_version) in functions {
        query("UPDATE functions SET canary_version = $3 WHERE integration_id = $1 AND name = $2")
            .bind(integration_id.as_str())
            .bind(*name)
            .bind(*version)
            .execute(&mut **transaction)
            .await?;
        let mut sql = Sql::new(
            store.dialect,
            "INSERT INTO canary_runs (integration_id, function, version, tried, succeeded, failed) ",
        );
        sql.values([(version, "yes"), (active_version, "no")], |row, (version, tried)| {
            row.bind(integration_id.as_str())
                .bind(*name)
                .bind(*version)
                .bind(tried)
                .bind(0_i64)
                .bind(0_i64);
        });
        sql.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Counts runs that ended, of functions that a canary is about. Without one it costs a look at a table that is empty.
pub(super) async fn count_canary_runs(
    transaction: &mut Transaction<'static, Any>,
    runs: &[Run],
) -> Result<(), StoreError> {
    let rows = query("SELECT integration_id FROM canaries WHERE state = 'running'")
        .fetch_all(&mut **transaction)
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut integrations: Vec<IntegrationId> = Vec::with_capacity(rows.len());
    for row in &rows {
        integrations.push(Columns::new(row, "canaries").id("integration_id")?);
    }
    // In one order everywhere, so that two processes do not wait for each other.
    let mut counted: BTreeMap<(&str, &str, i64), RunCounts> = BTreeMap::new();
    for run in runs.iter().filter(|run| integrations.contains(&run.integration_id)) {
        let counts = counted
            .entry((run.integration_id.as_str(), run.function.as_str(), run.version))
            .or_default();
        match run.state {
            RunState::Succeeded => counts.succeeded += 1,
            RunState::Failed => counts.failed += 1,
            RunState::Queued | RunState::Running | RunState::Cancelled => {}
        }
    }
    for ((integration_id, function, version), counts) in counted {
        query(
            "UPDATE canary_runs SET succeeded = succeeded + $4, failed = failed + $5 \
             WHERE integration_id = $1 AND function = $2 AND version = $3",
        )
        .bind(integration_id)
        .bind(function)
        .bind(version)
        .bind(counts.succeeded)
        .bind(counts.failed)
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

fn canary(row: &AnyRow) -> Result<Canary, StoreError> {
    let mut columns = Columns::new(row, "canaries");
    Ok(Canary {
        integration_id: columns.id("integration_id")?,
        environment_id: columns.id("environment_id")?,
        provider_config_key: columns.get("unique_key")?,
        state: columns.word("state")?,
        percent: columns.get("percent")?,
        errors_percent: columns.get("errors_percent")?,
        began_at_ms: columns.get("began_at_ms")?,
        until_ms: columns.get("until_ms")?,
        ended_at_ms: columns.get("ended_at_ms")?,
        reason: columns.get("reason")?,
        functions: Vec::new(),
    })
}
