//! The task that writes what was queued: in transactions of bounded size, again and again while the database fails, and
//! not at all what the database refuses because of what it holds.

use std::collections::HashSet;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use super::bounds::Usage;
use super::outage::Outage;
use super::queue::{Entries, Queued, Shared};
use super::{BATCH_MAX, FLUSH_INTERVAL_MS, LogOptions};
use crate::clock::Clock;
use crate::model::{EnvironmentId, Message, Operation, OperationState, Run};
use crate::store::{Store, StoreError};

/// Waits before a batch is tried again; the last one ever after. Meanwhile the queue fills, which is bounded.
const RETRY_AFTER_MS: [u64; 5] = [50, 200, 1_000, 2_000, 5_000];
/// A batch that takes longer than this, for example because somebody else has locked the database, is told like a failure.
const SLOW_AFTER_MS: u64 = 2_000;
/// Messages made before other tasks get their turn.
const MAKE_CHUNK: usize = 128;

pub(super) struct Writer {
    store: Store,
    clock: Clock,
    shared: Arc<Shared>,
    writer_id: Arc<str>,
    usage: Usage,
    outage: Outage,
    /// Where to say what was lost.
    environment: Option<EnvironmentId>,
    /// The log was closed and the database failed since: what is left is dropped.
    has_given_up: bool,
}

impl Writer {
    pub(super) fn new(
        store: Store,
        clock: Clock,
        shared: Arc<Shared>,
        writer_id: Arc<str>,
        options: &LogOptions,
    ) -> Self {
        Self {
            store,
            clock,
            shared,
            writer_id,
            usage: Usage::new(options),
            outage: Outage::default(),
            environment: None,
            has_given_up: false,
        }
    }

    /// Runs until [`Shared::close`] and everything is written.
    pub(super) async fn run(mut self) {
        let mut entries = Entries::default();
        loop {
            while self.shared.is_idle() {
                self.shared.woken().await;
            }
            if !self.shared.is_urgent() {
                self.wait_for_more().await;
            }
            let Some(taken) = self.shared.take(&mut entries) else {
                // Nobody need wait any more.
                self.shared.report_written(u64::MAX);
                return;
            };
            self.write(&mut entries).await;
            entries.clear();
            self.say_what_was_lost().await;
            self.shared.report_written(taken);
        }
    }

    async fn wait_for_more(&self) {
        let urgent = async {
            while !self.shared.is_urgent() {
                self.shared.woken().await;
            }
        };
        tokio::select! {
            () = urgent => {}
            () = self.clock.sleep(Duration::from_millis(FLUSH_INTERVAL_MS)) => {}
        }
    }

    async fn write(&mut self, entries: &mut Entries) {
        keep_last(&mut entries.operations, |operation| &operation.id);
        keep_last(&mut entries.runs, |run| &run.id);
        if let Some(operation) = entries.operations.last() {
            self.environment = Some(operation.environment_id.clone());
        }
        let mut left = entries.len();
        self.shared.set_in_hand(left);
        // Operations first: whoever sees a message or a run finds its operation.
        for operations in entries.operations.chunks(BATCH_MAX) {
            self.write_batch(Batch::Operations(operations)).await;
            left = left.saturating_sub(operations.len());
            self.shared.set_in_hand(left);
        }
        let mut queued = entries.messages.drain(..);
        loop {
            let batch: Vec<Queued> = queued.by_ref().take(BATCH_MAX).collect();
            let taken = batch.len();
            if taken == 0 {
                break;
            }
            let messages = self.make(batch).await;
            self.write_batch(Batch::Messages(&messages)).await;
            left = left.saturating_sub(taken);
            self.shared.set_in_hand(left);
        }
        drop(queued);
        for runs in entries.runs.chunks(BATCH_MAX) {
            self.write_batch(Batch::Runs(runs)).await;
            left = left.saturating_sub(runs.len());
            self.shared.set_in_hand(left);
        }
        for operation in &entries.operations {
            if operation.state != OperationState::Running {
                self.usage.forget(&operation.id);
            }
        }
    }

    /// Makes the messages, within the bounds of a message and of an operation.
    async fn make(&mut self, queued: Vec<Queued>) -> Vec<Message> {
        let mut messages = Vec::with_capacity(queued.len());
        for (number, queued) in queued.into_iter().enumerate() {
            if number % MAKE_CHUNK == MAKE_CHUNK - 1 {
                tokio::task::yield_now().await;
            }
            let message = match queued {
                Queued::Made(message) => Some(message),
                // Nothing of the maker is used after a panic, and the log must not end with it.
                Queued::Later(make) => std::panic::catch_unwind(AssertUnwindSafe(make)).ok(),
            };
            match message {
                Some(message) => messages.extend(self.usage.admit(message)),
                None => self.shared.add_dropped(1),
            }
        }
        messages
    }

