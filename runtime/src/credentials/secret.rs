//! A value that never shows itself. Deliberately no `Serialize` and no `Display`: whoever wants the value says `expose`.

use serde_json::Value;
use zeroize::Zeroize;

use crate::model::JsonObject;

/// Prints as `***`, cannot be serialised, and is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret<T: Wipe>(T);

/// What can be wiped from memory. A trait of its own because `Zeroize` cannot be given to JSON maps from here.
pub trait Wipe {
    /// Overwrites what the value holds. Copies made while it grew or was parsed are out of reach.
    fn wipe(&mut self);
}

impl<T: Wipe> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself: for building a request, for sealing, for an API that is entitled to it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Wipe> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl<T: Wipe> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Wipe for String {
    fn wipe(&mut self) {
        self.zeroize();
    }
}

impl Wipe for Vec<u8> {
    fn wipe(&mut self) {
        self.zeroize();
    }
}

impl<const N: usize> Wipe for [u8; N] {
    fn wipe(&mut self) {
        self.zeroize();
    }
}

impl Wipe for Value {
    fn wipe(&mut self) {
        match self {
            Self::String(text) => text.zeroize(),
            Self::Array(items) => items.iter_mut().for_each(Wipe::wipe),
            Self::Object(object) => object.wipe(),
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }
}

impl Wipe for JsonObject {
    fn wipe(&mut self) {
        self.values_mut().for_each(Wipe::wipe);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "***");
    }

    #[test]
    fn wiping_json_reaches_nested_strings() {
        let mut value = json!({"a": "s1", "b": {"c": ["s2", 3]}});
        value.wipe();
        assert_eq!(value, json!({"a": "", "b": {"c": ["", 3]}}));
    }
}
