//! The interface `webhook`: where the provider's webhooks are received.

use serde_json::Value;

use super::bindings::nango::functions::webhook::Host;
use super::connection::target;
use super::fault::Fault;
use super::state::{GuestState, Services};

const URL: &str = "webhook.get-webhook-url";

impl Host for GuestState {
    async fn get_webhook_url(&mut self) -> Result<Option<String>, Fault> {
        let run = self.run(URL)?;
        let live = async |services: &Services| {
            let target = target(services, run.ctx()).await?;
            let Some(spec) = &target.provider.webhook else {
                return Ok(None);
            };
            let url = target.integration.webhook_url(&services.public_url);
            if !spec.is_by_connection() {
                return Ok(Some(url));
            }
            // Also in a dry run, whose request to the provider is for real.
            let address = services.connections.webhook_address(&target.connection).await?;
            Ok(Some(format!("{url}/{}", address.token.expose())))
        };
        // A fixture that was written by hand may say nothing of it.
        run.reach
            .ask(URL, || Value::Null, live, |_, found| found.or(Some(None)))
            .await
    }
}
