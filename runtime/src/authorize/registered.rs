//! Clients that registered themselves, kept: one for each integration, authorization server and set of metadata, however many
//! customers begin at the same time, on however many nodes. What is kept is sealed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::pending::{Client, sha256};
use super::{AUTHORIZATION_TTL_MS, Authorize, AuthorizeParts, FlowError};
use crate::credentials::Secret;
use crate::model::{IntegrationId, Sealed};
use crate::oauth::{ClientAuth, RegisteredClient, Registration, RegistrationError, client_id_hash};
use crate::store::{OAuthClientLease, StoredOAuthClient};

/// How long one process may be at a registration: what the endpoint may take, and the time to write it down.
const LEASE_MS: i64 = 30_000;
/// How often somebody else's registration is looked after.
const POLL_MS: u64 = 100;
/// How long somebody else's registration is waited for: one who died is succeeded within this time.
const WAIT_MS_MAX: u64 = 45_000;

/// What is kept of a client, sealed.
#[derive(Serialize, Deserialize)]
struct Details {
    client_id: String,
    client_secret: String,
    auth: String,
}

impl Authorize {
    /// The client of this integration at that server, which is registered when there is none, or none whose secret will still work
    /// when the customer comes back.
    pub(super) async fn registered(
        &self,
        integration_id: &IntegrationId,
        issuer: &str,
        registration: Registration,
    ) -> Result<(Client, ClientAuth), FlowError> {
        let key = json!([
            integration_id.as_str(),
            issuer,
            registration.endpoint.as_str(),
            registration.metadata
        ]);
        let key = URL_SAFE_NO_PAD.encode(sha256(&key.to_string()));
        let (authorize, integration_id) = (self.clone(), integration_id.clone());
        // Goes on when the browser does not wait: else nobody would give the lease back.
        let task = tokio::spawn(async move { authorize.found_or_made(&key, &integration_id, &registration).await });
        task.await.map_err(|_| FlowError::from(RegistrationError::Broken))?
    }

    async fn found_or_made(
        &self,
        key: &str,
        integration_id: &IntegrationId,
        registration: &Registration,
    ) -> Result<(Client, ClientAuth), FlowError> {
        let parts = &*self.0;
        let began_at_us = parts.clock.monotonic_us();
        loop {
            if let Some(found) = found(parts, key).await? {
                return Ok(found);
            }
            let now_ms = parts.clock.now_ms();
            let lease = parts
                .store
                .acquire_oauth_client_lease(key, integration_id, now_ms, now_ms + LEASE_MS)
                .await?;
            if let Some(lease) = lease {
                // Somebody may have written one between the look and the lease.
                let made = match found(parts, key).await {
                    Ok(None) => made(parts, key, lease, registration).await,
                    Ok(found) => Ok(found),
                    Err(error) => Err(error),
                };
                if !matches!(made, Ok(None)) {
                    parts.store.end_oauth_client_lease(key, lease).await?;
                }
                match made? {
                    Some(client) => return Ok(client),
                    // It took longer than the lease, and somebody else has registered one meanwhile.
                    None => continue,
                }
            }
            let waited_ms = parts.clock.monotonic_us().saturating_sub(began_at_us) / 1_000;
            if waited_ms > WAIT_MS_MAX {
                return Err(RegistrationError::Busy { waited_ms }.into());
            }
            parts.clock.sleep(Duration::from_millis(POLL_MS)).await;
        }
    }
}

async fn found(parts: &AuthorizeParts, key: &str) -> Result<Option<(Client, ClientAuth)>, FlowError> {
    let usable_until_ms = parts.clock.now_ms() + AUTHORIZATION_TTL_MS;
    let Some(sealed) = parts.store.oauth_client(key, usable_until_ms).await? else {
        return Ok(None);
    };
    let details = parts.keyring.open(&place(key), &sealed)?;
    let details: Details = serde_json::from_slice(details.expose()).map_err(FlowError::Stored)?;
    let auth = ClientAuth::named(&details.auth).unwrap_or(ClientAuth::Basic);
    let client = Client {
        id: details.client_id,
        secret: details.client_secret,
    };
    Ok(Some((client, auth)))
}

/// Registers one and keeps it; none when somebody else has the right to by now.
async fn made(
    parts: &AuthorizeParts,
    key: &str,
    lease: OAuthClientLease,
    registration: &Registration,
) -> Result<Option<(Client, ClientAuth)>, FlowError> {
    let RegisteredClient {
        client,
        auth,
        expires_at_ms,
    } = parts.oauth.register(registration).await?;
    let details = Details {
        client_id: client.client_id.clone(),
        client_secret: client.client_secret.expose().clone(),
        auth: auth.name().to_owned(),
    };
    let stored = StoredOAuthClient {
        details: sealed(parts, key, &details)?,
        client_id_hash: client_id_hash(&client.client_id),
        expires_at_ms,
    };
    let now_ms = parts.clock.now_ms();
    let is_kept = parts.store.write_oauth_client(key, lease, &stored, now_ms).await?;
    let client = Client {
        id: details.client_id,
        secret: details.client_secret,
    };
    Ok(is_kept.then_some((client, auth)))
}

fn sealed(parts: &AuthorizeParts, key: &str, details: &Details) -> Result<Sealed, FlowError> {
    let json = Secret::new(serde_json::to_vec(details).map_err(FlowError::Stored)?);
    Ok(parts.keyring.seal(&place(key), json.expose()))
}

fn place(key: &str) -> String {
    format!("oauth_client:{key}:details")
}
