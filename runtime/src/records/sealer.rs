//! Seals payloads and opens them, and keys their hashes: whoever has the database alone learns neither what a record holds nor
//! whether it holds what he guesses.
//!
//! The hashes have a key of their own, random, made once and sealed beside the others. It does not change when encryption keys are
//! rotated: with another one every record would look changed. It protects no more than the answer to a guess.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::value::RawValue;
use sha2::Sha256;

use super::RecordsError;
use crate::clock::Entropy;
use crate::credentials::Secret;
use crate::encryption::{EncryptionError, Keyring};
use crate::model::{Record, Sealed};
use crate::store::{Payload, RecordKey, Seal, Sealing, Store};

/// The name of the key of hashes in the settings.
const HASH_KEY: &str = "record_hash_key";
const HASH_KEY_PLACE: &str = "setting:record_hash_key";
const HASH_KEY_BYTES: usize = 32;

pub(super) struct Sealer {
    keyring: Keyring,
    /// With the key in it, to be cloned for each hash.
    mac: Hmac<Sha256>,
    /// Whether payloads are sealed when they are written.
    pub(super) is_on: bool,
}

impl Sealer {
    /// Reads the key of hashes, or makes it.
    pub(super) async fn open(
        store: &Store,
        keyring: Keyring,
        entropy: &Entropy,
        is_on: bool,
    ) -> Result<Self, RecordsError> {
        let made = Secret::new(entropy.bytes::<HASH_KEY_BYTES>());
        let made = keyring.seal(HASH_KEY_PLACE, made.expose());
        // Another process may have been quicker.
        let stored = store.insert_setting(HASH_KEY, &made.0).await?;
        let key = keyring.open(HASH_KEY_PLACE, &Sealed(stored))?;
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mac = Hmac::new_from_slice(key.expose()).expect("a key of any length");
        Ok(Self { keyring, mac, is_on })
    }

    /// How payloads of a model are written.
    pub(super) fn sealing<'a>(&'a self, key: &'a RecordKey) -> Sealing<'a> {
        Sealing {
            seal: self.is_on.then(|| self.seal(key)),
            // With the place, so that equal records of two connections do not show.
            keyed: Box::new(move |id, hash| {
                let mac = self.mac.clone().chain_update(key.place(id)).chain_update(hash);
                mac.finalize().into_bytes().into()
            }),
        }
    }

    fn seal<'a>(&'a self, key: &'a RecordKey) -> Seal<'a> {
        Box::new(move |id, json| self.keyring.seal(&key.place(id), json.as_bytes()))
    }

    pub(super) fn open_payload(
        &self,
        key: &RecordKey,
        external_id: &str,
        payload: Payload,
    ) -> Result<Box<RawValue>, RecordsError> {
        let sealed = match payload {
            Payload::Clear(json) => return Ok(json),
            Payload::Sealed(sealed) => sealed,
        };
        let place = key.place(external_id);
        let opened = self.keyring.open(&place, &sealed)?;
        let json = std::str::from_utf8(opened.expose()).ok().map(str::to_owned);
        let json = json.and_then(|json| RawValue::from_string(json).ok());
        json.ok_or(RecordsError::Encryption(EncryptionError::Corrupt { place }))
    }

    pub(super) fn open_record(&self, key: &RecordKey, record: Record<Payload>) -> Result<Record, RecordsError> {
        Ok(Record {
            data: self.open_payload(key, &record.external_id, record.data)?,
            external_id: record.external_id,
            first_seen_at_us: record.first_seen_at_us,
            modified_at_us: record.modified_at_us,
            deleted_at_us: record.deleted_at_us,
            pruned_at_us: record.pruned_at_us,
            action: record.action,
            cursor: record.cursor,
        })
    }
}
