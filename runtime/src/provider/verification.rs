//! How credentials are tried: requests of which one must succeed when they are good (`proxy.verification`).

use http::Method;

use super::HeaderTemplate;
use super::template::{BodyTemplate, UrlTemplate};

/// The requests that prove credentials.
#[derive(Clone, Debug)]
pub struct VerificationSpec {
    pub method: Method,
    /// Paths below the base URL, tried in order until one is answered with 2xx. At least one.
    pub endpoints: Vec<UrlTemplate>,
    /// In the place of the base URL.
    pub base_url: Option<UrlTemplate>,
    /// Besides those of every request.
    pub headers: Vec<HeaderTemplate>,
    /// A JSON body.
    pub data: Option<BodyTemplate>,
}
