//! What can be learned with a fresh token that requests will need: the provider's `after_connect`. A `check`, which must succeed; one
//! request, whose answer names hosts, accounts and the like; and the claims of a token that is a JSON Web Token.

use http::Method;
use http::header::{self, HeaderValue};
use serde_json::{Value, json};

use super::answer::claims;
use super::request::TokenRequest;
use super::temporary::{self, Token};
use super::values::{Moment, TokenValues, header_map};
use super::{OAuth, RefreshError};
use crate::connections::Target;
use crate::credentials::{Credentials, Secret, lookup};
use crate::model::JsonObject;

impl OAuth {
    /// The values for the connection_config; none of those that are there already, which somebody decided.
    ///
    /// # Errors
    /// An endpoint that does not answer, or an answer without a value that the data does not call `optional`.
    pub async fn learn(&self, target: &Target) -> Result<JsonObject, RefreshError> {
        let Some(after) = target.provider.json.get("after_connect") else {
            return Ok(JsonObject::new());
        };
        let mut learned = JsonObject::new();
        if let Some(check) = after.get("check") {
            let answer = self.0.client.send_for_json(self.build(target, check)?).await;
            let _ = answer.map_err(|error| super::error::without_secrets(target, error))?;
        }
        if let Some(request) = after.get("request") {
            let answer = self.0.client.send_for_json(self.build(target, request)?).await;
            let answer = match answer.map_err(|error| super::error::without_secrets(target, error))? {
                (Value::Object(object), _) => object,
                // A list is found below `items`.
                (other, _) => JsonObject::from_iter([("items".to_owned(), other)]),
            };
            add(target, after, "connection_config", &answer, &mut learned)?;
        }
        if let Some(token) = target.credentials.access_token() {
            let claims = claims(token.expose()).unwrap_or_default();
            add(target, after, "claims", &claims, &mut learned)?;
        }
        Ok(learned)
    }

    fn build(&self, target: &Target, given: &Value) -> Result<TokenRequest, RefreshError> {
        let parts = &self.0;
        let moment = Moment {
            now_ms: parts.clock.now_ms(),
            random: parts.entropy.bytes(),
        };
        let values = TokenValues::new(target, moment);
        let mut headers = header_map(&values.object(given, "headers")?)?;
        if let Some(token) = target.credentials.access_token()
            && !headers.contains_key(header::AUTHORIZATION)
        {
            let bearer = Secret::new(format!("Bearer {}", token.expose()));
            let mut value = HeaderValue::from_str(bearer.expose()).map_err(|_| RefreshError::Header {
                name: header::AUTHORIZATION.to_string(),
            })?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let method = given.get("method").and_then(Value::as_str).unwrap_or("GET");
        let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
        let url = values.url(given, "url")?;
        if let Credentials::OAuth1 {
            oauth_token,
            oauth_token_secret,
            ..
        } = &target.credentials
        {
            let by = Token {
                token: Some((oauth_token.expose().as_str(), oauth_token_secret.expose().as_str())),
                ..Token::default()
            };
            let signed = temporary::authorization(target, &method, &url, None, by, moment)?;
            headers.insert(header::AUTHORIZATION, signed);
        }
        Ok(TokenRequest {
            method,
            url,
            headers,
            body: Secret::new(match given.get("body") {
                Some(body) => body.to_string(),
                None => String::new(),
            }),
        })
    }
}

/// Takes the values that `section` names (`{dc: dc, accountId: "items.0.id"}`) out of `found`.
fn add(
    target: &Target,
    after: &Value,
    section: &'static str,
    found: &JsonObject,
    learned: &mut JsonObject,
) -> Result<(), RefreshError> {
    let optional = after.get("optional").and_then(Value::as_array);
    let is_optional = |name: &str| optional.is_some_and(|names| names.iter().any(|given| given == name));
    for (name, path) in after.get(section).and_then(Value::as_object).into_iter().flatten() {
        let has_own = lookup(&target.connection_config, name).is_some_and(|value| !value.is_empty());
        if has_own {
            continue;
        }
        let path = path.as_str().unwrap_or_default();
        match lookup(found, path).filter(|value| !value.is_empty()) {
            Some(value) => drop(learned.insert(name.clone(), json!(value))),
            None if is_optional(name) => {}
            None => {
                return Err(RefreshError::NotLearned {
                    provider: target.provider.name.clone(),
                    name: name.clone(),
                    path: path.to_owned(),
                });
            }
        }
    }
    Ok(())
}
