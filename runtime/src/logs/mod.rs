//! The log: operations, messages and the rows of runs, written in batches behind the back of whoever logs. It lies on
//! the path of every invocation, so logging takes a lock for the time of one push and nothing else; a single task makes
//! the messages, bounds and writes them.
//!
//! Logging never waits and never fails. What a crash of the process can lose is what was logged within the last
//! [`FLUSH_INTERVAL_MS`]: records and checkpoints do not go this way. While the database is slow, full or away, entries
//! wait. When there are too many, messages are dropped first, operations and runs much later; that is said aloud, shown by
//! [`Logs::status`], and written into the log as soon as that is possible again. Masking secrets is the task of whoever
//! makes a message.

mod bounds;
mod outage;
mod queue;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::model::log::Source;
use crate::model::{Level, Message, Operation, Run};
use crate::store::{Store, StoreError};
use queue::{Queued, Shared};

/// Messages that wait to be written. As many again may be in the writer's hands.
pub const MESSAGES_MAX: usize = 65_536;
/// Operations, and runs, that wait to be written, of each.
pub const OPERATIONS_MAX: usize = 262_144;
/// Entries of one kind that one transaction writes: calls that write otherwise wait this long at most.
pub const BATCH_MAX: usize = 4_096;
/// How long an entry waits for others, unless a batch is full.
pub const FLUSH_INTERVAL_MS: u64 = 50;
/// Longest text of a message; what is longer is cut.
pub const TEXT_BYTES_MAX: usize = 10_000;
/// Fields of one message, as JSON; what is more is cut.
pub const FIELDS_BYTES_MAX: usize = 32 * 1024;
/// How long who reads the log waits for what was logged just before.
pub const READ_WAIT_MS: u64 = 2_000;
/// A process that has not said for so long that it lives counts as dead, where several share a database.
pub const WRITER_DEAD_AFTER_MS: i64 = 60_000;
/// Rows deleted by one transaction.
const RETENTION_CHUNK: i64 = 1_000;
/// Transactions of one [`Logs::tick`].
const RETENTION_CHUNKS_MAX: usize = 1_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What is kept, and how much may wait; see `config`.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Days for which operations, their messages, and runs are kept.
    pub retention_days: u32,
    /// Messages of one operation, and what they may take together; more are left out.
    pub operation_messages_max: usize,
    pub operation_bytes_max: usize,
    /// Size of the messages that wait to be written.
    pub queue_bytes_max: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            retention_days: 15,
            operation_messages_max: 50_000,
            operation_bytes_max: 32 * 1024 * 1024,
            queue_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// Cheap to clone. Logging never waits and never fails: when the queue is full, messages are dropped and counted.
#[derive(Clone)]
pub struct Logs {
    handle: Arc<Handle>,
}

/// Ends the writer when the last [`Logs`] goes; it writes what is queued first.
struct Handle {
    shared: Arc<Shared>,
    store: Store,
    clock: Clock,
    /// Marks the operations of this process that are under way.
    writer_id: Arc<str>,
    retention_days: u32,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// How the log stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// Entries logged and not yet written.
    pub waiting: u64,
    /// Entries dropped since the start.
    pub dropped: u64,
    /// Why nothing can be written at the moment.
    pub failure: Option<String>,
}

impl Logs {
    /// Starts the writer on the current tokio runtime. It writes every [`FLUSH_INTERVAL_MS`] or when a batch is full.
    #[must_use]
    pub fn start(store: Store, clock: Clock, options: &LogOptions) -> Self {
        let shared = Arc::new(Shared::new(options.queue_bytes_max));
        // Two processes that share a database do not start in the same microsecond under the same number.
        let writer_id: Arc<str> = format!("{}-{}", clock.now_us(), std::process::id()).into();
        let writer = writer::Writer::new(
            store.clone(),
            clock.clone(),
            Arc::clone(&shared),
            Arc::clone(&writer_id),
            options,
        );
        tokio::spawn(writer.run());
        Self {
            handle: Arc::new(Handle {
                shared,
                store,
                clock,
                writer_id,
                retention_days: options.retention_days,
            }),
        }
    }

    /// Inserts or rewrites an operation. Several of one id in the same batch become one row.
    pub fn operation(&self, operation: Operation) {
        self.handle.shared.operation(operation);
    }

