//! Requests to the provider's API, built step by step and sent through the host.
//!
//! Credentials are no part of a request: the host adds those of the run's connection.

use std::fmt::Display;

use serde::Serialize;

use crate::bindings::nango::functions::{nango as wire, random, types};
use crate::error::{Error, Place};
use crate::form;
use crate::multipart::{self, Multipart};
use crate::response::{Response, answered};

/// The import that sends a request of a method. Each verb brings its own, so that a component imports those only that it uses: what it
/// imports is what it can do.
pub(crate) type Call = fn(&str, &wire::Request) -> Result<wire::Response, types::Error>;

pub(crate) const GET: Call = |_, request| wire::get(request);
pub(crate) const POST: Call = |_, request| wire::post(request);
pub(crate) const PUT: Call = |_, request| wire::put(request);
pub(crate) const PATCH: Call = |_, request| wire::patch(request);
pub(crate) const DELETE: Call = |_, request| wire::delete(request);

/// A request that has not been sent yet; made by [`Nango::get`](crate::Nango::get) and its like.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    pub(crate) method: String,
    call: Call,
    pub(crate) inner: wire::Request,
}

impl Request {
    pub(crate) fn new(method: impl Into<String>, call: Call, path: impl Into<String>) -> Self {
        let inner = wire::Request {
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            options: Vec::new(),
        };
        Self {
            method: method.into(),
            call,
            inner,
        }
    }

    /// Adds a header. It overrides one of the provider's defaults, but never the credentials.
    pub fn header(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.inner.headers.push((name.into(), value.to_string()));
        self
    }

    /// Adds a query parameter; the host percent-encodes it. A repeated name is sent repeatedly.
    pub fn query(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.inner.query.push((name.into(), value.to_string()));
        self
    }

    /// Adds a query parameter for a list, its values joined by commas: `ids=1,2,3`. For `ids=1&ids=2&ids=3` call
    /// [`query`](Self::query) for each.
    pub fn query_list(self, name: impl Into<String>, values: impl IntoIterator<Item = impl Display>) -> Self {
        let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        self.query(name, values.join(","))
    }

    /// Adds a query string, as in `state=open&sort=created`, which is sent byte for byte.
    pub fn query_string(mut self, query: &str) -> Self {
        let path = &mut self.inner.path;
        if !path.contains('?') {
            path.push('?');
        } else if !path.ends_with(['?', '&']) {
            path.push('&');
        }
        path.push_str(query.trim_start_matches(['?', '&']));
        self
    }

    /// How often the host tries again after a failure that may pass: 0 by default, 10 at most.
    pub fn retries(self, retries: u32) -> Self {
        self.option("retries", retries.to_string())
    }

    /// Answers with these statuses are tried again, besides those the host retries anyway.
    pub fn retry_on(self, statuses: &[u16]) -> Self {
        let list: Vec<String> = statuses.iter().map(u16::to_string).collect();
        self.option("retry-on", list.join(","))
    }

    /// Names response headers that hold the time to retry at: epoch seconds or milliseconds, or a date. Of several the
    /// latest counts. They come before what the host knows of the provider.
    pub fn retry_header_at(self, names: &[&str]) -> Self {
        self.option("retry-header-at", names.join(","))
    }

    /// Names response headers that hold the seconds to wait before a retry, or the date the wait ends; otherwise like
    /// [`retry_header_at`](Self::retry_header_at), and read before those.
    pub fn retry_header_after(self, names: &[&str]) -> Self {
        self.option("retry-header-after", names.join(","))
    }

    /// Sends the request to another base URL than the provider's, if the operator's egress policy allows it.
    pub fn base_url_override(self, url: impl Into<String>) -> Self {
        self.option("base-url-override", url.into())
    }

    /// Whether the host decodes the answer's content encoding, as it does by default. Who turns it off gets the bytes as they came,
    /// and asks for an encoding with the header `accept-encoding`.
    pub fn decompress(self, decompress: bool) -> Self {
        self.option("decompress", decompress.to_string())
    }

    /// Whether credentials follow a redirect to another origin. By default they do only if the provider's data says so.
    pub fn forward_headers_on_redirect(self, forward: bool) -> Self {
        self.option("forward-headers-on-redirect", forward.to_string())
    }

