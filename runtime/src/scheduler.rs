//! Takes queued sync runs and has them run. A run is claimed with a lease and a fence token, so that a crash loses nothing (the
//! lease ends, somebody claims the run again, it goes on from its checkpoint) and a process that was thought dead cannot write over
//! its successor.

mod announcement;
pub mod planned;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::claimer::{Claimer, Lease};
use crate::clock::{Clock, ClockWatch, Entropy, SetBack};
use crate::connections::{Connections, ConnectionsError};
use crate::executor::{Cancel, Executor, Mode, Occasion, RunOutcome, RunRequest, SyncRun, Urgency};
use crate::logs::Logs;
use crate::model::{
    BASE_VARIANT, Connection, Counts, EnvironmentId, ExecutionContext, Fence, Function, FunctionKind, Operation,
    OperationId, OperationKind, OperationState, Progress, Run, RunError, RunId, RunState, SoFar, Sync,
};
use crate::store::{ClaimedRun, CronSync, Retry, Store, StoreError};
use crate::webhooks::Webhooks;
use announcement::Before;

/// A claimed run that is not renewed for so long is somebody else's.
pub const LEASE_MS: i64 = 30_000;
const LEASE: Lease = Lease {
    lasts_ms: LEASE_MS,
    renewal_ms: 3_000,
};
const POLL_INTERVAL_MS: u64 = 1_000;
/// Due syncs queued, and connections looked after, by one statement or step.
const BATCH_MAX: i64 = 256;
/// After the clock was set forward, by when all who live have renewed their leases.
const LEASE_SETTLE_MS: i64 = 6_000;
/// The longest time for which a run is suspended: then it asks again, whatever the provider said.
const SUSPEND_MS_MAX: i64 = 24 * 60 * 60 * 1_000;
/// The longest wait before a retry.
const RETRY_WAIT_MS_MAX: i64 = 60 * 60 * 1_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct Scheduler(Arc<Parts>);

struct Parts {
    store: Store,
    executor: Executor,
    connections: Connections,
    logs: Logs,
    webhooks: Webhooks,
    clock: Clock,
    entropy: Entropy,
    environment_name: Arc<str>,
    /// With a slot for each sync run this process may have going.
    claimer: Arc<Claimer>,
    retries: Retries,
    /// The runs under way in this process.
    running: Mutex<HashMap<RunId, Running>>,
    clock_watch: ClockWatch,
}

/// A run under way in this process.
#[derive(Clone)]
struct Running {
    stop: Cancel,
    progress: Progress,
    /// What it did before it was suspended last, by model.
    before: BTreeMap<String, Counts>,
}

impl Running {
    fn so_far(&self) -> SoFar {
        let mut so_far = self.progress.so_far();
        for (model, counts) in &self.before {
            *so_far.counts.entry(model.clone()).or_default() += *counts;
        }
        so_far
    }
}

/// How often a failed run is repeated before its next slot, and how long is waited before the first time, in milliseconds;
/// twice as long before each further one.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    pub max: u32,
    pub wait_ms: u64,
}

/// What a scheduler is made of.
pub struct SchedulerParts {
    pub store: Store,
    pub executor: Executor,
    pub connections: Connections,
    pub logs: Logs,
    pub webhooks: Webhooks,
    pub clock: Clock,
    pub entropy: Entropy,
    pub environment_name: Arc<str>,
    /// Sync runs at the same time in this process.
    pub sync_runs_max: u32,
    pub retries: Retries,
}

impl Scheduler {
    #[must_use]
    pub fn new(parts: SchedulerParts) -> Self {
        Self(Arc::new(Parts {
            store: parts.store,
            executor: parts.executor,
            connections: parts.connections,
            logs: parts.logs,
            webhooks: parts.webhooks,
            claimer: Claimer::new(parts.clock.clone(), parts.sync_runs_max, POLL_INTERVAL_MS),
            clock: parts.clock,
            entropy: parts.entropy,
            environment_name: parts.environment_name,
            retries: parts.retries,
            running: Mutex::new(HashMap::new()),
            clock_watch: ClockWatch::new(LEASE_SETTLE_MS),
        }))
    }

