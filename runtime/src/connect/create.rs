//! The one way in which every connection comes to be: a draft of what is given, a token where one is obtained with it, a proof
//! that the provider takes it, and only then a row. What fails leaves nothing behind but an operation in the log.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::record::Record;
use super::validation::OnEvent;
use super::{Connect, CreateError};
use crate::connections::{ConnectionsError, NewConnection, Target, check_typed, complete_config};
use crate::credentials::{Credentials, CredentialsType};
use crate::model::{ConnectSession, Connection, ConnectionKey, EnvironmentId, JsonObject, Made};
use crate::oauth::DISCOVERED_FIELDS;
use crate::provider::Provider;
use crate::store::Consequences;

/// A field of the credentials of AWS, and the setting of a session that it is made of.
const EXTERNAL_ID: &str = "external_id";

/// A connection that is not stored yet, and of which as much is known to be good as can be without that.
struct Proven {
    draft: Arc<Target>,
    /// The connection that it is to take the place of.
    replaces: Option<ConnectionKey>,
    obtained_at_ms: Option<i64>,
}

/// In whose name a connection is made.
#[derive(Debug)]
pub enum Creator {
    /// Somebody with an API key, or the embedding program: what is given counts.
    ApiKey(EnvironmentId),
    /// The same, for a connection that is there; not when it is gone meanwhile.
    Change(EnvironmentId, ConnectionKey),
    /// A browser: what the session says counts more.
    Session {
        session: Box<ConnectSession>,
        /// What a new connection will be called, where that was told already.
        connection_id: Option<String>,
    },
}

/// A connection that is stored.
#[derive(Debug)]
pub struct Created {
    pub target: Arc<Target>,
    pub made: Made,
}

impl Creator {
    /// A browser, with a session.
    #[must_use]
    pub fn session(session: ConnectSession) -> Self {
        Self::Session {
            session: Box::new(session),
            connection_id: None,
        }
    }

    pub(super) fn environment_id(&self) -> &EnvironmentId {
        match self {
            Self::ApiKey(environment_id) | Self::Change(environment_id, _) => environment_id,
            Self::Session { session, .. } => &session.environment_id,
        }
    }
}

impl Connect {
    /// Creates a connection, or overwrites the one of that id. Where only what a token is obtained with is given, the token is
    /// obtained first; where the provider's data says how credentials are tried, they are.
    ///
    /// With a session no id and no end user can be given: a new connection gets a UUID and what the session says; one that is
    /// authorised anew keeps its id, its metadata, and its end user and tags unless the session has others.
    ///
    /// Functions of the event `validate-connection` are asked about it before it counts. Those of `post-connection-creation` are
    /// queued with it when it is new.
    ///
    /// # Errors
    /// [`CreateError`]. Nothing is stored then; but a connection that was there and that a function refuses has the new credentials, and
    /// is marked as failed.
    pub async fn create(&self, by: Creator, new: NewConnection) -> Result<Created, CreateError> {
        let mut record = Record::begin(&self.0, by.environment_id(), &new);
        let proven = match self.proven(&by, new, &mut record).await {
            Ok(proven) => proven,
            Err(error) => {
                record.failed(&error);
                return Err(error);
            }
        };
        let connect = self.clone();
        // From here on it comes to its end, whether the caller waits or leaves.
        let finishing = tokio::spawn(async move {
            let outcome = connect.finish(proven, &record).await;
            match &outcome {
                Ok(created) => record.succeeded(created),
                Err(error) => record.failed(error),
            }
            outcome
        });
        finishing.await.unwrap_or(Err(CreateError::Interrupted))
    }

    async fn proven(&self, by: &Creator, new: NewConnection, record: &mut Record) -> Result<Proven, CreateError> {
        let parts = &self.0;
        let environment_id = by.environment_id();
        let (new, replaces) = match by {
            Creator::ApiKey(_) => (new, None),
            Creator::Change(_, key) => (new, Some(key.clone())),
            Creator::Session { session, connection_id } => {
                let (mut new, replaces) = self.by_session(session, new).await?;
                new.connection_id = new.connection_id.or_else(|| connection_id.clone());
                (new, replaces)
            }
        };
        let mut draft = parts.connections.draft(environment_id, new).await?;
        record.is_for(&draft);
        // Told to who gave it, and not to who first needs it.
        if let Some(identity) = draft.client_identity()? {
            identity.certified()?;
        }
        // What an operator imports may be used later, when the provider is there; who waits in front of a form wants to know.
        let is_later =
            matches!(draft.credentials, Credentials::OAuth2Cc { .. }) && !matches!(by, Creator::Session { .. });
        let obtained_at_ms = if is_later {
            None
        } else {
            parts.oauth.complete(&mut draft).await?
        };
        let draft = Arc::new(draft);
        if parts.verify && is_provable(&draft, parts.clock.now_ms()) {
            parts.proxy.verify(&record.context(&draft), &draft).await?;
            record.verified(&draft);
        }
        Ok(Proven {
            draft,
            replaces,
            obtained_at_ms,
        })
    }

