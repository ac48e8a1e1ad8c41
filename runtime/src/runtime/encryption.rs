//! Encryption keys of the installation, as the API of an embedding program offers them.

use super::{RotationError, RotationStatus, Runtime};
use crate::credentials::Secret;
use crate::encryption::{self, KeyError};

impl Runtime {
    /// Which encryption keys there are, what is sealed with each, and which processes have them. It counts all sealed values.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn encryption_keys(&self) -> Result<RotationStatus, RotationError> {
        self.0.rotation.status().await
    }

    /// Has a new key seal as soon as every process has it; values move in the background then. `given` is 32 bytes in base64.
    ///
    /// # Errors
    /// [`RotationError`]: no key, one that was used before, another rotation that is not through, keys that come from a setting.
    pub async fn rotate_encryption_key(&self, given: Option<Secret<String>>) -> Result<(), RotationError> {
        let given = match given {
            Some(text) => Some(encryption::decode_key(text.expose()).ok_or(KeyError::Given)?),
            None => None,
        };
        self.0.rotation.rotate(given).await?;
        // The first pass at once, behind the caller's back.
        let rotation = self.0.rotation.clone();
        tokio::spawn(async move {
            if let Err(error) = rotation.tick().await {
                tracing::warn!(%error, "Sealed values were not moved, the next pass tries again: {error}");
            }
        });
        Ok(())
    }

    /// Lets go of an old key.
    ///
    /// # Errors
    /// [`RotationError::InUse`] while anything is sealed with it; nothing changes then.
    pub async fn retire_encryption_key(&self, version: i64) -> Result<(), RotationError> {
        self.0.rotation.retire(version).await
    }
}
