//! Sealing at rest: AES-256-GCM with a random nonce and the place of the value as associated data, so that a value moved to
//! another row cannot be opened there. Every sealed value names the key it was sealed with, so that keys can be changed
//! while old values are still read. It does not know what it seals.
//!
//! Layout: one version byte (1), 4 bytes of key id, 12 bytes of nonce, the ciphertext, 16 bytes of tag.

mod key_file;

use std::sync::{Arc, PoisonError, RwLock};

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use sha2::{Digest as _, Sha256};

use crate::clock::Entropy;
use crate::credentials::Secret;
use crate::model::Sealed;

pub use key_file::{EncryptionKey, KEY_FILE_NAME, KEYS_MAX, KeyError, KeySource, decode_key};

/// Length of an encryption key.
pub const KEY_BYTES: usize = 32;

const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 4;
/// How much of a sealed value says which key sealed it.
pub const SEALED_PREFIX_BYTES: usize = 1 + KEY_ID_BYTES;
const NONCE_BYTES: usize = 12;

const CHECK_PLACE: &str = "setting:encryption_check";
const CHECK_PLAINTEXT: &[u8] = b"nango-runtime";

/// The keys of this installation: one that seals, and others that still open. Cheap to clone; what is added to one clone is in
/// all.
#[derive(Clone)]
pub struct Keyring {
    // A std lock: held to copy the `Arc` and never across an await.
    keys: Arc<RwLock<Arc<Keys>>>,
    entropy: Entropy,
}

#[derive(Clone)]
struct Keys {
    sealing: Arc<Key>,
    /// All, the sealing one among them, in the order in which they were added.
    all: Vec<Arc<Key>>,
}

struct Key {
    id: KeyId,
    cipher: Aes256Gcm,
}

/// The first bytes of the key's SHA-256: tells keys apart and says nothing useful about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId([u8; KEY_ID_BYTES]);

impl KeyId {
    #[must_use]
    pub fn of(key: &Secret<[u8; KEY_BYTES]>) -> Self {
        let digest: [u8; 32] = Sha256::digest(key.expose()).into();
        let [a, b, c, d, ..] = digest;
        Self([a, b, c, d])
    }

    /// How every value begins that this key sealed.
    #[must_use]
    pub fn prefix(self) -> [u8; SEALED_PREFIX_BYTES] {
        let [a, b, c, d] = self.0;
        [VERSION, a, b, c, d]
    }

    /// Of the key that sealed a value; none for what was not sealed.
    #[must_use]
    pub fn of_sealed(sealed: &[u8]) -> Option<Self> {
        let (id, _) = sealed.strip_prefix(&[VERSION])?.split_first_chunk::<KEY_ID_BYTES>()?;
        Some(Self(*id))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    #[error(
        "a sealed value ({place}) cannot be opened: it was sealed with the encryption key {sealed_with}, and this installation has {available}; \
         start with the key that belongs to this database"
    )]
    WrongKey {
        place: String,
        /// Key id in hex.
        sealed_with: String,
        /// Key ids in hex.
        available: String,
    },
    #[error("a sealed value ({place}) is damaged or belongs to another place")]
    Corrupt { place: String },
}

impl Keyring {
    /// Of one key.
    #[must_use]
    pub fn new(key: Secret<[u8; KEY_BYTES]>, entropy: Entropy) -> Self {
        Self::with_older(key, Vec::new(), entropy)
    }

    /// Seals with `key`; opens what `key` or one of the `older` keys sealed.
    #[must_use]
    pub fn with_older(key: Secret<[u8; KEY_BYTES]>, older: Vec<Secret<[u8; KEY_BYTES]>>, entropy: Entropy) -> Self {
        let sealing = Arc::new(Key::new(&key));
        let mut all: Vec<Arc<Key>> = older.iter().map(|key| Arc::new(Key::new(key))).collect();
        all.push(Arc::clone(&sealing));
        drop((key, older));
        Self {
            keys: Arc::new(RwLock::new(Arc::new(Keys { sealing, all }))),
            entropy,
        }
    }

    /// The ids of all keys, in the order in which they were added.
    #[must_use]
    pub fn ids(&self) -> Vec<KeyId> {
        self.keys().all.iter().map(|key| key.id).collect()
    }

