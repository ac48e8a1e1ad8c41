//! Why keys are not changed, or a process does not start with those it has.

use crate::encryption::{EncryptionError, KeyError};
use crate::store::StoreError;

/// Never holds a key.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    #[error(
        "the encryption key {key_id} (version {version}) is missing here, and the database needs it: put it into encryption.key in the data folder (or into the setting `encryption_key`), with the others, the newest last"
    )]
    Missing { version: i64, key_id: String },
    #[error(
        "there is no encryption key, and the database is sealed with the key {key_id}: put its key file back as {path}, or give the key in the setting `encryption_key`. Nothing was changed"
    )]
    Lost { path: String, key_id: String },
    #[error(
        "the encryption key of version {version} waits until every process has it; `nango-runtime keys status` shows which has not"
    )]
    Waiting { version: i64 },
    #[error("another process began to rotate at the same moment; `nango-runtime keys status` shows how it stands")]
    Raced,
    #[error("this encryption key is or was in use already; give another one")]
    Used,
    #[error("there is no encryption key of version {version}; `nango-runtime keys status` shows all")]
    Unknown { version: i64 },
    #[error("the encryption key of version {version} is the one that seals, or will be; rotate first")]
    Current { version: i64 },
    #[error(
        "the process {process} still seals with the encryption key of version {version}; try again in some seconds"
    )]
    StillSealing { version: i64, process: String },
    #[error(
        "what was sealed with the encryption key of version {version} may still be on its way into the database; try again in {} s",
        wait_ms.max(&1_000) / 1_000
    )]
    Settling { version: i64, wait_ms: i64 },
    #[error(
        "values are sealed with the encryption key of version {version}: {}; wait until they are moved",
        places(values)
    )]
    InUse { version: i64, values: Vec<(String, i64)> },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn places(values: &[(String, i64)]) -> String {
    let each = values.iter().map(|(place, count)| format!("{count} in {place}"));
    each.collect::<Vec<_>>().join(", ")
}
