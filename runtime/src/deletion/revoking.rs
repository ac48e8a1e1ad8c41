//! Tells providers of tokens that are not to work any more, again and again until they have heard it or it was tried often enough.
//! Each try is an operation in the log. Requests that were answered are forgotten at once, all of them at the last try.

use futures_util::StreamExt as _;

use super::{Deletion, Names};
use crate::connections::ConnectionsError;
use crate::model::{Level, OperationKind, OperationState, Revocation};
use crate::oauth::RevocationRequest;

/// Tries before a revocation is given up; with the waits between them they take some 20 hours.
pub const REVOCATION_ATTEMPTS_MAX: i64 = 12;
/// The wait after the first try; each is twice the one before.
const WAIT_MS: i64 = 60_000;
const WAIT_MS_MAX: i64 = 6 * 60 * 60 * 1_000;
/// Somebody else may try when so much time went by: his process died. More than all requests of one revocation take.
const CLAIM_MS: i64 = 5 * 60_000;
/// Revocations taken at once.
const CLAIM_MAX: i64 = 32;
/// Revocations of one process at the same time.
const IN_FLIGHT_MAX: usize = 8;

impl Deletion {
    pub(super) async fn revoke_due(&self, now_ms: i64) -> Result<(), ConnectionsError> {
        loop {
            let until_ms = now_ms.saturating_add(CLAIM_MS);
            let claimed = self.0.store.claim_revocations(now_ms, until_ms, CLAIM_MAX).await?;
            if claimed.is_empty() {
                return Ok(());
            }
            let mut tries = futures_util::stream::iter(claimed)
                .map(|revocation| {
                    let deletion = self.clone();
                    async move { deletion.revoke(&revocation).await }
                })
                .buffer_unordered(IN_FLIGHT_MAX);
            while let Some(tried) = tries.next().await {
                tried?;
            }
        }
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), ConnectionsError> {
        let parts = &self.0;
        let requests = match parts.connections.open_revocation(revocation) {
            Ok(json) => RevocationRequest::opened(&json).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let requests = match requests {
            Ok(requests) => requests,
            Err(error) => {
                let text =
                    format!("The tokens are not revoked: what is to be told the provider cannot be read: {error}");
                self.log_revocation(revocation, OperationState::Failed, Level::Error, text);
                return Ok(parts.store.delete_revocation(&revocation.id).await?);
            }
        };
        let mut left = Vec::new();
        let mut faults = Vec::new();
        for request in requests {
            match parts.oauth.revoke(&request).await {
                Ok(()) => {}
                Err(error) => {
                    faults.push(format!("{}: {error}", request.token));
                    if error.is_transient() {
                        left.push(request);
                    }
                }
            }
        }
        self.conclude(revocation, &left, &faults).await
    }

    async fn conclude(
        &self,
        revocation: &Revocation,
        left: &[RevocationRequest],
        faults: &[String],
    ) -> Result<(), ConnectionsError> {
        let parts = &self.0;
        let faults = faults.join("; ");
        let attempts = revocation.attempts;
        let again = RevocationRequest::seal_ready(left).filter(|_| attempts < REVOCATION_ATTEMPTS_MAX);
        if let Some(requests) = again {
            let wait_ms = wait_ms(attempts);
            let sealed = parts.connections.seal_revocation(&revocation.id, &requests);
            let due_at_ms = parts.clock.now_ms().saturating_add(wait_ms);
            parts
                .store
                .postpone_revocation(&revocation.id, &sealed, due_at_ms)
                .await?;
            let text = format!(
                "Not all tokens are revoked at the provider {:?} (try {attempts} of {REVOCATION_ATTEMPTS_MAX}, the next one in {} s): {faults}",
                revocation.provider,
                wait_ms / 1_000
            );
            self.log_revocation(revocation, OperationState::Failed, Level::Warn, text);
            return Ok(());
        }
        parts.store.delete_revocation(&revocation.id).await?;
        if faults.is_empty() {
            let text = format!("The tokens are revoked at the provider {:?}", revocation.provider);
            self.log_revocation(revocation, OperationState::Success, Level::Info, text);
        } else {
            let text = format!(
                "Not all tokens are revoked at the provider {:?}, and it is not tried any more: revoke them there by hand. {faults}",
                revocation.provider
            );
            self.log_revocation(revocation, OperationState::Failed, Level::Error, text);
        }
        Ok(())
    }

    fn log_revocation(&self, revocation: &Revocation, state: OperationState, level: Level, text: String) {
        let names = Names {
            environment_id: &revocation.environment_id,
            provider_config_key: &revocation.provider_config_key,
            connection_id: &revocation.connection_id,
        };
        self.log(OperationKind::ConnectionRevoke, &names, state, level, text);
    }
}

fn wait_ms(attempts: i64) -> i64 {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0);
    2_i64
        .checked_pow(doublings)
        .and_then(|factor| WAIT_MS.checked_mul(factor))
        .map_or(WAIT_MS_MAX, |wait_ms| wait_ms.min(WAIT_MS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit() {
        let minutes = |attempts| wait_ms(attempts) / 60_000;
        assert_eq!([1, 2, 3, 9, 10, 70].map(minutes), [1, 2, 4, 256, 360, 360]);
        let all: i64 = (1..REVOCATION_ATTEMPTS_MAX).map(wait_ms).sum();
        assert_eq!(all / 60_000 / 60, 20);
    }
}
