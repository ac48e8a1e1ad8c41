//! What the host keeps for one instance while it runs: for whom it runs, what it may use, what it did.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::component::ResourceTable;

use super::fault::Fault;
use super::invoke::{Chain, Invoker};
use super::lifecycle::{self, Stopping};
use super::reach::Reach;
use super::run_log::RunLog;
use super::sender::Sender;
use crate::clock::{Clock, Entropy};
use crate::config::Limits;
use crate::connections::{Connections, Target};
use crate::engine::MemoryLimiter;
use crate::logs::Logs;
use crate::model::{ConnectionKey, Counts, ExecutionContext, Fence, FunctionManifest, Progress, Usage};
use crate::proxy::Proxy;
use crate::records::Records;
use crate::schema::FunctionSchemas;
use crate::store::{OthersChanges, Store};
use crate::variables::Variables;

/// Answers and requests under way that one run may hold at the same time.
const HOST_HANDLES_MAX: usize = 1_000;

/// The parts that imports call. One for the whole process, and one for each run that writes under a fence.
pub(crate) struct Services {
    pub(crate) proxy: Proxy,
    pub(crate) connections: Connections,
    pub(crate) records: Records,
    pub(crate) store: Store,
    pub(crate) variables: Variables,
    pub(crate) logs: Logs,
    pub(crate) limits: Limits,
    pub(crate) invoker: Invoker,
    pub(crate) stopping: Stopping,
    /// For what is written down; a function's own random bytes may be those of a recording.
    pub(crate) entropy: Entropy,
    /// The server as browsers and providers see it, without a slash at the end.
    pub(crate) public_url: Arc<str>,
}

impl Services {
    /// The same parts for one claim of a run: what it writes is refused once the run is somebody else's.
    pub(crate) fn fenced(&self, fence: &Fence) -> Self {
        Self {
            proxy: self.proxy.clone(),
            connections: self.connections.clone(),
            records: self.records.fenced(fence.clone()),
            store: self.store.fenced(fence.clone()),
            variables: self.variables.clone(),
            logs: self.logs.clone(),
            limits: self.limits.clone(),
            invoker: self.invoker.clone(),
            stopping: self.stopping.clone(),
            entropy: self.entropy.clone(),
            public_url: Arc::clone(&self.public_url),
        }
    }
}

/// For what and for whom a run is.
pub(crate) struct RunFacts {
    pub(crate) reach: Reach,
    pub(crate) manifest: Arc<FunctionManifest>,
    /// What it declares of its data.
    pub(crate) schemas: FunctionSchemas,
    pub(crate) provider: Arc<str>,
    pub(crate) environment_name: Arc<str>,
    pub(crate) connection_key: ConnectionKey,
    /// Of a sync.
    pub(crate) variant: Option<String>,
    pub(crate) sender: Sender,
    /// Whether a sync runs because a webhook came.
    pub(crate) is_for_webhook: bool,
    /// Version of the checkpoint this run has seen; none before it looked.
    pub(crate) checkpoint_version: Option<i64>,
    /// Models whose merging strategy was set, with what others changed of those that it protects.
    pub(crate) merging: BTreeMap<String, Option<OthersChanges>>,
    /// Who called whom until this run began.
    pub(crate) chain: Chain,
    /// Whether the run took a lock that it may still hold.
    pub(crate) holds_locks: bool,
    /// With whose credentials the run was told them last.
    pub(crate) token_told: Option<Arc<Target>>,
    /// Where a sync says what it did so far.
    pub(crate) progress: Option<Progress>,
}

impl RunFacts {
    pub(crate) fn ctx(&self) -> &ExecutionContext {
        self.sender.ctx()
    }
}

/// The data of one wasmtime store.
pub(crate) struct GuestState {
    pub(crate) limiter: MemoryLimiter,
    pub(crate) log: RunLog,
    /// What the run did to records, by model.
    pub(crate) counts: BTreeMap<String, Counts>,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
    /// On the clock's monotonic scale.
    pub(super) deadline_us: u64,
    /// From when on the function is told to stop.
    pub(super) soft_deadline_us: u64,
    /// Whether the function was told to stop.
    pub(super) told_to_stop: bool,
    pub(super) table: ResourceTable,
    /// None while `describe` is called, which is for no connection.
    run: Option<RunFacts>,
}

impl GuestState {
    pub(crate) fn new(
        run: Option<RunFacts>,
        log: RunLog,
        limiter: MemoryLimiter,
        clock: Clock,
        entropy: Entropy,
        timeout_ms: u64,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HOST_HANDLES_MAX);
        let (now_us, timeout_us) = (clock.monotonic_us(), timeout_ms.saturating_mul(1_000));
        Self {
            deadline_us: now_us.saturating_add(timeout_us),
            soft_deadline_us: now_us.saturating_add(lifecycle::soft_us(timeout_us)),
            told_to_stop: false,
            limiter,
            log,
            counts: BTreeMap::new(),
            clock,
            entropy,
            table,
            run,
        }
    }

    pub(super) fn progress(&self) -> Option<&Progress> {
        self.run.as_ref()?.progress.as_ref()
    }

    /// None while `describe` is called.
    pub(super) fn reach(&self) -> Option<&Reach> {
        self.run.as_ref().map(|run| &run.reach)
    }

    /// None while `describe` is called.
    pub(crate) fn schemas(&self) -> Option<&FunctionSchemas> {
        self.run.as_ref().map(|run| &run.schemas)
    }

    /// Whether the run may not go on.
    pub(crate) fn past_deadline(&self) -> bool {
        self.clock.monotonic_us() >= self.deadline_us
    }

    /// What the run took so far, processor time and output not counted.
    pub(crate) fn usage(&self) -> Usage {
        let traffic = self.run.as_ref().map(|run| run.sender.traffic());
        Usage {
            memory_bytes: self.limiter.bytes() as u64,
            ..traffic.unwrap_or_default()
        }
    }

    /// Whether the function was told that it should save what it has and return.
    pub(crate) fn was_told_to_stop(&self) -> bool {
        self.told_to_stop
    }

    /// Whether the run took a lock that it may still hold.
    pub(crate) fn holds_locks(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.holds_locks)
    }

    /// The run that `import` is called for.
    pub(super) fn run(&mut self, import: &'static str) -> Result<&mut RunFacts, Fault> {
        self.run.as_mut().ok_or_else(|| {
            Fault::trap(format!(
                "`describe` called {import}: it is called without a connection and may only log"
            ))
        })
    }

    /// The same, for imports whose signature has no place for an error.
    pub(super) fn facts(&mut self) -> wasmtime::Result<&RunFacts> {
        match &self.run {
            Some(run) => Ok(run),
            None => wasmtime::bail!("`describe` asked for its connection: it is called without one and may only log"),
        }
    }
}
