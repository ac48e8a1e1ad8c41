//! What the application is told of actions that ran in the background and have ended.

use std::collections::HashMap;

use super::Parts;
use crate::model::{Connection, Webhook};
use crate::store::StoreError;

impl Parts {
    /// Makes the webhooks of actions that end in the next transaction.
    pub(super) async fn announce(
        &self,
    ) -> Result<impl Fn(&Connection, &str) -> Vec<Webhook> + Send + Sync + use<'_>, StoreError> {
        let mut plans = HashMap::new();
        for environment in self.store.environments().await? {
            let plan = self.webhooks.plan(&environment.id).await?;
            plans.insert(environment.id, plan);
        }
        Ok(move |connection: &Connection, action_id: &str| {
            let plan = plans.get(&connection.environment_id);
            plan.map(|plan| plan.async_action_ended(connection, action_id))
                .unwrap_or_default()
        })
    }
}
