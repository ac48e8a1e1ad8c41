//! The interface `nango`: requests to the provider's API.

use futures_util::{StreamExt, stream};
use http::Method;
use wasmtime::component::Resource;

use super::bindings::nango::functions::nango::{Host, HostPending, Request};
use super::bindings::nango::functions::types::Error;
use super::fault::Fault;
use super::request;
use super::response::Response;
use super::sender::{BATCH_IN_FLIGHT_MAX, BATCH_REQUESTS_MAX, Pending};
use super::state::GuestState;

impl GuestState {
    async fn send(&mut self, method: Method, request: Request) -> Result<Resource<Response>, Fault> {
        let request = request::convert(method, request)?;
        self.log.announce();
        let response = self.run("nango")?.sender.send(request).await?;
        Ok(self.table.push(response)?)
    }
}

impl Host for GuestState {
    async fn get(&mut self, request: Request) -> Result<Resource<Response>, Fault> {
        self.send(Method::GET, request).await
    }

    async fn post(&mut self, request: Request) -> Result<Resource<Response>, Fault> {
        self.send(Method::POST, request).await
    }

    async fn put(&mut self, request: Request) -> Result<Resource<Response>, Fault> {
        self.send(Method::PUT, request).await
    }

    async fn patch(&mut self, request: Request) -> Result<Resource<Response>, Fault> {
        self.send(Method::PATCH, request).await
    }

    async fn delete(&mut self, request: Request) -> Result<Resource<Response>, Fault> {
        self.send(Method::DELETE, request).await
    }

    async fn proxy(&mut self, method: String, request: Request) -> Result<Resource<Response>, Fault> {
        self.send(request::method(&method)?, request).await
    }

    async fn batch(
        &mut self,
        requests: Vec<(String, Request)>,
        max_in_flight: u32,
    ) -> wasmtime::Result<Vec<Result<Resource<Response>, Error>>> {
        if requests.len() > BATCH_REQUESTS_MAX {
            wasmtime::bail!(
                "a batch of {} requests: at most {BATCH_REQUESTS_MAX} are allowed",
                requests.len()
            );
        }
        self.log.announce();
        let sender = match self.run("nango.batch") {
            Ok(run) => &run.sender,
            Err(fault) => return Err(trap_of(fault)),
        };
        // The guest's number is a wish: never less than one, never more than the host allows.
        let in_flight = usize::try_from(max_in_flight)
            .unwrap_or(usize::MAX)
            .clamp(1, BATCH_IN_FLIGHT_MAX);
        let answers: Vec<Result<Response, Fault>> =
            stream::iter(requests)
                .map(|(method, request)| async move {
                    sender.send(request::convert(request::method(&method)?, request)?).await
                })
                .buffered(in_flight)
                .collect()
                .await;
        answers
            .into_iter()
            .map(|answer| {
                let pushed = answer.and_then(|response| Ok(self.table.push(response)?));
                match pushed {
                    Ok(response) => Ok(Ok(response)),
                    Err(fault) => Ok(Err(fault.into_error()?)),
                }
            })
            .collect()
    }

    fn start(&mut self, method: String, request: Request) -> wasmtime::Result<Resource<Pending>> {
        self.log.announce();
        let sender = match self.run("nango.start") {
            Ok(run) => &run.sender,
            Err(fault) => return Err(trap_of(fault)),
        };
        let request = request::method(&method).and_then(|method| request::convert(method, request));
        let pending = match request {
            Ok(request) => sender.start(request),
            Err(fault) => Pending::Refused(fault),
        };
        Ok(self.table.push(pending)?)
    }
}

impl HostPending for GuestState {
    async fn wait(&mut self, pending: Resource<Pending>) -> Result<Resource<Response>, Fault> {
        let request = self.table.get_mut(&pending)?.take()?;
        let response = request.await?;
        Ok(self.table.push(response)?)
    }

    fn drop(&mut self, pending: Resource<Pending>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}

/// For calls whose signature has no place for an error.
fn trap_of(fault: Fault) -> wasmtime::Error {
    match fault.into_error() {
        Ok(error) => wasmtime::Error::msg(format!("{}: {}", error.code, error.message)),
        Err(trap) => trap,
    }
}
