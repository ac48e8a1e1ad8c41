//! Sends a guest's requests through the proxy and bounds what their answers may take on the host.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::fault::{Fault, Suspended};
use super::reach::{Asked, Reach};
use super::response::Response;
use crate::connections::RunMasker;
use crate::model::{ExecutionContext, Progress, Usage};
use crate::proxy::{Body, FetchRequest, ProxyRequest};

/// Requests one `batch` has under way at the same time, whatever it asks for.
pub(super) const BATCH_IN_FLIGHT_MAX: usize = 16;
/// Requests in one `batch`.
pub(super) const BATCH_REQUESTS_MAX: usize = 500;
/// Requests under way that were begun with `start`.
const PENDING_MAX: usize = 16;
/// All answers a run holds at the same time may take this many times what one may.
const HELD_BODIES_MAX: usize = 4;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sender {
    reach: Reach,
    ctx: ExecutionContext,
    body_bytes_max: usize,
    counted: Arc<Counted>,
    pending: Arc<Semaphore>,
    /// How long a request waits for a rate limit before the run is suspended, in milliseconds; none where it is not.
    patience_ms: Option<u64>,
    /// What the run knows is masked in the log of its requests; none where nothing is sent.
    masker: Option<RunMasker>,
    /// Where a sync says that it asks.
    progress: Option<Progress>,
}

/// What a run asked for and got.
#[derive(Default)]
struct Counted {
    /// Bytes of answers that the run holds.
    held_bytes: AtomicUsize,
    requests: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Sender {
    /// An answer's body may have `body_bytes_max`.
    pub(crate) fn new(
        reach: Reach,
        ctx: ExecutionContext,
        body_bytes_max: usize,
        patience_ms: Option<u64>,
        masker: Option<RunMasker>,
        progress: Option<Progress>,
    ) -> Self {
        Self {
            patience_ms,
            masker,
            progress,
            reach,
            ctx,
            body_bytes_max,
            counted: Arc::default(),
            pending: Arc::new(Semaphore::new(PENDING_MAX)),
        }
    }

    pub(super) fn ctx(&self) -> &ExecutionContext {
        &self.ctx
    }

    /// Requests and the bytes of their bodies; the rest is none of its business.
    pub(super) fn traffic(&self) -> Usage {
        Usage {
            requests: self.counted.requests.load(Ordering::Relaxed),
            sent_bytes: self.counted.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.counted.received_bytes.load(Ordering::Relaxed),
            ..Usage::default()
        }
    }

    pub(super) async fn send(&self, request: ProxyRequest) -> Result<Response, Fault> {
        let asked = self.reach.asked(&request);
        self.finish(asked, request).await
    }

    async fn finish(&self, asked: Asked, mut request: ProxyRequest) -> Result<Response, Fault> {
        let body_bytes_max = self.body_bytes_max;
        self.counted.requests.fetch_add(1, Ordering::Relaxed);
        let _asking = self.progress.as_ref().map(Progress::ask);
        if let Body::Bytes(body) = &request.body {
            self.counted.sent_bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
        request.wait_ms_max = self.patience_ms;
        request.masker = self.masker.as_ref().filter(|it| it.knows_more()).cloned();
        let exchanged = self.reach.exchange(asked, &self.ctx, request, body_bytes_max).await;
        if let (Some(patience_ms), true) = (self.patience_ms, may_be_held_back(&exchanged))
            && let Some(wait_ms) = self.reach.held_back_ms(&self.ctx).await
            && wait_ms > patience_ms
        {
            return Err(Fault::Trap(wasmtime::Error::new(Suspended { wait_ms })));
        }
        self.hold(exchanged?)
    }

    /// Sends a request to any host.
    pub(super) async fn fetch(&self, request: FetchRequest) -> Result<Response, Fault> {
        self.counted.requests.fetch_add(1, Ordering::Relaxed);
        let _asking = self.progress.as_ref().map(Progress::ask);
        let sent_bytes = request.body.len() as u64;
        self.counted.sent_bytes.fetch_add(sent_bytes, Ordering::Relaxed);
        let masker = self.masker.as_ref();
        let exchanged = self.reach.fetch(&self.ctx, request, masker, self.body_bytes_max).await;
        self.hold(exchanged?)
    }

    /// The answer as the run holds it from now on.
    fn hold(&self, (status, headers, body): (StatusCode, HeaderMap, Bytes)) -> Result<Response, Fault> {
        self.counted
            .received_bytes
            .fetch_add(body.len() as u64, Ordering::Relaxed);
        let held_bytes_max = self.body_bytes_max.saturating_mul(HELD_BODIES_MAX);
        let held = Held::take(&self.counted, body.len(), held_bytes_max)?;
        Ok(Response::new(status, headers, body, held))
    }

    /// Begins to send. Must be called on a tokio runtime.
    pub(super) fn start(&self, request: ProxyRequest) -> Pending {
        let Ok(permit) = Arc::clone(&self.pending).try_acquire_owned() else {
            return Pending::Refused(Fault::new(
                "too_many_requests_pending",
                format!("{PENDING_MAX} requests are under way already: wait for one of them"),
            ));
        };
        let sender = self.clone();
        let asked = self.reach.asked(&request);
        Pending::Sent(AbortOnDrop(tokio::spawn(async move {
            let _permit = permit;
            sender.finish(asked, request).await
        })))
    }
}

/// Providers refuse with 429, some with 403.
fn may_be_held_back<T, U>(exchanged: &Result<(StatusCode, T, U), Fault>) -> bool {
    match exchanged {
        Ok((status, ..)) => matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN),
        Err(fault) => fault.is_rate_limit(),
    }
}

/// A request under way, the contract's resource `pending`.
pub enum Pending {
    Sent(AbortOnDrop),
    /// It was never sent.
    Refused(Fault),
    Taken,
}

impl Pending {
    /// Takes the request out; the next one gets `already_taken`.
    pub(super) fn take(&mut self) -> Result<AbortOnDrop, Fault> {
        match std::mem::replace(self, Self::Taken) {
            Self::Sent(request) => Ok(request),
            Self::Refused(fault) => Err(fault),
            Self::Taken => Err(Fault::new(
                "already_taken",
                "the answer of this request was taken before",
            )),
        }
    }
}

/// A task that does not outlive its handle.
pub struct AbortOnDrop(JoinHandle<Result<Response, Fault>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Future for AbortOnDrop {
    type Output = Result<Response, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|joined| {
            joined.unwrap_or_else(|error| {
                // A panic of the proxy costs this request; nobody aborts a task that is waited for but a runtime that stops.
                tracing::error!(%error, "A request of a function ended without an answer");
                Err(Fault::new(
                    "internal_error",
                    "the request ended without an answer; the runtime's log says why",
                ))
            })
        })
    }
}

