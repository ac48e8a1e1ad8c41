//! Runs a function: the only way to do so, whoever asked.
//!
//! [`Executor::run`] takes a slot, makes a fresh instance, calls `run` and drops it. A guest that loops, allocates without end,
//! traps or makes the host panic costs its own run only. Guests run on a tokio runtime of their own, so that they cannot
//! starve the HTTP server or its timers. Who is allowed to run what is not decided here.

mod call;
mod cancel;
mod components;
mod guest_runtime;
mod manifest;
mod metered;
mod outcome;
mod placement;
mod rows;
mod slots;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::FutureExt;
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Entropy};
use crate::config::Limits;
use crate::connections::{Connections, RunMasker, Target};
pub use crate::engine::ComponentError;
use crate::engine::{CodeCache, Engine, EngineError, MemoryLimiter, check, hex};
use crate::host::{Chain, GuestState, Invoker, RunFacts, RunLog, RunSink, Sender, Services, Stopping};
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::model::{Counts, ExecutionContext, Function, FunctionKind, Manifest, RunError, SyncId, Usage};
use crate::proxy::Proxy;
use crate::records::Records;
use crate::store::Store;

use call::{Call, Called, Ended, Export};
pub use cancel::Cancel;
use components::Components;
use guest_runtime::{Boxed, GuestRuntime};
use placement::Placement;
use slots::{Class, Place, Slot, SlotError, SlotLimits, Slots};

/// How long `describe` may take.
const DESCRIBE_TIMEOUT_MS: u64 = 5_000;

/// Cheap to clone. The guests' runtime stops with the last clone, without waiting: call [`Executor::shutdown`] before.
#[derive(Clone)]
pub struct Executor(Arc<Inner>);

/// What an executor is made of.
pub struct ExecutorParts {
    pub engine: Engine,
    pub code_cache: CodeCache,
    pub proxy: Proxy,
    pub connections: Connections,
    pub records: Records,
    pub store: Store,
    pub logs: Logs,
    pub metrics: Metrics,
    pub clock: Clock,
    pub entropy: Entropy,
    pub limits: Limits,
    /// Where functions' calls of other functions go.
    pub invoker: Invoker,
}

struct Inner {
    components: Components,
    slots: Slots,
    /// For runs that a function waits for: whoever has a slot and waits for another one could wait for himself.
    nested_slots: Slots,
    placement: Placement,
    services: Arc<Services>,
    metrics: Metrics,
    clock: Clock,
    entropy: Entropy,
    /// Set when running guests must end.
    stop: Arc<AtomicBool>,
    guests: GuestRuntime,
}

/// What to run.
#[derive(Debug)]
pub struct RunRequest {
    pub ctx: ExecutionContext,
    pub function: Arc<Function>,
    pub provider: Arc<str>,
    pub environment_name: Arc<str>,
    pub connection_key: crate::model::ConnectionKey,
    /// The connection as it is at the beginning: its secrets are masked in what is logged.
    pub target: Arc<Target>,
    /// JSON text; `null` when there is none.
    pub input: String,
    /// For a sync.
    pub sync: Option<SyncRun>,
    /// Whether somebody waits for the answer.
    pub urgency: Urgency,
    /// Ends the run early.
    pub cancel: Option<Cancel>,
    /// The functions that called one another until this one was called; empty unless a function did.
    pub chain: Chain,
}

/// Who comes first when there are more runs than slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for the answer.
    Blocking,
    /// It was asked for in the background.
    Background,
}

#[derive(Clone, Debug)]
pub struct SyncRun {
    pub sync_id: SyncId,
    pub variant: String,
}

/// What came of it.
#[derive(Debug)]
pub struct RunOutcome {
    /// An action's output as JSON text.
    pub output: Result<String, RunError>,
    /// What a sync did, by model.
    pub result: BTreeMap<String, Counts>,
    pub duration_us: i64,
    pub usage: Usage,
    /// The function was told to stop before its end and did: there is more to do.
    pub interrupted: bool,
    /// The function was never called: no slot was free, or its component cannot be run.
    pub refused: bool,
}

