//! The headers of `/proxy` that are meant for us: whom the call is for, how it is to be made, and what of it goes on to the
//! provider. All that is wrong with them is found at once.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::ApiError;
use super::fault::Fault;
use super::target::TargetHeaders;
use crate::model::OperationId;
use crate::runtime::CallOrigin;

/// Attempts a caller may ask for after the first; larger numbers count as this one.
pub const RETRIES_MAX: u32 = 10;

const FORWARD_PREFIX: &str = "nango-proxy-";
/// Characters of `Nango-Activity-Log-Id` at most (Nango compatibility).
const ACTIVITY_LOG_ID_CHARS_MAX: usize = 255;

/// What the caller's headers ask for.
#[derive(Debug)]
pub struct CallHeaders<'a> {
    pub target: TargetHeaders<'a>,
    pub retries: u32,
    pub retry_on: Vec<u16>,
    pub base_url_override: Option<String>,
    pub decompress: bool,
    pub forward_headers_on_redirect: Option<bool>,
    pub origin: CallOrigin,
    /// For the provider, under its own names.
    pub forwarded: HeaderMap,
}

impl<'a> CallHeaders<'a> {
    /// 400 `invalid_headers` with everything that is wrong.
    pub fn parse(headers: &'a HeaderMap) -> Result<Self, ApiError> {
        let faults = &mut Vec::new();
        let call = Self {
            target: TargetHeaders::parse_into(headers, faults),
            retries: retries(headers, faults),
            retry_on: retry_on(headers, faults),
            base_url_override: base_url_override(headers, faults),
            decompress: boolean(headers, "decompress", faults).unwrap_or(false) || !accepts_encodings(headers),
            forward_headers_on_redirect: boolean(headers, "forward-headers-on-redirect", faults),
            origin: origin(headers, faults),
            forwarded: forwarded(headers),
        };
        if faults.is_empty() {
            Ok(call)
        } else {
            Err(ApiError::faults("invalid_headers", std::mem::take(faults)))
        }
    }

    /// Adds the headers that describe the body to those for the provider. A `Nango-Proxy-Content-Type` counts before the
    /// caller's own, unless it only names the kind of a multipart body whose boundary is in the caller's own: that is how
    /// Nango is asked for multipart.
    pub fn describe_body(&mut self, headers: &HeaderMap) {
        if let Some(own) = headers.get(header::CONTENT_TYPE) {
            let prefixed = self.forwarded.get(header::CONTENT_TYPE);
            if prefixed.is_none_or(|prefixed| lacks_boundary_of(prefixed, own)) {
                self.forwarded.insert(header::CONTENT_TYPE, own.clone());
            }
        }
        // The bytes go on as they are, so their encoding is said too.
        if let Some(encoding) = headers.get(header::CONTENT_ENCODING) {
            self.forwarded
                .entry(header::CONTENT_ENCODING)
                .or_insert_with(|| encoding.clone());
        }
    }
}

/// Whether the caller reads content encodings itself. For one who does not say so, an answer is decoded here: some upstreams
/// compress unasked.
fn accepts_encodings(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused = weight
            .split_once('=')
            .is_some_and(|(_, weight)| weight.trim().parse() == Ok(0.0));
        !matches!(name.trim(), "" | "identity") && !is_refused
    })
}

/// The text of a header; empty when it is absent or empty. One that is no text is a fault rather than absent: a
/// `Base-Url-Override` that is not understood must not mean the provider's own host.
fn text<'a>(headers: &'a HeaderMap, name: &'static str, faults: &mut Vec<Fault>) -> &'a str {
    let Some(value) = headers.get(name) else { return "" };
    value.to_str().map_or_else(
        |_| {
            let message = "Invalid input: expected visible ASCII characters";
            faults.push(Fault::new("invalid_format", message, name));
            ""
        },
        str::trim,
    )
}

fn retries(headers: &HeaderMap, faults: &mut Vec<Fault>) -> u32 {
    let number = text(headers, "retries", faults);
    if number.is_empty() {
        return 0;
    }
    match number.parse() {
        Ok(retries) => RETRIES_MAX.min(retries),
        // More digits than fit are a large number all the same.
        Err(_) if number.bytes().all(|byte| byte.is_ascii_digit()) => RETRIES_MAX,
        Err(_) => {
            let message = format!("Invalid input: expected a number from 0 to {RETRIES_MAX}, received {number:?}");
            faults.push(Fault::new("invalid_type", message, "retries"));
            0
        }
    }
}

/// Digits with commas between. Numbers that are no status never match one.
fn retry_on(headers: &HeaderMap, faults: &mut Vec<Fault>) -> Vec<u16> {
    let codes = text(headers, "retry-on", faults);
    if codes.is_empty() {
        return Vec::new();
    }
    let is_number = |code: &str| !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit());
    if !codes.split(',').all(is_number) {
        let message = "Invalid input: expected status codes with commas between, like 404,409";
        faults.push(Fault::new("invalid_format", message, "retry-on"));
        return Vec::new();
    }
    codes.split(',').filter_map(|code| code.parse().ok()).collect()
}

