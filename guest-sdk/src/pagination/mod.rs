//! Lists page by page: by cursor, by link and by offset.
//!
//! [`Paginate`] says how, `options` checks it, `course` goes from page to page, `pages` hands them out. `parameter` puts cursors and offsets into requests,
//! `path` finds values in answers, `trail` notices circles.

mod course;
mod error;
mod options;
mod page;
mod pages;
mod parameter;
mod path;
mod trail;

use std::fmt;

use serde::de::DeserializeOwned;

use crate::error::{Error, Place};
use crate::request::Request;
use course::Setup;
use options::{Calculation, Kind, Options};
use pages::OnPage;

pub use error::PaginationError;
pub use page::Page;
pub use pages::{Items, Pages};

/// Pages a pagination takes unless [`Paginate::pages_max`] says otherwise.
const PAGES_MAX: u32 = 10_000;

/// A list to go through page by page, made by [`Nango::paginate`](crate::Nango::paginate).
///
/// What is not said here is as in the provider's data (`proxy.paginate` of its catalogue entry).
///
/// ```
/// # use nango_guest_sdk::prelude::*;
/// # #[derive(Serialize, Deserialize, JsonSchema)] struct Issue { id: u64 }
/// fn all(nango: &Nango) -> Result<(), Error> {
///     for page in nango.paginate(nango.get("/issues")).link_rel("next").limit(100, "per_page") {
///         let issues: Vec<Issue> = page?.items()?;
///         nango.records().save(&issues)?;
///     }
///     Ok(())
/// }
///
/// fn count_open(nango: &Nango) -> Result<usize, Error> {
///     let request = nango.post("/issues/search").json(&json!({"state": "open"}))?;
///     let issues = nango.paginate(request).cursor("meta.next", "cursor").response_path("data").items::<Issue>();
///     issues.map(|issue| issue.map(|_| 1)).sum()
/// }
/// ```
///
/// The next page is requested while the current one is worked on; never more than one. Dropping the iterator aborts that request.
/// Every page is sent with the options, headers and retries of the request.
///
/// A pagination ends with an error where it would never end: when a cursor or link comes again, when another offset gives the same
/// page, and after [`pages_max`](Self::pages_max) pages. Credentials follow a link only to the provider's own hosts and those that
/// the operator listed.
#[must_use = "it does nothing until its pages or items are taken"]
pub struct Paginate<'a> {
    setup: Setup,
    on_page: Option<OnPage<'a>>,
    place: Place,
}