    #[must_use]
    pub fn has(&self, id: KeyId) -> bool {
        self.keys().find(id).is_some()
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn sealing_with(&self) -> KeyId {
        self.keys().sealing.id
    }

    /// Opens with this key too from now on. Does nothing when it is there.
    pub fn add(&self, key: &Secret<[u8; KEY_BYTES]>) {
        self.change(|keys| {
            if keys.find(KeyId::of(key)).is_none() {
                keys.all.push(Arc::new(Key::new(key)));
            }
        });
    }

    /// Seals with another of its keys from now on. False when it does not have that one.
    #[must_use]
    pub fn seal_with(&self, id: KeyId) -> bool {
        self.change(|keys| match keys.find(id).map(Arc::clone) {
            Some(key) => {
                keys.sealing = key;
                true
            }
            None => false,
        })
    }

    /// Forgets a key; never the one that seals.
    pub fn forget(&self, id: KeyId) {
        self.change(|keys| {
            let sealing = keys.sealing.id;
            keys.all.retain(|key| key.id != id || key.id == sealing);
        });
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Keys) -> T) -> T {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut keys))
    }

    /// Seals `plaintext` for `place` (for example `integration:int_…:secrets`), which must be named again to open it.
    ///
    /// Nonces are random: with one key, no more than 2^32 values should be sealed (NIST SP 800-38D, 8.3).
    #[must_use]
    pub fn seal(&self, place: &str, plaintext: &[u8]) -> Sealed {
        let key = Arc::clone(&self.keys().sealing);
        let nonce: [u8; NONCE_BYTES] = self.entropy.bytes();
        let ciphertext = key.encrypt(nonce, place, plaintext);
        let mut sealed = Vec::with_capacity(1 + KEY_ID_BYTES + NONCE_BYTES + ciphertext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&key.id.0);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Sealed(sealed)
    }

    /// What was sealed for `place`.
    pub fn open(&self, place: &str, sealed: &Sealed) -> Result<Secret<Vec<u8>>, EncryptionError> {
        let corrupt = || EncryptionError::Corrupt {
            place: place.to_owned(),
        };
        let (key_id, nonce, ciphertext) = split(&sealed.0).ok_or_else(corrupt)?;
        let keys = self.keys();
        let Some(key) = keys.find(key_id) else {
            let ids: Vec<String> = keys.all.iter().map(|key| key.id.to_string()).collect();
            return Err(EncryptionError::WrongKey {
                place: place.to_owned(),
                sealed_with: key_id.to_string(),
                available: ids.join(", "),
            });
        };
        let payload = Payload {
            msg: ciphertext,
            aad: place.as_bytes(),
        };
        let plaintext = key.cipher.decrypt(&nonce.into(), payload);
        plaintext.map(Secret::new).map_err(|_| corrupt())
    }

    /// A sealed constant, to be kept in the database on its first start, so that [`Keyring::verify`] can refuse a wrong
    /// key before anything is done with it.
    #[must_use]
    pub fn check_value(&self) -> Sealed {
        self.seal(CHECK_PLACE, CHECK_PLAINTEXT)
    }

    /// Whether this keyring belongs to the database that holds `check_value`.
    pub fn verify(&self, check_value: &Sealed) -> Result<(), EncryptionError> {
        let opened = self.open(CHECK_PLACE, check_value)?;
        if opened.expose() == CHECK_PLAINTEXT {
            Ok(())
        } else {
            Err(EncryptionError::Corrupt {
                place: CHECK_PLACE.to_owned(),
            })
        }
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<String> = self.ids().iter().map(KeyId::to_string).collect();
        f.debug_list().entries(ids).finish()
    }
}

impl Keys {
    fn find(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.all.iter().find(|key| key.id == id)
    }
}

impl Key {
    fn new(key: &Secret<[u8; KEY_BYTES]>) -> Self {
        Self {
            id: KeyId::of(key),
            cipher: Aes256Gcm::new(key.expose().into()),
        }
    }

