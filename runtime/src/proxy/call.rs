//! One call of the proxy: attempts with the redirects in them, the decision after each, its log message, the wait. It is
//! given the target anew for each attempt and does not know where targets come from.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;

use super::attempt_log::Attempt;
use super::body::{Progress, UpstreamBody};
use super::client::{Deadline, HttpClient, closed_unanswered};
use super::redact::Maskers;
use super::redirect::{self, NextBody, REDIRECTS_MAX};
use super::request::{self, Built};
use super::response::{self, BodyLimits};
use super::retry::{self, Decision, Outcome, Spent};
use super::{Body, ByteStream, Phase, ProxyError, ProxyOptions, ProxyRequest, ProxyResponse};
use crate::clock::{Clock, Entropy};
use crate::connections::Target;
use crate::model::{ExecutionContext, Message};
use crate::provider::{ProxySpec, RetrySpec};

/// What all calls share.
pub(super) struct Shared {
    pub(super) client: HttpClient,
    pub(super) maskers: Maskers,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
    pub(super) options: ProxyOptions,
    /// Where messages go.
    pub(super) log: Box<dyn Fn(Message) + Send + Sync>,
}

/// A call between its attempts.
pub(super) struct Call<'a> {
    shared: &'a Shared,
    ctx: &'a ExecutionContext,
    request: ProxyRequest,
    body: CallBody,
    spent: Spent,
}

/// What is left to send.
enum CallBody {
    Replayable(Bytes),
    Stream(ByteStream),
    Gone,
}

impl CallBody {
    fn is_replayable(&self) -> bool {
        matches!(self, Self::Replayable(_))
    }

    /// The body for one sending; a stream is there only once.
    fn take(&mut self, progress: &Progress) -> UpstreamBody {
        let progress = progress.clone();
        match mem::replace(self, Self::Gone) {
            Self::Replayable(bytes) => {
                *self = Self::Replayable(bytes.clone());
                UpstreamBody::Bytes { left: bytes, progress }
            }
            Self::Stream(stream) => UpstreamBody::Stream { stream, progress },
            Self::Gone => UpstreamBody::Bytes {
                left: Bytes::new(),
                progress,
            },
        }
    }
}

/// The last answer of an attempt.
struct Answer {
    method: Method,
    parts: http::response::Parts,
    body: Incoming,
}

/// How far an attempt came, for the log.
struct Trail {
    built: Built,
    redirects: u32,
}

impl<'a> Call<'a> {
    pub(super) fn new(shared: &'a Shared, ctx: &'a ExecutionContext, mut request: ProxyRequest) -> Self {
        let body = match mem::replace(&mut request.body, Body::Empty) {
            Body::Empty => CallBody::Replayable(Bytes::new()),
            Body::Bytes(bytes) => CallBody::Replayable(bytes),
            Body::Stream(stream) => {
                // Left behind as a mark that the caller may state the length.
                request.body = Body::Stream(ByteStream::once(Bytes::new()));
                CallBody::Stream(stream)
            }
        };
        Self {
            shared,
            ctx,
            request,
            body,
            spent: Spent::default(),
        }
    }

    /// Makes an attempt. None when another one is due: the wait is over then.
    pub(super) async fn attempt(&mut self, target: &Arc<Target>) -> Option<Result<ProxyResponse, ProxyError>> {
        let shared = self.shared;
        let (started_at_us, started_us) = (shared.clock.now_us(), shared.clock.monotonic_us());
        let deadline = Deadline::after(&shared.clock, shared.options.total_timeout_ms);
        let built = request::build(target, &self.request, &shared.options);
        let (trail, outcome) = match built {
            Ok(built) => {
                let mut trail = Trail { built, redirects: 0 };
                let outcome = self.exchange(&mut trail, deadline).await;
                (Some(trail), outcome)
            }
            Err(error) => (None, Err(error)),
        };
        let decision = self.decide(target, &outcome);
        let attempt = Attempt {
            operation_id: &self.ctx.operation_id,
            method: &self.request.method,
            url: trail.as_ref().map(|trail| &trail.built.url.uri),
            request_headers: trail.as_ref().map(|trail| &trail.built.headers),
            redirects: trail.as_ref().map_or(0, |trail| trail.redirects),
            outcome: outcome.as_ref().map(head),
            decision: &decision,
            spent: self.spent,
            retries: self.request.retries,
            started_at_us,
            duration_us: shared.clock.monotonic_us().saturating_sub(started_us),
        };
        (shared.log)(attempt.message(&shared.maskers.of(target)));
        if let Decision::After { wait_ms, spent, .. } = decision {
            // The body that nobody will read is let go before the wait, and with it the connection.
            drop(outcome);
            self.spent = spent;
            shared.clock.sleep(Duration::from_millis(wait_ms)).await;
            return None;
        }
        let decompress = trail.is_some_and(|trail| trail.built.decompress);
        Some(outcome.map(|answer| {
            let limits = BodyLimits {
                clock: shared.clock.clone(),
                idle_timeout_ms: shared.options.idle_timeout_ms,
                deadline,
            };
            response::pass_on(&answer.method, answer.parts, answer.body, decompress, limits)
        }))
    }

