//! One webhook from its arrival to the answer. What is answered with success is in the database.

use std::sync::atomic::Ordering;

use super::handshake::{self, Reply};
use super::request::{Incoming, Reader};
use super::verify::{key, verify};
use super::{Ingress, IngressError, Parts};
use crate::credentials::Secret;
use crate::model::{
    Connection, EnvironmentId, FunctionKind, IncomingWebhook, IncomingWebhookId, Integration, Operation, OperationId,
    OperationKind, OperationState, RunId, Sealed, WebhookRun,
};
use crate::provider::{Scheme, WebhookSpec};
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
    /// Takes a webhook for an integration of an environment, which is given by its id or its name. Comes back when what follows of it is
    /// committed; nothing of it has run yet.
    ///
    /// # Errors
    /// [`IngressError`]: it is not taken, and nothing of it is kept.
    pub async fn receive(
        &self,
        environment: &str,
        provider_config_key: &str,
        incoming: &Incoming,
    ) -> Result<Reply, IngressError> {
        let parts = &*self.0;
        let found = parts.store.environment_by_id_or_name(environment).await?;
        let environment_id = match found {
            Some(environment) => environment.id,
            None => {
                return Err(IngressError::UnknownEnvironment {
                    given: environment.chars().take(64).collect(),
                });
            }
        };
        let integration = parts
            .connections
            .integration(&environment_id, provider_config_key)
            .await?;
        let provider = parts.connections.provider_of(&integration)?;
        let Some(spec) = &provider.webhook else {
            return Ok(Reply::NotReceived);
        };
        let reader = Reader::new(incoming);
        if let Some(open) = handshake::find(&spec.handshakes, &reader, false) {
            return Ok(handshake::answer(open, &reader, None));
        }
        let now_ms = parts.clock.now_ms();
        let secret = parts
            .connections
            .webhook_secret(&integration, &spec.verification.secrets)?
            .ok_or(IngressError::NoSecret)?;
        verify(&spec.verification, &reader, &parts.called(incoming), &secret, now_ms)?;
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
        let services = (&parts.store, &parts.connections);
        let matches = parts
            .indexes
            .matches(services, &integration, &spec.connections, &reader, now_ms)
            .await?;
        let taken = Taken {
            environment_id: &environment_id,
            integration: &integration,
            spec,
            reader: &reader,
            matches,
        };
        self.keep(&taken, now_ms).await?;
        Ok(Reply::Taken)
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
        let mut events: Vec<String> = spec.events.iter().flat_map(|place| reader.at(place)).collect();
        events.sort_unstable();
        events.dedup();
        let id = IncomingWebhookId::new(now_ms, parts.entropy.bytes());
        let mut runs = Vec::new();
        if !matches.is_empty() {
            let functions = parts
                .store
                .functions(environment_id, Some(&integration.unique_key))
                .await?;
            let syncs = functions.iter().filter(|function| {
                let mut wanted = function.manifest.webhook_subscriptions.iter();
                function.manifest.kind == FunctionKind::Sync
                    && wanted.any(|wanted| wanted == ALL_EVENTS || events.contains(wanted))
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
            if let (Scheme::Token, crate::provider::Place::Header(name)) =
                (&spec.verification.scheme, &spec.verification.proof)
            {
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
        let token = matches!(spec.verification.scheme, Scheme::Token).then_some(&spec.verification.proof);
        let incoming = IncomingWebhook {
            content: parts.seal(&id, &reader.input(&events, token)),
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
            parts.wake.notify_one();
        }
        Ok(())
    }
}

impl Parts {
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
            id: OperationId::new(now_ms, self.entropy.bytes()),
            environment_id: taken.environment_id.clone(),
            kind: OperationKind::WebhookIncoming,
            state: OperationState::Success,
            provider_config_key: Some(taken.integration.unique_key.as_str().into()),
            connection_id: match &*taken.matches {
                [only] => Some(only.connection_id.as_str().into()),
                _ => None,
            },
            function: None,
            run_id: None,
            message,
            started_at_ms: now_ms,
            ended_at_ms: Some(now_ms),
            duration_us: Some(0),
            usage: None,
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

fn place(id: &IncomingWebhookId) -> String {
    format!("incoming_webhook:{id}:content")
}
