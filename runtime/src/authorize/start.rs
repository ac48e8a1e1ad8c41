//! The beginning: what a browser asks for becomes the provider's URL, and a row that the end will need.

use std::collections::BTreeMap;

use serde_json::Value;

use super::installation::is_outbound;
use super::mcp::Prepared;
use super::pending::{self, Client, Pending};
use super::url::{Ask, Grant};
use super::{Authorize, AuthorizeParts, Failure, FlowError, record};
use crate::connections::{Applicant, complete_config};
use crate::model::{ConnectSession, IntegrationDefaults, JsonObject};
use crate::oauth::Temporary;
use crate::provider::AuthMode;

/// What a browser asks for, next to its connect session.
#[derive(Debug, Default)]
pub struct Begin {
    pub provider_config_key: String,
    /// Not the browser's to give; refused.
    pub connection_id: Option<String>,
    /// What the customer typed for `connection_config`.
    pub connection_config: JsonObject,
    pub authorization_params: BTreeMap<String, String>,
    pub user_scope: Option<String>,
    /// `oauth_client_id_override`, `oauth_client_secret_override`, `oauth_refresh_token_override`.
    pub credentials: BTreeMap<String, String>,
    /// What the one who opened the popup calls it; given back at the end.
    pub popup_id: Option<String>,
}

/// Where to send the browser, and what to give it along.
#[derive(Debug)]
pub struct Begun {
    pub location: String,
    /// A whole `Set-Cookie` value; none when browsers are not bound.
    pub cookie: Option<String>,
}

impl Authorize {
    /// Begins an authorization for a connect session.
    ///
    /// # Errors
    /// [`Failure`]: nothing is kept then.
    pub async fn start(&self, session: ConnectSession, begin: Begin) -> Result<Begun, Failure> {
        let (provider_config_key, popup_id) = (begin.provider_config_key.clone(), begin.popup_id.clone());
        let environment_id = session.environment_id.clone();
        self.begun(session, begin).await.map_err(|error| {
            record::failed(&self.0, &environment_id, &provider_config_key, &error);
            Failure {
                error,
                environment_id: Some(environment_id),
                provider_config_key: Some(provider_config_key),
                popup_id,
            }
        })
    }

    async fn begun(&self, session: ConnectSession, begin: Begin) -> Result<Begun, FlowError> {
        let parts = &*self.0;
        let provider_config_key = begin.provider_config_key;
        if begin.connection_id.is_some() {
            return Err(FlowError::IdGiven);
        }
        if !session.allows(&provider_config_key) {
            return Err(FlowError::NotAllowed { provider_config_key });
        }
        let defaults = session.defaults_of(&provider_config_key);
        let given = session.connection_config(&provider_config_key, begin.connection_config);
        let mut applicant = parts
            .connections
            .applicant(&session.environment_id, &provider_config_key, given)
            .await?;
        if is_outbound(&applicant.target.provider) {
            return Err(FlowError::Outbound { provider_config_key });
        }
        complete_config(&applicant.target.provider, &mut applicant.target.connection_config)?;
        let mut prepared = Prepared {
            client: own_client(&begin.credentials)?,
            issuer: word(&applicant.target.provider.json, "issuer").map(str::to_owned),
            tells_issuer: false,
        };
        if applicant.target.provider.auth_mode.is_mcp() {
            prepared = self.prepare(&mut applicant, prepared.client).await?;
        }
        let client = prepared.client;
        let state = pending::secret(parts.entropy.bytes());
        let verifier = needs_proof(&applicant).then(|| pending::secret(parts.entropy.bytes()));
        let mut authorization_params = begin.authorization_params;
        authorization_params.extend(defaults.authorization_params.clone());
        let mut temporary = None;
        let location = match applicant.target.provider.auth_mode {
            AuthMode::OAuth1 => {
                let given = self.temporary(&applicant, client.as_ref(), &state).await?;
                let location = by_temporary(parts, &applicant, &given.token, &authorization_params, &defaults)?;
                temporary = Some(given.into());
                location
            }
            AuthMode::OAuth2 | AuthMode::McpOAuth2 | AuthMode::McpOAuth2Generic => by_code(
                parts,
                &applicant,
                &CodeAsk {
                    client: client.as_ref(),
                    state: &state,
                    verifier: verifier.as_deref(),
                    params: &authorization_params,
                    user_scope: defaults.user_scopes.as_deref().or(begin.user_scope.as_deref()),
                    defaults: &defaults,
                },
            )?,
            AuthMode::App | AuthMode::Custom => by_installation(parts, &mut applicant, &state)?,
            AuthMode::InstallPlugin => by_plugin(&applicant, &state)?,
            _ => {
                let auth_mode = applicant.target.provider.auth_mode_name().to_owned();
                return Err(FlowError::Mode {
                    provider_config_key,
                    auth_mode,
                });
            }
        };
        let browser = parts.bind_browser.then(|| pending::secret(parts.entropy.bytes()));
        let is_https = parts.callback_url.starts_with("https:");
        let cookie = browser.as_deref().map(|value| cookie(&state, value, is_https));
        let popup_id = begin.popup_id.clone();
        let kept = Pending {
            provider_config_key,
            integration_id: applicant.target.integration.id.clone(),
            connection_config: applicant.target.connection_config,
            redirect_uri: parts.callback_url.clone(),
            code_verifier: verifier,
            browser: browser.as_deref().map(pending::sha256),
            refresh_token: begin.credentials.get("oauth_refresh_token_override").cloned(),
            client,
            temporary,
            popup_id: begin.popup_id,
            issuer: prepared.issuer,
            tells_issuer: prepared.tells_issuer,
            connection_id: None,
            session,
        };
        kept.keep(parts, &state).await?;
        if let Some(id) = popup_id {
            self.begun_for(&id, &kept.session.environment_id).await;
        }
        Ok(Begun { location, cookie })
    }

