//! A component that wants to know its connection while it describes itself.

use nango_guest_sdk::bindings::{self, Error, Guest};

struct Liar;

impl Guest for Liar {
    fn describe() -> String {
        bindings::nango::functions::connection::connection_id()
    }

    fn run(_function: String, _trigger: Vec<(String, String)>) -> Result<String, Error> {
        Ok("this is no JSON either".to_owned())
    }
}

bindings::export!(Liar with_types_in bindings);
