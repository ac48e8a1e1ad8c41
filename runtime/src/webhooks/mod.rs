//! Webhooks to the customer's application: what is announced, to which addresses, and having it sent.
//!
//! Whoever changes something that is to be announced asks for a [`Plan`], which knows what the environment wants to hear of, and
//! writes the rows that it gives in the transaction of the change. [`Webhooks::tick`] sends them, and what is written is sent in the
//! end or becomes a dead letter, whatever happens to processes. A receiver may get a webhook twice, with the same body and the same
//! `X-Nango-Webhook-Id`: when it answered and the process died before that was written down.

mod answer;
mod body;
mod client;
mod content;
mod error;
mod keys;
mod letters;
mod plan;
mod record;
mod sender;
mod settings;
mod sign;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, Semaphore};

use crate::clock::{Clock, Entropy};
use crate::encryption::Keyring;
use crate::logs::Logs;
use crate::store::Store;
use client::Sender;

pub use body::{AuthOperation, Checkpoints, Failure, SyncEnd, SyncType};
pub use content::forwarded_headers;
pub use error::{SetupError, WebhooksError};
pub use keys::{ACTIVATE_IN_S_MAX, SIGNING_KEY_CHARS_MAX, SIGNING_KEY_CHARS_MIN, SigningKeys};
pub use letters::WebhookPage;
pub use plan::Plan;
pub use sender::{LEASE_MS, SENDS_MAX, URL_SENDS_MAX};

/// What may be set about sending.
#[derive(Clone, Copy, Debug)]
pub struct WebhookOptions {
    /// Attempts before a webhook becomes a dead letter.
    pub attempts_max: u32,
    /// From the first attempt to connect to the last byte of the answer.
    pub timeout_ms: u64,
    /// Webhooks of one environment that wait, and as many dead letters.
    pub queue_max: u32,
    /// How long dead letters are kept.
    pub retention_days: u32,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Webhooks(Arc<Parts>);

struct Parts {
    store: Store,
    keyring: Keyring,
    logs: Logs,
    clock: Clock,
    entropy: Entropy,
    client: Sender,
    options: WebhookOptions,
    wake: Notify,
    /// One permit for each webhook this process may have on its way; all of them free means idle.
    slots: Arc<Semaphore>,
    /// Those on their way, by address. A std lock: held for one look-up and never across an await.
    under_way: Mutex<HashMap<String, usize>>,
}

/// What it works with.
pub struct WebhookParts {
    pub store: Store,
    pub keyring: Keyring,
    pub logs: Logs,
    pub clock: Clock,
    pub entropy: Entropy,
    pub egress_allow: Vec<ipnet::IpNet>,
    pub options: WebhookOptions,
}

impl Webhooks {
    /// # Errors
    /// [`SetupError`] when the HTTP client cannot be set up.
    pub fn new(parts: WebhookParts) -> Result<Self, SetupError> {
        Ok(Self(Arc::new(Parts {
            client: Sender::new(parts.egress_allow, parts.options.timeout_ms)?,
            store: parts.store,
            keyring: parts.keyring,
            logs: parts.logs,
            clock: parts.clock,
            entropy: parts.entropy,
            options: parts.options,
            wake: Notify::new(),
            slots: Arc::new(Semaphore::new(SENDS_MAX)),
            under_way: Mutex::default(),
        })))
    }

    /// Says that webhooks were written.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }
}
