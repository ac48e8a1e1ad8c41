//! OAuth 1.0a (RFC 5849, section 2): temporary credentials before the customer is sent to the provider, and the token in exchange for
//! them when he is back. Both requests are signed; each is made once.

use http::header::{self, HeaderValue};
use http::{Method, Uri};
use serde_json::{Map, Value};

use super::request::{FORM, TokenRequest, form};
use super::values::{Moment, TokenValues, text};
use super::{NotObtained, OAuth, RefreshError, answer, error};
use crate::connections::Target;
use crate::credentials::{Credentials, CredentialsType, Secret};
use crate::model::JsonObject;
use crate::signing::oauth1::OAuth1;

/// Temporary credentials, good for one authorization.
#[derive(Clone, Debug)]
pub struct Temporary {
    /// What the provider and the customer's browser call the authorization; not secret.
    pub token: String,
    pub secret: Secret<String>,
}

/// Temporary credentials that a customer has authorized.
pub struct TemporaryGrant<'a> {
    pub temporary: &'a Temporary,
    /// What he came back with.
    pub verifier: &'a str,
}

/// What a request is signed with, next to the client.
#[derive(Clone, Copy, Default)]
pub(super) struct Token<'a> {
    pub(super) token: Option<(&'a str, &'a str)>,
    pub(super) callback: Option<&'a str>,
    pub(super) verifier: Option<&'a str>,
}

impl OAuth {
    /// Asks for temporary credentials; `callback` is where the customer is to come back to.
    ///
    /// # Errors
    /// [`NotObtained`]: the provider gives none, or answers that it took no note of the callback.
    pub async fn temporary(&self, applicant: &Target, callback: &str) -> Result<Temporary, NotObtained> {
        let asked = self.asked_for_temporary(applicant, callback).await;
        asked.map_err(|error| not_obtained(applicant, error))
    }

    async fn asked_for_temporary(&self, applicant: &Target, callback: &str) -> Result<Temporary, RefreshError> {
        let by = Token {
            callback: Some(callback),
            ..Token::default()
        };
        let request = build(applicant, &REQUEST, by, self.moment())?;
        let answer = self.0.client.send_for_form(request).await?;
        let object = answer.expose();
        let (token, secret) = pair(object)?;
        // RFC 5849 wants `true`, and some providers leave it out. Without the verifier at the end there is no token, so that nothing
        // is lost by believing them; one that says something else is one that sends customers where it likes.
        if object
            .get("oauth_callback_confirmed")
            .is_some_and(|said| said != "true")
        {
            return Err(RefreshError::NotConfirmed {
                provider: applicant.provider.name.clone(),
            });
        }
        Ok(Temporary {
            token: token.to_owned(),
            secret: Secret::new(secret.to_owned()),
        })
    }

    /// Gives `applicant` the token that the authorized temporary credentials are good for.
    ///
    /// # Errors
    /// [`NotObtained`]: the provider gives no token, or none that can be stored.
    pub async fn exchange_temporary(
        &self,
        applicant: &mut Target,
        grant: &TemporaryGrant<'_>,
    ) -> Result<(), NotObtained> {
        let credentials = self.exchanged_temporary(applicant, grant).await;
        let credentials = credentials.and_then(|credentials| answer::readable(&credentials));
        let credentials = credentials.map_err(|error| not_obtained(applicant, without_grant(grant, error)))?;
        applicant.set_credentials(credentials);
        Ok(())
    }

    async fn exchanged_temporary(
        &self,
        applicant: &Target,
        grant: &TemporaryGrant<'_>,
    ) -> Result<Credentials, RefreshError> {
        let by = Token {
            token: Some((grant.temporary.token.as_str(), grant.temporary.secret.expose().as_str())),
            callback: None,
            verifier: Some(grant.verifier),
        };
        let request = build(applicant, &TOKEN, by, self.moment())?;
        let raw = self.0.client.send_for_form(request).await?;
        let (token, secret) = pair(raw.expose())?;
        Ok(Credentials::OAuth1 {
            oauth_token: Secret::new(token.to_owned()),
            oauth_token_secret: Secret::new(secret.to_owned()),
            raw,
        })
    }

