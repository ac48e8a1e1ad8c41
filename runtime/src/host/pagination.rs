//! The interface `pagination`: what the provider's data says of its lists. Pages are followed by the guest, so that each of their
//! requests is one like any other.

use serde_json::Value;

use super::bindings::nango::functions::pagination::Host;
use super::connection::target;
use super::fault::Fault;
use super::state::{GuestState, Services};

const DEFAULTS: &str = "pagination.defaults";

impl Host for GuestState {
    async fn defaults(&mut self) -> Result<Option<String>, Fault> {
        let run = self.run(DEFAULTS)?;
        let live = async |services: &Services| {
            let target = target(services, run.ctx()).await?;
            let spec = target.provider.proxy.as_ref().and_then(|spec| spec.paginate.as_ref());
            Ok(spec.map(ToString::to_string))
        };
        // A fixture that was written by hand says nothing of the provider's lists, which is allowed.
        run.reach
            .ask(DEFAULTS, || Value::Null, live, |_, found| found.or(Some(None)))
            .await
    }
}
