//! Where encryption keys come from: given by the operator, or a file in the data folder that the first start makes. Several
//! stand one after the other, the newest last. A key that is there is never changed; one goes only when it is named.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{KEY_BYTES, KeyId};
use crate::clock::Entropy;
use crate::credentials::Secret;

/// The file in the data folder that holds the keys: a line of 32 bytes in base64 for each, the newest last.
pub const KEY_FILE_NAME: &str = "encryption.key";
/// Keys that an installation may have at once.
pub const KEYS_MAX: usize = 32;

/// More is no key file, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 2_048;

/// What seals and opens.
pub type EncryptionKey = Secret<[u8; KEY_BYTES]>;

/// Why there is no encryption key. Never holds the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "an encryption key must be 32 bytes in base64 (44 characters), and several have commas between them; make one with `openssl rand -base64 32`"
    )]
    Given,
    #[error(
        "the encryption keys come from the setting `encryption_key`, which this program cannot change: add the new key to it, after a comma, restart every process, and rotate then"
    )]
    Fixed,
    #[error(
        "there are {KEYS_MAX} encryption keys, which is the most there may be; retire one with `nango-runtime keys retire VERSION`"
    )]
    TooMany,
    #[error(
        "{path} does not hold an encryption key: 32 bytes in base64; restore it from a backup, or give the key in the settings"
    )]
    Content { path: String },
    #[error("{path} can be read by others (mode {mode:04o}); run `chmod 600 {path}`")]
    Exposed { path: String, mode: u32 },
    #[error("the encryption key file {path} cannot be {action}")]
    Io {
        path: String,
        /// `read`, `created` or `changed`.
        action: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Where the keys of this process are.
pub enum KeySource {
    /// Keys in base64 with commas between, the newest last.
    Given(Secret<String>),
    /// `encryption.key` in this folder.
    File(PathBuf),
}

impl KeySource {
    #[must_use]
    pub fn new(data_dir: &Path, given: Option<&Secret<String>>) -> Self {
        match given {
            Some(given) => Self::Given(given.clone()),
            None => Self::File(data_dir.to_owned()),
        }
    }

    /// Where the file should be, if keys come from one and it is not there.
    #[must_use]
    pub fn missing_file(&self) -> Option<String> {
        let Self::File(folder) = self else { return None };
        let path = folder.join(KEY_FILE_NAME);
        (!path.exists()).then(|| path.display().to_string())
    }

    /// All keys, the newest last; at least one. A file that is not there is made with a new key and mode 0600, and is on disk
    /// before this returns.
    pub fn load_or_create(&self, entropy: &Entropy) -> Result<Vec<EncryptionKey>, KeyError> {
        match self {
            Self::Given(_) => self.load(),
            Self::File(folder) => {
                let path = folder.join(KEY_FILE_NAME);
                match File::open(&path) {
                    Ok(file) => read(file, &path),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => create(folder, &path, entropy),
                    Err(source) => Err(failed(&path, "read", source)),
                }
            }
        }
    }

    /// All keys as they are now, the newest last.
    pub fn load(&self) -> Result<Vec<EncryptionKey>, KeyError> {
        match self {
            Self::Given(given) => decode_all(given.expose()).ok_or(KeyError::Given),
            Self::File(folder) => {
                let path = folder.join(KEY_FILE_NAME);
                let file = File::open(&path).map_err(|source| failed(&path, "read", source))?;
                read(file, &path)
            }
        }
    }

    /// Adds a key to the file; it is on disk when this returns.
    ///
    /// # Errors
    /// [`KeyError::Fixed`] when the keys were given.
    pub fn add(&self, key: &EncryptionKey, entropy: &Entropy) -> Result<(), KeyError> {
        let mut keys = self.load()?;
        if keys.iter().any(|known| known.expose() == key.expose()) {
            return Ok(());
        }
        if keys.len() >= KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        keys.push(key.clone());
        self.replace(&keys, entropy)
    }

    /// Takes keys out of the file. Those that were given stay: whoever gave them takes them away.
    pub fn remove(&self, ids: &[KeyId], entropy: &Entropy) -> Result<(), KeyError> {
        if matches!(self, Self::Given(_)) {
            return Ok(());
        }
        let keys = self.load()?;
        let kept: Vec<EncryptionKey> = keys
            .iter()
            .filter(|key| !ids.contains(&KeyId::of(key)))
            .cloned()
            .collect();
        if kept.is_empty() || kept.len() == keys.len() {
            return Ok(());
        }
        self.replace(&kept, entropy)
    }

    /// In one step: whatever happens, the file is the old or the new one.
    fn replace(&self, keys: &[EncryptionKey], entropy: &Entropy) -> Result<(), KeyError> {
        let Self::File(folder) = self else {
            return Err(KeyError::Fixed);
        };
        let path = folder.join(KEY_FILE_NAME);
        let draft = draft_of(folder, entropy);
        let renamed = write_draft(&draft, keys).and_then(|()| std::fs::rename(&draft, &path));
        let renamed = renamed.and_then(|()| sync_folder(folder));
        if renamed.is_err() {
            // It may be there or not; nobody reads it.
            let _ = std::fs::remove_file(&draft);
        }
        renamed.map_err(|source| failed(&path, "changed", source))
    }
}

fn read(file: File, path: &Path) -> Result<Vec<EncryptionKey>, KeyError> {
    refuse_exposed(&file, path)?;
    let mut text = Vec::new();
    let outcome = file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut text);
    let text = Secret::new(text);
    outcome.map_err(|source| failed(path, "read", source))?;
    let keys = std::str::from_utf8(text.expose()).ok().and_then(decode_all);
    keys.ok_or_else(|| KeyError::Content {
        path: path.display().to_string(),
    })
}

