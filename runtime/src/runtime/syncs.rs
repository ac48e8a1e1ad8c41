//! Triggering syncs and telling how they are.

use super::{InvokeError, Runtime};
use crate::model::{
    Checkpoint, Connection, EnvironmentId, Function, FunctionKind, Run, RunId, RunState, SoFar, Sync, Trigger,
};
use crate::scheduler::planned;
use crate::store::ConnectionQuery;

pub use crate::model::BASE_VARIANT;
/// Connections whose syncs one call triggers or shows; a page of that size at a time.
const CONNECTIONS_PAGE: i64 = 1_000;

/// One sync with what `GET /sync/status` shows of it.
#[derive(Debug)]
pub struct SyncStatus {
    pub sync: Sync,
    /// Undeleted records, by model.
    pub record_counts: Vec<(String, i64)>,
    pub checkpoint: Option<Checkpoint>,
    /// While its run is under way in this process.
    pub now: Option<RunNow>,
}

/// What a run is doing.
#[derive(Debug)]
pub struct RunNow {
    pub so_far: SoFar,
    /// Its requests are held back until then by the rate limit of its connection.
    pub waits_until_ms: Option<i64>,
}

/// What became of a trigger.
#[derive(Debug, Default)]
pub struct Triggered {
    /// The runs queued.
    pub queued: Vec<RunId>,
    /// Syncs, `name` or `name::variant`, of which a run was queued or running already.
    pub running: Vec<String>,
}

impl Runtime {
    /// Queues a run of each sync (`name` or `name::variant`; all of the integration when empty), for one connection or for all.
    /// A sync that is queued or running already is left alone. Gives the runs queued. Nothing is queued unless all names are known.
    ///
    /// # Errors
    /// [`InvokeError`]: an unknown integration, connection or sync.
    pub async fn trigger_syncs(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        syncs: &[String],
        connection_id: Option<&str>,
    ) -> Result<Triggered, InvokeError> {
        let now_ms = self.0.clock.now_ms();
        let mut triggered = Triggered::default();
        for (sync, version) in self
            .selected_syncs(environment, provider_config_key, syncs, connection_id)
            .await?
        {
            let run = self.queued_run(&sync, version, now_ms);
            if self.0.store.enqueue_sync_run(&run).await? {
                triggered.queued.push(run.id);
            } else {
                triggered.running.push(full_name(&sync));
            }
        }
        self.0.scheduler.wake();
        Ok(triggered)
    }

    pub(super) fn queued_run(&self, sync: &Sync, version: i64, now_ms: i64) -> Run {
        Run {
            id: RunId::new(now_ms, self.0.entropy.bytes()),
            environment_id: sync.environment_id.clone(),
            integration_id: sync.integration_id.clone(),
            connection_key: sync.connection_key.clone(),
            function: sync.function.clone(),
            kind: FunctionKind::Sync,
            version,
            sync_id: Some(sync.id.clone()),
            trigger: Trigger::Api,
            state: RunState::Queued,
            error: None,
            result: Default::default(),
            created_at_ms: now_ms,
            started_at_ms: None,
            ended_at_ms: None,
            duration_us: None,
        }
    }

    /// How the syncs are; all of the integration when `syncs` is empty or holds `*`.
    ///
    /// # Errors
    /// [`InvokeError`]: an unknown integration, connection or sync.
    pub async fn sync_status(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        syncs: &[String],
        connection_id: Option<&str>,
    ) -> Result<Vec<SyncStatus>, InvokeError> {
        let all = syncs.iter().any(|name| name == "*");
        let names = if all { &[] } else { syncs };
        let mut statuses = Vec::new();
        for (sync, _) in self
            .selected_syncs(environment, provider_config_key, names, connection_id)
            .await?
        {
            let mut record_counts = self.0.store.record_counts(&sync.connection_key).await?;
            let function = self
                .0
                .functions
                .active(environment, provider_config_key, &sync.function, self.0.clock.now_ms())
                .await?;
            if let Some(function) = function {
                record_counts.retain(|(model, _)| function.writes(model, &sync.variant));
            }
            let key = checkpoint_key(&sync);
            let checkpoint = self.0.store.checkpoint(&sync.connection_key, &key).await?;
            let now = self.run_now(&sync, environment, provider_config_key).await;
            statuses.push(SyncStatus {
                sync,
                record_counts,
                checkpoint,
                now,
            });
        }
        Ok(statuses)
    }

    async fn run_now(&self, sync: &Sync, environment: &EnvironmentId, provider_config_key: &str) -> Option<RunNow> {
        let so_far = self.0.scheduler.so_far(&sync.last_run.as_ref()?.id)?;
        let mut held_back_ms = None;
        if so_far.is_asking {
            let connections = &self.0.connections;
            let target = connections.target(environment, provider_config_key, &sync.connection_id);
            held_back_ms = target.await.ok().and_then(|target| self.0.proxy.held_back_of(&target));
        }
        let waits_until_ms = held_back_ms
            .and_then(|held_back_ms| i64::try_from(held_back_ms).ok())
            .map(|held_back_ms| self.0.clock.now_ms().saturating_add(held_back_ms));
        Some(RunNow { so_far, waits_until_ms })
    }

