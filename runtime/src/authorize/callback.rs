//! The end: the provider sends the customer back with a code, or with a reason why not.

use std::sync::Arc;

use serde_json::{Value, json};

use super::pending::{self, Pending};
use super::{Authorize, AuthorizeParts, Failure, FlowError, after, record};
use crate::connect::{CreateError, Created, Creator};
use crate::connections::{Applicant, NewConnection, Target, keep_users_own};
use crate::model::{EnvironmentId, JsonObject};
use crate::oauth::{CodeGrant, NotObtained, TemporaryGrant};
use crate::provider::AuthMode;

/// What a provider said, in characters.
const TOLD_CHARS_MAX: usize = 500;
/// Where providers put what came back unchanged, in the order in which it is looked for. (Nango compatibility.)
const STATE_PARAMETERS: [&str; 3] = ["state", "payload", "customField"];
/// Where providers say why there is no access.
const REASON_PARAMETERS: [&str; 8] = [
    "error",
    "error_description",
    "error_reason",
    "error_message",
    "error_uri",
    "status_code",
    // Those of OAuth 1.0a have no standard; this is the most used.
    "oauth_problem",
    "oauth_problem_advice",
];

/// The query that the customer came back with, and the cookies of his browser.
pub struct Returned<'a> {
    pub query: &'a [(String, String)],
    /// By name and value.
    pub cookies: &'a [(String, String)],
}

/// A connection was made, or will be when somebody has approved.
#[derive(Debug)]
pub struct Finished {
    /// None while somebody else has to approve.
    pub target: Option<Arc<Target>>,
    pub environment_id: EnvironmentId,
    pub provider_config_key: String,
    /// The integration's name.
    pub display_name: String,
    pub popup_id: Option<String>,
}

impl Returned<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        let found = self
            .query
            .iter()
            .find(|(given, value)| given == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        let found = self.cookies.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The provider's words about why there is no access.
    fn told(&self) -> Option<String> {
        let words = REASON_PARAMETERS.iter();
        let words = words.filter_map(|name| self.value(name).map(|value| format!("{name}: {value}")));
        let told = words.collect::<Vec<_>>().join(", ");
        (!told.is_empty()).then(|| told.chars().take(TOLD_CHARS_MAX).collect())
    }
}

impl Authorize {
    /// Finishes what the `state` was given out for.
    ///
    /// # Errors
    /// [`Failure`]: no connection is made then, and the `state` is used up.
    pub async fn finish(&self, returned: &Returned<'_>) -> Result<Finished, Failure> {
        let parts = &*self.0;
        let unknown = |error| Failure {
            error,
            environment_id: None,
            provider_config_key: None,
            popup_id: None,
        };
        let state = STATE_PARAMETERS.iter().find_map(|name| returned.value(name));
        let state = state.ok_or_else(|| unknown(FlowError::NoState))?;
        let pending = Pending::take(parts, state).await.map_err(unknown)?;
        let (provider_config_key, popup_id) = (pending.provider_config_key.clone(), pending.popup_id.clone());
        let environment_id = pending.session.environment_id.clone();
        let finished = match bound_to(parts, &pending, state, returned) {
            Ok(()) => self.finished(pending, returned).await,
            Err(error) => Err(error),
        };
        finished.map_err(|error| {
            record::failed(parts, &environment_id, &provider_config_key, &error);
            Failure {
                error,
                environment_id: Some(environment_id),
                provider_config_key: Some(provider_config_key),
                popup_id,
            }
        })
    }