/// Why there is no executor.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the host's functions do not fit the contract: {reason}")]
    Linker { reason: String },
    #[error("no threads for functions")]
    Threads(#[source] std::io::Error),
}

impl Executor {
    /// Starts the guests' threads. Nothing is compiled before it is needed.
    ///
    /// # Errors
    ///
    /// When threads cannot be started.
    pub fn new(parts: ExecutorParts) -> Result<Self, ExecutorError> {
        let ExecutorParts {
            engine,
            code_cache,
            proxy,
            connections,
            records,
            store,
            logs,
            metrics,
            clock,
            entropy,
            limits,
            invoker,
        } = parts;
        Ok(Self(Arc::new(Inner {
            components: Components::new(engine, code_cache, clock.clone())?,
            slots: Slots::new(SlotLimits::of(&limits)),
            nested_slots: Slots::new(SlotLimits::of(&limits)),
            placement: Placement::new(),
            services: Arc::new(Services {
                proxy,
                connections,
                records,
                store,
                logs,
                limits,
                invoker,
                stopping: Stopping::default(),
            }),
            metrics,
            clock,
            entropy,
            stop: Arc::new(AtomicBool::new(false)),
            guests: GuestRuntime::start().map_err(ExecutorError::Threads)?,
        })))
    }

    /// Runs one function to its end: takes a slot, makes a fresh instance, calls `run`, drops it. Never panics on what a guest
    /// does. The run goes on when the caller stops waiting.
    ///
    /// Writes the operation, and for an action its run; the row of a sync's run is the scheduler's, who holds its fence.
    pub async fn run(&self, request: RunRequest) -> RunOutcome {
        let inner = Arc::clone(&self.0);
        let function = &request.function;
        let in_place = inner.placement.is_short(function) && inner.components.is_ready(&function.digest);
        let run: Boxed<RunOutcome> = Box::pin(async move { inner.run(request).await });
        let task = if in_place {
            match self.0.guests.begin_in_place(run) {
                Ok(outcome) => return outcome,
                Err(task) => task,
            }
        } else {
            self.0.guests.spawn(run)
        };
        task.await.unwrap_or_else(|_| RunOutcome::failed(outcome::stopped()))
    }

    /// Checks a component against the world, compiles it, and calls `describe` in the sandbox.
    ///
    /// # Errors
    ///
    /// When the component is none, does not fit the world, or describes itself wrongly.
    pub async fn describe(&self, component: &[u8]) -> Result<Manifest, ComponentError> {
        check(component, self.0.services.limits.component_bytes)?;
        let inner = Arc::clone(&self.0);
        let component: Arc<[u8]> = component.into();
        let described = self.0.guests.spawn(async move { inner.describe(component).await });
        described.await.unwrap_or_else(|_| {
            Err(ComponentError::Describe {
                reason: outcome::stopped().message,
            })
        })
    }

    /// Tells all running functions that they should save what they have and return.
    pub fn ask_to_stop(&self) {
        self.0.services.stopping.begin();
    }

    /// Takes no more runs, waits up to `grace_ms` for those under way, then ends them.
    pub async fn shutdown(&self, grace_ms: u64) {
        self.ask_to_stop();
        self.0.slots.close(grace_ms).await;
        self.0.stop.store(true, std::sync::atomic::Ordering::Release);
        self.0.guests.stop();
    }
}

impl RunOutcome {
    /// Of a run that never began.
    #[must_use]
    pub fn failed(error: RunError) -> Self {
        Self {
            output: Err(error),
            result: BTreeMap::new(),
            duration_us: 0,
            usage: Usage::default(),
            interrupted: false,
            refused: true,
        }
    }
}