/// The Node client sends an empty one when there is none.
fn base_url_override(headers: &HeaderMap, faults: &mut Vec<Fault>) -> Option<String> {
    let url = text(headers, "base-url-override", faults);
    if url.is_empty() {
        return None;
    }
    let is_http = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !is_http {
        let message = "Invalid input: expected a URL that begins with http:// or https://";
        faults.push(Fault::new("invalid_union", message, "base-url-override"));
    }
    Some(url.to_owned())
}

fn boolean(headers: &HeaderMap, name: &'static str, faults: &mut Vec<Fault>) -> Option<bool> {
    match text(headers, name, faults) {
        "" => None,
        "true" => Some(true),
        "false" => Some(false),
        _ => {
            faults.push(Fault::new(
                "invalid_value",
                "Invalid input: expected \"true\" or \"false\"",
                name,
            ));
            None
        }
    }
}

/// Where the call comes from. The Node client sends an empty `Nango-Activity-Log-Id` when there is none.
fn origin(headers: &HeaderMap, faults: &mut Vec<Fault>) -> CallOrigin {
    let operation_id = text(headers, "nango-activity-log-id", faults);
    if operation_id.len() > ACTIVITY_LOG_ID_CHARS_MAX {
        let message = format!("Too big: expected string to have <={ACTIVITY_LOG_ID_CHARS_MAX} characters");
        faults.push(Fault::new("too_big", message, "nango-activity-log-id"));
    }
    CallOrigin {
        operation_id: (!operation_id.is_empty()).then(|| OperationId::from(operation_id)),
        is_dry_run: boolean(headers, "nango-is-dry-run", faults).unwrap_or(false),
        is_sync: boolean(headers, "nango-is-sync", faults).unwrap_or(false),
        is_function: boolean(headers, "nango-is-script", faults).unwrap_or(false),
    }
}

/// The caller's headers for the provider: those with our prefix, without it. Of equal names the last one counts. The length of
/// the body is not the caller's to say twice.
fn forwarded(headers: &HeaderMap) -> HeaderMap<HeaderValue> {
    let mut forwarded = HeaderMap::new();
    for (name, value) in headers {
        if let Some(bare) = name.as_str().strip_prefix(FORWARD_PREFIX)
            && let Ok(bare) = HeaderName::from_bytes(bare.as_bytes())
            && bare != header::CONTENT_LENGTH
        {
            forwarded.insert(bare, value.clone());
        }
    }
    forwarded
}

