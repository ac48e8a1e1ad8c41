//! How far a function has come, as typed values.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::nango::functions::checkpoints;
use crate::error::Error;

#[track_caller]
pub(crate) fn get<T: DeserializeOwned>() -> Result<Option<T>, Error> {
    let json = match checkpoints::get() {
        Ok(Some(json)) => json,
        Ok(None) => return Ok(None),
        Err(error) => return Err(Error::host(error)),
    };
    match serde_json::from_slice(json.as_bytes()) {
        Ok(checkpoint) => Ok(Some(checkpoint)),
        Err(source) => Err(Error::json("cannot read the checkpoint", source)),
    }
}

#[track_caller]
pub(crate) fn save(checkpoint: &impl Serialize) -> Result<(), Error> {
    let json = match serde_json::to_string(checkpoint) {
        Ok(json) => json,
        Err(source) => return Err(Error::json("cannot write the checkpoint", source)),
    };
    match checkpoints::save(&json) {
        Ok(()) => Ok(()),
        Err(error) => Err(Error::host(error)),
    }
}

#[track_caller]
pub(crate) fn clear() -> Result<(), Error> {
    match checkpoints::clear() {
        Ok(()) => Ok(()),
        Err(error) => Err(Error::host(error)),
    }
}