#[cfg(unix)]
fn refuse_exposed(file: &File, path: &Path) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = file.metadata().map_err(|source| failed(path, "read", source))?;
    let mode = metadata.permissions().mode() & 0o777;
    let of_others = mode & 0o077;
    if of_others == 0 {
        Ok(())
    } else {
        Err(KeyError::Exposed {
            path: path.display().to_string(),
            mode,
        })
    }
}

#[cfg(not(unix))]
fn refuse_exposed(_file: &File, _path: &Path) -> Result<(), KeyError> {
    Ok(())
}

/// Writes the key beside its place and links it there: the file has its name only once it is complete and on disk, and one
/// that another process made meanwhile is kept.
fn create(data_dir: &Path, path: &Path, entropy: &Entropy) -> Result<Vec<EncryptionKey>, KeyError> {
    let keys = vec![Secret::new(entropy.bytes::<KEY_BYTES>())];
    let draft = draft_of(data_dir, entropy);
    let linked = write_draft(&draft, &keys).and_then(|()| std::fs::hard_link(&draft, path));
    // Whatever happened, the draft has no further use; that it stays behind harms nobody.
    let _ = std::fs::remove_file(&draft);
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = File::open(path).map_err(|source| failed(path, "read", source))?;
            return read(file, path);
        }
        Err(source) => return Err(failed(path, "created", source)),
    }
    sync_folder(data_dir).map_err(|source| failed(path, "created", source))?;
    Ok(keys)
}

fn draft_of(folder: &Path, entropy: &Entropy) -> PathBuf {
    let suffix = u64::from_le_bytes(entropy.bytes());
    folder.join(format!("{KEY_FILE_NAME}.{suffix:016x}"))
}

fn write_draft(draft: &Path, keys: &[EncryptionKey]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    for key in keys {
        let line = Secret::new(format!("{}\n", STANDARD.encode(key.expose())));
        file.write_all(line.expose().as_bytes())?;
    }
    file.sync_all()
}

/// A new name is on disk only once its folder is.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// 32 bytes in base64.
#[must_use]
pub fn decode_key(text: &str) -> Option<EncryptionKey> {
    let bytes = Secret::new(STANDARD.decode(text.trim()).ok()?);
    let key: [u8; KEY_BYTES] = bytes.expose().as_slice().try_into().ok()?;
    Some(Secret::new(key))
}

