//! The components that `scripts/build-guest` made of `tests/guests` and `examples`.

use crate::repository;

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
