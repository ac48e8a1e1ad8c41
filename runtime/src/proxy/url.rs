//! URLs as they go over the wire. The authority is parsed and brought into its one spelling, so that `0x7f.1` and
//! `127.0.0.1` are the same host to every check; path and query stay byte for byte as given, and only what cannot stand in a
//! request line is percent-encoded.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use http::Uri;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::{Host, Position, Url};

use crate::signing::query::VALUE;

/// What cannot stand in the path and in the query of a request line.
const PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'<').add(b'>').add(b'`');
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'<').add(b'>').add(b'"');

/// An absolute http or https URL without user name, password and fragment.
#[derive(Clone, Debug)]
pub(super) struct UpstreamUrl {
    pub(super) uri: Uri,
    /// The host when it is an address: it is not resolved, so it must be checked before connecting.
    pub(super) address: Option<IpAddr>,
}

impl UpstreamUrl {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no `http://` or `https://`")?;
        let authority_end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(authority_end).unwrap_or((rest, ""));
        let text_of_origin = text.get(..text.len() - target.len()).unwrap_or(text);
        let Origin { text: origin, address } = match Origin::plain(text_of_origin, scheme, authority) {
            Some(origin) => origin,
            None => Origin::parse(scheme, authority)?,
        };
        let target = target.split_once('#').map_or(target, |(before, _)| before);
        let mut whole = String::with_capacity(text.len() + 8);
        whole.push_str(&origin);
        if !target.starts_with('/') {
            whole.push('/');
        }
        let (path, query) = target
            .split_at_checked(target.find('?').unwrap_or(target.len()))
            .unwrap_or((target, ""));
        whole.extend(utf8_percent_encode(path, PATH));
        whole.extend(utf8_percent_encode(query, QUERY));
        let uri = Uri::try_from(whole).map_err(|_| "it is malformed or longer than 64 KiB")?;
        Ok(Self { uri, address })
    }

    /// Where a `Location` leads; none when it is no http URL.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        let joined = Url::parse(&self.uri.to_string()).ok()?.join(location).ok()?;
        Self::parse(joined.as_str()).ok()
    }

    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    pub(super) fn is_https(&self) -> bool {
        self.uri.scheme() == Some(&http::uri::Scheme::HTTPS)
    }

    pub(super) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Host and port, for messages; also the port that goes without saying.
    pub(super) fn host_and_port(&self) -> String {
        format!("{}:{}", self.host(), self.port())
    }

    /// Whether credentials for `self` may go to `other`: same scheme, host and port, or the step from http to https of the
    /// same host on the usual ports, since what was sent in clear loses nothing by encryption.
    pub(super) fn shares_origin(&self, other: &Self) -> bool {
        let upgraded = !self.is_https() && self.port() == 80 && other.is_https() && other.port() == 443;
        let same = self.is_https() == other.is_https() && self.port() == other.port();
        self.host() == other.host() && (same || upgraded)
    }

    /// The URL without the query parameters of these (decoded) names.
    pub(super) fn without_query_keys(&self, keys: &[String]) -> Self {
        let text = self.uri.to_string();
        match text.split_once('?') {
            Some((before, query)) if !keys.is_empty() => {
                let query = retain_query(query, |key| !keys.iter().any(|drop| drop == key));
                let text = if query.is_empty() {
                    before.to_owned()
                } else {
                    format!("{before}?{query}")
                };
                Self::parse(&text).unwrap_or_else(|_| self.clone())
            }
            Some(_) | None => self.clone(),
        }
    }
}

/// Scheme, host and port in their one spelling, and the host when it is an address.
#[derive(Debug, PartialEq, Eq)]
struct Origin<'t> {
    text: Cow<'t, str>,
    address: Option<IpAddr>,
}

impl Origin<'_> {
    fn parse(scheme: &str, authority: &str) -> Result<Self, &'static str> {
        let url = Url::parse(&format!("{scheme}://{authority}/")).map_err(|_| "its host is malformed")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("its scheme is neither http nor https");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a user name or password; credentials belong into the connection");
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err("it has no host"),
        };
        Ok(Self {
            text: Cow::Owned(url[Position::BeforeScheme..Position::AfterPort].to_owned()),
            address,
        })
    }
}

impl<'t> Origin<'t> {
    /// `text` where it is in its one spelling already, as nearly all are; none where only [`Origin::parse`], which takes
    /// several times as long, can say.
    fn plain(text: &'t str, scheme: &str, authority: &str) -> Option<Self> {
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let host = match authority.split_once(':') {
            Some((host, digits)) => {
                let port: u16 = digits.parse().ok()?;
                // `+80` and `080` are numbers to the parser.
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
                (plain && port != default_port).then_some(host)?
            }
            None => authority,
        };
        let address = host.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
        (address.is_some() || is_plain_name(host)).then_some(Self {
            text: Cow::Borrowed(text),
            address,
        })
    }
}

fn is_plain_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(of_name) && !label.starts_with("xn--")
    };
    // A last label that begins with a digit may make the whole host a number, and with it an address.
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253 && host.split('.').all(is_label) && last.starts_with(|first: char| first.is_ascii_lowercase())
}

/// The pairs of a query string whose decoded key passes, in their own spelling.
pub(super) fn retain_query(query: &str, mut keep: impl FnMut(&str) -> bool) -> String {
    let mut kept = String::with_capacity(query.len());
    for pair in query.split('&') {
        let key = pair.split_once('=').map_or(pair, |(key, _)| key).replace('+', " ");
        let key = percent_encoding::percent_decode_str(&key).decode_utf8_lossy();
        if keep(&key) {
            if !kept.is_empty() {
                kept.push('&');
            }
            kept.push_str(pair);
        }
    }
    kept
}

