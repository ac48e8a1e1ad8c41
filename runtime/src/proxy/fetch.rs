//! Requests of functions to any public host: without credentials, sent once, within the same limits and the same egress policy as
//! all others, and noted in the log like them.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};

use super::attempt_log::{Attempt, Ended, Note};
use super::base_url::Reach;
use super::body::{Progress, UpstreamBody};
use super::call::Shared;
use super::client::{Deadline, closed_unanswered};
use super::redirect::{self, NextBody, REDIRECTS_MAX};
use super::request::{self, Built, Injected};
use super::response::{self, BodyLimits};
use super::retry::{Decision, Spent};
use super::url::{UpstreamUrl, append_query};
use super::{ByteStream, Proxy, ProxyError, ProxyResponse};
use crate::connections::RunMasker;
use crate::model::{ExecutionContext, FetchHosts};

/// What to ask, and of whom.
#[derive(Debug)]
pub struct FetchRequest {
    pub method: Method,
    /// With its query string, byte for byte.
    pub url: String,
    /// Parameters to append to the query, percent-encoded here.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Decode the answer's content encoding.
    pub decompress: bool,
    /// Those that the request, and each redirect, may go to. None: all public ones.
    pub hosts: Option<FetchHosts>,
}

impl FetchRequest {
    /// Whether it may go where it is to go first. What is no URL is found when it is sent.
    ///
    /// # Errors
    /// [`ProxyError::HostNotDeclared`].
    pub fn check_host(&self) -> Result<(), ProxyError> {
        UpstreamUrl::parse(&self.url).map_or(Ok(()), |url| check_host(self.hosts.as_ref(), &url))
    }
}

/// The last answer, and the method that it answers.
struct Answer {
    method: Method,
    parts: http::response::Parts,
    body: ByteStream,
}

/// What becomes of a request from hop to hop.
struct Hops {
    built: Built,
    method: Method,
    body: Bytes,
    redirects: u32,
    hosts: Option<FetchHosts>,
}

impl Proxy {
    /// Sends the request, follows its redirects and notes it in the log of `ctx.operation_id`. `masker` knows what must not be in there.
    ///
    /// # Errors
    /// [`ProxyError`]: where it may not go, and why there is no answer.
    pub async fn fetch(
        &self,
        ctx: &ExecutionContext,
        request: FetchRequest,
        masker: &RunMasker,
    ) -> Result<ProxyResponse, ProxyError> {
        if matches!(request.method, Method::TRACE | Method::CONNECT) {
            return Err(ProxyError::MethodNotAllowed { method: request.method });
        }
        let shared = &self.shared;
        let (started_at_us, started_us) = (shared.clock.now_us(), shared.clock.monotonic_us());
        let method = request.method.clone();
        let (hops, outcome) = match Hops::first(request) {
            Ok(mut hops) => {
                let outcome = hops.follow(shared).await;
                (Some(hops), outcome)
            }
            Err(error) => (None, Err(error)),
        };
        let built = hops.as_ref().map(|hops| &hops.built);
        let head = outcome
            .as_ref()
            .map(|answer| (answer.parts.status, &answer.parts.headers));
        (shared.log)(Note::Attempt(Box::new(Attempt {
            operation_id: ctx.operation_id.clone(),
            target: masker.first().clone(),
            masker: Some(masker.clone()),
            method,
            url: built.map(|built| built.url.uri.clone()),
            redirects: hops.as_ref().map_or(0, |hops| hops.redirects),
            ended: Ended::of(head, built.map(|built| &built.headers)),
            decision: Decision::Stop { reason: "sent_once" },
            spent: Spent::default(),
            retries: 0,
            started_at_us,
            duration_us: shared.clock.monotonic_us().saturating_sub(started_us),
        })));
        let decompress = built.is_some_and(|built| built.decompress);
        outcome.map(|answer| response::pass_on(&answer.method, answer.parts, answer.body, decompress))
    }
}

