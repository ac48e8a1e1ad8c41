//! The interface `log`: what a function says.

use super::bindings::nango::functions::log::Host;
use super::bindings::nango::functions::types::Pair;
use super::state::GuestState;
use crate::model::Level;

impl Host for GuestState {
    fn write(&mut self, level: String, message: String, fields: Vec<Pair>) -> wasmtime::Result<()> {
        let level = match level.as_str() {
            "debug" => Level::Debug,
            "warn" => Level::Warn,
            "error" => Level::Error,
            _ => Level::Info,
        };
        self.log.write(level, message, fields);
        Ok(())
    }
}
