//! The clock of interruption: one thread that moves the engine's epoch. A thread and not a task, because it must go on when
//! every worker of every runtime is busy in a guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::EngineWeak;

/// How often running guests look whether they should go on, in milliseconds.
pub const TICK_MS: u64 = 10;

/// Stops when dropped, and when the engine is gone.
pub(super) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Ticker {
    pub(super) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let handle = std::thread::Builder::new()
            .name("nango-epoch".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Acquire) {
                    std::thread::park_timeout(Duration::from_millis(TICK_MS));
                    let Some(engine) = engine.upgrade() else { return };
                    engine.increment_epoch();
                }
            })?;
        Ok(Self {
            stop,
            thread: handle.thread().clone(),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
