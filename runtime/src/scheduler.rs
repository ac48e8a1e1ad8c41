//! Takes queued sync runs and has them run. A run is claimed with a lease and a fence token, so that a crash loses nothing (the
//! lease ends, somebody claims the run again, it goes on from its checkpoint) and a process that was thought dead cannot write over
//! its successor.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::clock::{Clock, Entropy};
use crate::connections::{Connections, ConnectionsError};
use crate::executor::{Executor, Mode, RunOutcome, RunRequest, SyncRun, Urgency};
use crate::logs::Logs;
use crate::model::{
    Connection, ExecutionContext, FunctionKind, Operation, OperationId, OperationKind, OperationState, Run, RunError,
    RunId, RunState, Sync,
};
use crate::store::{ClaimedRun, Store, StoreError};

/// A claimed run that is not renewed for so long is somebody else's.
pub const LEASE_MS: i64 = 30_000;
/// A lease is renewed well before it ends: twice may fail.
const LEASE_RENEWAL_MS: u64 = 10_000;
/// Runs are found at the latest after this long, should a wake-up be lost or another process queue them.
const POLL_INTERVAL_MS: u64 = 1_000;
/// Tries to write the end of a run before it is left to its lease.
const FINISH_TRIES_MAX: u32 = 5;
const FINISH_RETRY_MS: u64 = 500;

/// Cheap to clone.
#[derive(Clone)]
pub struct Scheduler(Arc<Parts>);

struct Parts {
    store: Store,
    executor: Executor,
    connections: Connections,
    logs: Logs,
    clock: Clock,
    entropy: Entropy,
    environment_name: Arc<str>,
    wake: Notify,
    /// One permit for each sync run this process may have going; all of them free means idle.
    slots: Arc<Semaphore>,
    slots_max: u32,
}

/// What a scheduler is made of.
pub struct SchedulerParts {
    pub store: Store,
    pub executor: Executor,
    pub connections: Connections,
    pub logs: Logs,
    pub clock: Clock,
    pub entropy: Entropy,
    pub environment_name: Arc<str>,
    /// Sync runs at the same time in this process.
    pub sync_runs_max: u32,
}

impl Scheduler {
    #[must_use]
    pub fn new(parts: SchedulerParts) -> Self {
        Self(Arc::new(Parts {
            store: parts.store,
            executor: parts.executor,
            connections: parts.connections,
            logs: parts.logs,
            clock: parts.clock,
            entropy: parts.entropy,
            environment_name: parts.environment_name,
            wake: Notify::new(),
            slots: Arc::new(Semaphore::new(parts.sync_runs_max as usize)),
            slots_max: parts.sync_runs_max,
        }))
    }

    /// Says that a run was queued.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Claims as many queued runs as there are free slots and starts them. Gives how many.
    pub async fn tick(&self, now_ms: i64) -> Result<usize, StoreError> {
        let free = i64::try_from(self.0.slots.available_permits()).unwrap_or(i64::MAX);
        if free == 0 {
            return Ok(0);
        }
        let claimed = self.0.store.claim_sync_runs(now_ms, now_ms + LEASE_MS, free).await?;
        let count = claimed.len();
        for run in claimed {
            // Only this loop takes permits, so one is free for each run claimed above.
            let Ok(slot) = Arc::clone(&self.0.slots).try_acquire_owned() else {
                break;
            };
            let scheduler = self.clone();
            tokio::spawn(async move {
                scheduler.execute(run).await;
                drop(slot);
                scheduler.wake();
            });
        }
        Ok(count)
    }

    /// Ticks until the future is dropped.
    pub async fn run(&self) {
        loop {
            // Registered before looking, so that a run queued between look and wait is not overlooked.
            let woken = self.0.wake.notified();
            if let Err(error) = self.tick(self.0.clock.now_ms()).await {
                tracing::error!(%error, "Queued syncs cannot be read from the database: {error}; trying again");
            }
            tokio::select! {
                () = woken => {}
                () = self.0.clock.sleep(Duration::from_millis(POLL_INTERVAL_MS)) => {}
            }
        }
    }

