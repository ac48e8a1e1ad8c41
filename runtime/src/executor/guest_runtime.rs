//! The tokio runtime that guests run on, apart from the one of the server and the database: a guest that keeps a worker busy
//! between two epochs delays other guests, never a health check or a timer.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Threads that compile; more wait.
const BLOCKING_THREADS_MAX: usize = 4;

pub(super) struct GuestRuntime {
    handle: Handle,
    /// Taken when stopped. A std mutex: never held across an await.
    runtime: Mutex<Option<Runtime>>,
}

impl GuestRuntime {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("nango-guest")
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
        })
    }

    pub(super) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Drops all tasks at their next wait. Does not block: dropping a runtime inside of another one would panic.
    pub(super) fn stop(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        self.stop();
    }
}
