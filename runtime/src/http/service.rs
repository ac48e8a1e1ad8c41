//! One request of a connection. The two routes that nearly all requests are for go straight to their handlers: on the way through
//! the router, with its layers and their boxed futures, they would spend more than in the handler of many a server. All others
//! take the router, as all do where it is mounted in somebody else's server.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::handler::Handler;
use axum::response::Response;
use http::{Method, Request};
use hyper::body::Incoming;
use tower_service::Service as _;

use super::edge::{self, Edge};
use super::{action, proxy};
use crate::runtime::Runtime;

pub(super) struct Service {
    router: Router,
    runtime: Runtime,
    edge: Edge,
}

impl Service {
    pub(super) fn new(runtime: Runtime, edge: Edge) -> Self {
        Self {
            router: super::router_with(runtime.clone(), edge.clone()),
            runtime,
            edge,
        }
    }

    /// How long a client may take nothing of an answer.
    pub(super) fn send_timeout_ms(&self) -> u64 {
        self.runtime.config().limits.send_timeout_ms
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let request = request.map(Body::new);
        let (method, path) = (request.method(), request.uri().path());
        if path.starts_with("/proxy/") {
            let handle = |request, _: &_| proxy::call.call(request, self.runtime.clone());
            return Ok(edge::run(&self.edge, request, handle).await);
        }
        if method == Method::POST && path == "/action/trigger" {
            let handle = |request, _: &_| action::trigger.call(request, self.runtime.clone());
            return Ok(edge::run(&self.edge, request, handle).await);
        }
        self.router.clone().call(request).await
    }
}
