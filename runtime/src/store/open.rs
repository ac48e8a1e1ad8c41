//! Opens a database and brings its schema up to date: the URL, the connection pools, what each database needs set. All
//! that depends on which database it is, is here and in [`super::sql`]; the lock on the data folder is not.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Connection, Executor, QueryBuilder, Transaction};
use url::Url;

use super::error::is_not_a_database;
use super::probe::Prober;
use super::{Store, StoreError};

/// Connections that read at the same time from SQLite. One more writes: SQLite has one writer at a time anyway, and
/// waiting for a pool is fair where waiting for its lock is not.
const SQLITE_READERS_MAX: u32 = 4;
/// Connections to Postgres of one process.
const POSTGRES_CONNECTIONS_MAX: u32 = 10;
/// How long the first connection to Postgres may take.
const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// How long a call waits for a free connection.
const ACQUIRE_TIMEOUT_MS: u64 = 30_000;

/// What is SQL's own and differs between the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// Each migration once, for both databases.
pub(super) const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "foundation", include_str!("../../migrations/0001_foundation.sql")),
    (2, "log_changes", include_str!("../../migrations/0002_log_changes.sql")),
    (3, "refresh", include_str!("../../migrations/0003_refresh.sql")),
    (4, "api_keys", include_str!("../../migrations/0004_api_keys.sql")),
    (
        5,
        "connect_sessions",
        include_str!("../../migrations/0005_connect_sessions.sql"),
    ),
    (
        6,
        "authorizations",
        include_str!("../../migrations/0006_authorizations.sql"),
    ),
    (7, "webhooks", include_str!("../../migrations/0007_webhooks.sql")),
    (8, "secrets", include_str!("../../migrations/0008_secrets.sql")),
    (9, "schedules", include_str!("../../migrations/0009_schedules.sql")),
    (10, "actions", include_str!("../../migrations/0010_actions.sql")),
    (11, "recordings", include_str!("../../migrations/0011_recordings.sql")),
    (12, "deletion", include_str!("../../migrations/0012_deletion.sql")),
    (
        13,
        "encryption_keys",
        include_str!("../../migrations/0013_encryption_keys.sql"),
    ),
    (
        14,
        "environment_variables",
        include_str!("../../migrations/0014_environment_variables.sql"),
    ),
    (
        15,
        "oauth_clients",
        include_str!("../../migrations/0015_oauth_clients.sql"),
    ),
    (17, "pruning", include_str!("../../migrations/0017_pruning.sql")),
    (18, "on_event", include_str!("../../migrations/0018_on_event.sql")),
    (
        20,
        "incoming_webhooks",
        include_str!("../../migrations/0020_incoming_webhooks.sql"),
    ),
    (
        21,
        "webhook_addresses",
        include_str!("../../migrations/0021_webhook_addresses.sql"),
    ),
    (22, "token_reads", include_str!("../../migrations/0022_token_reads.sql")),
    (23, "canaries", include_str!("../../migrations/0023_canaries.sql")),
    (
        24,
        "record_tracking",
        include_str!("../../migrations/0024_record_tracking.sql"),
    ),
    (
        25,
        "sealed_records",
        include_str!("../../migrations/0025_sealed_records.sql"),
    ),
    (
        26,
        "record_retention",
        include_str!("../../migrations/0026_record_retention.sql"),
    ),
    (
        27,
        "record_counts",
        include_str!("../../migrations/0027_record_counts.sql"),
    ),
    (
        28,
        "runs_and_functions",
        include_str!("../../migrations/0028_runs_and_functions.sql"),
    ),
    (
        29,
        "webhook_runs_in_history",
        include_str!("../../migrations/0029_webhook_runs_in_history.sql"),
    ),
    (
        30,
        "record_lookups",
        include_str!("../../migrations/0030_record_lookups.sql"),
    ),
];

