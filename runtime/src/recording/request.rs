//! Requests in a recording: when two of them are the same, and which recorded one a request that was not recorded is nearest to.
//!
//! The same are those with the same method, path, query (in any order) and body (JSON in any notation), and with the headers that the
//! recorded one has. Of several recorded ones each is played once, in order; the last one of them ever after.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::{Body, Outcome};
use crate::spelling;

/// Headers that are never part of a recording: credentials, and what differs between two equal requests.
const LEFT_OUT: [&str; 12] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "user-agent",
    "accept",
    "accept-encoding",
    "content-length",
    "host",
    "connection",
    "date",
    "traceparent",
];
/// Answers' headers of which a recording keeps the name only.
const HIDDEN: [&str; 2] = ["set-cookie", "www-authenticate"];
const HIDDEN_VALUE: &str = "***";

/// What a function asked the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// In capitals.
    pub method: String,
    /// Without a query; begins with `/` unless it is a URL.
    pub path: String,
    /// Decoded and sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, String)>,
    /// Names in lower case, sorted; none of [`LEFT_OUT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    pub body: Body,
}

/// What the provider answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Request {
    /// `endpoint` may hold a query; `query` is added to it.
    #[must_use]
    pub fn new<'h>(
        method: &str,
        endpoint: &str,
        query: &[(String, String)],
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        body: Body,
    ) -> Self {
        let (path, in_path) = endpoint.split_once('?').unwrap_or((endpoint, ""));
        let mut pairs: Vec<(String, String)> = in_path
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name), decode(value))
            })
            .collect();
        pairs.extend(query.iter().cloned());
        pairs.sort();
        let mut headers: Vec<(String, String)> = headers
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
            .collect();
        headers.sort();
        let path = if path.contains("://") {
            path.to_owned()
        } else {
            format!("/{}", path.trim_start_matches('/'))
        };
        Self {
            method: method.to_ascii_uppercase(),
            path,
            query: pairs,
            headers,
            body,
        }
    }

    /// `GET /path?name=value`.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{} {}", self.method, self.path);
        for (index, (name, value)) in self.query.iter().enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            line.push_str(&format!("{separator}{name}={value}"));
        }
        line
    }

    /// Whether this one, which was recorded, is the one asked for.
    fn answers(&self, asked: &Self) -> bool {
        self.method == asked.method
            && self.path == asked.path
            && self.query == asked.query
            && self.body.is_like(&asked.body)
            && self
                .headers
                .iter()
                .all(|header| is_default(header) || asked.headers.contains(header))
    }

    /// What sets the two apart, first the greatest; and how far apart they are.
    fn distance(&self, asked: &Self) -> (usize, String) {
        if self.method != asked.method {
            return (
                1_000 + edits(&self.path, &asked.path),
                format!("the method is {}", self.method),
            );
        }
        if self.path != asked.path {
            return (100 + edits(&self.path, &asked.path), "the path differs".to_owned());
        }
        if self.query != asked.query {
            let differs = |pair: &&(String, String)| !asked.query.contains(pair);
            let count = self.query.iter().filter(differs).count() + self.query.len().abs_diff(asked.query.len());
            let recorded = self.query.iter().find(differs);
            let how = match recorded {
                Some((name, value)) => format!("there the query has {name}={value}"),
                None => "there the query has less".to_owned(),
            };
            return (10 + count, how);
        }
        if !self.body.is_like(&asked.body) {
            return (5, "the body differs".to_owned());
        }
        let missing = self.headers.iter().find(|header| !asked.headers.contains(header));
        match missing {
            Some((name, value)) => (1, format!("there the header {name} is {value:?}")),
            None => (0, "it differs in nothing that is known".to_owned()),
        }
    }
}

impl Exchange {
    #[must_use]
    pub fn new<'h>(status: u16, headers: impl IntoIterator<Item = (&'h str, String)>, body: &[u8]) -> Self {
        let headers = headers.into_iter().map(|(name, value)| {
            let value = if HIDDEN.contains(&name) {
                HIDDEN_VALUE.to_owned()
            } else {
                value
            };
            (name.to_owned(), value)
        });
        Self {
            status,
            headers: headers.collect(),
            body: Body::new(body),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        let content_type = self.headers.iter().find(|(name, _)| name == "content-type");
        content_type.is_none_or(|(_, value)| value.contains("json"))
    }
}

/// What clients add by themselves.
fn is_default((name, value): &(String, String)) -> bool {
    name == "content-type"
        && (value.starts_with("application/json") || value.starts_with("application/x-www-form-urlencoded"))
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

/// Recorded requests with their answers, from which requests are answered.
#[derive(Debug, Default)]
pub struct Book(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    request: Request,
    outcome: Outcome,
    used: bool,
}

impl Book {
    pub fn add(&mut self, request: Request, outcome: Outcome) {
        self.0.push(Entry {
            request,
            outcome,
            used: false,
        });
    }

    /// The recorded answer.
    ///
    /// # Errors
    ///
    /// Says that there is none, and which recorded request is nearest.
    pub fn answer(&mut self, asked: &Request) -> Result<Outcome, String> {
        let matching = |entry: &&mut Entry| entry.request.answers(asked);
        let fresh = self.0.iter_mut().filter(matching).find(|entry| !entry.used);
        if let Some(entry) = fresh {
            entry.used = true;
            return Ok(entry.outcome.clone());
        }
        let again = self.0.iter().rev().find(|entry| entry.request.answers(asked));
        again.map(|entry| entry.outcome.clone()).ok_or_else(|| self.miss(asked))
    }

    fn miss(&self, asked: &Request) -> String {
        let distances = self
            .0
            .iter()
            .map(|entry| (entry.request.distance(asked), &entry.request));
        match distances.min_by_key(|((distance, _), _)| *distance) {
            None => format!("{} was not recorded; no request was", asked.line()),
            Some(((_, how), nearest)) => format!(
                "{} was not recorded; the nearest recorded request is {}: {how}",
                asked.line(),
                nearest.line()
            ),
        }
    }

    /// Recorded requests that were never asked for.
    #[must_use]
    pub fn unused(&self) -> Vec<String> {
        let unused = self.0.iter().filter(|entry| !entry.used);
        unused.map(|entry| entry.request.line()).collect()
    }
}

/// Letters that differ, of texts that are cut to a length at which that is cheap.
fn edits(a: &str, b: &str) -> usize {
    const BYTES_MAX: usize = 200;
    let cut = |text: &str| text.bytes().take(BYTES_MAX).collect::<Vec<u8>>();
    spelling::edits(&cut(a), &cut(b))
}