    /// Says that a run was queued.
    pub fn wake(&self) {
        self.0.claimer.wake();
    }

    /// Ends a run at once if it is under way in this process. Others find out by their fence.
    pub fn stop(&self, run_id: &RunId) {
        if let Some(running) = self.running().get(run_id) {
            running.stop.cancel();
        }
    }

    /// What a run did so far; none when it is not under way in this process.
    #[must_use]
    pub fn so_far(&self, run_id: &RunId) -> Option<SoFar> {
        let running = self.running().get(run_id).cloned()?;
        Some(running.so_far())
    }

    fn running(&self) -> MutexGuard<'_, HashMap<RunId, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives connections the syncs that are deployed, queues what is due, claims as many queued runs as there are free slots
    /// and starts them. Gives how many it started.
    pub async fn tick(&self, now_ms: i64) -> Result<usize, StoreError> {
        let look = self.0.clock_watch.look(&self.0.clock);
        if look.set_back != SetBack::No {
            self.forget_times_ahead(now_ms, look.set_back == SetBack::Seen).await?;
        }
        self.update_schedules(now_ms).await?;
        let entropy = &self.0.entropy;
        let (due, _) = self
            .0
            .store
            .enqueue_due_syncs(now_ms, BATCH_MAX, next_slot, || RunId::new(now_ms, entropy.bytes()))
            .await?;
        if i64::try_from(due).unwrap_or(i64::MAX) >= BATCH_MAX {
            // There may be more.
            self.wake();
        }
        if !look.leases_count {
            return Ok(0);
        }
        self.start_queued(now_ms).await
    }

    /// The clock was set back, or may have been while no process ran: nothing waits for the time it showed before.
    async fn forget_times_ahead(&self, now_ms: i64, seen: bool) -> Result<(), StoreError> {
        let moved = self.0.store.rejoin_grid(now_ms, next_slot).await?;
        let woken = self.0.store.forget_times_ahead(now_ms, seen).await?;
        if moved + woken > 0 {
            tracing::warn!(
                "The clock was set back; {moved} syncs wait for the next slot by the new time, and {woken} actions, webhooks \
                 and others that waited for a time by the old clock are tried again"
            );
        }
        Ok(())
    }