    /// The syncs named, each with its last run, and the active version of its function. What is missing of a function's own is made;
    /// variants are there or unknown, so that no slip of the pen makes a schedule.
    pub(super) async fn selected_syncs(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        names: &[String],
        connection_id: Option<&str>,
    ) -> Result<Vec<(Sync, i64)>, InvokeError> {
        self.0.connections.integration(environment, provider_config_key).await?;
        let connections = self
            .selected_connections(environment, provider_config_key, connection_id)
            .await?;
        let deployed = self.0.store.functions(environment, Some(provider_config_key)).await?;
        let deployed: Vec<Function> = deployed
            .into_iter()
            .filter(|function| function.manifest.kind == FunctionKind::Sync)
            .collect();
        let wanted = wanted(names, &deployed, provider_config_key)?;
        let mut syncs = Vec::new();
        let spread_ms = planned::spread_ms(i64::try_from(connections.len()).unwrap_or(i64::MAX));
        for connection in connections {
            for (function, _) in wanted.iter().filter(|(_, variant)| *variant == BASE_VARIANT) {
                let sync = self.new_sync(function, BASE_VARIANT, &connection, spread_ms);
                syncs.push((self.0.store.ensure_sync(&sync).await?, function.version));
            }
            if !names.is_empty() && wanted.iter().all(|(_, variant)| *variant == BASE_VARIANT) {
                continue;
            }
            let key = Some(&connection.key);
            for sync in self.0.store.syncs(environment, provider_config_key, key).await? {
                let is_wanted = names.is_empty() || wanted.iter().any(|wanted| is_of(&sync, wanted));
                let function = deployed.iter().find(|function| function.name == sync.function);
                if let Some(function) = function.filter(|_| is_wanted && sync.variant != BASE_VARIANT) {
                    syncs.push((sync, function.version));
                }
            }
        }
        let missing = wanted
            .iter()
            .find(|wanted| wanted.1 != BASE_VARIANT && !syncs.iter().any(|(sync, _)| is_of(sync, wanted)));
        match missing {
            Some((function, variant)) => Err(InvokeError::UnknownVariant {
                function: function.name.clone(),
                variant: (*variant).to_owned(),
                of: connection_id.map_or_else(String::new, |id| format!(" of the connection {id:?}")),
            }),
            None => Ok(syncs),
        }
    }

    async fn selected_connections(
        &self,
        environment: &EnvironmentId,
        provider_config_key: &str,
        connection_id: Option<&str>,
    ) -> Result<Vec<Connection>, InvokeError> {
        if let Some(connection_id) = connection_id {
            let target = self
                .0
                .connections
                .target(environment, provider_config_key, connection_id)
                .await?;
            return Ok(vec![Connection::clone(&target.connection)]);
        }
        let mut connections = Vec::new();
        for page in 0.. {
            let query = ConnectionQuery {
                integration_ids: vec![provider_config_key.into()],
                limit: CONNECTIONS_PAGE,
                page,
                ..ConnectionQuery::default()
            };
            let found = self.0.connections.list(environment, &query).await?;
            let last = i64::try_from(found.len()).unwrap_or(i64::MAX) < CONNECTIONS_PAGE;
            connections.extend(found);
            if last {
                break;
            }
        }
        Ok(connections)
    }

    pub(super) fn new_sync(&self, function: &Function, variant: &str, connection: &Connection, spread_ms: i64) -> Sync {
        let owner = planned::Owner {
            environment_id: &connection.environment_id,
            connection_key: &connection.key,
            connection_id: &connection.connection_id,
        };
        let now_ms = self.0.clock.now_ms();
        planned::sync(function, variant, owner, now_ms, spread_ms, &self.0.entropy)
    }
}

fn is_of(sync: &Sync, (function, variant): &(&Function, &str)) -> bool {
    sync.function == function.name && sync.variant == *variant
}

/// `name`, or `name::variant` unless it is the base.
pub(super) fn full_name(sync: &Sync) -> String {
    if sync.variant == BASE_VARIANT {
        sync.function.clone()
    } else {
        format!("{}::{}", sync.function, sync.variant)
    }
}

pub(super) fn checkpoint_key(sync: &Sync) -> String {
    format!("sync:{}:{}", sync.function, sync.variant)
}

fn wanted<'a>(
    names: &'a [String],
    deployed: &'a [Function],
    provider_config_key: &str,
) -> Result<Vec<(&'a Function, &'a str)>, InvokeError> {
    if names.is_empty() {
        return Ok(deployed.iter().map(|function| (function, BASE_VARIANT)).collect());
    }
    names
        .iter()
        .map(|full_name| {
            let (name, variant) = full_name.split_once("::").unwrap_or((full_name, BASE_VARIANT));
            let function = deployed.iter().find(|function| function.name == name);
            function
                .map(|function| (function, variant))
                .ok_or_else(|| InvokeError::UnknownFunction {
                    provider_config_key: provider_config_key.into(),
                    kind: FunctionKind::Sync.as_str(),
                    function: name.into(),
                })
        })
        .collect()
}