impl<'a> Paginate<'a> {
    #[track_caller]
    pub(crate) fn new(request: Request) -> Self {
        Self {
            setup: Setup {
                request,
                options: Options::default(),
                start: None,
                pages_max: PAGES_MAX,
                ahead: true,
            },
            on_page: None,
            place: Place::here(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.setup.options);
        self
    }

    /// Each answer holds a cursor at `path_in_response`, which is sent for the next page as the parameter `name_in_request`. Text
    /// and numbers are cursors. The end is where there is none, or no item.
    ///
    /// Paths lead through objects by dots (`meta.next`) or are JSON pointers (`/meta/next`).
    pub fn cursor(self, path_in_response: impl Into<String>, name_in_request: impl Into<String>) -> Self {
        self.with(|options| {
            options.kind = Some(Kind::Cursor);
            options.cursor_path_in_response = Some(path_in_response.into());
            options.cursor_name_in_request = Some(name_in_request.into());
        })
    }

    /// Each answer has a header `Link` (RFC 8288) to the next page, under that relation: mostly `next`.
    pub fn link_rel(self, relation: impl Into<String>) -> Self {
        self.with(|options| {
            options.kind = Some(Kind::Link);
            options.link_rel_in_response_header = Some(relation.into());
        })
    }

    /// Each answer has the link to the next page in its body. With [`link_rel`](Self::link_rel) as well, the header goes first.
    ///
    /// A link to another host is followed if the provider or the operator allows the host; one that begins with `/` is below the
    /// base URL.
    pub fn link_path(self, path_in_response: impl Into<String>) -> Self {
        self.with(|options| {
            options.kind = Some(Kind::Link);
            options.link_path_in_response_body = Some(path_in_response.into());
        })
    }

    /// Pages begin at an item, counted from 0, whose number is sent as the parameter `name_in_request`. The end is where there is
    /// no item, or where there are fewer than the limit.
    pub fn offset(self, name_in_request: impl Into<String>) -> Self {
        self.with(|options| {
            options.kind = Some(Kind::Offset);
            options.offset_name_in_request = Some(name_in_request.into());
            options.offset_calculation_method = Some(Calculation::ByResponseSize);
        })
    }

    /// Pages have numbers, sent as the parameter `name_in_request`; `first` is mostly 1. The end is as for
    /// [`offset`](Self::offset).
    pub fn page_number(self, name_in_request: impl Into<String>, first: u64) -> Self {
        self.with(|options| {
            options.kind = Some(Kind::Offset);
            options.offset_name_in_request = Some(name_in_request.into());
            options.offset_start_value = Some(first);
            options.offset_calculation_method = Some(Calculation::PerPage);
        })
    }

    /// The offset of the first page, 0 by default.
    pub fn offset_start(self, value: u64) -> Self {
        self.with(|options| options.offset_start_value = Some(value))
    }

    /// How many items a page is to have, and the parameter to ask for it. With offsets and page numbers it must not be more than
    /// the API gives: a page with fewer is taken for the last one.
    pub fn limit(self, items: u32, name_in_request: impl Into<String>) -> Self {
        self.with(|options| {
            options.limit = Some(items);
            options.limit_name_in_request = Some(name_in_request.into());
        })
    }

    /// How many items a page is to have, asked for with the parameter that the provider's data names.
    pub fn page_size(self, items: u32) -> Self {
        self.with(|options| options.limit = Some(items))
    }

    /// Where in an answer the items are, as in `data.items`; empty when the answer itself is the list.
    pub fn response_path(self, path: impl Into<String>) -> Self {
        self.with(|options| options.response_path = Some(path.into()))
    }

    /// Whether parameters go into the body (JSON or a form) instead of the query: by default those of POST, PUT and PATCH do. In
    /// a JSON body dots in a parameter's name lead into objects: `variables.after`.
    pub fn in_body(self, in_body: bool) -> Self {
        self.with(|options| options.in_body = Some(in_body))
    }

    /// Begins at what [`Page::next_page`] gave in an earlier run; an empty text is the beginning. A cursor is sent as text.
    pub fn starting_at(mut self, next_page: impl Into<String>) -> Self {
        self.setup.start = Some(next_page.into()).filter(|start| !start.is_empty());
        self
    }

    /// Is called with each page after it was worked on, before the next one is handed out.
    pub fn on_page(mut self, call: impl FnMut(&Page) -> Result<(), Error> + 'a) -> Self {
        self.on_page = Some(Box::new(call));
        self
    }

    /// How many pages may come, 10,000 by default. When there are more, the one after them is an error.
    pub fn pages_max(mut self, pages_max: u32) -> Self {
        self.setup.pages_max = pages_max;
        self
    }

    /// Whether the next page is requested while the current one is worked on, as it is by default.
    pub fn ahead(mut self, ahead: bool) -> Self {
        self.setup.ahead = ahead;
        self
    }

    /// The pages, one after the other. `for page in …` does the same.
    pub fn pages(self) -> Pages<'a> {
        Pages::new(self.setup, self.on_page, self.place)
    }

    /// The items of all pages, one after the other.
    pub fn items<T: DeserializeOwned>(self) -> Items<'a, T> {
        Items::new(self.pages())
    }
}

impl<'a> IntoIterator for Paginate<'a> {
    type Item = Result<Page, Error>;
    type IntoIter = Pages<'a>;

    fn into_iter(self) -> Pages<'a> {
        self.pages()
    }
}

impl fmt::Debug for Paginate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paginate")
            .field("request", &self.setup.request)
            .field("options", &self.setup.options)
            .finish_non_exhaustive()
    }
}