/// Appends `key=value`, percent-encoded, to a URL's text.
pub(super) fn append_query(url: &mut String, key: &str, value: &str) {
    let separator = match url.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    let (key, value) = (utf8_percent_encode(key, VALUE), utf8_percent_encode(value, VALUE));
    // Writing to a String cannot fail.
    let _ = write!(url, "{separator}{key}={value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_hosts_are_what_the_parser_makes_of_them() {
        let hosts = [
            "api.github.com",
            "a-b.c1.io",
            "localhost",
            "127.0.0.1",
            "255.255.255.255",
            "x--y.example",
            "-a-.example",
            "1.example",
        ];
        for host in hosts {
            for (scheme, port) in [("http", ""), ("https", ":8443"), ("http", ":443"), ("https", ":80")] {
                let authority = format!("{host}{port}");
                let text = format!("{scheme}://{authority}");
                let parsed = Origin::parse(scheme, &authority).expect(&authority);
                assert_eq!(Origin::plain(&text, scheme, &authority), Some(parsed));
            }
        }
        let others = [
            "API.github.com",
            "0x7f.1",
            "127.1",
            "127.0.0.01",
            "a.b.0x7f",
            "a.1",
            "1",
            "xn--a.example",
            "m\u{fc}nchen.example",
            "a..b",
            "a.",
            ".a",
            "",
            "user@a.b",
            "a.b:",
            "a.b:080",
            "a.b:+8",
            "a.b:80",
            "a.b:99999",
            "[::1]",
            "a b",
            "a%41.b",
            "a_b.c",
        ];
        for authority in others {
            assert_eq!(Origin::plain("", "http", authority), None, "{authority}");
        }
        assert_eq!(Origin::plain("", "HTTP", "a.b"), None);
        assert_eq!(Origin::plain("", "ftp", "a.b"), None);
    }

    fn uri(text: &str) -> String {
        UpstreamUrl::parse(text).unwrap().uri.to_string()
    }

    #[test]
    fn path_and_query_stay_byte_for_byte() {
        let odd = "/a%2Fb/../c;d=1/{e}|f?$filter=name%20eq%20'x'&a=+&b=%2b&&=&c[]=1||2&d={`^\\}";
        assert_eq!(uri(&format!("https://h.test{odd}")), format!("https://h.test{odd}"));
    }

    #[test]
    fn what_a_request_line_cannot_hold_is_encoded_and_the_fragment_dropped() {
        assert_eq!(uri("https://h.test/a b<é>#top"), "https://h.test/a%20b%3C%C3%A9%3E");
        assert_eq!(uri("https://h.test/?q=\"a b\""), "https://h.test/?q=%22a%20b%22");
        assert_eq!(uri("HTTPS://H.Test:443?x=1"), "https://h.test/?x=1");
    }

    #[test]
    fn odd_spellings_of_addresses_are_seen_through() {
        for text in [
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://１２７.0.0.1/",
        ] {
            let url = UpstreamUrl::parse(text).unwrap();
            assert_eq!(url.address, Some("127.0.0.1".parse().unwrap()), "{text}");
            assert_eq!(url.host(), "127.0.0.1", "{text}");
        }
        let mapped = UpstreamUrl::parse("http://[::ffff:127.0.0.1]:8080/x").unwrap();
        assert_eq!(mapped.address, Some("::ffff:127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn unusable_urls_are_refused() {
        for text in [
            "not a url",
            "ftp://h.test/",
            "https://",
            "https://user:pass@h.test/",
            "https://good.test%2f.evil.test/",
            "https://a b/",
        ] {
            assert!(UpstreamUrl::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            UpstreamUrl::parse("https://h.test\\@evil.test/").unwrap().host(),
            "h.test"
        );
    }

    #[test]
    fn messages_name_host_and_port_and_nothing_else() {
        for (text, expected) in [
            ("https://h.test/a?api_key=s3cret#x", "h.test:443"),
            ("http://h.test/", "h.test:80"),
            ("http://127.0.0.1:8080/x", "127.0.0.1:8080"),
            ("https://[::1]/", "[::1]:443"),
        ] {
            assert_eq!(UpstreamUrl::parse(text).unwrap().host_and_port(), expected);
        }
    }

    #[test]
    fn origins() {
        let shares = |a: &str, b: &str| {
            UpstreamUrl::parse(a)
                .unwrap()
                .shares_origin(&UpstreamUrl::parse(b).unwrap())
        };
        assert!(shares("https://a.test/x", "https://a.test:443/y"));
        assert!(shares("http://a.test/", "https://a.test/"));
        assert!(!shares("https://a.test/", "http://a.test/"));
        assert!(!shares("https://a.test/", "https://b.a.test/"));
        assert!(!shares("https://a.test/", "https://a.test:8443/"));
    }

    #[test]
    fn query_keys_are_removed_and_added() {
        let url = UpstreamUrl::parse("https://h.test/x?api%5Fkey=s&a=1").unwrap();
        let stripped = url.without_query_keys(&["api_key".to_owned()]);
        assert_eq!(stripped.uri.to_string(), "https://h.test/x?a=1");
        let mut text = "https://h.test/x?".to_owned();
        append_query(&mut text, "a b", "c&d");
        append_query(&mut text, "e", "");
        assert_eq!(text, "https://h.test/x?a%20b=c%26d&e=");
    }
}