/// Keys with commas or line ends between; none when one of them is no key, or there is none or too many.
fn decode_all(text: &str) -> Option<Vec<EncryptionKey>> {
    let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
    let keys = parts.map(decode_key).collect::<Option<Vec<_>>>()?;
    (1..=KEYS_MAX).contains(&keys.len()).then_some(keys)
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> KeyError {
    KeyError::Io {
        path: path.display().to_string(),
        action,
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("nango-runtime-key-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn given(text: &str) -> Result<Vec<EncryptionKey>, KeyError> {
        let given = Secret::new(text.to_owned());
        KeySource::new(Path::new("/nonexistent"), Some(&given)).load_or_create(&Entropy::seeded(1))
    }

    fn in_file(folder: &Path, seed: u64) -> Result<Vec<EncryptionKey>, KeyError> {
        KeySource::new(folder, None).load_or_create(&Entropy::seeded(seed))
    }

    fn exposed(keys: &[EncryptionKey]) -> Vec<[u8; KEY_BYTES]> {
        keys.iter().map(|key| *key.expose()).collect()
    }

    #[test]
    fn a_given_key_is_taken_and_checked() {
        let ones = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let twos = STANDARD.encode([2; KEY_BYTES]);
        assert_eq!(exposed(&given(ones).unwrap()), [[1; KEY_BYTES]]);
        let both = given(&format!("{ones}, {twos}")).unwrap();
        assert_eq!(exposed(&both), [[1; KEY_BYTES], [2; KEY_BYTES]]);
        assert!(given(&[ones; KEYS_MAX + 1].join(",")).is_err());
        for bad in [
            "",
            "short",
            "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=,short",
            "AQEBAQ==",
            "!QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        ] {
            assert!(matches!(given(bad), Err(KeyError::Given)), "{bad}");
        }
    }

    #[test]
    fn the_first_start_makes_a_key_and_the_next_reads_it() {
        let folder = Folder::new("made");
        let first = in_file(&folder.0, 1).unwrap();
        let second = in_file(&folder.0, 2).unwrap();
        assert_eq!(exposed(&first), exposed(&second));
        let names: Vec<_> = std::fs::read_dir(&folder.0)
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        assert_eq!(names, [KEY_FILE_NAME], "no draft is left behind");
    }

    #[cfg(unix)]
    #[test]
    fn others_must_not_read_the_key() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = Folder::new("mode");
        in_file(&folder.0, 1).unwrap();
        let path = folder.0.join(KEY_FILE_NAME);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = in_file(&folder.0, 1).unwrap_err().to_string();
        let path = path.display();
        assert_eq!(
            error,
            format!("{path} can be read by others (mode 0644); run `chmod 600 {path}`")
        );
    }

    #[test]
    fn a_damaged_file_is_kept_and_reported() {
        let folder = Folder::new("damaged");
        let path = folder.0.join(KEY_FILE_NAME);
        write_draft(&path, &[Secret::new([7; KEY_BYTES])]).unwrap();
        std::fs::write(&path, "nonsense").unwrap();
        let error = in_file(&folder.0, 1).unwrap_err();
        assert!(matches!(error, KeyError::Content { .. }));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "nonsense");
    }

    #[test]
    fn a_missing_folder_is_reported() {
        let error = in_file(Path::new("/nonexistent"), 1).unwrap_err().to_string();
        assert!(
            error.contains("/nonexistent/encryption.key cannot be created"),
            "{error}"
        );
    }

    #[test]
    fn keys_are_added_and_taken_out() {
        let folder = Folder::new("several");
        let source = KeySource::new(&folder.0, None);
        let entropy = Entropy::seeded(1);
        let first = source.load_or_create(&entropy).unwrap().remove(0);
        let second = Secret::new([9; KEY_BYTES]);
        for _ in 0..2 {
            source.add(&second, &entropy).unwrap();
            assert_eq!(exposed(&source.load().unwrap()), [*first.expose(), [9; KEY_BYTES]]);
        }
        source.remove(&[KeyId::of(&first)], &entropy).unwrap();
        assert_eq!(exposed(&source.load().unwrap()), [[9; KEY_BYTES]]);
        source.remove(&[KeyId::of(&second)], &entropy).unwrap();
        assert_eq!(source.load().unwrap().len(), 1, "the last one stays");
        let fixed = KeySource::Given(Secret::new(STANDARD.encode([1; KEY_BYTES])));
        assert!(matches!(fixed.add(&second, &entropy), Err(KeyError::Fixed)));
    }
}
