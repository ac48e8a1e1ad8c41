//! Opening databases that are there, that cannot be opened, and that are something else.

use std::error::Error;

use sqlx::{AnyConnection, Connection, Executor};

use super::{Fixture, PostgresDatabase, for_each_db};
use crate::store::open::Dialect;
use crate::store::{Store, StoreError};

for_each_db! {
    what_is_wrong_with_a_statement_is_no_outage,
    a_probe_looks_again_when_its_connection_was_cut,
}

fn sqlite_url(path: &std::path::Path) -> String {
    format!("sqlite:{}", path.display())
}

/// What a person gets to read: the message and those of its causes.
fn whole_message(error: &StoreError) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message
}

#[tokio::test]
async fn a_file_is_created_for_its_owner_only_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    // Characters that mean something in URLs.
    let path = folder.path().join("with space, 100% & #1.db");
    let store = Store::open(&sqlite_url(&path)).await.unwrap();
    Fixture::new(&store).await;
    store.close().await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let store = Store::open(&sqlite_url(&path)).await.unwrap();
    assert_eq!(store.environments().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();

    let missing = folder.path().join("missing/nango.db");
    let error = Store::open(&sqlite_url(&missing)).await.unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
    assert!(error.to_string().contains("its folder must exist"), "{error}");

    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is a letter, and no database at all\n".repeat(100)).unwrap();
    let error = Store::open(&sqlite_url(&text)).await.unwrap_err();
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
    assert!(error.to_string().contains("text.db is no SQLite database"), "{error}");

    for url in [
        "sqlite:",
        "sqlite::memory:",
        "sqlite:x.db?mode=ro",
        "mysql://me:secret@host/db",
        "nonsense",
    ] {
        let error = Store::open(url).await.unwrap_err();
        assert!(matches!(error, StoreError::Url { .. }), "{url}: {error}");
        assert!(!whole_message(&error).contains("secret"), "{error}");
    }
}

/// `/sys` is read-only even for root.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_read_only_folder_is_named() {
    let error = Store::open("sqlite:/sys/nango.db").await.unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("cannot write /sys/nango.db"), "{error}");
}

#[tokio::test]
async fn an_unreachable_postgres_is_named_without_its_password() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("postgres://me:hunter2@127.0.0.1:{port}/nango");
    let error = Store::open(&url).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}/nango")),
        "{error}"
    );
    assert!(!whole_message(&error).contains("hunter2"), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

async fn refuses_a_newer_schema(url: &str) {
    Store::open(url).await.unwrap().close().await;
    let mut connection = AnyConnection::connect(url).await.unwrap();
    connection
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 9999, 'future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await
        .unwrap();
    connection.close().await.unwrap();
    let error = Store::open(url).await.unwrap_err();
    assert!(matches!(error, StoreError::SchemaNewer { found: 9999, .. }), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    refuses_a_newer_schema(&sqlite_url(&folder.path().join("test.db"))).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_on_postgres() {
    let database = PostgresDatabase::create().await;
    refuses_a_newer_schema(database.url.as_str()).await;
    database.drop().await;
}

#[tokio::test]
async fn a_store_does_not_print_its_url() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&sqlite_url(&folder.path().join("test.db"))).await.unwrap();
    assert_eq!(format!("{store:?}"), "Store(Sqlite)");
}

async fn what_is_wrong_with_a_statement_is_no_outage(store: Store) {
    let insert = "INSERT INTO settings (name, value) SELECT 'twice', value FROM settings WHERE name = 'once'";
    let once = "INSERT INTO settings (name, value) VALUES ('once', $1)";
    sqlx::query(once).bind(vec![1_u8]).execute(&store.writer).await.unwrap();
    store.writer.execute(insert).await.unwrap();
    for statement in [
        insert,
        "INSERT INTO settings (name, value) VALUES ('nothing', NULL)",
        "SELECT no_such_column FROM settings",
        "SELECT FROM WHERE",
    ] {
        let error = StoreError::from(store.writer.execute(statement).await.unwrap_err());
        assert!(!error.is_transient(), "{statement}: {error:?}");
    }
    let closed = StoreError::from(sqlx::Error::PoolTimedOut);
    assert!(closed.is_transient(), "{closed:?}");
}

async fn a_probe_looks_again_when_its_connection_was_cut(store: Store) {
    store.probe().await.unwrap();
    if store.dialect == Dialect::Postgres {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        assert!(!store.writer.fetch_all(cut).await.unwrap().is_empty());
    }
    store.probe().await.unwrap();
    sqlx::query("DROP TABLE settings").execute(&store.writer).await.unwrap();
    store.probe().await.unwrap_err();
}

#[tokio::test]
async fn a_probe_of_a_postgres_that_is_gone_says_so() {
    let database = PostgresDatabase::create().await;
    let store = Store::open(database.url.as_str()).await.unwrap();
    store.close().await;
    database.drop().await;
    let error = store.probe().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

/// SQLite then ends the transaction by itself, and the driver does not notice.
#[tokio::test]
async fn a_disk_that_is_full_for_a_while_blocks_the_database_no_longer_than_that() {
    super::on_sqlite(|store: Store| async move {
        // The smallest limit is the present size; it holds for this one connection.
        store.writer.execute("PRAGMA max_page_count = 1").await.unwrap();
        let mut transaction = store.begin().await.unwrap();
        let written = sqlx::query("INSERT INTO settings (name, value) VALUES ('large', $1)")
            .bind(vec![1_u8; 4 << 20])
            .execute(&mut *transaction)
            .await;
        let error = StoreError::from(written.unwrap_err());
        assert!(matches!(error, StoreError::Full(_)) && error.is_transient(), "{error}");
        drop(transaction);
        Fixture::new(&store).await;
        let transaction = store.begin().await.unwrap();
        transaction.commit().await.unwrap();
    })
    .await;
}
