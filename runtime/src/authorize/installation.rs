//! Installations that begin at the provider (`installation: outbound`): the customer installs the integration's app over there, and it is
//! the provider's webhook that brings the code. Who is awaited is said before, with a connect session.
//!
//! Whoever says that he is a certain user of the provider would get what that user installs. So it is not the browser that says it but the
//! customer's back end, with the session; one user is awaited for one customer at a time; and for as long as any authorization may take.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::pending::{self, Pending};
use super::start::not_configured;
use super::{Authorize, Begin, FlowError, after, record};
use crate::connect::{Created, Creator};
use crate::connections::{ConnectionsError, NewConnection, complete_config};
use crate::model::{ConnectSession, Integration, IntegrationId, JsonObject};
use crate::oauth::CodeGrant;
use crate::provider::{AuthMode, InstallationRule, Provider};

/// A customer who is to install the app.
#[derive(Debug)]
pub struct Awaited {
    /// What the connection will be called when it is made.
    pub connection_id: String,
    pub provider_config_key: String,
}

/// What a provider's webhook said of an installation.
#[derive(Debug)]
pub struct Installed {
    /// Who installed, as the provider calls him.
    pub by: String,
    pub code: String,
    /// For the connection_config (`webhook_response_metadata`).
    pub learned: JsonObject,
}

impl Authorize {
    /// Notes that a customer is about to install the integration's app. There is a connection when he has.
    ///
    /// # Errors
    /// [`FlowError`]: nobody is awaited then.
    pub async fn await_installation(&self, session: ConnectSession, begin: Begin) -> Result<Awaited, FlowError> {
        let parts = &*self.0;
        let provider_config_key = begin.provider_config_key;
        if begin.connection_id.is_some() {
            return Err(FlowError::IdGiven);
        }
        if !session.allows(&provider_config_key) {
            return Err(FlowError::NotAllowed { provider_config_key });
        }
        let decided = session.defaults_of(&provider_config_key).connection_config;
        let given_keys: Vec<String> = begin.connection_config.keys().cloned().collect();
        let config = session.connection_config(&provider_config_key, begin.connection_config);
        let environment_id = session.environment_id.clone();
        let mut applicant = parts
            .connections
            .applicant(&environment_id, &provider_config_key, config)
            .await?;
        let Some(rule) = rule(&applicant.target.provider) else {
            let auth_mode = applicant.target.provider.auth_mode_name().to_owned();
            return Err(FlowError::NotOutbound {
                provider_config_key,
                auth_mode,
            });
        };
        let awaited = awaited(rule, &decided, &given_keys)?;
        complete_config(&applicant.target.provider, &mut applicant.target.connection_config)?;
        if applicant.target.client.is_none() {
            return Err(not_configured(&applicant, "`client_id`"));
        }
        let connection_id = match &session.reconnect {
            Some(reconnect) => reconnect.connection_id.clone(),
            None => uuid::Builder::from_random_bytes(parts.entropy.bytes())
                .into_uuid()
                .to_string(),
        };
        let integration_id = applicant.target.integration.id.clone();
        let hash = hash(&integration_id, &awaited);
        let kept = Pending {
            connection_id: Some(connection_id.clone()),
            provider_config_key: provider_config_key.clone(),
            integration_id,
            connection_config: applicant.target.connection_config,
            redirect_uri: parts.callback_url.clone(),
            code_verifier: None,
            browser: None,
            client: None,
            refresh_token: None,
            temporary: None,
            popup_id: None,
            issuer: None,
            tells_issuer: false,
            session,
        };
        if !kept.keep_alone(parts, &hash).await? {
            return Err(FlowError::AwaitedBySomebody { awaited });
        }
        Ok(Awaited {
            connection_id,
            provider_config_key,
        })
    }

