//! For whom the API is called, and what that key may reach. The environment, without which nothing can be done, is given only
//! in exchange for what the call is about: so no route can forget a key's limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::model::{ApiKey, ApiKeyId, Environment, EnvironmentId, KeyLimits, Scope, Scopes};
use crate::proxy::ProxyRequest;

/// Headers by which some servers let a request of one method mean another.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];
/// Headers by which some servers let a request of one path mean another.
const PATH_OVERRIDES: [&str; 2] = ["x-original-url", "x-rewrite-url"];

/// How exactly the last use of a key is known to its own process, in milliseconds.
const LAST_USED_EXACT_MS: i64 = 1_000;

/// A key that was recognised. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller(pub(super) Arc<KnownKey>);

#[derive(Debug)]
pub(super) struct KnownKey {
    pub key: ApiKey,
    pub environment: Arc<Environment>,
    /// 0 while it was never used.
    pub last_used_at_ms: AtomicI64,
}

/// Why a key may not do what it was used for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("the API key {key:?} has no scope {}; use a key that has it", scope.name())]
    Scope { key: String, scope: Scope },
    #[error(
        "the API key {key:?} is limited, and this call is about more than a key can be limited to; use a key without limits"
    )]
    Limited { key: String },
    #[error("the API key {key:?} is limited to other integrations than {integration:?}")]
    Integration { key: String, integration: String },
    #[error("the API key {key:?} is limited to other connections than {connection:?}")]
    Connection { key: String, connection: String },
    #[error("the API key {key:?} is limited to some connections, and this call is about all of an integration")]
    AllConnections { key: String },
    #[error(
        "the API key {key:?} is limited, and a session would reach further; name allowed_integrations that the key may use"
    )]
    Session { key: String },
    #[error(
        "the API key {key:?} is limited to some connections, and a session makes new ones; open one for a connection with POST /connect/sessions/reconnect"
    )]
    NewConnections { key: String },
    #[error("the API key {key:?} is limited to other methods than {method}")]
    Method { key: String, method: String },
    #[error(
        "the API key {key:?} is limited to paths that begin with {}; this one does not, or has dots, empty segments or encodings that could lead elsewhere",
        prefixes.join(" or ")
    )]
    Path { key: String, prefixes: Vec<String> },
    #[error("the API key {key:?} is limited and may not use {header}, which leads around the limits")]
    Header { key: String, header: String },
}

