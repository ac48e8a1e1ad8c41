//! The resource `response`: an answer of the upstream, its body kept on the host until it is read.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use wasmtime::component::Resource;

use super::bindings::nango::functions::nango::HostResponse;
use super::bindings::nango::functions::types::Pair;
use super::fault::Fault;
use super::json_pointer;
use super::sender::Held;
use super::state::GuestState;

pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    _held: Held,
}

impl Response {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, body: Bytes, held: Held) -> Self {
        Self {
            status,
            headers,
            body,
            _held: held,
        }
    }

    fn text(&self) -> Result<&str, Fault> {
        std::str::from_utf8(&self.body).map_err(|error| {
            let message = format!(
                "the body is no UTF-8 from byte {} on: read it with `bytes`",
                error.valid_up_to()
            );
            Fault::new("invalid_utf8", message)
        })
    }
}

/// Header values are bytes; what is no UTF-8 is replaced.
fn header_text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

impl HostResponse for GuestState {
    fn status(&mut self, response: Resource<Response>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&response)?.status.as_u16())
    }

    fn headers(&mut self, response: Resource<Response>) -> wasmtime::Result<Vec<Pair>> {
        let headers = &self.table.get(&response)?.headers;
        Ok(headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), header_text(value)))
            .collect())
    }

    fn header(&mut self, response: Resource<Response>, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&response)?.headers.get(&name).map(header_text))
    }

    fn text(&mut self, response: Resource<Response>) -> Result<String, Fault> {
        Ok(self.table.get(&response)?.text()?.to_owned())
    }

    fn bytes(&mut self, response: Resource<Response>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&response)?.body.to_vec())
    }

    fn json_pointer(&mut self, response: Resource<Response>, pointer: String) -> Result<Option<String>, Fault> {
        let response = self.table.get(&response)?;
        Ok(json_pointer::find(&response.body, &pointer)?.map(|value| value.get().to_owned()))
    }

    fn drop(&mut self, response: Resource<Response>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}
