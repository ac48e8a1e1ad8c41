//! The answer on its way to the caller: hop-by-hop headers taken out, the body as it comes, with limits on silence and on
//! the whole time, decoded only when that was asked for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZstdDecoder};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt};
use tokio_util::io::{ReaderStream, StreamReader};

use super::client::Deadline;
use super::request::is_hop_by_hop;
use super::{ByteStream, ProxyError, ProxyResponse};
use crate::clock::Clock;

/// Decoded bodies are handed on in pieces of this size.
const DECODED_PIECE_BYTES: usize = 16 * 1024;

/// Limits of one body.
pub(super) struct BodyLimits {
    pub(super) clock: Clock,
    pub(super) idle_timeout_ms: u64,
    pub(super) deadline: Deadline,
}

/// Makes the caller's answer of the provider's.
pub(super) fn pass_on(
    method: &Method,
    parts: http::response::Parts,
    body: Incoming,
    decompress: bool,
    limits: BodyLimits,
) -> ProxyResponse {
    let mut headers = parts.headers;
    remove_hop_by_hop(&mut headers);
    let body = ByteStream::new(TimedBody {
        body,
        limits,
        timer: None,
    });
    // A part of an encoded body cannot be decoded.
    let is_whole = method != Method::HEAD
        && !matches!(
            parts.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT
        );
    let encoding = if decompress && is_whole {
        Encoding::of(&headers)
    } else {
        None
    };
    let body = match encoding {
        Some(encoding) => {
            headers.remove(header::CONTENT_ENCODING);
            headers.remove(header::CONTENT_LENGTH);
            encoding.decode(body)
        }
        None => body,
    };
    ProxyResponse {
        status: parts.status,
        headers,
        body,
    }
}

/// Takes out the headers that were about the connection to the provider, those that `connection` names included.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let fixed = headers.keys().filter(|name| is_hop_by_hop(name)).cloned();
    for name in fixed.chain(named).collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Content encodings that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Brotli,
    Deflate,
    Zstd,
}

impl Encoding {
    /// None for no encoding, an unknown one, or several on top of each other.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::CONTENT_ENCODING)?.to_str().ok()?;
        match value.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "br" => Some(Self::Brotli),
            "deflate" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn decode(self, body: ByteStream) -> ByteStream {
        let decoding = async move {
            let mut reader = StreamReader::new(body.0);
            // Nothing at all is no member of any encoding, and yet what some servers send with an empty answer.
            if reader.fill_buf().await?.is_empty() {
                return Ok(ByteStream::new(futures_util::stream::empty()).0);
            }
            let decoded = match self {
                Self::Gzip => {
                    let mut decoder = GzipDecoder::new(reader);
                    decoder.multiple_members(true);
                    decoded(decoder)
                }
                Self::Brotli => decoded(BrotliDecoder::new(reader)),
                Self::Zstd => decoded(ZstdDecoder::new(reader)),
                Self::Deflate => {
                    let head = read_head(&mut reader).await?;
                    let rest = if is_zlib_header(&head) { Vec::new() } else { head };
                    decoded(DeflateDecoder::new(io::Cursor::new(rest).chain(reader)))
                }
            };
            Ok::<_, io::Error>(decoded.0)
        };
        ByteStream::new(futures_util::stream::once(decoding).try_flatten())
    }
}

fn decoded(reader: impl AsyncRead + Send + 'static) -> ByteStream {
    ByteStream::new(ReaderStream::with_capacity(reader, DECODED_PIECE_BYTES))
}

/// The first two bytes; fewer when there are no more.
async fn read_head(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(2);
    reader.take(2).read_to_end(&mut head).await?;
    Ok(head)
}

/// `deflate` means zlib (RFC 9110, 8.4.1.2), but some servers send it without zlib's two bytes in front (RFC 1950, 2.2).
fn is_zlib_header(head: &[u8]) -> bool {
    matches!(*head, [first, second]
        if first & 0x0f == 8 && u16::from_be_bytes([first, second]).is_multiple_of(31))
}

/// A body that may neither fall silent for too long nor go on for ever. The timer runs only while nothing is there to read.
struct TimedBody {
    body: Incoming,
    limits: BodyLimits,
    timer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Stream for TimedBody {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        loop {
            if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
                this.timer = None;
                match frame {
                    // Trailers are about the message's transfer; there is nowhere to put them.
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => return Poll::Ready(Some(Ok(data))),
                        Err(_trailers) => continue,
                    },
                    Some(Err(error)) => {
                        return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, error))));
                    }
                    None => return Poll::Ready(None),
                }
            }
            let limits = &this.limits;
            let timer = this.timer.get_or_insert_with(|| {
                let left_ms = limits.deadline.left_ms(&limits.clock);
                let wait = Duration::from_millis(limits.idle_timeout_ms.min(left_ms));
                let clock = limits.clock.clone();
                Box::pin(async move { clock.sleep(wait).await })
            });
            ready!(timer.as_mut().poll(cx));
            let message = if limits.deadline.left_ms(&limits.clock) == 0 {
                format!("the answer took longer than {} ms", limits.deadline.total_ms)
            } else {
                format!("the answer was silent for {} ms", limits.idle_timeout_ms)
            };
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, message))));
        }
    }
}