/// Whether both name a multipart type and only the second says where its parts end.
fn lacks_boundary_of(prefixed: &HeaderValue, own: &HeaderValue) -> bool {
    let is_multipart = |value: &str| {
        let kind = value.trim_start().get(.."multipart/".len());
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"))
    };
    let has_boundary = |value: &str| value.to_ascii_lowercase().contains("boundary=");
    match (prefixed.to_str(), own.to_str()) {
        (Ok(prefixed), Ok(own)) => {
            is_multipart(prefixed) && is_multipart(own) && !has_boundary(prefixed) && has_boundary(own)
        }
        (Ok(_) | Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("provider-config-key", "github"), ("connection-id", "c1")]
            .iter()
            .chain(pairs)
        {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_the_node_client_sends() {
        let headers = headers(&[
            ("accept-encoding", "gzip, compress, deflate, br"),
            ("base-url-override", ""),
            ("nango-activity-log-id", ""),
            ("nango-proxy-x-custom", "v"),
        ]);
        let call = CallHeaders::parse(&headers).unwrap();
        assert_eq!(
            call.target,
            TargetHeaders {
                provider_config_key: "github",
                connection_id: "c1"
            }
        );
        assert_eq!((call.retries, call.retry_on, call.base_url_override), (0, vec![], None));
        assert_eq!((call.decompress, call.forward_headers_on_redirect), (false, None));
        assert_eq!(call.origin, CallOrigin::default());
        assert_eq!(call.forwarded.len(), 1);
        assert_eq!(call.forwarded["x-custom"], "v");
    }

    #[test]
    fn every_option() {
        let headers = headers(&[
            ("retries", "99"),
            ("retry-on", "404,409,70000"),
            ("base-url-override", "https://eu.example.com/v2"),
            ("decompress", "true"),
            ("forward-headers-on-redirect", "false"),
            ("nango-activity-log-id", "op_1"),
            ("nango-is-dry-run", "true"),
            ("nango-is-sync", "false"),
            ("nango-is-script", "true"),
            ("nango-proxy-a", "first"),
            ("nango-proxy-a", "last"),
            ("nango-proxy-b", ""),
            ("nango-proxy-", "nameless"),
            ("nango-proxy-content-length", "7"),
        ]);
        let call = CallHeaders::parse(&headers).unwrap();
        assert_eq!(call.retries, RETRIES_MAX);
        assert_eq!(call.retry_on, [404, 409]);
        assert_eq!(call.base_url_override.as_deref(), Some("https://eu.example.com/v2"));
        assert_eq!((call.decompress, call.forward_headers_on_redirect), (true, Some(false)));
        let origin = CallOrigin {
            operation_id: Some("op_1".into()),
            is_dry_run: true,
            is_sync: false,
            is_function: true,
        };
        assert_eq!(call.origin, origin);
        assert_eq!(call.forwarded["a"], "last");
        assert_eq!(call.forwarded["b"], "");
        assert_eq!(call.forwarded.len(), 2);
    }

    #[test]
    fn the_body_is_described_by_the_caller() {
        let described = |own: &'static str, prefixed: Option<&'static str>| {
            let mut pairs = vec![("content-type", own), ("content-encoding", "gzip")];
            pairs.extend(prefixed.map(|value| ("nango-proxy-content-type", value)));
            let headers = headers(&pairs);
            let mut call = CallHeaders::parse(&headers).unwrap();
            call.describe_body(&headers);
            assert_eq!(call.forwarded["content-encoding"], "gzip");
            call.forwarded["content-type"].to_str().unwrap().to_owned()
        };
        let with_boundary = "multipart/form-data; boundary=b";
        assert_eq!(described("text/xml", None), "text/xml");
        assert_eq!(described("text/xml", Some("application/xml")), "application/xml");
        assert_eq!(described(with_boundary, Some("multipart/form-data")), with_boundary);
        assert_eq!(
            described(with_boundary, Some("multipart/form-data; boundary=c")),
            "multipart/form-data; boundary=c"
        );
        assert_eq!(
            described("text/plain", Some("multipart/form-data")),
            "multipart/form-data"
        );
    }

    #[tokio::test]
    async fn all_faults_at_once() {
        let mut headers = headers(&[
            ("retries", "-1"),
            ("retry-on", "404,+409"),
            ("base-url-override", "not a url"),
            ("decompress", "yes"),
            ("forward-headers-on-redirect", "1"),
            ("nango-is-dry-run", "TRUE"),
        ]);
        headers.remove("connection-id");
        headers.insert("nango-activity-log-id", HeaderValue::from_bytes(b"\xc3\xa9").unwrap());
        let expected = concat!(
            r#"400 {"error":{"code":"invalid_headers","errors":["#,
            r#"{"code":"invalid_type","message":"Invalid input: expected string, received undefined","path":["connection-id"]},"#,
            r#"{"code":"invalid_type","message":"Invalid input: expected a number from 0 to 10, received \"-1\"","path":["retries"]},"#,
            r#"{"code":"invalid_format","message":"Invalid input: expected status codes with commas between, like 404,409","path":["retry-on"]},"#,
            r#"{"code":"invalid_union","message":"Invalid input: expected a URL that begins with http:// or https://","path":["base-url-override"]},"#,
            r#"{"code":"invalid_value","message":"Invalid input: expected \"true\" or \"false\"","path":["decompress"]},"#,
            r#"{"code":"invalid_value","message":"Invalid input: expected \"true\" or \"false\"","path":["forward-headers-on-redirect"]},"#,
            r#"{"code":"invalid_format","message":"Invalid input: expected visible ASCII characters","path":["nango-activity-log-id"]},"#,
            r#"{"code":"invalid_value","message":"Invalid input: expected \"true\" or \"false\"","path":["nango-is-dry-run"]}]}}"#
        );
        assert_eq!(rendered(CallHeaders::parse(&headers).unwrap_err()).await, expected);
    }

    #[test]
    fn numbers_of_any_size() {
        for (given, expected) in [("0", 0), ("3", 3), ("11", 10), ("99999999999999999999", 10), ("", 0)] {
            assert_eq!(
                CallHeaders::parse(&headers(&[("retries", given)])).unwrap().retries,
                expected,
                "{given}"
            );
        }
        for bad in ["-1", "1.5", "x", "NaN", "1 2"] {
            assert!(CallHeaders::parse(&headers(&[("retries", bad)])).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_are_decoded_for_who_does_not_read_encodings() {
        let decoded = |given| {
            CallHeaders::parse(&headers(&[("accept-encoding", given)]))
                .unwrap()
                .decompress
        };
        for reads in ["gzip", "gzip, br", "identity, br;q=0.5", "*"] {
            assert!(!decoded(reads), "{reads}");
        }
        for reads_none in ["", "identity", "gzip;q=0", "identity;q=1, *;q=0.0"] {
            assert!(decoded(reads_none), "{reads_none}");
        }
        assert!(CallHeaders::parse(&headers(&[])).unwrap().decompress);
    }

    #[test]
    fn an_id_of_a_log_has_a_length() {
        let long: &'static str = "x".repeat(256).leak();
        assert!(CallHeaders::parse(&headers(&[("nango-activity-log-id", long)])).is_err());
        assert!(CallHeaders::parse(&headers(&[("nango-activity-log-id", &long[1..])])).is_ok());
    }
}
