//! Turns the contract's `request` into the proxy's. Pure: what cannot be sent is refused here, with the name of what is wrong.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::bindings::nango::functions::{fetch, nango::Request};
use super::fault::Fault;
use crate::model::FetchHosts;
use crate::proxy::{Body, FetchRequest, ProxyRequest, RetryHeader};

/// Extra attempts a function may ask for.
const RETRIES_MAX: u32 = 10;
const DECOMPRESS: &str = "decompress";

/// Any method; the usual ones may be written in lower case.
pub(super) fn method(name: &str) -> Result<Method, Fault> {
    Method::from_bytes(name.to_ascii_uppercase().as_bytes())
        .map_err(|_| invalid(&format!("{name:?} is no HTTP method")))
}

pub(super) fn convert(method: Method, request: Request) -> Result<ProxyRequest, Fault> {
    let options = Options::parse(&request.options)?;
    Ok(ProxyRequest {
        method,
        endpoint: request.path,
        query: request.query,
        headers: headers(&request.headers)?,
        body: request.body.map_or(Body::Empty, |body| Body::Bytes(body.into())),
        retries: options.retries,
        retry_on: options.retry_on,
        retry_header: options.retry_header,
        base_url_override: options.base_url_override,
        decompress: options.decompress,
        forward_headers_on_redirect: options.forward_headers_on_redirect,
        wait_ms_max: None,
        masker: None,
    })
}

/// `hosts` are those that the function declares.
pub(super) fn convert_fetch(request: fetch::Request, hosts: Option<FetchHosts>) -> Result<FetchRequest, Fault> {
    let mut decompress = true;
    for (name, value) in &request.options {
        if name == DECOMPRESS {
            decompress = flag(name, value)?;
        }
    }
    Ok(FetchRequest {
        method: method(&request.method)?,
        url: request.url,
        query: request.query,
        headers: headers(&request.headers)?,
        body: request.body.unwrap_or_default().into(),
        decompress,
        hosts,
    })
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let header =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(&format!("{name:?} is no header name")))?;
        // The value may be a secret of the function's own: it is not repeated.
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            invalid(&format!(
                "the value of header {name:?} has characters that no header may have"
            ))
        })?;
        headers
            .try_append(header, value)
            .map_err(|_| invalid("there are more headers than a request can hold"))?;
    }
    Ok(headers)
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    retries: u32,
    retry_on: Vec<u16>,
    retry_header: RetryHeader,
    base_url_override: Option<String>,
    decompress: bool,
    forward_headers_on_redirect: Option<bool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retries: 0,
            retry_on: Vec::new(),
            retry_header: RetryHeader::default(),
            base_url_override: None,
            // A function can read what is plain; it has to ask for what is not.
            decompress: true,
            forward_headers_on_redirect: None,
        }
    }
}

impl Options {
    /// Unknown names are ignored, as the contract says, so that a newer guest runs on an older host.
    fn parse(pairs: &[(String, String)]) -> Result<Self, Fault> {
        let mut options = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "retries" => {
                    let retries = value.trim().parse().ok().filter(|retries| *retries <= RETRIES_MAX);
                    options.retries = retries.ok_or_else(|| {
                        invalid(&format!(
                            "option retries = {value:?}: must be a whole number from 0 to {RETRIES_MAX}"
                        ))
                    })?;
                }
                "retry-on" => options.retry_on = statuses(value)?,
                "retry-header-at" => options.retry_header.at = header_names(name, value)?,
                "retry-header-after" => options.retry_header.after = header_names(name, value)?,
                "base-url-override" => options.base_url_override = Some(value.clone()),
                DECOMPRESS => options.decompress = flag(name, value)?,
                "forward-headers-on-redirect" => options.forward_headers_on_redirect = Some(flag(name, value)?),
                _ => {}
            }
        }
        Ok(options)
    }
}

fn flag(name: &str, value: &str) -> Result<bool, Fault> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(&format!(
            "option {name} = {value:?}: must be `true` or `false`"
        ))),
    }
}

fn statuses(list: &str) -> Result<Vec<u16>, Fault> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let status = item.parse().ok().filter(|status| (100..=599).contains(status));
            status.ok_or_else(|| {
                invalid(&format!(
                    "option retry-on = {list:?}: {item:?} is no status code from 100 to 599"
                ))
            })
        })
        .collect()
}

fn header_names(option: &str, list: &str) -> Result<Vec<HeaderName>, Fault> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            HeaderName::from_bytes(item.as_bytes())
                .map_err(|_| invalid(&format!("option {option} = {list:?}: {item:?} is no header name")))
        })
        .collect()
}

fn invalid(message: &str) -> Fault {
    Fault::new("invalid_request", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn message(fault: Fault) -> String {
        match fault {
            Fault::Error(error) => {
                assert_eq!(error.code, "invalid_request");
                error.message
            }
            Fault::Trap(trap) => panic!("{trap:?}"),
        }
    }

    #[test]
    fn reads_options() {
        let given = pairs(&[
            ("retries", "3"),
            ("retry-on", "404, 409"),
            ("retry-header-at", "X-Reset, x-other"),
            ("retry-header-after", "x-wait"),
            ("base-url-override", "https://x"),
            ("decompress", "false"),
            ("forward-headers-on-redirect", "true"),
            ("new", "?"),
        ]);
        let options = Options::parse(&given).unwrap();
        assert_eq!(
            options,
            Options {
                retries: 3,
                retry_on: vec![404, 409],
                retry_header: RetryHeader {
                    at: vec![HeaderName::from_static("x-reset"), HeaderName::from_static("x-other")],
                    after: vec![HeaderName::from_static("x-wait")],
                },
                base_url_override: Some("https://x".to_owned()),
                decompress: false,
                forward_headers_on_redirect: Some(true),
            }
        );
    }

    #[test]
    fn names_the_option_that_is_wrong() {
        let fault = |name, value| message(Options::parse(&pairs(&[(name, value)])).unwrap_err());
        assert_eq!(
            fault("retries", "11"),
            "option retries = \"11\": must be a whole number from 0 to 10"
        );
        assert_eq!(
            fault("retries", "-1"),
            "option retries = \"-1\": must be a whole number from 0 to 10"
        );
        assert_eq!(
            fault("retry-on", "4xx"),
            "option retry-on = \"4xx\": \"4xx\" is no status code from 100 to 599"
        );
        assert_eq!(
            fault("decompress", "no"),
            "option decompress = \"no\": must be `true` or `false`"
        );
    }

    #[test]
    fn refuses_what_is_no_header_without_repeating_its_value() {
        assert_eq!(
            message(headers(&pairs(&[("a b", "x")])).unwrap_err()),
            "\"a b\" is no header name"
        );
        let fault = message(headers(&pairs(&[("x-key", "secret\n")])).unwrap_err());
        assert_eq!(
            fault,
            "the value of header \"x-key\" has characters that no header may have"
        );
        assert_eq!(
            headers(&pairs(&[("a", "1"), ("A", "2")]))
                .unwrap()
                .get_all("a")
                .iter()
                .count(),
            2
        );
        assert_eq!(method("propfind").unwrap().as_str(), "PROPFIND");
        assert!(method("GET /").is_err());
    }
}
