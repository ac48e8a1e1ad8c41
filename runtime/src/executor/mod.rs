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
mod request;
mod rows;
mod sandbox;
mod slots;
mod taping;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::clock::{Clock, Entropy};
use crate::config::Limits;
use crate::connections::Connections;
pub use crate::engine::ComponentError;
use crate::engine::{EngineError, MemoryLimiter};
use crate::host::{GuestState, Invoker, Reach, RunFacts, RunLog, RunSink, Sender, Services, Stopping, Suspended};
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::model::{FunctionKind, Manifest, RunError, Usage};
use crate::proxy::Proxy;
use crate::recordings::Recordings;
use crate::records::Records;
use crate::store::Store;
use crate::variables::Variables;

use call::{Called, Ended, Export};
pub use cancel::Cancel;
use guest_runtime::Boxed;
use outcome::TimeLimit;
use placement::Placement;
pub use request::{Occasion, RunOutcome, RunRequest, SyncRun, Urgency};
use sandbox::{Bounds, Room};
pub use sandbox::{PlayError, Played, Sandbox};
use slots::{Class, Place, Slot, SlotError};
use taping::Taping;
pub use taping::{DryRun, Mode};

/// Cheap to clone. The guests' runtime stops with the last clone, without waiting: call [`Executor::shutdown`] before.
#[derive(Clone)]
pub struct Executor(Arc<Inner>);

/// What an executor is made of.
pub struct ExecutorParts {
    pub sandbox: Sandbox,
    pub proxy: Proxy,
    pub connections: Connections,
    pub records: Records,
    pub store: Store,
    /// What functions may read of their environment.
    pub variables: Variables,
    pub logs: Logs,
    /// Where recordings of runs go.
    pub recordings: Recordings,
    pub metrics: Metrics,
    pub clock: Clock,
    pub entropy: Entropy,
    pub limits: Limits,
    /// Where functions' calls of other functions go.
    pub invoker: Invoker,
    /// The server as browsers and providers see it, without a slash at the end.
    pub public_url: Arc<str>,
}

struct Inner {
    room: Arc<Room>,
    placement: Placement,
    services: Arc<Services>,
    recordings: Recordings,
    metrics: Metrics,
    clock: Clock,
    entropy: Entropy,
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
    /// An executor whose guests run in that sandbox.
    #[must_use]
    pub fn new(parts: ExecutorParts) -> Self {
        let ExecutorParts {
            sandbox,
            proxy,
            connections,
            records,
            store,
            variables,
            logs,
            recordings,
            metrics,
            clock,
            entropy,
            limits,
            invoker,
            public_url,
        } = parts;
        Self(Arc::new(Inner {
            room: sandbox.0,
            placement: Placement::new(),
            services: Arc::new(Services {
                proxy,
                connections,
                records,
                store,
                variables,
                logs,
                limits,
                invoker,
                stopping: Stopping::default(),
                entropy: entropy.clone(),
                public_url,
            }),
            recordings,
            metrics,
            clock,
            entropy,
        }))
    }

    /// Where the guests run.
    #[must_use]
    pub fn sandbox(&self) -> Sandbox {
        Sandbox(Arc::clone(&self.0.room))
    }

    /// Runs one function to its end: takes a slot, makes a fresh instance, calls `run`, drops it. Never panics on what a guest
    /// does. The run goes on when the caller stops waiting.
    ///
    /// Writes the operation, and for an action its run; the row of a sync's run is the scheduler's, who holds its fence.
    pub async fn run(&self, request: RunRequest) -> RunOutcome {
        let inner = Arc::clone(&self.0);
        let function = &request.function;
        let is_short = inner.placement.is_short(function);
        let in_place = is_short && inner.room.components.is_ready(&function.digest);
        let run: Boxed<RunOutcome> = Box::pin(async move { inner.run(request, is_short).await });
        let task = if in_place {
            match self.0.room.guests.begin_in_place(run) {
                Ok(outcome) => return outcome,
                Err(task) => task,
            }
        } else {
            self.0.room.guests.spawn(run)
        };
        task.await.unwrap_or_else(|_| RunOutcome {
            // It may have begun.
            refused: false,
            ..RunOutcome::failed(outcome::stopped())
        })
    }

    /// Checks a component against the world, compiles it, and calls `describe` in the sandbox.
    ///
    /// # Errors
    ///
    /// When the component is none, does not fit the world, or describes itself wrongly.
    pub async fn describe(&self, component: &[u8]) -> Result<Manifest, ComponentError> {
        self.sandbox().examine(component).await
    }

