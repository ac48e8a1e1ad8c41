//! A request body whose rest is read even when nobody wants it. An answer may come before the whole body was read: a provider
//! refuses a large upload, a key is unknown. Closing the connection then would reset it while the caller still sends, and he
//! would see a broken pipe instead of the answer. So the rest is read and thrown away for a while, as web servers do.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

/// The buffers of a connection take smaller bodies whether or not they are read.
const BODY_BYTES_MIN: u64 = 16 * 1024;
/// A caller who sends nothing for so long has seen the answer, or never will.
const SILENCE_MS: u64 = 5_000;
/// All the time for the rest of one body.
const LINGER_MS: u64 = 30_000;

/// Dropping it before its end has the rest read.
struct LingeringBody {
    /// None at its end.
    body: Option<Body>,
    /// Whether the caller sends it in any case, and not only when somebody begins to read.
    is_sent: bool,
}

/// Has the rest of the body read when it is dropped, if it is large or of unknown size.
pub fn wrap(request: Request) -> Request {
    let bytes = request.body().size_hint().upper();
    if bytes.is_some_and(|bytes| bytes < BODY_BYTES_MIN) {
        return request;
    }
    // RFC 9110, 10.1.1: who expects 100 waits for it before he sends, and it is reading that gives it.
    let is_sent = !request.headers().contains_key(header::EXPECT);
    request.map(|body| {
        Body::new(LingeringBody {
            body: Some(body),
            is_sent,
        })
    })
}

impl http_body::Body for LingeringBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_sent = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for LingeringBody {
    fn drop(&mut self) {
        // Without a runtime everything ends, the connection included.
        if let Some(body) = self.body.take()
            && self.is_sent
            && !body.is_end_stream()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(read_rest(body));
        }
    }
}

async fn read_rest(mut body: Body) {
    let silence = Duration::from_millis(SILENCE_MS);
    let reading = async { while let Ok(Some(Ok(_))) = tokio::time::timeout(silence, body.frame()).await {} };
    // Whichever way it ends, there is nobody to tell.
    let _ = tokio::time::timeout(Duration::from_millis(LINGER_MS), reading).await;
}
