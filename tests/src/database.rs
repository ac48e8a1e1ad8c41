//! A database for servers: SQLite in a data folder, or a database of its own on the Postgres that `NANGO_TEST_POSTGRES_URL`
//! names. [`for_each_database!`] makes two tests of one. Everything that is in it can be read out.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection as _, Executor as _, Row as _};
use tempfile::TempDir;

use crate::server::TestRuntime;
use crate::told;

/// The encryption key of servers that share a database and are not told another one: 32 bytes in base64.
pub const ENCRYPTION_KEY: &str = "Y29tbW9uIGtleSBvZiBzZXJ2ZXJzIGluIHRlc3RzISE=";

/// A database that is deleted with this value, which must outlive its servers.
#[derive(Debug)]
pub struct Database {
    folder: TempDir,
    postgres: Option<Postgres>,
}

#[derive(Debug)]
struct Postgres {
    admin_url: String,
    name: String,
    url: String,
}

/// A column of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    pub table: String,
    pub column: String,
    /// Bytes as they are, anything else as text; empty for null.
    pub bytes: Vec<u8>,
}

/// Makes two tests, `name::sqlite` and `name::postgres`, of each function `async fn name(database: Database)`.
#[macro_export]
macro_rules! for_each_database {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name($crate::Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name($crate::Database::postgres().await).await;
            }
        }
    )+};
}

impl Database {
    /// For one server at a time.
    ///
    /// # Panics
    ///
    /// When there can be no temporary folder.
    #[must_use]
    pub fn sqlite() -> Self {
        let folder = TempDir::with_prefix("nango-runtime-database-").expect("a temporary folder can be made");
        Self { folder, postgres: None }
    }

    /// For any number of servers.
    ///
    /// # Panics
    ///
    /// When no Postgres is named, or it makes no database.
    pub async fn postgres() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let admin_url = std::env::var("NANGO_TEST_POSTGRES_URL").unwrap_or_else(|_| {
            panic!(
                "NANGO_TEST_POSTGRES_URL is not set: run `make test`, which starts a Postgres, \
                 or set it to the URL of a server where databases may be created (`scripts/postgres start` prints one)"
            )
        });
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("nango_it_{}_{number}", std::process::id());
        let mut url = reqwest::Url::parse(&admin_url).expect("NANGO_TEST_POSTGRES_URL is a URL");
        url.set_path(&name);
        for statement in [
            format!("DROP DATABASE IF EXISTS {name}"),
            format!("CREATE DATABASE {name}"),
        ] {
            administer(&admin_url, statement).await;
        }
        let mut database = Self::sqlite();
        database.postgres = Some(Postgres {
            admin_url,
            name,
            url: url.into(),
        });
        database
    }

    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// Has a server use it. On Postgres each call is another node, with a data folder of its own; all seal with
    /// [`ENCRYPTION_KEY`].
    #[must_use]
    pub fn serve(&self, runtime: TestRuntime) -> TestRuntime {
        let runtime = runtime.environment("NANGO_ENCRYPTION_KEY", ENCRYPTION_KEY);
        self.serve_with_own_keys(runtime)
    }

    /// The same, with the encryption keys of the server's data folder.
    #[must_use]
    pub fn serve_with_own_keys(&self, runtime: TestRuntime) -> TestRuntime {
        match &self.postgres {
            Some(postgres) => runtime.environment("NANGO_DATABASE_URL", &postgres.url),
            None => runtime.data(&self.data()),
        }
    }

    /// The data folder of the server on SQLite; nothing is there on Postgres.
    #[must_use]
    pub fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// A folder for files of the test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything in all tables, whoever uses the database meanwhile.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    pub async fn dump(&self) -> Vec<Cell> {
        dump(&self.url(), self.postgres.is_some()).await
    }

    /// Changes something behind the servers' backs; gives how many rows.
    ///
    /// # Panics
    ///
    /// When the statement fails.
    pub async fn execute(&self, statement: &'static str) -> u64 {
        let mut connection = self.connect().await;
        let done = connection.execute(statement).await.expect("the statement is right");
        connection.close().await.expect("a connection can be closed");
        done.rows_affected()
    }

    /// The one value of a query's first row, as text; the query must make it that.
    ///
    /// # Panics
    ///
    /// When the query fails or finds nothing.
    pub async fn value(&self, statement: &'static str) -> String {
        let mut connection = self.connect().await;
        let row = connection.fetch_one(statement).await.expect("the query finds a row");
        connection.close().await.expect("a connection can be closed");
        row.get(0)
    }

    /// As if Postgres were away: whoever uses the database is cut off, and nobody gets to it until [`Database::come_back`].
    ///
    /// # Panics
    ///
    /// When it is no Postgres, or the user may not do that.
    pub async fn go_away(&self) {
        let Postgres { admin_url, name, .. } = self.postgres.as_ref().expect("SQLite is a file");
        administer(admin_url, format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
        let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        administer(admin_url, cut).await;
    }

    /// Ends [`Database::go_away`].
    ///
    /// # Panics
    ///
    /// As that.
    pub async fn come_back(&self) {
        let Postgres { admin_url, name, .. } = self.postgres.as_ref().expect("SQLite is a file");
        administer(admin_url, format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    }

    async fn connect(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        AnyConnection::connect(&self.url())
            .await
            .expect("the database is there")
    }

    /// Where it is, as `database_url` of the settings wants it. On SQLite it is there once a server was.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.postgres {
            Some(postgres) => postgres.url.clone(),
            None => format!("sqlite:{}", self.data().join("nango.sqlite").display()),
        }
    }
}

