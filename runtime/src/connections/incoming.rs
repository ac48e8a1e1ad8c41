//! What is known of integrations and connections that providers' webhooks are checked and told apart by.

use std::borrow::Cow;

use serde_json::Value;

use super::sealing::connection_place;
use super::{Connections, ConnectionsError};
use crate::credentials::Secret;
use crate::model::{Connection, Integration, JsonObject};
use crate::provider::template::{AwsScope, Template, Values};
use crate::provider::{Provider, SecretSource};

/// The name of an integration's webhook secret among its `custom` values.
pub(super) const WEBHOOK_SECRET: &str = "webhookSecret";

impl Connections {
    /// The first of these secrets that the integration has; those of connections are in [`super::WebhookAddress`].
    ///
    /// # Errors
    /// The integration cannot be opened.
    pub fn webhook_secret(
        &self,
        integration: &Integration,
        sources: &[SecretSource],
    ) -> Result<Option<Secret<String>>, ConnectionsError> {
        let secrets = self.0.integration_secrets(integration)?;
        let of_credentials = |name: &str| secrets.credentials.as_ref().and_then(|it| it.get(name)?.as_str());
        let found = sources.iter().find_map(|source| {
            let text = match source {
                SecretSource::WebhookSecret => {
                    let own = secrets.custom.get(WEBHOOK_SECRET).and_then(Value::as_str);
                    own.or_else(|| of_credentials("webhook_secret"))
                }
                SecretSource::ClientSecret => of_credentials("client_secret"),
                // Not the integration's.
                SecretSource::Connection => None,
            };
            text.filter(|text| !text.is_empty())
        });
        Ok(found.map(|text| Secret::new(text.to_owned())))
    }

    /// The provider of an integration.
    ///
    /// # Errors
    /// [`ConnectionsError::UnknownProvider`]: its data is not there any more.
    pub fn provider_of(&self, integration: &Integration) -> Result<std::sync::Arc<Provider>, ConnectionsError> {
        self.0.provider(&integration.provider)
    }

    /// What each template makes of a connection; none where it has no such value.
    ///
    /// # Errors
    /// The connection cannot be opened.
    pub fn webhook_values<'t>(
        &self,
        connection: &Connection,
        templates: impl Iterator<Item = &'t Template>,
    ) -> Result<Vec<Option<String>>, ConnectionsError> {
        let place = connection_place(connection, "connection_config");
        let config = self.0.open_json(&place, &connection.connection_config)?;
        let known = Known {
            connection,
            config: config.expose().as_object(),
        };
        Ok(templates
            .map(|template| template.render(&known).ok().map(Cow::into_owned))
            .collect())
    }
}

/// What the templates of `webhook.connections` may name.
struct Known<'a> {
    connection: &'a Connection,
    config: Option<&'a JsonObject>,
}

impl Values for Known<'_> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        if name == "connectionId" {
            return Some(Cow::Borrowed(&self.connection.connection_id));
        }
        let (object, name) = match name.split_once('.')? {
            ("connectionConfig", name) => (self.config?, name),
            ("metadata", name) => (&self.connection.metadata, name),
            _ => return None,
        };
        // A name may hold dots of its own, as those that come of token answers do.
        let value = object.get(name).or_else(|| {
            let mut steps = name.split('.');
            let first = object.get(steps.next()?)?;
            steps.try_fold(first, |value, step| value.get(step))
        })?;
        match value {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(value.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn now_ms(&self) -> i64 {
        0
    }

    fn random(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn aws_authorization(&self, _: &AwsScope<'_>) -> Option<String> {
        None
    }
}
