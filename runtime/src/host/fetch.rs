//! The interface `fetch`: requests to any public host, without credentials.

use wasmtime::component::Resource;

use super::bindings::nango::functions::fetch::{Host, Request};
use super::fault::Fault;
use super::request;
use super::response::Response;
use super::state::GuestState;
use crate::recording::import;

impl Host for GuestState {
    async fn send(&mut self, request: Request) -> Result<Resource<Response>, Fault> {
        let request = request::convert_fetch(request)?;
        self.log.announce();
        let response = self.run(import::FETCH)?.sender.fetch(request).await?;
        Ok(self.table.push(response)?)
    }
}
