//! The HTTP API: Nango's routes, bodies and codes. Each resource has one file: request, response, handler, tests. A handler converts,
//! makes one call of [`Runtime`] and converts back; nothing here decides what happens, and nothing here knows of the database, the
//! engine or the way out.

mod action;
mod auth;
mod body;
mod connection_metadata;
mod connections;
mod edge;
mod error;
mod fault;
mod functions;
mod health;
mod integrations;
mod linger;
mod logs;
mod metrics;
mod names;
mod openapi;
mod providers;
mod proxy;
mod proxy_headers;
mod query;
mod records;
mod serve;
mod service;
mod sync;
mod target;
mod timestamp;
mod workers;

use axum::Router;
use axum::routing::{any, delete, get, patch, post};
use http::{Method, StatusCode, Uri};

use crate::clock::Entropy;
use crate::runtime::Runtime;

pub use serve::{CONNECTIONS_MAX, HEAD_TIMEOUT_MS, SHUTDOWN_TIMEOUT_MS, serve};

use error::ApiError;

/// Makes the router and the OpenAPI document of one table, so that neither can have a route the other has not.
macro_rules! routes {
    ($($method:ident $path:literal => $module:ident::$handler:ident;)*) => {
        #[derive(utoipa::OpenApi)]
        #[openapi(
            paths($($module::$handler,)* proxy::call),
            components(schemas(error::ErrorEnvelope, error::NetworkFailure)),
            security(("secret_key" = [])),
        )]
        struct ApiDoc;

        /// Method and path of each route.
        #[cfg(test)]
        const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),*];

        fn documented_routes() -> Router<Runtime> {
            Router::new()$(.route($path, $method($module::$handler)))*
        }
    };
}

routes! {
    get    "/health"                                            => health::show;
    get    "/openapi.json"                                      => openapi::show;
    get    "/metrics"                                           => metrics::show;
    post   "/action/trigger"                                    => action::trigger;
    post   "/sync/trigger"                                      => sync::trigger;
    get    "/sync/status"                                       => sync::status;
    get    "/records"                                           => records::list;
    get    "/connections"                                       => connections::list;
    post   "/connections"                                       => connections::import;
    post   "/connection"                                        => connections::import_legacy;
    post   "/connections/metadata"                              => connection_metadata::replace;
    patch  "/connections/metadata"                              => connection_metadata::merge;
    get    "/connections/{connection_id}"                       => connections::show;
    patch  "/connections/{connection_id}"                       => connections::update;
    delete "/connections/{connection_id}"                       => connections::remove;
    get    "/integrations"                                      => integrations::list;
    post   "/integrations"                                      => integrations::create;
    get    "/integrations/{unique_key}"                         => integrations::show;
    patch  "/integrations/{unique_key}"                         => integrations::update;
    delete "/integrations/{unique_key}"                         => integrations::remove;
    get    "/integrations/{unique_key}/functions"               => functions::list;
    post   "/integrations/{unique_key}/functions"               => functions::deploy;
    get    "/integrations/{unique_key}/functions/{name}"        => functions::show;
    post   "/integrations/{unique_key}/functions/{name}/rollback" => functions::rollback;
    get    "/providers"                                         => providers::list;
    get    "/providers/{provider}"                              => providers::show;
    get    "/providers/{provider}/templates"                    => providers::templates;
    get    "/logs/operations"                                   => logs::operations;
    get    "/logs/operations/{id}"                              => logs::operation;
    get    "/logs/messages"                                     => logs::messages;
}

/// The API as a router, to be served with [`serve`] or mounted in a server of one's own.
pub fn router(runtime: Runtime) -> Router {
    router_with(runtime, edge::Edge::new(&Entropy::system()))
}

fn router_with(runtime: Runtime, edge: edge::Edge) -> Router {
    documented_routes()
        // The Node client asks with the slash.
        .route("/records/", get(records::list))
        // Nango's older names of the same things.
        .route("/connection", get(connections::list))
        .route(
            "/connection/{connection_id}",
            get(connections::show).delete(connections::remove),
        )
        .route(
            "/connection/metadata",
            post(connection_metadata::replace).patch(connection_metadata::merge),
        )
        .route(
            "/connection/{connection_id}/metadata",
            post(connection_metadata::replace_one).patch(connection_metadata::merge_one),
        )
        .route("/proxy", any(proxy::call))
        .route("/proxy/", any(proxy::call))
        .route("/proxy/{*path}", any(proxy::call))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(axum::middleware::from_fn_with_state(edge, edge::layer))
        .with_state(runtime)
}

async fn no_such_route(method: Method, uri: Uri) -> ApiError {
    let message = format!("There is no route {method} {}; GET /openapi.json lists all", uri.path());
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    let message = format!(
        "{} does not take {method}; GET /openapi.json lists what it takes",
        uri.path()
    );
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
