//! Signing components, for servers that have `deploy_keys`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::input::InputError;
use crate::credentials::Secret;
use crate::runtime::sign;

/// An Ed25519 private key in PEM.
pub struct SigningKey {
    pem: Secret<String>,
    path: PathBuf,
}

impl SigningKey {
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| InputError::File {
            what: "the signing key",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            pem: Secret::new(text),
            path: path.to_owned(),
        })
    }

    /// The signature of a component, in base64.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn sign(&self, component: &[u8]) -> anyhow::Result<String> {
        let signature = sign(&self.pem, component).with_context(|| {
            format!(
                "the signing key {} is no Ed25519 private key in PEM\nhint: `openssl genpkey -algorithm ed25519 -out deploy.pem` makes one",
                self.path.display()
            )
        })?;
        Ok(STANDARD.encode(signature))
    }
}
