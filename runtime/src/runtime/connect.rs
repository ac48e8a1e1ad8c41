//! Connect sessions and the making of connections, as the API of an embedding program offers them.

use super::Runtime;
use crate::connect::{CreateError, Created, Creator, NewConnectSession, OpenSession, SessionError};
use crate::connections::{ConnectionsError, NewConnection};
use crate::model::{ConnectSession, EnvironmentId};
use crate::store::StoreError;

impl Runtime {
    /// Opens a session in which a browser may make connections. Callers that are limited to integrations or connections must
    /// have been asked with [`super::Caller::connect_session`].
    ///
    /// # Errors
    /// [`ConnectionsError`]: a field that does not fit, an integration or connection that is not there.
    pub async fn open_connect_session(
        &self,
        environment: &EnvironmentId,
        new: OpenSession,
    ) -> Result<NewConnectSession, ConnectionsError> {
        self.0.connect.open(environment, new).await
    }

    /// The session that a token opens.
    ///
    /// # Errors
    /// [`SessionError`]: no token, or the session has ended.
    pub async fn connect_session(&self, token: &str) -> Result<ConnectSession, SessionError> {
        self.0.connect.session(token).await
    }

    /// Ends a session at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_connect_session(&self, session: &ConnectSession) -> Result<(), StoreError> {
        self.0.connect.end(session).await
    }

    /// Creates a connection, or overwrites the one of that id, in somebody's name. See [`crate::connect::Connect::create`].
    ///
    /// # Errors
    /// [`CreateError`]. Nothing is stored then.
    pub async fn create_connection(&self, by: Creator, new: NewConnection) -> Result<Created, CreateError> {
        let created = self.0.connect.create(by, new).await?;
        self.connection_made();
        Ok(created)
    }

    /// It has syncs now, and functions may be queued for it.
    pub(super) fn connection_made(&self) {
        self.0.scheduler.wake();
        self.0.actions.wake();
    }

    /// Where a browser begins with a session: the connect page.
    #[must_use]
    pub fn connect_link(&self, session: &NewConnectSession) -> String {
        let base = self.0.config.public_base_url();
        format!("{base}/connect?session_token={}", session.token.expose())
    }
}
