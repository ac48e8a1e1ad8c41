//! One webhook from its arrival to the answer. What is answered with success is in the database.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::handshake::{self, Reply};
use super::request::{Incoming, Reader};
use super::verify::{key, verify};
use super::{Ingress, IngressError, Parts};
use crate::authorize::Installed;
use crate::connections::{Kept, WebhookAddress};
use crate::credentials::Secret;
use crate::model::{
    Connection, EnvironmentId, FunctionKind, IncomingWebhook, IncomingWebhookId, Integration, Operation, OperationKind,
    OperationState, RunId, Sealed, WebhookRun,
};
use crate::provider::{InstallationRule, Place, Provider, Scheme, WebhookSpec};
use crate::webhooks::forwarded_headers;

/// What a sync subscribes to that wants all events.
const ALL_EVENTS: &str = "*";

/// A webhook that is genuine.
struct Taken<'a> {
    environment_id: &'a EnvironmentId,
    integration: &'a Integration,
    spec: &'a WebhookSpec,
    reader: &'a Reader<'a>,
    matches: Vec<Connection>,
}

impl Ingress {
    /// Takes a webhook for an integration of an environment, which is given by its id or its name, at the integration's address or, with
    /// its last part, at one of a connection. Comes back when what follows of it is committed; nothing of it has run yet.
    ///
    /// # Errors
    /// [`IngressError`]: it is not taken, and nothing of it is kept.
    pub async fn receive(
        &self,
        environment: &str,
        provider_config_key: &str,
        token: Option<&str>,
        incoming: &Incoming,
    ) -> Result<Reply, IngressError> {
        let parts = &*self.0;
        let (environment_id, integration) = parts.addressed(environment, provider_config_key).await?;
        let address = match token {
            Some(token) => {
                let address = parts.connections.webhook_address_by_token(token).await?;
                let address = address.filter(|address| address.integration_id == integration.id);
                Some(address.ok_or(IngressError::UnknownAddress)?)
            }
            None => None,
        };
        let provider = parts.connections.provider_of(&integration)?;
        let Some(spec) = &provider.webhook else {
            return Ok(Reply::NotReceived);
        };
        let reader = Reader::new(incoming);
        if let Some(open) = handshake::find(&spec.handshakes, &reader, false) {
            if let Some(place) = &open.keep {
                let secret = Secret::new(reader.first(place).unwrap_or_default());
                parts.keep_secret(&integration, spec, address.as_ref(), &secret).await?;
            }
            return Ok(handshake::answer(open, &reader, None));
        }
        let now_ms = parts.clock.now_ms();
        let mut secrets = address
            .as_ref()
            .map_or_else(Vec::new, |address| address.secrets.clone());
        if secrets.is_empty() {
            let of_integration = parts
                .connections
                .webhook_secret(&integration, &spec.verification.secrets)?;
            secrets.extend(of_integration);
        }
        let url = parts.called(incoming);
        let mut verified = Err(IngressError::NoSecret);
        for secret in secrets {
            verified = verify(&spec.verification, &reader, &url, &secret, now_ms).map(|()| secret);
            if verified.is_ok() {
                break;
            }
        }
        let secret = verified?;
        if let Some(signed) = handshake::find(&spec.handshakes, &reader, true) {
            let key = key(&spec.verification, &secret)?;
            return Ok(handshake::answer(signed, &reader, Some(&key)));
        }
        let per_minute_max = parts.limits.incoming_webhooks_per_minute;
        let entered = parts.pace.enter(&environment_id, per_minute_max, now_ms);
        entered.map_err(|retry_after_s| IngressError::TooFast {
            per_minute_max,
            retry_after_s,
        })?;
        let is_installed = match &spec.installation {
            Some(rule) => self.installed(&integration, &provider, rule, &reader).await?,
            None => false,
        };
        let services = (&parts.store, &parts.connections);
        let matches = match &address {
            Some(address) => {
                let connection = parts.store.connection_that_counts(&address.connection_key).await?;
                connection.into_iter().collect()
            }
            None => {
                parts
                    .indexes
                    .matches(services, &integration, &spec.connections, &reader, now_ms)
                    .await?
            }
        };
        let taken = Taken {
            environment_id: &environment_id,
            integration: &integration,
            spec,
            reader: &reader,
            matches,
        };
        self.keep(&taken, now_ms).await?;
        Ok(if is_installed {
            Reply::Installed
        } else if spec.empty_answer {
            Reply::TakenWithoutBody
        } else {
            Reply::Taken
        })
    }

