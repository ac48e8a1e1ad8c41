//! How a provider's webhooks are received: who signed them and how, what they are about, whose they are (`webhook`, a key of ours).

mod parse;
mod place;
#[cfg(test)]
mod tests;

pub use place::{PathStep, Place};

use super::template::Template;

pub(super) use parse::{Given, webhook};

/// What there is to know of a provider's webhooks.
#[derive(Clone, Debug)]
pub struct WebhookSpec {
    pub verification: WebhookVerification,
    /// Requests that only want to hear whether somebody is there.
    pub handshakes: Vec<Handshake>,
    /// Where the names of events are, which syncs subscribe to.
    pub events: Vec<Place>,
    /// Which connections it is about: those of which one of these holds.
    pub connections: Vec<ConnectionRule>,
    /// Which of them say that the integration's app was installed; none where installations do not begin at the provider.
    pub installation: Option<InstallationRule>,
    /// The answer to what was taken has no body: the provider takes no other.
    pub empty_answer: bool,
}

impl WebhookSpec {
    /// Whether connections have addresses and secrets of their own.
    #[must_use]
    pub fn is_by_connection(&self) -> bool {
        self.verification.secrets.contains(&SecretSource::Connection)
    }
}

/// How an installation is told of that begins at the provider. The code is at `authorization_code_param_in_webhook` of the entry.
#[derive(Clone, Debug)]
pub struct InstallationRule {
    /// What must be there.
    pub when: Vec<(Place, String)>,
    /// Who installed, as the provider calls him.
    pub by: Place,
    /// The name of the connection_config's value that says who is awaited.
    pub awaited: String,
}

/// How it shows that the provider sent it.
#[derive(Clone, Debug)]
pub struct WebhookVerification {
    pub scheme: Scheme,
    /// Where the signature, or the token, is.
    pub proof: Place,
    /// Before the signature, such as `sha256=`.
    pub prefix: String,
    /// The proof is a list of `name=value` with commas between, and the signatures are those of this name.
    pub pair: Option<String>,
    /// Which secrets of the integration; the first one that is there.
    pub secrets: Vec<SecretSource>,
    /// Before the secret as people copy it, and no part of the key: `whsec_`.
    pub secret_prefix: String,
    pub secret_encoding: SecretEncoding,
    /// Another way in which the provider may show it, with the same secrets.
    pub or: Option<Box<WebhookVerification>>,
}

#[derive(Clone, Debug)]
pub enum Scheme {
    /// A keyed hash of what was sent.
    Hmac(HmacScheme),
    /// The secret itself comes along.
    Token,
}

#[derive(Clone, Debug)]
pub struct HmacScheme {
    pub algorithm: HashAlgorithm,
    pub encoding: SignatureEncoding,
    /// What is signed, piece by piece.
    pub signed: Vec<SignedPart>,
    pub timestamp: Option<TimestampRule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashAlgorithm {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureEncoding {
    #[default]
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretEncoding {
    /// Its characters are the key.
    #[default]
    Text,
    Hex,
    Base64,
}

/// A piece of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedPart {
    Text(String),
    Body,
    Timestamp,
    Method,
    /// As the provider was given it: the server's public address, path and query.
    Url,
    /// The first header of that name; nothing when it is not there.
    Header(String),
    /// Names and values of the body's form, sorted by name, nothing between.
    Form,
}

/// When it was signed: what is older than the tolerance was recorded by somebody and is sent again.
#[derive(Clone, Debug)]
pub struct TimestampRule {
    pub at: TimestampPlace,
    pub unit: TimestampUnit,
    pub tolerance_s: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimestampPlace {
    Place(Place),
    /// In the list that holds the signature, under this name.
    Pair(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimestampUnit {
    #[default]
    S,
    Ms,
    /// RFC 3339.
    Iso,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// `webhook_secret` of the integration's credentials, or `webhookSecret` of its `custom`.
    WebhookSecret,
    /// `client_secret` of the integration's credentials.
    ClientSecret,
    /// Those of the connection whose address it came to.
    Connection,
}

/// A request that is answered and nothing else.
#[derive(Clone, Debug)]
pub struct Handshake {
    pub when: Place,
    /// Its value there; none: whatever is there.
    pub is: Option<String>,
    /// Whether it has to be signed as well.
    pub signed: bool,
    /// The secret that the provider signs with from now on.
    pub keep: Option<Place>,
    pub answer: HandshakeAnswer,
}

#[derive(Clone, Debug)]
pub enum HandshakeAnswer {
    /// Nothing but headers, with what is at these places.
    Headers(Vec<(String, Place)>),
    /// What is at that place, as plain text.
    Text(Place),
    /// An object of what is at these places.
    Json {
        plain: Vec<(String, Place)>,
        /// Not as it is, but signed with the secret: SHA-256, in hex.
        signed: Vec<(String, Place)>,
    },
}

/// A connection fits of which `equals` gives what is at `from`.
#[derive(Clone, Debug)]
pub struct ConnectionRule {
    pub from: Place,
    /// Of `connectionId`, `connectionConfig.name` and `metadata.name`.
    pub equals: Template,
}