    fn moment(&self) -> Moment {
        Moment {
            now_ms: self.0.clock.now_ms(),
            random: self.0.entropy.bytes(),
        }
    }
}

/// Where the provider's data says what of one of the two requests.
struct Keys {
    url: &'static str,
    method: &'static str,
    params: &'static str,
}

const REQUEST: Keys = Keys {
    url: "request_url",
    method: "request_http_method",
    params: "request_params",
};
const TOKEN: Keys = Keys {
    url: "token_url",
    method: "token_http_method",
    params: "token_params",
};

fn build(target: &Target, keys: &Keys, by: Token<'_>, moment: Moment) -> Result<TokenRequest, RefreshError> {
    let values = TokenValues::new(target, moment);
    let entry = &target.provider.json;
    let mut url = values.url(entry, keys.url)?;
    let mut headers = values.headers()?;
    // No JSON is answered.
    headers.remove(header::ACCEPT);
    let mut parameters = Map::new();
    values.add(keys.params, &mut parameters)?;
    let method = match entry.get(keys.method).and_then(Value::as_str) {
        Some(name) if name.eq_ignore_ascii_case("GET") => Method::GET,
        Some(_) | None => Method::POST,
    };
    let mut body = String::new();
    if method == Method::GET {
        for (name, value) in &parameters {
            url.query_pairs_mut().append_pair(name, &text(value));
        }
    } else if !parameters.is_empty() {
        headers.insert(header::CONTENT_TYPE, FORM);
        body = form(&parameters);
    }
    let signed = authorization(target, &method, &url, (!body.is_empty()).then_some(&body), by, moment)?;
    headers.insert(header::AUTHORIZATION, signed);
    Ok(TokenRequest {
        method,
        url,
        headers,
        body: Secret::new(body),
    })
}

/// The `authorization` of one request; `form` is its body, when that is a form.
pub(super) fn authorization(
    target: &Target,
    method: &Method,
    url: &url::Url,
    form: Option<&String>,
    by: Token<'_>,
    moment: Moment,
) -> Result<HeaderValue, RefreshError> {
    let client = target.client.as_ref().ok_or_else(|| RefreshError::NoClient {
        provider_config_key: target.integration.unique_key.clone(),
    })?;
    let uri = url.as_str().parse::<Uri>().map_err(|error| RefreshError::Url {
        provider: target.provider.name.clone(),
        key: "request_url",
        reason: error.to_string(),
    })?;
    let nonce = uuid::Builder::from_random_bytes(moment.random).into_uuid();
    let signature = OAuth1 {
        client_id: &client.client_id,
        client_secret: client.client_secret.expose(),
        token: by.token.map(|(token, _)| token),
        callback: by.callback,
        verifier: by.verifier,
        token_secret: by.token.map_or("", |(_, secret)| secret),
        signature_method: target.provider.signature_method,
        realm: None,
        timestamp_s: moment.now_ms / 1_000,
        nonce: &nonce.simple().to_string(),
    };
    let text = signature.authorization(method, &uri, form.map(String::as_str))?;
    let mut value = HeaderValue::from_str(&text).map_err(|_| RefreshError::Header {
        name: header::AUTHORIZATION.to_string(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The token and its secret.
fn pair(object: &JsonObject) -> Result<(&str, &str), RefreshError> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("oauth_token"), text("oauth_token_secret")) {
        (Some(token), Some(secret)) => Ok((token, secret)),
        _ => Err(answer::refusal(object)),
    }
}

fn not_obtained(applicant: &Target, error: RefreshError) -> NotObtained {
    NotObtained {
        provider_config_key: applicant.integration.unique_key.clone(),
        mode: CredentialsType::OAuth1,
        error: error::without_secrets(applicant, error),
    }
}

/// The error without what the customer came back with, should the provider have repeated it.
fn without_grant(grant: &TemporaryGrant<'_>, error: RefreshError) -> RefreshError {
    let secrets = [grant.verifier, grant.temporary.secret.expose().as_str()];
    error::retold(error, |text| {
        let secrets = secrets.iter().filter(|secret| !secret.is_empty());
        secrets.fold(text, |text, secret| text.replace(secret, "REDACTED"))
    })
}

#[cfg(test)]
mod tests;