    /// Writes a batch, or in the end drops it. What the database refuses because of what it holds is looked for by
    /// halves, so that one bad entry does not take the others with it.
    async fn write_batch(&mut self, batch: Batch<'_>) {
        if self.has_given_up {
            self.shared.add_dropped(batch.len());
            return;
        }
        let mut open = vec![batch];
        while let Some(batch) = open.pop() {
            let Err(error) = self.try_write(batch).await else {
                continue;
            };
            match batch.halves() {
                Some((first, second)) if !error.is_transient() => open.extend([second, first]),
                Some(_) | None => {
                    self.has_given_up = error.is_transient();
                    self.shared.add_dropped(batch.len());
                    let entries = batch.len();
                    tracing::error!(
                        entries,
                        error = &error as &dyn std::error::Error,
                        "{entries} log entries could not be written and are dropped"
                    );
                }
            }
        }
    }

    /// Tries until it is written or refused. When the log is closed, nobody waits any more: one try has to do.
    async fn try_write(&mut self, batch: Batch<'_>) -> Result<(), StoreError> {
        let mut waits = RETRY_AFTER_MS.into_iter();
        let mut wait_ms = 0;
        loop {
            match self.write_once(batch).await {
                Err(error) if error.is_transient() && !self.shared.is_closed() => {
                    self.outage.fails(&self.shared, self.clock.monotonic_us(), &error);
                    wait_ms = waits.next().unwrap_or(wait_ms);
                    self.wait_or_close(wait_ms).await;
                }
                Err(error) if error.is_transient() => return Err(error),
                // It is there, whether it says yes or no.
                answered => {
                    self.outage.ends(&self.shared);
                    return answered;
                }
            }
        }
    }

    /// One try, however long the database takes; when that is long, it is told.
    async fn write_once(&mut self, batch: Batch<'_>) -> Result<(), StoreError> {
        let mut writing = std::pin::pin!(batch.write(&self.store, &self.writer_id));
        loop {
            tokio::select! {
                written = &mut writing => return written,
                () = self.clock.sleep(Duration::from_millis(SLOW_AFTER_MS)) => {
                    self.outage.fails(&self.shared, self.clock.monotonic_us(), &Slow);
                }
            }
        }
    }

    async fn wait_or_close(&self, wait_ms: u64) {
        let closed = async {
            while !self.shared.is_closed() {
                self.shared.woken().await;
            }
        };
        tokio::select! {
            () = closed => {}
            () = self.clock.sleep(Duration::from_millis(wait_ms)) => {}
        }
    }

    /// Writes into the log that, and how much, is missing in it.
    async fn say_what_was_lost(&mut self) {
        let (now_ms, now_us) = (self.clock.now_ms(), self.clock.monotonic_us());
        let Some(environment_id) = &self.environment else {
            return;
        };
        if let Some(notice) = self.outage.lost(self.shared.dropped(), environment_id, now_ms, now_us) {
            let notices = [notice];
            self.write_batch(Batch::Operations(&notices)).await;
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the database has not answered for {SLOW_AFTER_MS} ms")]
struct Slow;

#[derive(Clone, Copy)]
enum Batch<'a> {
    Operations(&'a [Operation]),
    Messages(&'a [Message]),
    Runs(&'a [Run]),
}

impl Batch<'_> {
    async fn write(self, store: &Store, writer_id: &str) -> Result<(), StoreError> {
        match self {
            Self::Operations(operations) => store.write_logs(writer_id, operations, &[]).await,
            Self::Messages(messages) => store.write_logs(writer_id, &[], messages).await,
            Self::Runs(runs) => store.write_runs(runs).await,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Operations(operations) => operations.len(),
            Self::Messages(messages) => messages.len(),
            Self::Runs(runs) => runs.len(),
        }
    }

    /// None of a single entry.
    fn halves(self) -> Option<(Self, Self)> {
        if self.len() < 2 {
            return None;
        }
        let half = self.len() / 2;
        Some(match self {
            Self::Operations(operations) => {
                let (first, second) = operations.split_at_checked(half)?;
                (Self::Operations(first), Self::Operations(second))
            }
            Self::Messages(messages) => {
                let (first, second) = messages.split_at_checked(half)?;
                (Self::Messages(first), Self::Messages(second))
            }
            Self::Runs(runs) => {
                let (first, second) = runs.split_at_checked(half)?;
                (Self::Runs(first), Self::Runs(second))
            }
        })
    }
}

/// Keeps the last entry of each id: start and end of an operation become one row, and a statement must not name a row
/// twice.
fn keep_last<T, I: Hash + Eq + Clone>(entries: &mut Vec<T>, id: impl Fn(&T) -> &I) {
    let mut seen = HashSet::with_capacity(entries.len());
    let kept: Vec<bool> = entries
        .iter()
        .rev()
        .map(|entry| seen.insert(id(entry).clone()))
        .collect();
    if seen.len() == entries.len() {
        return;
    }
    let mut kept = kept.into_iter().rev();
    entries.retain(|_| kept.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_entry_of_each_id_is_kept_in_order() {
        let mut entries = vec![("a", 1), ("b", 1), ("a", 2), ("c", 1), ("b", 2)];
        keep_last(&mut entries, |(id, _)| id);
        assert_eq!(entries, [("a", 2), ("c", 1), ("b", 2)]);
    }
}
