//! The catalogue of providers, as data in the schema of Nango's `providers.yaml`. Differences between providers are data:
//! nothing here or elsewhere asks for a provider's name. What a key means is up to whom it concerns: here only `auth_mode`,
//! `proxy`, `revocation` and `webhook` are understood, everything else is kept as it is.

mod auth_mode;
mod entry;
mod header;
mod in_body;
mod load;
mod paginate;
mod revocation;
mod shipped;
pub mod template;
mod verification;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use template::{BodyTemplate, Template, UrlTemplate};

pub use auth_mode::{AuthMode, ClientRegistration, SignatureMethod};
pub use header::HeaderTemplate;
pub use in_body::{InBody, WaitStrategy};
pub use load::{CatalogueError, FILE_BYTES_MAX};
pub use paginate::{OffsetCalculation, PaginateKind, PaginateSpec};
pub use revocation::{ClientProof, ParameterFormat, RevocationSpec, RevokedToken};
pub use verification::VerificationSpec;
pub use webhook::{
    ConnectionRule, Handshake, HandshakeAnswer, HashAlgorithm, HmacScheme, InstallationRule, PathStep, Place, Scheme,
    SecretEncoding, SecretSource, SignatureEncoding, SignedPart, TimestampPlace, TimestampRule, TimestampUnit,
    WebhookSpec, WebhookVerification,
};

/// All providers known to this installation, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    pub providers: BTreeMap<String, Arc<Provider>>,
}

/// One provider.
#[derive(Clone, Debug)]
pub struct Provider {
    pub name: String,
    pub display_name: String,
    pub auth_mode: AuthMode,
    /// How OAuth 1.0a requests are signed.
    pub signature_method: SignatureMethod,
    /// How it gets to know clients of the mode MCP_OAUTH2.
    pub client_registration: ClientRegistration,
    /// How requests to its API are made; none for providers without an API of their own.
    pub proxy: Option<ProxySpec>,
    /// How tokens are revoked; none where nobody says.
    pub revocation: Option<RevocationSpec>,
    /// How its webhooks are received; none where they are not.
    pub webhook: Option<WebhookSpec>,
    /// The whole entry as JSON with its `name`, aliases resolved, for `GET /providers/:provider`.
    pub json: Value,
}

/// How requests to a provider's API are made. Templates (see [`template`]) were parsed when the catalogue was loaded.
#[derive(Clone, Debug, Default)]
pub struct ProxySpec {
    pub base_url: Option<UrlTemplate>,
    pub headers: Vec<HeaderTemplate>,
    pub query: Vec<(String, Template)>,
    /// Merged into the bodies of requests.
    pub body: Option<BodyTemplate>,
    pub retry: RetrySpec,
    /// How lists come page by page, for the functions that ask for all pages.
    pub paginate: Option<PaginateSpec>,
    /// Whose the rate limit is (`rate_limit.scope`).
    pub rate_limit: RateLimitScope,
    pub decompress: bool,
    pub forward_headers_on_redirect: bool,
    /// How credentials are tried when a connection is made.
    pub verification: Option<VerificationSpec>,
}

/// What a provider says of its rate limits: names of response headers, in lower case.
#[derive(Clone, Debug, Default)]
pub struct RetrySpec {
    /// Headers holding the time to retry at (epoch seconds or milliseconds, or a date).
    pub at: Vec<String>,
    /// Headers holding seconds (or an HTTP date) to wait.
    pub after: Vec<String>,
    /// The header that says `0` when the budget is used up.
    pub remaining: Option<String>,
    /// Status codes to retry instead of the usual ones: `403`, `5xx`, `500-502`.
    pub error_code: Vec<String>,
    /// Where an error's body tells how long to wait, for answers whose headers do not.
    pub in_body: Option<InBody>,
}

/// Whose a rate limit is: who shares it waits in one line. A key of ours, not in Nango's schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateLimitScope {
    /// Each connection has its own.
    #[default]
    Connection,
    /// The application has it: all connections of an integration share it.
    Integration,
    /// Every endpoint has its own, so that nothing can be learned for the connection: nobody waits in line, each call
    /// retries for itself.
    None,
}

impl Catalogue {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.get(name)
    }
}

impl ProxySpec {
    /// The provider's own template of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&HeaderTemplate> {
        self.headers.iter().find(|header| header.name == name)
    }
}

impl Provider {
    /// The auth mode as the entry spells it, for messages: `OAUTH2`, `TWO_STEP` …
    #[must_use]
    pub fn auth_mode_name(&self) -> &str {
        self.json.get("auth_mode").and_then(Value::as_str).unwrap_or_default()
    }

    /// The rules of the fields below `section` (`connection_config`, `integration_config`, `credentials`), by field. Each
    /// is an object with `type`, `pattern`, `format`, `enum`, `optional` and the like.
    pub fn fields(&self, section: &str) -> impl Iterator<Item = (&str, &Value)> {
        let fields = self.json.get(section).and_then(Value::as_object);
        fields.into_iter().flatten().map(|(name, rules)| (name.as_str(), rules))
    }

    /// What an integration asks for when nobody says which scopes.
    #[must_use]
    pub fn default_scopes(&self) -> Vec<&str> {
        let scopes = self.json.get("default_scopes").and_then(Value::as_array);
        scopes.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// The provider of an entry, for tests of other parts.
#[cfg(test)]
pub(crate) fn of_entry(json: Value) -> Provider {
    entry::provider("testing", json).unwrap()
}

#[cfg(test)]
mod tests {
    /// An error with its causes, as the command line prints it.
    pub(super) fn chain(error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