impl Caller {
    #[must_use]
    pub fn key_id(&self) -> &ApiKeyId {
        &self.0.key.id
    }

    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes().has(scope)
    }

    /// # Errors
    /// [`Denied::Scope`].
    pub fn require(&self, scope: Scope) -> Result<(), Denied> {
        if self.has(scope) {
            return Ok(());
        }
        Err(Denied::Scope {
            key: self.name(),
            scope,
        })
    }

    /// For what is about the whole environment.
    ///
    /// # Errors
    /// [`Denied::Limited`] for every key with a limit.
    pub fn environment(&self) -> Result<&EnvironmentId, Denied> {
        if self.limits().is_none() {
            Ok(&self.0.environment.id)
        } else {
            Err(Denied::Limited { key: self.name() })
        }
    }

    /// Where a run is looked up, whose connection is known only then: it must be asked for with [`Caller::connection`].
    #[must_use]
    pub fn environment_of_runs(&self) -> &EnvironmentId {
        &self.0.environment.id
    }

    /// For what is about one integration and shows no connection.
    ///
    /// # Errors
    /// [`Denied::Integration`].
    pub fn integration(&self, unique_key: &str) -> Result<&EnvironmentId, Denied> {
        if self.limits().allows_integration(unique_key) {
            return Ok(&self.0.environment.id);
        }
        Err(Denied::Integration {
            key: self.name(),
            integration: unique_key.to_owned(),
        })
    }

    /// For what is about an integration with all its connections, or changes it for them.
    ///
    /// # Errors
    /// [`Denied::Integration`], [`Denied::AllConnections`].
    pub fn whole_integration(&self, unique_key: &str) -> Result<&EnvironmentId, Denied> {
        if self.limits().connections.is_some() {
            return Err(Denied::AllConnections { key: self.name() });
        }
        self.integration(unique_key)
    }

    /// For what is about one connection.
    ///
    /// # Errors
    /// [`Denied::Integration`], [`Denied::Connection`].
    pub fn connection(&self, unique_key: &str, connection_id: &str) -> Result<&EnvironmentId, Denied> {
        if self.limits().allows_connection(connection_id) {
            return self.integration(unique_key);
        }
        Err(Denied::Connection {
            key: self.name(),
            connection: connection_id.to_owned(),
        })
    }

    /// For what is about one connection, or all of the integration when none is named.
    ///
    /// # Errors
    /// As [`Caller::connection`] or [`Caller::whole_integration`].
    pub fn connections(&self, unique_key: &str, connection_id: Option<&str>) -> Result<&EnvironmentId, Denied> {
        match connection_id {
            Some(connection_id) => self.connection(unique_key, connection_id),
            None => self.whole_integration(unique_key),
        }
    }

    /// For opening a session that makes new connections of these integrations, or of any when none are named: it must not reach
    /// further than the key.
    ///
    /// # Errors
    /// [`Denied::Session`], [`Denied::NewConnections`], [`Denied::Integration`].
    pub fn connect_session(&self, allowed_integrations: Option<&[String]>) -> Result<&EnvironmentId, Denied> {
        let limits = self.limits();
        if limits.is_none() {
            return Ok(&self.0.environment.id);
        }
        if limits.connections.is_some() {
            return Err(Denied::NewConnections { key: self.name() });
        }
        if limits.integrations.is_some() && allowed_integrations.is_none() {
            return Err(Denied::Session { key: self.name() });
        }
        for unique_key in allowed_integrations.unwrap_or_default() {
            self.integration(unique_key)?;
        }
        Ok(&self.0.environment.id)
    }

    /// For a request to a provider.
    ///
    /// # Errors
    /// As [`Caller::connection`]; a method or path that is not allowed, or something that leads around the limits.
    pub fn request(
        &self,
        unique_key: &str,
        connection_id: &str,
        request: &ProxyRequest,
    ) -> Result<&EnvironmentId, Denied> {
        let environment = self.connection(unique_key, connection_id)?;
        let limits = self.limits();
        if limits.is_none() {
            return Ok(environment);
        }
        let refused = |header: &str| Denied::Header {
            key: self.name(),
            header: header.to_owned(),
        };
        if request.base_url_override.is_some() {
            return Err(refused("Base-Url-Override"));
        }
        if request.forward_headers_on_redirect == Some(true) {
            return Err(refused("Forward-Headers-On-Redirect"));
        }
        if !limits.allows_method(request.method.as_str()) {
            return Err(Denied::Method {
                key: self.name(),
                method: request.method.to_string(),
            });
        }
        if !limits.allows_endpoint(&request.endpoint) {
            return Err(Denied::Path {
                key: self.name(),
                prefixes: limits.path_prefixes.clone().unwrap_or_default(),
            });
        }
        let mut overrides = METHOD_OVERRIDES.iter().chain(&PATH_OVERRIDES);
        match overrides.find(|header| request.headers.contains_key(**header)) {
            Some(header) if limits.limits_requests() => Err(refused(&format!("Nango-Proxy-{header}"))),
            Some(_) | None => Ok(environment),
        }
    }

    pub(super) fn scopes(&self) -> &Scopes {
        &self.0.key.scopes
    }

    pub(super) fn used(&self, now_ms: i64) {
        let last = &self.0.last_used_at_ms;
        // Written seldom: all threads share the cache line.
        if now_ms - last.load(Ordering::Relaxed) >= LAST_USED_EXACT_MS {
            last.store(now_ms, Ordering::Relaxed);
        }
    }

    fn limits(&self) -> &KeyLimits {
        &self.0.key.limits
    }

    fn name(&self) -> String {
        self.0.key.name.clone()
    }
}