    /// Tells all running functions that they should save what they have and return.
    pub fn ask_to_stop(&self) {
        self.0.services.stopping.begin();
    }

    /// Takes no more runs, waits up to `grace_ms` for those under way, then ends them.
    pub async fn shutdown(&self, grace_ms: u64) {
        self.ask_to_stop();
        self.sandbox().shutdown(grace_ms).await;
    }
}

impl Inner {
    async fn run(&self, request: RunRequest, is_short: bool) -> RunOutcome {
        let started_at_ms = self.clock.now_ms();
        let started_us = self.clock.monotonic_us();
        // Nothing of the run is used after a panic but what is written here.
        let taping = Taping::of(&request.mode, &self.recordings, &self.clock, &self.entropy);
        let attempt = AssertUnwindSafe(self.attempt(&request, started_at_ms, taping.as_ref()))
            .catch_unwind()
            .await;
        let elapsed_us = self.clock.monotonic_us().saturating_sub(started_us);
        let duration_us = i64::try_from(elapsed_us).unwrap_or(i64::MAX);
        let mut outcome = attempt.unwrap_or_else(|_| RunOutcome {
            refused: false,
            ..RunOutcome::failed(outcome::host_panicked())
        });
        outcome.duration_us = duration_us;
        self.metrics
            .run_ended(request.function.manifest.kind, outcome.is_good());
        self.placement.learn(&request.function, is_short, duration_us);
        let masked = outcome.output.as_ref().err().map(|error| self.mask(&request, error));
        rows::write(
            &self.services.logs,
            &request,
            &outcome,
            masked.as_ref(),
            started_at_ms,
            self.clock.now_ms(),
        );
        if let Some(taping) = &taping {
            self.keep_recording(&request, &mut outcome, taping);
        }
        if let Some(masked) = masked.filter(|_| request.is_kept) {
            outcome.output = Err(masked);
        }
        outcome
    }

    /// The error as it may be written down: a function may repeat what an upstream echoed to it.
    fn mask(&self, request: &RunRequest, error: &RunError) -> RunError {
        let masker = request.chain.masker(Arc::clone(&request.target));
        let masker = masker.with_those_of_now(&self.services.connections, &request.ctx);
        outcome::masked(error, &masker)
    }

    /// The outcome without its duration.
    async fn attempt(&self, request: &RunRequest, started_at_ms: i64, taping: Option<&Taping>) -> RunOutcome {
        let slot = match self.slot(request).await {
            Ok(slot) => slot,
            Err(error) => return RunOutcome::failed(outcome::no_slot(&error, request.function.manifest.kind)),
        };
        let components = &self.room.components;
        let digest = &request.function.digest;
        let loaded = match &request.mode {
            Mode::Dry(DryRun {
                component: Some(component),
                ..
            }) => components.of_bytes(digest, Arc::clone(component)).await,
            Mode::Dry(_) | Mode::Live => components.of_digest(digest, &self.services.store).await,
        };
        let prepared = match loaded {
            Ok(prepared) => prepared,
            Err(error) => return RunOutcome::failed(outcome::unavailable(&error)),
        };
        let kind = request.function.manifest.kind;
        let limits = &self.services.limits;
        let state = self.state(request, started_at_ms, taping);
        let export = Export::Run {
            function: &request.function.name,
            trigger: trigger(request),
        };
        let time = TimeLimit::of(limits, kind, request.is_for_webhook());
        let bounds = Bounds {
            timeout_ms: time.ms,
            cancel: request.cancel.as_ref(),
        };
        let Called {
            ended,
            mut state,
            cpu_us,
        } = self.room.call(&prepared, state, export, bounds).await;
        drop(slot);
        if state.holds_locks() {
            self.release_locks(request).await;
        }
        let suspended = match &ended {
            Ended::Trapped(trap) => trap.downcast_ref::<Suspended>(),
            Ended::Returned(_) | Ended::TimedOut | Ended::Stopped | Ended::Cancelled => None,
        };
        let suspended_ms = suspended.map(|suspended| suspended.wait_ms);
        let output = outcome::of_run(ended, &mut state, kind, time, limits);
        let usage = Usage {
            cpu_us,
            output_bytes: output.as_ref().map_or(0, |output| output.len() as u64),
            ..state.usage()
        };
        RunOutcome {
            suspended_ms,
            interrupted: output.is_ok() && state.was_told_to_stop(),
            output,
            result: std::mem::take(&mut state.counts),
            duration_us: 0,
            recording: None,
            usage,
            refused: false,
        }
    }