async fn dump(url: &str, is_postgres: bool) -> Vec<Cell> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await.expect("the database is there");
    let columns = if is_postgres {
        "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT) \
         FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    } else {
        "SELECT m.name, c.name, c.type FROM sqlite_master m, pragma_table_info(m.name) c \
         WHERE m.type = 'table' ORDER BY 1, 2"
    };
    let columns = connection.fetch_all(columns).await.expect("the schema can be read");
    let mut cells = Vec::new();
    for found in &columns {
        let (table, column, kind): (String, String, String) = (found.get(0), found.get(1), found.get(2));
        let is_bytes = matches!(kind.as_str(), "bytea" | "BLOB");
        let value = if is_bytes {
            format!("\"{column}\"")
        } else {
            format!("CAST(\"{column}\" AS TEXT)")
        };
        let query = sqlx::AssertSqlSafe(format!(
            "SELECT {value} FROM \"{table}\" WHERE \"{column}\" IS NOT NULL"
        ));
        let rows = connection.fetch_all(sqlx::raw_sql(query)).await;
        let rows = rows.unwrap_or_else(|error| panic!("{table}.{column} cannot be read: {error}"));
        cells.extend(rows.iter().map(|row| Cell {
            table: table.clone(),
            column: column.clone(),
            bytes: bytes(row, is_bytes),
        }));
    }
    connection.close().await.expect("a connection can be closed");
    cells
}

fn bytes(row: &AnyRow, is_bytes: bool) -> Vec<u8> {
    if is_bytes {
        row.get::<Vec<u8>, _>(0)
    } else {
        row.get::<String, _>(0).into_bytes()
    }
}

async fn administer(admin_url: &str, statement: String) {
    sqlx::any::install_default_drivers();
    let mut admin = AnyConnection::connect(admin_url)
        .await
        .expect("the Postgres of the tests runs");
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    admin
        .execute(statement)
        .await
        .expect("databases may be made and deleted");
    admin.close().await.expect("a connection can be closed");
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(postgres) = self.postgres.take() else { return };
        let is_failing = std::thread::panicking();
        // Tests run on a runtime, which must not be blocked by its own.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let statement = format!("DROP DATABASE {} WITH (FORCE)", postgres.name);
            runtime.expect("a runtime can be made").block_on(async {
                let cells = if is_failing {
                    Vec::new()
                } else {
                    dump(&postgres.url, true).await
                };
                administer(&postgres.admin_url, statement).await;
                let finder = told::finder();
                for cell in &cells {
                    finder.none_in(&format!("{}.{}", cell.table, cell.column), &cell.bytes);
                }
            });
        });
        if let Err(failed) = dropping.join() {
            if !is_failing {
                std::panic::resume_unwind(failed);
            }
            eprintln!("a database of the tests was left behind");
        }
    }
}
