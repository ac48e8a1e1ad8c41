//! The connection a run is for. Its credentials are not among what can be read here.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::nango::functions::{connection as wire, connection_details, types};
use crate::error::Error;
use crate::nango::Nango;

/// The connection a run is for; from [`Nango::connection`].
#[derive(Clone, Copy, Debug)]
pub struct Connection<'run>(PhantomData<&'run Nango>);

impl Connection<'_> {
    pub(crate) fn of(_: &Nango) -> Self {
        Self(PhantomData)
    }

    /// The connection's id.
    #[must_use]
    pub fn id(&self) -> String {
        wire::connection_id()
    }

    /// The key of the integration the connection belongs to.
    #[must_use]
    pub fn provider_config_key(&self) -> String {
        wire::provider_config_key()
    }

    /// The provider's name in the catalogue, for example `github`.
    #[must_use]
    pub fn provider(&self) -> String {
        wire::provider()
    }

    /// The environment's name.
    #[must_use]
    pub fn environment(&self) -> String {
        wire::environment()
    }

    /// The connection's configuration: subdomain, instance URL and the like.
    ///
    /// # Errors
    /// [`Error::Json`] when it does not fit `T`.
    #[track_caller]
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read("the connection's configuration", wire::config())
    }

    /// Whose the connection is: `tags`, `end_user`, `created_at`, `updated_at`. A component that calls this says so in its imports.
    ///
    /// ```
    /// # use nango_guest_sdk::prelude::*;
    /// fn plan(nango: &Nango) -> Result<Option<String>, Error> {
    ///     let details: Value = nango.connection().details()?;
    ///     Ok(details["tags"]["plan"].as_str().map(str::to_owned))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Json`] when it does not fit `T`.
    #[track_caller]
    pub fn details<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read("the connection's details", connection_details::get())
    }

    /// The metadata the customer has set; an empty object when there is none.
    ///
    /// # Errors
    /// [`Error::Json`] when it does not fit `T`.
    #[track_caller]
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read("the connection's metadata", wire::metadata())
    }

    /// Replaces the metadata by an object.
    ///
    /// # Errors
    /// [`Error::Host`] when it is no object.
    #[track_caller]
    pub fn set_metadata(&self, metadata: &impl Serialize) -> Result<(), Error> {
        write(metadata, wire::set_metadata)
    }

    /// Merges an object into the metadata: its top-level keys replace those of the same name.
    ///
    /// # Errors
    /// [`Error::Host`] when it is no object.
    #[track_caller]
    pub fn update_metadata(&self, metadata: &impl Serialize) -> Result<(), Error> {
        write(metadata, wire::update_metadata)
    }
}

#[track_caller]
pub(crate) fn read<T: DeserializeOwned>(what: &str, json: Result<String, types::Error>) -> Result<T, Error> {
    let json = match json {
        Ok(json) => json,
        Err(error) => return Err(Error::host(error)),
    };
    match serde_json::from_slice(json.as_bytes()) {
        Ok(value) => Ok(value),
        Err(source) => Err(Error::json(format!("cannot read {what}"), source)),
    }
}

#[track_caller]
fn write(metadata: &impl Serialize, send: fn(&str) -> Result<(), types::Error>) -> Result<(), Error> {
    let json = match serde_json::to_string(metadata) {
        Ok(json) => json,
        Err(source) => return Err(Error::json("cannot write the connection's metadata", source)),
    };
    match send(&json) {
        Ok(()) => Ok(()),
        Err(error) => Err(Error::host(error)),
    }
}
