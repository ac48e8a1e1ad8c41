//! The task that writes what was queued: in transactions of bounded size, again after a failure, and at last not at
//! all.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::queue::{Entries, Shared};
use super::{BATCH_MAX, FLUSH_INTERVAL_MS};
use crate::clock::Clock;
use crate::model::{Message, Operation, Run};
use crate::store::{Store, StoreError};

/// Waits before a batch is tried again. Meanwhile the queue fills, which is bounded.
const RETRY_AFTER_MS: [u64; 6] = [50, 200, 1_000, 2_000, 5_000, 10_000];
/// How often dropping is spoken of at most.
const DROPPED_NOTICE_INTERVAL_US: u64 = 10_000_000;

/// Runs until [`Shared::close`] and everything is written.
pub(super) async fn run(store: Store, clock: Clock, shared: Arc<Shared>) {
    let writer = Writer { store, clock, shared };
    let mut entries = Entries::default();
    let mut notice = DroppedNotice::default();
    loop {
        while writer.shared.is_idle() {
            writer.shared.woken().await;
        }
        if !writer.shared.is_urgent() {
            writer.wait_for_more().await;
        }
        let Some(taken) = writer.shared.take(&mut entries) else {
            return;
        };
        writer.write(&mut entries).await;
        entries.clear();
        writer.shared.report_written(taken);
        notice.speak(writer.shared.dropped(), writer.clock.monotonic_us());
    }
}

struct Writer {
    store: Store,
    clock: Clock,
    shared: Arc<Shared>,
}

impl Writer {
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

    async fn write(&self, entries: &mut Entries) {
        keep_last(&mut entries.operations, |operation| &operation.id);
        keep_last(&mut entries.runs, |run| &run.id);
        // Operations first: whoever sees a message or a run finds its operation.
        for operations in entries.operations.chunks(BATCH_MAX) {
            self.write_batch(Batch::Operations(operations)).await;
        }
        for messages in entries.messages.chunks(BATCH_MAX) {
            self.write_batch(Batch::Messages(messages)).await;
        }
        for runs in entries.runs.chunks(BATCH_MAX) {
            self.write_batch(Batch::Runs(runs)).await;
        }
    }

    /// Writes a batch, or in the end drops it. What the database refuses because of what it holds is looked for by
    /// halves, so that one bad entry does not take the others with it.
    async fn write_batch(&self, batch: Batch<'_>) {
        let mut open = vec![batch];
        while let Some(batch) = open.pop() {
            let Err(error) = self.try_write(batch).await else {
                continue;
            };
            match batch.halves() {
                Some((first, second)) if !error.is_transient() => open.extend([second, first]),
                Some(_) | None => {
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

    async fn try_write(&self, batch: Batch<'_>) -> Result<(), StoreError> {
        for retry_after_ms in RETRY_AFTER_MS {
            match batch.write(&self.store).await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(
                        retry_after_ms,
                        error = &error as &dyn std::error::Error,
                        "The log cannot be written, trying again in {retry_after_ms} ms"
                    );
                    self.clock.sleep(Duration::from_millis(retry_after_ms)).await;
                }
                written => return written,
            }
        }
        batch.write(&self.store).await
    }
}

#[derive(Clone, Copy)]
enum Batch<'a> {
    Operations(&'a [Operation]),
    Messages(&'a [Message]),
    Runs(&'a [Run]),
}

impl Batch<'_> {
    async fn write(self, store: &Store) -> Result<(), StoreError> {
        match self {
            Self::Operations(operations) => store.write_logs(operations, &[]).await,
            Self::Messages(messages) => store.write_logs(&[], messages).await,
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

/// Says aloud, now and then, that entries were dropped.
#[derive(Default)]
struct DroppedNotice {
    spoken_of: u64,
    spoken_at_us: Option<u64>,
}

impl DroppedNotice {
    fn speak(&mut self, dropped: u64, now_us: u64) {
        let recently = self
            .spoken_at_us
            .is_some_and(|spoken_at_us| now_us.saturating_sub(spoken_at_us) < DROPPED_NOTICE_INTERVAL_US);
        if dropped == self.spoken_of || recently {
            return;
        }
        let new = dropped - self.spoken_of;
        tracing::warn!(
            dropped = new,
            "{new} log entries were dropped: more is logged than the database takes"
        );
        self.spoken_of = dropped;
        self.spoken_at_us = Some(now_us);
    }
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

    #[test]
    fn dropping_is_spoken_of_once_an_interval() {
        let mut notice = DroppedNotice::default();
        notice.speak(5, 0);
        assert_eq!(notice.spoken_of, 5);
        notice.speak(9, DROPPED_NOTICE_INTERVAL_US - 1);
        assert_eq!(notice.spoken_of, 5);
        notice.speak(9, DROPPED_NOTICE_INTERVAL_US);
        assert_eq!(notice.spoken_of, 9);
    }
}
