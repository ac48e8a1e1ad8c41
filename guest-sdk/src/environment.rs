//! The environment's variables.

use std::collections::BTreeMap;

use crate::bindings::nango::functions::environment;
use crate::error::Error;

#[track_caller]
pub(crate) fn get(name: &str) -> Result<Option<String>, Error> {
    match environment::get(name) {
        Ok(value) => Ok(value),
        Err(error) => Err(Error::host(error)),
    }
}

#[track_caller]
pub(crate) fn all() -> Result<BTreeMap<String, String>, Error> {
    match environment::all() {
        Ok(variables) => Ok(variables.into_iter().collect()),
        Err(error) => Err(Error::host(error)),
    }
}
