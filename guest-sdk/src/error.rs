//! What can go wrong in a function, as values one can match on.
//!
//! [`Error`] is what the calls of this crate give. [`ActionError`](crate::ActionError) is what a function returns.

use std::panic::Location;

use serde::de::DeserializeOwned;

use crate::bindings::nango::functions::types;
use crate::pagination::PaginationError;

/// Why a call failed, and where in the function it was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The provider answered with a status outside of 200–299.
    #[error(transparent)]
    Http(Box<HttpError>),
    /// The provider gave no answer: it could not be reached, was too slow, or the host refused to send the request.
    #[error("{method} {path}: {source}")]
    Network {
        /// The request's method.
        method: String,
        /// The request's path.
        path: String,
        /// What the host says of it.
        source: Box<HostError>,
        /// Where the function made the call.
        place: Place,
    },
    /// The host did not do what was asked, for example because a record has no `id`.
    #[error("{source}")]
    Host {
        /// What the host says of it.
        source: Box<HostError>,
        /// Where the function made the call.
        place: Place,
    },
    /// A pagination cannot begin or go on.
    #[error("{source}")]
    Pagination {
        /// Why.
        source: Box<PaginationError>,
        /// Where the function began it.
        place: Place,
    },
    /// A value could not be read from JSON or written to it.
    #[error("{what}: {source}")]
    Json {
        /// Which value it was.
        what: String,
        /// What was wrong with it.
        source: serde_json::Error,
        /// Where the function made the call.
        place: Place,
    },
}

impl Error {
    /// The upstream's answer, if it was one with an error status.
    #[must_use]
    pub fn as_http(&self) -> Option<&HttpError> {
        match self {
            Self::Http(error) => Some(error),
            Self::Network { .. } | Self::Host { .. } | Self::Pagination { .. } | Self::Json { .. } => None,
        }
    }

    /// The status the upstream answered with, if that is what went wrong.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.as_http().map(|error| error.status)
    }

    /// Where the function made the call that failed.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Http(error) => error.place,
            Self::Network { place, .. }
            | Self::Host { place, .. }
            | Self::Pagination { place, .. }
            | Self::Json { place, .. } => *place,
        }
    }

    #[track_caller]
    pub(crate) fn host(error: types::Error) -> Self {
        Self::Host {
            source: Box::new(error.into()),
            place: Place::here(),
        }
    }

    #[track_caller]
    pub(crate) fn json(what: impl Into<String>, source: serde_json::Error) -> Self {
        Self::Json {
            what: what.into(),
            source,
            place: Place::here(),
        }
    }
}

/// An answer of the provider with a status outside of 200–299.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path} was answered with {status}")]
#[non_exhaustive]
pub struct HttpError {
    /// The request's method.
    pub method: String,
    /// The request's path.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The answer's body.
    pub body: Vec<u8>,
    /// Where the function made the call.
    pub place: Place,
}

impl HttpError {
    /// The first header of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text; what is no UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// [`Error::Json`] when it is no JSON or does not fit `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match serde_json::from_slice(&self.body) {
            Ok(value) => Ok(value),
            Err(source) => Err(Error::json("cannot read the body of the answer", source)),
        }
    }
}

/// What the host says of a call it could not or would not do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message} ({code})")]
#[non_exhaustive]
pub struct HostError {
    /// Stable and machine-readable, for example `upstream_unreachable` or `invalid_record`. The set grows.
    pub code: String,
    /// For people: what was wrong, with which value, and what to do.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// More about it; values are JSON text.
    pub details: Vec<(String, String)>,
}

impl From<types::Error> for HostError {
    fn from(error: types::Error) -> Self {
        let retryable = error
            .details
            .iter()
            .any(|(name, json)| name == "retryable" && json == "true");
        Self {
            code: error.code,
            message: error.message,
            retryable,
            details: error.details,
        }
    }
}

/// A line of the function's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(&'static Location<'static>);

impl Place {
    #[track_caller]
    pub(crate) fn here() -> Self {
        Self(Location::caller())
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.0.file(), self.0.line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(details: &[(&str, &str)]) -> types::Error {
        types::Error {
            code: "upstream_unreachable".to_owned(),
            message: "api.example.com refused the connection".to_owned(),
            details: details
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn reads_details_of_the_host() {
        assert!(HostError::from(error(&[("attempts", "3"), ("retryable", "true")])).retryable);
        assert!(!HostError::from(error(&[])).retryable);
    }

    #[test]
    fn says_where_the_call_was() {
        let error = Error::host(error(&[]));
        assert_eq!(error.place().to_string(), format!("{}:{}", file!(), line!() - 1));
        assert_eq!(
            error.to_string(),
            "api.example.com refused the connection (upstream_unreachable)"
        );
    }
}
