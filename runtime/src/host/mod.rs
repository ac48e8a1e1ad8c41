//! What a guest can call: one file for each interface of `wit/`. Each function converts, makes one call, converts back; rules
//! live in the parts that are called, or, where they are the contract's own, in a pure file beside it.
//!
//! No secret passes through here but what a component was given: requests leave without credentials, which the proxy adds, what a
//! guest may read of its connection is filtered, and variables and tokens are for those that import them.

mod bindings;
mod checkpoint_rules;
mod checkpoints;
mod clock;
mod connection;
mod connection_details;
mod environment;
mod fault;
mod fetch;
mod integration;
mod invoke;
mod json_pointer;
mod kept;
mod lifecycle;
mod locks;
mod log;
mod nango;
mod pagination;
mod player;
mod reach;
mod records;
mod request;
mod response;
mod run_log;
mod sender;
mod state;
mod tape;
mod token;
mod webhook;

use wasmtime::component::{HasSelf, Linker};

pub(crate) use bindings::nango::functions::types::Error;
pub(crate) use bindings::{Function, FunctionPre};
pub(crate) use fault::Suspended;
pub use invoke::{Chain, Invocation, InvocationCall, InvocationError, Invoker, invoker};
pub(crate) use kept::Kept;
pub(crate) use lifecycle::Stopping;
pub(crate) use player::Player;
pub(crate) use reach::Reach;
pub(crate) use run_log::{RunLog, RunSink};
pub(crate) use sender::Sender;
pub(crate) use state::{GuestState, RunFacts, Services};
pub(crate) use tape::Tape;

/// A linker with everything a component of the world `function` may import.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    Function::add_to_linker::<_, HasSelf<GuestState>>(&mut linker, |state| state)?;
    Ok(linker)
}
