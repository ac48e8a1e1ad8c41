//! Write actions, syncs and on-event functions for nango-runtime in Rust.
//!
//! A *function* runs for one connection. It calls the provider's API through the host, which adds the connection's
//! credentials, retries and logs; the function sees no secret unless it was given one. An **action** is called by name and answers. A
//! **sync** runs on a schedule and keeps records fresh. An **on-event** function runs when a connection is made or deleted.
//!
//! ```
//! use nango_guest_sdk::prelude::*;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct NewIssue {
//!     owner: String,
//!     repo: String,
//!     title: String,
//! }
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Issue {
//!     id: u64,
//!     number: u64,
//!     title: String,
//! }
//!
//! /// Creates an issue in a repository.
//! #[action]
//! fn create_issue(nango: &Nango, input: NewIssue) -> Result<Issue, ActionError> {
//!     let NewIssue { owner, repo, title } = input;
//!     if title.is_empty() {
//!         return Err(ActionError::new("an issue needs a title"));
//!     }
//!     let answer = nango.post(format!("/repos/{owner}/{repo}/issues")).json(&json!({"title": title}))?.send()?;
//!     Ok(answer.json()?)
//! }
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! struct Position {
//!     next: String,
//! }
//!
//! /// Keeps the issues assigned to the user fresh.
//! #[sync(frequency = "every hour", models(Issue), checkpoint = Position)]
//! fn issues(nango: &Nango) -> Result<(), SyncError> {
//!     let position = nango.checkpoint::<Position>()?.map_or_else(String::new, |position| position.next);
//!     let pages = nango.paginate(nango.get("/issues").retries(3)).link_rel("next").limit(100, "per_page");
//!     for page in pages.starting_at(position) {
//!         let page = page?;
//!         nango.records().save(&page.items::<Issue>()?)?;
//!         if let Some(next) = page.next_page() {
//!             nango.save_checkpoint(&Position { next: next.to_owned() })?;
//!         }
//!     }
//!     nango.clear_checkpoint()?;
//!     Ok(())
//! }
//!
//! nango_guest_sdk::functions!(create_issue, issues);
//! # fn main() {}
//! ```
//!
//! # When a connection is made or deleted
//!
//! ```
//! # use nango_guest_sdk::prelude::*;
//! /// Takes no connection of somebody who may not read the organisation.
//! #[on_event(validate_connection)]
//! fn may_read(nango: &Nango) -> Result<(), ActionError> {
//!     match nango.get("/orgs/acme").send() {
//!         Err(Error::Http(answer)) if answer.status == 404 => Err(ActionError::new("You are no member of acme.")),
//!         answer => Ok(answer.map(drop)?),
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! # From crate to component
//!
//! A component is a `cdylib` for `wasm32-unknown-unknown`:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! nango-guest-sdk = "…"
//! schemars = "1"                                     # the derives name their crates
//! serde = { version = "1", features = ["derive"] }
//!
//! [profile.release]
//! opt-level = "s"
//! lto = true
//! codegen-units = 1
//! panic = "abort"
//! strip = true
//! ```
//!
//! `nango-runtime build` compiles it and wraps the module as a component. Plain `cargo build --release --target
//! wasm32-unknown-unknown` compiles it as well; the linker arguments that make a run start faster are then for
//! `.cargo/config.toml`:
//!
//! ```toml
//! [target.wasm32-unknown-unknown]
//! rustflags = ["-Clink-args=-zstack-size=262144", "-Clink-args=--initial-memory=1048576"]
//! ```
//!
//! # Errors
//!
//! Every call gives [`Error`], a value to match on; [`ActionError`] takes any error through `?`.
//!
//! ```
//! # use nango_guest_sdk::prelude::*;
//! fn exists(nango: &Nango, repo: &str) -> Result<bool, Error> {
//!     match nango.get(format!("/repos/{repo}")).send() {
//!         Ok(_) => Ok(true),
//!         Err(Error::Http(answer)) if answer.status == 404 => Ok(false),
//!         Err(error) => Err(error),
//!     }
//! }
//! ```
//!
//! The caller of a function gets the message and the line it came from. A panic ends the run; its message and line are
//! in the run's log.
//!
//! # Several requests at once
//!
//! ```
//! # use nango_guest_sdk::prelude::*;
//! fn titles(nango: &Nango, ids: &[u64]) -> Result<Vec<String>, Error> {
//!     let requests = ids.iter().map(|id| nango.get(format!("/items/{id}")));
//!     nango.send_all(requests, 8).into_iter().map(|answer| answer?.json_at("/title")).collect()
//! }
//!
//! fn both(nango: &Nango) -> Result<(String, String), Error> {
//!     let slow = nango.start(nango.get("/slow"));
//!     let quick = nango.get("/quick").send()?.text()?;
//!     Ok((quick, slow.wait()?.text()?))
//! }
//! ```
//!
//! # Lists
//!
//! [`Nango::paginate`] goes through a list page by page and requests the next page while the current one is worked on. How a
//! provider gives its pages is mostly known to the host; [`Paginate`] has what can be said of it.
//!
//! # Bodies
//!
//! JSON, forms, files and bytes go out with [`Request::json`], [`Request::form`], [`Request::multipart`] and [`Request::body`];
//! answers are read with [`Response::json`], [`Response::json_at`], [`Response::text`] and [`Response::bytes`]. An answer over
//! the operator's limit (`limits.response_body_bytes`) is the error `response_too_large`.
//!
//! # Other functions, locks, and the end of a run
//!
//! [`Nango::trigger_action`] and [`Nango::trigger_sync`] call functions of the same integration for the same connection,
//! [`Nango::elsewhere`] others. [`Nango::try_lock`] keeps other runs out. [`Nango::should_stop`] says when to save and return.
//!
//! # Webhooks
//!
//! A sync can also hear of changes when they happen:
//!
//! ```
//! # use nango_guest_sdk::prelude::*;
//! # #[derive(Serialize, Deserialize, JsonSchema)]
//! # struct Issue { id: u64 }
//! /// Keeps the issues fresh.
//! #[sync(frequency = "every day", models(Issue), webhooks("issues"), on_webhook = issue_changed)]
//! fn issues(nango: &Nango) -> Result<(), SyncError> {
//!     let page = nango.get("/issues").send()?;
//!     nango.records().save(&page.json::<Vec<Issue>>()?)?;
//!     Ok(())
//! }
//!
//! fn issue_changed(nango: &Nango, webhook: &Webhook) -> Result<(), SyncError> {
//!     #[derive(Deserialize)]
//!     struct Change {
//!         action: String,
//!         issue: Issue,
//!     }
//!     let change: Change = webhook.json()?;
//!     match change.action.as_str() {
//!         "deleted" => nango.records().delete::<Issue>([change.issue.id])?,
//!         _ => nango.records().save(&[change.issue])?,
//!     };
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! # The environment's variables
//!
//! [`Nango::environment_variable`] gives what all functions of the environment may need and none should hold: the address of your own
//! back end, a key for it.
//!
//! # What has to be given
//!
//! [`Nango::fetch`] sends requests to public hosts that are not the provider's, and [`Nango::token`] gives the connection's token in
//! clear. Whoever deploys a component that calls one of them has to say so. Functions name the hosts in their attribute, and the host
//! sends nothing to others: `#[action(fetch("rates.example.com"))]`, `nango-runtime deploy … --allow token,fetch:rates.example.com`.
//!
//! # What a function has not
//!
//! No files, sockets, process environment, threads or standard streams; `SystemTime::now`, `Instant::now` and `thread::sleep`
//! trap. [`Nango`] has time, randomness, waiting and a log instead.

mod action_error;
#[cfg(all(feature = "allocator", target_family = "wasm"))]
mod allocator;
#[doc(hidden)]
#[rustfmt::skip]
#[allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "generated by tests/bindings.rs from wit/; its unsafe is the canonical ABI's lifting and lowering"
)]
pub mod bindings;
mod checkpoint;
mod connection;
mod environment;
mod error;
mod fetch;
mod form;
mod function;
mod invoke;
mod link;
mod locks;
mod log;
mod multipart;
mod nango;
mod pagination;
mod records;
mod request;
mod response;
mod webhook;