    /// OAuth 1.0a begins with a request of ours. The `state` is in the callback, since the protocol has no place for it.
    async fn temporary(
        &self,
        applicant: &Applicant,
        client: Option<&Client>,
        state: &str,
    ) -> Result<Temporary, FlowError> {
        let parts = &*self.0;
        if client.is_some() {
            return Err(FlowError::Url {
                reason: "`oauth_client_id_override` was given, and connections with OAuth 1.0a have the integration's client"
                    .to_owned(),
            });
        }
        if applicant.target.client.is_none() {
            return Err(not_configured(applicant, "`client_id`"));
        }
        // What is wrong with the address of the provider's page is known before anybody is asked.
        authorization(parts, applicant)?;
        let mut callback = ::url::Url::parse(&parts.callback_url).map_err(|error| FlowError::Url {
            reason: format!("`oauth_callback_url` is no URL: {error}"),
        })?;
        callback.query_pairs_mut().append_pair("state", state);
        Ok(parts.oauth.temporary(&applicant.target, callback.as_str()).await?)
    }
}

struct CodeAsk<'a> {
    client: Option<&'a Client>,
    state: &'a str,
    verifier: Option<&'a str>,
    params: &'a BTreeMap<String, String>,
    user_scope: Option<&'a str>,
    defaults: &'a IntegrationDefaults,
}

/// OAuth 2 with a code.
fn by_code(parts: &AuthorizeParts, applicant: &Applicant, ask: &CodeAsk<'_>) -> Result<String, FlowError> {
    let target = &applicant.target;
    let entry = &target.provider.json;
    let grant_type = entry.get("token_params").and_then(|params| word(params, "grant_type"));
    if let Some(grant_type) = grant_type.filter(|grant_type| *grant_type != "authorization_code") {
        return Err(FlowError::GrantType {
            grant_type: grant_type.to_owned(),
        });
    }
    let client_id = ask.client.map(|client| client.id.as_str());
    let client_id = client_id.or(target.client.as_ref().map(|client| client.client_id.as_str()));
    let client_id = client_id.ok_or_else(|| not_configured(applicant, "`client_id`"))?;
    let authorization = authorization(parts, applicant)?;
    let challenge = ask.verifier.map(pending::challenge);
    let separator = word(entry, "scope_separator").unwrap_or(" ");
    let scopes = overridden_scopes(ask.defaults).unwrap_or_else(|| applicant.scopes.clone());
    let mut provider_params = authorization.params;
    let is_offline = scopes.iter().any(|scope| scope == "offline_access");
    if target.provider.auth_mode == AuthMode::McpOAuth2Generic && is_offline {
        // Without it servers of OpenID Connect give no refresh token (Core 1.0, section 11). Other providers' data says so.
        provider_params.insert("prompt".to_owned(), "consent".into());
    }
    Ask {
        entry,
        base: authorization.url,
        grant: Grant::Code {
            client_id,
            redirect_uri: &parts.callback_url,
            state: ask.state,
            challenge: challenge.as_deref(),
        },
        scope: &scopes.join(separator),
        provider_params,
        params: ask.params,
        user_scope: ask.user_scope,
    }
    .url()
}

/// OAuth 1.0a, with the temporary token; what the customer comes back with is bound to that.
fn by_temporary(
    parts: &AuthorizeParts,
    applicant: &Applicant,
    token: &str,
    params: &BTreeMap<String, String>,
    defaults: &IntegrationDefaults,
) -> Result<String, FlowError> {
    let entry = &applicant.target.provider.json;
    let authorization = authorization(parts, applicant)?;
    let scopes = overridden_scopes(defaults).unwrap_or_else(|| applicant.scopes.clone());
    Ask {
        entry,
        base: authorization.url,
        grant: Grant::Temporary { token },
        scope: &scopes.join(word(entry, "scope_separator").unwrap_or(" ")),
        provider_params: authorization.params,
        params,
        user_scope: None,
    }
    .url()
}

