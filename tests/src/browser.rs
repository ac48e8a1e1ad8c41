//! A browser without scripts: follows redirects, keeps cookies by host and port, sends forms. One value is one user at one machine.

use std::collections::BTreeMap;

use http::header;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

/// More hops than any authorization takes.
const REDIRECTS_MAX: usize = 20;

/// A browser with its cookies.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    /// By `host:port`, then by name.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// Where it arrived.
#[derive(Clone, Debug)]
pub struct Page {
    pub url: Url,
    pub status: u16,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    /// # Panics
    ///
    /// When there is no HTTP client.
    #[must_use]
    pub fn new() -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build();
        Self {
            http: http.expect("a client can be made"),
            cookies: BTreeMap::new(),
        }
    }

    /// One request, its redirect not followed.
    ///
    /// # Panics
    ///
    /// When nobody answers.
    pub async fn step(&mut self, url: &str, form: Option<&[(&str, &str)]>) -> Page {
        let url = Url::parse(url).expect("a URL");
        let host = format!(
            "{}:{:?}",
            url.host_str().unwrap_or_default(),
            url.port_or_known_default()
        );
        let jar = self.cookies.entry(host).or_default();
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = match form {
            Some(form) => {
                let pair =
                    |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
                let body: Vec<String> = form.iter().map(pair).collect();
                let request = self.http.post(url.clone()).body(body.join("&"));
                request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            }
            None => self.http.get(url.clone()),
        };
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let answer = request.send().await.expect("somebody answers");
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let text = cookie.to_str().expect("a cookie is text");
            let (name, value) = text
                .split(';')
                .next()
                .and_then(|pair| pair.split_once('='))
                .expect("a cookie");
            if value.is_empty() {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        Page {
            url,
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            text: answer.text().await.expect("the body arrives"),
        }
    }

    /// Opens a page, following redirects.
    ///
    /// # Panics
    ///
    /// When there is no end to them.
    pub async fn open(&mut self, url: &str) -> Page {
        let page = self.step(url, None).await;
        self.follow(page).await
    }

    /// Sends the page's form, its action as it is in the page.
    ///
    /// # Panics
    ///
    /// When the page has no form.
    pub async fn submit(&mut self, page: &Page, form: &[(&str, &str)]) -> Page {
        let (_, rest) = page
            .text
            .split_once("action=\"")
            .unwrap_or_else(|| panic!("no form in {}", page.text));
        let action = rest.split('"').next().unwrap_or_default();
        let url = page.url.join(action).expect("a URL");
        let next = self.step(url.as_str(), Some(form)).await;
        self.follow(next).await
    }

    async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..REDIRECTS_MAX {
            let Some(location) = page.location() else { return page };
            page = self.step(&location, None).await;
        }
        panic!("too many redirects, the last to {}", page.url);
    }
}

impl Page {
    /// Where it redirects to.
    #[must_use]
    pub fn location(&self) -> Option<String> {
        let location = self.headers.get(header::LOCATION)?.to_str().ok()?;
        Some(self.url.join(location).ok()?.into())
    }

    /// A parameter of its own address, or of that which it redirects to.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let url = self.location().and_then(|location| Url::parse(&location).ok());
        let url = url.unwrap_or_else(|| self.url.clone());
        let mut pairs = url.query_pairs();
        pairs
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The text after `"name":"` in the data that the page's script reads.
    #[must_use]
    pub fn data(&self, name: &str) -> Option<String> {
        let (_, rest) = self.text.split_once(&format!("\"{name}\":\""))?;
        Some(rest.split('"').next()?.to_owned())
    }
}
