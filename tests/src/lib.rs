//! The harness of the integration tests. They drive the built binary from outside, over HTTP, the command line and
//! signals, against real upstreams on loopback; there are no mocks of our own code.
//!
//! # Layout
//!
//! - [`server`]: starts `nango-runtime serve` on a data folder of its own and stops it when dropped
//! - [`client`]: the HTTP API with a key, as thin calls that give status and JSON
//! - [`browser`]: follows redirects, keeps cookies and sends forms, without scripts
//! - [`database`]: SQLite or a database on Postgres, for one server or several, and all that is in it
//! - [`command`]: runs the other subcommands to their end
//! - [`embedded`]: the runtime as a library, for what needs no process
//! - [`upstream`]: a scripted server that records what it is asked; [`wire`]: one that is written byte by byte
//! - [`httpbin`], [`moto`], [`oauth1`], [`nginx`], [`verdaccio`], [`oidc`], [`odd_tokens`], [`node`]: programs that others wrote; `scripts/test-deps` brings them
//! - [`chromium`]: a real browser, driven by scripts in tests/node
//! - [`guest`]: the built components of `tests/guests` and `examples`
//! - [`process`]: a child that ends with its owner, and its output
//! - [`leaks`]: finds secrets in what was written down, in whatever encoding
//! - [`told`]: notes the secrets that pass by, and looks for them in what servers leave behind
//! - [`soak`]: how often tests repeat something, and their random numbers
//! - [`repository`]: where things are

pub mod browser;
pub mod chromium;
pub mod client;
pub mod command;
pub mod database;
pub mod embedded;
pub mod guest;
pub mod httpbin;
pub mod leaks;
pub mod moto;
pub mod nginx;
pub mod node;
pub mod oauth1;
pub mod odd_tokens;
pub mod oidc;
pub mod process;
pub mod repository;
pub mod server;
pub mod soak;
pub mod told;
pub mod upstream;
pub mod verdaccio;
pub mod wire;

pub use browser::{Browser, Page};
pub use client::{Answer, Client};
pub use database::Database;
pub use server::{Server, TestRuntime};
pub use upstream::{Reply, Upstream};
pub use wire::{Wire, WireUpstream};
