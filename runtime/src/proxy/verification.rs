//! Trying credentials: the requests of `proxy.verification`, for a target that need not be stored. They are signed, checked
//! against the limits of `egress` and logged as all others; but nothing is refreshed, nothing is tried twice, and there is an
//! end to it after some seconds, because somebody waits in front of a form.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::call::Call;
use super::values::{Moment, TargetValues, error};
use super::{Body, Proxy, ProxyError, ProxyOptions, ProxyRequest, RetryHeader, response};
use crate::connections::Target;
use crate::model::ExecutionContext;
use crate::provider::VerificationSpec;
use crate::provider::template::{TemplateError, UrlTemplate};

/// One request may take this long.
const REQUEST_TIMEOUT_MS: u64 = 10_000;
/// All requests together.
pub const VERIFICATION_TIMEOUT_MS: u64 = 30_000;
/// Of a refusal this much is read.
const BODY_BYTES_MAX: usize = 4_096;
/// Of a refusal this much is told.
const BODY_CHARS_MAX: usize = 300;

/// Why credentials were not found to be good.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// The provider is there, and does not take them.
    #[error(
        "the provider {provider:?} answered {method} {endpoint} with {status}{}",
        if body.is_empty() { String::new() } else { format!(": {body}") }
    )]
    Refused {
        provider: String,
        method: Method,
        /// As the provider's data has it, without values in it.
        endpoint: String,
        status: StatusCode,
        /// The beginning of the answer, secrets masked.
        body: String,
    },
    /// Nothing is known about them.
    #[error(
        "the provider {provider:?} could not be asked, so nothing is known about the credentials: {}",
        chain(source)
    )]
    NoAnswer {
        provider: String,
        #[source]
        source: ProxyError,
    },
    #[error(
        "the provider {provider:?} did not answer within {VERIFICATION_TIMEOUT_MS} ms, so nothing is known about the credentials"
    )]
    TimedOut { provider: String },
}

fn chain(error: &ProxyError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What of the options is another for these requests. The base URLs are the catalogue's, so hosts need not be listed.
pub(super) fn options(of: &ProxyOptions) -> ProxyOptions {
    ProxyOptions {
        override_hosts: vec!["*".to_owned()],
        connect_timeout_ms: of.connect_timeout_ms.min(REQUEST_TIMEOUT_MS),
        first_byte_timeout_ms: of.first_byte_timeout_ms.min(REQUEST_TIMEOUT_MS),
        idle_timeout_ms: of.idle_timeout_ms.min(REQUEST_TIMEOUT_MS),
        total_timeout_ms: REQUEST_TIMEOUT_MS,
        rate_limit_retries_max: 0,
        retry_wait_ms_max: of.retry_wait_ms_max.min(REQUEST_TIMEOUT_MS),
        ..of.clone()
    }
}

impl Proxy {
    /// Tries the credentials of a target whose provider's data says how. Attempts are logged to `ctx.operation_id`.
    ///
    /// # Errors
    /// [`VerificationError`]: no request was answered with 2xx. A refusal counts more than no answer.
    pub async fn verify(&self, ctx: &ExecutionContext, target: &Arc<Target>) -> Result<(), VerificationError> {
        let spec = target
            .provider
            .proxy
            .as_ref()
            .and_then(|proxy| proxy.verification.as_ref());
        let Some(spec) = spec else { return Ok(()) };
        let limit = Duration::from_millis(VERIFICATION_TIMEOUT_MS);
        tokio::select! {
            biased;
            outcome = self.try_endpoints(ctx, target, spec) => outcome,
            () = self.verifying.clock.sleep(limit) => Err(VerificationError::TimedOut {
                provider: target.provider.name.clone(),
            }),
        }
    }

    async fn try_endpoints(
        &self,
        ctx: &ExecutionContext,
        target: &Arc<Target>,
        spec: &VerificationSpec,
    ) -> Result<(), VerificationError> {
        let mut refused = None;
        let mut unanswered = None;
        for endpoint in &spec.endpoints {
            match self.try_endpoint(ctx, target, spec, endpoint).await {
                Ok(None) => return Ok(()),
                Ok(Some(refusal)) => refused = Some(refusal),
                Err(source) => unanswered = Some(source),
            }
        }
        let provider = target.provider.name.clone();
        let unanswered = unanswered.map(|source| VerificationError::NoAnswer { provider, source });
        refused.or(unanswered).map_or(Ok(()), Err)
    }

    /// None when the credentials are good.
    async fn try_endpoint(
        &self,
        ctx: &ExecutionContext,
        target: &Arc<Target>,
        spec: &VerificationSpec,
        endpoint: &UrlTemplate,
    ) -> Result<Option<VerificationError>, ProxyError> {
        let shared = &*self.verifying;
        let moment = Moment {
            now_ms: shared.clock.now_ms(),
            random: shared.entropy.bytes(),
        };
        let request = request(target, spec, endpoint, moment)?;
        let mut call = Call::new(shared, ctx, request);
        let mut answer = loop {
            if let Some(outcome) = call.attempt(target).await {
                break outcome?;
            }
        };
        if answer.status.is_success() {
            return Ok(None);
        }
        // Decoded already.
        let beginning = response::peek(&mut answer.body, &HeaderMap::new(), BODY_BYTES_MAX).await;
        let text = String::from_utf8_lossy(&beginning);
        // Masked as a whole, so that no part of a secret is left where it is cut.
        let masked = target.masker().mask(text.trim());
        let is_plain = |char: &char| !char.is_control();
        Ok(Some(VerificationError::Refused {
            provider: target.provider.name.clone(),
            method: spec.method.clone(),
            endpoint: endpoint.source().to_owned(),
            status: answer.status,
            body: masked.chars().filter(is_plain).take(BODY_CHARS_MAX).collect(),
        }))
    }
}

fn request(
    target: &Target,
    spec: &VerificationSpec,
    endpoint: &UrlTemplate,
    moment: Moment,
) -> Result<ProxyRequest, ProxyError> {
    let values = TargetValues { target, moment };
    let unfilled = |source: TemplateError| error(target, "the request that tries the credentials", source);
    let mut headers = HeaderMap::new();
    for header in &spec.headers {
        let value = match &header.literal {
            Some(literal) => literal.clone(),
            None => {
                let text = header.template.render(&values).map_err(unfilled)?;
                HeaderValue::from_str(&text).map_err(|_| ProxyError::InvalidHeader {
                    name: header.name.as_str().to_owned(),
                })?
            }
        };
        headers.insert(header.name.clone(), value);
    }
    let body = match &spec.data {
        Some(data) => {
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
            let data = data.render(&values).map_err(unfilled)?;
            Body::Bytes(serde_json::Value::Object(data).to_string().into())
        }
        None => Body::Empty,
    };
    let base_url = spec.base_url.as_ref();
    let base_url = base_url.map(|base_url| base_url.render(&values).map_err(unfilled));
    Ok(ProxyRequest {
        method: spec.method.clone(),
        endpoint: endpoint.render(&values).map_err(unfilled)?.into_owned(),
        query: Vec::new(),
        headers,
        body,
        retries: 0,
        retry_on: Vec::new(),
        retry_header: RetryHeader::default(),
        base_url_override: base_url.transpose()?.map(std::borrow::Cow::into_owned),
        decompress: true,
        forward_headers_on_redirect: None,
        wait_ms_max: None,
        masker: None,
    })
}
