//! A client that proves itself with a signed token instead of a secret: RFC 7523, sections 2.2 and 3.

use serde_json::Value;
use url::Url;

use super::RefreshError;
use super::jwt::{JwtError, SigningKey};
use super::values::TokenValues;
use crate::credentials::{Credentials, OAuthClient, Secret};
use crate::model::JsonObject;
use crate::provider::template::Values as _;

/// From its signing to its end.
const LIFETIME_S: i64 = 5 * 60;
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Adds the assertion that `client` is at the token endpoint `url` to the parameters of a request.
pub(super) fn add(
    values: &TokenValues<'_>,
    url: &Url,
    client: &OAuthClient,
    parameters: &mut JsonObject,
) -> Result<(), RefreshError> {
    let target = values.target;
    let failed = |source: JwtError| RefreshError::Jwt {
        provider: target.provider.name.clone(),
        source,
    };
    let Credentials::OAuth2Cc {
        client_private_key: Some(key),
        ..
    } = &target.credentials
    else {
        return Err(RefreshError::MissingValue {
            provider: target.provider.name.clone(),
            key: "token_request_auth_method",
            name: "credentials.client_private_key".to_owned(),
        });
    };
    let jwk: Secret<Value> = match serde_json::from_str(key.expose()) {
        Ok(jwk) => Secret::new(jwk),
        Err(_) => return Err(failed(JwtError::NotJwk)),
    };
    let jwk = jwk.expose().as_object().ok_or(JwtError::NotJwk).map_err(failed)?;
    let mut header = JsonObject::new();
    header.insert("typ".to_owned(), "JWT".into());
    if let Some(kid) = jwk.get("kid") {
        header.insert("kid".to_owned(), kid.clone());
    }
    let issued_at_s = values.moment.now_ms / 1_000;
    let mut claims = JsonObject::new();
    for name in ["iss", "sub"] {
        claims.insert(name.to_owned(), client.client_id.as_str().into());
    }
    claims.insert("aud".to_owned(), url.as_str().into());
    claims.insert("jti".to_owned(), values.random().into_owned().into());
    claims.insert("iat".to_owned(), issued_at_s.into());
    claims.insert("exp".to_owned(), issued_at_s.saturating_add(LIFETIME_S).into());
    let key = SigningKey::from_jwk(jwk).map_err(failed)?;
    let assertion = key.sign(header, claims).map_err(failed)?;
    parameters.insert("client_id".to_owned(), client.client_id.as_str().into());
    parameters.insert("client_assertion_type".to_owned(), TYPE.into());
    parameters.insert("client_assertion".to_owned(), assertion.expose().as_str().into());
    Ok(())
}

#[cfg(test)]
mod tests;
