//! How connections come to be, and the sessions in which browsers may make them.
//!
//! A customer's back end opens a session and hands its token to a browser: the token opens what the session names, for half an
//! hour, and nothing else of the API.

mod create;
mod daily;
mod error;
mod input;
mod record;
mod session;
#[cfg(test)]
mod tests;
mod validation;

use std::sync::Arc;

use crate::clock::{Clock, Entropy};
use crate::connections::Connections;
use crate::encryption::Keyring;
use crate::logs::Logs;
use crate::oauth::OAuth;
use crate::proxy::Proxy;
use crate::store::Store;
use crate::webhooks::Webhooks;

pub use create::{Created, Creator};
pub use error::{CreateError, SessionError};
pub use input::{NewConnectSession, OpenSession};
pub use session::{SESSION_BYTES_MAX, SESSION_TTL_MS, TOKEN_PREFIX};
pub use validation::{Refusal, Validation, Validator, validator};

/// Cheap to clone.
#[derive(Clone)]
pub struct Connect(Arc<Parts>);

struct Parts {
    connections: Connections,
    oauth: OAuth,
    proxy: Proxy,
    logs: Logs,
    store: Store,
    webhooks: Webhooks,
    verify: bool,
    validator: Validator,
    on_event_ms_max: i64,
    keyring: Keyring,
    clock: Clock,
    entropy: Entropy,
}

/// What it works with.
pub struct ConnectParts {
    pub connections: Connections,
    pub oauth: OAuth,
    pub proxy: Proxy,
    pub logs: Logs,
    pub store: Store,
    pub webhooks: Webhooks,
    /// Whether credentials are tried before a connection is stored.
    pub verify: bool,
    /// Asks functions about connections before they count.
    pub validator: Validator,
    /// How long one of them may take, waiting for its turn included.
    pub on_event_ms_max: i64,
    pub keyring: Keyring,
    pub clock: Clock,
    pub entropy: Entropy,
}

impl Connect {
    #[must_use]
    pub fn new(parts: ConnectParts) -> Self {
        Self(Arc::new(Parts {
            connections: parts.connections,
            oauth: parts.oauth,
            proxy: parts.proxy,
            logs: parts.logs,
            store: parts.store,
            webhooks: parts.webhooks,
            verify: parts.verify,
            validator: parts.validator,
            on_event_ms_max: parts.on_event_ms_max,
            keyring: parts.keyring,
            clock: parts.clock,
            entropy: parts.entropy,
        }))
    }
}