    /// Sends the request and follows redirects.
    async fn exchange(&mut self, trail: &mut Trail, deadline: Deadline) -> Result<Answer, ProxyError> {
        let mut method = self.request.method.clone();
        let mut send_body = true;
        let mut may_resend = true;
        loop {
            let progress = Progress::default();
            let body = if send_body {
                self.body.take(&progress)
            } else {
                UpstreamBody::Bytes {
                    left: Bytes::new(),
                    progress: progress.clone(),
                }
            };
            let built = &trail.built;
            let mut request = Request::new(body);
            *request.method_mut() = method.clone();
            *request.uri_mut() = built.url.uri.clone();
            *request.headers_mut() = built.headers.clone();
            let client = &self.shared.client;
            let answer = client.send(&built.url, built.reach, request, &progress, deadline).await;
            let replayable = !send_body || self.body.is_replayable();
            let (parts, body) = match answer {
                Ok(answer) => answer.into_parts(),
                // Not a failure of the provider, so it is mended here, once, and where doing it twice does no harm.
                Err(error) if may_resend && replayable && self.is_idempotent() && closed_unanswered(&error) => {
                    may_resend = false;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let next = redirect::follow(&mut trail.built, &mut method, parts.status, &parts.headers, replayable);
            match next {
                None => return Ok(Answer { method, parts, body }),
                Some(_) if trail.redirects == REDIRECTS_MAX => {
                    return Err(ProxyError::TooManyRedirects {
                        host: trail.built.url.host().to_owned(),
                        redirects_max: REDIRECTS_MAX,
                    });
                }
                Some(NextBody::Dropped) => send_body = false,
                Some(NextBody::Replayed) => {}
            }
            trail.redirects += 1;
        }
    }

    /// Whether sending the request twice does no more than sending it once.
    fn is_idempotent(&self) -> bool {
        self.request.method.is_idempotent() || self.request.headers.contains_key("idempotency-key")
    }

    fn decide(&self, target: &Target, outcome: &Result<Answer, ProxyError>) -> Decision {
        let no_spec = RetrySpec::default();
        let spec = target.provider.proxy.as_ref().map(|ProxySpec { retry, .. }| retry);
        let policy = retry::Policy {
            retries: self.request.retries,
            retry_on: &self.request.retry_on,
            spec: spec.unwrap_or(&no_spec),
            replayable: self.body.is_replayable(),
            idempotent: self.is_idempotent(),
            rate_limit_retries_max: self.shared.options.rate_limit_retries_max,
            wait_ms_max: self.shared.options.retry_wait_ms_max,
        };
        let outcome = match outcome {
            Ok(answer) if answer.parts.status.is_success() => return Decision::Stop { reason: "success" },
            Ok(answer) => Outcome::Answer {
                status: answer.parts.status,
                headers: &answer.parts.headers,
            },
            Err(error) => failure(error),
        };
        let now_ms = self.shared.clock.now_ms();
        retry::decide(&policy, self.spent, outcome, now_ms, self.shared.entropy.fraction())
    }
}

fn head(answer: &Answer) -> (StatusCode, &HeaderMap) {
    (answer.parts.status, &answer.parts.headers)
}

/// What an error means for another attempt.
fn failure(error: &ProxyError) -> Outcome<'static> {
    match error {
        ProxyError::Dns { .. }
        | ProxyError::Connect { .. }
        | ProxyError::Timeout {
            phase: Phase::Connect, ..
        } => Outcome::NotSent,
        ProxyError::Timeout { .. } | ProxyError::Reset { .. } => Outcome::MaybeSent,
        ProxyError::Connections(_)
        | ProxyError::MissingApiUrl { .. }
        | ProxyError::UnsupportedAuth { .. }
        | ProxyError::MissingValue { .. }
        | ProxyError::Template { .. }
        | ProxyError::InvalidUrl { .. }
        | ProxyError::InvalidHeader { .. }
        | ProxyError::MethodNotAllowed { .. }
        | ProxyError::EgressDenied(_)
        | ProxyError::OverrideNotAllowed { .. }
        | ProxyError::TooManyRedirects { .. }
        | ProxyError::Tls { .. }
        | ProxyError::InvalidAnswer { .. }
        | ProxyError::RequestBody(_)
        | ProxyError::ResponseBody(_)
        | ProxyError::ResponseTooLarge { .. }
        | ProxyError::Setup(_) => Outcome::Final,
    }
}
