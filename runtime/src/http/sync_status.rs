//! `GET /sync/status`: what syncs are doing, and what their last run did.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::json_response;
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::names::{is_connection_id, is_provider_config_key};
use super::query::Query;
use super::sync_trigger::{is_sync_name, trigger_error};
use super::timestamp::ms_utc;
use crate::connections::ConnectionsError;
use crate::model::{Counts, Run, RunState, SoFar, Sync, SyncState};
use crate::runtime::{InvokeError, Runtime, SyncStatus};

#[derive(Serialize, ToSchema)]
pub struct SyncList {
    syncs: Vec<SyncItem>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncItem {
    id: String,
    #[serde(rename = "connection_id")]
    connection_id: String,
    name: String,
    variant: String,
    /// `INITIAL` until there is a checkpoint.
    r#type: &'static str,
    finished_at: Option<String>,
    next_scheduled_sync_at: Option<String>,
    /// RUNNING, PAUSED, ERROR, SUCCESS or STOPPED.
    status: &'static str,
    /// For example `every 2 hours`, or a crontab; none when it runs only when triggered.
    frequency: Option<String>,
    /// What the last run did, by model.
    latest_result: Option<BTreeMap<String, ChangeCounts>>,
    latest_execution_status: Option<&'static str>,
    /// Undeleted records, by model.
    record_count: BTreeMap<String, i64>,
    #[schema(value_type = Option<Object>)]
    checkpoint: Option<Box<RawValue>>,
    /// While the sync waits for its provider's rate limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limited_until: Option<String>,
    /// What its run did so far; only from the process that runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<RunProgress>,
}

#[derive(Serialize, ToSchema)]
pub struct RunProgress {
    /// Those that were written and those that had not changed.
    records: u64,
    /// Calls by which records were saved, updated or deleted.
    pages: u64,
    requests: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChangeCounts {
    added: u64,
    deleted: u64,
    updated: u64,
}

/// How syncs are doing.
#[utoipa::path(
    get, path = "/sync/status", tag = "syncs",
    params(
        ("syncs" = String, Query, description = "Names with commas between, or *"),
        ("provider_config_key" = String, Query),
        ("connection_id" = Option<String>, Query),
    ),
    responses((status = 200, body = SyncList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn status(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::SyncsRead>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let provider_config_key = query.required_name("provider_config_key", "provider config key", is_provider_config_key);
    let connection_id = query.optional_name("connection_id", "connection id", is_connection_id);
    let syncs = query.required_name("syncs", "list of sync names, or *", |list| {
        list == "*" || list.split(',').all(is_sync_name)
    });
    query.finish()?;
    let syncs: Vec<String> = match syncs.as_str() {
        "*" => Vec::new(),
        list => list.split(',').map(str::to_owned).collect(),
    };
    let statuses = runtime
        .sync_status(
            caller.connections(&provider_config_key, connection_id.as_deref())?,
            &provider_config_key,
            &syncs,
            connection_id.as_deref(),
        )
        .await
        .map_err(status_error)?;
    let syncs = statuses.into_iter().map(SyncItem::from).collect();
    Ok(json_response(StatusCode::OK, &SyncList { syncs }))
}

fn status_error(error: InvokeError) -> ApiError {
    let message = error.to_string();
    match error {
        InvokeError::Connections(ConnectionsError::UnknownConnection { .. }) => {
            ApiError::faults("invalid_body", vec![Fault::new("custom", message, "connection_id")])
        }
        other => trigger_error(other),
    }
}

impl From<SyncStatus> for SyncItem {
    fn from(status: SyncStatus) -> Self {
        let SyncStatus {
            sync,
            record_counts,
            checkpoint,
            now,
        } = status;
        let last_run = sync.last_run.as_ref();
        // What is in memory is newer than what is in the database.
        let result = now.as_ref().map(|now| &now.so_far.counts);
        let result = result.or_else(|| last_run.map(|run| &run.result));
        let waits_until_ms = now.as_ref().and_then(|now| now.waits_until_ms).or(sync.waits_until_ms);
        let is_paused = sync.state == SyncState::Paused;
        Self {
            id: sync.id.to_string(),
            r#type: if checkpoint.is_some() { "INCREMENTAL" } else { "INITIAL" },
            finished_at: last_run.and_then(|run| run.ended_at_ms).map(ms_utc),
            next_scheduled_sync_at: sync.next_due_at_ms.filter(|_| !is_paused).map(ms_utc),
            status: overall_status(&sync),
            frequency: sync.cron.clone().or_else(|| sync.frequency_ms.map(frequency_text)),
            latest_result: result.map(changes),
            latest_execution_status: last_run.map(execution_status),
            record_count: record_counts.into_iter().collect(),
            checkpoint: checkpoint.and_then(|checkpoint| RawValue::from_string(checkpoint.json).ok()),
            rate_limited_until: waits_until_ms.map(ms_utc),
            progress: now.as_ref().map(|now| RunProgress::from(&now.so_far)),
            connection_id: sync.connection_id,
            name: sync.function,
            variant: sync.variant,
        }
    }
}

impl From<&SoFar> for RunProgress {
    fn from(so_far: &SoFar) -> Self {
        let handled = |counts: &Counts| counts.added + counts.updated + counts.deleted + counts.unchanged;
        Self {
            records: so_far.counts.values().map(handled).sum(),
            pages: so_far.pages,
            requests: so_far.requests,
        }
    }
}

fn changes(result: &BTreeMap<String, Counts>) -> BTreeMap<String, ChangeCounts> {
    let changes = result.iter().map(|(model, counts)| {
        let counts = ChangeCounts {
            added: counts.added,
            deleted: counts.deleted,
            updated: counts.updated,
        };
        (model.clone(), counts)
    });
    changes.collect()
}

fn overall_status(sync: &Sync) -> &'static str {
    let state = sync.last_run.as_ref().map(|run| run.state);
    match (state, sync.state) {
        (Some(RunState::Running | RunState::Queued), _) => "RUNNING",
        (_, SyncState::Paused) => "PAUSED",
        (Some(RunState::Failed), SyncState::Started) => "ERROR",
        (Some(RunState::Succeeded), SyncState::Started) => "SUCCESS",
        (Some(RunState::Cancelled) | None, SyncState::Started) => "STOPPED",
    }
}

fn execution_status(run: &Run) -> &'static str {
    match run.state {
        RunState::Queued | RunState::Running => "RUNNING",
        RunState::Succeeded => "SUCCESS",
        RunState::Failed => "ERROR",
        RunState::Cancelled => "STOPPED",
    }
}

/// In the largest unit that needs no fraction.
pub(super) fn frequency_text(frequency_ms: i64) -> String {
    const UNITS: [(i64, &str); 4] = [
        (86_400_000, "day"),
        (3_600_000, "hour"),
        (60_000, "minute"),
        (1_000, "second"),
    ];
    for (unit_ms, unit) in UNITS {
        if frequency_ms > 0 && frequency_ms % unit_ms == 0 {
            return match frequency_ms / unit_ms {
                1 => format!("every {unit}"),
                count => format!("every {count} {unit}s"),
            };
        }
    }
    format!("every {frequency_ms} milliseconds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Checkpoint, FunctionKind, Trigger};

    fn run(state: RunState) -> Run {
        Run {
            id: "run_1".into(),
            environment_id: "env_1".into(),
            integration_id: "int_1".into(),
            connection_key: "con_1".into(),
            function: "items".into(),
            kind: FunctionKind::Sync,
            version: 1,
            sync_id: Some("syn_1".into()),
            trigger: Trigger::Schedule,
            state,
            error: None,
            result: BTreeMap::from([(
                "Item".into(),
                Counts {
                    added: 3,
                    updated: 1,
                    deleted: 0,
                    unchanged: 9,
                },
            )]),
            created_at_ms: 0,
            started_at_ms: Some(0),
            ended_at_ms: Some(1_795_346_697_556),
            duration_us: Some(5),
        }
    }

    fn sync(state: SyncState, last_run: Option<Run>) -> Sync {
        Sync {
            id: "syn_1".into(),
            environment_id: "env_1".into(),
            integration_id: "int_1".into(),
            connection_key: "con_1".into(),
            connection_id: "conn-oauth".into(),
            function: "items".into(),
            variant: "base".into(),
            state,
            frequency_ms: Some(7_200_000),
            cron: None,
            frequency_from: crate::model::FrequencySource::Function,
            anchor_ms: 0,
            next_due_at_ms: Some(1_795_353_711_515),
            failures: 0,
            waits_until_ms: None,
            last_run,
        }
    }

    #[test]
    fn one_sync_in_full() {
        let status = SyncStatus {
            sync: sync(SyncState::Started, Some(run(RunState::Succeeded))),
            record_counts: vec![("Item".into(), 3)],
            checkpoint: Some(Checkpoint {
                json: r#"{"page": 2}"#.into(),
                version: 1,
            }),
            now: None,
        };
        assert_eq!(
            serde_json::to_string(&SyncItem::from(status)).unwrap(),
            concat!(
                r#"{"id":"syn_1","connection_id":"conn-oauth","name":"items","variant":"base","type":"INCREMENTAL","#,
                r#""finishedAt":"2026-11-22T11:24:57.556Z","nextScheduledSyncAt":"2026-11-22T13:21:51.515Z","status":"SUCCESS","#,
                r#""frequency":"every 2 hours","latestResult":{"Item":{"added":3,"deleted":0,"updated":1}},"#,
                r#""latestExecutionStatus":"SUCCESS","recordCount":{"Item":3},"checkpoint":{"page": 2}}"#
            )
        );
    }

    #[test]
    fn states() {
        for (state, last_run, expected) in [
            (SyncState::Started, Some(RunState::Running), "RUNNING"),
            (SyncState::Paused, Some(RunState::Queued), "RUNNING"),
            (SyncState::Paused, Some(RunState::Failed), "PAUSED"),
            (SyncState::Started, Some(RunState::Failed), "ERROR"),
            (SyncState::Started, None, "STOPPED"),
        ] {
            assert_eq!(overall_status(&sync(state, last_run.map(run))), expected);
        }
    }

    #[test]
    fn frequencies() {
        for (frequency_ms, expected) in [
            (3_600_000, "every hour"),
            (1_800_000, "every 30 minutes"),
            (172_800_000, "every 2 days"),
            (30_000, "every 30 seconds"),
            (1, "every 1 milliseconds"),
        ] {
            assert_eq!(frequency_text(frequency_ms), expected);
        }
    }
}
