//! The listener: HTTP/1.1 with keep-alive, a cap on connections, time limits on request heads and on clients that take nothing of
//! their answer, and an orderly end. No TLS: that is the business of whatever stands in front.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::edge::Edge;
use super::service::Service;
use super::workers::Workers;
use crate::clock::Entropy;
use crate::runtime::Runtime;

/// Open connections; more wait in the listener's backlog.
pub const CONNECTIONS_MAX: u32 = 10_000;
/// From one response to the end of the next request's head. Also how long an idle connection is kept: longer than the minute
/// that clients and load balancers commonly keep theirs, so that they close first.
pub const HEAD_TIMEOUT_MS: u64 = 61_000;
/// Pause after `accept` failed, usually for want of file descriptors.
const ACCEPT_RETRY_MS: u64 = 100;

/// Serves the API on `listener` until `shutdown` is done; then takes no more requests, tells running functions to
/// return and waits for what is under way, `limits.shutdown_timeout_ms` at most.
pub async fn serve(
    listener: TcpListener,
    runtime: Runtime,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let shutdown_timeout_ms = runtime.config().limits.shutdown_timeout_ms;
    let service = Arc::new(Service::new(runtime.clone(), Edge::new(&Entropy::system())));
    let workers = Workers::start(&service)?;
    drop(service);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            // The semaphore is never closed: an error cannot happen and would end the server.
            let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await, slot))
        };
        let (accepted, slot) = tokio::select! {
            accepted = accepted => accepted?,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Err(error) = workers.serve(stream, slot) {
                    tracing::warn!(%error, "A connection was dropped: {error}");
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "Accepting a connection failed; trying again in {ACCEPT_RETRY_MS} ms");
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
    drop(listener);
    runtime.begin_shutdown();
    let all_done = async {
        let all = slots.acquire_many(CONNECTIONS_MAX);
        if tokio::time::timeout(Duration::from_millis(shutdown_timeout_ms), all)
            .await
            .is_err()
        {
            tracing::warn!(
                "Requests were still under way {shutdown_timeout_ms} ms after the order to stop (limits.shutdown_timeout_ms); leaving them"
            );
        }
    };
    workers.stop(all_done).await;
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