    /// Waits until no sync runs in this process, at most `wait_ms`. True when it is so.
    pub async fn drain(&self, wait_ms: u64) -> bool {
        let idle = self.0.slots.acquire_many(self.0.slots_max);
        tokio::time::timeout(Duration::from_millis(wait_ms), idle).await.is_ok()
    }

    async fn execute(&self, claimed: ClaimedRun) {
        let ClaimedRun { mut run, fence } = claimed;
        let outcome = tokio::select! {
            outcome = self.outcome(&run) => outcome,
            () = self.lease_lost(&run, fence) => {
                tracing::warn!(run.id = %run.id, "Run {} was taken over by another process and stops here", run.id);
                return;
            }
        };
        let now_ms = self.0.clock.now_ms();
        run.ended_at_ms = Some(now_ms);
        run.duration_us = Some(outcome.duration_us);
        run.result = outcome.result;
        run.state = if outcome.output.is_ok() {
            RunState::Succeeded
        } else {
            RunState::Failed
        };
        run.error = outcome.output.err();
        if self.finish(&run, fence).await && outcome.interrupted {
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

    /// Runs the function, or says why it cannot be run.
    async fn outcome(&self, run: &Run) -> RunOutcome {
        match self.request(run).await {
            Ok(request) => self.0.executor.run(request).await,
            Err(error) => {
                self.log_refusal(run, &error);
                RunOutcome::failed(error.into())
            }
        }
    }

    /// A run that the executor never sees is an operation all the same.
    fn log_refusal(&self, run: &Run, error: &NotRunnable) {
        let now_ms = self.0.clock.now_ms();
        self.0.logs.operation(Operation {
            id: OperationId::new(now_ms, self.0.entropy.bytes()),
            environment_id: run.environment_id.clone(),
            kind: OperationKind::SyncRun,
            state: OperationState::Failed,
            // What the connection was called is not known when it is gone.
            provider_config_key: None,
            connection_id: None,
            function: Some(run.function.clone()),
            run_id: Some(run.id.clone()),
            message: format!("The sync was not run: {error}"),
            started_at_ms: now_ms,
            ended_at_ms: Some(now_ms),
            duration_us: Some(0),
            usage: None,
        });
    }

    async fn request(&self, run: &Run) -> Result<RunRequest, NotRunnable> {
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
        let function = self
            .0
            .store
            .active_function(&run.environment_id, &connection.provider_config_key, &run.function)
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
                run_id: Some(run.id.clone()),
                operation_id: OperationId::new(self.0.clock.now_ms(), self.0.entropy.bytes()),
            },
            function: Arc::new(function),
            provider: target.provider.name.as_str().into(),
            environment_name: Arc::clone(&self.0.environment_name),
            connection_key: run.connection_key.clone(),
            target,
            input: "null".into(),
            sync: Some(SyncRun {
                sync_id: sync.id,
                variant: sync.variant,
            }),
            mode: Mode::Live,
            urgency: Urgency::Background,
            is_kept: true,
            cancel: None,
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

    /// Keeps the lease; comes back when it is lost.
    async fn lease_lost(&self, run: &Run, fence: i64) {
        loop {
            self.0.clock.sleep(Duration::from_millis(LEASE_RENEWAL_MS)).await;
            match self
                .0
                .store
                .renew_lease(&run.id, fence, self.0.clock.now_ms() + LEASE_MS)
                .await
            {
                Ok(true) => {}
                Ok(false) => return,
                // The lease may still hold; the next renewal tells.
                Err(error) => {
                    tracing::warn!(run.id = %run.id, %error, "The lease of run {} was not renewed: {error}", run.id);
                }
            }
        }
    }

    /// Whether the end was recorded.
    async fn finish(&self, run: &Run, fence: i64) -> bool {
        for attempt in 1..=FINISH_TRIES_MAX {
            match self.0.store.finish_sync_run(run, fence).await {
                Ok(true) => return true,
                Ok(false) => {
                    tracing::warn!(run.id = %run.id, "Run {} was taken over by another process; its end is not recorded here", run.id);
                    return false;
                }
                Err(error) => {
                    tracing::error!(run.id = %run.id, %error, attempt, "The end of run {} was not recorded: {error}", run.id);
                    self.0.clock.sleep(Duration::from_millis(FINISH_RETRY_MS)).await;
                }
            }
        }
        false
    }
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
