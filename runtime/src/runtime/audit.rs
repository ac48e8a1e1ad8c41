//! The audit: who was shown credentials. Credentials are shown only for a [`Noted`], which is had only by writing it down.

use super::Runtime;
use super::caller::Caller;
use crate::model::{CredentialRead, CredentialReadId, CredentialReadKind, CredentialReader, EnvironmentId};
use crate::store::{CredentialReadQuery, Store, StoreError};

const DAY_MS: i64 = 86_400_000;
/// Rows that one statement deletes, so that others get their turn.
const DELETE_ROWS_MAX: i64 = 1_000;

/// What is about to be shown, and in answer to what.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    pub kind: CredentialReadKind,
    /// None for environment variables.
    pub provider_config_key: Option<&'a str>,
    /// None for the credentials of an integration, and for environment variables.
    pub connection_id: Option<&'a str>,
    /// The `X-Request-Id` of the answer.
    pub request_id: &'a str,
    /// Fresh credentials were asked for.
    pub forced: bool,
    pub with_refresh_token: bool,
}

/// Says that it is in the database that these credentials are shown.
#[derive(Debug)]
#[must_use]
pub struct Noted(());

impl Runtime {
    /// Writes down that `caller` is shown credentials. On disk when this returns; they must not be shown when it fails.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_credential_read(&self, caller: &Caller, reading: &Reading<'_>) -> Result<Noted, StoreError> {
        let now_ms = self.now_ms();
        let read = CredentialRead {
            id: CredentialReadId::new(now_ms, self.0.entropy.bytes()),
            environment_id: caller.0.environment.id.clone(),
            read_at_ms: now_ms,
            kind: reading.kind,
            provider_config_key: reading.provider_config_key.map(str::to_owned),
            connection_id: reading.connection_id.map(str::to_owned),
            by: CredentialReader::ApiKey {
                id: caller.key_id().clone(),
                name: caller.0.key.name.clone(),
                request_id: reading.request_id.to_owned(),
            },
            forced: reading.forced,
            with_refresh_token: reading.with_refresh_token,
        };
        self.0.store.insert_credential_read(&read).await?;
        Ok(Noted(()))
    }

    /// Who was shown credentials, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn credential_reads(
        &self,
        environment: &EnvironmentId,
        query: &CredentialReadQuery,
    ) -> Result<Vec<CredentialRead>, StoreError> {
        self.0.store.credential_reads(environment, query).await
    }
}

/// Deletes what is older than `kept_days`.
pub(super) async fn tick(store: &Store, kept_days: u32, now_ms: i64) -> Result<(), StoreError> {
    let before_ms = now_ms.saturating_sub(i64::from(kept_days) * DAY_MS);
    while store.delete_credential_reads(before_ms, DELETE_ROWS_MAX).await? > 0 {}
    Ok(())
}
