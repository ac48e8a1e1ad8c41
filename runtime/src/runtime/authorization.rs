//! Authorizations by a provider, as the API of an embedding program offers them.

use super::Runtime;
use crate::authorize::{Awaited, Begin, Begun, Failure, Finished, FlowError, Outcome, Returned, Waiter};
use crate::model::{ConnectSession, EnvironmentId, JsonObject};

impl Runtime {
    /// Begins an authorization: gives where to send the browser. See [`crate::authorize::Authorize::start`].
    ///
    /// # Errors
    /// [`Failure`]: what is not configured, or does not fit.
    pub async fn begin_authorization(&self, session: ConnectSession, begin: Begin) -> Result<Begun, Failure> {
        self.0.authorize.start(session, begin).await
    }

    /// Notes that a customer is about to install an integration's app at the provider. See
    /// [`crate::authorize::Authorize::await_installation`].
    ///
    /// # Errors
    /// [`FlowError`]: nobody is awaited then.
    pub async fn await_installation(&self, session: ConnectSession, begin: Begin) -> Result<Awaited, FlowError> {
        self.0.authorize.await_installation(session, begin).await
    }

    /// Finishes an authorization with what the browser came back with. See [`crate::authorize::Authorize::finish`].
    ///
    /// # Errors
    /// [`Failure`]: no connection is made then.
    pub async fn finish_authorization(&self, returned: &Returned<'_>) -> Result<Finished, Failure> {
        let finished = self.0.authorize.finish(returned).await?;
        self.connection_made();
        Ok(finished)
    }

    /// A place at which a page can wait for the outcome of the popup that it will open; none when too many wait.
    #[must_use]
    pub fn wait_for_outcome(&self) -> Option<Waiter> {
        self.0.authorize.wait()
    }

    /// Tells the page that waits under that id how its popup ended. Whoever waits is told once; nobody else hears of it.
    /// At another process he is told within a second, when the environment of the authorization is known.
    pub async fn tell_outcome(&self, popup_id: &str, environment_id: Option<&EnvironmentId>, outcome: Outcome) {
        self.0.authorize.tell(popup_id, environment_id, outcome).await;
    }

    /// What an integration's OAuth client says of itself, for authorization servers that read it. See
    /// [`crate::authorize::Authorize::client_metadata`].
    ///
    /// # Errors
    /// When the integration cannot be read.
    pub async fn client_metadata(
        &self,
        environment_id: &str,
        provider_config_key: &str,
    ) -> Result<Option<JsonObject>, FlowError> {
        let environment_id = EnvironmentId::from(environment_id);
        self.0
            .authorize
            .client_metadata(&environment_id, provider_config_key)
            .await
    }
}
