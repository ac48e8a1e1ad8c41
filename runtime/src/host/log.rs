//! The interface `log`: what a function says.

use serde_json::json;

use super::bindings::nango::functions::log::Host;
use super::bindings::nango::functions::types::Pair;
use super::reach::Reach;
use super::state::GuestState;
use crate::model::Level;
use crate::recording::import;

impl Host for GuestState {
    fn write(&mut self, level: String, message: String, fields: Vec<Pair>) -> wasmtime::Result<()> {
        let level = match level.as_str() {
            "debug" => Level::Debug,
            "warn" => Level::Warn,
            "error" => Level::Error,
            _ => Level::Info,
        };
        if let Some(tape) = self.reach().and_then(Reach::tape) {
            let line = json!({ "level": level, "message": message, "fields": fields });
            tape.note(import::LOG, line);
        }
        self.log.write(level, message, fields);
        Ok(())
    }
}
