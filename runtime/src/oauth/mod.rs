//! Fresh credentials: in time, once for everyone who needs them, and never lost.
//!
//! [`OAuth::target`] is how requests get their connection: it refreshes credentials that are due. However many ask, one refresh
//! is made: `flight` merges the callers of this process, a lease in the database those of others. `obtain` knows how each kind
//! of credentials is made anew: of OAuth 2 `request` builds what is sent (pure), `client` sends it and `answer` reads what
//! comes back (pure); other kinds have a file each. `record` writes it down. New credentials are
//! committed before anybody gets them, so a refresh token that was replaced by another is never the one that is left.
//!
//! It does not know of requests to APIs, and nothing of how users authorise a connection.

mod answer;
mod app;
mod aws;
mod bill;
mod client;
mod client_assertion;
mod code;
mod error;
mod flight;
mod jwt;
mod learn;
mod mcp;
mod minted;
mod obtain;
mod record;
mod request;
mod revocation;
mod saml;
mod temporary;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token_response;
mod two_step;
mod values;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use crate::clock::{Clock, Entropy};
use crate::connections::{Connections, ConnectionsError, Fresh, RefreshRight, Target};
use crate::credentials::Credentials;
use crate::logs::Logs;
use crate::model::{Connection, EnvironmentId, Generation, IntegrationId};
use crate::store::{DueQuery, Store, StoreError};
use crate::webhooks::Webhooks;

use client::TokenClient;
use flight::{Flight, Flights};

pub use client::{SetupError, TOKEN_ANSWER_BYTES_MAX, TOKEN_TIMEOUT_MS};
pub use code::{Authorization, CodeGrant};
pub use error::{NoCredentials, NotObtained, OAuthError, RefreshError};
pub use jwt::JwtError;
pub use mcp::{
    AuthorizationServer, ClientAuth, DISCOVERED_FIELDS, Discovered, DiscoveryError, RegisteredClient, Registration,
    RegistrationError, SERVER_FIELD,
};
pub(crate) use record::failing_days;
pub use revocation::{NotRevoked, RevocationRequest};
pub use temporary::{Temporary, TemporaryGrant};

/// After a failure a refresh is not tried again for so long, unless it is forced. (Nango compatibility.)
pub const BACKOFF_MS: i64 = 30_000;
/// Failures on so many days and a refresh is not tried any more, unless it is forced. (Nango compatibility.)
pub const FAILING_DAYS_MAX: i64 = 4;
/// How long one process may be at a refresh. What is more than the token endpoint may take is for writing the result down,
/// and for clocks of different machines that do not agree.
pub const LEASE_MS: i64 = 60_000;
/// How long a caller whose token still works waits for a fresh one.
const VALID_WAIT_MS: u64 = 10_000;
/// How often somebody else's refresh is looked after.
const POLL_MS: u64 = 100;
/// How long somebody else's refresh is waited for: an owner who died is succeeded within this time.
const BUSY_MS_MAX: u64 = 90_000;
/// Credentials that were obtained within this time are not taken for outdated because a provider refuses them: it would refuse
/// the next ones too.
const RENEWAL_INTERVAL_MS: i64 = 30_000;
/// Connections that one tick refreshes.
const TICK_CONNECTIONS_MAX: i64 = 100;
/// Refreshes of one tick at the same time.
const TICK_IN_FLIGHT_MAX: usize = 8;
/// A connection whose refresh failed is left alone by ticks for so long.
const TICK_RETRY_MS: i64 = 10 * 60 * 1_000;

const _: () = assert!(LEASE_MS.unsigned_abs() > 2 * TOKEN_TIMEOUT_MS && BUSY_MS_MAX > LEASE_MS.unsigned_abs());

/// Cheap to clone.
#[derive(Clone)]
pub struct OAuth(Arc<Parts>);

struct Parts {
    connections: Connections,
    store: Store,
    logs: Logs,
    webhooks: Webhooks,
    client: TokenClient,
    flights: Flights,
    clock: Clock,
    entropy: Entropy,
    /// Names this process in leases.
    owner: String,
}

/// What a refresh is made of.
pub struct OAuthParts {
    pub connections: Connections,
    pub store: Store,
    pub logs: Logs,
    pub webhooks: Webhooks,
    pub clock: Clock,
    pub entropy: Entropy,
    /// CIDRs that may be reached although they are private or loopback.
    pub egress_allow: Vec<ipnet::IpNet>,
}

/// A connection with usable credentials.
#[derive(Clone, Debug)]
struct Refreshed {
    target: Arc<Target>,
    /// This refresh asked the provider.
    renewed: bool,
}

