//! The body on its way to the provider, sent in slices so that whoever waits for the answer can see whether it still moves.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};

use super::ByteStream;
use super::error::BoxError;

/// A body in memory is handed over in slices of this size.
const SLICE_BYTES: usize = 64 * 1024;

/// How a body gets on.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Moves>);

#[derive(Debug, Default)]
struct Moves {
    count: AtomicU64,
    starved: AtomicBool,
}

impl Progress {
    /// How often the connection took a piece of the body.
    pub(super) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Whether the connection would take more and the caller has not sent it.
    pub(super) fn is_starved(&self) -> bool {
        self.0.starved.load(Ordering::Relaxed)
    }

    fn moved(&self) {
        self.0.starved.store(false, Ordering::Relaxed);
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request body for the HTTP client.
pub(super) enum UpstreamBody {
    Bytes { left: Bytes, progress: Progress },
    Stream { stream: ByteStream, progress: Progress },
}

/// The caller's stream broke: the fault is on this side, not the provider's.
#[derive(Debug, thiserror::Error)]
#[error("the request body broke off")]
pub(super) struct SourceBroke(#[source] pub(super) std::io::Error);

impl http_body::Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Bytes { left, progress } => {
                progress.moved();
                let slice = left.split_to(left.len().min(SLICE_BYTES));
                Poll::Ready((!slice.is_empty()).then(|| Ok(Frame::data(slice))))
            }
            Self::Stream { stream, progress } => {
                let Poll::Ready(next) = stream.0.as_mut().poll_next(cx) else {
                    progress.0.starved.store(true, Ordering::Relaxed);
                    return Poll::Pending;
                };
                progress.moved();
                Poll::Ready(next.map(|piece| match piece {
                    Ok(piece) => Ok(Frame::data(piece)),
                    Err(error) => Err(Box::new(SourceBroke(error)) as BoxError),
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes { left, .. } => left.is_empty(),
            Self::Stream { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes { left, .. } => SizeHint::with_exact(left.len() as u64),
            Self::Stream { .. } => SizeHint::default(),
        }
    }
}

impl ByteStream {
    /// A stream of pieces.
    pub fn new(stream: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// One piece.
    #[must_use]
    pub fn once(bytes: Bytes) -> Self {
        let piece: Result<Bytes, Infallible> = Ok(bytes);
        Self::new(futures_util::stream::iter([piece.map_err(|never| match never {})]))
    }
}
