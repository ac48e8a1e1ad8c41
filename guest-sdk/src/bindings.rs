//! The bindings to `wit/functions.wit`, generated when this crate is compiled.
//!
//! Nothing here is for function authors: the other modules give it names and types worth writing against.

#![allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "generated code; its unsafe is the canonical ABI's lifting and lowering"
)]

wit_bindgen::generate!({
    path: "../wit",
    world: "function",
    pub_export_macro: true,
    default_bindings_module: "nango_guest_sdk::bindings",
});
