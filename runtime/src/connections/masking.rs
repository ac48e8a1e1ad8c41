//! What must not be logged of a connection: its credentials, the secret fields of connection and integration, and the
//! integration's own credentials. Lists it and keeps the [`Masker`] made of it; what is logged is not known here.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use super::{Connections, Target, ToldTokens};
use crate::credentials::{Credentials, Secret, secret_fields};
use crate::model::{ExecutionContext, JsonObject};
use crate::provider::Provider;
use crate::redaction::Masker;
use crate::variables::RunVariables;

/// The masker of one [`Target`], made when it is first needed and kept as long as the target is.
#[derive(Default)]
pub struct Masking {
    /// Secrets of the integration that nothing else in the target holds.
    integration: Vec<Secret<String>>,
    masker: OnceLock<Masker>,
}

impl Masking {
    /// `credentials` are the integration's: the client secret and the like.
    pub(super) fn of_integration(credentials: Option<&Value>) -> Self {
        let fields = credentials.and_then(Value::as_object);
        Self {
            integration: fields.map_or_else(Vec::new, |fields| secret_fields(fields, true, |_| false)),
            masker: OnceLock::new(),
        }
    }
}

impl Target {
    /// Other credentials in the place of those that are there, before it is stored.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        self.credentials = credentials;
        // Made of the ones before, if it was.
        self.masking.masker = OnceLock::new();
    }

    /// The same connection with other credentials, in the place of those that are there.
    #[must_use]
    pub fn with(&self, credentials: Credentials) -> Self {
        Self {
            integration: Arc::clone(&self.integration),
            provider: Arc::clone(&self.provider),
            connection: Arc::clone(&self.connection),
            credentials,
            connection_config: self.connection_config.clone(),
            integration_config: self.integration_config.clone(),
            masking: Masking {
                integration: self.masking.integration.clone(),
                masker: OnceLock::new(),
            },
            client: self.client.clone(),
            value_template: OnceLock::new(),
            app: self.app.clone(),
        }
    }

    /// Masks all secrets of this connection.
    pub fn masker(&self) -> &Masker {
        self.masking.masker.get_or_init(|| {
            let credentials = self.credentials.secret_texts();
            let connection = declared(&self.provider, "connection_config", &self.connection_config);
            let integration = declared(&self.provider, "integration_config", &self.integration_config);
            let own = &self.masking.integration;
            Masker::new(credentials.iter().chain(&connection).chain(&integration).chain(own))
        })
    }
}

/// The values of fields that the provider's data marks as secret, or whose names say so.
fn declared(provider: &Provider, section: &str, values: &JsonObject) -> Vec<Secret<String>> {
    let is_marked = |name: &str| {
        let mut fields = provider.fields(section);
        // A name with dots is a path, of which the first part holds the secret.
        fields.any(|(field, rules)| {
            field.split('.').next() == Some(name) && rules.get("secret").and_then(Value::as_bool) == Some(true)
        })
    };
    secret_fields(values, false, is_marked)
}

/// The secrets that a run may know: those its connection began with, those it has after a refresh, the environment's variables
/// once they were read, and the credentials it was told.
#[derive(Clone, Debug)]
pub struct RunMasker {
    first: Arc<Target>,
    now: Option<Arc<Target>>,
    variables: RunVariables,
    told: ToldTokens,
}

impl RunMasker {
    #[must_use]
    pub fn new(first: Arc<Target>, variables: RunVariables, told: ToldTokens) -> Self {
        Self {
            first,
            now: None,
            variables,
            told,
        }
    }

    /// The connection as it was when the run began.
    #[must_use]
    pub fn first(&self) -> &Arc<Target> {
        &self.first
    }

    /// Whether the run knows secrets besides those of its connection as it is.
    #[must_use]
    pub fn knows_more(&self) -> bool {
        self.variables.masker().is_some() || !self.told.is_empty()
    }

    /// With the secrets that the connection has now, as far as this process knows them.
    #[must_use]
    pub fn with_those_of_now(&self, connections: &Connections, ctx: &ExecutionContext) -> Self {
        let now = connections
            .known_target(&ctx.environment_id, &ctx.provider_config_key, &ctx.connection_id)
            .filter(|now| !Arc::ptr_eq(now, &self.first));
        Self {
            first: Arc::clone(&self.first),
            now,
            variables: self.variables.clone(),
            told: self.told.clone(),
        }
    }

    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let told = self.told.all();
        self.maskers(&told)
            .fold(Cow::Borrowed(text), |masked, masker| match masker.mask(&masked) {
                Cow::Borrowed(_) => masked,
                Cow::Owned(more) => Cow::Owned(more),
            })
    }

    pub fn mask_json(&self, value: &mut Value) {
        let told = self.told.all();
        for masker in self.maskers(&told) {
            masker.mask_json(value);
        }
    }

    fn maskers<'m>(&'m self, told: &'m [Arc<Target>]) -> impl Iterator<Item = &'m Masker> {
        let own = std::iter::once(&self.first).chain(&self.now);
        let others = told.iter().filter(|told| !Arc::ptr_eq(told, &self.first));
        let targets = own.chain(others).map(|target| target.masker());
        targets.chain(self.variables.masker().map(|masker| &**masker))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::target;
    use super::*;
    use crate::credentials::Credentials;
    use crate::redaction::MASK;

    fn object(mut value: Value) -> JsonObject {
        std::mem::take(value.as_object_mut().unwrap())
    }

    fn with_secrets() -> Target {
        let mut target = Arc::into_inner(target("crm", "c")).unwrap();
        let provider = Provider {
            json: json!({
                "connection_config": {"pin": {"type": "string", "secret": true}, "region": {"type": "string"}},
                "integration_config": {"seal": {"type": "string", "secret": true}},
            }),
            ..Provider::clone(&target.provider)
        };
        target.provider = Arc::new(provider);
        target.credentials = Credentials::from_json(&json!({"type": "OAUTH2", "access_token": "access-1",
            "raw": {"nested": {"id_token": "id-token-1"}}}))
        .unwrap();
        target.connection_config =
            object(json!({"pin": "pin-4711", "region": "europe", "own": {"apiKey": "own-key-1"}}));
        target.integration_config = object(json!({"seal": "seal-1", "clientId": "the-client-id"}));
        let oauth = json!({"type": "OAUTH2", "client_id": "the-client-id", "client_secret": "client-secret-1"});
        target.masking = Masking::of_integration(Some(&oauth));
        target
    }

    #[test]
    fn every_secret_of_a_target_is_masked() {
        let target = with_secrets();
        for secret in [
            "access-1",
            "id-token-1",
            "pin-4711",
            "own-key-1",
            "seal-1",
            "client-secret-1",
        ] {
            assert_eq!(target.masker().mask(secret), MASK, "{secret}");
        }
        assert_eq!(target.masker().mask("europe the-client-id"), "europe the-client-id");
        assert!(std::ptr::eq(target.masker(), target.masker()), "it is made once");
    }
}
