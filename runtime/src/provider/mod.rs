//! The catalogue of providers, as data in the schema of Nango's `providers.yaml`.

pub mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// How requests to its API are made; none for providers without an API of their own.
    pub proxy: Option<ProxySpec>,
    /// The whole entry as JSON, for `GET /providers/:provider`.
    pub json: serde_json::Value,
}

/// How requests to a provider's API are made. Strings are templates, see [`template`].
#[derive(Clone, Debug, Default)]
pub struct ProxySpec {
    pub base_url: Option<String>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
    pub retry: RetrySpec,
    pub decompress: bool,
    pub forward_headers_on_redirect: bool,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    ApiKey,
    Basic,
    OAuth2,
    None,
    /// A mode whose connections cannot be made yet; its entries still load.
    Unsupported,
}

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("the provider file {path} cannot be read")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

impl Catalogue {
    /// The providers that ship with the binary, with those of `files` added or put in their place.
    pub fn load(_files: &[std::path::PathBuf]) -> Result<Self, CatalogueError> {
        todo!()
    }
}
