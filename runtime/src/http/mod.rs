//! The HTTP API: Nango's routes, bodies and codes. Each resource has one file: request, response, handler, tests. A handler converts,
//! makes one call of [`Runtime`] and converts back; nothing here decides what happens, and nothing here knows of the database, the
//! engine or the way out.

mod action;
mod actions;
mod api_keys;
mod audit;
mod auth;
mod body;
mod canary;
mod connect_page;
mod connect_sessions;
mod connection_metadata;
mod connections;
mod creation;
mod deployments;
mod dry_run;
mod edge;
mod encryption_keys;
mod environment_variables;
mod error;
mod fault;
mod functions;
mod health;
mod ingress;
mod integrations;
mod linger;
mod logs;
mod metrics;
mod names;
mod oauth;
mod openapi;
mod pages;
mod providers;
mod proxy;
mod proxy_headers;
mod query;
mod records;
mod records_export;
mod records_prune;
mod replay;
mod runs;
mod scripts_config;
mod serve;
mod service;
mod session;
mod sync_commands;
mod sync_status;
mod sync_trigger;
mod target;
mod timestamp;
mod waiting_page;
mod webhook_settings;
mod webhooks;
mod workers;

use axum::Router;
use axum::routing::{any, delete, get, head, patch, post, put};
use http::{Method, StatusCode, Uri};

use crate::clock::Entropy;
use crate::model::Scope;
use crate::runtime::Runtime;

pub use deployments::SIGNATURE_HEADER;
pub use serve::{CONNECTIONS_MAX, HEAD_TIMEOUT_MS, serve};

use error::ApiError;

/// Makes the router and the OpenAPI document of one table, so that neither can have a route the other has not. No route can be
/// written without its scope; that its handler asks for that one is tested with the document in hand.
macro_rules! routes {
    ($($method:ident $path:literal => $module:ident::$handler:ident, $scope:expr;)*) => {
        #[derive(utoipa::OpenApi)]
        #[openapi(
            paths($($module::$handler,)* proxy::call),
            components(schemas(error::ErrorEnvelope, error::NetworkFailure)),
            security(("secret_key" = [])),
        )]
        struct ApiDoc;

        /// Method, path and scope of each route but `/proxy`.
        const ROUTES: &[(&str, &str, Option<Scope>)] = &[$((stringify!($method), $path, $scope)),*];

        fn documented_routes() -> Router<Runtime> {
            Router::new()$(.route($path, $method($module::$handler)))*
        }
    };
}

/// Of routes that take no key. Those that take the token of a connect session say so in their own `security`.
const OPEN: Option<Scope> = None;

