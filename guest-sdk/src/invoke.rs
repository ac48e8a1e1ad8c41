//! Calling other functions.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::nango::functions::{invoke_elsewhere as wire, types};
use crate::error::Error;
use crate::nango::Nango;

/// Functions of another integration or for another connection; from [`Nango::elsewhere`].
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere<'run> {
    provider_config_key: &'run str,
    connection_id: &'run str,
    run: PhantomData<&'run Nango>,
}

impl<'run> Elsewhere<'run> {
    pub(crate) fn of(_: &'run Nango, provider_config_key: &'run str, connection_id: &'run str) -> Self {
        Self {
            provider_config_key,
            connection_id,
            run: PhantomData,
        }
    }

    /// As [`Nango::trigger_action`].
    ///
    /// # Errors
    /// As there; besides `unknown_provider_config` and `unknown_connection`.
    #[track_caller]
    pub fn trigger_action<T: DeserializeOwned>(&self, name: &str, input: &impl Serialize) -> Result<T, Error> {
        action(input, |input| {
            wire::trigger_action(self.provider_config_key, self.connection_id, name, input, &[])
        })
    }

    /// As [`Nango::trigger_sync`].
    ///
    /// # Errors
    /// As there; besides `unknown_provider_config` and `unknown_connection`.
    #[track_caller]
    pub fn trigger_sync(&self, name: &str) -> Result<(), Error> {
        sync(wire::trigger_sync(
            self.provider_config_key,
            self.connection_id,
            name,
            &[],
        ))
    }
}

#[track_caller]
pub(crate) fn action<T: DeserializeOwned>(
    input: &impl Serialize,
    call: impl FnOnce(&str) -> Result<String, types::Error>,
) -> Result<T, Error> {
    let input = match serde_json::to_string(input) {
        Ok(input) => input,
        Err(source) => return Err(Error::json("cannot write the action's input", source)),
    };
    let output = match call(&input) {
        Ok(output) => output,
        Err(error) => return Err(Error::host(error)),
    };
    match serde_json::from_slice(output.as_bytes()) {
        Ok(output) => Ok(output),
        Err(source) => Err(Error::json("cannot read the action's output", source)),
    }
}

#[track_caller]
pub(crate) fn sync(triggered: Result<(), types::Error>) -> Result<(), Error> {
    match triggered {
        Ok(()) => Ok(()),
        Err(error) => Err(Error::host(error)),
    }
}
