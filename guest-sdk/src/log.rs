//! The log of the run, and how a panic gets into it.

use std::panic::{self, PanicHookInfo};

use serde_json::Value;

use crate::bindings::nango::functions::log as wire;

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author of the function.
    Debug,
    /// What happened.
    Info,
    /// Something to look at; the function goes on.
    Warn,
    /// Something failed.
    Error,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

pub(crate) fn write(level: Level, message: &str, fields: &[(&str, Value)]) {
    let fields: Vec<(String, String)> = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), serde_json::to_string(value).unwrap_or_default()))
        .collect();
    wire::write(level.as_str(), message, &fields);
}

/// Makes panics say what happened and where: without WASI there is no standard error, and the trap alone says nothing.
pub(crate) fn install_panic_hook() {
    panic::set_hook(Box::new(log_panic));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let line = match info.location() {
        Some(place) => format!("panicked at {}:{}: {message}", place.file(), place.line()),
        None => format!("panicked: {message}"),
    };
    wire::write("error", &line, &[]);
}
