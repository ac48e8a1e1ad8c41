//! What a function iterates over: the pages of a list, or their items.

use std::fmt;

use serde::de::DeserializeOwned;

use super::course::{Course, Setup};
use super::page::Page;
use crate::error::{Error, Place};

/// What is called with every page.
pub(super) type OnPage<'a> = Box<dyn FnMut(&Page) -> Result<(), Error> + 'a>;

/// The pages of a list, one after the other; from [`Paginate`](crate::Paginate). Dropping it aborts the request under way.
#[must_use = "pages are requested as they are taken"]
pub struct Pages<'a> {
    stage: Stage,
    on_page: Option<OnPage<'a>>,
    /// The page handed out last, for `on_page`.
    handed_out: Option<Page>,
    place: Place,
}

enum Stage {
    Fresh(Box<Setup>),
    Going(Box<Course>),
    Over,
}

impl<'a> Pages<'a> {
    pub(super) fn new(setup: Setup, on_page: Option<OnPage<'a>>, place: Place) -> Self {
        Self {
            stage: Stage::Fresh(Box::new(setup)),
            on_page,
            handed_out: None,
            place,
        }
    }

    fn advance(&mut self) -> Result<Option<Page>, Error> {
        if let Some(page) = self.handed_out.take()
            && let Some(on_page) = &mut self.on_page
        {
            on_page(&page)?;
        }
        let mut course = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Fresh(setup) => Box::new(Course::begin(*setup, self.place)?),
            Stage::Going(course) => course,
            Stage::Over => return Ok(None),
        };
        let page = course.next_page()?;
        if page.is_some() {
            self.stage = Stage::Going(course);
        }
        if self.on_page.is_some() {
            self.handed_out.clone_from(&page);
        }
        Ok(page)
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<Page, Error>;

    /// The next page. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        let page = self.advance();
        if page.is_err() {
            self.stage = Stage::Over;
            self.handed_out = None;
        }
        page.transpose()
    }
}

impl std::iter::FusedIterator for Pages<'_> {}

impl fmt::Debug for Pages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}

/// The items of all pages; from [`Paginate::items`](crate::Paginate::items).
#[must_use = "pages are requested as their items are taken"]
pub struct Items<'a, T> {
    pages: Pages<'a>,
    page: std::vec::IntoIter<T>,
}

impl<'a, T> Items<'a, T> {
    pub(super) fn new(pages: Pages<'a>) -> Self {
        Self {
            pages,
            page: Vec::new().into_iter(),
        }
    }
}

impl<T: DeserializeOwned> Iterator for Items<'_, T> {
    type Item = Result<T, Error>;

    /// The next item. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.page.next() {
                return Some(Ok(item));
            }
            let items = self.pages.next()?.and_then(|page| page.items());
            match items {
                Ok(items) => self.page = items.into_iter(),
                Err(error) => {
                    self.pages.stage = Stage::Over;
                    self.pages.handed_out = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl<T> fmt::Debug for Items<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}
