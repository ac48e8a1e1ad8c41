//! The database: SQLite by default, Postgres when several nodes share the work. SQL lives here and nowhere else.

mod checkpoints;
mod connections;
mod deployments;
mod integrations;
mod logs;
mod records;
mod runs;
mod syncs;

pub use connections::ConnectionQuery;
pub use deployments::NewDeployment;
pub use logs::{MessageQuery, OperationQuery};
pub use records::{RecordKey, RecordPage, RecordWrite};
pub use runs::ClaimedRun;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database failed: {0}")]
    Driver(#[from] sqlx::Error),
}

impl Store {
    /// Opens `url` (`sqlite:<path>` or `postgres://…`) and brings its schema up to date.
    pub async fn open(_url: &str) -> Result<Self, StoreError> {
        todo!()
    }
}