/// Bytes of answers that a run holds; given back when dropped.
pub(super) struct Held {
    counted: Arc<Counted>,
    bytes: usize,
}

impl Held {
    fn take(counted: &Arc<Counted>, bytes: usize, bytes_max: usize) -> Result<Self, Fault> {
        let held = Self {
            counted: Arc::clone(counted),
            bytes,
        };
        let before = counted.held_bytes.fetch_add(bytes, Ordering::AcqRel);
        if before.saturating_add(bytes) > bytes_max {
            return Err(Fault::new(
                "too_many_responses",
                format!(
                    "the run holds answers of {before} bytes and may hold {bytes_max}: drop those it has read before it asks for more"
                ),
            ));
        }
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counted.held_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_bytes_are_given_back() {
        let counted = Arc::<Counted>::default();
        let first = Held::take(&counted, 60, 100).unwrap();
        assert!(Held::take(&counted, 60, 100).is_err());
        assert_eq!(
            counted.held_bytes.load(Ordering::Acquire),
            60,
            "a refusal takes nothing"
        );
        drop(first);
        assert!(Held::take(&counted, 60, 100).is_ok());
    }

    #[tokio::test]
    async fn a_pending_request_is_taken_once() {
        let mut pending = Pending::Sent(AbortOnDrop(tokio::spawn(std::future::pending())));
        assert!(pending.take().is_ok());
        assert!(matches!(pending.take(), Err(Fault::Error(error)) if error.code == "already_taken"));
    }
}