impl Hops {
    fn first(request: FetchRequest) -> Result<Self, ProxyError> {
        let mut text = request.url;
        let fragment = text.find('#').unwrap_or(text.len());
        text.truncate(fragment);
        for (key, value) in &request.query {
            append_query(&mut text, key, value);
        }
        let url = UpstreamUrl::parse(&text).map_err(|reason| ProxyError::InvalidUrl {
            place: "the URL of the request",
            reason,
        })?;
        let mut headers = HeaderMap::with_capacity(request.headers.len() + 3);
        headers.insert(header::ACCEPT, request::ACCEPT);
        headers.insert(header::USER_AGENT, request::USER_AGENT);
        if request.decompress {
            headers.insert(header::ACCEPT_ENCODING, request::ACCEPT_ENCODING);
        }
        request::replace_headers(&mut headers, &request.headers, request::is_callers);
        Ok(Self {
            built: Built {
                url,
                reach: Reach::Public,
                headers,
                injected: Injected::default(),
                is_signed: false,
                body: None,
                decompress: request.decompress,
                forward_headers: false,
            },
            method: request.method,
            body: request.body,
            redirects: 0,
            hosts: request.hosts,
        })
    }

    async fn follow(&mut self, shared: &Shared) -> Result<Answer, ProxyError> {
        let deadline = Deadline::after(&shared.clock, shared.options.total_timeout_ms);
        let mut may_resend = self.method.is_idempotent();
        loop {
            check_host(self.hosts.as_ref(), &self.built.url)?;
            let progress = Progress::default();
            let mut request = Request::new(UpstreamBody::Bytes {
                left: self.body.clone(),
                progress: progress.clone(),
            });
            *request.method_mut() = self.method.clone();
            *request.uri_mut() = self.built.url.uri.clone();
            *request.headers_mut() = self.built.headers.clone();
            let (url, reach) = (&self.built.url, self.built.reach);
            let sent = shared.client.send(url, reach, None, request, &progress, deadline).await;
            let (parts, body) = match sent {
                Ok(answer) => answer.into_parts(),
                // As for requests to the provider: a connection that was kept open was let go at this moment.
                Err(error) if may_resend && closed_unanswered(&error) => {
                    may_resend = false;
                    continue;
                }
                Err(ProxyError::EgressDenied(denied)) => return Err(ProxyError::UrlNotAllowed(denied)),
                Err(error) => return Err(error),
            };
            let (status, headers) = (parts.status, &parts.headers);
            match redirect::follow(&mut self.built, &mut self.method, status, headers, true) {
                None if is_redirect(status) && headers.contains_key(header::LOCATION) => {
                    return Err(ProxyError::InvalidRedirect {
                        host: self.built.url.host().to_owned(),
                    });
                }
                None => {
                    let limits = BodyLimits {
                        clock: shared.clock.clone(),
                        idle_timeout_ms: shared.options.idle_timeout_ms,
                        deadline,
                    };
                    let body = response::timed(body, limits);
                    let method = self.method.clone();
                    return Ok(Answer { method, parts, body });
                }
                Some(_) if self.redirects == REDIRECTS_MAX => {
                    return Err(ProxyError::TooManyRedirects {
                        host: self.built.url.host().to_owned(),
                        redirects_max: REDIRECTS_MAX,
                    });
                }
                Some(NextBody::Dropped) => self.body = Bytes::new(),
                Some(NextBody::Replayed) => {}
            }
            self.redirects += 1;
        }
    }
}

fn check_host(hosts: Option<&FetchHosts>, url: &UpstreamUrl) -> Result<(), ProxyError> {
    match hosts {
        Some(hosts) if !hosts.allow(url.host()) => Err(ProxyError::HostNotDeclared {
            host: url.host().to_owned(),
            hosts: hosts.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(url: &str) -> Result<Hops, ProxyError> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "other.test"),
            ("accept", "text/html"),
            ("content-length", "7"),
            ("te", "trailers"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        Hops::first(FetchRequest {
            method: Method::GET,
            url: url.to_owned(),
            query: vec![("b".to_owned(), "ä &".to_owned())],
            headers,
            body: Bytes::new(),
            decompress: false,
            hosts: None,
        })
    }

    #[test]
    fn what_is_sent_is_the_callers() {
        let hops = first("https://api.test/x?a=%20#top").unwrap();
        assert_eq!(
            hops.built.url.uri.to_string(),
            "https://api.test/x?a=%20&b=%C3%A4%20%26"
        );
        let names: Vec<_> = hops.built.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(
            (names.len(), hops.built.headers["accept"].to_str().unwrap()),
            (2, "text/html")
        );
        assert!(hops.built.headers.contains_key("user-agent"));
    }

    #[test]
    fn what_is_no_url_of_the_web_is_refused() {
        for url in ["", "/x", "ftp://api.test/", "https://me:secret@api.test/", "https://"] {
            let error = first(url).err().unwrap();
            assert_eq!(error.code(), "invalid_url", "{url}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
