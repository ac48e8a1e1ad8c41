//! An embedded function runtime for product integrations.

pub mod clock;
pub mod config;
pub mod connections;
pub mod credentials;
pub mod deploy;
pub mod encryption;
pub mod engine;
pub mod executor;
mod host;
pub mod logs;
pub mod model;
pub mod provider;
pub mod proxy;
pub mod records;
pub mod runtime;
pub mod schema;
pub mod store;

pub use runtime::Runtime;
