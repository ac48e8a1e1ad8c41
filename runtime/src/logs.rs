//! The log: operations and messages, written in batches behind the back of whoever logs.

use crate::clock::Clock;
use crate::model::{Message, Operation, Run};
use crate::store::Store;

/// Cheap to clone. Logging never waits and never fails: when the queue is full, messages are dropped and counted.
#[derive(Clone)]
pub struct Logs {}

impl Logs {
    /// Starts the writer. It flushes every `flush_interval_ms` or when a batch is full.
    #[must_use]
    pub fn start(_store: Store, _clock: Clock) -> Self {
        todo!()
    }
    /// Inserts or rewrites an operation.
    pub fn operation(&self, _operation: Operation) {
        todo!()
    }
    pub fn message(&self, _message: Message) {
        todo!()
    }
    /// The row of a finished run, written in the same batches.
    pub fn run(&self, _run: Run) {
        todo!()
    }
    /// Waits until everything logged so far is in the database.
    pub async fn flush(&self) {
        todo!()
    }
    /// Messages dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        todo!()
    }
}
