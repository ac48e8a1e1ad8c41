//! Providers' webhooks: taken in when they are genuine, kept, handled by the syncs that subscribe to them, and passed on to the
//! application. An installation that begins at the provider becomes a connection.
//!
//! [`Ingress::receive`] checks, finds the connections and writes a row for each run and for each address of the application in one
//! transaction; then the provider is answered. What a provider does is its data ([`crate::provider::WebhookSpec`]). [`Ingress::tick`] runs
//! what is queued: at least once, one after the other for each connection and function.

mod error;
mod handshake;
mod matching;
mod pace;
mod receive;
mod request;
mod runs;
mod verify;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::authorize::Authorize;
use crate::claimer::Claimer;
use crate::clock::{Clock, Entropy};
use crate::config::Limits;
use crate::connections::Connections;
use crate::encryption::Keyring;
use crate::executor::Executor;
use crate::logs::Logs;
use crate::store::Store;
use crate::webhooks::Webhooks;
use matching::Indexes;
use pace::Pace;

pub use error::IngressError;
pub use handshake::Reply;
pub use matching::MATCHES_MAX;
pub use receive::subscribes;
pub use request::Incoming;
pub use runs::MAINTENANCE_INTERVAL_MS;
use runs::POLL_INTERVAL_MS;

/// Cheap to clone.
#[derive(Clone)]
pub struct Ingress(Arc<Parts>);

struct Parts {
    store: Store,
    executor: Executor,
    connections: Connections,
    authorize: Authorize,
    keyring: Keyring,
    webhooks: Webhooks,
    logs: Logs,
    clock: Clock,
    entropy: Entropy,
    environment_name: Arc<str>,
    /// The server as providers see it, without a slash at the end.
    public_url: String,
    limits: Limits,
    indexes: Indexes,
    pace: Pace,
    /// Of the runs that this process has queued.
    numbers: AtomicU32,
    /// With a slot for each run this process may have going.
    claimer: Arc<Claimer>,
}

/// What it works with.
pub struct IngressParts {
    pub store: Store,
    pub executor: Executor,
    pub connections: Connections,
    pub authorize: Authorize,
    pub keyring: Keyring,
    pub webhooks: Webhooks,
    pub logs: Logs,
    pub clock: Clock,
    pub entropy: Entropy,
    pub environment_name: Arc<str>,
    pub public_url: String,
    pub limits: Limits,
}

impl Ingress {
    #[must_use]
    pub fn new(parts: IngressParts) -> Self {
        Self(Arc::new(Parts {
            store: parts.store,
            executor: parts.executor,
            connections: parts.connections,
            authorize: parts.authorize,
            keyring: parts.keyring,
            webhooks: parts.webhooks,
            logs: parts.logs,
            claimer: Claimer::new(
                parts.clock.clone(),
                parts.limits.concurrent_webhook_runs,
                POLL_INTERVAL_MS,
            ),
            clock: parts.clock,
            entropy: parts.entropy,
            environment_name: parts.environment_name,
            public_url: parts.public_url,
            limits: parts.limits,
            indexes: Indexes::default(),
            pace: Pace::default(),
            numbers: AtomicU32::new(0),
        }))
    }
}
