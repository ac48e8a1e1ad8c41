//! Pages that wait for the outcome of an authorization which they opened a popup for. Each is known by an unguessable id, which it
//! gives to the popup; it is told the outcome of that one authorization, once, and is gone then. Kept in memory: a page that waits
//! does so at this process, and what happens at others comes by [`super::elsewhere`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use super::{AUTHORIZATION_TTL_MS, pending};
use crate::clock::Entropy;

/// Pages that wait at the same time; more are sent away. Anybody can wait, so that this bounds what strangers can hold.
pub const WAITING_PAGES_MAX: usize = 4_096;
/// How long a page may wait without having begun an authorization, which needs a connect session.
pub const UNUSED_WAIT_MS: u64 = 60_000;
/// How long a page may wait for the authorization that it began: as long as a customer may take.
pub const WAIT_MS: u64 = AUTHORIZATION_TTL_MS.unsigned_abs();

/// How an authorization ended, for who opened the popup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Connected {
        provider_config_key: String,
        /// Empty while somebody else has to approve.
        connection_id: String,
        is_pending: bool,
    },
    Failed {
        error_type: String,
        message: String,
    },
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Mutex<BTreeMap<String, Page>>>);

struct Page {
    tell: oneshot::Sender<Outcome>,
    begun: watch::Sender<bool>,
}

/// A page's place; dropping it gives the place up.
pub struct Waiter {
    /// What the popup is to be opened with.
    pub id: String,
    /// The outcome; an error when there will be none.
    pub outcome: oneshot::Receiver<Outcome>,
    /// True from when on an authorization was begun with the id.
    pub begun: watch::Receiver<bool>,
    waiting: Waiting,
}

impl Waiting {
    /// A place to wait at; none when there are too many.
    #[must_use]
    pub fn enter(&self, entropy: &Entropy) -> Option<Waiter> {
        let id = pending::secret(entropy.bytes());
        let (tell, outcome) = oneshot::channel();
        let (begun, has_begun) = watch::channel(false);
        let mut pages = self.pages();
        if pages.len() >= WAITING_PAGES_MAX {
            return None;
        }
        pages.insert(id.clone(), Page { tell, begun });
        drop(pages);
        Some(Waiter {
            id,
            outcome,
            begun: has_begun,
            waiting: self.clone(),
        })
    }

    /// An authorization was begun for the page. Gives whether it waits here.
    pub(super) fn begun(&self, id: &str) -> bool {
        let pages = self.pages();
        let page = pages.get(id);
        if let Some(page) = page {
            page.begun.send_replace(true);
        }
        page.is_some()
    }

    /// Tells the page, if it waits here; else the outcome is given back.
    pub fn tell(&self, id: &str, outcome: Outcome) -> Option<Outcome> {
        let Some(page) = self.pages().remove(id) else {
            return Some(outcome);
        };
        // The page may just have gone.
        let _ = page.tell.send(outcome);
        None
    }

    /// Those that wait here.
    pub(super) fn ids(&self) -> Vec<String> {
        self.pages().keys().cloned().collect()
    }

    fn pages(&self) -> MutexGuard<'_, BTreeMap<String, Page>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.waiting.pages().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(message: &str) -> Outcome {
        Outcome::Failed {
            error_type: "callback_err".to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn one_page_is_told_once() {
        let (waiting, entropy) = (Waiting::default(), Entropy::system());
        let mut first = waiting.enter(&entropy).unwrap();
        let mut second = waiting.enter(&entropy).unwrap();
        assert_ne!(first.id, second.id);
        assert!(waiting.begun(&first.id) && !waiting.begun("nobody"));
        assert_eq!((*first.begun.borrow(), *second.begun.borrow()), (true, false));
        assert_eq!(waiting.tell(&first.id, failed("one")), None);
        assert_eq!(waiting.tell(&first.id, failed("two")), Some(failed("two")));
        assert_eq!(waiting.tell("nobody", failed("three")), Some(failed("three")));
        assert_eq!(first.outcome.try_recv().unwrap(), failed("one"));
        assert!(second.outcome.try_recv().is_err());
    }

    #[test]
    fn places_are_given_up() {
        let (waiting, entropy) = (Waiting::default(), Entropy::system());
        let pages: Vec<Waiter> = (0..WAITING_PAGES_MAX)
            .map(|_| waiting.enter(&entropy).unwrap())
            .collect();
        assert!(waiting.enter(&entropy).is_none());
        drop(pages);
        assert!(waiting.enter(&entropy).is_some());
    }
}
