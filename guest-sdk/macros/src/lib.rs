//! The attributes of `nango-guest-sdk`, which documents and re-exports them.
//!
//! An attribute leaves the function as it is and adds a type of the same name that knows how to describe and run it.
//! Functions and types live in separate namespaces, so that `functions!(create_issue)` can name the type.

mod arguments;
mod function;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

use crate::arguments::{ActionArguments, OnEventArguments, SyncArguments};

/// See `nango_guest_sdk::action`.
#[proc_macro_attribute]
pub fn action(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as ActionArguments);
    let item = parse_macro_input!(item as ItemFn);
    function::action(&arguments, &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// See `nango_guest_sdk::sync`.
#[proc_macro_attribute]
pub fn sync(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as SyncArguments);
    let item = parse_macro_input!(item as ItemFn);
    function::sync(&arguments, &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// See `nango_guest_sdk::on_event`.
#[proc_macro_attribute]
pub fn on_event(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as OnEventArguments);
    let item = parse_macro_input!(item as ItemFn);
    function::on_event(&arguments, &item)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