/// An app is installed where its owner says; the customer comes back with the number of the installation.
fn by_installation(parts: &AuthorizeParts, applicant: &mut Applicant, state: &str) -> Result<String, FlowError> {
    let link = applicant.app_link.clone();
    let link = link.ok_or_else(|| not_configured(applicant, "`app_link`"))?;
    let link = link.trim_end_matches('/');
    let config = &mut applicant.target.connection_config;
    config.insert("appPublicLink".to_owned(), link.into());
    let entry = &applicant.target.provider.json;
    let path = match word(entry, "authorization_url") {
        None => Some("/installations/new"),
        // The link is a whole address; in the place of a value it would be encoded.
        Some(template) => template.strip_prefix("${connectionConfig.appPublicLink}"),
    };
    let mut url = match path {
        Some(path) => app_page(&format!("{link}{path}"))?,
        None => authorization(parts, applicant)?.url,
    };
    url.query_pairs_mut().append_pair("state", state);
    Ok(url.into())
}

/// A plugin is installed at its own page; `payload` comes back as it was.
fn by_plugin(applicant: &Applicant, state: &str) -> Result<String, FlowError> {
    let config = &applicant.target.integration_config;
    // A plugin has no credentials of an app; both spellings are in use.
    let named = |name: &str| config.get(name).and_then(Value::as_str).filter(|link| !link.is_empty());
    let link = applicant.app_link.as_deref().or(named("app_link")).or(named("appLink"));
    let link = link.ok_or_else(|| not_configured(applicant, "`app_link` in `custom`"))?;
    let mut url = app_page(link)?;
    url.query_pairs_mut().append_pair("payload", state);
    Ok(url.into())
}

/// The integration's own page at the provider.
fn app_page(link: &str) -> Result<::url::Url, FlowError> {
    let url = ::url::Url::parse(link).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| FlowError::Url {
        reason: "`app_link` of the integration is no URL that begins with https://".to_owned(),
    })
}

pub(super) fn authorization(
    parts: &AuthorizeParts,
    applicant: &Applicant,
) -> Result<crate::oauth::Authorization, FlowError> {
    parts
        .oauth
        .authorization(&applicant.target)
        .map_err(|error| FlowError::Url {
            reason: error.to_string(),
        })
}

pub(super) fn not_configured(applicant: &Applicant, what: &'static str) -> FlowError {
    FlowError::NotConfigured {
        provider_config_key: applicant.target.integration.unique_key.clone(),
        what,
    }
}

/// Whether the code is bound to who asked for it (RFC 7636).
fn needs_proof(applicant: &Applicant) -> bool {
    let provider = &applicant.target.provider;
    // A server that was discovered said that it knows it.
    provider.auth_mode == AuthMode::McpOAuth2Generic || provider.json.get("disable_pkce") != Some(&Value::Bool(true))
}

/// Scopes that the customer's back end decided, as a list or with commas between. Not the browser's to choose.
fn overridden_scopes(defaults: &IntegrationDefaults) -> Option<Vec<String>> {
    let owned = |scopes: Vec<&str>| scopes.into_iter().map(str::to_owned).collect();
    match defaults.connection_config.get("oauth_scopes_override")? {
        Value::Array(list) => Some(owned(list.iter().filter_map(Value::as_str).collect())),
        Value::String(text) => {
            let scopes = text.split(',').map(str::trim).filter(|scope| !scope.is_empty());
            Some(owned(scopes.collect()))
        }
        _ => None,
    }
}

/// The customer's own client. (Nango compatibility.)
fn own_client(given: &BTreeMap<String, String>) -> Result<Option<Client>, FlowError> {
    let text = |name: &str| given.get(name).filter(|text| !text.is_empty()).cloned();
    let (id, secret) = (text("oauth_client_id_override"), text("oauth_client_secret_override"));
    match (id, secret) {
        (Some(id), secret) => Ok(Some(Client {
            id,
            secret: secret.unwrap_or_default(),
        })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(FlowError::Url {
            reason: "`oauth_client_secret_override` was given without `oauth_client_id_override`".to_owned(),
        }),
    }
}

/// Sent back by the browser when the provider sends the customer here, which is a navigation at the top: `Lax` is enough, and
/// keeps it from requests that other sites' pages make.
fn cookie(state: &str, value: &str, is_https: bool) -> String {
    let name = pending::cookie_name(state, is_https);
    let secure = if is_https { "; Secure" } else { "" };
    let seconds = super::AUTHORIZATION_TTL_MS / 1_000;
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")
}

fn word<'a>(entry: &'a Value, key: &str) -> Option<&'a str> {
    entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}
