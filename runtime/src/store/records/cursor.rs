//! The position of a change as opaque text, and back.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::store::StoreError;

/// Starts each cursor before it is encoded, so that text from elsewhere is not taken for one.
const VERSION: &str = "r1";

/// Where in the order of changes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) modified_at_us: i64,
    pub(super) sequence: i64,
}

impl Position {
    pub(super) fn encode(self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{VERSION}.{}.{}", self.modified_at_us, self.sequence))
    }

    pub(super) fn decode(cursor: &str) -> Result<Self, StoreError> {
        Self::parse(cursor).ok_or_else(|| StoreError::Cursor {
            cursor: cursor.to_owned(),
        })
    }

    fn parse(cursor: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let numbers = text.strip_prefix(VERSION)?.strip_prefix('.')?;
        let (modified_at_us, sequence) = numbers.split_once('.')?;
        let position = Self {
            modified_at_us: modified_at_us.parse().ok()?,
            sequence: sequence.parse().ok()?,
        };
        // Numbers can be written in several ways (`+1`, `01`); a cursor only in one.
        (position.encode() == cursor).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_nothing_else_does() {
        let position = Position {
            modified_at_us: 1_763_810_513_999_876,
            sequence: 12,
        };
        assert_eq!(Position::decode(&position.encode()).unwrap(), position);
        let padded = format!("{}=", position.encode());
        let nango = "MjAyNi0xMS0yMlQxMToyMTo1My45OTk4NzYrMDA6MDB8fDUzN2YxNDNhLWQyNjEtNWYyMS1hMzkyLTJiYzIyMjVkZWE3ZA==";
        let loose = URL_SAFE_NO_PAD.encode("r1.+5.01");
        for cursor in ["", "x", "%%%", nango, &padded, &loose] {
            let error = Position::decode(cursor).unwrap_err();
            assert!(matches!(error, StoreError::Cursor { .. }), "{error}");
            assert!(error.to_string().contains(cursor));
        }
    }
}