    async fn finished(&self, pending: Pending, returned: &Returned<'_>) -> Result<Finished, FlowError> {
        let parts = &*self.0;
        let (session, config) = (&pending.session, pending.connection_config.clone());
        let key = &pending.provider_config_key;
        let mut applicant = parts
            .connections
            .applicant(&session.environment_id, key, config)
            .await?;
        if applicant.target.integration.id != pending.integration_id {
            return Err(FlowError::IntegrationChanged {
                provider_config_key: key.clone(),
            });
        }
        if let (Some(expected), Some(given)) = (&pending.issuer, returned.value("iss"))
            && expected != given
        {
            return Err(FlowError::Issuer {
                given: given.chars().take(TOLD_CHARS_MAX).collect(),
                expected: expected.clone(),
            });
        }
        if pending.tells_issuer
            && returned.value("iss").is_none()
            && let Some(expected) = &pending.issuer
        {
            return Err(FlowError::NoIssuer {
                expected: expected.clone(),
            });
        }
        let display_name = applicant.target.integration.display_name.clone();
        let credentials = match applicant.target.provider.auth_mode {
            AuthMode::App | AuthMode::Custom => {
                let Some(credentials) = installation(returned)? else {
                    return Ok(Finished {
                        target: None,
                        environment_id: pending.session.environment_id,
                        provider_config_key: pending.provider_config_key,
                        display_name,
                        popup_id: pending.popup_id,
                    });
                };
                if applicant.target.provider.auth_mode == AuthMode::Custom {
                    let Some(code) = returned.value("code") else {
                        let told = "it named an installation, and gave no `code` of the user who installed the app; let the app \
                                    ask for users' authorization during the installation";
                        return Err(FlowError::Refused { told: told.to_owned() });
                    };
                    // What the provider's data checks with the user's token.
                    if let Some(id) = credentials.get("installation_id") {
                        let config = &mut applicant.target.connection_config;
                        config.insert("installation_id".to_owned(), id.clone());
                    }
                    self.users_own(&mut applicant, &pending, code).await?;
                }
                credentials
            }
            AuthMode::InstallPlugin => {
                after::from_query(&mut applicant.target, returned.query);
                plugin(&applicant)?
            }
            mode => {
                if mode == AuthMode::OAuth1 {
                    self.exchange_temporary(&mut applicant, &pending, returned).await?;
                } else {
                    self.exchange(&mut applicant, &pending, returned).await?;
                }
                after::from_query(&mut applicant.target, returned.query);
                after::from_answer(&mut applicant.target);
                after::ask(parts, &mut applicant.target).await?;
                applicant.target.credentials.to_json()
            }
        };
        let new = NewConnection {
            provider_config_key: pending.provider_config_key.clone(),
            connection_id: None,
            credentials,
            connection_config: applicant.target.connection_config.clone(),
            metadata: JsonObject::new(),
            tags: std::collections::BTreeMap::new(),
            end_user: None,
            webhook_url_override: None,
        };
        let environment_id = pending.session.environment_id.clone();
        let by = Creator::session(pending.session);
        let Created { target, .. } = self.create(by, new, &applicant.target).await?;
        Ok(Finished {
            target: Some(target),
            environment_id,
            provider_config_key: pending.provider_config_key,
            display_name,
            popup_id: pending.popup_id,
        })
    }

    /// The connection of `applicant`, whose tokens nobody knows but we: when the connection that was to be authorised anew is gone, they
    /// are revoked.
    pub(super) async fn create(
        &self,
        by: Creator,
        new: NewConnection,
        applicant: &Target,
    ) -> Result<Created, CreateError> {
        let created = self.0.connect.create(by, new).await;
        if let Err(CreateError::ConnectionGone { .. }) = &created {
            self.0.oauth.give_up(applicant).await;
        }
        created
    }

    async fn exchange(
        &self,
        applicant: &mut Applicant,
        pending: &Pending,
        returned: &Returned<'_>,
    ) -> Result<(), FlowError> {
        let entry = &applicant.target.provider.json;
        let name = entry
            .get("authorization_code_param_in_callback")
            .and_then(Value::as_str);
        let Some(code) = returned.value(name.unwrap_or("code")) else {
            if returned.value("error") == Some("invalid_client") {
                self.forget_client(applicant, pending).await?;
            }
            let told = returned
                .told()
                .unwrap_or_else(|| "it gave neither a code nor a reason".to_owned());
            return Err(FlowError::Refused { told });
        };
        let grant = CodeGrant {
            code,
            redirect_uri: &pending.redirect_uri,
            code_verifier: pending.code_verifier.as_deref(),
            client: pending.client.as_ref().map(pending::Client::as_oauth),
            refresh_token: pending.refresh_token.as_deref(),
        };
        let exchanged = self.0.oauth.exchange(&mut applicant.target, &grant).await;
        if let Err(NotObtained { error, .. }) = &exchanged
            && error.is_unknown_client()
        {
            self.forget_client(applicant, pending).await?;
        }
        Ok(exchanged?)
    }