/// For each connection to SQLite. WAL with `synchronous = NORMAL`: what was committed survives `kill -9` of this
/// process, because it is in the operating system's hands; only a power failure can lose the last commits (never older
/// ones, and the file stays whole). `FULL` would cost a disk flush for each commit. Checkpoints are rarer than by
/// default (8,000 pages of 4 KiB), since each one flushes and the log writes without pause under load. The schema's
/// `CHECK`s are left to Postgres, where the same tests run: what they check comes out of enums, and SQLite builds a
/// temporary B-tree for each `IN` of each row, which is a third of the time of a log write. `secure_delete = FAST`: what a change
/// leaves in a page that is written anyway is overwritten there, so that an old token does not stay behind a new one. Caches are small,
/// 8 MB for the writer and 1 MB for each reader: the operating system has the file's pages as well.
const SQLITE_WRITER_PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; \
     PRAGMA secure_delete = FAST; \
     PRAGMA ignore_check_constraints = ON; \
     PRAGMA busy_timeout = 10000; PRAGMA wal_autocheckpoint = 8000; PRAGMA journal_size_limit = 67108864; \
     PRAGMA cache_size = -8000; PRAGMA temp_store = MEMORY;";
const SQLITE_READER_PRAGMAS: &str =
    "PRAGMA query_only = ON; PRAGMA busy_timeout = 10000; PRAGMA cache_size = -1000; PRAGMA temp_store = MEMORY;";

impl Store {
    /// Opens `url` (`sqlite:<path>` or `postgres://…`) and brings its schema up to date. A missing SQLite file is
    /// created, readable for its owner only; its folder must be there.
    ///
    /// # Errors
    /// The URL is no such URL, the file cannot be written or is no database, Postgres cannot be reached, or the schema
    /// is newer than this program.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        if let Some(path) = url.strip_prefix("sqlite:") {
            open_sqlite(path).await
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            open_postgres(url).await
        } else {
            let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
            Err(StoreError::Url {
                problem: format!("{scheme:?} is no database this program knows"),
            })
        }
    }

    /// Closes all connections after the calls that are under way. SQLite then folds its write-ahead log into the file.
    pub async fn close(&self) {
        self.prober.close().await;
        self.reader.close().await;
        self.writer.close().await;
    }

    /// Begins a transaction that writes. On SQLite it takes the write lock at once: a transaction that first reads and
    /// then writes would otherwise fail where another one wrote in between.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let statement = match self.dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        };
        Ok(self.writer.begin_with(statement).await?)
    }

    fn new(dialect: Dialect, reader: AnyPool, writer: AnyPool, options: AnyConnectOptions) -> Self {
        Self {
            dialect,
            reader,
            writer,
            prober: Prober::new(options),
            message_sequence: Arc::new(AtomicI64::new(0)),
            erased: Arc::new(AtomicBool::new(true)),
            fence: None,
        }
    }
}

async fn open_sqlite(path: &str) -> Result<Store, StoreError> {
    // `sqlite:///folder/file` and `sqlite:/folder/file` mean the same; `sqlite:file` is relative.
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path == ":memory:" || path.contains('?') {
        return Err(StoreError::Url {
            problem: "a SQLite database needs the path of a file, without parameters".to_owned(),
        });
    }
    let path = PathBuf::from(path);
    create_file(&path)?;

    let options = sqlite_options(&path)?;
    let broken = |source: sqlx::Error| {
        if is_not_a_database(&source) {
            StoreError::NotADatabase {
                path: path.clone(),
                source,
            }
        } else {
            StoreError::from(source)
        }
    };
    let mut first = options.connect().await.map_err(broken)?;
    first.execute(SQLITE_WRITER_PRAGMAS).await.map_err(broken)?;
    migrate(&mut first, Dialect::Sqlite).await?;
    first.close().await.map_err(broken)?;

    let pool = |connections_max, pragmas: &'static str| {
        AnyPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(Duration::from_millis(ACQUIRE_TIMEOUT_MS))
            // A file does not go away like a server does: no need to ask before each use, nor to reconnect in time.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            // SQLite ends a transaction by itself when the disk fails or is full. The driver goes on counting it, and the
            // connection would refuse every transaction from then on.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .after_connect(move |connection, _| Box::pin(async move { connection.execute(pragmas).await.map(|_| ()) }))
            .connect_lazy_with(options.clone())
    };
    Ok(Store::new(
        Dialect::Sqlite,
        pool(SQLITE_READERS_MAX, SQLITE_READER_PRAGMAS),
        pool(1, SQLITE_WRITER_PRAGMAS),
        options,
    ))
}

