//! Encryption keys as the database knows them: by id, never the keys themselves.

/// One key of the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEncryptionKey {
    /// From 1, in the order in which they were made; never used twice.
    pub version: i64,
    /// As sealed values carry it, in hex.
    pub key_id: String,
    pub state: EncryptionKeyState,
    pub created_at_ms: i64,
    /// When the last value was found to be sealed with a later key.
    pub emptied_at_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionKeyState {
    /// Not every process has it yet.
    Waiting,
    /// The one with which values are sealed.
    Sealing,
    /// Older: it opens what it has sealed.
    Opening,
    /// Nothing is sealed with it; no process needs it.
    Retired,
}

/// A process and the keys it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    pub process: String,
    pub key_ids: Vec<String>,
    /// Id of the key it seals with.
    pub sealing_with: String,
    pub seen_at_ms: i64,
}
