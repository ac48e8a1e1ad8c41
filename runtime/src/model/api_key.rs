//! API keys: who they are and what they are limited to.

use serde::{Deserialize, Serialize};

use super::{ApiKeyId, EnvironmentId, Scopes};

/// A bearer key of an environment. The key itself is not stored.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub environment_id: EnvironmentId,
    pub name: String,
    /// SHA-256 of the key. Keys are random UUIDs of 122 bits, so no slow hash is needed against guessing.
    pub sha256: [u8; 32],
    pub scopes: Scopes,
    pub limits: KeyLimits,
    pub created_at_ms: i64,
    /// Not later than its last use, and earlier by some minutes at most.
    pub last_used_at_ms: Option<i64>,
}

/// What the scopes of a key are good for; none is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLimits {
    /// Unique keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrations: Option<Vec<String>>,
    /// Connection ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<String>>,
    /// Methods of requests to providers, in capitals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// Where paths of requests to providers begin, below the provider's base URL. `/repos` means `/repos` and what is below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_prefixes: Option<Vec<String>>,
}

impl KeyLimits {
    /// Whether there is no limit.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.integrations.is_none() && self.connections.is_none() && !self.limits_requests()
    }

    /// Whether methods or paths are limited.
    #[must_use]
    pub fn limits_requests(&self) -> bool {
        self.methods.is_some() || self.path_prefixes.is_some()
    }

    #[must_use]
    pub fn allows_integration(&self, unique_key: &str) -> bool {
        allows(self.integrations.as_deref(), unique_key)
    }

    #[must_use]
    pub fn allows_connection(&self, connection_id: &str) -> bool {
        allows(self.connections.as_deref(), connection_id)
    }

    #[must_use]
    pub fn allows_method(&self, method: &str) -> bool {
        allows(self.methods.as_deref(), method)
    }

    /// `endpoint` is a path, with or without a query. Only a path that every server understands in the same way is allowed,
    /// when paths are limited.
    #[must_use]
    pub fn allows_endpoint(&self, endpoint: &str) -> bool {
        let Some(prefixes) = self.path_prefixes.as_deref() else {
            return true;
        };
        let path = endpoint.split(['?', '#']).next().unwrap_or_default();
        let path = if path.is_empty() { "/" } else { path };
        is_plain_path(path) && prefixes.iter().any(|prefix| is_below(path, prefix))
    }
}

fn allows(list: Option<&[String]>, name: &str) -> bool {
    list.is_none_or(|list| list.iter().any(|one| one == name))
}

/// By whole segments: `/repos` is not the beginning of `/repositories`.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// Whether a path can mean one thing only, whatever server reads it: it begins with `/`, no segment is empty (but the last may
/// be), `.` or `..`, also before a `;`, and nothing is hidden by percent-encoding: no `.` or `..`, no `/`, `\`, `%` or control
/// character, and nothing that is not UTF-8.
#[must_use]
pub fn is_plain_path(path: &str) -> bool {
    let Some(below) = path.strip_prefix('/') else {
        return false;
    };
    let is_plain = |segment: &str| {
        let Some(text) = decoded(segment) else { return false };
        let name = text.split(';').next().unwrap_or_default();
        let is_hidden = |char: char| matches!(char, '/' | '\\' | '%') || char.is_control();
        !matches!(name, "" | "." | "..") && !text.contains(is_hidden)
    };
    let (folders, last) = below.rsplit_once('/').unwrap_or(("", below));
    let folders_are_plain = below.len() == last.len() || folders.split('/').all(is_plain);
    folders_are_plain && (last.is_empty() || is_plain(last))
}

/// Without percent-encoding; none where it is malformed or no UTF-8.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(prefixes: &[&str]) -> KeyLimits {
        KeyLimits {
            path_prefixes: Some(prefixes.iter().map(|prefix| (*prefix).to_owned()).collect()),
            ..KeyLimits::default()
        }
    }

    #[test]
    fn prefixes_end_where_segments_end() {
        let limits = paths(&["/repos/", "/user"]);
        for endpoint in [
            "/repos/",
            "/repos/a/b?x=/../y",
            "/repos/a%20b/",
            "/user",
            "/user?x#y",
            "/user/emails",
            "/repos/..a",
            "/repos/a;v=1",
        ] {
            assert!(limits.allows_endpoint(endpoint), "{endpoint}");
        }
        for endpoint in [
            "",
            "/",
            "?/repos/",
            "/repos",
            "/users",
            "repos/a",
            "/REPOS/a",
            "/r%65pos/a",
        ] {
            assert!(!limits.allows_endpoint(endpoint), "{endpoint}");
        }
        assert!(paths(&["/"]).allows_endpoint("") && paths(&["/"]).allows_endpoint("/any?x"));
    }

    #[test]
    fn nothing_leads_out_of_a_prefix() {
        let limits = paths(&["/repos/"]);
        for endpoint in [
            "/repos/../user",
            "/repos/..",
            "/repos/.",
            "/repos/./a",
            "/repos/a/../../user",
            "/repos/%2e%2e/user",
            "/repos/%2E./user",
            "/repos/.%2e/user",
            "/repos/..%2fuser",
            "/repos/a%2f..%2f..%2fuser",
            "/repos/%252e%252e/user",
            "/repos/..;/user",
            "/repos/..;x=1/user",
            "/repos/%2e%2e%3bx/user",
            "/repos/..\\user",
            "/repos/..%5cuser",
            "/repos//user",
            "//repos/a",
            "/repos/%00/a",
            "/repos/%c0%ae%c0%ae/user",
            "/repos/%",
            "/repos/%2",
            "/repos/%zz",
            "/repos/%+2e/user",
            "/https://elsewhere.test/repos/",
        ] {
            assert!(!limits.allows_endpoint(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn no_limit_allows_everything() {
        let limits = KeyLimits::default();
        assert!(limits.is_none() && limits.allows_endpoint("/a/../b") && limits.allows_method("PURGE"));
        assert_eq!(serde_json::to_string(&limits).unwrap(), "{}");
        assert!(serde_json::from_str::<KeyLimits>(r#"{"hosts":["a"]}"#).is_err());
    }
}
