//! The hosts that a function may fetch from, as it declares them. Nothing is resolved here: a host that is named may still be
//! refused by the operator's egress policy.

use serde::{Deserialize, Serialize};

/// Hosts of one function.
pub const FETCH_HOSTS_MAX: usize = 64;
/// RFC 1035, section 2.3.4.
const HOST_CHARS_MAX: usize = 253;
/// Every host.
const ANY: &str = "*";

/// Names of hosts in lower case, `*.example.com` for all below one, `*` for all there are. Ports make no difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FetchHosts(Vec<String>);

impl FetchHosts {
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// `host` as it stands in a URL, in lower case.
    #[must_use]
    pub fn allow(&self, host: &str) -> bool {
        self.0.iter().any(|pattern| host_covers(pattern, host))
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// # Errors
    /// Says which one is none, and why.
    pub fn check(&self) -> Result<(), String> {
        if self.0.len() > FETCH_HOSTS_MAX {
            return Err(format!(
                "it fetches from {} hosts; at most {FETCH_HOSTS_MAX} are allowed, and `*.example.com` is all below one",
                self.0.len()
            ));
        }
        self.iter().try_for_each(Self::check_host)
    }

    /// # Errors
    /// Says that this is none, and what one is.
    pub fn check_host(pattern: &str) -> Result<(), String> {
        if is_pattern(pattern) {
            return Ok(());
        }
        Err(format!(
            "the host {:?} of fetch: it is a host's name in lower case, such as `api.example.com`, without scheme, port and path; \
             `*.example.com` for all below one; or `*`",
            pattern.chars().take(64).collect::<String>()
        ))
    }
}

/// Whether whoever may fetch from `pattern` may fetch from `other`, which is a host or a pattern.
#[must_use]
pub fn host_covers(pattern: &str, other: &str) -> bool {
    if pattern == ANY || pattern == other {
        return true;
    }
    // All below `example.com`, and below what is below; not `example.com` itself.
    let Some(parent) = pattern.strip_prefix('*') else {
        return false;
    };
    let host = other.strip_prefix("*").unwrap_or(other);
    host.len() > parent.len() && host.ends_with(parent)
}

fn is_pattern(pattern: &str) -> bool {
    if pattern == ANY {
        return true;
    }
    let host = pattern.strip_prefix("*.").unwrap_or(pattern);
    host.len() <= HOST_CHARS_MAX && host.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    !label.is_empty() && label.len() <= 63 && label.bytes().all(is_inner) && !label.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(patterns: &[&str]) -> FetchHosts {
        FetchHosts(patterns.iter().map(|it| (*it).to_owned()).collect())
    }

    #[test]
    fn a_host_is_itself_and_a_star_is_all_below() {
        let some = hosts(&["api.example.com", "*.example.org"]);
        for host in ["api.example.com", "a.example.org", "a.b.example.org"] {
            assert!(some.allow(host), "{host}");
        }
        for host in [
            "example.com",
            "b.example.com",
            "api.example.com.evil.test",
            "api.example.com.",
            "example.org",
            "evilexample.org",
            ".example.org",
        ] {
            assert!(!some.allow(host), "{host}");
        }
        assert!(hosts(&["*"]).allow("anything.test") && !FetchHosts::none().allow("anything.test"));
    }

    #[test]
    fn patterns_cover_patterns() {
        for (pattern, other, covers) in [
            ("*", "*.a.test", true),
            ("*.a.test", "*.b.a.test", true),
            ("*.a.test", "*.a.test", true),
            ("*.b.a.test", "*.a.test", false),
            ("*.a.test", "*", false),
            ("a.test", "*.a.test", false),
        ] {
            assert_eq!(host_covers(pattern, other), covers, "{pattern} {other}");
        }
    }

    #[test]
    fn what_is_no_host_is_named() {
        for good in ["a.test", "*.a-b.test", "127.0.0.1", "localhost", "*"] {
            hosts(&[good]).check().unwrap();
        }
        for bad in [
            "",
            "A.test",
            "https://a.test",
            "a.test:8080",
            "a.test/x",
            "*a.test",
            "a.*.test",
            "a..test",
            "*.",
            "[::1]",
        ] {
            let error = hosts(&["good.test", bad]).check().unwrap_err();
            assert!(error.starts_with(&format!("the host {bad:?} of fetch: ")), "{error}");
        }
        assert!(
            hosts(&["a.test"; 65])
                .check()
                .unwrap_err()
                .starts_with("it fetches from 65 hosts")
        );
    }
}