    async fn finish(&self, proven: Proven, record: &Record) -> Result<Created, CreateError> {
        let parts = &self.0;
        let Proven {
            draft,
            replaces,
            obtained_at_ms,
        } = proven;
        let environment_id = &draft.connection.environment_id;
        let plan = parts.webhooks.plan(environment_id);
        let plan = plan.await.map_err(ConnectionsError::from)?;
        let functions = OnEvent::of(&parts.store, environment_id, &draft.integration.unique_key);
        let functions = functions.await.map_err(ConnectionsError::from)?;
        let announce = |stored: &Connection, made: Made| Consequences {
            webhooks: plan.connection_made(stored, draft.provider.auth_mode_name(), made.into()),
            actions: functions.queued(stored, made, &parts.clock, &parts.entropy),
        };
        let until_ms = functions.validation_until_ms(parts.clock.now_ms(), parts.on_event_ms_max);
        let kept = parts
            .connections
            .keep(&draft, replaces.as_ref(), obtained_at_ms, until_ms, &announce)
            .await;
        let (target, made) = match kept {
            Err(ConnectionsError::UnknownConnection { connection_id, .. }) if replaces.is_some() => {
                // Nobody else knows these tokens. Whoever brought theirs along gives them up himself.
                if obtained_at_ms.is_some() {
                    parts.oauth.give_up(&draft).await;
                }
                return Err(CreateError::ConnectionGone { connection_id });
            }
            kept => kept?,
        };
        if until_ms.is_none() {
            parts.webhooks.wake();
            return Ok(Created { target, made });
        }
        if let Err(error) = parts.validator.ask(&target, functions.validating.clone()).await {
            parts.refuse(&target, record, &plan, &error).await?;
            return Err(error);
        }
        let accepted = parts.connections.accept(&target, &announce).await?;
        let (target, made) = accepted.ok_or_else(|| CreateError::Overtaken {
            connection_id: target.connection.connection_id.clone(),
        })?;
        parts.webhooks.wake();
        Ok(Created { target, made })
    }

    /// What a session makes of what a browser gives, and the connection that it is to take the place of.
    async fn by_session(
        &self,
        session: &ConnectSession,
        given: NewConnection,
    ) -> Result<(NewConnection, Option<ConnectionKey>), CreateError> {
        let unique_key = &given.provider_config_key;
        if !session.allows(unique_key) {
            return Err(CreateError::IntegrationNotAllowed {
                unique_key: unique_key.clone(),
            });
        }
        if given.connection_id.is_some() {
            return Err(CreateError::IdGiven);
        }
        refuse_external_id(&given)?;
        let connections = &self.0.connections;
        let integration = connections.integration(&session.environment_id, unique_key).await?;
        let unknown_provider = || ConnectionsError::UnknownProvider {
            provider: integration.provider.clone(),
        };
        let provider = connections.catalogue().get(&integration.provider);
        let provider = Arc::clone(provider.ok_or_else(unknown_provider)?);
        let replaced = self.replaced(session).await?;
        let mut connection_config = session.connection_config(unique_key, given.connection_config);
        complete_config(&provider, &mut connection_config)?;
        check_typed(&provider, &given.credentials)?;
        let mut new = NewConnection {
            provider_config_key: given.provider_config_key,
            connection_id: None,
            credentials: given.credentials,
            connection_config,
            metadata: JsonObject::new(),
            tags: session.tags.clone(),
            end_user: session.end_user.clone(),
            webhook_url_override: session.webhook_url_override.clone(),
        };
        let decided = session.defaults_of(&new.provider_config_key).connection_config;
        keep_external_id(&mut new.credentials, &decided, replaced.as_deref(), session);
        keep_region(&mut new.credentials, replaced.as_deref())?;
        if let Some(replaced) = &replaced {
            let connection = &replaced.connection;
            new.connection_id = Some(connection.connection_id.clone());
            new.metadata.clone_from(&connection.metadata);
            new.end_user = new.end_user.or_else(|| connection.end_user.clone());
            if new.tags.is_empty() {
                new.tags.clone_from(&connection.tags);
            }
            keep_own_config(&provider, replaced, &mut new.connection_config);
        }
        Ok((new, replaced.map(|replaced| replaced.connection.key.clone())))
    }

