//! What was logged and is not yet written: three bounded lists behind one lock, which the writer takes away whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::{BATCH_MAX, LogStatus, MESSAGES_MAX, OPERATIONS_MAX};
use crate::model::{Message, Operation, Run};

/// A message, or how to make it: what that costs is not for the path of a request.
pub(super) enum Queued {
    Made(Message),
    Later(Box<dyn FnOnce() -> Message + Send>),
}

/// Everything of one time.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) operations: Vec<Operation>,
    pub(super) messages: Vec<Queued>,
    pub(super) runs: Vec<Run>,
    message_bytes: usize,
}

impl Entries {
    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.messages.is_empty() && self.runs.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.operations.len() + self.messages.len() + self.runs.len()
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
    /// Size of the messages in it.
    bytes_max: usize,
    /// There is something to write, a batch is full, a flush is wanted, or it is over.
    wake: Notify,
    /// The last `taken` whose entries are written.
    written: watch::Sender<u64>,
    dropped: AtomicU64,
    /// Entries that the writer has taken and not yet written.
    in_hand: AtomicU64,
    /// Why nothing can be written at the moment. A std mutex: held for one copy, never across an await.
    failure: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            queue: Mutex::default(),
            bytes_max,
            wake: Notify::new(),
            written: watch::Sender::new(0),
            dropped: AtomicU64::new(0),
            in_hand: AtomicU64::new(0),
            failure: Mutex::default(),
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

    /// `bytes` is what it takes in memory, about.
    pub(super) fn message(&self, message: Queued, bytes: usize) {
        self.push(|entries| {
            let message_bytes = entries.message_bytes.saturating_add(bytes);
            let fits = entries.messages.len() < MESSAGES_MAX && message_bytes <= self.bytes_max;
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

    pub(super) fn set_in_hand(&self, entries: usize) {
        self.in_hand
            .store(u64::try_from(entries).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn set_failure(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    pub(super) fn status(&self) -> LogStatus {
        let queued = u64::try_from(self.lock().entries.len()).unwrap_or(u64::MAX);
        LogStatus {
            waiting: queued.saturating_add(self.in_hand.load(Ordering::Relaxed)),
            dropped: self.dropped(),
            failure: self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Waits until what is queued now is written or dropped; with `close` the writer then ends.
    pub(super) async fn flush(&self, close: bool) {
        let mut written = self.written.subscribe();
        let wanted = {
            let mut queue = self.lock();
            queue.flush_wanted = true;
            queue.closed |= close;
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

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
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
