//! One page of a list.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::error::PaginationError;
use super::options::Plan;
use super::path;
use crate::error::{Error, Place};
use crate::response::Response;

/// One page of a list; from [`Paginate`](crate::Paginate). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Page(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    response: Response,
    plan: Rc<Plan>,
    place: Place,
    /// The list as JSON text, once it was read; none when nothing is there. What is moved into the function's memory is moved
    /// once.
    items: OnceCell<Option<String>>,
    next: OnceCell<String>,
}

impl Page {
    pub(super) fn new(response: Response, plan: Rc<Plan>, place: Place) -> Self {
        Self(Rc::new(Inner {
            response,
            plan,
            place,
            items: OnceCell::new(),
            next: OnceCell::new(),
        }))
    }

    /// The items. No list at all counts as an empty one, since some APIs leave it out when it is empty.
    ///
    /// # Errors
    /// [`Error::Json`] when an item does not fit `T`, [`Error::Pagination`] when something else than a list is there,
    /// [`Error::Host`] when the answer is no JSON.
    pub fn items<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let Some(json) = self.json()? else {
            return Ok(Vec::new());
        };
        match serde_json::from_slice(json.as_bytes()) {
            Ok(items) => Ok(items),
            Err(source) => Err(Error::Json {
                what: format!("cannot read the items {}", self.whereabouts()),
                source,
                place: self.0.place,
            }),
        }
    }

    /// What leads to the next page: the cursor, the link or the offset; none on the last page. A checkpoint that keeps it lets a
    /// later run go on there, with [`Paginate::starting_at`](crate::Paginate::starting_at).
    ///
    /// With offsets a page may turn out to have been the last only when the next one is empty.
    #[must_use]
    pub fn next_page(&self) -> Option<&str> {
        self.0.next.get().map(String::as_str)
    }

    /// The whole answer.
    #[must_use]
    pub fn response(&self) -> &Response {
        &self.0.response
    }

    pub(super) fn set_next(&self, next: &str) {
        // It is set once, before anybody sees the page.
        let _ = self.0.next.set(next.to_owned());
    }

    pub(super) fn is_empty(&self) -> Result<bool, Error> {
        let json = self.json()?.unwrap_or("[]");
        let after_bracket = json.trim_ascii_start().strip_prefix('[').unwrap_or(json);
        Ok(after_bracket.trim_ascii_start().starts_with(']'))
    }

    /// How many items there are.
    pub(super) fn count(&self) -> Result<u64, Error> {
        let Some(json) = self.json()? else { return Ok(0) };
        match serde_json::Deserializer::from_slice(json.as_bytes()).deserialize_seq(Count) {
            Ok(count) => Ok(count),
            Err(source) => Err(Error::Json {
                what: format!("cannot read the items {}", self.whereabouts()),
                source,
                place: self.0.place,
            }),
        }
    }

    /// The list as JSON text, none when nothing is there.
    pub(super) fn json(&self) -> Result<Option<&str>, Error> {
        let inner = &*self.0;
        if let Some(json) = inner.items.get() {
            return Ok(json.as_deref());
        }
        let json = value_at(&inner.response, &inner.plan.response_path, inner.place)?;
        let found = match json.as_deref().unwrap_or("[").trim_ascii_start().bytes().next() {
            Some(b'[') => return Ok(inner.items.get_or_init(|| json).as_deref()),
            Some(b'{') => "an object",
            Some(b'"') => "text",
            Some(_) | None => "something else",
        };
        Err(Error::Pagination {
            source: Box::new(PaginationError::NoList {
                place: self.whereabouts(),
                found,
            }),
            place: inner.place,
        })
    }

    fn whereabouts(&self) -> String {
        match self.0.plan.response_path.as_str() {
            "" => "at the top".to_owned(),
            path => format!("at `{path}`"),
        }
    }
}

/// The value at a path of the answer as JSON text. Only the value crosses into the function's memory. Null, and an answer without
/// a body, count as nothing.
pub(super) fn value_at(response: &Response, path: &str, place: Place) -> Result<Option<String>, Error> {
    const NO_CONTENT: u16 = 204;
    if response.status() == NO_CONTENT {
        return Ok(None);
    }
    if path.is_empty() {
        // As it is: whoever reads it sees whether it is JSON, so that the host need not.
        let text = response.text_at(place)?;
        return Ok(Some(text).filter(|text| !matches!(text.trim_ascii(), "" | "null")));
    }
    for pointer in path::pointers(path) {
        let value = response.value_at(&pointer, place)?;
        if let Some(value) = value.filter(|value| value != "null") {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Counts the elements of a list without keeping them.
struct Count;

impl<'de> Visitor<'de> for Count {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u64, A::Error> {
        let mut count = 0;
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}
