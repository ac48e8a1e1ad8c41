//! The interface `pagination`: what the provider's data says of its lists. Pages are followed by the guest, so that each of their
//! requests is one like any other.

use super::bindings::nango::functions::pagination::Host;
use super::fault::Fault;
use super::state::GuestState;

impl Host for GuestState {
    async fn defaults(&mut self) -> Result<Option<String>, Fault> {
        let target = self.target("pagination").await?;
        let spec = target.provider.proxy.as_ref().and_then(|spec| spec.paginate.as_ref());
        Ok(spec.map(ToString::to_string))
    }
}