    /// Makes, changes and removes the syncs of connections that are new or whose functions were deployed.
    async fn update_schedules(&self, now_ms: i64) -> Result<(), StoreError> {
        let stale = self.0.store.stale_schedules(BATCH_MAX).await?;
        let mut deployed: HashMap<(EnvironmentId, String), (Vec<Function>, i64)> = HashMap::new();
        for connection in &stale {
            let integration = (
                connection.environment_id.clone(),
                connection.provider_config_key.clone(),
            );
            if !deployed.contains_key(&integration) {
                let functions = self.0.store.functions(&integration.0, Some(&integration.1)).await?;
                let connections = self.0.store.connections_of(&connection.integration_id).await?;
                deployed.insert(integration.clone(), (functions, planned::spread_ms(connections)));
            }
            let owner = planned::Owner {
                environment_id: &connection.environment_id,
                connection_key: &connection.connection_key,
                connection_id: &connection.connection_id,
            };
            let Some((functions, spread_ms)) = deployed.get(&integration) else {
                continue;
            };
            let wanted: Vec<Sync> = functions
                .iter()
                .filter(|function| function.manifest.kind == FunctionKind::Sync)
                .map(|function| {
                    // A connection that is newer than the function waits for nobody.
                    let is_new = connection.created_at_ms >= function.deployed_at_ms;
                    let spread_ms = if is_new { 0 } else { *spread_ms };
                    planned::sync(function, BASE_VARIANT, owner, now_ms, spread_ms, &self.0.entropy)
                })
                .collect();
            match self.0.store.update_schedules(connection, &wanted, now_ms).await {
                // The connection was deleted meanwhile.
                Ok(_) | Err(StoreError::ParentGone(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if i64::try_from(stale.len()).unwrap_or(i64::MAX) >= BATCH_MAX {
            self.wake();
        }
        Ok(())
    }

    async fn start_queued(&self, now_ms: i64) -> Result<usize, StoreError> {
        let claim = |free| {
            let free = i64::try_from(free).unwrap_or(i64::MAX);
            self.0.store.claim_sync_runs(now_ms, now_ms + LEASE_MS, free)
        };
        let work = |run| {
            let scheduler = self.clone();
            async move { scheduler.execute(run).await }
        };
        self.0.claimer.begin(claim, work).await
    }

    /// Ticks until the future is dropped.
    pub async fn run(&self) {
        self.0.claimer.run("syncs", |now_ms| self.tick(now_ms)).await;
    }

    /// Waits until no sync runs in this process, at most `wait_ms`. True when it is so.
    pub async fn drain(&self, wait_ms: u64) -> bool {
        self.0.claimer.drain(wait_ms).await
    }

    async fn execute(&self, claimed: ClaimedRun) {
        let ClaimedRun { mut run, fence } = claimed;
        let before = self.before(&run, fence).await;
        let running = Running {
            stop: Cancel::new(),
            progress: Progress::default(),
            before: run.result.clone(),
        };
        self.running().insert(run.id.clone(), running.clone());
        let stop = &running.stop;
        // Waits for the guest's end also when the lease is lost, so that nothing of it goes on unseen.
        let outcome = {
            let outcome = self.outcome(&run, fence, &running);
            tokio::pin!(outcome);
            tokio::select! {
                outcome = &mut outcome => Some(outcome),
                () = self.lease_lost(&run, fence, &running) => {
                    stop.cancel();
                    outcome.await;
                    None
                }
            }
        };
        self.running().remove(&run.id);
        let Some((version, mut outcome)) = outcome.filter(|_| !stop.is_cancelled()) else {
            tracing::info!(run.id = %run.id, "Run {} was cancelled or taken over by another process and stopped here", run.id);
            return;
        };
        let now_ms = self.0.clock.now_ms();
        run.version = version;
        run.ended_at_ms = Some(now_ms);
        run.duration_us = Some(outcome.duration_us);
        for (model, counts) in std::mem::take(&mut outcome.result) {
            // A run that was suspended goes on counting.
            *run.result.entry(model).or_default() += counts;
        }
        if let Some(wait_ms) = outcome.suspended_ms {
            let wait_ms = i64::try_from(wait_ms).unwrap_or(SUSPEND_MS_MAX).min(SUSPEND_MS_MAX);
            self.suspend(&run, fence, now_ms + wait_ms).await;
            return;
        }
        run.state = if outcome.output.is_ok() {
            RunState::Succeeded
        } else {
            RunState::Failed
        };
        run.error = outcome.output.err();
        let retry = self.retry(&run, now_ms).await;
        if self.finish(&run, fence, retry, &before).await && outcome.interrupted {
            self.go_on(run, now_ms).await;
        }
    }

    /// Has a sync that was told to stop, and did, run again from its checkpoint: at once, or after the next start.
    async fn go_on(&self, run: Run, now_ms: i64) {
        let next = Run {
            id: RunId::new(now_ms, self.0.entropy.bytes()),
            state: RunState::Queued,
            result: Default::default(),
            created_at_ms: now_ms,
            started_at_ms: None,
            ended_at_ms: None,
            duration_us: None,
            ..run
        };
        if let Err(error) = self.0.store.enqueue_sync_run(&next).await {
            tracing::error!(run.id = %next.id, %error, "A sync that stopped in time does not go on: {error}");
        }
    }

    /// Whether a run that ended is repeated before its next slot.
    async fn retry(&self, run: &Run, now_ms: i64) -> Retry {
        if run.state == RunState::Succeeded {
            return Retry::Succeeded;
        }
        let Some(sync_id) = &run.sync_id else {
            return Retry::Failed;
        };
        let failures = match self.0.store.sync(sync_id).await {
            Ok(Some(sync)) => u32::try_from(sync.failures).unwrap_or(u32::MAX),
            Ok(None) => return Retry::Failed,
            Err(error) => {
                tracing::warn!(%error, "Whether run {} is retried is not known; it waits for its next slot: {error}", run.id);
                return Retry::Failed;
            }
        };
        retry_at(self.0.retries, failures, now_ms).map_or(Retry::Failed, Retry::FailedRetryAt)
    }

    /// Runs the function, or says why it cannot be run; with the version of it, which may be another than when the run was queued.
    async fn outcome(&self, run: &Run, fence: i64, running: &Running) -> (i64, RunOutcome) {
        match self.request(run, fence, running).await {
            Ok(request) => (request.function.version, self.0.executor.run(request).await),
            Err(error) => {
                self.log_refusal(run, &error);
                (run.version, RunOutcome::failed(error.into()))
            }
        }
    }

    /// A run that the executor never sees is an operation all the same.
    fn log_refusal(&self, run: &Run, error: &NotRunnable) {
        self.0.logs.operation(Operation {
            function: Some(run.function.as_str().into()),
            run_id: Some(run.id.clone()),
            // What the connection was called is not known when it is gone.
            ..Operation::at_once(
                self.0.clock.now_ms(),
                self.0.entropy.bytes(),
                run.environment_id.clone(),
                OperationKind::SyncRun,
                OperationState::Failed,
                format!("The sync was not run: {error}"),
            )
        });
    }

    async fn request(&self, run: &Run, fence: i64, running: &Running) -> Result<RunRequest, NotRunnable> {
        let (sync, connection) = self.sync_of(run).await?;
        let target = self
            .0
            .connections
            .target(
                &run.environment_id,
                &connection.provider_config_key,
                &connection.connection_id,
            )
            .await?;
        if target.connection.key != run.connection_key {
            return Err(NotRunnable::ConnectionGone);
        }
        let function = self
            .0
            .store
            .function_for(
                &run.environment_id,
                &connection.provider_config_key,
                &run.function,
                &run.connection_key,
            )
            .await?
            .filter(|function| function.manifest.kind == FunctionKind::Sync)
            .ok_or_else(|| NotRunnable::FunctionGone {
                function: run.function.clone(),
            })?;
        Ok(RunRequest {
            ctx: ExecutionContext {
                environment_id: run.environment_id.clone(),
                provider_config_key: connection.provider_config_key.as_str().into(),
                connection_id: connection.connection_id.as_str().into(),
                connection_key: Some(run.connection_key.clone()),
                run_id: Some(run.id.clone()),
                operation_id: OperationId::new(self.0.clock.now_ms(), self.0.entropy.bytes()),
            },
            function,
            provider: target.provider.name.as_str().into(),
            environment_name: Arc::clone(&self.0.environment_name),
            connection_key: run.connection_key.clone(),
            target,
            input: "null".into(),
            sync: Some(SyncRun {
                occasion: Occasion::Fetch,
                variant: sync.variant,
                fence: Some(Fence {
                    run_id: run.id.clone(),
                    number: fence,
                }),
                progress: running.progress.clone(),
            }),
            mode: Mode::Live,
            urgency: Urgency::Background,
            is_kept: true,
            cancel: Some(running.stop.clone()),
            chain: Default::default(),
        })
    }

    async fn sync_of(&self, run: &Run) -> Result<(Sync, Connection), NotRunnable> {
        let sync_id = run.sync_id.as_ref().ok_or(NotRunnable::ConnectionGone)?;
        let sync = self.0.store.sync(sync_id).await?.ok_or(NotRunnable::ConnectionGone)?;
        let connection = self
            .0
            .store
            .connection_by_key(&run.connection_key)
            .await?
            .ok_or(NotRunnable::ConnectionGone)?;
        Ok((sync, connection))
    }

    /// Keeps the lease, and tells with it how the run goes; comes back when it is lost.
    async fn lease_lost(&self, run: &Run, fence: i64, running: &Running) {
        let renew = |until_ms| {
            let result = running.so_far().counts;
            async move { self.0.store.renew_lease(&run.id, fence, until_ms, &result).await }
        };
        self.0
            .claimer
            .lease_lost(LEASE, &format!("run {}", run.id), renew)
            .await;
    }

    /// Puts the run back into the queue. When that fails, its lease ends and it is claimed again, and then waits again.
    async fn suspend(&self, run: &Run, fence: i64, until_ms: i64) {
        match self.0.store.suspend_sync_run(run, fence, until_ms).await {
            Ok(true) => {
                let until = jiff::Timestamp::from_millisecond(until_ms).unwrap_or(jiff::Timestamp::MAX);
                // As the API shows it.
                let until = format!("{until:.3}");
                tracing::info!(run.id = %run.id, until, "Run {} waits until {until} for the rate limit of its provider, outside of memory", run.id);
            }
            Ok(false) => {
                tracing::info!(run.id = %run.id, "Run {} was taken over by another process or cancelled", run.id);
            }
            Err(error) => {
                tracing::warn!(run.id = %run.id, %error, "Run {} was not put back into the queue: {error}", run.id);
            }
        }
    }

    /// Whether the end was recorded.
    async fn finish(&self, run: &Run, fence: i64, retry: Retry, before: &Before) -> bool {
        let write = || self.try_finish(run, fence, retry, before);
        match self.0.claimer.insist(&format!("run {}", run.id), write).await {
            Some(true) => {
                self.0.webhooks.wake();
                true
            }
            Some(false) => {
                tracing::warn!(run.id = %run.id, "Run {} was taken over by another process; its end is not recorded here", run.id);
                false
            }
            None => false,
        }
    }

    async fn try_finish(&self, run: &Run, fence: i64, retry: Retry, before: &Before) -> Result<bool, StoreError> {
        let webhooks = self.announcement(run, before).await?;
        self.0.store.finish_sync_run(run, fence, retry, &webhooks).await
    }
}

fn next_slot(sync: CronSync<'_>, now_ms: i64) -> Option<i64> {
    planned::next_cron_ms(sync.cron, sync.connection_key, sync.function, sync.variant, now_ms)
}

/// When a run is repeated that failed after `failures` others in a row.
fn retry_at(retries: Retries, failures: u32, now_ms: i64) -> Option<i64> {
    if failures >= retries.max {
        return None;
    }
    let wait_ms = i64::try_from(retries.wait_ms).unwrap_or(RETRY_WAIT_MS_MAX);
    let wait_ms = wait_ms.saturating_mul(1 << failures.min(20)).min(RETRY_WAIT_MS_MAX);
    Some(now_ms.saturating_add(wait_ms))
}

/// Why a queued run cannot be run at all.
#[derive(Debug, thiserror::Error)]
enum NotRunnable {
    #[error("the connection or its sync was deleted before the run began")]
    ConnectionGone,
    #[error("the integration has no sync {function:?} any more; deploy it again")]
    FunctionGone { function: String },
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<NotRunnable> for RunError {
    fn from(error: NotRunnable) -> Self {
        Self {
            code: "script_internal_error".into(),
            message: error.to_string(),
            payload: None,
            upstream: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_wait_longer_each_time_and_end() {
        let retries = Retries { max: 3, wait_ms: 1_000 };
        let at: Vec<Option<i64>> = (0..5).map(|failures| retry_at(retries, failures, 10)).collect();
        assert_eq!(at, [Some(1_010), Some(2_010), Some(4_010), None, None]);
        let never = Retries { max: 0, wait_ms: 1_000 };
        assert_eq!(retry_at(never, 0, 10), None);
    }
}
