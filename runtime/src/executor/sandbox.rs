//! What it takes to run a component at all: code, a slot, threads, limits. No connection, no database, no upstream: what a function
//! reaches is in the [`GuestState`] it is given. The executor runs functions for connections in here; a test plays recordings to them.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use sha2::{Digest, Sha256};

use super::call::{self, Call, Called, Ended, Export};
use super::components::{Components, Prepared};
use super::guest_runtime::GuestRuntime;
use super::outcome::TimeLimit;
use super::slots::{Class, Place, SlotError, SlotLimits, Slots};
use super::{Cancel, ComponentError, ExecutorError, manifest, outcome, taping, trigger_kind};
use crate::clock::{Clock, Entropy};
use crate::config::Limits;
use crate::engine::{CodeCache, Engine, MemoryLimiter, check, hex};
use crate::host::{Chain, GuestState, Kept, Player, Reach, RunFacts, RunLog, Sender, Tape};
use crate::model::{
    ConnectionEvent, ConnectionKey, EnvironmentId, ExecutionContext, FunctionKind, FunctionManifest, Manifest,
    OperationId, RunError,
};
use crate::recording::{FORMAT, Recording};
use crate::schema::Schemas;

/// How long `describe` may take.
const DESCRIBE_TIMEOUT_MS: u64 = 5_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct Sandbox(pub(super) Arc<Room>);

pub(super) struct Room {
    pub(super) components: Components,
    pub(super) slots: Slots,
    /// For runs that a function waits for: whoever has a slot and waits for another one could wait for himself.
    pub(super) nested_slots: Slots,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    pub(super) schemas: Schemas,
    /// Set when running guests must end.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) guests: GuestRuntime,
}

/// What ends a call, besides the end of the runtime.
pub(super) struct Bounds<'a> {
    pub(super) timeout_ms: u64,
    pub(super) cancel: Option<&'a Cancel>,
}

/// What came of playing a recording.
#[derive(Debug)]
pub struct Played {
    /// What the function did this time.
    pub recording: Recording,
    /// Calls that the recording has no answer for. The first of them ended the run.
    pub misses: Vec<String>,
}

/// Why a recording was not played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error("the component has no function {function:?}; it has {has}")]
    NoFunction { function: String, has: String },
    #[error("the run has no slot: {0}")]
    NoSlot(String),
}

/// What becomes of the code of a component that was described.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    Keep,
    Forget,
}

impl From<SlotError> for PlayError {
    fn from(error: SlotError) -> Self {
        Self::NoSlot(error.to_string())
    }
}

impl Sandbox {
    /// Starts the guests' threads. Nothing is compiled before it is needed. `schemas` says what of functions is checked.
    ///
    /// # Errors
    ///
    /// When threads cannot be started.
    pub fn new(
        engine: Engine,
        code_cache: CodeCache,
        clock: Clock,
        limits: Limits,
        schemas: Schemas,
    ) -> Result<Self, ExecutorError> {
        Ok(Self(Arc::new(Room {
            components: Components::new(engine, code_cache, clock.clone())?,
            slots: Slots::new(SlotLimits::of(&limits)),
            nested_slots: Slots::new(SlotLimits::of(&limits)),
            clock,
            limits,
            schemas,
            stop: Arc::new(AtomicBool::new(false)),
            guests: GuestRuntime::start().map_err(ExecutorError::Threads)?,
        })))
    }

    /// Checks a component against the world, compiles it, and calls `describe` in the sandbox.
    ///
    /// # Errors
    ///
    /// When the component is none, does not fit the world, or describes itself wrongly.
    pub async fn describe(&self, component: &[u8]) -> Result<Manifest, ComponentError> {
        self.described(component, Afterwards::Keep).await
    }

    /// The same, for a component that may not be run for long: of what is deployed much is never called, and the first call finds
    /// the compiled code on disk.
    pub(super) async fn examine(&self, component: &[u8]) -> Result<Manifest, ComponentError> {
        self.described(component, Afterwards::Forget).await
    }

    async fn described(&self, component: &[u8], afterwards: Afterwards) -> Result<Manifest, ComponentError> {
        check(component, self.0.limits.component_bytes)?;
        let room = Arc::clone(&self.0);
        let component: Arc<[u8]> = component.into();
        let described = self
            .0
            .guests
            .spawn(async move { room.describe(component, afterwards).await });
        described.await.unwrap_or_else(|_| {
            Err(ComponentError::Describe {
                reason: outcome::stopped().message,
            })
        })
    }

