//! What a run did so far: noted by the run as it goes, read by whoever tells others how it goes. In the memory of one process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Counts;

/// Cheap to clone: all clones are of one run.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// By model.
    counts: Mutex<BTreeMap<String, Counts>>,
    pages: AtomicU64,
    requests: AtomicU64,
    /// Of these requests, those that have no answer yet.
    unanswered: AtomicU64,
}

/// One look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// What became of records, by model.
    pub counts: BTreeMap<String, Counts>,
    /// Calls by which records were saved, updated or deleted.
    pub pages: u64,
    /// Requests that were begun.
    pub requests: u64,
    /// Whether one of them has no answer yet.
    pub is_asking: bool,
}

impl Progress {
    /// A call wrote records.
    pub fn add(&self, model: &str, counts: Counts) {
        self.0.pages.fetch_add(1, Ordering::Relaxed);
        let mut all = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(model.to_owned()).or_default() += counts;
    }

    /// A request begins; it has ended when what is given is dropped.
    #[must_use]
    pub fn ask(&self) -> Asking {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.unanswered.fetch_add(1, Ordering::Relaxed);
        Asking(Arc::clone(&self.0))
    }

    #[must_use]
    pub fn so_far(&self) -> SoFar {
        SoFar {
            counts: self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            pages: self.0.pages.load(Ordering::Relaxed),
            requests: self.0.requests.load(Ordering::Relaxed),
            is_asking: self.0.unanswered.load(Ordering::Relaxed) > 0,
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub struct Asking(Arc<State>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_shows_what_was_noted() {
        let progress = Progress::default();
        assert_eq!(progress.so_far(), SoFar::default());
        let noted = progress.clone();
        let asking = noted.ask();
        let counts = Counts {
            added: 2,
            unchanged: 1,
            ..Counts::default()
        };
        noted.add("Issue", counts);
        noted.add("Issue", counts);
        let so_far = progress.so_far();
        assert_eq!((so_far.pages, so_far.requests, so_far.is_asking), (2, 1, true));
        assert_eq!(so_far.counts["Issue"].added, 4);
        drop(asking);
        assert!(!progress.so_far().is_asking);
    }
}
