//! Identifiers. Each kind is a type of its own with a prefix that says what it names, and sorts by time of creation.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub std::sync::Arc<str>);

        impl $name {
            /// A new id of the moment `now_ms`; `random` keeps ids of the same millisecond apart.
            #[must_use]
            pub fn new(now_ms: i64, random: [u8; 16]) -> Self {
                let ulid = ulid::Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), u128::from_le_bytes(random));
                Self(format!(concat!($prefix, "_{}"), ulid).into())
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// When it was made; none of what was not made by `new`.
            #[must_use]
            pub fn made_at_ms(&self) -> Option<i64> {
                let text = self.0.strip_prefix(concat!($prefix, "_"))?;
                i64::try_from(ulid::Ulid::from_string(text).ok()?.timestamp_ms()).ok()
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id.into())
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A namespace with its own API keys, integrations and connections.
    EnvironmentId, "env"
);
id!(ApiKeyId, "key");
id!(IntegrationId, "int");
id!(ConnectSessionId, "cse");
id!(
    /// One time that credentials were shown.
    CredentialReadId, "crd"
);
id!(EnvironmentVariableId, "var");
id!(
    /// Names a connection inside the store. What customers call connection-id is [`crate::model::Connection::connection_id`].
    ConnectionKey, "con"
);
id!(
    /// One uploaded component.
    DeploymentId, "dep"
);
id!(
    /// One execution of a function.
    RunId, "run"
);
id!(
    /// One sync of one connection in one variant.
    SyncId, "syn"
);
id!(
    /// Tokens of one deleted connection that its provider has still to be told of.
    RevocationId, "rvk"
);
id!(
    /// One unit of work in the log.
    OperationId, "op"
);
id!(
    /// One message to one address.
    WebhookId, "whk"
);
id!(
    /// A webhook of a provider.
    IncomingWebhookId, "inw"
);
id!(
    /// What one announcement is called at all its addresses.
    WebhookEventId, "evt"
);
