//! The log: operations, messages and the rows of runs, written in batches behind the back of whoever logs. It lies on
//! the path of every invocation, so logging takes a lock for the time of one push and nothing else; a single task
//! writes.
//!
//! Logging never waits and never fails. What a crash of the process can lose is what was logged within the last
//! [`FLUSH_INTERVAL_MS`]: records and checkpoints do not go this way. When the database is slower than what is logged,
//! or away, messages are dropped first, operations and runs much later; both are counted and said aloud. Masking
//! secrets is the task of whoever makes a message.

mod queue;
mod writer;

use std::sync::Arc;

use crate::clock::Clock;
use crate::model::{Message, Operation, Run};
use crate::store::{Store, StoreError};
use queue::Shared;

/// Messages that wait to be written.
pub const MESSAGES_MAX: usize = 65_536;
/// Text of the messages that wait.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Operations, and runs, that wait to be written, of each.
pub const OPERATIONS_MAX: usize = 262_144;
/// Entries of one kind that one transaction writes: calls that write otherwise wait this long at most.
pub const BATCH_MAX: usize = 4_096;
/// How long an entry waits for others, unless a batch is full.
pub const FLUSH_INTERVAL_MS: u64 = 50;
/// Days for which operations, their messages, and runs are kept, unless configured.
pub const RETENTION_DAYS_DEFAULT: u32 = 15;
/// Operations deleted by one transaction.
const RETENTION_CHUNK: i64 = 1_000;
/// Transactions of one [`Logs::tick`].
const RETENTION_CHUNKS_MAX: usize = 1_000;

/// Cheap to clone. Logging never waits and never fails: when the queue is full, messages are dropped and counted.
#[derive(Clone)]
pub struct Logs {
    handle: Arc<Handle>,
}

/// Ends the writer when the last [`Logs`] goes; it writes what is queued first.
struct Handle {
    shared: Arc<Shared>,
    store: Store,
    retention_days: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Logs {
    /// Starts the writer on the current tokio runtime. It writes every [`FLUSH_INTERVAL_MS`] or when a batch is full.
    #[must_use]
    pub fn start(store: Store, clock: Clock) -> Self {
        Self::start_with_retention(store, clock, RETENTION_DAYS_DEFAULT)
    }

    /// As [`Logs::start`], with the number of days to keep.
    #[must_use]
    pub fn start_with_retention(store: Store, clock: Clock, retention_days: u32) -> Self {
        let shared = Arc::new(Shared::new());
        tokio::spawn(writer::run(store.clone(), clock, shared.clone()));
        Self {
            handle: Arc::new(Handle {
                shared,
                store,
                retention_days,
            }),
        }
    }

    /// Inserts or rewrites an operation. Several of one id in the same batch become one row.
    pub fn operation(&self, operation: Operation) {
        self.handle.shared.operation(operation);
    }

    pub fn message(&self, message: Message) {
        self.handle.shared.message(message);
    }

    /// The row of a finished run, written in the same batches.
    pub fn run(&self, run: Run) {
        self.handle.shared.run(run);
    }

    /// Waits until everything logged so far is in the database, or dropped because the database keeps failing.
    pub async fn flush(&self) {
        self.handle.shared.flush().await;
    }

    /// Messages, operations and runs dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.handle.shared.dropped()
    }

    /// Deletes operations with their messages, and runs, that are older than the days to keep. Gives how many
    /// operations. To be called every few minutes; does a bounded amount of work, in short transactions.
    ///
    /// # Errors
    /// The store failed; what was deleted before stays deleted.
    pub async fn tick(&self, now_ms: i64) -> Result<u64, StoreError> {
        const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
        let Handle {
            store, retention_days, ..
        } = &*self.handle;
        let before_ms = now_ms.saturating_sub(i64::from(*retention_days) * DAY_MS);
        let mut deleted = 0;
        for _ in 0..RETENTION_CHUNKS_MAX {
            let operations = store.delete_logs_before(before_ms, RETENTION_CHUNK).await?;
            let runs = store.delete_runs_before(before_ms, RETENTION_CHUNK).await?;
            deleted += operations;
            if operations == 0 && runs == 0 {
                break;
            }
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests;
