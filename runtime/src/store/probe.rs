//! Whether the database answers, asked on a connection of its own: that all others are busy is no outage.

use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, ConnectOptions, Connection};
use tokio::sync::Mutex;

use super::{Store, StoreError};

/// How long an answer is waited for.
const PROBE_TIMEOUT_MS: u64 = 2_000;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Prober {
    options: AnyConnectOptions,
    /// Held while the database is asked. None before the first time, and after a failure.
    kept: Arc<Mutex<Option<AnyConnection>>>,
}

impl Prober {
    pub(super) fn new(options: AnyConnectOptions) -> Self {
        Self {
            options,
            kept: Arc::default(),
        }
    }

    pub(super) async fn close(&self) {
        if let Some(connection) = self.kept.lock().await.take() {
            // It was only ever read with.
            let _ = connection.close().await;
        }
    }

    async fn ask(&self) -> Result<(), sqlx::Error> {
        let mut kept = self.kept.lock().await;
        // One that was cut meanwhile, by a restart of Postgres or a firewall, says nothing of how things are now.
        if let Some(mut connection) = kept.take()
            && read(&mut connection).await.is_ok()
        {
            *kept = Some(connection);
            return Ok(());
        }
        let mut connection = self.options.connect().await?;
        read(&mut connection).await?;
        *kept = Some(connection);
        Ok(())
    }
}

/// Reads something that is in every database of ours, so that SQLite has to look into its file.
async fn read(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let name = sqlx::query_scalar::<_, String>("SELECT name FROM settings LIMIT 1");
    name.fetch_optional(connection).await.map(|_| ())
}

impl Store {
    /// Whether the database answers; whether it can be written is not asked. Calls wait for each other.
    ///
    /// # Errors
    /// [`StoreError::NoAnswer`] after 2 s; what keeps the database from answering.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let timeout_ms = PROBE_TIMEOUT_MS;
        match tokio::time::timeout(Duration::from_millis(timeout_ms), self.prober.ask()).await {
            Ok(answered) => Ok(answered?),
            Err(_elapsed) => Err(StoreError::NoAnswer { timeout_ms }),
        }
    }
}
