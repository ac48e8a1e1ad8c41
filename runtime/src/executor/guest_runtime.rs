//! The tokio runtime that guests run on, apart from the one of the server and the database: a guest that keeps a worker busy
//! between two epochs delays other guests, never a health check or a timer.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Threads that compile; more wait.
const BLOCKING_THREADS_MAX: usize = 4;

/// A run on its way, moved between threads without copying it.
pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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

    /// Polls once where the caller is; gives the task that goes on if that was not enough. Timers, sockets and tasks it makes
    /// belong to this runtime either way.
    pub(super) fn begin_in_place<T: Send + 'static>(&self, mut run: Boxed<T>) -> Result<T, JoinHandle<T>> {
        let _entered = self.handle.enter();
        // Nobody need be woken: the task polls at once.
        match run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => Ok(ended),
            Poll::Pending => Err(self.handle.spawn(run)),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_goes_on_with_the_guests() {
        let runtime = GuestRuntime::start().unwrap();
        let here = std::thread::current().id();
        let run: Boxed<_> = Box::pin(async { std::thread::current().id() });
        assert_eq!(runtime.begin_in_place(run).ok(), Some(here));
        let run: Boxed<_> = Box::pin(async {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            tokio::spawn(tokio::task::yield_now()).await.unwrap();
            std::thread::current().name().map(str::to_owned)
        });
        let task = runtime.begin_in_place(run).err().unwrap();
        assert_eq!(task.await.unwrap().as_deref(), Some("nango-guest"));
    }
}
