//! What a connection shows of itself within TLS.

use serde_json::Value;

use super::Target;
use crate::credentials::{ClientIdentity, IdentityError};

impl Target {
    /// The client certificate that goes with its requests, to token endpoints and to APIs; none for most. A provider whose data says
    /// `require_client_certificate` needs one.
    ///
    /// # Errors
    /// [`IdentityError::Missing`].
    pub fn client_identity(&self) -> Result<Option<ClientIdentity<'_>>, IdentityError> {
        let is_needed = self.provider.json.get("require_client_certificate");
        let is_needed = is_needed.and_then(Value::as_bool).unwrap_or(false);
        self.credentials.client_identity(is_needed)
    }
}
