//! The integration tests: one binary, a module for each area. The harness is this package's library.

mod actions;
mod bad_input;
mod cli;
mod contract;
mod credential_types;
mod fixture;
mod kill;
mod limits;
mod nango_providers;
mod node_client;
mod openapi;
mod proxy_aws;
mod proxy_httpbin;
mod proxy_retries;
mod refresh;
mod refresh_kill;
mod restart;
mod secrets;
mod sync_verdaccio;
mod syncs;
mod tidy;
mod torture;
