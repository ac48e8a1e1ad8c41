//! One refresh of a connection at a time in this process, however many ask for it. It runs as a task of its own: whoever asked
//! first may go away without taking the result from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::runtime::Handle;

use super::{NoCredentials, RefreshError, Refreshed};
use crate::model::ConnectionKey;

/// A refresh under way; everyone may wait for it.
pub(super) type Flight = Shared<BoxFuture<'static, Result<Refreshed, NoCredentials>>>;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Flights {
    /// Where refreshes run: not where functions do, who could hold them up.
    runtime: Handle,
    /// At most one for each caller that waits. A std mutex: held to look up, insert or remove, never across an await.
    by_connection: Arc<Mutex<HashMap<ConnectionKey, Flight>>>,
}

impl Flights {
    /// Must be called on a tokio runtime: there refreshes will run.
    pub(super) fn new() -> Self {
        Self {
            runtime: Handle::current(),
            by_connection: Arc::default(),
        }
    }

    /// The refresh of this connection that is under way, or the one begun now.
    pub(super) fn join<F>(&self, key: &ConnectionKey, refresh: impl FnOnce() -> F) -> Flight
    where
        F: Future<Output = Result<Refreshed, NoCredentials>> + Send + 'static,
    {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(key) {
            return flight.clone();
        }
        let landing = Landing {
            flights: self.clone(),
            key: key.clone(),
        };
        let refresh = refresh();
        let runtime = self.runtime.clone();
        // Begins when somebody first waits for it, and so without the lock.
        let flight = async move {
            let task = runtime.spawn(async move {
                // Dropped even when the refresh panics.
                let _landing = landing;
                refresh.await
            });
            task.await.unwrap_or_else(|error| {
                tracing::error!(%error, "A refresh of credentials ended without a result");
                Err(NoCredentials::Refresh(Arc::new(RefreshError::Broken)))
            })
        };
        let flight = flight.boxed().shared();
        flights.insert(key.clone(), flight.clone());
        flight
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionKey, Flight>> {
        self.by_connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight out of the map when it is over.
struct Landing {
    flights: Flights,
    key: ConnectionKey,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}
