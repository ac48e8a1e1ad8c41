//! Answers of the provider.
//!
//! The body stays on the host until it is read: [`Response::json_at`] takes a part of a large answer without moving the
//! rest into the function's memory.

use serde::de::DeserializeOwned;

use crate::bindings::nango::functions::nango as wire;
use crate::bindings::nango::functions::types;
use crate::error::{Error, HttpError, Place};
use crate::link;
use crate::request::Origin;

/// An answer of the provider.
#[derive(Debug)]
pub struct Response {
    origin: Origin,
    inner: wire::Response,
}

impl Response {
    /// The HTTP status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.inner.status()
    }

    /// The first header of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.inner.header(name)
    }

    /// All headers in order of arrival, names in lower case.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        self.inner.headers()
    }

    /// The body as it came, content encodings removed.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.inner.bytes()
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`Error::Host`] with code `invalid_utf8` when it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> Result<String, Error> {
        self.text_at(Place::here())
    }

    /// The body as text, for a call made at `place`.
    pub(crate) fn text_at(&self, place: Place) -> Result<String, Error> {
        self.inner.text().map_err(|error| Error::Host {
            source: Box::new(error.into()),
            place,
        })
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// [`Error::Json`] when it is no JSON or does not fit `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match serde_json::from_slice(&self.bytes()) {
            Ok(value) => Ok(value),
            Err(source) => Err(Error::json(self.cannot_read(""), source)),
        }
    }

    /// The JSON value at an [RFC 6901](https://www.rfc-editor.org/rfc/rfc6901) pointer, as in `/data/items`. Where
    /// nothing is, there is `null`: ask for an `Option` when that is fine.
    ///
    /// # Errors
    /// [`Error::Host`] with code `invalid_json` when the body is no JSON, [`Error::Json`] when the value does not fit `T`.
    #[track_caller]
    pub fn json_at<T: DeserializeOwned>(&self, pointer: &str) -> Result<T, Error> {
        let json = match self.inner.json_pointer(pointer) {
            Ok(json) => json,
            Err(error) => return Err(Error::host(error)),
        };
        match serde_json::from_slice(json.as_deref().unwrap_or("null").as_bytes()) {
            Ok(value) => Ok(value),
            Err(source) => Err(Error::json(self.cannot_read(pointer), source)),
        }
    }

    /// Path and query of the next page, as the header `Link` gives it with `rel="next"`; good for
    /// [`Nango::get`](crate::Nango::get).
    ///
    /// A path that ends with that of the request is taken for the same one, so that a base URL with a path of its own
    /// (`https://host/api/v3`) is not sent twice.
    #[must_use]
    pub fn next_link(&self) -> Option<String> {
        let target = self.link("next")?;
        Some(link::below_base_url(&target, &self.origin.path))
    }

    /// The target of the header `Link` (RFC 8288) with that relation, as it stands there.
    #[must_use]
    pub fn link(&self, relation: &str) -> Option<String> {
        // Mostly there is one such header, and all headers need not cross for it.
        let first = self.header("link")?;
        let found = link::target(&first, relation).map(str::to_owned);
        found.or_else(|| {
            let headers = self.headers();
            let mut links = headers.iter().filter(|(name, _)| name == "link");
            links.find_map(|(_, value)| link::target(value, relation).map(str::to_owned))
        })
    }

    /// The value at a JSON pointer as JSON text, for a call made at `place`.
    pub(crate) fn value_at(&self, pointer: &str, place: Place) -> Result<Option<String>, Error> {
        self.inner.json_pointer(pointer).map_err(|error| Error::Host {
            source: Box::new(error.into()),
            place,
        })
    }

    /// The answer, if its status is within 200–299.
    ///
    /// # Errors
    /// [`Error::Http`] with the whole answer if not.
    pub fn error_for_status(self) -> Result<Self, Error> {
        let status = self.status();
        if (200..300).contains(&status) {
            return Ok(self);
        }
        Err(Error::Http(Box::new(HttpError {
            status,
            headers: self.headers(),
            body: self.bytes(),
            method: self.origin.method,
            path: self.origin.path,
            place: self.origin.place,
        })))
    }

    fn cannot_read(&self, pointer: &str) -> String {
        let Origin { method, path, .. } = &self.origin;
        let part = if pointer.is_empty() {
            String::new()
        } else {
            format!(" at {pointer}")
        };
        format!("cannot read the answer to {method} {path}{part}")
    }
}

pub(crate) fn answered(origin: Origin, result: Result<wire::Response, types::Error>) -> Result<Response, Error> {
    match result {
        Ok(inner) => Ok(Response { origin, inner }),
        Err(error) => {
            let Origin { method, path, place } = origin;
            Err(Error::Network {
                method,
                path,
                source: Box::new(error.into()),
                place,
            })
        }
    }
}
