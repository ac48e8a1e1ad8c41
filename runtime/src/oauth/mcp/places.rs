//! Where documents are looked for, and which addresses are taken from them. Pure.

use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

use super::{DiscoveryError, URL_BYTES_MAX, told};
use crate::egress::EgressPolicy;

/// An address that a server or a customer gave: https, or http of this machine where the egress policy permits that.
pub(super) fn secure(what: &'static str, given: &str, policy: &EgressPolicy) -> Result<Url, DiscoveryError> {
    let unusable = |reason| DiscoveryError::Address {
        what,
        given: match Url::parse(given.trim()) {
            Ok(url) => told(&shown(&url)),
            Err(_) => told(given.split(['?', '@']).next().unwrap_or_default()),
        },
        reason,
    };
    if given.len() > URL_BYTES_MAX {
        return Err(unusable("it is longer than 2048 bytes"));
    }
    let url = Url::parse(given.trim()).map_err(|_| unusable("it is no URL"))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(unusable("it has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unusable("it holds a user name or password"));
    }
    if url.fragment().is_some() {
        return Err(unusable("it has a fragment (#)"));
    }
    // Names are looked at when they are resolved.
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain("localhost")) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(Host::Domain(_)) | None => None,
    };
    if let Some(address) = address {
        let host = url.host_str().unwrap_or_default();
        policy.check(host, address).map_err(DiscoveryError::EgressDenied)?;
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if address.is_some_and(|address| address.is_loopback()) => Ok(url),
        "http" => Err(unusable(
            "it must be https: what is sent over http can be read and changed on its way",
        )),
        _ => Err(unusable("it must be https")),
    }
}

/// An address as it is told: what in it may be a secret is left out.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Only of addresses that have no host, and so neither a name nor a password.
    let _ = (url.set_username(""), url.set_password(None));
    url.into()
}

/// RFC 9728, section 3.1: the well-known path before that of the server, then the root's.
pub(super) fn of_resource(server: &Url) -> Vec<Url> {
    let mut places = vec![
        inserted(server, "oauth-protected-resource"),
        at_root(server, "/.well-known/oauth-protected-resource"),
    ];
    places.dedup();
    places
}

/// RFC 8414, section 3.1, and OpenID Connect Discovery 1.0, section 4, which appends where the other inserts.
pub(super) fn of_issuer(issuer: &Url) -> Vec<Url> {
    let mut places = vec![
        inserted(issuer, "oauth-authorization-server"),
        inserted(issuer, "openid-configuration"),
    ];
    let path = issuer.path().trim_end_matches('/');
    if !path.is_empty() {
        places.push(at_root(issuer, &format!("{path}/.well-known/openid-configuration")));
    }
    places
}

fn inserted(url: &Url, name: &str) -> Url {
    let path = url.path().trim_end_matches('/');
    at_root(url, &format!("/.well-known/{name}{path}"))
}

fn at_root(url: &Url, path: &str) -> Url {
    let mut place = url.clone();
    place.set_path(path);
    place.set_query(None);
    place.set_fragment(None);
    place
}

/// Whether a token for `resource` is one for `server`: of the same origin, and at or above its path.
pub(super) fn covers(resource: &Url, server: &Url) -> bool {
    let above = resource.path().trim_end_matches('/');
    let below = server.path().strip_prefix(above);
    resource.origin() == server.origin() && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Issuers are compared as texts (RFC 8414, section 3.3), but for a slash at the end, which many leave out in one of two places.
pub(super) fn is_same_issuer(given: &str, expected: &str) -> bool {
    given.trim_end_matches('/') == expected.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn texts(places: Vec<Url>) -> Vec<String> {
        places.into_iter().map(String::from).collect()
    }

    #[test]
    fn documents_are_looked_for_before_and_behind_the_path() {
        assert_eq!(
            texts(of_resource(&url("https://mcp.test/v1/mcp?x=1"))),
            [
                "https://mcp.test/.well-known/oauth-protected-resource/v1/mcp",
                "https://mcp.test/.well-known/oauth-protected-resource"
            ]
        );
        assert_eq!(
            texts(of_resource(&url("https://mcp.test"))),
            ["https://mcp.test/.well-known/oauth-protected-resource"]
        );
        assert_eq!(
            texts(of_issuer(&url("https://as.test/tenant1/"))),
            [
                "https://as.test/.well-known/oauth-authorization-server/tenant1",
                "https://as.test/.well-known/openid-configuration/tenant1",
                "https://as.test/tenant1/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            texts(of_issuer(&url("https://as.test"))),
            [
                "https://as.test/.well-known/oauth-authorization-server",
                "https://as.test/.well-known/openid-configuration"
            ]
        );
    }

    #[test]
    fn addresses_are_https_or_of_this_machine() {
        let none = EgressPolicy::public(Vec::new());
        let loopback = EgressPolicy::public(vec!["127.0.0.0/8".parse().unwrap()]);
        let fault = |text: &str, policy: &EgressPolicy| {
            secure("the address", text, policy)
                .map(String::from)
                .map_err(|error| error.to_string())
        };
        assert_eq!(fault("https://as.test/x", &none), Ok("https://as.test/x".to_owned()));
        for (text, part) in [
            ("http://as.test/x", "it must be https: what is sent over http"),
            ("ftp://as.test/x", "it must be https"),
            ("https://me:pw@as.test/x", "it holds a user name or password"),
            ("https://as.test/x#y", "it has a fragment"),
            ("as.test", "it is no URL"),
            ("file:///etc/passwd", "it has no host"),
            ("http://127.0.0.1:1/", "127.0.0.1 is a loopback address"),
            ("http://localhost/", "127.0.0.1 is a loopback address"),
            ("http://[::1]/", "::1 is a loopback"),
        ] {
            let error = fault(text, &none).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("pw"), "{error}");
        }
        let with_key = fault("http://mcp.test/sse?key=s3cret", &none).unwrap_err();
        assert!(
            with_key.contains("\"http://mcp.test/sse\"") && !with_key.contains("s3cret"),
            "{with_key}"
        );
        assert!(fault("http://127.0.0.1:1/", &loopback).is_ok());
        assert!(fault("http://localhost:1/", &loopback).is_ok());
        assert!(
            fault("https://10.0.0.1/", &loopback)
                .unwrap_err()
                .contains("a private address")
        );
        assert!(fault(&format!("https://as.test/{}", "x".repeat(3_000)), &none).is_err());
    }

    #[test]
    fn a_resource_is_the_server_or_above_it() {
        let server = url("https://mcp.test/v1/mcp");
        for (resource, expected) in [
            ("https://mcp.test/v1/mcp", true),
            ("https://mcp.test/v1/mcp/", true),
            ("https://mcp.test/v1", true),
            ("https://mcp.test", true),
            ("https://mcp.test/v", false),
            ("https://mcp.test/v2", false),
            ("https://mcp.test:444/v1", false),
            ("http://mcp.test/v1", false),
            ("https://evil.test/v1/mcp", false),
        ] {
            assert_eq!(covers(&url(resource), &server), expected, "{resource}");
        }
    }
}
