//! Sends one webhook once. Addresses are checked as those of every other request, also after a redirect, of which only those are
//! followed that keep method and body.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Action, Attempt, Policy};
use url::{Host, Url};

use super::SetupError;
use super::answer::{Answer, retry_after_ms};
use super::content::Content;
use super::sign;
use crate::credentials::Secret;
use crate::egress::{EgressPolicy, EgressResolver, ResolveError, tls_config};

const CONNECT_TIMEOUT_MS: u64 = 10_000;
const REDIRECTS_MAX: usize = 5;
/// Of the body of an answer so much is read, so that its connection can be used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const USER_AGENT: &str = concat!("nango-runtime/", env!("CARGO_PKG_VERSION"));

pub(super) struct Sender {
    http: reqwest::Client,
    policy: Arc<EgressPolicy>,
    timeout_ms: u64,
}

impl Sender {
    pub(super) fn new(egress_allow: Vec<ipnet::IpNet>, timeout_ms: u64) -> Result<Self, SetupError> {
        let policy = Arc::new(EgressPolicy::public(egress_allow));
        let of_redirects = Arc::clone(&policy);
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_config()?)
            .dns_resolver(Arc::new(Resolver(EgressResolver {
                policy: Arc::clone(&policy),
                resolve: crate::egress::Resolve::system(),
            })))
            .redirect(Policy::custom(move |attempt| follow(&of_redirects, attempt)))
            .referer(false)
            .no_proxy()
            .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
            .timeout(Duration::from_millis(timeout_ms))
            .build()?;
        Ok(Self {
            http,
            policy,
            timeout_ms,
        })
    }

    /// `id` is that of the announcement.
    pub(super) async fn send(
        &self,
        url: &str,
        id: &str,
        key: &Secret<String>,
        content: &Content,
        now_ms: i64,
    ) -> Answer {
        let Ok(url) = Url::parse(url) else {
            return Answer::Refused("the address is no URL".to_owned());
        };
        if let Err(problem) = permitted(&self.policy, &url) {
            return Answer::Refused(problem);
        }
        let request = self
            .http
            .post(url)
            .headers(headers(id, key, content))
            .body(content.body.clone());
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return self.no_answer(error),
        };
        let status = answer.status();
        let after = answer.headers().get(header::RETRY_AFTER);
        let retry_after_ms = after
            .and_then(|value| value.to_str().ok())
            .and_then(|text| retry_after_ms(text, now_ms));
        let mut bytes = 0;
        // Whatever becomes of the body: the receiver has answered.
        while let Ok(Some(piece)) = answer.chunk().await {
            bytes += piece.len();
            if bytes > ANSWER_BYTES_MAX {
                break;
            }
        }
        Answer::Status {
            status: status.as_u16(),
            retry_after_ms,
            redirect: why_not_followed(status),
        }
    }

    fn no_answer(&self, error: reqwest::Error) -> Answer {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(found) = cause {
            if let Some(ResolveError::Denied(denied)) = found.downcast_ref() {
                return Answer::Refused(denied.to_string());
            }
            cause = found.source();
        }
        if error.is_timeout() {
            let timeout_ms = self.timeout_ms;
            return Answer::Silence(format!(
                "the receiver did not answer within {timeout_ms} ms (limits.webhook_timeout_ms)"
            ));
        }
        // Addresses may hold secrets in their query.
        let error = error.without_url();
        let mut text = format!("the receiver cannot be reached: {error}");
        let mut source = error.source();
        while let Some(found) = source {
            text.push_str(": ");
            text.push_str(&found.to_string());
            source = found.source();
        }
        Answer::Silence(text)
    }
}

fn headers(id: &str, key: &Secret<String>, content: &Content) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &content.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    let own = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::ACCEPT, "application/json, text/plain, */*".to_owned()),
        (header::USER_AGENT, USER_AGENT.to_owned()),
        (HeaderName::from_static("x-nango-webhook-id"), id.to_owned()),
        (
            HeaderName::from_static("x-nango-signature"),
            sign::plain_sha256(key.expose(), &content.body),
        ),
        (
            HeaderName::from_static("x-nango-hmac-sha256"),
            sign::hmac_sha256(key.expose(), &content.body),
        ),
    ];
    for (name, value) in own {
        // Hex and plain names.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Addresses that are no names are not asked of the resolver.
fn permitted(policy: &EgressPolicy, url: &Url) -> Result<(), String> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err("the address names no host".to_owned()),
    };
    let host = url.host_str().unwrap_or_default();
    policy.check(host, address).map_err(|denied| denied.to_string())
}

fn follow(policy: &EgressPolicy, attempt: Attempt<'_>) -> Action {
    let is_downgrade =
        attempt.previous().last().is_some_and(|from| from.scheme() == "https") && attempt.url().scheme() != "https";
    let is_followed = matches!(
        attempt.status(),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    ) && attempt.previous().len() <= REDIRECTS_MAX
        && !is_downgrade
        && permitted(policy, attempt.url()).is_ok();
    if is_followed { attempt.follow() } else { attempt.stop() }
}

fn why_not_followed(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
            Some("it is one too many, leads away from HTTPS, or to an address that may not be reached")
        }
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
            Some("it would turn the POST into a GET; set the address that it leads to")
        }
        _ => None,
    }
}

/// Gives reqwest only the addresses that the policy permits.
struct Resolver(EgressResolver);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let looking_up = self.0.addresses(name.as_str());
        Box::pin(async move {
            let addresses: Addrs = Box::new(looking_up.await?);
            Ok(addresses)
        })
    }
}
