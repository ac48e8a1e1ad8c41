//! Reads the columns of a row in the order they were selected, and turns what cannot be read into an error that names
//! table, column and row. Also the words by which states and kinds are stored.

use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::error::BoxDynError;
use sqlx::{Any, Decode, Row, Type, ValueRef};

use super::StoreError;
use crate::model::log::Source;
use crate::model::{
    CanaryState, CredentialReadKind, EncryptionKeyState, FrequencySource, FunctionKind, Level, Made, OperationKind,
    OperationState, RunState, SyncState, Trigger, WebhookKind, WebhookSlot, WebhookState,
};

/// The columns of one row, read from left to right.
pub(super) struct Columns<'r> {
    row: &'r AnyRow,
    table: &'static str,
    /// Index of the column that names the row in errors.
    first: usize,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn new(row: &'r AnyRow, table: &'static str) -> Self {
        Self {
            row,
            table,
            first: 0,
            next: 0,
        }
    }

    /// Goes on with the columns of another table that was joined.
    pub(super) fn join(self, table: &'static str) -> Self {
        Self {
            table,
            first: self.next,
            ..self
        }
    }

    /// Whether the next column is null: for a row that an outer join did not find.
    pub(super) fn next_is_null(&self) -> bool {
        self.row.try_get_raw(self.next).is_ok_and(|value| value.is_null())
    }

    pub(super) fn get<T: Decode<'r, Any> + Type<Any>>(&mut self, column: &'static str) -> Result<T, StoreError> {
        let index = self.next;
        self.next += 1;
        self.row
            .try_get(index)
            .map_err(|source| self.inconsistent(column, source.into()))
    }

    /// A text column as an id or another type made from text.
    pub(super) fn id<T: From<&'r str>>(&mut self, column: &'static str) -> Result<T, StoreError> {
        self.get::<&'r str>(column).map(T::from)
    }

    /// A text column that holds one of a few words.
    pub(super) fn word<T: Word>(&mut self, column: &'static str) -> Result<T, StoreError> {
        let word: &str = self.get(column)?;
        T::from_word(word).ok_or_else(|| self.inconsistent(column, format!("unknown word {word:?}").into()))
    }

    /// A text column that holds JSON.
    pub(super) fn json<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<T, StoreError> {
        let json: &str = self.get(column)?;
        serde_json::from_str(json).map_err(|source| self.inconsistent(column, source.into()))
    }

    /// A text column that holds JSON or null.
    pub(super) fn json_or_null<T: DeserializeOwned>(&mut self, column: &'static str) -> Result<Option<T>, StoreError> {
        let json: Option<&str> = self.get(column)?;
        json.map(serde_json::from_str)
            .transpose()
            .map_err(|source| self.inconsistent(column, source.into()))
    }

    pub(super) fn inconsistent(&self, column: &'static str, source: BoxDynError) -> StoreError {
        StoreError::Inconsistent {
            table: self.table,
            column,
            row: self.row.try_get::<String, _>(self.first).unwrap_or_default(),
            source,
        }
    }
}

/// JSON text of something that always has one. What cannot be written as JSON (a map with keys that are no text) does
/// not occur in the model; should it ever, the caller gets an error and not a wrong row.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Driver(sqlx::Error::Encode(error.into())))
}

/// Free text as Postgres can store it: the character NUL, which it cannot, becomes U+FFFD.
pub(super) fn storable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// Something stored as one of a few words.
pub(super) trait Word: Sized {
    fn word(self) -> &'static str;
    fn from_word(word: &str) -> Option<Self>;
}

macro_rules! words {
    ($type:ty { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl Word for $type {
            fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

impl Word for OperationKind {
    fn word(self) -> &'static str {
        self.as_str()
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

impl Word for WebhookKind {
    fn word(self) -> &'static str {
        self.as_str()
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

words!(CanaryState {
    Running = "running", Promoted = "promoted", RolledBack = "rolled_back", Aborted = "aborted",
});
words!(FunctionKind { Action = "action", Sync = "sync", OnEvent = "on-event" });
words!(Made { Creation = "creation", Override = "override" });
words!(Trigger {
    Api = "api",
    Schedule = "schedule",
    Event = "event",
    Webhook = "webhook",
});
words!(RunState {
    Queued = "queued",
    Running = "running",
    Succeeded = "succeeded",
    Failed = "failed",
    Cancelled = "cancelled",
});
words!(SyncState { Started = "started", Paused = "paused" });
words!(FrequencySource { Function = "function", Connection = "connection" });
words!(OperationState { Running = "running", Success = "success", Failed = "failed" });
words!(CredentialReadKind {
    Connection = "connection", Import = "import", Integration = "integration", Variables = "variables",
    Token = "token",
});
words!(Level { Debug = "debug", Info = "info", Warn = "warn", Error = "error" });
words!(Source { User = "user", Internal = "internal" });
words!(EncryptionKeyState { Waiting = "waiting", Sealing = "sealing", Opening = "opening", Retired = "retired" });
words!(WebhookSlot { Primary = "primary", Secondary = "secondary", Override = "override" });
words!(WebhookState { Pending = "pending", Delivered = "delivered", Dead = "dead" });