    /// Sends bytes as they are. The content type is for the caller to set with [`header`](Self::header).
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.inner.body = Some(body.into());
        self
    }

    /// Sends a value as JSON, with its content type unless a header gave another.
    ///
    /// # Errors
    /// [`Error::Json`] when the value cannot be JSON, for example a map whose keys are no strings.
    #[track_caller]
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        let body = match serde_json::to_vec(value) {
            Ok(body) => body,
            Err(source) => {
                let what = format!("cannot write the body of {} {}", self.method, self.inner.path);
                return Err(Error::json(what, source));
            }
        };
        if self.content_type().is_none() {
            self = self.header("content-type", "application/json");
        }
        Ok(self.body(body))
    }

    /// Sends pairs as `application/x-www-form-urlencoded`. A repeated name is sent repeatedly.
    ///
    /// ```
    /// # use nango_guest_sdk::prelude::*;
    /// fn note(nango: &Nango, text: &str) -> Result<Value, Error> {
    ///     nango.post("/notes").form([("text", text), ("kind", "private")]).send()?.json()
    /// }
    /// ```
    pub fn form(mut self, pairs: impl IntoIterator<Item = (impl AsRef<str>, impl Display)>) -> Self {
        let mut body = String::new();
        for (name, value) in pairs {
            form::push_pair(&mut body, name.as_ref(), &value.to_string());
        }
        if self.content_type().is_none() {
            self = self.header("content-type", form::CONTENT_TYPE);
        }
        self.body(body)
    }

    /// Sends fields and files as `multipart/form-data`.
    pub fn multipart(mut self, form: Multipart) -> Self {
        let (body, content_type) = form.write(&random::bytes(multipart::BOUNDARY_BYTES));
        // Only this one names the boundary.
        self.inner
            .headers
            .retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        self.header("content-type", content_type).body(body)
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        let mut headers = self.inner.headers.iter();
        let header = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        header.map(|(_, value)| value.as_str())
    }

    /// Sends the request and waits for the answer.
    ///
    /// # Errors
    /// [`Error::Http`] when the answer's status is outside of 200–299, [`Error::Network`] when there was no answer.
    #[track_caller]
    pub fn send(self) -> Result<Response, Error> {
        self.send_any()?.error_for_status()
    }

    /// Like [`send`](Self::send), but gives the answer whatever its status.
    ///
    /// # Errors
    /// [`Error::Network`] when there was no answer.
    #[track_caller]
    pub fn send_any(self) -> Result<Response, Error> {
        self.send_any_at(Place::here())
    }

    /// Sends a request that an earlier call, at `place`, is about.
    pub(crate) fn send_any_at(self, place: Place) -> Result<Response, Error> {
        let call = self.call;
        let (mut origin, inner) = self.split();
        origin.place = place;
        let result = call(&origin.method, &inner);
        answered(origin, result)
    }

    #[track_caller]
    pub(crate) fn start(self) -> Pending {
        self.start_at(Place::here())
    }

    /// Starts such a request.
    pub(crate) fn start_at(self, place: Place) -> Pending {
        let (mut origin, inner) = self.split();
        origin.place = place;
        let inner = wire::start(&origin.method, &inner);
        Pending { origin, inner }
    }

    #[track_caller]
    pub(crate) fn split(self) -> (Origin, wire::Request) {
        let origin = Origin {
            method: self.method,
            path: self.inner.path.clone(),
            place: Place::here(),
        };
        (origin, self.inner)
    }

    fn option(mut self, name: &str, value: String) -> Self {
        self.inner.options.push((name.to_owned(), value));
        self
    }
}

/// What an answer or an error remembers of its request.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) place: Place,
}

/// A request under way; made by [`Nango::start`](crate::Nango::start). Dropping it aborts the request.
#[derive(Debug)]
#[must_use = "dropping it aborts the request"]
pub struct Pending {
    origin: Origin,
    inner: wire::Pending,
}

impl Pending {
    /// Waits for the answer.
    ///
    /// # Errors
    /// As for [`Request::send`].
    pub fn wait(self) -> Result<Response, Error> {
        self.wait_any()?.error_for_status()
    }

    /// Like [`wait`](Self::wait), but gives the answer whatever its status.
    ///
    /// # Errors
    /// [`Error::Network`] when there was no answer.
    pub fn wait_any(self) -> Result<Response, Error> {
        answered(self.origin, self.inner.wait())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_what_the_host_is_asked() -> Result<(), Error> {
        let request = Request::new("POST", POST, "/issues")
            .query("page", 2)
            .header("accept", "application/json")
            .retries(3)
            .retry_on(&[423, 500])
            .retry_header_at(&["x-reset", "x-other"])
            .retry_header_after(&["x-wait"])
            .base_url_override("https://eu.example.com")
            .decompress(false)
            .forward_headers_on_redirect(true)
            .json(&["a"])?;
        assert_eq!(request.inner.query, [("page".to_owned(), "2".to_owned())]);
        let headers: Vec<_> = request.inner.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(headers, ["accept", "content-type"]);
        let options: Vec<_> = request.inner.options.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(
            options,
            [
                "3",
                "423,500",
                "x-reset,x-other",
                "x-wait",
                "https://eu.example.com",
                "false",
                "true"
            ]
        );
        assert_eq!(request.inner.body.as_deref(), Some(br#"["a"]"#.as_slice()));
        Ok(())
    }

    #[test]
    fn keeps_a_content_type_of_the_caller() -> Result<(), Error> {
        let request = Request::new("POST", POST, "/")
            .header("Content-Type", "application/vnd.api+json")
            .json(&1)?;
        assert_eq!(request.inner.headers.len(), 1);
        Ok(())
    }

    #[test]
    fn writes_queries_and_forms() {
        let request = Request::new("POST", POST, "/x?a=1")
            .query_string("b=2&c=%20")
            .query_string("?d")
            .query_list("ids", [1, 2])
            .query("ids", 3)
            .form([("q", "a b"), ("q", "c")]);
        assert_eq!(request.inner.path, "/x?a=1&b=2&c=%20&d");
        let query: Vec<_> = request.inner.query.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(query, ["1,2", "3"]);
        assert_eq!(request.inner.body.as_deref(), Some(b"q=a+b&q=c".as_slice()));
        assert_eq!(request.content_type(), Some("application/x-www-form-urlencoded"));
        assert_eq!(Request::new("GET", GET, "/x").query_string("a").inner.path, "/x?a");
    }

    #[test]
    fn remembers_where_it_was_sent() {
        let (origin, _) = Request::new("GET", GET, "/user").split();
        assert_eq!(origin.place.to_string(), format!("{}:{}", file!(), line!() - 1));
    }
}