    /// An operation that has one message, which says the same.
    pub fn event(&self, operation: Operation, level: Level) {
        let message = Message {
            operation_id: operation.id.clone(),
            created_at_us: self.handle.clock.now_us(),
            level,
            source: Source::Internal,
            text: operation.message.clone(),
            fields: None,
        };
        self.operation(operation);
        self.message(message);
    }

    pub fn message(&self, message: Message) {
        let bytes = bounds::bytes(&message);
        self.handle.shared.message(Queued::Made(message), bytes);
    }

    /// A message that the writer makes: on the path of a request nothing is formatted, masked or encoded. `bytes` is what
    /// `make` holds in memory, about.
    pub fn message_later(&self, bytes: usize, make: impl FnOnce() -> Message + Send + 'static) {
        self.handle.shared.message(Queued::Later(Box::new(make)), bytes);
    }

    /// The row of a finished run, written in the same batches.
    pub fn run(&self, run: Run) {
        self.handle.shared.run(run);
    }

    /// Waits until everything logged so far is in the database, however long the database fails.
    pub async fn flush(&self) {
        self.handle.shared.flush(false).await;
    }

    /// As [`Logs::flush`], but no longer than `wait_ms`, and not at all while nothing can be written.
    pub async fn flush_within(&self, wait_ms: u64) {
        if self.status().failure.is_some() {
            return;
        }
        tokio::select! {
            () = self.flush() => {}
            () = self.handle.clock.sleep(Duration::from_millis(wait_ms)) => {}
        }
    }

    /// Takes no more time than the database needs for one try each: what cannot be written then is dropped. Nothing should
    /// be logged any more.
    pub async fn close(&self) {
        self.handle.shared.flush(true).await;
    }

    #[must_use]
    pub fn status(&self) -> LogStatus {
        self.handle.shared.status()
    }

    /// Messages, operations and runs dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.handle.shared.dropped()
    }

    /// Marks operations as failed that were under way when their process died. `alone`: no other process uses the database.
    /// Otherwise to be called every few seconds, which tells the others that this one lives. Gives how many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn interrupt_orphans(&self, now_ms: i64, alone: bool) -> Result<u64, StoreError> {
        let Handle { store, writer_id, .. } = &*self.handle;
        let living_since_ms = if alone {
            i64::MAX
        } else {
            store.keep_log_writer(writer_id, now_ms).await?;
            now_ms.saturating_sub(WRITER_DEAD_AFTER_MS)
        };
        let mut interrupted = 0;
        loop {
            let some = store
                .interrupt_operations(writer_id, living_since_ms, now_ms, RETENTION_CHUNK)
                .await?;
            if some == 0 {
                return Ok(interrupted);
            }
            interrupted += some;
        }
    }

    /// Deletes operations with their messages, and runs, that are older than the days to keep. Gives how many rows. To be
    /// called every few minutes; does a bounded amount of work, in short transactions.
    ///
    /// # Errors
    /// The store failed; what was deleted before stays deleted.
    pub async fn tick(&self, now_ms: i64) -> Result<u64, StoreError> {
        let Handle {
            store, retention_days, ..
        } = &*self.handle;
        let before_ms = now_ms.saturating_sub(i64::from(*retention_days) * DAY_MS);
        store.forget_log_writers_before(now_ms.saturating_sub(DAY_MS)).await?;
        let mut deleted = 0;
        for _ in 0..RETENTION_CHUNKS_MAX {
            // Messages first: an operation may have far more of them than one transaction should delete.
            let mut some = store.delete_messages_before(before_ms, RETENTION_CHUNK).await?;
            if some == 0 {
                some = store.delete_operations_before(before_ms, RETENTION_CHUNK).await?
                    + store.delete_runs_before(before_ms, RETENTION_CHUNK).await?;
            }
            if some == 0 {
                break;
            }
            deleted += some;
        }
        Ok(deleted)
    }
}

/// Shortens a text to `bytes_max` and a mark that says so, at a character's boundary.
pub fn cut(text: &mut String, bytes_max: usize) {
    bounds::cut(text, bytes_max);
}

#[cfg(test)]
mod tests;
