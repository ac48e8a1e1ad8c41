//! Locks that all runs of the environment see.

use std::time::Duration;

use crate::bindings::nango::functions::locks;
use crate::error::Error;

#[track_caller]
pub(crate) fn try_acquire(key: &str, ttl: Duration) -> Result<bool, Error> {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    match locks::try_acquire(key, ttl_ms) {
        Ok(acquired) => Ok(acquired),
        Err(error) => Err(Error::host(error)),
    }
}

#[track_caller]
pub(crate) fn release(key: &str) -> Result<bool, Error> {
    match locks::release(key) {
        Ok(released) => Ok(released),
        Err(error) => Err(Error::host(error)),
    }
}

#[track_caller]
pub(crate) fn release_all() -> Result<(), Error> {
    match locks::release_all() {
        Ok(()) => Ok(()),
        Err(error) => Err(Error::host(error)),
    }
}
