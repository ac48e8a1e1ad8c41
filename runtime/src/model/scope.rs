//! What an API key may do: scopes, named as Nango names them, and the sets of them that keys hold.

use serde::{Deserialize, Serialize};

macro_rules! scopes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One thing that the API lets a key do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Scope {
            $($(#[$doc])* $variant,)*
        }

        impl Scope {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

scopes! {
    Proxy = "environment:proxy",
    ActionsExecute = "environment:actions:execute",
    SyncsExecute = "environment:syncs:execute",
    SyncsRead = "environment:syncs:read",
    RecordsRead = "environment:records:read",
    RecordsWrite = "environment:records:write",
    ConnectionsList = "environment:connections:list",
    ConnectionsRead = "environment:connections:read",
    /// Includes [`Scope::ConnectionsRead`].
    ConnectionsReadCredentials = "environment:connections:read_credentials",
    ConnectionsCreate = "environment:connections:create",
    ConnectionsUpdate = "environment:connections:update",
    ConnectionsDelete = "environment:connections:delete",
    ConnectSessionsWrite = "environment:connect_sessions:write",
    IntegrationsList = "environment:integrations:list",
    IntegrationsListFunctions = "environment:integrations:list_functions",
    IntegrationsRead = "environment:integrations:read",
    /// Includes [`Scope::IntegrationsRead`].
    IntegrationsReadCredentials = "environment:integrations:read_credentials",
    IntegrationsCreate = "environment:integrations:create",
    IntegrationsUpdate = "environment:integrations:update",
    IntegrationsDelete = "environment:integrations:delete",
    FunctionsList = "environment:functions:list",
    FunctionsRead = "environment:functions:read",
    /// To run functions against the provider without writing what they write. What they read comes back.
    FunctionsDryRun = "environment:functions:dry_run",
    /// To run recorded runs again. What they were told comes back.
    RunsReplay = "environment:runs:replay",
    /// To deploy functions, and to go back to an earlier version of one.
    Deploy = "environment:deploy",
    LogsRead = "environment:logs:read",
    AuditRead = "environment:audit:read",
    /// To see the values of environment variables.
    VariablesRead = "environment:variables:read",
    VariablesWrite = "environment:variables:write",
    ProvidersRead = "environment:providers:read",
    MetricsRead = "environment:metrics:read",
    ApiKeysList = "environment:api_keys:list",
    ApiKeysCreate = "environment:api_keys:create",
    ApiKeysDelete = "environment:api_keys:delete",
    /// Settings of webhooks, and webhooks with their bodies.
    WebhooksRead = "environment:webhooks:read",
    WebhooksUpdate = "environment:webhooks:update",
    WebhooksResend = "environment:webhooks:resend",
    WebhookSigningKeyRead = "environment:webhook_signing_key:read",
    WebhookSigningKeyRotate = "environment:webhook_signing_key:rotate",
    EncryptionKeysRead = "environment:encryption_keys:read",
    /// To begin with a new encryption key and to let go of an old one, for the whole installation.
    EncryptionKeysRotate = "environment:encryption_keys:rotate",
}

impl Scope {
    const fn bit(self) -> u64 {
        1 << self as u64
    }

    /// Whoever may see more may see less.
    const fn included(self) -> Option<Self> {
        match self {
            Self::ConnectionsReadCredentials => Some(Self::ConnectionsRead),
            Self::IntegrationsReadCredentials => Some(Self::IntegrationsRead),
            _ => None,
        }
    }
}

/// The scopes of a key, as they were written: names, and prefixes that end in `:*`. A name that this program does not know
/// grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Scopes {
    names: Vec<String>,
    /// A bit for each scope granted.
    granted: u64,
}

impl Scopes {
    /// Everything in the environment: what the first key may do.
    #[must_use]
    pub fn everything() -> Self {
        vec!["environment:*".to_owned()].into()
    }

    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.granted & scope.bit() != 0
    }

    /// A scope that is in `other` and not in this.
    #[must_use]
    pub fn lacks_of(&self, other: &Self) -> Option<Scope> {
        let mut all = Scope::ALL.iter().copied();
        all.find(|scope| other.has(*scope) && !self.has(*scope))
    }

    /// Whether `scope` is all that is granted.
    #[must_use]
    pub fn is_only(&self, scope: Scope) -> bool {
        self.granted == scope.bit()
    }

    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A name that grants nothing.
    #[must_use]
    pub fn unknown(&self) -> Option<&str> {
        self.names.iter().map(String::as_str).find(|name| granted_by(name) == 0)
    }
}

fn granted_by(name: &str) -> u64 {
    let is_meant = |scope: &&Scope| match name.strip_suffix('*') {
        Some(prefix) => prefix.ends_with(':') && scope.name().starts_with(prefix),
        None => scope.name() == name,
    };
    let bits = |scope: &Scope| scope.bit() | scope.included().map_or(0, Scope::bit);
    Scope::ALL
        .iter()
        .filter(is_meant)
        .fold(0, |granted, scope| granted | bits(scope))
}

impl From<Vec<String>> for Scopes {
    fn from(names: Vec<String>) -> Self {
        let granted = names.iter().fold(0, |granted, name| granted | granted_by(name));
        Self { names, granted }
    }
}

impl From<Scopes> for Vec<String> {
    fn from(scopes: Scopes) -> Self {
        scopes.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(names: &[&str]) -> Scopes {
        names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().into()
    }

    #[test]
    fn there_is_a_bit_for_each() {
        assert!(Scope::ALL.len() < 64);
        let everything = Scopes::everything();
        assert!(Scope::ALL.iter().all(|scope| everything.has(*scope)));
        assert_eq!(scopes(&[]).lacks_of(&everything), Some(Scope::Proxy));
        assert_eq!(everything.lacks_of(&scopes(&[])), None);
    }

    #[test]
    fn names_and_prefixes() {
        let one = scopes(&["environment:proxy"]);
        assert!(one.is_only(Scope::Proxy) && one.has(Scope::Proxy) && !one.has(Scope::ConnectionsRead));
        let group = scopes(&["environment:connections:*"]);
        for scope in Scope::ALL {
            assert_eq!(group.has(*scope), scope.name().starts_with("environment:connections:"));
        }
    }

    #[test]
    fn who_may_read_credentials_may_read() {
        let reader = scopes(&["environment:connections:read_credentials"]);
        assert!(reader.has(Scope::ConnectionsRead) && !reader.has(Scope::ConnectionsList));
        assert!(!scopes(&["environment:connections:read"]).has(Scope::ConnectionsReadCredentials));
    }

    #[test]
    fn what_is_no_scope_grants_nothing() {
        for name in [
            "",
            "*",
            ":*",
            "environment",
            "environment*",
            "environment:prox*",
            "environment:proxy:*",
            "environment:proxy ",
            "ENVIRONMENT:*",
            "account:*",
            "environment:*:read",
        ] {
            let scopes = scopes(&["environment:proxy", name]);
            assert!(scopes.is_only(Scope::Proxy), "{name}");
            assert_eq!(scopes.unknown(), Some(name));
        }
    }
}
