//! Functions without a server, a database or an upstream: what `nango-runtime test` runs fixtures with.

use std::path::PathBuf;

use crate::clock::{Clock, Entropy};
use crate::config::Limits;
use crate::engine::{CodeCache, Engine, EngineError, EngineOptions};
use crate::executor::{ComponentError, ExecutorError, PlayError, Played, Sandbox};
use crate::model::Manifest;
use crate::recording::Recording;
use crate::schema::{Schemas, Validation};

/// Runs at the same time: fixtures are played one after the other.
const CONCURRENT_RUNS: u32 = 2;

/// A sandbox of its own.
pub struct Offline {
    sandbox: Sandbox,
    /// Of compiled code, gone with this.
    folder: PathBuf,
}

/// Why no function can be run.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
}

impl Offline {
    /// # Errors
    ///
    /// When wasmtime cannot run on this machine.
    pub fn new() -> Result<Self, OfflineError> {
        let limits = Limits {
            concurrent_runs: CONCURRENT_RUNS,
            ..Limits::default()
        };
        let engine = Engine::new(&EngineOptions {
            concurrent_runs: limits.concurrent_runs,
            run_memory_bytes: limits.run_memory_bytes,
        })?;
        // Under a key that lives as long as this process: nobody else can have written there what is run here.
        let folder = std::env::temp_dir().join(format!("nango-runtime-{}", std::process::id()));
        let code_cache = CodeCache::new(folder.clone(), Entropy::system().bytes());
        let sandbox = Sandbox::new(
            engine,
            code_cache,
            Clock::system(),
            limits,
            Schemas::new(Validation::On),
        )?;
        Ok(Self { sandbox, folder })
    }

    /// What a component holds.
    ///
    /// # Errors
    ///
    /// When it is none, or describes itself wrongly.
    pub async fn describe(&self, component: &[u8]) -> Result<Manifest, ComponentError> {
        self.sandbox.describe(component).await
    }

    /// Runs a function with a recording for its world.
    ///
    /// # Errors
    ///
    /// When the component cannot be run or has no such function. A run that fails is no error.
    pub async fn play(&self, component: &[u8], recording: &Recording) -> Result<Played, PlayError> {
        self.sandbox.play(component, recording).await
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
