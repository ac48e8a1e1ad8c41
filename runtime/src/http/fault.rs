//! What is wrong with a request, item by item, in the shape clients of Nango's API know: `{code, message, path}`.

use serde::Serialize;
use utoipa::ToSchema;

/// One thing wrong with one part of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Kind of mistake, for example `invalid_type`.
    pub code: &'static str,
    pub message: String,
    /// Where it is: names of fields and positions in lists, outermost first.
    pub path: Vec<String>,
}

impl Fault {
    pub fn new(code: &'static str, message: impl Into<String>, path: &str) -> Self {
        Self {
            code,
            message: message.into(),
            path: vec![path.to_owned()],
        }
    }

    /// Something required is not there.
    pub fn missing(path: &str) -> Self {
        Self::new(
            "invalid_type",
            "Invalid input: expected string, received undefined",
            path,
        )
    }

    /// A name with characters it may not have, or of the wrong length.
    pub fn malformed_name(path: &str, what: &str) -> Self {
        Self::new("invalid_format", format!("Invalid input: this is no {what}"), path)
    }
}
