//! The exchange of an authorization code for tokens: RFC 6749, section 4.1.3, with the proof of RFC 7636. The differences between
//! providers are those of a refresh.

use serde_json::{Map, Value};
use url::Url;

use super::request::{self, TokenRequest};
use super::values::{Moment, TokenValues};
use super::{NotObtained, OAuth, RefreshError, answer, error, mcp};
use crate::connections::Target;
use crate::credentials::{Credentials, CredentialsType, OAuthClient, Secret};
use crate::model::JsonObject;

/// What a customer came back with, and what the authorization was asked for with.
pub struct CodeGrant<'a> {
    pub code: &'a str,
    pub redirect_uri: &'a str,
    /// RFC 7636; none for a provider that does not know it.
    pub code_verifier: Option<&'a str>,
    /// The client in the place of the integration's.
    pub client: Option<OAuthClient>,
    /// Taken for the refresh token, whatever the provider gives.
    pub refresh_token: Option<&'a str>,
}

impl OAuth {
    /// Gives `applicant` the credentials that the code is good for. A code can be used once; the request is made once.
    ///
    /// # Errors
    /// [`NotObtained`]: the provider gives no token, or none that can be stored.
    pub async fn exchange(&self, applicant: &mut Target, grant: &CodeGrant<'_>) -> Result<(), NotObtained> {
        let credentials = self.exchanged(applicant, grant).await;
        let failed = |error: RefreshError| NotObtained {
            provider_config_key: applicant.integration.unique_key.clone(),
            mode: CredentialsType::OAuth2,
            error: without_grant(grant, error::without_secrets(applicant, error)),
        };
        let credentials = credentials.and_then(|credentials| answer::readable(&credentials));
        let credentials = credentials.map_err(failed)?;
        applicant.set_credentials(credentials);
        Ok(())
    }

    async fn exchanged(&self, applicant: &mut Target, grant: &CodeGrant<'_>) -> Result<Credentials, RefreshError> {
        let parts = &self.0;
        let moment = Moment {
            now_ms: parts.clock.now_ms(),
            random: parts.entropy.bytes(),
        };
        let request = build(applicant, grant, moment)?;
        let answer = parts.client.send(request).await?;
        // What the answer takes the place of: nothing but what is kept when the answer does not have it.
        applicant.set_credentials(Credentials::OAuth2 {
            access_token: Secret::new(String::new()),
            refresh_token: None,
            expires_at_ms: None,
            raw: Secret::new(JsonObject::new()),
            config_override: grant.client.clone(),
        });
        let mut credentials = answer::credentials(applicant, answer.object, parts.clock.now_ms())?;
        if let (Credentials::OAuth2 { refresh_token, .. }, Some(given)) = (&mut credentials, grant.refresh_token) {
            *refresh_token = Some(Secret::new(given.to_owned()));
        }
        Ok(credentials)
    }
}

fn build(applicant: &Target, grant: &CodeGrant<'_>, moment: Moment) -> Result<TokenRequest, RefreshError> {
    let client = grant.client.as_ref().or(applicant.client.as_ref());
    let client = client.ok_or_else(|| RefreshError::NoClient {
        provider_config_key: applicant.integration.unique_key.clone(),
    })?;
    let values = TokenValues::new(applicant, moment);
    let mut parameters = Map::new();
    parameters.insert("grant_type".to_owned(), "authorization_code".into());
    parameters.insert("code".to_owned(), grant.code.into());
    parameters.insert("redirect_uri".to_owned(), grant.redirect_uri.into());
    if let Some(verifier) = grant.code_verifier {
        parameters.insert("code_verifier".to_owned(), verifier.into());
    }
    values.add("token_params", &mut parameters)?;
    request::request(&values, "token_url", parameters, client)
}

/// The error without the code and the verifier, should the provider have repeated them.
fn without_grant(grant: &CodeGrant<'_>, error: RefreshError) -> RefreshError {
    let secrets = [Some(grant.code), grant.code_verifier, grant.refresh_token];
    let secrets = secrets.into_iter().flatten().filter(|secret| !secret.is_empty());
    error::retold(error, |text| {
        secrets
            .clone()
            .fold(text, |text, secret| text.replace(secret, "REDACTED"))
    })
}

/// The provider's part of an authorization request.
pub struct Authorization {
    pub url: Url,
    /// `authorization_params`, their values filled in.
    pub params: JsonObject,
}

impl OAuth {
    /// What an authorization is asked for with. That the exchange of the code can be built is seen here too: before the customer
    /// is sent away, and not when he comes back.
    ///
    /// # Errors
    /// A value of the connection_config that is missing, or data that makes no URL.
    pub fn authorization(&self, applicant: &Target) -> Result<Authorization, RefreshError> {
        let parts = &self.0;
        let moment = Moment {
            now_ms: parts.clock.now_ms(),
            random: parts.entropy.bytes(),
        };
        let values = TokenValues::new(applicant, moment);
        let entry = &applicant.provider.json;
        let mut params = Map::new();
        values.add("authorization_params", &mut params)?;
        if let Some(resource) = mcp::resource(applicant) {
            params.insert("resource".to_owned(), resource.into());
        }
        if let Some(url) = mcp::endpoint(applicant, "authorization_endpoint")? {
            return Ok(Authorization { url, params });
        }
        if entry.get("token_url").is_some_and(Value::is_string) {
            values.url(entry, "token_url")?;
            values.add("token_params", &mut Map::new())?;
        }
        Ok(Authorization {
            url: values.url(entry, "authorization_url")?,
            params,
        })
    }
}
