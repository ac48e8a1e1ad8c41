//! One HTML document of embedded files, with the headers that pages of ours have.

use std::fmt::Write;

use axum::body::Body;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Colours, type and focus, the same on each page.
const BASE_CSS: &str = include_str!("base.css");

const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The parts of a page that never change, and the policy that lets these and nothing else run. It names the script and the styles by
/// their hashes, so that no markup that somebody smuggles into the page can run, and a page needs no nonce.
pub struct Document {
    css: &'static str,
    script: &'static str,
    policy: String,
}

impl Document {
    /// `connect` says what the script may ask, as Content Security Policy writes it: `'none'` or `'self'`.
    pub fn new(css: &'static str, script: &'static str, connect: &str) -> Self {
        // A data block (the JSON) is no script, so the policy need not let it.
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {} {}; connect-src {connect}; base-uri 'none'; form-action 'none'",
            hash(script),
            hash(BASE_CSS),
            hash(css),
        );
        Self { css, script, policy }
    }

    /// The page. `title` is text, `body` is HTML whose texts are [`escaped`], `data` is what the script reads from the element `data`,
    /// `ancestors` are those who may show the page in a frame, as Content Security Policy writes them.
    pub fn answer(&self, status: StatusCode, title: &str, body: &str, data: &Value, ancestors: &str) -> Response {
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n\
             <title>{}</title>\n<style>{BASE_CSS}</style>\n<style>{}</style>\n</head>\n<body>\n{body}\
             <script type=\"application/json\" id=\"data\">{}</script>\n<script type=\"module\">{}</script>\n</body>\n</html>\n",
            escaped(title),
            self.css,
            json_in_html(data),
            self.script,
        );
        let mut response = Response::new(Body::from(html));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HTML);
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        let policy = HeaderValue::try_from(format!("{}; frame-ancestors {ancestors}", self.policy));
        // What no header may have, the settings were refused for.
        let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(header::REFERRER_POLICY, NO_REFERRER);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
        // Nothing that a page of ours can do with the device is needed.
        headers.insert(
            HeaderName::from_static("permissions-policy"),
            HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=()"),
        );
        response
    }
}

/// As Content Security Policy names an inline script or style.
fn hash(source: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(source)))
}

/// `text` as HTML, between tags and in quoted attributes.
pub fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// JSON inside a script element: without `<`, nothing in it can end the element or open a comment.
fn json_in_html(value: &Value) -> String {
    let mut html = String::new();
    for character in value.to_string().chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string does not fail.
                let _ = write!(html, "\\u{:04x}", u32::from(character));
            }
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_texts() {
        assert_eq!(
            escaped(r#"<img src=x onerror="alert('1')">&amp;"#),
            "&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;amp;"
        );
        assert_eq!(
            json_in_html(&serde_json::json!({"message": "</script><!--&\u{2028}"})),
            r#"{"message":"\u003c/script\u003e\u003c!--\u0026\u2028"}"#
        );
    }

    #[test]
    fn hashes_as_browsers_compute_them() {
        // The example of https://www.w3.org/TR/CSP3/#example-of-hash-usage (alert('Hello, world.');)
        assert_eq!(
            hash("alert('Hello, world.');"),
            "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
        );
    }
}