    /// Whether it tells of an installation that somebody is awaited for, whose connection is made then.
    async fn installed(
        &self,
        integration: &Integration,
        provider: &Provider,
        rule: &InstallationRule,
        reader: &Reader<'_>,
    ) -> Result<bool, IngressError> {
        let is_there = |(place, is): &(Place, String)| reader.at(place).contains(is);
        if !rule.when.iter().all(is_there) {
            return Ok(false);
        }
        let in_body = |path: &str| {
            let place = Place::parse(&format!("body.{path}"))?;
            reader.first(&place)
        };
        let code = provider.json.get("authorization_code_param_in_webhook");
        let code = code.and_then(Value::as_str).and_then(in_body);
        let (Some(by), Some(code)) = (reader.first(&rule.by), code) else {
            return Ok(false);
        };
        let named = provider.json.get("webhook_response_metadata").and_then(Value::as_array);
        let named = named.into_iter().flatten().filter_map(Value::as_str);
        let learned = named.filter_map(|path| Some((path.to_owned(), Value::String(in_body(path)?))));
        let told = Installed {
            by,
            code,
            learned: learned.collect(),
        };
        let created = self.0.authorize.installed(integration, told).await;
        Ok(created
            .map_err(|error| IngressError::Installation(Box::new(error)))?
            .is_some())
    }

    /// Whether there is an integration that webhooks could come for.
    ///
    /// # Errors
    /// [`IngressError`]: there is none.
    pub async fn is_there(&self, environment: &str, provider_config_key: &str) -> Result<(), IngressError> {
        self.0.addressed(environment, provider_config_key).await.map(drop)
    }

    /// What a function would be told of a webhook: the events it brings, unless they are `known`, and the input of its run, JSON. Whether it is genuine is not
    /// looked at, nor whom it is about; nothing of it is kept.
    ///
    /// # Errors
    /// The data of the integration's provider is not there any more.
    pub fn preview(
        &self,
        integration: &Integration,
        incoming: &Incoming,
        known: &[String],
    ) -> Result<(Vec<String>, String), IngressError> {
        let provider = self.0.connections.provider_of(integration)?;
        let reader = Reader::new(incoming);
        let events = match &provider.webhook {
            Some(spec) if known.is_empty() => events(spec, &reader),
            _ => known.to_vec(),
        };
        let input = reader.input(&events, provider.webhook.as_ref().and_then(token));
        Ok((events, input))
    }

    /// Writes what follows of it.
    async fn keep(&self, taken: &Taken<'_>, now_ms: i64) -> Result<(), IngressError> {
        let parts = &*self.0;
        let Taken {
            environment_id,
            integration,
            spec,
            reader,
            matches,
        } = taken;
        let events = events(spec, reader);
        let id = IncomingWebhookId::new(now_ms, parts.entropy.bytes());
        let mut runs = Vec::new();
        if !matches.is_empty() {
            let functions = parts
                .store
                .functions(environment_id, Some(&integration.unique_key))
                .await?;
            let syncs = functions.iter().filter(|function| {
                function.manifest.kind == FunctionKind::Sync
                    && subscribes(&function.manifest.webhook_subscriptions, &events)
            });
            for sync in syncs {
                runs.extend(matches.iter().map(|connection| WebhookRun {
                    id: parts.run_id(now_ms),
                    incoming_id: id.clone(),
                    environment_id: (*environment_id).clone(),
                    connection_key: connection.key.clone(),
                    function: sync.name.clone(),
                    queued_at_ms: now_ms,
                }));
            }
        }
        let mut outbox = Vec::new();
        if integration.forward_webhooks {
            let plan = parts.webhooks.plan(environment_id).await?;
            let mut headers = forwarded_headers(&reader.incoming.headers);
            if let Some(Place::Header(name)) = token(spec) {
                headers.retain(|(header, _)| header != name);
            }
            let payload = reader.payload();
            let key = &integration.unique_key;
            for connection in matches {
                outbox.extend(plan.forwarded(key, Some(connection), &payload, headers.clone()));
            }
            if matches.is_empty() {
                outbox.extend(plan.forwarded(key, None, &payload, headers));
            }
        }
        let incoming = IncomingWebhook {
            content: parts.seal(&id, &reader.input(&events, token(spec))),
            id,
            environment_id: (*environment_id).clone(),
            received_at_ms: now_ms,
        };
        let queued_max = parts.limits.queued_webhook_runs;
        let is_kept = parts
            .store
            .accept_webhook(&incoming, &runs, &outbox, queued_max.into())
            .await?;
        if !is_kept {
            return Err(IngressError::QueueFull { queued_max });
        }
        if !outbox.is_empty() {
            parts.webhooks.wake();
        }
        if runs.is_empty() {
            // With a run there is an operation for each.
            parts.note(taken, &events, now_ms);
        } else {
            parts.claimer.wake();
        }
        Ok(())
    }
}

