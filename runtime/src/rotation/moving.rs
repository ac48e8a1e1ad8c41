//! Moves values from older keys to the one that seals: page by page, each value by compare-and-set, so that what somebody else
//! writes meanwhile stays.

use super::{Rotation, RotationError};
use crate::model::{EncryptionKeyState, StoredEncryptionKey};
use crate::store::{SEALED_COLUMNS, SealedColumn};

impl Rotation {
    /// Moves all there is to move; does nothing when nothing is known to be left.
    pub(super) async fn move_values(&self) -> Result<(), RotationError> {
        let parts = &self.0;
        let keys = parts.store.encryption_keys().await?;
        let held = parts.keyring.ids();
        let is_left = |key: &StoredEncryptionKey| match key.state {
            EncryptionKeyState::Opening => key.emptied_at_ms.is_none(),
            // It would have been let go of if nothing were sealed with it.
            EncryptionKeyState::Retired => held.iter().any(|id| id.to_string() == key.key_id),
            EncryptionKeyState::Waiting | EncryptionKeyState::Sealing => false,
        };
        if keys.iter().any(is_left) {
            self.move_all().await?;
        }
        Ok(())
    }

    pub(super) async fn move_all(&self) -> Result<(), RotationError> {
        let parts = &self.0;
        let sealing = parts.keyring.sealing_with();
        // Read before the pass: who still seals with another key may do so behind it.
        let since_ms = self.living_since_ms();
        let holders = parts.store.key_holders().await?;
        let all_agree = holders
            .iter()
            .filter(|holder| holder.seen_at_ms >= since_ms)
            .all(|holder| holder.sealing_with == sealing.to_string());
        let mut unreadable = 0;
        let mut lost = 0;
        for column in SEALED_COLUMNS {
            let pass = self.move_column(column).await?;
            unreadable += pass.unreadable;
            lost += pass.lost;
        }
        let pass = self.move_records().await?;
        unreadable += pass.unreadable;
        lost += pass.lost;
        if all_agree && unreadable == 0 && lost == 0 {
            let now_ms = parts.clock.now_ms();
            parts
                .store
                .note_emptied_encryption_keys(&sealing.to_string(), now_ms)
                .await?;
            tracing::debug!("All sealed values are sealed with the encryption key {sealing} now");
        }
        Ok(())
    }

    async fn move_column(&self, column: &SealedColumn) -> Result<Pass, RotationError> {
        let (store, keyring) = (&self.0.store, &self.0.keyring);
        let prefix = keyring.sealing_with().prefix();
        let mut pass = Pass::default();
        let mut after = String::new();
        loop {
            let values = store.values_sealed_otherwise(column, &prefix, &after).await?;
            let Some(last) = values.last() else { return Ok(pass) };
            after.clone_from(&last.key);
            for value in values {
                match keyring.open(&value.place, &value.sealed) {
                    Ok(plain) => {
                        let sealed = keyring.seal(&value.place, plain.expose());
                        let replaced = store.replace_sealed(column, &value.key, &value.sealed, &sealed).await?;
                        // Whoever wrote in between may have sealed with an older key: another pass shows.
                        pass.lost += u64::from(!replaced);
                    }
                    Err(error) => {
                        pass.unreadable += 1;
                        tracing::warn!(%error, "A value stays sealed with an older encryption key: {error}");
                    }
                }
            }
            self.say_what_is_held().await?;
        }
    }

    /// The same for payloads of records: many at once, since there may be millions.
    async fn move_records(&self) -> Result<Pass, RotationError> {
        let (store, keyring) = (&self.0.store, &self.0.keyring);
        let prefix = keyring.sealing_with().prefix();
        let mut pass = Pass::default();
        let mut after = None;
        while let Some(key) = store.next_model_with_sealed(after.as_ref()).await? {
            let mut after_id = String::new();
            loop {
                let payloads = store.payloads_sealed_otherwise(&key, &prefix, &after_id).await?;
                let Some((last, _)) = payloads.last() else { break };
                after_id.clone_from(last);
                let mut moved = Vec::with_capacity(payloads.len());
                for (external_id, old) in payloads {
                    let place = key.place(&external_id);
                    match keyring.open(&place, &old) {
                        Ok(plain) => moved.push((external_id, old, keyring.seal(&place, plain.expose()))),
                        Err(error) => {
                            pass.unreadable += 1;
                            tracing::warn!(%error, "A record stays sealed with an older encryption key: {error}");
                        }
                    }
                }
                let replaced = store.replace_sealed_payloads(&key, &moved).await?;
                pass.lost += u64::try_from(moved.len()).unwrap_or(u64::MAX).saturating_sub(replaced);
                self.say_what_is_held().await?;
            }
            after = Some(key);
        }
        Ok(pass)
    }
}

/// What a pass over one column left behind.
#[derive(Default)]
struct Pass {
    unreadable: u64,
    lost: u64,
}
