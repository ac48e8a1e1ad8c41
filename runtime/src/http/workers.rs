//! The threads that serve connections: one for each core, each with a tokio runtime of its own. What a request waits for (its
//! connection, the one to the upstream, timers) is driven by the thread that handles it, so that no request wakes another
//! thread. A connection stays where it was put; the thread with the fewest gets the next.

use std::io;
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio_io_timeout::TimeoutStream;

use super::serve::{CONNECTIONS_MAX, HEAD_TIMEOUT_MS};
use super::service::Service;

pub(super) struct Workers {
    workers: Vec<Worker>,
    /// Gone when connections are to end after the request they are at.
    stop: watch::Sender<()>,
}

struct Worker {
    accepted: mpsc::Sender<Accepted>,
    /// Counted by its holders: each connection has one.
    open: Arc<()>,
    /// Says that the thread is over, by being dropped.
    over: oneshot::Receiver<()>,
}

struct Accepted {
    stream: TcpStream,
    /// Given back when the connection is closed.
    held: (OwnedSemaphorePermit, Arc<()>),
}

impl Workers {
    /// Starts a thread for each core.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub(super) fn start(service: &Arc<Service>) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (stop, stopped) = watch::channel(());
        let workers = (0..cores)
            .map(|_| Worker::start(Arc::clone(service), stopped.clone()))
            .collect::<io::Result<_>>()?;
        Ok(Self { workers, stop })
    }

    /// Hands a connection over. It holds `slot` until it is closed.
    ///
    /// # Errors
    /// When the socket cannot be taken from its runtime, or the thread is gone.
    pub(super) fn serve(&self, stream: tokio::net::TcpStream, slot: OwnedSemaphorePermit) -> io::Result<()> {
        let least = self.workers.iter().min_by_key(|worker| Arc::strong_count(&worker.open));
        let least = least.ok_or_else(|| io::Error::other("there are no threads"))?;
        let accepted = Accepted {
            stream: stream.into_std()?,
            held: (slot, Arc::clone(&least.open)),
        };
        least.accepted.try_send(accepted).map_err(io::Error::other)
    }

    /// Lets each connection end after the request it is at; then `wait` for them; then ends the threads, with whatever still
    /// runs on them.
    pub(super) async fn stop(self, wait: impl Future<Output = ()>) {
        drop(self.stop);
        wait.await;
        for Worker {
            accepted,
            over,
            open: _,
        } in self.workers
        {
            drop(accepted);
            // Nothing is ever sent: the error is the news.
            let _ = over.await;
        }
    }
}

impl Worker {
    fn start(service: Arc<Service>, stopped: watch::Receiver<()>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // As many as there can be connections: sending never waits.
        let (accepted, to_serve) = mpsc::channel(CONNECTIONS_MAX as usize);
        let (alive, over) = oneshot::channel();
        std::thread::Builder::new()
            .name("nango-http".to_owned())
            .spawn(move || {
                run(runtime, &service, to_serve, &stopped);
                drop(alive);
            })?;
        Ok(Self {
            accepted,
            open: Arc::new(()),
            over,
        })
    }
}

/// Serves what comes until the sender is gone.
fn run(
    runtime: Runtime,
    service: &Arc<Service>,
    mut to_serve: mpsc::Receiver<Accepted>,
    stopped: &watch::Receiver<()>,
) {
    runtime.block_on(async move {
        while let Some(Accepted { stream, held }) = to_serve.recv().await {
            let (service, stopped) = (Arc::clone(service), stopped.clone());
            tokio::spawn(async move {
                serve_connection(stream, service, stopped).await;
                drop(held);
            });
        }
    });
    // Files may still be read for a request that was given up; nobody waits for them.
    runtime.shutdown_background();
}

async fn serve_connection(stream: TcpStream, service: Arc<Service>, mut stopped: watch::Receiver<()>) {
    let stream = match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "A connection was dropped: {error}");
            return;
        }
    };
    // Small answers leave at once; without it a connection merely is slower.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(Duration::from_millis(service.send_timeout_ms())));
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { service.answer(request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_TIMEOUT_MS))
        .serve_connection(TokioIo::new(Box::pin(stream)), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // The sender says nothing but that it is gone.
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that goes away in the middle is its own business.
        tracing::debug!(%error, "A connection ended early: {error}");
    }
}