routes! {
    get    "/"                                                  => waiting_page::wait, OPEN;
    get    "/health"                                            => health::show, OPEN;
    get    "/health/ready"                                      => health::ready, OPEN;
    get    "/openapi.json"                                      => openapi::show, OPEN;
    get    "/metrics"                                           => metrics::show, Some(Scope::MetricsRead);
    post   "/action/trigger"                                    => action::trigger, Some(Scope::ActionsExecute);
    patch  "/integrations/{unique_key}/functions/{name}"        => functions::patch, Some(Scope::Deploy);
    get    "/runs"                                              => runs::list, Some(Scope::LogsRead);
    get    "/runs/{id}"                                         => runs::show, Some(Scope::LogsRead);
    get    "/actions"                                           => actions::list, Some(Scope::ActionsExecute);
    get    "/actions/{id}"                                      => actions::show, Some(Scope::ActionsExecute);
    get    "/action/{id}"                                       => actions::result, Some(Scope::ActionsExecute);
    post   "/action/{id}/cancel"                                => actions::cancel, Some(Scope::ActionsExecute);
    post   "/sync/trigger"                                      => sync_trigger::trigger, Some(Scope::SyncsExecute);
    post   "/sync/start"                                        => sync_commands::start, Some(Scope::SyncsExecute);
    post   "/sync/pause"                                        => sync_commands::pause, Some(Scope::SyncsExecute);
    post   "/sync/cancel"                                       => sync_commands::cancel, Some(Scope::SyncsExecute);
    put    "/sync/update-connection-frequency"                  => sync_commands::update_frequency, Some(Scope::SyncsExecute);
    post   "/sync/{name}/variant/{variant}"                     => sync_commands::create_variant, Some(Scope::SyncsExecute);
    delete "/sync/{name}/variant/{variant}"                     => sync_commands::delete_variant, Some(Scope::SyncsExecute);
    get    "/sync/status"                                       => sync_status::status, Some(Scope::SyncsRead);
    get    "/records"                                           => records::list, Some(Scope::RecordsRead);
    get    "/records/export"                                    => records_export::export, Some(Scope::RecordsRead);
    patch  "/records/prune"                                     => records_prune::prune, Some(Scope::RecordsWrite);
    get    "/connections"                                       => connections::list, Some(Scope::ConnectionsList);
    post   "/connections"                                       => connections::import, Some(Scope::ConnectionsCreate);
    post   "/connection"                                        => connections::import_legacy, Some(Scope::ConnectionsCreate);
    post   "/connections/purge"                                 => connections::purge, Some(Scope::ConnectionsDelete);
    post   "/connections/metadata"                              => connection_metadata::replace, Some(Scope::ConnectionsUpdate);
    patch  "/connections/metadata"                              => connection_metadata::merge, Some(Scope::ConnectionsUpdate);
    get    "/connections/{connection_id}"                       => connections::show, Some(Scope::ConnectionsRead);
    patch  "/connections/{connection_id}"                       => connections::update, Some(Scope::ConnectionsUpdate);
    delete "/connections/{connection_id}"                       => connections::remove, Some(Scope::ConnectionsDelete);
    put    "/connections/{connection_id}/webhook"               => connections::put_webhook, Some(Scope::ConnectionsUpdate);
    get    "/connect"                                           => connect_page::show, OPEN;
    get    "/oauth/connect/{provider_config_key}"               => oauth::start, OPEN;
    get    "/oauth/callback"                                    => oauth::callback, OPEN;
    get    "/oauth/client-metadata/{environment_id}/{provider_config_key}" => oauth::client_metadata, OPEN;
    post   "/webhook/{environment}/{provider_config_key}"       => ingress::receive, OPEN;
    head   "/webhook/{environment}/{provider_config_key}"       => ingress::probe, OPEN;
    post   "/webhook/{environment}/{provider_config_key}/{token}" => ingress::receive_for_connection, OPEN;
    post   "/connect/sessions"                                  => connect_sessions::create, Some(Scope::ConnectSessionsWrite);
    post   "/connect/sessions/reconnect"                        => connect_sessions::create_reconnect, Some(Scope::ConnectSessionsWrite);
    get    "/connect/session"                                   => connect_sessions::show, OPEN;
    delete "/connect/session"                                   => connect_sessions::end, OPEN;
    post   "/api-auth/api-key/{provider_config_key}"            => creation::api_key, OPEN;
    post   "/api-auth/basic/{provider_config_key}"              => creation::basic, OPEN;
    post   "/oauth2/auth/{provider_config_key}"                 => creation::client_credentials, OPEN;
    post   "/auth/two-step/{provider_config_key}"               => creation::two_step, OPEN;
    post   "/auth/jwt/{provider_config_key}"                    => creation::jwt, OPEN;
    post   "/auth/bill/{provider_config_key}"                   => creation::bill, OPEN;
    post   "/auth/tba/{provider_config_key}"                    => creation::tba, OPEN;
    post   "/auth/signature/{provider_config_key}"              => creation::signature, OPEN;
    post   "/auth/aws-sigv4/{provider_config_key}"              => creation::aws_sigv4, OPEN;
    post   "/auth/unauthenticated/{provider_config_key}"        => creation::unauthenticated, OPEN;
    post   "/auth/oauth-outbound/{provider_config_key}"         => creation::outbound, OPEN;
    get    "/integrations"                                      => integrations::list, Some(Scope::IntegrationsList);
    post   "/integrations"                                      => integrations::create, Some(Scope::IntegrationsCreate);
    get    "/integrations/{unique_key}"                         => integrations::show, Some(Scope::IntegrationsRead);
    patch  "/integrations/{unique_key}"                         => integrations::update, Some(Scope::IntegrationsUpdate);
    delete "/integrations/{unique_key}"                         => integrations::remove, Some(Scope::IntegrationsDelete);
    get    "/integrations/{unique_key}/functions"               => functions::list, Some(Scope::IntegrationsListFunctions);
    post   "/integrations/{unique_key}/functions"               => deployments::deploy, Some(Scope::Deploy);
    post   "/deployments"                                       => deployments::deploy_several, Some(Scope::Deploy);
    get    "/integrations/{unique_key}/canary"                  => canary::show, Some(Scope::FunctionsRead);
    post   "/integrations/{unique_key}/canary/promote"          => canary::promote, Some(Scope::Deploy);
    post   "/integrations/{unique_key}/canary/abort"            => canary::abort, Some(Scope::Deploy);
    get    "/integrations/{unique_key}/functions/{name}"        => functions::show, Some(Scope::FunctionsRead);
    post   "/integrations/{unique_key}/functions/{name}/rollback" => functions::rollback, Some(Scope::Deploy);
    post   "/integrations/{unique_key}/functions/{name}/dry-run" => dry_run::run, Some(Scope::FunctionsDryRun);
    post   "/runs/{run_id}/replay"                              => replay::replay, Some(Scope::RunsReplay);
    get    "/scripts/config"                                    => scripts_config::list, Some(Scope::FunctionsList);
    get    "/providers"                                         => providers::list, Some(Scope::ProvidersRead);
    get    "/providers/{provider}"                              => providers::show, Some(Scope::ProvidersRead);
    get    "/providers/{provider}/templates"                    => providers::templates, Some(Scope::ProvidersRead);
    get    "/logs/operations"                                   => logs::operations, Some(Scope::LogsRead);
    get    "/logs/operations/{id}"                              => logs::operation, Some(Scope::LogsRead);
    get    "/logs/messages"                                     => logs::messages, Some(Scope::LogsRead);
    get    "/audit"                                             => audit::list, Some(Scope::AuditRead);
    get    "/environment-variables"                             => environment_variables::list, Some(Scope::VariablesRead);
    put    "/environment-variables/{name}"                      => environment_variables::set, Some(Scope::VariablesWrite);
    delete "/environment-variables/{name}"                      => environment_variables::unset, Some(Scope::VariablesWrite);
    get    "/api-keys"                                          => api_keys::list, Some(Scope::ApiKeysList);
    post   "/api-keys"                                          => api_keys::create, Some(Scope::ApiKeysCreate);
    delete "/api-keys/{id}"                                     => api_keys::revoke, Some(Scope::ApiKeysDelete);
    get    "/environment/webhooks"                              => webhook_settings::show, Some(Scope::WebhooksRead);
    patch  "/environment/webhooks"                              => webhook_settings::update, Some(Scope::WebhooksUpdate);
    get    "/environment/webhook-signing-key"                   => webhook_settings::signing_key, Some(Scope::WebhookSigningKeyRead);
    post   "/environment/webhook-signing-key/rotate"            => webhook_settings::rotate, Some(Scope::WebhookSigningKeyRotate);
    get    "/webhooks"                                          => webhooks::list, Some(Scope::WebhooksRead);
    post   "/webhooks/resend"                                   => webhooks::resend_dead, Some(Scope::WebhooksResend);
    get    "/webhooks/{id}"                                     => webhooks::show, Some(Scope::WebhooksRead);
    post   "/webhooks/{id}/resend"                              => webhooks::resend, Some(Scope::WebhooksResend);
    get    "/encryption-keys"                                   => encryption_keys::list, Some(Scope::EncryptionKeysRead);
    post   "/encryption-keys/rotate"                            => encryption_keys::rotate, Some(Scope::EncryptionKeysRotate);
    delete "/encryption-keys/{version}"                         => encryption_keys::retire, Some(Scope::EncryptionKeysRotate);
}

/// The API as a router, to be served with [`serve`] or mounted in a server of one's own.
pub fn router(runtime: Runtime) -> Router {
    router_with(runtime, edge::Edge::new(&Entropy::system()))
}

fn router_with(runtime: Runtime, edge: edge::Edge) -> Router {
    documented_routes()
        // The Node client asks with the slash.
        .route("/records/", get(records::list))
        // The browser's SDK adds one.
        .route("/connect/", get(connect_page::show))
        // Where apps are told to send those who installed them.
        .route("/app-auth/connect", get(oauth::callback))
        // Nango's older names of the same things.
        .route("/config", get(integrations::list_configs))
        .route("/config/{unique_key}", get(integrations::show_config))
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
