//! Servers that say themselves how to log in: where an MCP server's tokens come from (RFC 9728, then RFC 8414), and clients that
//! register themselves (RFC 7591). What is found is checked before it is used, because a customer names the server: only https,
//! only addresses that the egress policy permits, no redirects, small answers, little time.
//!
//! What a connection needs of it later is in its connection_config (`discovered`), so that a refresh asks nobody where to go.

mod challenge;
mod discovered;
mod discovery;
mod error;
mod metadata;
mod places;
mod registration;

pub use discovered::{DISCOVERED_FIELDS, SERVER_FIELD};
pub(super) use discovered::{client_auth, client_info, endpoint, resource};
pub use discovery::Discovered;
pub use error::{DiscoveryError, RegistrationError};
pub use metadata::AuthorizationServer;
pub use registration::{ClientAuth, RegisteredClient, Registration};

/// All of a discovery.
pub const DISCOVERY_TIMEOUT_MS: u64 = 20_000;
/// One request of a discovery.
const REQUEST_TIMEOUT_MS: u64 = 5_000;
/// A document of a discovery.
pub const METADATA_BYTES_MAX: usize = 256 * 1024;
/// Texts of a server that are repeated, in characters.
const TOLD_CHARS_MAX: usize = 300;
/// An address that a server gives, in bytes.
const URL_BYTES_MAX: usize = 2_048;

/// What a server said, as far as it is repeated.
fn told(text: &str) -> String {
    text.chars().take(TOLD_CHARS_MAX).collect()
}
