//! An authorization under way: what its end needs, and the two secrets that its end is recognised by.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{AUTHORIZATION_TTL_MS, AuthorizeParts, FlowError};
use crate::credentials::{OAuthClient, Secret};
use crate::model::{ConnectSession, IntegrationId, JsonObject, Sealed};
use crate::oauth::Temporary;

/// Random bytes of a `state`, of the cookie, and of a PKCE verifier.
const SECRET_BYTES: usize = 32;

/// What is kept, sealed, until the customer comes back.
#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) session: ConnectSession,
    pub(super) provider_config_key: String,
    /// Another integration of the same key is another one.
    pub(super) integration_id: IntegrationId,
    pub(super) connection_config: JsonObject,
    pub(super) redirect_uri: String,
    pub(super) code_verifier: Option<String>,
    /// SHA-256 of the cookie's value; none when browsers are not bound.
    pub(super) browser: Option<[u8; 32]>,
    pub(super) client: Option<Client>,
    pub(super) refresh_token: Option<String>,
    /// Of OAuth 1.0a.
    pub(super) temporary: Option<TemporaryToken>,
    pub(super) popup_id: Option<String>,
    /// RFC 9207.
    pub(super) issuer: Option<String>,
    /// Whether the answer must say that it comes from there.
    #[serde(default)]
    pub(super) tells_issuer: bool,
    /// What the connection will be called, where that was told already.
    #[serde(default)]
    pub(super) connection_id: Option<String>,
}

/// Temporary credentials that the customer was sent to authorize.
#[derive(Serialize, Deserialize)]
pub(super) struct TemporaryToken {
    token: String,
    secret: String,
}

impl From<Temporary> for TemporaryToken {
    fn from(temporary: Temporary) -> Self {
        Self {
            secret: temporary.secret.expose().clone(),
            token: temporary.token,
        }
    }
}

impl TemporaryToken {
    pub(super) fn as_oauth(&self) -> Temporary {
        Temporary {
            token: self.token.clone(),
            secret: Secret::new(self.secret.clone()),
        }
    }
}

/// The client in the place of the integration's.
#[derive(Serialize, Deserialize)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: String,
}

impl Client {
    pub(super) fn as_oauth(&self) -> OAuthClient {
        OAuthClient {
            client_id: self.id.clone(),
            client_secret: Secret::new(self.secret.clone()),
        }
    }
}

/// An unguessable text: 256 random bits.
pub(super) fn secret(random: [u8; SECRET_BYTES]) -> String {
    URL_SAFE_NO_PAD.encode(random)
}

/// Whether a text could be one of those.
pub(super) fn is_secret(text: &str) -> bool {
    let bytes = URL_SAFE_NO_PAD.decode(text);
    bytes.is_ok_and(|bytes| bytes.len() == SECRET_BYTES)
}

pub(super) fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// RFC 7636, section 4.2.
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(verifier))
}

/// The cookie that binds `state` to a browser: named by it, so that two authorizations at once do not overwrite each other's.
pub(super) fn cookie_name(state: &str, is_https: bool) -> String {
    let [a, b, c, d, e, f, ..] = sha256(&format!("cookie of {state}"));
    let id = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    // With this prefix browsers take it only from the host itself over https, not from a neighbouring subdomain.
    let prefix = if is_https { "__Host-" } else { "" };
    format!("{prefix}nango-oauth-{id:012x}")
}

impl Pending {
    pub(super) async fn keep(&self, parts: &AuthorizeParts, state: &str) -> Result<(), FlowError> {
        let hash = URL_SAFE_NO_PAD.encode(sha256(state));
        let sealed = self.sealed(parts, &hash)?;
        let expires_at_ms = parts.clock.now_ms() + AUTHORIZATION_TTL_MS;
        let environment_id = &self.session.environment_id;
        parts
            .store
            .insert_authorization(&hash, environment_id, &sealed, expires_at_ms)
            .await?;
        Ok(())
    }

    /// Keeps it at a place where one of another customer is left alone, and one of the same is replaced. Gives whether it is there now.
    pub(super) async fn keep_alone(&self, parts: &AuthorizeParts, hash: &str) -> Result<bool, FlowError> {
        let now_ms = parts.clock.now_ms();
        let before = parts.store.authorization(hash, now_ms).await?;
        if let Some(sealed) = &before {
            let before = Self::opened(parts, hash, sealed)?;
            if before.session.external_id() != self.session.external_id() {
                return Ok(false);
            }
        }
        let sealed = self.sealed(parts, hash)?;
        let times = (now_ms, now_ms + AUTHORIZATION_TTL_MS);
        let environment_id = &self.session.environment_id;
        let replaced = parts
            .store
            .replace_authorization(hash, environment_id, &sealed, before.as_ref(), times);
        Ok(replaced.await?)
    }

    /// Takes it, once.
    pub(super) async fn take(parts: &AuthorizeParts, state: &str) -> Result<Self, FlowError> {
        let hash = URL_SAFE_NO_PAD.encode(sha256(state));
        Self::taken(parts, &hash).await?.ok_or(FlowError::UnknownState)
    }

    /// Takes what is kept at a place, once.
    pub(super) async fn taken(parts: &AuthorizeParts, hash: &str) -> Result<Option<Self>, FlowError> {
        let sealed = parts.store.take_authorization(hash, parts.clock.now_ms()).await?;
        sealed.map(|sealed| Self::opened(parts, hash, &sealed)).transpose()
    }

    fn sealed(&self, parts: &AuthorizeParts, hash: &str) -> Result<Sealed, FlowError> {
        let details = Secret::new(serde_json::to_vec(self).map_err(FlowError::Stored)?);
        Ok(seal(parts, hash, &details))
    }

    fn opened(parts: &AuthorizeParts, hash: &str, sealed: &Sealed) -> Result<Self, FlowError> {
        let details = open(parts, hash, sealed)?;
        serde_json::from_slice(details.expose()).map_err(FlowError::Stored)
    }
}

/// For what is kept under `hash`, and nowhere else.
pub(super) fn seal(parts: &AuthorizeParts, hash: &str, details: &Secret<Vec<u8>>) -> Sealed {
    parts.keyring.seal(&place(hash), details.expose())
}

pub(super) fn open(parts: &AuthorizeParts, hash: &str, sealed: &Sealed) -> Result<Secret<Vec<u8>>, FlowError> {
    Ok(parts.keyring.open(&place(hash), sealed)?)
}

fn place(hash: &str) -> String {
    format!("authorization:{hash}:details")
}
