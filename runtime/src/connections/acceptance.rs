//! Connections that functions are asked about before they count: taken, or refused. Who asks them is for others.

use std::sync::Arc;

use super::{Connections, ConnectionsError, Target};
use crate::model::{Connection, Made, RefreshFailure, Webhook};
use crate::store::Consequences;

impl Connections {
    /// It counts from here on; what `announce` makes of it is written with that. Gives it as it is now: the functions may have changed
    /// it. None when it was overwritten or deleted meanwhile.
    pub async fn accept(
        &self,
        target: &Target,
        announce: impl FnOnce(&Connection, Made) -> Consequences + Send,
    ) -> Result<Option<(Arc<Target>, Made)>, ConnectionsError> {
        let connection = &target.connection;
        let Some(made) = self.0.store.end_validation(connection, announce).await? else {
            return Ok(None);
        };
        self.forget(connection);
        let now = self
            .target(
                &connection.environment_id,
                &connection.provider_config_key,
                &connection.connection_id,
            )
            .await?;
        Ok(Some((now, made)))
    }

    /// One that is new is removed; another one has the `failure` from here on. None when it was overwritten or deleted meanwhile.
    pub async fn refuse(
        &self,
        connection: &Connection,
        failure: &RefreshFailure,
        announce: impl FnOnce(Made) -> Vec<Webhook> + Send,
    ) -> Result<Option<Made>, ConnectionsError> {
        let refused = self.0.store.fail_validation(connection, failure, announce).await;
        self.forget(connection);
        Ok(refused?)
    }

    /// Those whose functions have not answered by then, at most `limit`: who asked them is dead.
    pub async fn lost_validations(&self, now_ms: i64, limit: i64) -> Result<Vec<Connection>, ConnectionsError> {
        Ok(self.0.store.lost_validations(now_ms, limit).await?)
    }
}