    /// What the run still holds. When the database fails it ends by itself.
    async fn release_locks(&self, request: &RunRequest) {
        let Some(run_id) = &request.ctx.run_id else { return };
        if let Err(error) = self.services.store.release_locks(run_id.as_str()).await {
            tracing::warn!(run.id = %run_id, %error, "The locks of run {run_id} were not released and end by themselves: {error}");
        }
    }

    async fn slot(&self, request: &RunRequest) -> Result<Slot<'_>, SlotError> {
        if !request.chain.is_empty() {
            return self.room.nested_slots.try_take();
        }
        let class = match (request.urgency, request.function.manifest.kind) {
            (Urgency::Blocking, _) => Class::Blocking,
            (Urgency::Background, FunctionKind::Action | FunctionKind::OnEvent) => Class::Async,
            (Urgency::Background, FunctionKind::Sync) => Class::Background,
        };
        let place = || Place {
            environment_id: request.ctx.environment_id.clone(),
            integration_id: request.function.integration_id.clone(),
            connection_key: request.connection_key.clone(),
            function: request.function.name.clone(),
        };
        let slot = self.room.slots.take(class, place);
        match &request.cancel {
            None => slot.await,
            Some(cancel) => tokio::select! {
                slot = slot => slot,
                () = cancel.cancelled() => Err(SlotError::Cancelled),
            },
        }
    }

    fn state(&self, request: &RunRequest, started_at_ms: i64, taping: Option<&Taping>) -> GuestState {
        let limits = &self.services.limits;
        let sink = RunSink {
            logs: self.services.logs.clone(),
            clock: self.clock.clone(),
            ctx: request.ctx.clone(),
            masker: request.chain.masker(Arc::clone(&request.target)),
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
        let services = match request.sync.as_ref().and_then(|sync| sync.fence.as_ref()) {
            Some(fence) => Arc::new(self.services.fenced(fence)),
            None => Arc::clone(&self.services),
        };
        let reach = match taping {
            None => Reach::live(services),
            Some(taping) => taping.reach(&services, request),
        };
        // A run that is claimed can be put back into the queue; for a webhook it would begin anew, so that one waits.
        let fence = request.sync.as_ref().and_then(|sync| sync.fence.as_ref());
        let patience_ms = fence
            .filter(|_| !request.is_for_webhook())
            .map(|_| limits.sync_rate_limit_wait_ms);
        let facts = RunFacts {
            reach: reach.clone(),
            manifest: Arc::clone(&request.function.manifest),
            schemas: self
                .room
                .schemas
                .of(request.function.digest.as_str(), Arc::clone(&request.function.manifest)),
            provider: Arc::clone(&request.provider),
            environment_name: Arc::clone(&request.environment_name),
            connection_key: request.connection_key.clone(),
            variant: request.sync.as_ref().map(|sync| sync.variant.clone()),
            sender: Sender::new(
                reach,
                request.ctx.clone(),
                limits.response_body_bytes,
                patience_ms,
                Some(request.chain.masker(Arc::clone(&request.target))),
                request.sync.as_ref().map(|sync| sync.progress.clone()),
            ),
            is_for_webhook: request.is_for_webhook(),
            checkpoint_version: None,
            merging: BTreeMap::new(),
            chain: request.chain.clone(),
            holds_locks: false,
            token_told: None,
            progress: request.sync.as_ref().map(|sync| sync.progress.clone()),
        };
        GuestState::new(
            Some(facts),
            log,
            MemoryLimiter::new(limits.run_memory_bytes),
            self.clock.clone(),
            taping.map_or_else(|| self.entropy.clone(), Taping::entropy),
            TimeLimit::of(limits, kind, request.is_for_webhook()).ms,
        )
    }
}

/// What `run` is told of why it is called.
fn trigger_kind(kind: FunctionKind, is_for_webhook: bool) -> &'static str {
    if is_for_webhook { "webhook" } else { kind.as_str() }
}

/// Why the function runs and with what, in the names of the contract.
fn trigger(request: &RunRequest) -> Vec<(String, String)> {
    let mut trigger = Vec::with_capacity(4);
    trigger.push((
        "kind".to_owned(),
        trigger_kind(request.function.manifest.kind, request.is_for_webhook()).to_owned(),
    ));
    trigger.push(("input".to_owned(), request.input.clone()));
    if let Some(run_id) = &request.ctx.run_id {
        trigger.push(("run-id".to_owned(), run_id.as_str().to_owned()));
    }
    if let Some(event) = request.function.manifest.event {
        trigger.push(("event".to_owned(), event.as_str().to_owned()));
    }
    if let Some(sync) = &request.sync {
        trigger.push(("variant".to_owned(), sync.variant.clone()));
    }
    trigger
}
