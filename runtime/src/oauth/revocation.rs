//! Telling a provider that tokens are not to work any more: RFC 7009, with the differences between providers that
//! [`RevocationSpec`] knows. When that is done, and how often it is tried, is not known here.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::client::refused;
use super::error::chain;
use super::request::{FORM, JSON, TokenRequest, authorize, form, form_encoded};
use super::values::{Moment, TokenValues, header_map, text};
use super::{OAuth, RefreshError};
use crate::connections::Target;
use crate::credentials::{Credentials, OAuthClient, Secret};
use crate::model::JsonObject;
use crate::provider::template::{AwsScope, Values};
use crate::provider::{AuthMode, ClientProof, ParameterFormat, RevocationSpec, RevokedToken};

/// A request that revokes one token, whole: neither the connection nor its integration need to be there when it is made. It is full
/// of secrets, and to be kept sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct RevocationRequest {
    /// `refresh_token` or `access_token`, for the log.
    pub token: String,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
    /// Of an answer; see [`RevocationSpec`].
    success: Option<String>,
    gone: Vec<String>,
    gone_status: Vec<u16>,
    /// What must not be repeated, should the provider do so.
    secrets: Vec<String>,
}

/// Why a token may still work.
#[derive(Debug, thiserror::Error)]
#[error("{}", chain(error))]
pub struct NotRevoked {
    error: RefreshError,
}

impl NotRevoked {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.error {
            RefreshError::Timeout { .. } | RefreshError::Network { .. } => true,
            RefreshError::Status { status, .. } => {
                *status >= 500
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS]
                        .map(|s| s.as_u16())
                        .contains(status)
            }
            _ => false,
        }
    }
}

impl OAuth {
    /// The requests that revoke the tokens of `target`; none when its provider's data does not say how, or when it has no token
    /// that still works.
    ///
    /// # Errors
    /// A value that a request needs is not there.
    pub fn revocation(&self, target: &Target) -> Result<Vec<RevocationRequest>, NotRevoked> {
        let moment = Moment {
            now_ms: self.0.clock.now_ms(),
            random: self.0.entropy.bytes(),
        };
        build(target, moment).map_err(|error| NotRevoked { error })
    }

    /// Makes the request, once. A token that is void already is as good as revoked.
    ///
    /// # Errors
    /// [`NotRevoked`]: the token may still work.
    pub async fn revoke(&self, request: &RevocationRequest) -> Result<(), NotRevoked> {
        let not_revoked = |error| NotRevoked {
            error: super::error::retold(error, |text| request.without_secrets(text)),
        };
        let sent = request.to_send().map_err(not_revoked)?;
        let answer = self.0.client.send_raw(sent).await.map_err(not_revoked)?;
        let verdict = request.verdict(answer.host, answer.status, answer.body.expose());
        verdict.map_err(not_revoked)
    }
}

/// Of the mode CUSTOM it is the user's own tokens that are revoked: the app's is signed for anew each hour, and what makes it is the
/// integration's.
fn build(target: &Target, moment: Moment) -> Result<Vec<RevocationRequest>, RefreshError> {
    let Some(spec) = &target.provider.revocation else {
        return Ok(Vec::new());
    };
    if target.provider.auth_mode == AuthMode::Custom {
        return match target.users_credentials() {
            Some(own) => of_credentials(&target.with(own), spec, moment),
            None => Ok(Vec::new()),
        };
    }
    of_credentials(target, spec, moment)
}

fn of_credentials(
    target: &Target,
    spec: &RevocationSpec,
    moment: Moment,
) -> Result<Vec<RevocationRequest>, RefreshError> {
    let own_client = match &target.credentials {
        Credentials::OAuth2 { config_override, .. } => config_override.as_ref(),
        Credentials::OAuth2Cc { client, .. } => Some(client),
        _ => None,
    };
    let values = TokenValues::new(target, moment);
    let mut requests = Vec::with_capacity(spec.tokens.len());
    for kind in &spec.tokens {
        if let Some(token) = token(target, *kind, moment.now_ms) {
            let values = RevocationValues {
                values: &values,
                token: token.expose(),
                kind: *kind,
                client: own_client.or(target.client.as_ref()),
            };
            requests.push(values.request(spec)?);
        }
    }
    Ok(requests)
}

/// The token, unless it ended by itself.
fn token(target: &Target, kind: RevokedToken, now_ms: i64) -> Option<&Secret<String>> {
    let token = match (kind, &target.credentials) {
        (RevokedToken::RefreshToken, Credentials::OAuth2 { refresh_token, .. }) => refresh_token.as_ref(),
        (RevokedToken::RefreshToken, _) => None,
        (RevokedToken::AccessToken, credentials) => credentials.access_token().filter(|_| !target.is_expired(now_ms)),
    };
    token.filter(|token| !token.expose().is_empty())
}

/// What templates of a revocation are filled in with.
struct RevocationValues<'a> {
    values: &'a TokenValues<'a>,
    token: &'a str,
    kind: RevokedToken,
    client: Option<&'a OAuthClient>,
}

