//! What was logged and is not yet written: three bounded lists behind one lock, which the writer takes away whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::{BATCH_MAX, MESSAGE_BYTES_MAX, MESSAGES_MAX, OPERATIONS_MAX};
use crate::model::{Message, Operation, Run};

/// Everything of one time.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) operations: Vec<Operation>,
    pub(super) messages: Vec<Message>,
    pub(super) runs: Vec<Run>,
    message_bytes: usize,
}

impl Entries {
    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.messages.is_empty() && self.runs.is_empty()
    }

    fn is_batch(&self) -> bool {
        self.operations.len() >= BATCH_MAX || self.messages.len() >= BATCH_MAX || self.runs.len() >= BATCH_MAX
    }

    /// Empties the lists but keeps their room.
    pub(super) fn clear(&mut self) {
        self.operations.clear();
        self.messages.clear();
        self.runs.clear();
        self.message_bytes = 0;
    }
}

#[derive(Default)]
struct Queue {
    entries: Entries,
    /// Counts how often the writer took the entries.
    taken: u64,
    flush_wanted: bool,
    closed: bool,
}

/// What loggers and the writer share.
pub(super) struct Shared {
    /// A std mutex: held for one push or one swap, never across an await.
    queue: Mutex<Queue>,
    /// There is something to write, a batch is full, a flush is wanted, or it is over.
    wake: Notify,
    /// The last `taken` whose entries are written.
    written: watch::Sender<u64>,
    dropped: AtomicU64,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::default(),
            wake: Notify::new(),
            written: watch::Sender::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn operation(&self, operation: Operation) {
        self.push(|entries| {
            let fits = entries.operations.len() < OPERATIONS_MAX;
            if fits {
                entries.operations.push(operation);
            }
            fits
        });
    }

    pub(super) fn message(&self, message: Message) {
        self.push(|entries| {
            let message_bytes = entries.message_bytes.saturating_add(message.text.len());
            let fits = entries.messages.len() < MESSAGES_MAX && message_bytes <= MESSAGE_BYTES_MAX;
            if fits {
                entries.message_bytes = message_bytes;
                entries.messages.push(message);
            }
            fits
        });
    }

    pub(super) fn run(&self, run: Run) {
        self.push(|entries| {
            let fits = entries.runs.len() < OPERATIONS_MAX;
            if fits {
                entries.runs.push(run);
            }
            fits
        });
    }

    /// Wakes the writer only for the first entry and for the one that fills a batch: waking costs more than the push.
    fn push(&self, push: impl FnOnce(&mut Entries) -> bool) {
        let mut queue = self.lock();
        let (was_empty, was_batch) = (queue.entries.is_empty(), queue.entries.is_batch());
        let fits = push(&mut queue.entries);
        let wake = fits && (was_empty || (!was_batch && queue.entries.is_batch()));
        drop(queue);
        if !fits {
            self.add_dropped(1);
        }
        if wake {
            self.wake.notify_one();
        }
    }

    pub(super) fn add_dropped(&self, entries: usize) {
        self.dropped
            .fetch_add(u64::try_from(entries).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) async fn flush(&self) {
        let mut written = self.written.subscribe();
        let wanted = {
            let mut queue = self.lock();
            queue.flush_wanted = true;
            queue.taken + 1
        };
        self.wake.notify_one();
        // An error means that the writer is gone, and with it its runtime: nobody will write any more.
        let _ = written.wait_for(|written| *written >= wanted).await;
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Whether the writer should not wait for more.
    pub(super) fn is_urgent(&self) -> bool {
        let queue = self.lock();
        queue.flush_wanted || queue.closed || queue.entries.is_batch()
    }

    /// Whether there is anything to write or to answer.
    pub(super) fn is_idle(&self) -> bool {
        let queue = self.lock();
        queue.entries.is_empty() && !queue.flush_wanted && !queue.closed
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Exchanges the queued entries for `empty` ones. Gives the number to report to [`Shared::report_written`], none at
    /// the end of the last.
    pub(super) fn take(&self, empty: &mut Entries) -> Option<u64> {
        let mut queue = self.lock();
        if queue.closed && queue.entries.is_empty() && !queue.flush_wanted {
            return None;
        }
        std::mem::swap(&mut queue.entries, empty);
        queue.flush_wanted = false;
        queue.taken += 1;
        Some(queue.taken)
    }

    pub(super) fn report_written(&self, taken: u64) {
        self.written.send_replace(taken);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No push can panic half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
