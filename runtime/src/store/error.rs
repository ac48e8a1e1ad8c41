//! Why the database could not be opened, read or written. Decides, in one place, what a driver's error means for
//! whoever runs this program; it does not decide what a client of the API gets to see.

use std::path::PathBuf;

use sqlx::error::{BoxDynError, ErrorKind};
use sqlx::migrate::MigrateError;

/// Why the store failed. No message holds a password: of a Postgres URL only host, port and database are named.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the database URL cannot be used: {problem}; give `sqlite:<path>` or `postgres://user:password@host/database`"
    )]
    Url { problem: String },
    #[error("cannot write {}: make the file and its folder writable, or choose another data folder", path.display())]
    ReadOnly {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot open or create the database {}: its folder must exist", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{} is no SQLite database or is damaged: move it away to start afresh, or restore it from a backup",
        path.display()
    )]
    NotADatabase {
        path: PathBuf,
        #[source]
        source: sqlx::Error,
    },
    #[error(
        "cannot connect to Postgres at {address}: check that it runs there and accepts the user and password of the URL"
    )]
    Unreachable {
        address: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("Postgres at {address} did not answer within {timeout_ms} ms")]
    ConnectTimeout { address: String, timeout_ms: u64 },
    #[error("the database did not answer within {timeout_ms} ms")]
    NoAnswer { timeout_ms: u64 },
    #[error(
        "the database has schema version {found}, this program knows versions up to {known}: \
         run the newer release that last opened it"
    )]
    SchemaNewer { found: i64, known: i64 },
    #[error("bringing the database's schema up to date failed")]
    Migration(#[source] MigrateError),
    #[error("{table}.{column} of row {row:?} holds something this program never writes: restore the row from a backup")]
    Inconsistent {
        table: &'static str,
        column: &'static str,
        row: String,
        #[source]
        source: BoxDynError,
    },
    #[error("the cursor {cursor:?} is none that this API gave out: leave it out to read from the start")]
    Cursor { cursor: String },
    #[error("the integration, connection or sync that this belongs to was deleted meanwhile")]
    ParentGone(#[source] sqlx::Error),
    #[error("run {run_id} was cancelled or taken over by another process: nothing of it is written any more")]
    Superseded { run_id: crate::model::RunId },
    #[error("{what} {name:?} is taken")]
    Taken { what: &'static str, name: String },
    #[error("a text holds the character NUL (\\u0000), which the database cannot store")]
    NulCharacter(#[source] sqlx::Error),
    #[error("the database is full or its disk is")]
    Full(#[source] sqlx::Error),
    #[error("the database became read-only")]
    BecameReadOnly(#[source] sqlx::Error),
    #[error("the database failed: {0}")]
    Driver(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the same call may succeed later: the database is busy, full, read-only or away. False for what is wrong with
    /// the data of the call itself.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::ConnectTimeout { .. }
            | Self::NoAnswer { .. }
            | Self::Unreachable { .. }
            | Self::Full(_)
            | Self::BecameReadOnly(_) => true,
            Self::Driver(error) => is_outage(error),
            Self::Url { .. }
            | Self::ReadOnly { .. }
            | Self::Open { .. }
            | Self::NotADatabase { .. }
            | Self::SchemaNewer { .. }
            | Self::Migration(_)
            | Self::Inconsistent { .. }
            | Self::Cursor { .. }
            | Self::ParentGone(_)
            | Self::Superseded { .. }
            | Self::Taken { .. }
            | Self::NulCharacter(_) => false,
        }
    }
}

/// Primary result codes of SQLite, the low byte of what the driver gives. <https://www.sqlite.org/rescode.html>
const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
const SQLITE_NOMEM: i32 = 7;
const SQLITE_READONLY: i32 = 8;
const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_PROTOCOL: i32 = 15;
const SQLITE_NOTADB: i32 = 26;
/// SQLSTATEs of Postgres. <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const PG_CHARACTER_NOT_IN_REPERTOIRE: &str = "22021";
const PG_READ_ONLY_SQL_TRANSACTION: &str = "25006";
const PG_DISK_FULL: &str = "53100";
/// Classes of SQLSTATEs that say that the server, and not the statement, is at fault: connection, who may connect, which
/// database to, rollback for others' sake, resources, state of an object, an operator's doing, the system.
const PG_OUTAGES: [&str; 8] = ["08", "28", "3D", "40", "53", "55", "57", "58"];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else {
            return Self::Driver(error);
        };
        if database.kind() == ErrorKind::ForeignKeyViolation {
            return Self::ParentGone(error);
        }
        let code = database.code().unwrap_or_default();
        match (sqlite_code(&error), code.as_ref()) {
            (Some(SQLITE_READONLY), _) | (None, PG_READ_ONLY_SQL_TRANSACTION) => Self::BecameReadOnly(error),
            (Some(SQLITE_FULL), _) | (None, PG_DISK_FULL) => Self::Full(error),
            (None, PG_CHARACTER_NOT_IN_REPERTOIRE) => Self::NulCharacter(error),
            (Some(_) | None, _) => Self::Driver(error),
        }
    }
}

/// Whether the database is at fault, and not what it was asked.
fn is_outage(error: &sqlx::Error) -> bool {
    if let Some(code) = sqlite_code(error) {
        return matches!(
            code,
            SQLITE_BUSY | SQLITE_LOCKED | SQLITE_NOMEM | SQLITE_IOERR | SQLITE_CANTOPEN | SQLITE_PROTOCOL
        );
    }
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            PG_OUTAGES.iter().any(|class| code.starts_with(class))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::InvalidSavePointStatement
        | sqlx::Error::BeginFailed => true,
        // What cannot be encoded or decoded stays so; a closed pool is not opened again. The type is open-ended.
        _ => false,
    }
}

/// Whether SQLite says that the file is none of its own.
pub(super) fn is_not_a_database(error: &sqlx::Error) -> bool {
    matches!(sqlite_code(error), Some(SQLITE_NOTADB | SQLITE_CORRUPT))
}

/// Whether a unique key is taken.
pub(super) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|database| database.kind() == ErrorKind::UniqueViolation)
}

/// The primary result code, where the error is SQLite's: its codes are plain numbers below 10,000, those of Postgres
/// have five characters.
fn sqlite_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    if code.len() >= 5 {
        return None;
    }
    code.parse::<i32>().ok().map(|extended| extended & 0xff)
}
