//! Compiled code on disk, so that a start does not compile again what was deployed long ago.
//!
//! Loading compiled code is as dangerous as loading a shared library, therefore each file carries a MAC over its name and
//! content under a key of this installation, and is read only when that fits. It knows bytes and names, not components.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Layout: magic, MAC, compiled code.
const MAGIC: &[u8; 8] = b"NANGOCW1";
const MAC_BYTES: usize = 32;
/// All files together; the ones unused longest are removed when there is more.
const TOTAL_BYTES_MAX: u64 = 2 << 30;
const EXTENSION: &str = "cwasm";

/// A folder of compiled code.
#[derive(Clone)]
pub struct CodeCache {
    dir: PathBuf,
    mac_key: [u8; 32],
    total_bytes_max: u64,
}

/// Why compiled code is not there or not kept.
#[derive(Debug, thiserror::Error)]
pub enum CodeCacheError {
    #[error("{} is damaged or was written by somebody else ({reason})", path.display())]
    Damaged { path: PathBuf, reason: &'static str },
    #[error("{} cannot be {action}: {source}", path.display())]
    Io {
        path: PathBuf,
        action: &'static str,
        #[source]
        source: io::Error,
    },
}

impl CodeCache {
    /// `mac_key` is secret and belongs to this installation; code written under another key does not load. The folder is made
    /// when first something is kept.
    #[must_use]
    pub fn new(dir: PathBuf, mac_key: [u8; 32]) -> Self {
        Self {
            dir,
            mac_key,
            total_bytes_max: TOTAL_BYTES_MAX,
        }
    }

    /// What was kept under that name, if it is there and whole. `now_ms` marks it as used.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or does not carry the right MAC.
    pub(super) fn load(&self, name: &str, now_ms: i64) -> Result<Option<Vec<u8>>, CodeCacheError> {
        let path = self.path(name);
        let mut bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error(&path, "read", source)),
        };
        let damaged = |reason| CodeCacheError::Damaged {
            path: path.clone(),
            reason,
        };
        let (magic, rest) = bytes
            .split_at_checked(MAGIC.len())
            .ok_or_else(|| damaged("cut short"))?;
        let (mac, compiled) = rest.split_at_checked(MAC_BYTES).ok_or_else(|| damaged("cut short"))?;
        if magic != MAGIC {
            return Err(damaged("unknown header"));
        }
        self.mac(name, compiled)
            .verify_slice(mac)
            .map_err(|_| damaged("wrong MAC"))?;
        bytes.drain(..MAGIC.len() + MAC_BYTES);
        self.touch(&path, now_ms);
        Ok(Some(bytes))
    }

    /// Keeps compiled code under that name: whole or not at all, also when the machine stops half-way.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(super) fn save(&self, name: &str, compiled: &[u8], now_ms: i64) -> Result<(), CodeCacheError> {
        fs::create_dir_all(&self.dir).map_err(|source| io_error(&self.dir, "created", source))?;
        let path = self.path(name);
        let temporary = self.temporary_path(name);
        let written = self.write(&temporary, name, compiled).and_then(|()| {
            fs::rename(&temporary, &path)?;
            // The rename is durable when the folder is.
            File::open(&self.dir)?.sync_all()
        });
        if let Err(source) = written {
            drop(fs::remove_file(&temporary));
            return Err(io_error(&path, "written", source));
        }
        self.touch(&path, now_ms);
        self.trim(&path);
        Ok(())
    }

    fn write(&self, path: &Path, name: &str, compiled: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(MAGIC)?;
        file.write_all(&self.mac(name, compiled).finalize().into_bytes())?;
        file.write_all(compiled)?;
        file.sync_all()
    }

    /// The name is part of what is signed, so that a file cannot pass for another.
    fn mac(&self, name: &str, compiled: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.mac_key).expect("HMAC takes keys of any length");
        mac.update(MAGIC);
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(compiled);
        mac
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension(EXTENSION)
    }

    fn temporary_path(&self, name: &str) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{name}.{}.{count}.tmp", std::process::id()))
    }

    /// The file's time of change is its time of last use. Losing one only makes a removal less apt.
    fn touch(&self, path: &Path, now_ms: i64) {
        let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
        if let Err(error) = OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|file| file.set_modified(now))
        {
            tracing::debug!(path = %path.display(), %error, "Cannot mark compiled code as used");
        }
    }

    /// Removes what was unused longest until the limit is kept, `kept` excepted.
    fn trim(&self, kept: &Path) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let metadata = entry.metadata().ok()?;
                let is_ours = entry.path().extension().is_some_and(|extension| extension == EXTENSION);
                (is_ours && metadata.is_file()).then(|| (metadata.modified().ok(), metadata.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut total_bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in files {
            if total_bytes <= self.total_bytes_max {
                return;
            }
            if path == kept {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => total_bytes = total_bytes.saturating_sub(len),
                Err(error) => tracing::warn!(path = %path.display(), %error, "Cannot remove unused compiled code"),
            }
        }
    }
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeCache")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

fn io_error(path: &Path, action: &'static str, source: io::Error) -> CodeCacheError {
    CodeCacheError::Io {
        path: path.to_owned(),
        action,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_what_was_unused_longest() {
        let dir = std::env::temp_dir().join(format!("nango-code-cache-{}", std::process::id()));
        let mut cache = CodeCache::new(dir.clone(), [1; 32]);
        cache.total_bytes_max = 2 * (100 + 40);
        cache.save("a", &[0; 100], 1_000).unwrap();
        cache.save("b", &[1; 100], 2_000).unwrap();
        assert!(cache.load("a", 3_000).unwrap().is_some());
        cache.save("c", &[2; 100], 4_000).unwrap();
        assert_eq!(cache.load("b", 5_000).unwrap(), None);
        assert_eq!(cache.load("a", 5_000).unwrap(), Some(vec![0; 100]));
        assert_eq!(cache.load("c", 5_000).unwrap(), Some(vec![2; 100]));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_cannot_pass_for_another() {
        let dir = std::env::temp_dir().join(format!("nango-code-swap-{}", std::process::id()));
        let cache = CodeCache::new(dir.clone(), [1; 32]);
        cache.save("a", b"code of a", 0).unwrap();
        fs::rename(cache.path("a"), cache.path("b")).unwrap();
        assert!(matches!(
            cache.load("b", 0),
            Err(CodeCacheError::Damaged {
                reason: "wrong MAC",
                ..
            })
        ));
        fs::write(cache.path("c"), b"NANGO").unwrap();
        assert!(matches!(
            cache.load("c", 0),
            Err(CodeCacheError::Damaged {
                reason: "cut short",
                ..
            })
        ));
        fs::remove_dir_all(dir).unwrap();
    }
}
