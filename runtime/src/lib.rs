//! An embedded function runtime for product integrations.

pub mod actions;
pub mod authorize;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connect;
pub mod connections;
pub mod credentials;
mod data_dir;
pub mod deploy;
mod egress;
pub mod encryption;
pub mod engine;
pub mod executor;
mod host;
pub mod http;
pub mod logs;
pub mod metrics;
pub mod model;
pub mod oauth;
pub mod provider;
pub mod proxy;
pub mod recording;
pub mod recordings;
pub mod records;
mod redaction;
pub mod rotation;
pub mod runtime;
mod scheduler;
pub mod schema;
pub mod store;
pub mod telemetry;

pub use runtime::Runtime;