    fn encrypt(&self, nonce: [u8; NONCE_BYTES], place: &str, plaintext: &[u8]) -> Vec<u8> {
        let payload = Payload {
            msg: plaintext,
            aad: place.as_bytes(),
        };
        #[expect(clippy::expect_used, reason = "AES-GCM refuses only values beyond 64 GiB")]
        self.cipher
            .encrypt(&nonce.into(), payload)
            .expect("a value to seal is smaller than 64 GiB")
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

fn split(sealed: &[u8]) -> Option<(KeyId, [u8; NONCE_BYTES], &[u8])> {
    let rest = sealed.strip_prefix(&[VERSION])?;
    let (key_id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>()?;
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
    Some((KeyId(*key_id), *nonce, ciphertext))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(byte: u8) -> Keyring {
        Keyring::new(Secret::new([byte; KEY_BYTES]), Entropy::seeded(u64::from(byte)))
    }

    #[test]
    fn what_is_sealed_opens_at_its_place() {
        let keyring = keyring(1);
        for plaintext in [&b""[..], b"secret", &[0; 10_000]] {
            let sealed = keyring.seal("here", plaintext);
            assert_eq!(sealed.0.len(), 1 + 4 + 12 + plaintext.len() + 16);
            assert_eq!(keyring.open("here", &sealed).unwrap().expose(), plaintext);
        }
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let keyring = keyring(1);
        assert_ne!(keyring.seal("here", b"x"), keyring.seal("here", b"x"));
    }

    #[test]
    fn another_place_does_not_open() {
        let keyring = keyring(1);
        let sealed = keyring.seal("here", b"secret");
        let error = keyring.open("there", &sealed).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a sealed value (there) is damaged or belongs to another place"
        );
    }

    #[test]
    fn another_key_does_not_open_and_is_named() {
        let sealed = keyring(1).seal("here", b"secret");
        let error = keyring(2).open("here", &sealed).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, EncryptionError::WrongKey { .. }));
        assert!(
            text.contains("sealed with the encryption key 72cd6e84") && text.contains("has 75877bb4"),
            "{text}"
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let keyring = keyring(1);
        let sealed = keyring.seal("here", b"secret");
        for index in 0..sealed.0.len() {
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged.0[index] ^= 1 << bit;
                assert!(keyring.open("here", &damaged).is_err(), "byte {index} bit {bit}");
            }
            let cut = Sealed(sealed.0[..index].to_vec());
            assert!(keyring.open("here", &cut).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn an_older_key_still_opens() {
        let old = keyring(1).seal("here", b"secret");
        let older = vec![Secret::new([1; KEY_BYTES])];
        let both = Keyring::with_older(Secret::new([2; KEY_BYTES]), older, Entropy::seeded(0));
        assert_eq!(both.open("here", &old).unwrap().expose(), b"secret");
        assert!(keyring(2).open("here", &both.seal("here", b"new")).is_ok());
    }

    #[test]
    fn keys_come_and_go_while_values_are_read() {
        let ring = keyring(1);
        let old = ring.seal("here", b"secret");
        let (first, key) = (ring.sealing_with(), Secret::new([2; KEY_BYTES]));
        let second = KeyId::of(&key);
        assert!(!ring.seal_with(second), "a key that is not there cannot seal");
        let clone = ring.clone();
        clone.add(&key);
        assert_eq!(
            ring.sealing_with(),
            first,
            "to add a key changes nothing but what can be opened"
        );
        assert!(clone.seal_with(second));
        let new = ring.seal("here", b"secret");
        assert_eq!(KeyId::of_sealed(&new.0), Some(second));
        assert!(new.0.starts_with(&second.prefix()) && old.0.starts_with(&first.prefix()));
        assert!(ring.open("here", &old).is_ok());
        ring.forget(second);
        ring.forget(first);
        assert_eq!(ring.ids(), [second], "the sealing key is not forgotten");
        assert!(matches!(ring.open("here", &old), Err(EncryptionError::WrongKey { .. })));
    }

    #[test]
    fn the_check_value_tells_keys_apart() {
        let check_value = keyring(1).check_value();
        assert!(keyring(1).verify(&check_value).is_ok());
        assert!(matches!(
            keyring(2).verify(&check_value),
            Err(EncryptionError::WrongKey { .. })
        ));
        assert!(matches!(
            keyring(1).verify(&keyring(1).seal(CHECK_PLACE, b"x")),
            Err(EncryptionError::Corrupt { .. })
        ));
    }
}
