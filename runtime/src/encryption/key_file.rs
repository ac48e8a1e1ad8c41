//! Where the encryption key comes from: given by the operator, or a file in the data folder that the first start makes.
//! Does not change or replace a key that is there.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::KEY_BYTES;
use crate::clock::Entropy;
use crate::credentials::Secret;

/// The file in the data folder that holds the key: 32 bytes in base64 and a line end.
pub const KEY_FILE_NAME: &str = "encryption.key";

/// More is no key file, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// Why there is no encryption key. Never holds the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the encryption key must be 32 bytes in base64 (44 characters); make one with `openssl rand -base64 32`")]
    Given,
    #[error(
        "{path} does not hold an encryption key: 32 bytes in base64; restore it from a backup, or give the key in the settings"
    )]
    Content { path: String },
    #[error("{path} can be read by others (mode {mode:04o}); run `chmod 600 {path}`")]
    Exposed { path: String, mode: u32 },
    #[error("the encryption key file {path} cannot be {action}")]
    Io {
        path: String,
        /// `read` or `created`.
        action: &'static str,
        #[source]
        source: io::Error,
    },
}

/// The key that was `given` (32 bytes in base64), else the one in `encryption.key` in `data_dir`. That file is made with a
/// new key and mode 0600 when it is not there, and is on disk before this returns.
pub fn load_or_create_key(
    data_dir: &Path,
    given: Option<&Secret<String>>,
    entropy: &Entropy,
) -> Result<Secret<[u8; KEY_BYTES]>, KeyError> {
    if let Some(given) = given {
        return decode(given.expose()).ok_or(KeyError::Given);
    }
    let path = data_dir.join(KEY_FILE_NAME);
    match File::open(&path) {
        Ok(file) => read(file, &path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(data_dir, &path, entropy),
        Err(source) => Err(failed(&path, "read", source)),
    }
}

fn read(file: File, path: &Path) -> Result<Secret<[u8; KEY_BYTES]>, KeyError> {
    refuse_exposed(&file, path)?;
    let mut text = Vec::new();
    let outcome = file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut text);
    let text = Secret::new(text);
    outcome.map_err(|source| failed(path, "read", source))?;
    let key = std::str::from_utf8(text.expose()).ok().and_then(decode);
    key.ok_or_else(|| KeyError::Content {
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
fn create(data_dir: &Path, path: &Path, entropy: &Entropy) -> Result<Secret<[u8; KEY_BYTES]>, KeyError> {
    let key = Secret::new(entropy.bytes::<KEY_BYTES>());
    let suffix = u64::from_le_bytes(entropy.bytes());
    let draft = data_dir.join(format!("{KEY_FILE_NAME}.{suffix:016x}"));
    let linked = write_draft(&draft, &key).and_then(|()| std::fs::hard_link(&draft, path));
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
    Ok(key)
}

fn write_draft(draft: &Path, key: &Secret<[u8; KEY_BYTES]>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    let text = Secret::new(format!("{}\n", STANDARD.encode(key.expose())));
    file.write_all(text.expose().as_bytes())?;
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

fn decode(text: &str) -> Option<Secret<[u8; KEY_BYTES]>> {
    let bytes = Secret::new(STANDARD.decode(text.trim()).ok()?);
    let key: [u8; KEY_BYTES] = bytes.expose().as_slice().try_into().ok()?;
    Some(Secret::new(key))
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

    fn given(text: &str) -> Result<Secret<[u8; KEY_BYTES]>, KeyError> {
        let given = Secret::new(text.to_owned());
        load_or_create_key(Path::new("/nonexistent"), Some(&given), &Entropy::seeded(1))
    }

    #[test]
    fn a_given_key_is_taken_and_checked() {
        let key = given("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
        assert_eq!(key.expose(), &[1; KEY_BYTES]);
        for bad in ["", "short", "AQEBAQ==", "!QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="] {
            assert!(matches!(given(bad), Err(KeyError::Given)), "{bad}");
        }
    }

    #[test]
    fn the_first_start_makes_a_key_and_the_next_reads_it() {
        let folder = Folder::new("made");
        let first = load_or_create_key(&folder.0, None, &Entropy::seeded(1)).unwrap();
        let second = load_or_create_key(&folder.0, None, &Entropy::seeded(2)).unwrap();
        assert_eq!(first.expose(), second.expose());
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
        load_or_create_key(&folder.0, None, &Entropy::seeded(1)).unwrap();
        let path = folder.0.join(KEY_FILE_NAME);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_or_create_key(&folder.0, None, &Entropy::seeded(1))
            .unwrap_err()
            .to_string();
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
        write_draft(&path, &Secret::new([7; KEY_BYTES])).unwrap();
        std::fs::write(&path, "nonsense").unwrap();
        let error = load_or_create_key(&folder.0, None, &Entropy::seeded(1)).unwrap_err();
        assert!(matches!(error, KeyError::Content { .. }));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "nonsense");
    }

    #[test]
    fn a_missing_folder_is_reported() {
        let error = load_or_create_key(Path::new("/nonexistent"), None, &Entropy::seeded(1))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/nonexistent/encryption.key cannot be created"),
            "{error}"
        );
    }
}
