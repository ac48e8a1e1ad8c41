//! A component whose description is no JSON.

use nango_guest_sdk::bindings::{self, Error, Guest};

struct Liar;

impl Guest for Liar {
    fn describe() -> String {
        "this is no JSON".to_owned()
    }

    fn run(_function: String, _trigger: Vec<(String, String)>) -> Result<String, Error> {
        Ok("this is no JSON either".to_owned())
    }
}

bindings::export!(Liar with_types_in bindings);