    /// The provider does not know the client: if it had registered itself, who begins again gets another.
    async fn forget_client(&self, applicant: &Applicant, pending: &Pending) -> Result<(), FlowError> {
        if let Some(client) = &pending.client {
            let integration_id = &applicant.target.integration.id;
            self.0.oauth.forget_registered(integration_id, &client.id).await?;
        }
        Ok(())
    }

    /// Of OAuth 1.0a: the answer names the temporary token, and proves with the verifier that it comes from whom the provider asked.
    async fn exchange_temporary(
        &self,
        applicant: &mut Applicant,
        pending: &Pending,
        returned: &Returned<'_>,
    ) -> Result<(), FlowError> {
        let temporary = pending.temporary.as_ref().ok_or(FlowError::UnknownState)?.as_oauth();
        if returned.value("denied").is_some() {
            let told = "the customer declined".to_owned();
            return Err(FlowError::Refused { told });
        }
        if let Some(token) = returned.value("oauth_token")
            && token != temporary.token
        {
            return Err(FlowError::OtherToken);
        }
        let named = returned.value("oauth_token").and(returned.value("oauth_verifier"));
        let Some(verifier) = named else {
            let told = returned
                .told()
                .unwrap_or_else(|| "it gave no `oauth_token` and `oauth_verifier`, nor a reason".to_owned());
            return Err(FlowError::Refused { told });
        };
        let grant = TemporaryGrant {
            temporary: &temporary,
            verifier,
        };
        self.0.oauth.exchange_temporary(&mut applicant.target, &grant).await?;
        Ok(())
    }

    /// Of the mode CUSTOM: the token of the user who installed the app, which is kept in the connection_config. (Nango
    /// compatibility.)
    async fn users_own(&self, applicant: &mut Applicant, pending: &Pending, code: &str) -> Result<(), FlowError> {
        let grant = CodeGrant {
            code,
            redirect_uri: &pending.redirect_uri,
            code_verifier: None,
            client: None,
            refresh_token: None,
        };
        self.0.oauth.exchange(&mut applicant.target, &grant).await?;
        after::from_answer(&mut applicant.target);
        after::ask(&self.0, &mut applicant.target).await?;
        let Target {
            credentials,
            connection_config,
            ..
        } = &mut applicant.target;
        keep_users_own(connection_config, credentials);
        Ok(())
    }
}

/// Refuses whoever did not begin: the browser must have the cookie that was set when the authorization began.
fn bound_to(parts: &AuthorizeParts, pending: &Pending, state: &str, returned: &Returned<'_>) -> Result<(), FlowError> {
    let Some(browser) = pending.browser else { return Ok(()) };
    let cookie = pending::cookie_name(state, parts.callback_url.starts_with("https:"));
    match returned.cookie(&cookie) {
        // Compared as hashes: how long it takes says nothing about the value.
        Some(value) if pending::sha256(value) == browser => Ok(()),
        Some(_) | None => Err(FlowError::OtherBrowser { cookie }),
    }
}

/// What names an installation; none while its owner has to approve.
fn installation(returned: &Returned<'_>) -> Result<Option<Value>, FlowError> {
    match (returned.value("installation_id"), returned.value("setup_action")) {
        (Some(id), _) => Ok(Some(json!({"type": "APP", "installation_id": id}))),
        (None, Some("request")) => Ok(None),
        (None, _) => {
            let told = returned
                .told()
                .unwrap_or_else(|| "it gave no `installation_id`".to_owned());
            Err(FlowError::Refused { told })
        }
    }
}

/// Of a plugin the credentials are the integration's, and what came back says whose data they open.
fn plugin(applicant: &Applicant) -> Result<Value, FlowError> {
    let config = &applicant.target.integration_config;
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    match (text("username"), text("password")) {
        (Some(username), Some(password)) => Ok(json!({"type": "BASIC", "username": username, "password": password})),
        _ => Err(FlowError::NotConfigured {
            provider_config_key: applicant.target.integration.unique_key.clone(),
            what: "`username` and `password` in `custom`",
        }),
    }
}
