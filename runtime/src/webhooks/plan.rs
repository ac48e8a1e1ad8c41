//! What an environment wants to hear of, and the rows that tell it. A plan is made before the transaction in which they are written.

use serde_json::Value;

use super::body::{self, AuthOperation, Failure, SyncEnd};
use super::content::Content;
use super::{Parts, Webhooks};
use crate::model::{
    Connection, Environment, EnvironmentId, OperationId, Sealed, Webhook, WebhookEventId, WebhookId, WebhookKind,
    WebhookKinds, WebhookSlot, WebhookState,
};
use crate::store::StoreError;

/// How one environment is to be told.
pub struct Plan<'a> {
    parts: &'a Parts,
    /// None when it was deleted: nobody is told then.
    environment: Option<Environment>,
    primary_url: Option<String>,
    secondary_url: Option<String>,
    kinds: WebhookKinds,
}

impl Webhooks {
    /// How the environment is to be told at the moment.
    ///
    /// # Errors
    /// The database failed.
    pub async fn plan(&self, environment_id: &EnvironmentId) -> Result<Plan<'_>, StoreError> {
        let found = self.0.store.webhook_settings(environment_id).await?;
        let (environment, settings) = found.unzip();
        let (primary_url, secondary_url, kinds) = match settings.flatten() {
            Some(settings) => (settings.primary_url, settings.secondary_url, settings.kinds),
            None => (None, None, WebhookKinds::default()),
        };
        Ok(Plan {
            parts: &self.0,
            environment,
            primary_url,
            secondary_url,
            kinds,
        })
    }
}

impl Plan<'_> {
    /// A connection was made or overwritten. `auth_mode` is the provider's.
    #[must_use]
    pub fn connection_made(&self, connection: &Connection, auth_mode: &str, operation: AuthOperation) -> Vec<Webhook> {
        self.authorised(connection, auth_mode, operation, None)
    }

    /// A function has refused a connection that was to be made or overwritten.
    #[must_use]
    pub fn connection_refused(
        &self,
        connection: &Connection,
        auth_mode: &str,
        operation: AuthOperation,
        failure: &Failure,
    ) -> Vec<Webhook> {
        self.authorised(connection, auth_mode, operation, Some(failure))
    }

    fn authorised(
        &self,
        connection: &Connection,
        auth_mode: &str,
        operation: AuthOperation,
        failure: Option<&Failure>,
    ) -> Vec<Webhook> {
        let Some(environment) = self.environment.as_ref().filter(|_| self.kinds.on_auth_creation) else {
            return Vec::new();
        };
        let body = body::auth(connection, auth_mode, &environment.name, operation, failure);
        self.about(WebhookKind::ConnectionCreate, connection, &body)
    }

    /// The credentials of a connection could not be refreshed, or the provider refuses them.
    #[must_use]
    pub fn credentials_failed(&self, connection: &Connection, auth_mode: &str, failure: &Failure) -> Vec<Webhook> {
        let Some(environment) = self.environment.as_ref().filter(|_| self.kinds.on_auth_refresh_error) else {
            return Vec::new();
        };
        let operation = AuthOperation::Refresh;
        let body = body::auth(connection, auth_mode, &environment.name, operation, Some(failure));
        self.about(WebhookKind::ConnectionRefresh, connection, &body)
    }

    /// A run of a sync has ended: a webhook for each model that changed, or one for the failure.
    #[must_use]
    pub fn sync_ended(&self, end: &SyncEnd<'_>) -> Vec<Webhook> {
        let bodies = match end.error {
            Some(error) if self.kinds.on_sync_error => vec![body::sync_failure(end, error)],
            Some(_) => Vec::new(),
            None => body::sync_success(end, self.kinds.on_sync_completion_always),
        };
        let about = |body: &Value| self.about(WebhookKind::Sync, end.connection, body);
        bodies.iter().flat_map(about).collect()
    }

    /// An action that ran in the background has ended, well or not; its output is for `GET /action/{id}`.
    #[must_use]
    pub fn async_action_ended(&self, connection: &Connection, action_id: &str) -> Vec<Webhook> {
        if !self.kinds.on_async_action_completion {
            return Vec::new();
        }
        let body = body::async_action(connection, action_id);
        self.about(WebhookKind::AsyncAction, connection, &body)
    }

    /// A provider's webhook, to be passed on for the connection it is about, or as it is when none was found. `headers` are those of
    /// [`super::forwarded_headers`]. Whether the integration forwards is the caller's business.
    #[must_use]
    pub fn forwarded(
        &self,
        provider_config_key: &str,
        connection: Option<&Connection>,
        payload: &Value,
        headers: Vec<(String, String)>,
    ) -> Vec<Webhook> {
        let (about, body) = match connection {
            Some(connection) => (About::of(connection), body::forward(connection, payload).to_string()),
            None => {
                let about = About {
                    line: provider_config_key,
                    provider_config_key,
                    connection_id: None,
                    url: None,
                };
                (about, payload.to_string())
            }
        };
        self.write(WebhookKind::Forward, &about, &Content { body, headers })
    }

    fn about(&self, kind: WebhookKind, connection: &Connection, body: &Value) -> Vec<Webhook> {
        let content = Content {
            body: body.to_string(),
            headers: Vec::new(),
        };
        self.write(kind, &About::of(connection), &content)
    }

    fn write(&self, kind: WebhookKind, about: &About<'_>, content: &Content) -> Vec<Webhook> {
        let Some(environment) = &self.environment else {
            return Vec::new();
        };
        let slots = match about.url {
            Some(url) => [Some((WebhookSlot::Override, url)), None],
            None => {
                let secondary = self.secondary_url.as_deref();
                // An address that is there twice is told once.
                let secondary = secondary.filter(|url| self.primary_url.as_deref() != Some(url));
                [
                    self.primary_url.as_deref().map(|url| (WebhookSlot::Primary, url)),
                    secondary.map(|url| (WebhookSlot::Secondary, url)),
                ]
            }
        };
        let Parts { clock, entropy, .. } = self.parts;
        let now_ms = clock.now_ms();
        let event_id = WebhookEventId::new(now_ms, entropy.bytes());
        let webhook = |(slot, url): (WebhookSlot, &str)| {
            let id = WebhookId::new(now_ms, entropy.bytes());
            Webhook {
                content: self.seal(&id, content),
                id,
                event_id: event_id.clone(),
                environment_id: environment.id.clone(),
                kind,
                slot,
                url: url.to_owned(),
                line: about.line.to_owned(),
                provider_config_key: Some(about.provider_config_key.to_owned()),
                connection_id: about.connection_id.map(str::to_owned),
                operation_id: OperationId::new(now_ms, entropy.bytes()),
                state: WebhookState::Pending,
                created_at_ms: now_ms,
                queued_at_ms: now_ms,
                attempts: 0,
                due_at_ms: now_ms,
                attempted_at_ms: None,
                problem: None,
                ended_at_ms: None,
            }
        };
        slots.into_iter().flatten().map(webhook).collect()
    }

    fn seal(&self, id: &WebhookId, content: &Content) -> Sealed {
        self.parts.seal_content(id, content)
    }
}

/// What a webhook is about.
struct About<'a> {
    line: &'a str,
    provider_config_key: &'a str,
    connection_id: Option<&'a str>,
    /// The connection's own address.
    url: Option<&'a str>,
}

impl<'a> About<'a> {
    fn of(connection: &'a Connection) -> Self {
        Self {
            line: connection.key.as_str(),
            provider_config_key: &connection.provider_config_key,
            connection_id: Some(&connection.connection_id),
            url: connection.webhook_url_override.as_deref(),
        }
    }
}
