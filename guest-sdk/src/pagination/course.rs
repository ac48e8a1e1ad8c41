//! The way from page to page: what each answer leads to, and whether the pagination may go there. What a value means is for the
//! leaves beside it.

use std::rc::Rc;

use super::error::PaginationError;
use super::options::{Calculation, Options, Plan, Way};
use super::page::{Page, value_at};
use super::parameter::Parameter;
use super::trail::{Trail, digest};
use crate::bindings::nango::functions::{connection, pagination as wire};
use crate::error::{Error, Place};
use crate::link::{self, Destination};
use crate::request::{Pending, Request};
use crate::response::Response;

/// Scheme, host and port to send to instead of the base URL.
const BASE_URL_OVERRIDE: &str = "base-url-override";
/// The host's code for a host that may not be named.
const HOST_NOT_ALLOWED: &str = "base_url_override_not_allowed";

/// What a function asked for.
pub(super) struct Setup {
    pub(super) request: Request,
    pub(super) options: Options,
    pub(super) start: Option<String>,
    pub(super) pages_max: u32,
    pub(super) ahead: bool,
}

/// A pagination under way.
pub(super) struct Course {
    plan: Rc<Plan>,
    /// With `Way::Link` the last one sent, otherwise the one that every page's is made of.
    request: Request,
    due: Due,
    trail: Trail,
    /// The last offset sent.
    offset: u64,
    /// Digest of the last page, to notice that an offset is not understood.
    last_page: Option<u64>,
    pages: u32,
    pages_max: u32,
    ahead: bool,
    place: Place,
}

/// What comes next.
enum Due {
    /// Under way while the page before it is worked on.
    Started(Pending),
    Request(Request),
    Failure(PaginationError),
    Nothing,
}

/// The request for the page after one, if there is such a page, or why it cannot be made.
type Next = Option<Result<Request, PaginationError>>;

impl Course {
    pub(super) fn begin(setup: Setup, place: Place) -> Result<Self, Error> {
        let failed = |error: PaginationError| error.at(place);
        let defaults = match wire::defaults() {
            Ok(Some(json)) => match serde_json::from_slice(json.as_bytes()) {
                Ok(provider) => Options::read(&provider),
                Err(source) => {
                    return Err(Error::Json {
                        what: "cannot read how the provider gives its pages".to_owned(),
                        source,
                        place,
                    });
                }
            },
            Ok(None) => Options::default(),
            Err(error) => {
                return Err(Error::Host {
                    source: Box::new(error.into()),
                    place,
                });
            }
        };
        let mut request = setup.request;
        let plan = setup.options.over(defaults).plan(&request.method).map_err(failed)?;
        let plan = plan.ok_or_else(|| {
            failed(PaginationError::NoOptions {
                provider: connection::provider(),
            })
        })?;
        if let (Some(limit), Some(name)) = (plan.limit, &plan.limit_name) {
            Parameter::from(u64::from(limit))
                .set(&mut request, name, plan.in_body)
                .map_err(failed)?;
        }
        let mut course = Self {
            plan: Rc::new(plan),
            request,
            due: Due::Nothing,
            trail: Trail::default(),
            offset: 0,
            last_page: None,
            pages: 0,
            pages_max: setup.pages_max,
            ahead: setup.ahead,
            place,
        };
        let first = course.first(setup.start.as_deref()).map_err(failed)?;
        course.due = Due::Request(first);
        Ok(course)
    }

    fn first(&mut self, start: Option<&str>) -> Result<Request, PaginationError> {
        let plan = Rc::clone(&self.plan);
        match (&plan.way, start) {
            (Way::Offset { name, start, .. }, None) => self.go_to_offset(*start, name),
            (Way::Offset { name, .. }, Some(text)) => match text.trim().parse() {
                Ok(offset) => self.go_to_offset(offset, name),
                Err(_) => Err(PaginationError::StartNoNumber { text: text.to_owned() }),
            },
            (Way::Cursor { .. } | Way::Link { .. }, None) => Ok(self.request.clone()),
            (Way::Cursor { name, .. }, Some(cursor)) => self.go_to_cursor(&Parameter::Text(cursor.to_owned()), name),
            (Way::Link { .. }, Some(link)) => self.go_to_link(link),
        }
    }

    /// None after the last one.
    pub(super) fn next_page(&mut self) -> Result<Option<Page>, Error> {
        let response = match std::mem::replace(&mut self.due, Due::Nothing) {
            Due::Nothing => return Ok(None),
            Due::Failure(error) => return Err(error.at(self.place)),
            Due::Request(request) => request.send_any_at(self.place).and_then(Response::error_for_status),
            Due::Started(pending) => pending.wait(),
        };
        let response = response.map_err(|error| self.explain(error))?;
        let page = Page::new(response, Rc::clone(&self.plan), self.place);
        self.pages = self.pages.saturating_add(1);
        let plan = Rc::clone(&self.plan);
        let next = match &plan.way {
            Way::Link { relation, path } => self.after_link(&page, relation.as_deref(), path.as_deref())?,
            Way::Cursor { .. } | Way::Offset { .. } if page.is_empty()? => return Ok(None),
            Way::Cursor { path, name } => self.after_cursor(&page, path, name)?,
            Way::Offset { name, calculation, .. } => self.after_offset(&page, name, *calculation)?,
        };
        self.due = match next {
            None => Due::Nothing,
            Some(Err(error)) => Due::Failure(error),
            Some(Ok(_)) if self.pages >= self.pages_max => Due::Failure(PaginationError::TooManyPages {
                pages_max: self.pages_max,
            }),
            Some(Ok(request)) if self.ahead => Due::Started(request.start_at(self.place)),
            Some(Ok(request)) => Due::Request(request),
        };
        Ok(Some(page))
    }