impl RevocationValues<'_> {
    fn request(&self, spec: &RevocationSpec) -> Result<RevocationRequest, RefreshError> {
        let filled = spec
            .url
            .render(self)
            .map_err(|error| self.values.error("revocation.url", error))?;
        let mut url = self.values.usable_url(&filled, "revocation.url")?;
        let params = spec.params.render(self);
        let mut params = params.map_err(|error| self.values.error("revocation.params", error))?;
        let mut headers = header_map(&JsonObject::new())?;
        let mut secrets = vec![self.token.to_owned()];
        match spec.client {
            ClientProof::Body => {
                let client = self.client()?;
                params.insert("client_id".to_owned(), client.client_id.as_str().into());
                let secret = client.client_secret.expose();
                // A public client has none.
                if !secret.is_empty() {
                    params.insert("client_secret".to_owned(), secret.as_str().into());
                    secrets.push(secret.clone());
                }
            }
            ClientProof::Header => {
                let client = self.client()?;
                let secret = client.client_secret.expose();
                authorize(&mut headers, &form_encoded(&client.client_id), &form_encoded(secret))?;
                secrets.push(secret.clone());
            }
            ClientProof::Bearer => {
                let bearer = format!("Bearer {}", self.token);
                headers.insert(header::AUTHORIZATION, header_value(&header::AUTHORIZATION, &bearer)?);
            }
            ClientProof::None => {}
        }
        for (name, template) in &spec.headers {
            let value = template.render(self);
            let value = value.map_err(|error| self.values.error("revocation.headers", error))?;
            headers.insert(name.clone(), header_value(name, &value)?);
        }
        let body = body(spec, &params, &mut url, &mut headers);
        let headers = headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        });
        secrets.retain(|secret| !secret.is_empty());
        Ok(RevocationRequest {
            token: self.kind.hint().to_owned(),
            method: spec.method.as_str().to_owned(),
            url: url.into(),
            headers: headers.collect(),
            body,
            success: spec.success.clone(),
            gone: spec.gone.clone(),
            // Who shows nothing but a token that is void is not let in.
            gone_status: match spec.client {
                ClientProof::Bearer => spec.gone_status.iter().copied().chain([401]).collect(),
                ClientProof::Body | ClientProof::Header | ClientProof::None => spec.gone_status.clone(),
            },
            secrets,
        })
    }

    fn client(&self) -> Result<&OAuthClient, RefreshError> {
        self.client.ok_or_else(|| RefreshError::NoClient {
            provider_config_key: self.values.target.integration.unique_key.clone(),
        })
    }
}

impl Values for RevocationValues<'_> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            "token" => Some(self.token.into()),
            "tokenType" => Some(self.kind.hint().into()),
            "clientId" => self.client.map(|client| client.client_id.as_str().into()),
            _ => self.values.value(name),
        }
    }

    fn now_ms(&self) -> i64 {
        self.values.now_ms()
    }

    fn random(&self) -> Cow<'_, str> {
        self.values.random()
    }

    fn aws_authorization(&self, scope: &AwsScope<'_>) -> Option<String> {
        self.values.aws_authorization(scope)
    }
}

fn body(spec: &RevocationSpec, params: &JsonObject, url: &mut Url, headers: &mut HeaderMap) -> String {
    if params.is_empty() {
        return String::new();
    }
    match spec.format {
        ParameterFormat::Form => {
            headers.entry(header::CONTENT_TYPE).or_insert(FORM);
            form(params)
        }
        ParameterFormat::Json => {
            headers.entry(header::CONTENT_TYPE).or_insert(JSON);
            Value::Object(params.clone()).to_string()
        }
        ParameterFormat::Query => {
            let mut query = url.query_pairs_mut();
            for (name, value) in params {
                query.append_pair(name, &text(value));
            }
            drop(query);
            String::new()
        }
    }
}

fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, RefreshError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| RefreshError::Header { name: name.to_string() })?;
    value.set_sensitive(true);
    Ok(value)
}

impl RevocationRequest {
    /// Requests as JSON to be sealed; none when there are none.
    #[must_use]
    pub fn seal_ready(requests: &[Self]) -> Option<Secret<Value>> {
        // Writing plain data as JSON does not fail.
        let json = serde_json::to_value(requests).unwrap_or_default();
        (!requests.is_empty()).then(|| Secret::new(json))
    }

    /// What [`RevocationRequest::seal_ready`] wrote.
    ///
    /// # Errors
    /// It is something else.
    pub fn opened(json: &Secret<Value>) -> Result<Vec<Self>, serde_json::Error> {
        Vec::deserialize(json.expose())
    }

    fn to_send(&self) -> Result<TokenRequest, RefreshError> {
        let url = Url::parse(&self.url).map_err(|error| RefreshError::Url {
            provider: String::new(),
            key: "revocation.url",
            reason: error.to_string(),
        })?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let invalid = || RefreshError::Header { name: name.clone() };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
            headers.insert(name.clone(), header_value(&name, value)?);
        }
        Ok(TokenRequest {
            method: Method::from_bytes(self.method.as_bytes()).unwrap_or(Method::POST),
            url,
            headers,
            body: Secret::new(self.body.clone()),
        })
    }

    fn verdict(&self, host: String, status: StatusCode, body: &[u8]) -> Result<(), RefreshError> {
        if self.gone_status.contains(&status.as_u16()) {
            return Ok(());
        }
        let object = match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => Some(Secret::new(object)),
            Ok(_) | Err(_) => None,
        };
        let says = |member: &str| object.as_ref().and_then(|object| object.expose().get(member));
        if status.is_success() {
            let is_done = |member: &String| says(member) == Some(&Value::Bool(true));
            if self.success.as_ref().is_none_or(is_done) {
                return Ok(());
            }
        }
        let error = says("error").and_then(Value::as_str);
        if error.is_some_and(|error| self.gone.iter().any(|gone| gone == error)) {
            return Ok(());
        }
        Err(refused(host, status, object.as_ref()))
    }

    fn without_secrets(&self, text: String) -> String {
        self.secrets
            .iter()
            .fold(text, |text, secret| text.replace(secret, "REDACTED"))
    }
}

#[cfg(test)]
mod tests;
