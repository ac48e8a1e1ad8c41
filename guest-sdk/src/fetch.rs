//! Requests to any public host, without the connection's credentials.

use std::fmt::Display;

use serde::Serialize;

use crate::bindings::nango::functions::fetch as wire;
use crate::error::Error;
use crate::multipart::Multipart;
use crate::request::{Call, Request};
use crate::response::Response;

const FETCH: Call = |method, request| {
    wire::send(&wire::Request {
        method: method.to_owned(),
        url: request.path.clone(),
        query: request.query.clone(),
        headers: request.headers.clone(),
        body: request.body.clone(),
        options: request.options.clone(),
    })
};

/// A request to a public host that has not been sent yet; made by [`Nango::fetch`](crate::Nango::fetch).
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Fetch(Request);

impl Fetch {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self(Request::new("GET", FETCH, url))
    }

    /// Another method than `GET`.
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.0.method = method.into();
        self
    }

    /// Adds a header.
    pub fn header(self, name: impl Into<String>, value: impl Display) -> Self {
        Self(self.0.header(name, value))
    }

    /// Adds a query parameter; the host percent-encodes it. A repeated name is sent repeatedly.
    pub fn query(self, name: impl Into<String>, value: impl Display) -> Self {
        Self(self.0.query(name, value))
    }

    /// Sends bytes as they are. The content type is for the caller to set with [`header`](Self::header).
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self(self.0.body(body))
    }

    /// Sends a value as JSON, with its content type unless a header gave another.
    ///
    /// # Errors
    /// [`Error::Json`] when the value cannot be JSON.
    #[track_caller]
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        match self.0.json(value) {
            Ok(request) => Ok(Self(request)),
            Err(error) => Err(error),
        }
    }

    /// Sends pairs as `application/x-www-form-urlencoded`. A repeated name is sent repeatedly.
    pub fn form(self, pairs: impl IntoIterator<Item = (impl AsRef<str>, impl Display)>) -> Self {
        Self(self.0.form(pairs))
    }

    /// Sends fields and files as `multipart/form-data`.
    pub fn multipart(self, form: Multipart) -> Self {
        Self(self.0.multipart(form))
    }

    /// Whether the host decodes the answer's content encoding, as it does by default.
    pub fn decompress(self, decompress: bool) -> Self {
        Self(self.0.decompress(decompress))
    }

    /// Sends the request and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Http`] when the answer's status is outside of 200–299, [`Error::Network`] when there was no answer.
    #[track_caller]
    pub fn send(self) -> Result<Response, Error> {
        self.0.send()
    }

    /// Like [`send`](Self::send), but gives the answer whatever its status.
    ///
    /// # Errors
    /// [`Error::Network`] when there was no answer.
    #[track_caller]
    pub fn send_any(self) -> Result<Response, Error> {
        self.0.send_any()
    }
}
