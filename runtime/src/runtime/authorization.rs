//! Authorizations by a provider, as the API of an embedding program offers them.

use super::Runtime;
use crate::authorize::{Begin, Begun, Failure, Finished, Returned};
use crate::model::ConnectSession;

impl Runtime {
    /// Begins an authorization: gives where to send the browser. See [`crate::authorize::Authorize::start`].
    ///
    /// # Errors
    /// [`Failure`]: what is not configured, or does not fit.
    pub async fn begin_authorization(&self, session: ConnectSession, begin: Begin) -> Result<Begun, Failure> {
        self.0.authorize.start(session, begin).await
    }

    /// Finishes an authorization with what the browser came back with. See [`crate::authorize::Authorize::finish`].
    ///
    /// # Errors
    /// [`Failure`]: no connection is made then.
    pub async fn finish_authorization(&self, returned: &Returned<'_>) -> Result<Finished, Failure> {
        self.0.authorize.finish(returned).await
    }
}
