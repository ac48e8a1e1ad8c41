//! Authorizations by a provider, as the API of an embedding program offers them.

use super::Runtime;
use crate::authorize::{Begin, Begun, Failure, Finished, Outcome, Returned, Waiter};
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

    /// A place at which a page can wait for the outcome of the popup that it will open; none when too many wait.
    #[must_use]
    pub fn wait_for_outcome(&self) -> Option<Waiter> {
        self.0.authorize.wait()
    }

    /// Tells the page that waits under that id how its popup ended. Whoever waits is told once; nobody else hears of it.
    pub fn tell_outcome(&self, popup_id: &str, outcome: Outcome) {
        self.0.authorize.tell(popup_id, outcome);
    }
}