impl Parts {
    async fn addressed(
        &self,
        environment: &str,
        provider_config_key: &str,
    ) -> Result<(EnvironmentId, Arc<Integration>), IngressError> {
        let found = self.store.environment_by_id_or_name(environment).await?;
        let environment = found.ok_or_else(|| IngressError::UnknownEnvironment {
            given: environment.chars().take(64).collect(),
        })?;
        let integration = self
            .connections
            .integration(&environment.id, provider_config_key)
            .await?;
        Ok((environment.id, integration))
    }

    /// Keeps a secret that came with a handshake where it belongs.
    async fn keep_secret(
        &self,
        integration: &Integration,
        spec: &WebhookSpec,
        address: Option<&WebhookAddress>,
        secret: &Secret<String>,
    ) -> Result<(), IngressError> {
        if let Some(address) = address {
            let key = &address.connection_key;
            self.connections.add_webhook_secret(key, secret, false).await?;
            return Ok(());
        }
        if spec.is_by_connection() {
            return Err(IngressError::ConnectionNeeded);
        }
        let (environment_id, key) = (&integration.environment_id, &integration.unique_key);
        let message = match self
            .connections
            .keep_webhook_secret(environment_id, key, secret)
            .await?
        {
            Kept::Same => return Ok(()),
            Kept::Other => return Err(IngressError::OtherSecret),
            Kept::New => {
                "The provider sent the secret that it signs webhooks with; it is the integration's webhookSecret now"
            }
        };
        self.logs.operation(Operation {
            provider_config_key: Some(key.as_str().into()),
            ..Operation::at_once(
                self.clock.now_ms(),
                self.entropy.bytes(),
                environment_id.clone(),
                OperationKind::WebhookIncoming,
                OperationState::Success,
                message.to_owned(),
            )
        });
        Ok(())
    }

    /// Sorts behind those of before, also within a millisecond: what came first is handled first.
    fn run_id(&self, now_ms: i64) -> RunId {
        let mut random: [u8; 16] = self.entropy.bytes();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        // The most significant of the 80 bits behind the time.
        for (byte, of_number) in random.iter_mut().skip(6).zip(number) {
            *byte = of_number;
        }
        RunId::new(now_ms, random)
    }

    /// As the provider was told to call it.
    fn called(&self, incoming: &Incoming) -> String {
        let (start, path) = (&self.public_url, &incoming.path);
        match &incoming.query {
            Some(query) => format!("{start}{path}?{query}"),
            None => format!("{start}{path}"),
        }
    }

    /// That one came which no function handles.
    fn note(&self, taken: &Taken<'_>, events: &[String], now_ms: i64) {
        let events = match events {
            [] => "no event".to_owned(),
            events => events
                .iter()
                .take(10)
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        };
        let message = match &*taken.matches {
            [] => format!("Received ({events}); no connection fits what it is about"),
            matches => format!(
                "Received ({events}) for {} connections; no sync subscribes to it",
                matches.len()
            ),
        };
        self.logs.operation(Operation {
            provider_config_key: Some(taken.integration.unique_key.as_str().into()),
            connection_id: match &*taken.matches {
                [only] => Some(only.connection_id.as_str().into()),
                _ => None,
            },
            ..Operation::at_once(
                now_ms,
                self.entropy.bytes(),
                taken.environment_id.clone(),
                OperationKind::WebhookIncoming,
                OperationState::Success,
                message,
            )
        });
    }

    fn seal(&self, id: &IncomingWebhookId, input: &str) -> Sealed {
        self.keyring.seal(&place(id), input.as_bytes())
    }

    /// The input of the runs for a webhook, JSON.
    pub(super) fn open(&self, id: &IncomingWebhookId, content: &Sealed) -> Option<Secret<String>> {
        let opened = self.keyring.open(&place(id), content).ok()?;
        String::from_utf8(opened.expose().clone()).ok().map(Secret::new)
    }
}

/// Whether a sync with those subscriptions handles one of the events.
#[must_use]
pub fn subscribes(subscriptions: &[String], events: &[String]) -> bool {
    let mut wanted = subscriptions.iter();
    wanted.any(|wanted| wanted == ALL_EVENTS || events.contains(wanted))
}

/// The names of the events it brings, each once.
fn events(spec: &WebhookSpec, reader: &Reader<'_>) -> Vec<String> {
    let mut events: Vec<String> = spec.events.iter().flat_map(|place| reader.at(place)).collect();
    events.sort_unstable();
    events.dedup();
    events
}

/// Where the secret itself comes along.
fn token(spec: &WebhookSpec) -> Option<&Place> {
    let ways = std::iter::successors(Some(&spec.verification), |way| way.or.as_deref());
    let mut tokens = ways.filter(|way| matches!(way.scheme, Scheme::Token));
    tokens.next().map(|way| &way.proof)
}

fn place(id: &IncomingWebhookId) -> String {
    format!("incoming_webhook:{id}:content")
}