    /// Runs the function of a component with a recording for its world: the same component does the same again, another one shows
    /// what it would have done. Reaches nothing, and takes no longer than the function itself.
    ///
    /// # Errors
    ///
    /// When the component cannot be run, or has no such function. A run that fails is no error.
    pub async fn play(&self, component: &[u8], recording: &Recording) -> Result<Played, PlayError> {
        let manifest = self.describe(component).await?;
        let wanted = &recording.subject.function;
        let has = || {
            manifest
                .functions
                .iter()
                .map(|it| it.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let function = manifest.functions.iter().find(|function| function.name == *wanted);
        let function = function.cloned().ok_or_else(|| PlayError::NoFunction {
            function: wanted.clone(),
            has: has(),
        })?;
        let (room, recording) = (Arc::clone(&self.0), recording.clone());
        let component: Arc<[u8]> = component.into();
        let played = self
            .0
            .guests
            .spawn(async move { room.play(component, function, recording).await });
        played
            .await
            .unwrap_or_else(|_| Err(PlayError::NoSlot(outcome::stopped().message)))
    }

    /// Takes no more runs, waits up to `grace_ms` for those under way, then ends them.
    pub async fn shutdown(&self, grace_ms: u64) {
        self.0.slots.close(grace_ms).await;
        self.0.stop.store(true, Ordering::Release);
        self.0.guests.stop();
    }
}

impl Room {
    async fn describe(&self, component: Arc<[u8]>, afterwards: Afterwards) -> Result<Manifest, ComponentError> {
        let digest = hex(&Sha256::digest(&component));
        let failed = |reason: String| ComponentError::Describe { reason };
        let slot = self.slots.take(Class::Blocking, nowhere).await;
        let _slot = slot.map_err(|error| failed(error.to_string()))?;
        let is_in_use = self.components.is_ready(&digest);
        let prepared = self.components.of_bytes(&digest, component).await?;
        let state = GuestState::new(
            None,
            RunLog::silent(),
            MemoryLimiter::new(self.limits.run_memory_bytes),
            self.clock.clone(),
            // Whoever asks for randomness while it describes itself gets what it could not use anyway.
            Entropy::from_seed([0; 32]),
            DESCRIBE_TIMEOUT_MS,
        );
        let called = self.call(&prepared, state, Export::Describe, alone(DESCRIBE_TIMEOUT_MS));
        // A panic of the host ends this deploy, not the task that waits for it without a word.
        let Ok(Called { ended, mut state, .. }) = AssertUnwindSafe(called).catch_unwind().await else {
            return Err(failed(outcome::host_panicked().message));
        };
        if !is_in_use && afterwards == Afterwards::Forget {
            self.components.forget(&digest);
        }
        match ended {
            Ended::Returned(Ok(json)) => manifest::parse(&json),
            Ended::Returned(Err(error)) => Err(failed(error.message)),
            Ended::Trapped(_) | Ended::TimedOut | Ended::Stopped | Ended::Cancelled => {
                let time = TimeLimit {
                    ms: DESCRIBE_TIMEOUT_MS,
                    setting: None,
                };
                let error = outcome::of_run(ended, &mut state, FunctionKind::Sync, time, &self.limits);
                Err(failed(error.err().map_or_else(String::new, |error| error.message)))
            }
        }
    }

    /// One call of an export with everything that bounds it.
    pub(super) async fn call(
        &self,
        prepared: &Prepared,
        state: GuestState,
        export: Export<'_>,
        bounds: Bounds<'_>,
    ) -> Called {
        call::call(Call {
            prepared,
            state,
            export,
            timeout_ms: bounds.timeout_ms,
            stop: &self.stop,
            cancel: bounds.cancel,
            hostcall_bytes_max: self.limits.action_output_bytes,
        })
        .await
    }

    async fn play(
        &self,
        component: Arc<[u8]>,
        function: FunctionManifest,
        recording: Recording,
    ) -> Result<Played, PlayError> {
        let digest = hex(&Sha256::digest(&component));
        let _slot = self.slots.take(Class::Blocking, nowhere).await?;
        let prepared = self.components.of_bytes(&digest, component).await?;
        let player = Arc::new(Player::new(&recording));
        let tape = Arc::new(Tape::new(self.clock.clone(), taping::DRY_RUN_BYTES_MAX));
        let kind = function.kind;
        let time = TimeLimit::of(&self.limits, kind, recording.subject.for_webhook);
        let trigger = trigger(&recording, &function);
        let state = self.played_state(&recording, &digest, function, &player, &tape);
        let started_us = self.clock.monotonic_us();
        let export = Export::Run {
            function: &recording.subject.function,
            trigger,
        };
        let called = AssertUnwindSafe(self.call(&prepared, state, export, alone(time.ms)));
        let output = match called.catch_unwind().await {
            Ok(Called { ended, mut state, .. }) => outcome::of_run(ended, &mut state, kind, time, &self.limits),
            Err(_panic) => Err(outcome::host_panicked()),
        };
        let elapsed_us = self.clock.monotonic_us().saturating_sub(started_us);
        let misses = player.misses();
        let taped = tape.finish();
        Ok(Played {
            recording: Recording {
                format: FORMAT,
                calls: taped.calls,
                time: crate::recording::Time {
                    began_us: recording.time.began_us,
                    ..taped.time
                },
                output: output.map_err(|error| explained(error, &misses)),
                duration_us: i64::try_from(elapsed_us).unwrap_or(i64::MAX),
                complete: taped.complete,
                subject: crate::recording::Subject {
                    digest,
                    ..recording.subject
                },
                seed: recording.seed,
            },
            misses,
        })
    }

    fn played_state(
        &self,
        recording: &Recording,
        digest: &str,
        function: FunctionManifest,
        player: &Arc<Player>,
        tape: &Arc<Tape>,
    ) -> GuestState {
        let subject = &recording.subject;
        let kept = Kept::new(subject.metadata.clone(), subject.checkpoint.clone());
        let reach = Reach::played(Arc::clone(player), Arc::clone(tape), kept);
        let ctx = ExecutionContext {
            // Nothing is written under these names.
            environment_id: EnvironmentId::from(""),
            operation_id: OperationId::from(""),
            provider_config_key: subject.provider_config_key.as_str().into(),
            connection_id: subject.connection_id.as_str().into(),
            connection_key: None,
            run_id: None,
        };
        let kind = function.kind;
        let manifest = Arc::new(function);
        let facts = RunFacts {
            reach: reach.clone(),
            schemas: self.schemas.of(digest, Arc::clone(&manifest)),
            manifest,
            provider: subject.provider.as_str().into(),
            environment_name: subject.environment.as_str().into(),
            connection_key: ConnectionKey::from(""),
            variant: subject.variant.clone(),
            sender: Sender::new(reach, ctx, self.limits.response_body_bytes, None, None, None),
            is_for_webhook: subject.for_webhook,
            checkpoint_version: None,
            merging: BTreeMap::new(),
            chain: Chain::default(),
            holds_locks: false,
            token_told: None,
            progress: None,
        };
        GuestState::new(
            Some(facts),
            RunLog::silent(),
            MemoryLimiter::new(self.limits.run_memory_bytes),
            self.clock.clone(),
            Entropy::from_seed(recording.seed.bytes()),
            TimeLimit::of(&self.limits, kind, subject.for_webhook).ms,
        )
    }
}

fn alone(timeout_ms: u64) -> Bounds<'static> {
    Bounds {
        timeout_ms,
        cancel: None,
    }
}

/// For runs that are for no connection.
fn nowhere() -> Place {
    Place {
        environment_id: "".into(),
        integration_id: "".into(),
        connection_key: "".into(),
        function: String::new(),
    }
}

/// A run that asked for what was not recorded failed for that reason, whatever it said of it.
fn explained(error: RunError, misses: &[String]) -> RunError {
    match misses.first() {
        Some(miss) => RunError {
            code: "not_recorded".to_owned(),
            message: miss.clone(),
            payload: None,
            upstream: None,
        },
        None => error,
    }
}

/// As it was then.
fn trigger(recording: &Recording, function: &FunctionManifest) -> Vec<(String, String)> {
    let subject = &recording.subject;
    let given = [
        ("kind", Some(trigger_kind(subject.kind, subject.for_webhook))),
        ("input", Some(subject.input.as_str())),
        ("run-id", subject.run_id.as_deref()),
        ("event", function.event.map(ConnectionEvent::as_str)),
        ("variant", subject.variant.as_deref()),
    ];
    let given = given.into_iter();
    given
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::components::tests::{component, engine};
    use super::*;
    use crate::schema::Validation;

    #[tokio::test]
    async fn what_is_examined_leaves_no_code_in_memory_and_what_is_run_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits {
            concurrent_runs: 2,
            run_memory_bytes: 4 << 20,
            ..Limits::default()
        };
        let code_cache = CodeCache::new(folder.path().to_owned(), [7; 32]);
        let schemas = Schemas::new(Validation::On);
        let sandbox = Sandbox::new(engine(), code_cache, Clock::system(), limits, schemas).unwrap();
        let component = component("metadata");
        let digest = hex(&Sha256::digest(&component));
        let is_ready = || sandbox.0.components.is_ready(&digest);

        let manifest = sandbox.examine(&component).await.unwrap();
        assert_eq!(manifest.functions[0].name, "metadata");
        assert!(!is_ready(), "a deploy is no run");
        let kept = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(kept, 1, "the first run finds it on disk");

        let _ = sandbox.describe(&component).await.unwrap();
        assert!(is_ready());
        let _ = sandbox.examine(&component).await.unwrap();
        assert!(is_ready(), "it is in use");
        sandbox.shutdown(0).await;
    }
}