    /// The connection that is authorised anew.
    async fn replaced(&self, session: &ConnectSession) -> Result<Option<Arc<Target>>, CreateError> {
        let Some(reconnect) = &session.reconnect else {
            return Ok(None);
        };
        let (unique_key, connection_id) = (&reconnect.provider_config_key, &reconnect.connection_id);
        let connections = &self.0.connections;
        match connections
            .target_now(&session.environment_id, unique_key, connection_id)
            .await
        {
            Ok(target) => Ok(Some(target)),
            Err(ConnectionsError::UnknownConnection { .. }) => Err(CreateError::ConnectionGone {
                connection_id: connection_id.clone(),
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// The external id of a role of AWS is what keeps a customer from naming the role of another, so no browser says it.
fn refuse_external_id(given: &NewConnection) -> Result<(), ConnectionsError> {
    if given.credentials.get("type").and_then(Value::as_str) != Some(CredentialsType::AwsSigV4.name()) {
        return Ok(());
    }
    let in_credentials = given.credentials.get(EXTERNAL_ID).is_some_and(|id| !id.is_null());
    let field = match (in_credentials, given.connection_config.contains_key(EXTERNAL_ID)) {
        (true, _) => "credentials.external_id",
        (false, true) => "connection_config.external_id",
        (false, false) => return Ok(()),
    };
    let message = "is not the browser's to give; the back end gives it with the connect session, as `external_id` of the \
                   integration's `connection_config` in `integrations_config_defaults`, or imports the connection";
    Err(ConnectionsError::invalid(field, message))
}

/// The external id that the connection had, that the session says, or that is the customer's.
fn keep_external_id(
    credentials: &mut Value,
    decided: &JsonObject,
    replaced: Option<&Target>,
    session: &ConnectSession,
) {
    let is_aws = credentials.get("type").and_then(Value::as_str) == Some(CredentialsType::AwsSigV4.name());
    if let (true, Value::Object(fields)) = (is_aws, credentials) {
        let had = replaced.and_then(Target::external_id).map(Value::from);
        let id = decided.get(EXTERNAL_ID).cloned().or(had);
        fields.insert(
            EXTERNAL_ID.to_owned(),
            id.unwrap_or_else(|| session.external_id().into()),
        );
    }
}

impl ConnectSession {
    /// What a customer is told to write into the trust policy of his role before he names it, unless the session says otherwise: the
    /// same in all of his sessions, and nobody else's. A UUID.
    #[must_use]
    pub fn external_id(&self) -> String {
        let (kind, customer) = match &self.end_user {
            Some(end_user) => ("end_user", end_user.id.as_str()),
            None => ("session", self.id.as_str()),
        };
        let mut hash = Sha256::new();
        for part in ["external_id", self.environment_id.as_str(), kind, customer] {
            hash.update(part);
            hash.update([0]);
        }
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
    }
}

/// A connection stays in its region: what was made with it is not in another one. (Nango compatibility.)
fn keep_region(credentials: &mut Value, replaced: Option<&Target>) -> Result<(), ConnectionsError> {
    let Some(Credentials::AwsSigV4(had)) = replaced.map(|target| &target.credentials) else {
        return Ok(());
    };
    let Value::Object(fields) = credentials else {
        return Ok(());
    };
    let given = fields
        .get("region")
        .and_then(Value::as_str)
        .filter(|region| !region.is_empty());
    if given.is_some_and(|region| region != had.region) {
        let message = format!(
            "is {:?} and stays so when a connection is authorised anew; connect again for another region",
            had.region
        );
        return Err(ConnectionsError::invalid("credentials.region", message));
    }
    fields.insert("region".to_owned(), had.region.clone().into());
    fields.entry("service").or_insert_with(|| had.service.clone().into());
    Ok(())
}

/// Of the configuration that a connection had, what the provider does not declare is the customer's own and stays. The rest
/// is given anew: who may say where requests go must not get at the values that were given for another place.
fn keep_own_config(provider: &Provider, replaced: &Target, config: &mut JsonObject) {
    for (name, value) in &replaced.connection_config {
        let is_declared = provider.fields("connection_config").any(|(field, _)| field == name);
        let is_discovered = DISCOVERED_FIELDS.contains(&name.as_str());
        if !is_declared && !is_discovered && !config.contains_key(name) {
            config.insert(name.clone(), value.clone());
        }
    }
}

/// Whether there is something that a request can prove: what somebody typed, and not what the provider has given just now;
/// nor a token that is to be replaced anyway.
fn is_provable(draft: &Target, now_ms: i64) -> bool {
    let is_typed = match &draft.credentials {
        Credentials::ApiKey { .. }
        | Credentials::Basic { .. }
        | Credentials::OAuth2Cc { .. }
        | Credentials::Tba { .. }
        | Credentials::AwsSigV4(_)
        | Credentials::Session { .. } => true,
        Credentials::OAuth1 { .. } | Credentials::OAuth2 { .. } | Credentials::App { .. } | Credentials::None => false,
    };
    is_typed && !draft.is_expired(now_ms) && draft.has_verification()
}
