//! The components that `scripts/build-guest` made of `tests/guests` and `examples`.

use crate::repository;

/// The component or module that `tests/guests/wat/<name>.wat` describes.
///
/// # Panics
///
/// When there is none, or it is malformed.
#[must_use]
pub fn from_text(name: &str) -> Vec<u8> {
    let path = repository::root().join("tests/guests/wat").join(format!("{name}.wat"));
    wat::parse_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The bytes of `target/guests/<name>.wasm`.
///
/// # Panics
///
/// When it is not built.
#[must_use]
pub fn component(name: &str) -> Vec<u8> {
    let path = repository::root().join("target/guests").join(format!("{name}.wasm"));
    let path = repository::require(path, "guests");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}
