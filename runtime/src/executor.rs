//! Runs a function: the only way to do so, whoever asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Counts, ExecutionContext, Function, Manifest, RunError, SyncId};

/// Cheap to clone.
#[derive(Clone)]
pub struct Executor {}

/// What to run.
#[derive(Debug)]
pub struct RunRequest {
    pub ctx: ExecutionContext,
    pub function: Arc<Function>,
    pub provider: Arc<str>,
    pub environment_name: Arc<str>,
    pub connection_key: crate::model::ConnectionKey,
    /// JSON text; `null` when there is none.
    pub input: String,
    /// For a sync.
    pub sync: Option<SyncRun>,
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
}

/// Why a component cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    #[error("this is no WebAssembly: {0}")]
    NotWasm(String),
}

impl Executor {
    /// Runs one function to its end: takes a slot, makes a fresh instance, calls `run`, drops it. Never panics on what a guest does.
    pub async fn run(&self, _request: RunRequest) -> RunOutcome {
        todo!()
    }
    /// Checks a component against the world, compiles it, and calls `describe` in the sandbox.
    pub async fn describe(&self, _component: &[u8]) -> Result<Manifest, ComponentError> {
        todo!()
    }
}
