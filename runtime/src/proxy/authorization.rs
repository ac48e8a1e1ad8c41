//! What the kind of credentials implies for a request: the default `authorization`, or a signature over all of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::signing::tba;
use super::url::UpstreamUrl;
use super::values::{self, Moment};
use super::{ProxyError, body_template};
use crate::connections::Target;
use crate::credentials::{Credentials, OAuthClient, SessionKind};
use crate::provider::{ProxySpec, SignatureMethod};
use crate::signing::aws_sigv4::{self, Payload};
use crate::signing::oauth1::OAuth1;

/// A request that a signature is made over, its headers apart.
#[derive(Clone, Copy)]
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a UpstreamUrl,
    /// None when it is not in memory.
    pub(super) body: Option<&'a Bytes>,
    pub(super) moment: Moment,
}

/// The `authorization` value that the kind of credentials implies; none where the provider's data says it all, and where
/// the whole request is signed last.
pub(super) fn default_header(target: &Target, spec: &ProxySpec) -> Option<String> {
    match &target.credentials {
        Credentials::Basic { username, password } => {
            let pair = format!("{username}:{}", password.expose());
            Some(format!("Basic {}", STANDARD.encode(pair)))
        }
        Credentials::Session { kind, token, .. } => match kind {
            // A session at Bill.com is no bearer token.
            SessionKind::Bill => None,
            SessionKind::TwoStep if says_where_the_token_goes(spec) => None,
            SessionKind::Jwt | SessionKind::Signature | SessionKind::TwoStep => {
                token.as_ref().map(|token| bearer(token.expose()))
            }
        },
        Credentials::OAuth2 { access_token, .. } => Some(bearer(access_token.expose())),
        Credentials::App {
            access_token: token, ..
        }
        | Credentials::OAuth2Cc { token, .. } => token.as_ref().map(|token| bearer(token.expose())),
        Credentials::ApiKey { .. }
        | Credentials::OAuth1 { .. }
        | Credentials::Tba { .. }
        | Credentials::AwsSigV4(_)
        | Credentials::None => None,
    }
}

/// Signs the finished request, where that is how its credentials work; gives the names of what carries them, none when it is
/// not signed. An `authorization` that is there stays, but for AWS, where nothing else would be accepted.
pub(super) fn sign(
    target: &Target,
    request: &Unsigned<'_>,
    headers: &mut HeaderMap,
) -> Result<Vec<HeaderName>, ProxyError> {
    let authorization = match &target.credentials {
        Credentials::AwsSigV4(aws) => {
            let payload = request.body.map_or(Payload::Stream, |body| Payload::Bytes(body));
            let uri = &request.url.uri;
            return aws_sigv4::sign(aws, request.moment.now_ms, request.method, uri, payload, headers)
                .map_err(|aws_sigv4::PayloadNeeded| body_template::body_needed(target));
        }
        Credentials::OAuth1 { .. } | Credentials::Tba { .. } if headers.contains_key(AUTHORIZATION) => {
            return Ok(Vec::new());
        }
        Credentials::OAuth1 {
            oauth_token,
            oauth_token_secret,
            raw: _,
        } => {
            let client = target.client.as_ref().ok_or_else(|| missing_client(target))?;
            let method = target.provider.signature_method;
            let tokens = (oauth_token.expose().as_str(), oauth_token_secret.expose().as_str());
            oauth1(target, client_of(client), tokens, method, None, request, headers)?
        }
        Credentials::Tba {
            token_id,
            token_secret,
            config_override,
        } => {
            let id = values::at(&target.connection_config, "oauth_client_id");
            let secret = values::at(&target.connection_config, "oauth_client_secret");
            let configured = id.as_deref().zip(secret.as_deref());
            let overridden = config_override.as_ref().map(client_of);
            let own = target.client.as_ref().map(client_of);
            let client = overridden
                .or(configured)
                .or(own)
                .ok_or_else(|| missing_client(target))?;
            let account_id = values::lookup(target, "connectionConfig.accountId");
            let account_id = account_id.ok_or_else(|| ProxyError::MissingValue {
                provider: target.provider.name.clone(),
                connection_id: target.connection.connection_id.clone(),
                place: "the signature".to_owned(),
                name: "connectionConfig.accountId".to_owned(),
            })?;
            let tokens = (token_id.expose().as_str(), token_secret.expose().as_str());
            let (realm, method) = (tba::realm(&account_id), SignatureMethod::HmacSha256);
            oauth1(target, client, tokens, method, Some(&realm), request, headers)?
        }
        Credentials::ApiKey { .. }
        | Credentials::App { .. }
        | Credentials::Basic { .. }
        | Credentials::OAuth2 { .. }
        | Credentials::OAuth2Cc { .. }
        | Credentials::Session { .. }
        | Credentials::None => return Ok(Vec::new()),
    };
    let mut value = HeaderValue::from_str(&authorization).map_err(|_| ProxyError::InvalidHeader {
        name: AUTHORIZATION.as_str().to_owned(),
    })?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(vec![AUTHORIZATION])
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Providers whose token comes in steps say themselves where it goes: in a header of their own, or as cookies.
fn says_where_the_token_goes(spec: &ProxySpec) -> bool {
    spec.headers.iter().any(|header| {
        let is_cookie = header.name == http::header::COOKIE;
        header
            .template
            .names(&|name| name == "accessToken" || (is_cookie && name == "credentials._cookies"))
    })
}

fn client_of(client: &OAuthClient) -> (&str, &str) {
    (&client.client_id, client.client_secret.expose())
}

fn missing_client(target: &Target) -> ProxyError {
    ProxyError::MissingClient {
        provider: target.provider.name.clone(),
        provider_config_key: target.integration.unique_key.clone(),
    }
}

fn oauth1(
    target: &Target,
    (client_id, client_secret): (&str, &str),
    (token, token_secret): (&str, &str),
    signature_method: SignatureMethod,
    realm: Option<&str>,
    request: &Unsigned<'_>,
    headers: &HeaderMap,
) -> Result<String, ProxyError> {
    let nonce = request.moment.uuid().replace('-', "");
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = if content_type.is_some_and(body_template::is_form) {
        let body = request.body.ok_or_else(|| body_template::body_needed(target))?;
        std::str::from_utf8(body).ok()
    } else {
        None
    };
    let signature = OAuth1 {
        client_id,
        client_secret,
        token: Some(token),
        callback: None,
        verifier: None,
        token_secret,
        signature_method,
        realm,
        timestamp_s: request.moment.now_ms / 1_000,
        nonce: &nonce,
    };
    let signed = signature.authorization(request.method, &request.url.uri, form);
    signed.map_err(|source| ProxyError::Signature {
        provider_config_key: target.integration.unique_key.clone(),
        source,
    })
}

#[cfg(test)]
mod tests;
