//! One call of the proxy: attempts with the redirects in them, the decision after each, its log message, the wait. It is
//! given the target anew for each attempt and does not know where targets come from.

mod line_up;

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode};

use super::attempt_log::{Attempt, Ended, Note};
use super::body::{Progress, UpstreamBody};
use super::client::{Deadline, HttpClient, closed_unanswered};
use super::rate_limit::{Pass, RateLimits};
use super::redirect::{self, NextBody, REDIRECTS_MAX};
use super::request::{self, Built};
use super::response::{self, BodyLimits};
use super::retry::{self, Decision, Outcome, Policy, RETRY_BODY_BYTES_MAX, Spent, told};
use super::values::Moment;
use super::{Body, ByteStream, Phase, ProxyError, ProxyOptions, ProxyRequest, ProxyResponse};
use crate::clock::{Clock, Entropy};
use crate::connections::Target;
use crate::metrics::Metrics;
use crate::model::ExecutionContext;
use crate::provider::RetrySpec;

/// What all calls share.
pub(super) struct Shared {
    pub(super) client: HttpClient,
    pub(super) rate_limits: RateLimits,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
    pub(super) options: ProxyOptions,
    /// Where attempts and waits are noted.
    pub(super) log: Box<dyn Fn(Note) + Send + Sync>,
    pub(super) renew: Renew,
}

/// Asked when a provider refuses the credentials of a target: whether the connection has other ones by now.
pub(super) type Renew = Box<dyn Fn(Arc<Target>) -> BoxFuture<'static, bool> + Send + Sync>;

