//! APP and CUSTOM: an app proves itself with a token that its private key signed, and gets one for an installation. In the
//! form of GitHub Apps (<https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>), the only ones
//! of this mode.

use http::Method;
use http::header::{self, HeaderValue};
use serde_json::{Map, Value};
use url::Url;

use super::RefreshError;
use super::answer::{moment_ms, refusal};
use super::client::TokenClient;
use super::jwt::{Algorithm, JwtError, SecretEncoding, SigningKey};
use super::request::TokenRequest;
use super::values::{Moment, TokenValues};
use crate::connections::Target;
use crate::credentials::{Credentials, Secret};

/// Clocks differ; GitHub advises to date the token back by a minute.
const BACKDATE_S: i64 = 60;
/// GitHub accepts ten minutes from its own time at most.
const LIFETIME_S: i64 = 9 * 60;

/// A fresh token for the connection's installation.
pub(super) async fn obtain(client: &TokenClient, target: &Target, moment: Moment) -> Result<Credentials, RefreshError> {
    let answer = client.send(build(target, moment)?).await?;
    let object = answer.object.expose();
    let token = object
        .get("token")
        .and_then(Value::as_str)
        .filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| refusal(object))?.to_owned();
    Ok(Credentials::App {
        access_token: Some(Secret::new(token)),
        expires_at_ms: object
            .get("expires_at")
            .and_then(|value| moment_ms(value, moment.now_ms)),
        raw: answer.object,
        jwt_token: None,
    })
}

fn build(target: &Target, moment: Moment) -> Result<TokenRequest, RefreshError> {
    let values = TokenValues::new(target, moment);
    let url = url(target, &values)?;
    let mut headers = values.headers()?;
    let token = app_token(target, moment)?;
    let bearer = Secret::new(format!("Bearer {}", token.expose()));
    let mut value = HeaderValue::from_str(bearer.expose()).map_err(|_| RefreshError::Header {
        name: header::AUTHORIZATION.to_string(),
    })?;
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Ok(TokenRequest {
        method: Method::POST,
        url,
        headers,
        body: Secret::new(String::new()),
    })
}

/// `token_url`, or of a provider that has users' tokens as well its `APP`.
fn url(target: &Target, values: &TokenValues<'_>) -> Result<Url, RefreshError> {
    let entry = &target.provider.json;
    match entry.get("token_url").and_then(|urls| urls.get("APP")) {
        Some(url) => values.url(&serde_json::json!({ "token_url": url }), "token_url"),
        None => values.url(entry, "token_url"),
    }
}

fn app_token(target: &Target, moment: Moment) -> Result<Secret<String>, RefreshError> {
    let app = target.app.as_ref().ok_or_else(|| RefreshError::NoApp {
        provider_config_key: target.integration.unique_key.clone(),
    })?;
    let failed = |source: JwtError| RefreshError::Jwt {
        provider: target.provider.name.clone(),
        source,
    };
    let now_s = moment.now_ms / 1_000;
    let mut claims = Map::new();
    claims.insert("iat".to_owned(), now_s.saturating_sub(BACKDATE_S).into());
    claims.insert("exp".to_owned(), now_s.saturating_add(LIFETIME_S).into());
    claims.insert("iss".to_owned(), app.app_id.as_str().into());
    let mut header = Map::new();
    header.insert("typ".to_owned(), "JWT".into());
    let key = app.private_key.expose();
    let key = SigningKey::from_text(Algorithm::Rs256, key, SecretEncoding::Utf8).map_err(failed)?;
    key.sign(header, claims).map_err(failed)
}

#[cfg(test)]
mod tests;