impl ProxyResponse {
    /// Reads the whole body, up to `body_bytes_max`.
    pub async fn collect(mut self, body_bytes_max: usize) -> Result<(StatusCode, HeaderMap, Bytes), ProxyError> {
        let too_large = || ProxyError::ResponseTooLarge { body_bytes_max };
        let mut first = Bytes::new();
        let mut rest: Option<BytesMut> = None;
        while let Some(piece) = self.body.0.next().await {
            let piece = piece.map_err(ProxyError::ResponseBody)?;
            let length = rest.as_ref().map_or(first.len(), BytesMut::len);
            if piece.len() > body_bytes_max.saturating_sub(length) {
                return Err(too_large());
            }
            match &mut rest {
                Some(rest) => rest.extend_from_slice(&piece),
                // Most answers are one piece: it is handed on without a copy.
                None if first.is_empty() => first = piece,
                None => {
                    let mut both = BytesMut::with_capacity((first.len() + piece.len()) * 2);
                    both.extend_from_slice(&first);
                    both.extend_from_slice(&piece);
                    rest = Some(both);
                }
            }
        }
        Ok((self.status, self.headers, rest.map_or(first, BytesMut::freeze)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(pieces: &[&'static [u8]]) -> ByteStream {
        let pieces: Vec<io::Result<Bytes>> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        ByteStream::new(futures_util::stream::iter(pieces))
    }

    async fn collect(body: ByteStream, max: usize) -> Result<Bytes, ProxyError> {
        let response = ProxyResponse {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body,
        };
        response.collect(max).await.map(|(_, _, body)| body)
    }

    #[tokio::test]
    async fn bodies_are_collected_up_to_the_limit() {
        assert_eq!(collect(pieces(&[]), 0).await.unwrap(), "");
        assert_eq!(collect(pieces(&[b"ab", b"cd", b"ef"]), 6).await.unwrap(), "abcdef");
        let error = collect(pieces(&[b"ab", b"cd", b"ef"]), 5).await.unwrap_err();
        assert_eq!(error.code(), "response_too_large");
    }

    #[test]
    fn hop_by_hop_headers_go_and_all_others_stay() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Internal"),
            ("x-internal", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("etag", "\"a\""),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        left.sort_unstable();
        assert_eq!(left, [("etag", "\"a\""), ("set-cookie", "a=1"), ("set-cookie", "b=2")]);
    }

    #[tokio::test]
    async fn deflate_is_decoded_with_and_without_the_zlib_header() {
        // "hello" as a stored block.
        const RAW: &[u8] = &[1, 5, 0, 0xfa, 0xff, b'h', b'e', b'l', b'l', b'o'];
        let plain = Encoding::Deflate.decode(pieces(&[RAW]));
        assert_eq!(collect(plain, 100).await.unwrap(), "hello");
        const CHECKSUM: &[u8] = &[0x06, 0x2c, 0x02, 0x15];
        for head in [&[&[0x78, 0x9c][..]][..], &[&[0x78], &[0x9c]]] {
            let zlib = [head, &[RAW, CHECKSUM]].concat();
            let zlib = collect(Encoding::Deflate.decode(pieces(&zlib)), 100).await;
            assert_eq!(zlib.unwrap(), "hello");
        }
    }

    #[tokio::test]
    async fn an_empty_answer_is_empty_in_every_encoding() {
        for encoding in [Encoding::Gzip, Encoding::Brotli, Encoding::Deflate, Encoding::Zstd] {
            let body = collect(encoding.decode(pieces(&[])), 100).await;
            assert_eq!(body.unwrap(), "", "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn what_can_be_decoded_is_not_held_back() {
        // A gzip member up to its first flush, as servers send compressed events.
        const EVENT: &[u8] = &[
            0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x4a, 0x49, 0x2c, 0x49, 0xb4, 0x52, 0x30, 0xe4,
            0xe2, 0x02, 0x00, 0x00, 0x00, 0xff, 0xff,
        ];
        let pieces = futures_util::stream::iter([Ok(Bytes::from_static(EVENT))]);
        let endless = ByteStream::new(pieces.chain(futures_util::stream::pending()));
        let mut decoded = Encoding::Gzip.decode(endless);
        let first = tokio::time::timeout(Duration::from_secs(10), decoded.0.next()).await;
        assert_eq!(
            first.expect("it does not wait for more").unwrap().unwrap(),
            "data: 1\n\n"
        );
    }

    #[tokio::test]
    async fn half_an_encoded_answer_is_an_error() {
        // The head of a gzip member and nothing of what it announces.
        let half = Encoding::Gzip.decode(pieces(&[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab]]));
        assert_eq!(collect(half, 100).await.unwrap_err().code(), "upstream_reset");
    }
}
