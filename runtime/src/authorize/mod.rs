//! Sends customers to a provider and receives them when they come back: OAuth 2 authorization codes (RFC 6749, section 4.1) with
//! PKCE (RFC 7636), installations of apps and of plugins. MCP servers are asked first how they are logged in to, and clients of
//! theirs register themselves.
//!
//! An authorization is begun with a connect session. What its end needs is kept sealed in the database under the hash of its
//! `state`, can be taken once, and is bound to the browser by a cookie: whoever is lured into finishing somebody else's
//! authorization has not got it. Everything that counts at the end comes from that row: which integration, for whom, which
//! client. Of what comes back only the code and the values that the provider's data names are used.

mod after;
mod callback;
mod client_metadata;
mod elsewhere;
mod error;
mod installation;
mod mcp;
mod pending;
mod record;
mod registered;
mod start;
mod url;
mod waiting;

use std::sync::Arc;

use crate::clock::{Clock, Entropy};
use crate::connect::Connect;
use crate::connections::Connections;
use crate::encryption::Keyring;
use crate::logs::Logs;
use crate::oauth::OAuth;
use crate::store::{Store, StoreError};

pub use callback::{Finished, Returned};
pub use error::{Failure, FlowError};
pub use installation::{Awaited, Installed};
pub use start::{Begin, Begun};
pub use waiting::{Outcome, UNUSED_WAIT_MS, WAIT_MS, WAITING_PAGES_MAX, Waiter, Waiting};

/// How long a customer may take at the provider.
pub const AUTHORIZATION_TTL_MS: i64 = 30 * 60 * 1_000;

/// Cheap to clone.
#[derive(Clone)]
pub struct Authorize(Arc<AuthorizeParts>);

/// What it works with.
pub struct AuthorizeParts {
    pub connections: Connections,
    pub connect: Connect,
    pub oauth: OAuth,
    pub store: Store,
    pub logs: Logs,
    pub keyring: Keyring,
    pub clock: Clock,
    pub entropy: Entropy,
    /// Pages that opened popups.
    pub waiting: Waiting,
    /// Where browsers find this server, without a slash at the end.
    pub public_url: String,
    /// Where providers send customers back to.
    pub callback_url: String,
    /// Whether the end must come from the browser that began.
    pub bind_browser: bool,
    /// Whether other processes use the same database.
    pub shares_database: bool,
}

impl Authorize {
    #[must_use]
    pub fn new(parts: AuthorizeParts) -> Self {
        Self(Arc::new(parts))
    }

    /// A place for a page that will open a popup; none when there are too many.
    #[must_use]
    pub fn wait(&self) -> Option<Waiter> {
        self.0.waiting.enter(&self.0.entropy)
    }

    /// Deletes authorizations that nobody came back from in time; gives how many. To be called now and then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_ended(&self, now_ms: i64) -> Result<u64, StoreError> {
        self.0.store.delete_expired_authorizations(now_ms).await
    }
}
