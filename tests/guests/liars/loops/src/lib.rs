//! A component that never ends describing itself.

use nango_guest_sdk::bindings::{self, Error, Guest};

struct Liar;

impl Guest for Liar {
    fn describe() -> String {
        loop {
            std::hint::black_box(());
        }
    }

    fn run(_function: String, _trigger: Vec<(String, String)>) -> Result<String, Error> {
        Ok("this is no JSON either".to_owned())
    }
}

bindings::export!(Liar with_types_in bindings);