/// A call between its attempts.
pub(super) struct Call<'a> {
    shared: &'a Shared,
    ctx: &'a ExecutionContext,
    request: ProxyRequest,
    body: CallBody,
    spent: Spent,
    /// Its place among all calls, for the line.
    arrival: u64,
    /// Its turn at the rate limit, until the answer is there.
    pass: Option<Pass>,
    /// Refused credentials are replaced once.
    renewed: bool,
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
    body: ByteStream,
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
            Body::Bytes(bytes) => {
                // Stays where signatures are made over it.
                request.body = Body::Bytes(bytes.clone());
                CallBody::Replayable(bytes)
            }
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
            arrival: shared.rate_limits.arrival(),
            pass: None,
            renewed: false,
        }
    }

    /// Makes an attempt. None when another one is due: the wait is over then.
    pub(super) async fn attempt(&mut self, target: &Arc<Target>) -> Option<Result<ProxyResponse, ProxyError>> {
        let shared = self.shared;
        match self.line_up(target).await {
            Ok(true) => {}
            // The target may be another one after the wait.
            Ok(false) => return None,
            Err(error) => return Some(Err(error)),
        }
        let (started_at_us, started_us) = (shared.clock.now_us(), shared.clock.monotonic_us());
        let deadline = Deadline::after(&shared.clock, shared.options.total_timeout_ms);
        let built = request::build(target, &self.request, &shared.options, self.moment());
        let (trail, mut outcome) = match built {
            Ok(built) => {
                let mut trail = Trail { built, redirects: 0 };
                let outcome = self.exchange(target, &mut trail, deadline).await;
                (Some(trail), outcome)
            }
            Err(error) => (None, Err(error)),
        };
        let no_spec = RetrySpec::default();
        let spec = target.provider.proxy.as_ref().map_or(&no_spec, |proxy| &proxy.retry);
        let (mut told, mut waits_in_line) = (None, false);
        if let Ok(answer) = &mut outcome {
            told = self.told(spec, answer).await;
            // What another host says after a redirect is about its limit, not this one.
            if trail.as_ref().is_some_and(|trail| trail.redirects == 0) {
                waits_in_line = self.learn(target, answer, &mut told);
            }
        }
        self.pass = None;
        let refused = self.credentials_refused(trail.as_ref(), &outcome);
        let decision = if refused && (shared.renew)(Arc::clone(target)).await {
            self.renewed = true;
            Decision::After {
                wait_ms: 0,
                reason: "credentials_refreshed",
                spent: self.spent,
            }
        } else {
            self.decide(spec, &outcome, told)
        };
        let built = trail.as_ref().map(|trail| &trail.built);
        (shared.log)(Note::Attempt(Box::new(Attempt {
            operation_id: self.ctx.operation_id.clone(),
            target: Arc::clone(target),
            masker: self.request.masker.clone(),
            method: self.request.method.clone(),
            url: built.map(|built| built.url.uri.clone()),
            redirects: trail.as_ref().map_or(0, |trail| trail.redirects),
            ended: Ended::of(outcome.as_ref().map(head), built.map(|built| &built.headers)),
            decision: decision.clone(),
            spent: self.spent,
            retries: self.request.retries,
            started_at_us,
            duration_us: shared.clock.monotonic_us().saturating_sub(started_us),
        })));
        if let Decision::After { wait_ms, reason, spent } = decision {
            // The body that nobody will read is let go before the wait, and with it the connection.
            drop(outcome);
            shared.metrics.proxy_retry(reason);
            if waits_in_line {
                // What is waited there is counted there.
                let waited_ms = self.spent.waited_ms;
                self.spent = Spent { waited_ms, ..spent };
            } else {
                self.spent = spent;
                shared.clock.sleep(Duration::from_millis(wait_ms)).await;
            }
            return None;
        }
        let decompress = trail.is_some_and(|trail| trail.built.decompress);
        Some(outcome.map(|answer| response::pass_on(&answer.method, answer.parts, answer.body, decompress)))
    }

    /// Sends the request and follows redirects.
    async fn exchange(&mut self, target: &Target, trail: &mut Trail, deadline: Deadline) -> Result<Answer, ProxyError> {
        let mut method = self.request.method.clone();
        let mut send_body = true;
        let mut may_resend = true;
        let identity = target.client_identity()?;
        let home = trail.built.url.host().to_owned();
        loop {
            let progress = Progress::default();
            let body = if let Some(bytes) = trail.built.body.clone().filter(|_| send_body) {
                UpstreamBody::Bytes {
                    left: bytes,
                    progress: progress.clone(),
                }
            } else if send_body {
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
            // Where a redirect leads to another host, nobody is told who asks.
            let shown = identity.filter(|_| built.url.host() == home);
            let answer = client
                .send(&built.url, built.reach, shown, request, &progress, deadline)
                .await;
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
                None => {
                    let limits = BodyLimits {
                        clock: self.shared.clock.clone(),
                        idle_timeout_ms: self.shared.options.idle_timeout_ms,
                        deadline,
                    };
                    let body = response::timed(body, limits);
                    return Ok(Answer { method, parts, body });
                }
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
            let moment = self.moment();
            request::sign_again(target, &self.request, &method, send_body, moment, &mut trail.built)?;
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            now_ms: self.shared.clock.now_ms(),
            random: self.shared.entropy.bytes(),
        }
    }

    /// Whether sending the request twice does no more than sending it once.
    fn is_idempotent(&self) -> bool {
        self.request.method.is_idempotent() || self.request.headers.contains_key("idempotency-key")
    }

    /// Whether the provider refused the connection's credentials, and the request could be repeated with other ones.
    fn credentials_refused(&self, trail: Option<&Trail>, outcome: &Result<Answer, ProxyError>) -> bool {
        outcome
            .as_ref()
            .is_ok_and(|answer| answer.parts.status == StatusCode::UNAUTHORIZED)
            && !self.renewed
            && self.body.is_replayable()
            && trail.is_some_and(|trail| trail.built.carries_credentials(&self.request.headers))
    }

    /// The wait that an answer asks for. Looks into its body where the provider's data says so and the headers do not tell.
    async fn told(&mut self, spec: &RetrySpec, answer: &mut Answer) -> Option<told::Told> {
        let (status, headers) = (answer.parts.status, &answer.parts.headers);
        if status.is_success() {
            return None;
        }
        let now_ms = self.shared.clock.now_ms();
        let told = told::by_headers(&self.request.retry_header, spec, status, headers, now_ms);
        let outcome = Outcome::Answer { status, headers, told };
        let wants_body = retry::wants_body(&self.policy(spec), self.spent, outcome);
        match &spec.in_body {
            Some(in_body) if wants_body => {
                let beginning = response::peek(&mut answer.body, headers, RETRY_BODY_BYTES_MAX).await;
                told::by_body(in_body, &beginning, self.shared.clock.now_ms())
            }
            Some(_) | None => told,
        }
    }

    fn policy<'p>(&'p self, spec: &'p RetrySpec) -> Policy<'p> {
        Policy {
            retries: self.request.retries,
            retry_on: &self.request.retry_on,
            spec,
            replayable: self.body.is_replayable(),
            idempotent: self.is_idempotent(),
            rate_limit_retries_max: self.shared.options.rate_limit_retries_max,
            wait_ms_max: self.wait_ms_max(),
        }
    }

    fn wait_ms_max(&self) -> u64 {
        let options = &self.shared.options;
        self.request.wait_ms_max.unwrap_or(options.retry_wait_ms_max)
    }

    fn decide(&self, spec: &RetrySpec, outcome: &Result<Answer, ProxyError>, told: Option<told::Told>) -> Decision {
        let outcome = match outcome {
            Ok(answer) if answer.parts.status.is_success() => return Decision::Stop { reason: "success" },
            Ok(answer) => Outcome::Answer {
                status: answer.parts.status,
                headers: &answer.parts.headers,
                told,
            },
            Err(error) => failure(error),
        };
        retry::decide(&self.policy(spec), self.spent, outcome, self.shared.entropy.fraction())
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
        | ProxyError::NoCredentials { .. }
        | ProxyError::Identity(_)
        | ProxyError::MissingApiUrl { .. }
        | ProxyError::UnsupportedAuth { .. }
        | ProxyError::Signature { .. }
        | ProxyError::MissingValue { .. }
        | ProxyError::Template { .. }
        | ProxyError::UnusableValue { .. }
        | ProxyError::MissingClient { .. }
        | ProxyError::BodyNeeded { .. }
        | ProxyError::InvalidUrl { .. }
        | ProxyError::InvalidHeader { .. }
        | ProxyError::MethodNotAllowed { .. }
        | ProxyError::EgressDenied(_)
        | ProxyError::OverrideNotAllowed { .. }
        | ProxyError::UrlNotAllowed(_)
        | ProxyError::HostNotDeclared { .. }
        | ProxyError::InvalidRedirect { .. }
        | ProxyError::TooManyRedirects { .. }
        | ProxyError::Tls { .. }
        | ProxyError::InvalidAnswer { .. }
        | ProxyError::RequestBody(_)
        | ProxyError::ResponseBody(_)
        | ProxyError::ResponseTooLarge { .. }
        | ProxyError::RateLimited { .. }
        | ProxyError::RateLimitQueueFull { .. }
        | ProxyError::Setup(_) => Outcome::Final,
    }
}