/// Creates the file if need be. SQLite would say "unable to open database file" to whatever is wrong; the operating
/// system says what it is.
fn create_file(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(source)
            if matches!(
                source.kind(),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Err(StoreError::ReadOnly {
                path: path.to_owned(),
                source,
            })
        }
        Err(source) => Err(StoreError::Open {
            path: path.to_owned(),
            source,
        }),
    }
}

fn sqlite_options(path: &Path) -> Result<AnyConnectOptions, StoreError> {
    /// What would end the path of a URL, or be taken for an escape.
    const RESERVED: AsciiSet = CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ');
    let unusable = |problem: String| StoreError::Url { problem };
    let path = std::path::absolute(path).map_err(|error| unusable(error.to_string()))?;
    let path = path
        .to_str()
        .ok_or_else(|| unusable(format!("the path {} is not UTF-8", path.display())))?;
    AnyConnectOptions::from_str(&format!("sqlite://{}", utf8_percent_encode(path, &RESERVED)))
        .map(ConnectOptions::disable_statement_logging)
        .map_err(|error| unusable(error.to_string()))
}

async fn open_postgres(url: &str) -> Result<Store, StoreError> {
    let url = Url::parse(url).map_err(|error| StoreError::Url {
        problem: error.to_string(),
    })?;
    let address = address(&url);
    let options = AnyConnectOptions::from_url(&url)
        .map(ConnectOptions::disable_statement_logging)
        .map_err(|error| StoreError::Url {
            problem: error.to_string(),
        })?;

    // Not through the pool, which retries until its time is up and then forgets why.
    let connect = tokio::time::timeout(Duration::from_millis(CONNECT_TIMEOUT_MS), options.connect());
    let mut first = match connect.await {
        Ok(Ok(connection)) => connection,
        Ok(Err(source)) => return Err(StoreError::Unreachable { address, source }),
        Err(_elapsed) => {
            return Err(StoreError::ConnectTimeout {
                address,
                timeout_ms: CONNECT_TIMEOUT_MS,
            });
        }
    };
    migrate(&mut first, Dialect::Postgres).await?;
    first.close().await?;

    let pool = AnyPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS_MAX)
        .acquire_timeout(Duration::from_millis(ACQUIRE_TIMEOUT_MS))
        .connect_lazy_with(options.clone());
    Ok(Store::new(Dialect::Postgres, pool.clone(), pool, options))
}

/// Where a Postgres is, for messages: no user, no password, no parameters.
fn address(url: &Url) -> String {
    let socket = url
        .query_pairs()
        .find(|(name, _)| name == "host")
        .map(|(_, folder)| folder.into_owned());
    let host = socket.as_deref().or(url.host_str()).unwrap_or("localhost");
    format!("{host}:{}{}", url.port().unwrap_or(5432), url.path())
}

async fn migrate(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), StoreError> {
    let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
        let sql = match dialect {
            Dialect::Sqlite => (*sql).to_owned(),
            Dialect::Postgres => sql.replace("BLOB", "BYTEA"),
        };
        let sql = QueryBuilder::<Any>::new(sql).into_sql();
        Migration::new(*version, (*description).into(), MigrationType::Simple, sql, false)
    });
    let migrator = Migrator::with_migrations(migrations.collect());
    match migrator.run_direct(None, connection, false).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(StoreError::SchemaNewer {
            found,
            known: MIGRATIONS.last().map_or(0, |(version, _, _)| *version),
        }),
        Err(error) => Err(StoreError::Migration(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_secrets() {
        let url = Url::parse("postgres://me:secret@db.example.com:5433/nango?sslmode=require").unwrap();
        assert_eq!(address(&url), "db.example.com:5433/nango");
        let url = Url::parse("postgres://me:secret@localhost/nango?host=%2Frun%2Fpg&password=secret").unwrap();
        assert_eq!(address(&url), "/run/pg:5432/nango");
    }

    #[test]
    fn blob_is_only_ever_a_column_type() {
        for (_, _, sql) in MIGRATIONS {
            let statements = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
            for line in statements.filter(|line| line.contains("BLOB")) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let column = if words[0] == "ALTER" { &words[5..] } else { &words[..] };
                assert!(column[1].trim_end_matches([',', ';']) == "BLOB", "{line}");
            }
        }
    }
}