pub use action_error::{ActionError, SyncError};
pub use connection::Connection;
pub use error::{Error, HostError, HttpError, Place};
pub use fetch::Fetch;
pub use invoke::Elsewhere;
pub use log::Level;
pub use multipart::Multipart;
pub use nango::Nango;
/// Makes a function an action: called by name, with an answer.
///
/// The function takes `&Nango` and, unless it needs none, its input; it returns a `Result` whose error can become an
/// [`ActionError`]. Input and output are types with serde's traits and `JsonSchema`. Its doc comment is the description.
///
/// Arguments of the attribute:
///
/// - `name = "create-issue"`: what it is called; by default like the Rust function, with `-` for `_`
/// - `fetch("api.example.com", "*.example.org")`: the hosts that [`Nango::fetch`] may ask; `"*"` is any. When one function of a component
///   has it, those without it may ask none
pub use nango_guest_sdk_macros::action;
/// Makes a function one that runs when something happens to a connection.
///
/// The function takes `&Nango` and returns a `Result` whose error can become an [`ActionError`]. Its doc comment is the
/// description. Arguments of the attribute:
///
/// - the event, needed:
///   - `validate_connection`: a connection has credentials and does not count as made yet. All functions of this event run one
///     after the other, by name; when one fails, a new connection is not made, and who makes it is shown the `message` of the
///     [`ActionError`]'s payload.
///   - `post_connection_creation`: a connection was made; nobody waits for the function.
///   - `pre_connection_deletion`: a connection is about to be deleted; it still works, and is deleted whatever the function gives.
/// - `checkpoint = Position`, `metadata = Settings`: as for a [`sync`](macro@sync)
/// - `fetch("api.example.com")`, `name = "greet"`: as for an [`action`](macro@action)
pub use nango_guest_sdk_macros::on_event;
/// Makes a function a sync: run on a schedule, to keep records fresh.
///
/// The function takes `&Nango` and returns a `Result` whose error can become a [`SyncError`]. Its doc comment is the
/// description. Arguments of the attribute:
///
/// - `frequency = "every hour"`, or a crontab, `"0 9 * * MON-FRI Europe/Berlin"`: when it runs; needed
/// - `models(Issue, User)`: the types whose records it keeps
/// - `checkpoint = Position`, `metadata = Settings`: the types of its checkpoint and of the connection's metadata
/// - `webhooks("issues", "label")`, `on_webhook = handle`: the provider's events (`"*"` is all) that come to the function `handle`, which
///   takes `&Nango` and a [`Webhook`]. It may do what the sync may, has a checkpoint of its own, and runs beside it; an event can come more
///   than once
/// - `auto_start = false`: it waits until it is started for a connection
/// - `fetch("api.example.com")`, `name = "issues"`: as for an [`action`](macro@action)
pub use nango_guest_sdk_macros::sync;
pub use pagination::{Items, Page, Pages, Paginate, PaginationError};
pub use records::{Counts, MergingStrategy, RecordMetadata, Records, Stored, StoredRecords};
pub use request::{Pending, Request};
pub use response::Response;
pub use webhook::Webhook;
pub use {schemars, serde, serde_json};

/// What nearly every function needs.
pub mod prelude {
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};

    pub use crate::{ActionError, Error, Level, Nango, SyncError, Webhook, action, on_event, sync};
}

/// Makes the crate a component that holds these functions. Once for each component.
#[macro_export]
macro_rules! functions {
    ($($function:ty),+ $(,)?) => {
        const _: () = {
            const FUNCTIONS: &[$crate::__private::Entry] = &[$($crate::__private::Entry::of::<$function>()),+];

            struct Component;

            impl $crate::bindings::Guest for Component {
                fn describe() -> ::std::string::String {
                    $crate::__private::describe_component(FUNCTIONS)
                }

                fn run(
                    function: ::std::string::String,
                    trigger: ::std::vec::Vec<(::std::string::String, ::std::string::String)>,
                ) -> ::std::result::Result<::std::string::String, $crate::bindings::Error> {
                    $crate::__private::run_component(FUNCTIONS, &function, &trigger)
                }
            }

            #[cfg(target_family = "wasm")]
            $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}

/// What generated code names. Not for people, and not stable.
#[doc(hidden)]
pub mod __private {
    pub use crate::function::{
        Description, Entry, Function, Outcome, describe_component, read_input, run_component, write_output,
    };
}