/// Why fresh credentials are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Time is up for those that are there.
    Due,
    /// A provider refused these.
    OtherThan(Generation),
    /// Somebody says so: neither the time nor former failures count.
    Forced(Generation),
}

impl Want {
    fn is_satisfied_by(self, target: &Target, now_ms: i64) -> bool {
        match self {
            Self::Due => !target.is_due(now_ms),
            Self::OtherThan(generation) | Self::Forced(generation) => {
                target.connection.refresh.generation != generation
            }
        }
    }

    fn is_forced(self) -> bool {
        matches!(self, Self::Forced(_))
    }
}

impl OAuth {
    /// Must be called on a tokio runtime: there refreshes will run.
    pub fn new(parts: OAuthParts) -> Result<Self, SetupError> {
        let owner = uuid::Builder::from_random_bytes(parts.entropy.bytes()).into_uuid();
        Ok(Self(Arc::new(Parts {
            client: TokenClient::new(parts.egress_allow)?,
            flights: Flights::new(),
            owner: owner.to_string(),
            connections: parts.connections,
            store: parts.store,
            logs: parts.logs,
            webhooks: parts.webhooks,
            clock: parts.clock,
            entropy: parts.entropy,
        })))
    }

    /// As [`Connections::target`], with credentials that were refreshed if they are due. Those that still work are given
    /// when they cannot be refreshed.
    pub async fn target(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<Arc<Target>, OAuthError> {
        let parts = &self.0;
        let target = parts
            .connections
            .target(environment_id, provider_config_key, connection_id)
            .await?;
        let now_ms = parts.clock.now_ms();
        if !target.is_due(now_ms) {
            return Ok(target);
        }
        self.refresh_due(target, now_ms).await
    }

    async fn refresh_due(&self, target: Arc<Target>, now_ms: i64) -> Result<Arc<Target>, OAuthError> {
        if let Err(reason) = may_try(&target, now_ms) {
            return still_valid(target, now_ms, reason);
        }
        let refresh = self.refreshed(&target, Want::Due);
        let refreshed = if target.is_expired(now_ms) {
            refresh.await
        } else {
            let wait = self.0.clock.sleep(Duration::from_millis(VALID_WAIT_MS));
            tokio::select! {
                biased;
                refreshed = refresh => refreshed,
                // The refresh goes on without us.
                () = wait => return Ok(target),
            }
        };
        refreshed.or_else(|reason| still_valid(target, self.0.clock.now_ms(), reason))
    }

    /// After a provider refused the credentials of `rejected`: true when the connection has other ones by now, which may be
    /// tried. Never for credentials that cannot be refreshed.
    pub async fn renew(&self, rejected: &Target) -> bool {
        let parts = &self.0;
        let connection = &rejected.connection;
        if !rejected.is_refreshable() {
            return false;
        }
        let want = Want::OtherThan(connection.refresh.generation);
        let Ok(stored) = self.stored(connection).await else {
            return false;
        };
        let now_ms = parts.clock.now_ms();
        if want.is_satisfied_by(&stored, now_ms) {
            return true;
        }
        let refreshed_at_ms = stored.connection.refresh.refreshed_at_ms;
        // Those of the future were obtained before the clock was set back, or by a machine whose clock is ahead.
        let is_new = refreshed_at_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms).abs() < RENEWAL_INTERVAL_MS);
        !is_new && may_try(&stored, now_ms).is_ok() && self.refreshed(&stored, want).await.is_ok()
    }

    /// As [`OAuth::target`], with credentials obtained after the call began. Those that cannot be refreshed are given as they
    /// are.
    pub async fn forced(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<Arc<Target>, OAuthError> {
        let target = self
            .0
            .connections
            .target_now(environment_id, provider_config_key, connection_id)
            .await?;
        if !target.is_refreshable() {
            return Ok(target);
        }
        let want = Want::Forced(target.connection.refresh.generation);
        self.refreshed(&target, want)
            .await
            .map_err(|reason| no_credentials(&target, reason))
    }

    /// Obtains the token of a connection that is not stored yet, where only what a token is obtained with was given. Gives when
    /// that was; none when there was nothing to obtain.
    ///
    /// # Errors
    /// [`NotObtained`]: the provider gives no token.
    pub async fn complete(&self, draft: &mut Target) -> Result<Option<i64>, NotObtained> {
        if !draft.credentials.lacks_token() {
            return Ok(None);
        }
        match obtain::credentials(&self.0, draft).await {
            Ok(credentials) => draft.set_credentials(credentials),
            Err(error) => {
                return Err(NotObtained {
                    provider_config_key: draft.integration.unique_key.clone(),
                    mode: draft.credentials.kind(),
                    error: error::without_secrets(draft, error),
                });
            }
        }
        Ok(Some(self.0.clock.now_ms()))
    }

    /// Refreshes connections that nobody uses at the moment but whose credentials are due: at most 100, the longest due first.
    /// Gives how many were tried. To be called every minute.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tick(&self, now_ms: i64) -> Result<usize, ConnectionsError> {
        let query = DueQuery {
            now_ms,
            failed_before_ms: now_ms.saturating_sub(TICK_RETRY_MS),
            failing_days_max: FAILING_DAYS_MAX,
            limit: TICK_CONNECTIONS_MAX,
        };
        let due = self.0.connections.due_for_refresh(query).await?;
        let count = due.len();
        futures_util::stream::iter(due)
            .for_each_concurrent(TICK_IN_FLIGHT_MAX, |connection| async move {
                // What fails is in the log and on the connection.
                let _ = self.join(&Arc::new(connection), Want::Due).await;
            })
            .await;
        Ok(count)
    }

    /// Waits for a refresh that satisfies `want`, beginning one if need be.
    async fn refreshed(&self, target: &Target, want: Want) -> Result<Arc<Target>, NoCredentials> {
        loop {
            let outcome = self.join(&target.connection, want).await;
            match outcome {
                // Somebody else's refresh, begun for a reason that is not ours, may find nothing to do.
                Ok(refreshed)
                    if !refreshed.renewed && !want.is_satisfied_by(&refreshed.target, self.0.clock.now_ms()) => {}
                Err(NoCredentials::Backoff { .. } | NoCredentials::Exhausted { .. }) if want.is_forced() => {}
                Ok(refreshed) => return Ok(refreshed.target),
                Err(reason) => return Err(reason),
            }
        }
    }

    fn join(&self, connection: &Arc<Connection>, want: Want) -> Flight {
        let (oauth, of) = (self.clone(), connection.clone());
        self.0
            .flights
            .join(&connection.key, move || async move { oauth.refresh(&of, want).await })
    }

    /// Refreshes when it is this process' turn, or waits for the one that does.
    async fn refresh(&self, connection: &Connection, want: Want) -> Result<Refreshed, NoCredentials> {
        let parts = &self.0;
        let began_at_us = parts.clock.monotonic_us();
        loop {
            let now_ms = parts.clock.now_ms();
            let fence = parts
                .store
                .acquire_refresh_lease(&connection.key, &parts.owner, now_ms, now_ms + LEASE_MS)
                .await
                .map_err(failed)?;
            if let Some(fence) = fence {
                let refreshed = self.refresh_alone(connection, want, fence).await;
                if let Err(error) = parts.store.end_refresh_lease(&connection.key, fence).await {
                    tracing::warn!(%error, "The lease of a refresh was not given back; it ends by itself: {error}");
                }
                return refreshed;
            }
            parts.clock.sleep(Duration::from_millis(POLL_MS)).await;
            let target = self.stored(connection).await.map_err(failed)?;
            let now_ms = parts.clock.now_ms();
            if want.is_satisfied_by(&target, now_ms) {
                return Ok(Refreshed { target, renewed: false });
            }
            if !want.is_forced() {
                may_try(&target, now_ms)?;
            }
            let waited_ms = parts.clock.monotonic_us().saturating_sub(began_at_us) / 1_000;
            if waited_ms > BUSY_MS_MAX {
                return Err(failed(RefreshError::Busy { waited_ms }));
            }
        }
    }

    /// Refreshes as the holder of the lease with that fence.
    async fn refresh_alone(&self, connection: &Connection, want: Want, fence: i64) -> Result<Refreshed, NoCredentials> {
        let parts = &self.0;
        // What is in the database now, and not what was when the wait for the lease began.
        let target = self.stored(connection).await.map_err(failed)?;
        let now_ms = parts.clock.now_ms();
        if want.is_satisfied_by(&target, now_ms) {
            return Ok(Refreshed { target, renewed: false });
        }
        if !want.is_forced() {
            may_try(&target, now_ms)?;
        }
        let right = RefreshRight {
            epoch: target.connection.refresh.generation.epoch,
            fence,
        };
        let record = record::Record::begin(parts, &target);
        match obtain::all(parts, &target, want.is_forced()).await {
            Ok(obtained) => {
                let written = record.succeeded(right, &obtained).await.map_err(failed)?;
                let target = match written {
                    Some(target) => target,
                    // Imported anew meanwhile, or refreshed by somebody who came later: those are the newest. Or deleted: then
                    // nobody but us knows these.
                    None => match self.stored(connection).await {
                        Ok(target) => target,
                        Err(gone) => {
                            if matches!(
                                gone,
                                ConnectionsError::UnknownConnection { .. }
                                    | ConnectionsError::UnknownIntegration { .. }
                            ) {
                                self.give_up_fresh(&target, obtained.fresh).await;
                            }
                            return Err(failed(gone));
                        }
                    },
                };
                Ok(Refreshed { target, renewed: true })
            }
            Err(error) => {
                let error = error::without_secrets(&target, error);
                if error.is_unknown_client() {
                    self.forget_client(&target).await;
                }
                record.failed(right, &error).await;
                Err(failed(error))
            }
        }
    }

    /// The provider does not know the connection's client any more: if it had registered itself, the next authorization
    /// registers another.
    async fn forget_client(&self, target: &Target) {
        let Credentials::OAuth2 {
            config_override: Some(client),
            ..
        } = &target.credentials
        else {
            return;
        };
        let forgotten = self.forget_registered(&target.integration.id, &client.client_id).await;
        if let Err(error) = forgotten {
            tracing::warn!(%error, "A client that its provider does not know any more was not forgotten: {error}");
        }
    }

    /// Forgets a client that registered itself, by its id. Does nothing when it is another's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_registered(&self, integration_id: &IntegrationId, client_id: &str) -> Result<(), StoreError> {
        let hash = client_id_hash(client_id);
        self.0.store.forget_oauth_client(integration_id, &hash).await?;
        Ok(())
    }

    async fn stored(&self, connection: &Connection) -> Result<Arc<Target>, ConnectionsError> {
        let (provider_config_key, connection_id) = (&connection.provider_config_key, &connection.connection_id);
        let target = self
            .0
            .connections
            .target_now(&connection.environment_id, provider_config_key, connection_id)
            .await?;
        if target.connection.key == connection.key {
            return Ok(target);
        }
        // Deleted, and another one has its name.
        Err(ConnectionsError::UnknownConnection {
            provider_config_key: provider_config_key.clone(),
            connection_id: connection_id.clone(),
        })
    }

    async fn give_up_fresh(&self, target: &Target, fresh: Fresh) {
        match self.0.connections.with_fresh(target, fresh) {
            Ok(target) => self.give_up(&target).await,
            Err(error) => {
                tracing::error!(%error, "Tokens that came for a deleted connection will not be revoked: {error}");
            }
        }
    }

    /// Has the tokens of `target` revoked, which came for a connection that was deleted meanwhile.
    pub async fn give_up(&self, target: &Target) {
        let connections = &self.0.connections;
        let kept = async {
            let requests = self.revocation(target).map_err(|error| error.to_string())?;
            if let Some(requests) = RevocationRequest::seal_ready(&requests) {
                let kept = connections.keep_revocation(&target.connection, &requests).await;
                kept.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        };
        if let Err(error) = kept.await {
            tracing::error!(%error, "Tokens that came for a deleted connection will not be revoked: {error}");
        }
    }
}