impl Inner {
    async fn run(&self, request: RunRequest) -> RunOutcome {
        let started_at_ms = self.clock.now_ms();
        let started_us = self.clock.monotonic_us();
        // Nothing of the run is used after a panic but what is written here.
        let attempt = AssertUnwindSafe(self.attempt(&request, started_at_ms))
            .catch_unwind()
            .await;
        let elapsed_us = self.clock.monotonic_us().saturating_sub(started_us);
        let duration_us = i64::try_from(elapsed_us).unwrap_or(i64::MAX);
        let mut outcome = match attempt {
            Ok(outcome) => outcome,
            Err(_) => RunOutcome {
                refused: false,
                ..RunOutcome::failed(outcome::host_panicked())
            },
        };
        outcome.duration_us = duration_us;
        self.metrics
            .run_ended(request.function.manifest.kind, outcome.output.is_ok());
        self.placement.learn(&request.function, duration_us);
        let masked = outcome.output.as_ref().err().map(|error| self.mask(&request, error));
        rows::write(
            &self.services.logs,
            &request,
            &outcome,
            masked.as_ref(),
            started_at_ms,
            self.clock.now_ms(),
        );
        // What is told of a sync is read from the database; who calls an action is told what the function said.
        if let (FunctionKind::Sync, Some(masked)) = (request.function.manifest.kind, masked) {
            outcome.output = Err(masked);
        }
        outcome
    }

    /// The error as it may be written down: a function may repeat what an upstream echoed to it.
    fn mask(&self, request: &RunRequest, error: &RunError) -> RunError {
        let masker = RunMasker::new(Arc::clone(&request.target));
        let masker = masker.with_those_of_now(&self.services.connections, &request.ctx);
        outcome::masked(error, &masker)
    }

    /// The outcome without its duration.
    async fn attempt(&self, request: &RunRequest, started_at_ms: i64) -> RunOutcome {
        let slot = match self.slot(request).await {
            Ok(slot) => slot,
            Err(error) => return RunOutcome::failed(outcome::no_slot(&error)),
        };
        let loaded = self
            .components
            .of_digest(&request.function.digest, &self.services.store)
            .await;
        let prepared = match loaded {
            Ok(prepared) => prepared,
            Err(error) => return RunOutcome::failed(outcome::unavailable(&error)),
        };
        let kind = request.function.manifest.kind;
        let limits = &self.services.limits;
        let Called {
            ended,
            mut state,
            cpu_us,
        } = call::call(Call {
            prepared: &prepared,
            state: self.state(request, started_at_ms),
            export: Export::Run {
                function: &request.function.name,
                trigger: trigger(request),
            },
            timeout_ms: timeout_ms(limits, kind),
            stop: &self.stop,
            cancel: request.cancel.as_ref(),
            hostcall_bytes_max: limits.action_output_bytes,
        })
        .await;
        drop(slot);
        state.release_locks().await;
        let output = outcome::of_run(ended, &mut state, kind, limits);
        let usage = Usage {
            cpu_us,
            output_bytes: output.as_ref().map_or(0, |output| output.len() as u64),
            ..state.usage()
        };
        RunOutcome {
            interrupted: output.is_ok() && state.was_told_to_stop(),
            output,
            result: std::mem::take(&mut state.counts),
            duration_us: 0,
            usage,
            refused: false,
        }
    }

