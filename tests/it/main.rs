//! The integration tests: one binary, a module for each area. The harness is this package's library.

mod actions;
mod bad_input;
mod cli;
mod contract;
mod fixture;
mod kill;
mod limits;
mod node_client;
mod node_proxy;
mod openapi;
mod proxy_answers;
mod proxy_compat;
mod proxy_egress;
mod proxy_hostile;
mod proxy_httpbin;
mod proxy_log;
mod proxy_nginx;
mod proxy_retries;
mod proxy_streams;
mod proxy_timeouts;
mod restart;
mod secrets;
mod sync_verdaccio;
mod syncs;
mod tidy;
mod torture;
