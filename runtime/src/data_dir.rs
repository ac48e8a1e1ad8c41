//! The data folder: database, encryption key, compiled code. One process at a time may use it, which is what makes a SQLite
//! installation safe without leases between nodes.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// The data folder, locked for this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The operating system frees the lock when the process ends, however it ends.
    _lock: File,
}

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("the data folder {} cannot be created: name another one with --data, or give this user the right to create it", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("the data folder {} cannot be written to: name another one with --data, or give this user write access", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    #[error(
        "the data folder {} is in use by another nango-runtime: stop that one, or name another folder with --data",
        path.display()
    )]
    InUse { path: PathBuf },
    #[error("the lock of the data folder {} cannot be taken; is it on a file system without locks?", path.display())]
    Lock { path: PathBuf, source: io::Error },
}

impl DataDir {
    /// Creates the folder when it is missing (readable by this user only) and locks it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        if !path.is_dir() {
            create(path).map_err(|source| DataDirError::Create {
                path: path.into(),
                source,
            })?;
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(|source| DataDirError::NotWritable {
                path: path.into(),
                source,
            })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.into(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: path.into() }),
            Err(TryLockError::Error(source)) => Err(DataDirError::Lock {
                path: path.into(),
                source,
            }),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_user_is_told_who_has_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let second = DataDir::open(dir.path()).unwrap_err();
        assert!(
            second.to_string().contains("in use by another nango-runtime"),
            "{second}"
        );
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn a_path_below_a_file_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataDir::open(&file.join("data")).unwrap_err();
        assert!(matches!(error, DataDirError::Create { .. }), "{error}");
    }
}