    async fn slot(&self, request: &RunRequest) -> Result<Slot<'_>, SlotError> {
        if !request.chain.is_empty() {
            return self.nested_slots.try_take();
        }
        let class = match (request.function.manifest.kind, request.urgency) {
            (FunctionKind::Sync, _) => Class::Background,
            (FunctionKind::Action, Urgency::Blocking) => Class::Blocking,
            (FunctionKind::Action, Urgency::Background) => Class::Async,
        };
        let place = || Place {
            environment_id: request.ctx.environment_id.clone(),
            integration_id: request.function.integration_id.clone(),
            connection_key: request.connection_key.clone(),
            function: request.function.name.clone(),
        };
        let slot = self.slots.take(class, place);
        match &request.cancel {
            None => slot.await,
            Some(cancel) => tokio::select! {
                slot = slot => slot,
                () = cancel.cancelled() => Err(SlotError::Cancelled),
            },
        }
    }

    fn state(&self, request: &RunRequest, started_at_ms: i64) -> GuestState {
        let limits = &self.services.limits;
        let sink = RunSink {
            logs: self.services.logs.clone(),
            clock: self.clock.clone(),
            ctx: request.ctx.clone(),
            masker: RunMasker::new(Arc::clone(&request.target)),
            connections: self.services.connections.clone(),
        };
        let mut log = RunLog::new(
            sink,
            rows::opening(request, started_at_ms),
            limits.run_log_messages,
            limits.run_log_bytes,
        );
        let kind = request.function.manifest.kind;
        if kind == FunctionKind::Sync {
            // Syncs take long: whoever looks should see them at work.
            log.announce();
        }
        let facts = RunFacts {
            services: Arc::clone(&self.services),
            function: Arc::clone(&request.function),
            provider: Arc::clone(&request.provider),
            environment_name: Arc::clone(&request.environment_name),
            connection_key: request.connection_key.clone(),
            variant: request.sync.as_ref().map(|sync| sync.variant.clone()),
            sender: Sender::new(Arc::clone(&self.services), request.ctx.clone()),
            checkpoint_version: None,
            chain: request.chain.clone(),
            holds_locks: false,
        };
        GuestState::new(
            Some(facts),
            log,
            MemoryLimiter::new(limits.run_memory_bytes),
            self.clock.clone(),
            self.entropy.clone(),
            timeout_ms(limits, kind),
        )
    }

    async fn describe(&self, component: Arc<[u8]>) -> Result<Manifest, ComponentError> {
        let digest = hex(&Sha256::digest(&component));
        let failed = |reason: String| ComponentError::Describe { reason };
        let place = || Place {
            environment_id: "".into(),
            integration_id: "".into(),
            connection_key: "".into(),
            function: String::new(),
        };
        let slot = self.slots.take(Class::Blocking, place).await;
        let _slot = slot.map_err(|error| failed(error.to_string()))?;
        let prepared = self.components.of_bytes(&digest, component).await?;
        let limits = &self.services.limits;
        let called = call::call(Call {
            prepared: &prepared,
            state: GuestState::new(
                None,
                RunLog::silent(),
                MemoryLimiter::new(limits.run_memory_bytes),
                self.clock.clone(),
                self.entropy.clone(),
                DESCRIBE_TIMEOUT_MS,
            ),
            export: Export::Describe,
            timeout_ms: DESCRIBE_TIMEOUT_MS,
            stop: &self.stop,
            cancel: None,
            hostcall_bytes_max: limits.action_output_bytes,
        });
        // A panic of the host ends this deploy, not the task that waits for it without a word.
        let Ok(Called { ended, mut state, .. }) = AssertUnwindSafe(called).catch_unwind().await else {
            return Err(failed(outcome::host_panicked().message));
        };
        match ended {
            Ended::Returned(Ok(json)) => manifest::parse(&json),
            Ended::Returned(Err(error)) => Err(failed(error.message)),
            Ended::Trapped(_) | Ended::TimedOut | Ended::Stopped | Ended::Cancelled => {
                let error = outcome::of_run(ended, &mut state, FunctionKind::Sync, limits);
                Err(failed(error.err().map_or_else(String::new, |error| error.message)))
            }
        }
    }
}

fn timeout_ms(limits: &Limits, kind: FunctionKind) -> u64 {
    match kind {
        FunctionKind::Action => limits.action_timeout_ms,
        FunctionKind::Sync => limits.sync_timeout_ms,
    }
}

/// Why the function runs and with what, in the names of the contract.
fn trigger(request: &RunRequest) -> Vec<(String, String)> {
    let mut trigger = Vec::with_capacity(4);
    trigger.push(("kind".to_owned(), request.function.manifest.kind.as_str().to_owned()));
    trigger.push(("input".to_owned(), request.input.clone()));
    if let Some(run_id) = &request.ctx.run_id {
        trigger.push(("run-id".to_owned(), run_id.as_str().to_owned()));
    }
    if let Some(sync) = &request.sync {
        trigger.push(("variant".to_owned(), sync.variant.clone()));
    }
    trigger
}
