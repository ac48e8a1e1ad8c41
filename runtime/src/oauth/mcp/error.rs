//! Why a server's way to log in is not found or not taken, and why there is no client. Messages are read by whoever set the
//! integration up, and by the customer who typed the address.

use super::super::client::FetchError;
use crate::egress::EgressDenied;

/// Why it is not known, or not accepted, how a server wants to be logged in to.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    #[error("{what} {given:?} cannot be used: {reason}")]
    Address {
        what: &'static str,
        given: String,
        reason: &'static str,
    },
    #[error(transparent)]
    EgressDenied(EgressDenied),
    #[error("the server did not say how to log in within {timeout_ms} ms")]
    Timeout { timeout_ms: u64 },
    #[error("{url:?} could not be read: {}", chain(source))]
    Fetch { url: String, source: FetchError },
    #[error("nothing says how to log in to {server:?}; asked were {tried}")]
    NotFound { server: String, tried: String },
    #[error("{url:?} is not as expected: {reason}")]
    Malformed { url: String, reason: String },
    #[error("{url:?} is about {given:?}, which is not the server {server:?}; tokens for it must not be sent there")]
    Resource { url: String, given: String, server: String },
    #[error("{url:?} says that its issuer is {given:?}, and should be of {expected:?}")]
    Issuer {
        url: String,
        given: String,
        expected: String,
    },
    #[error(
        "the authorization server {issuer:?} does not say that it knows PKCE with S256, without which codes could be stolen; \
         it must list it in `code_challenge_methods_supported`"
    )]
    NoPkce { issuer: String },
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    #[error("`registration_url` of the provider cannot be used: {reason}")]
    Url { reason: String },
    #[error("the registration endpoint at {host:?} could not be asked: {}", chain(source))]
    Fetch { host: String, source: FetchError },
    #[error("the registration endpoint at {host:?} redirects; clients are not registered elsewhere")]
    Redirect { host: String },
    #[error("the registration endpoint at {host:?} registers no client: it answered {status}{}", reason(error.as_deref(), description.as_deref()))]
    Refused {
        host: String,
        status: u16,
        error: Option<String>,
        description: Option<String>,
    },
    #[error("the registration endpoint at {host:?} gave no usable client: {reason}")]
    Malformed { host: String, reason: String },
    #[error("somebody else has been registering the client for {waited_ms} ms; try again")]
    Busy { waited_ms: u64 },
    #[error("the registration ended without a result; the runtime's log says why")]
    Broken,
}

/// `: invalid_redirect_uri (…)`
fn reason(error: Option<&str>, description: Option<&str>) -> String {
    match (error, description) {
        (Some(error), Some(description)) => format!(": {error} ({description})"),
        (Some(text), None) | (None, Some(text)) => format!(": {text}"),
        (None, None) => String::new(),
    }
}

/// With the causes, which is where the system's own words are.
pub(super) fn chain(error: &FetchError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