/// What a client that registered itself is found by.
#[must_use]
pub fn client_id_hash(client_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(client_id.as_bytes()))
}

/// Whether a refresh may be tried now, as far as former failures go.
fn may_try(target: &Target, now_ms: i64) -> Result<(), NoCredentials> {
    let Some(failure) = &target.connection.refresh.failure else {
        return Ok(());
    };
    let operation_id = failure.operation_id.to_string();
    if failure.failing_days >= FAILING_DAYS_MAX {
        return Err(NoCredentials::Exhausted {
            failing_days: failure.failing_days,
            operation_id,
        });
    }
    let failed_ago_ms = now_ms.saturating_sub(failure.failed_at_ms);
    // A failure of the future is one of a machine whose clock is ahead.
    if failed_ago_ms.abs() < BACKOFF_MS {
        return Err(NoCredentials::Backoff {
            failed_ago_ms,
            backoff_ms: BACKOFF_MS,
            operation_id,
        });
    }
    Ok(())
}

/// The credentials that are there, if they still work.
fn still_valid(target: Arc<Target>, now_ms: i64, reason: NoCredentials) -> Result<Arc<Target>, OAuthError> {
    if target.is_expired(now_ms) {
        Err(no_credentials(&target, reason))
    } else {
        Ok(target)
    }
}

fn no_credentials(target: &Target, reason: NoCredentials) -> OAuthError {
    OAuthError::NoCredentials {
        provider_config_key: target.integration.unique_key.clone(),
        connection_id: target.connection.connection_id.clone(),
        reason,
    }
}

fn failed(error: impl Into<RefreshError>) -> NoCredentials {
    NoCredentials::Refresh(Arc::new(error.into()))
}
