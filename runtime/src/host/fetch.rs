//! The interface `fetch`: requests to the public hosts that the function declares, without credentials.

use wasmtime::component::Resource;

use super::bindings::nango::functions::fetch::{Host, Request};
use super::fault::Fault;
use super::request;
use super::response::Response;
use super::state::GuestState;
use crate::recording::import;

impl Host for GuestState {
    async fn send(&mut self, request: Request) -> Result<Resource<Response>, Fault> {
        self.log.announce();
        let run = self.run(import::FETCH)?;
        let request = request::convert_fetch(request, run.manifest.fetch.clone())?;
        let response = run.sender.fetch(request).await?;
        Ok(self.table.push(response)?)
    }
}
