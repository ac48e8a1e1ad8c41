//! The interface `integration`: what everybody may know of the run's integration. Its secrets are not among it.

use serde_json::{Value, json};

use super::bindings::nango::functions::integration::Host;
use super::connection::target;
use super::connection_details::moment;
use super::fault::Fault;
use super::state::{GuestState, Services};
use crate::connections::Target;

const GET: &str = "integration.get";

impl Host for GuestState {
    async fn get(&mut self) -> Result<String, Fault> {
        let run = self.run(GET)?;
        let live = async |services: &Services| {
            let target = target(services, run.ctx()).await?;
            Ok(public(&target).to_string())
        };
        run.reach.ask(GET, || Value::Null, live, |_, found| found).await
    }
}

/// As `GET /integrations/:key` shows it without `include`.
fn public(target: &Target) -> Value {
    let integration = &target.integration;
    json!({
        "unique_key": integration.unique_key,
        "provider": integration.provider,
        "display_name": integration.display_name,
        "logo": target.provider.json.get("logo_url"),
        "forward_webhooks": integration.forward_webhooks,
        "created_at": moment(integration.created_at_ms),
        "updated_at": moment(integration.updated_at_ms),
    })
}