    fn after_cursor(&mut self, page: &Page, path: &str, name: &str) -> Result<Next, Error> {
        let value = value_at(page.response(), path, self.place)?;
        let cursor = value.as_deref().and_then(Parameter::of_cursor);
        Ok(cursor.map(|cursor| {
            page.set_next(cursor.text());
            self.go_to_cursor(&cursor, name)
        }))
    }

    fn after_link(&mut self, page: &Page, relation: Option<&str>, path: Option<&str>) -> Result<Next, Error> {
        let mut link = relation.and_then(|relation| page.response().link(relation));
        if let (None, Some(path)) = (&link, path) {
            let value = value_at(page.response(), path, self.place)?;
            // What is no text is no link.
            link = value.and_then(|json| serde_json::from_slice(json.as_bytes()).ok());
        }
        let link = link.filter(|link: &String| !link.trim().is_empty());
        Ok(link.map(|link| {
            page.set_next(&link);
            self.go_to_link(&link)
        }))
    }

    fn after_offset(&mut self, page: &Page, name: &str, calculation: Calculation) -> Result<Next, Error> {
        let count = page.count()?;
        if self.plan.limit.is_some_and(|limit| count < u64::from(limit)) {
            return Ok(None);
        }
        // Lists of bare values may well hold the same ones twice.
        let of_objects = page.json()?.filter(|json| json.contains('{'));
        let digest = of_objects.map(digest);
        if digest.is_some() && digest == self.last_page {
            let error = PaginationError::SamePage {
                offset: self.offset,
                name: name.to_owned(),
            };
            return Err(error.at(self.place));
        }
        self.last_page = digest;
        let next = self.offset.saturating_add(match calculation {
            Calculation::ByResponseSize => count,
            Calculation::PerPage => 1,
        });
        page.set_next(&next.to_string());
        Ok(Some(self.go_to_offset(next, name)))
    }

    fn go_to_cursor(&mut self, cursor: &Parameter, name: &str) -> Result<Request, PaginationError> {
        self.goes_on("cursor", cursor.text())?;
        let mut request = self.request.clone();
        cursor.set(&mut request, name, self.plan.in_body)?;
        Ok(request)
    }

    fn go_to_offset(&mut self, offset: u64, name: &str) -> Result<Request, PaginationError> {
        self.offset = offset;
        let mut request = self.request.clone();
        Parameter::from(offset).set(&mut request, name, self.plan.in_body)?;
        Ok(request)
    }

    /// A link holds all parameters. One with an origin is sent there as an override of the base URL, for which the host has its
    /// policy: credentials go to the provider's own hosts and to those that the operator listed.
    fn go_to_link(&mut self, link: &str) -> Result<Request, PaginationError> {
        self.goes_on("link", link)?;
        let Some(Destination { origin, path }) = link::resolve(link, &self.request.inner.path) else {
            return Err(PaginationError::BadLink { link: link.to_owned() });
        };
        let inner = &mut self.request.inner;
        if let Some(origin) = origin {
            inner.options.retain(|(name, _)| name != BASE_URL_OVERRIDE);
            inner.options.push((BASE_URL_OVERRIDE.to_owned(), origin));
        }
        inner.path = path;
        inner.query.clear();
        Ok(self.request.clone())
    }

    fn goes_on(&mut self, what: &'static str, to: &str) -> Result<(), PaginationError> {
        if self.trail.goes_on(to) {
            return Ok(());
        }
        Err(PaginationError::Circle {
            what,
            to: to.to_owned(),
            page: self.pages,
        })
    }

    /// The host speaks of an override, of which the function knows nothing when it came from a link.
    fn explain(&self, error: Error) -> Error {
        let is_link = matches!(self.plan.way, Way::Link { .. }) && self.pages > 0;
        let options = &self.request.inner.options;
        let origin = options.iter().find(|(name, _)| name == BASE_URL_OVERRIDE);
        match (error, origin) {
            (Error::Network { source, .. }, Some((_, origin))) if is_link && source.code == HOST_NOT_ALLOWED => {
                let origin = origin.clone();
                PaginationError::ForeignHost { origin, source }.at(self.place)
            }
            (error, _) => error,
        }
    }
}

impl PaginationError {
    fn at(self, place: Place) -> Error {
        Error::Pagination {
            source: Box::new(self),
            place,
        }
    }
}
