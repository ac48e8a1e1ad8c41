//! Sealing at rest: AES-256-GCM with a random nonce and the place of the value as associated data.

use crate::clock::Entropy;
use crate::credentials::Secret;
use crate::model::Sealed;

/// The keys of this installation.
#[derive(Clone)]
pub struct Keyring {}

#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    #[error("a sealed value ({place}) cannot be opened with this encryption key")]
    WrongKey { place: String },
}

impl Keyring {
    /// From 32 bytes.
    #[must_use]
    pub fn new(_key: Secret<[u8; 32]>, _entropy: Entropy) -> Self {
        todo!()
    }
    /// Seals `plaintext` for `place` (for example `connection:con_…:credentials`), which must be named again to open it.
    #[must_use]
    pub fn seal(&self, _place: &str, _plaintext: &[u8]) -> Sealed {
        todo!()
    }
    pub fn open(&self, _place: &str, _sealed: &Sealed) -> Result<Secret<Vec<u8>>, EncryptionError> {
        todo!()
    }
}