    /// Makes the connection of an installation that somebody is awaited for; none when nobody is. It comes to its end also when the
    /// caller leaves.
    ///
    /// # Errors
    /// [`FlowError`]: no connection is made then, and nobody is awaited any more.
    pub async fn installed(&self, integration: &Integration, told: Installed) -> Result<Option<Created>, FlowError> {
        let hash = hash(&integration.id, &told.by);
        let Some(pending) = Pending::taken(&self.0, &hash).await? else {
            return Ok(None);
        };
        let authorize = self.clone();
        let finishing = tokio::spawn(async move {
            let environment_id = pending.session.environment_id.clone();
            let provider_config_key = pending.provider_config_key.clone();
            let created = authorize.finish_installation(pending, told).await;
            if let Err(error) = &created {
                record::failed(&authorize.0, &environment_id, &provider_config_key, error);
            }
            created
        });
        match finishing.await {
            Ok(created) => created.map(Some),
            Err(_) => Err(crate::connect::CreateError::Interrupted.into()),
        }
    }

    async fn finish_installation(&self, pending: Pending, told: Installed) -> Result<Created, FlowError> {
        let parts = &*self.0;
        let mut config = pending.connection_config;
        // Over what a browser may have said.
        config.extend(told.learned);
        let environment_id = &pending.session.environment_id;
        let key = &pending.provider_config_key;
        let mut applicant = parts.connections.applicant(environment_id, key, config).await?;
        let grant = CodeGrant {
            code: &told.code,
            redirect_uri: &pending.redirect_uri,
            code_verifier: None,
            client: None,
            refresh_token: None,
        };
        parts.oauth.exchange(&mut applicant.target, &grant).await?;
        after::from_answer(&mut applicant.target);
        after::ask(parts, &mut applicant.target).await?;
        let new = NewConnection {
            provider_config_key: pending.provider_config_key.clone(),
            connection_id: None,
            credentials: applicant.target.credentials.to_json(),
            connection_config: applicant.target.connection_config.clone(),
            metadata: JsonObject::new(),
            tags: std::collections::BTreeMap::new(),
            end_user: None,
            webhook_url_override: None,
        };
        let by = Creator::Session {
            session: Box::new(pending.session),
            connection_id: pending.connection_id,
        };
        Ok(self.create(by, new, &applicant.target).await?)
    }
}

/// How installations are told of; none where they do not begin at the provider, or nobody knows how it tells of them.
fn rule(provider: &Provider) -> Option<&InstallationRule> {
    if !is_outbound(provider) || provider.auth_mode != AuthMode::OAuth2 {
        return None;
    }
    provider.webhook.as_ref()?.installation.as_ref()
}

/// Whether customers are not sent to this provider, but go there by themselves.
pub(super) fn is_outbound(provider: &Provider) -> bool {
    provider.json.get("installation").and_then(Value::as_str) == Some("outbound")
}

/// Who is awaited: what the back end has decided, and nobody else.
fn awaited(rule: &InstallationRule, decided: &JsonObject, given: &[String]) -> Result<String, ConnectionsError> {
    let name = &rule.awaited;
    let said = match decided.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(number @ Value::Number(_)) => Some(number.to_string()),
        Some(_) | None => None,
    };
    if let Some(said) = said.filter(|said| !said.is_empty()) {
        return Ok(said);
    }
    let what = if given.contains(name) {
        "is not the browser's to give: whoever names somebody else would get what he installs"
    } else {
        "is missing: it says whose installation is awaited"
    };
    let message = format!(
        "{what}; the back end gives it with the connect session, as `{name}` of the integration's `connection_config` in \
         `integrations_config_defaults`"
    );
    Err(ConnectionsError::invalid(format!("connection_config.{name}"), message))
}

/// Where one who is awaited is kept. No `state` of a browser is there, whatever it says.
fn hash(integration_id: &IntegrationId, awaited: &str) -> String {
    let hash = pending::sha256(&format!("{integration_id} awaits {awaited}"));
    format!("installation:{}", URL_SAFE_NO_PAD.encode(hash))
}
