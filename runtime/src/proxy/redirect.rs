//! Where a redirect leads and what of the request goes along. Pure. Credentials never follow to another origin, and do not
//! come back when a later hop returns to the first one.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};

use super::base_url::Reach;
use super::request::Built;

/// Redirects followed in one attempt.
pub const REDIRECTS_MAX: u32 = 5;

/// What happens to the body on the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextBody {
    /// The method became GET.
    Dropped,
    Replayed,
}

/// Turns `built` and `method` into the request for the next hop. None when the answer is no redirect that can be followed:
/// then it is the answer.
pub(super) fn follow(
    built: &mut Built,
    method: &mut Method,
    status: StatusCode,
    headers: &HeaderMap,
    replayable: bool,
) -> Option<NextBody> {
    let becomes_get = match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        StatusCode::SEE_OTHER => *method != Method::GET && *method != Method::HEAD,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
        _ => return None,
    };
    if !becomes_get && !replayable {
        return None;
    }
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    let next = built.url.join(location)?;
    let crosses = !built.url.shares_origin(&next);
    if crosses {
        // The restricted addresses were chosen for the override's host; any other host must be public.
        built.reach = Reach::Public;
        // Nor is anything signed for it, also when it leads back.
        built.is_signed = false;
    }
    built.url = if crosses && !built.forward_headers {
        strip(built);
        next.without_query_keys(&built.injected.query)
    } else {
        next
    };
    if !becomes_get {
        return Some(NextBody::Replayed);
    }
    *method = Method::GET;
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LOCATION,
    ] {
        built.headers.remove(name);
    }
    Some(NextBody::Dropped)
}

/// Takes out what was injected, and what carries credentials by its name whoever set it.
fn strip(built: &mut Built) {
    const BY_NAME: [HeaderName; 3] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
    for name in BY_NAME.iter().chain(&built.injected.headers) {
        built.headers.remove(name);
    }
    // What the provider's data put in is not for others; the caller's own body goes.
    built.body = None;
}

#[cfg(test)]
mod tests {
    use super::super::request::Injected;
    use super::super::url::UpstreamUrl;
    use super::*;

    fn built(url: &str) -> Built {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer t"),
            ("x-api-key", "k"),
            ("cookie", "c"),
            ("x-version", "2"),
            ("content-type", "text/plain"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        Built {
            url: UpstreamUrl::parse(url).unwrap(),
            reach: Reach::Public,
            headers,
            injected: Injected {
                headers: vec![HeaderName::from_static("x-api-key")],
                query: vec!["api_key".into()],
            },
            is_signed: false,
            body: None,
            decompress: false,
            forward_headers: false,
        }
    }

    fn hop(built: &mut Built, method: Method, status: u16, location: &str) -> (Option<NextBody>, Method) {
        let mut headers = HeaderMap::new();
        headers.insert("location", location.parse().unwrap());
        let mut method = method;
        let next = follow(
            built,
            &mut method,
            StatusCode::from_u16(status).unwrap(),
            &headers,
            true,
        );
        (next, method)
    }

    #[test]
    fn methods_change_as_browsers_do_it() {
        use NextBody::{Dropped, Replayed};
        for (status, method, expected) in [
            (301, Method::GET, (Replayed, Method::GET)),
            (301, Method::POST, (Dropped, Method::GET)),
            (302, Method::POST, (Dropped, Method::GET)),
            (302, Method::PUT, (Replayed, Method::PUT)),
            (303, Method::PUT, (Dropped, Method::GET)),
            (303, Method::HEAD, (Replayed, Method::HEAD)),
            (307, Method::POST, (Replayed, Method::POST)),
            (308, Method::PATCH, (Replayed, Method::PATCH)),
        ] {
            let mut built = built("https://api.test/a");
            let (next, to) = hop(&mut built, method.clone(), status, "/b?c=1");
            assert_eq!((next, to), (Some(expected.0), expected.1), "{status} {method}");
            assert_eq!(built.url.uri.to_string(), "https://api.test/b?c=1");
            assert_eq!(built.headers.contains_key("content-type"), expected.0 == Replayed);
        }
    }

    #[test]
    fn credentials_stay_within_the_origin() {
        let mut same = built("https://api.test/a");
        hop(&mut same, Method::GET, 302, "https://api.test/b");
        assert!(same.headers.contains_key("x-api-key") && same.headers.contains_key("authorization"));
        for location in [
            "https://evil.test/?api_key=k&a=1",
            "http://api.test/?api_key=k&a=1",
            "//api.test:8443/?api_key=k&a=1",
        ] {
            let mut other = built("https://api.test/a");
            hop(&mut other, Method::GET, 302, location);
            for name in ["x-api-key", "authorization", "cookie"] {
                assert!(!other.headers.contains_key(name), "{location} {name}");
            }
            assert!(other.headers.contains_key("x-version"));
            assert_eq!(other.url.uri.query(), Some("a=1"), "{location}");
            hop(&mut other, Method::GET, 302, "https://api.test/back");
            assert!(!other.headers.contains_key("x-api-key"), "{location}");
        }
    }

    #[test]
    fn credentials_cross_only_when_asked() {
        let mut built = built("https://api.test/a");
        built.forward_headers = true;
        hop(&mut built, Method::GET, 302, "https://cdn.test/b");
        assert!(built.headers.contains_key("x-api-key") && built.headers.contains_key("authorization"));
    }

    #[test]
    fn what_cannot_be_followed_is_the_answer() {
        let mut method = Method::POST;
        let mut headers = HeaderMap::new();
        let found = StatusCode::TEMPORARY_REDIRECT;
        assert_eq!(
            follow(&mut built("https://api.test"), &mut method, found, &headers, true),
            None
        );
        headers.insert("location", "ftp://api.test/".parse().unwrap());
        assert_eq!(
            follow(&mut built("https://api.test"), &mut method, found, &headers, true),
            None
        );
        headers.insert("location", "/b".parse().unwrap());
        assert_eq!(
            follow(&mut built("https://api.test"), &mut method, found, &headers, false),
            None
        );
        let ok = StatusCode::OK;
        assert_eq!(
            follow(&mut built("https://api.test"), &mut method, ok, &headers, true),
            None
        );
    }
}
