//! Lists page by page, in all the ways there are.

use std::cell::Cell;
use std::time::Duration;

use nango_guest_sdk::prelude::*;
use nango_guest_sdk::{Paginate, Request};

#[derive(Deserialize, JsonSchema)]
pub struct List {
    path: String,
    method: Option<String>,
    body: Option<Value>,
    form: Option<Vec<(String, String)>>,
    retries: Option<u32>,
    /// Path in the answer, and name in the request.
    cursor: Option<(String, String)>,
    link_rel: Option<String>,
    link_path: Option<String>,
    offset: Option<String>,
    /// Name in the request, and number of the first.
    page_number: Option<(String, u64)>,
    offset_start: Option<u64>,
    limit: Option<(u32, String)>,
    page_size: Option<u32>,
    response_path: Option<String>,
    in_body: Option<bool>,
    starting_at: Option<String>,
    pages_max: Option<u32>,
    ahead: Option<bool>,
    /// Pages to take at most.
    take: Option<usize>,
    /// How long to work on a page, and what to request then.
    work: Option<(u64, String)>,
}

#[derive(Serialize, JsonSchema)]
pub struct Listed {
    pages: Vec<Vec<Value>>,
    /// What each page says leads to the next.
    next: Vec<Option<String>>,
    /// How often `on_page` was called.
    called: usize,
}

impl List {
    fn request(&self, nango: &Nango) -> Result<Request, Error> {
        let method = self.method.clone().unwrap_or_else(|| "GET".to_owned());
        let mut request = nango.request(method, self.path.as_str());
        if let Some(retries) = self.retries {
            request = request.retries(retries);
        }
        if let Some(form) = &self.form {
            request = request.form(form.iter().map(|(name, value)| (name, value)));
        }
        match &self.body {
            Some(body) => request.json(body),
            None => Ok(request),
        }
    }

    fn paginate<'run>(&self, nango: &'run Nango) -> Result<Paginate<'run>, Error> {
        let mut pages = nango.paginate(self.request(nango)?);
        if let Some((path, name)) = &self.cursor {
            pages = pages.cursor(path, name);
        }
        if let Some(relation) = &self.link_rel {
            pages = pages.link_rel(relation);
        }
        if let Some(path) = &self.link_path {
            pages = pages.link_path(path);
        }
        if let Some(name) = &self.offset {
            pages = pages.offset(name);
        }
        if let Some((name, first)) = &self.page_number {
            pages = pages.page_number(name, *first);
        }
        if let Some(value) = self.offset_start {
            pages = pages.offset_start(value);
        }
        if let Some((items, name)) = &self.limit {
            pages = pages.limit(*items, name);
        }
        if let Some(items) = self.page_size {
            pages = pages.page_size(items);
        }
        if let Some(path) = &self.response_path {
            pages = pages.response_path(path);
        }
        if let Some(in_body) = self.in_body {
            pages = pages.in_body(in_body);
        }
        if let Some(start) = &self.starting_at {
            pages = pages.starting_at(start);
        }
        if let Some(pages_max) = self.pages_max {
            pages = pages.pages_max(pages_max);
        }
        if let Some(ahead) = self.ahead {
            pages = pages.ahead(ahead);
        }
        Ok(pages)
    }
}

/// Goes through a list and gives its pages.
#[action]
pub fn list(nango: &Nango, input: List) -> Result<Listed, ActionError> {
    let called = Cell::new(0);
    let pages = input.paginate(nango)?.on_page(|page| {
        called.set(called.get() + 1);
        nango.info(format!("a page with status {}", page.response().status()));
        Ok(())
    });
    let mut listed = Listed {
        pages: Vec::new(),
        next: Vec::new(),
        called: 0,
    };
    for page in pages.pages().take(input.take.unwrap_or(usize::MAX)) {
        let page = page?;
        listed.pages.push(page.items()?);
        listed.next.push(page.next_page().map(str::to_owned));
        if let Some((ms, path)) = &input.work {
            nango.sleep(Duration::from_millis(*ms));
            nango.get(path.as_str()).send()?;
        }
    }
    listed.called = called.get();
    Ok(listed)
}

/// Goes through a list and gives its items.
#[action]
pub fn list_items(nango: &Nango, input: List) -> Result<Vec<Value>, ActionError> {
    Ok(input.paginate(nango)?.items().collect::<Result<_, _>>()?)
}
