//! What a server says when it is asked without a token: `WWW-Authenticate: Bearer resource_metadata="…", scope="…"` (RFC 9728,
//! section 5.1). Pure.

use http::{HeaderMap, header};

/// What is of use in it; both may be missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Where the protected resource metadata is.
    pub(super) resource_metadata: Option<String>,
    pub(super) scope: Option<String>,
}

impl Challenge {
    /// The first `Bearer` challenge; what cannot be read counts as none.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::WWW_AUTHENTICATE).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        for line in lines {
            let Ok(challenges) = http_auth::parse_challenges(line) else {
                continue;
            };
            let bearer = challenges
                .into_iter()
                .find(|it| it.scheme.eq_ignore_ascii_case("bearer"));
            let Some(bearer) = bearer else { continue };
            let parameter = |name: &str| {
                let found = bearer.params.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
                found
                    .map(|(_, value)| value.to_unescaped())
                    .filter(|value| !value.is_empty())
            };
            return Self {
                resource_metadata: parameter("resource_metadata"),
                scope: parameter("scope"),
            };
        }
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(lines: &[&'static str]) -> (Option<String>, Option<String>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(line));
        }
        let challenge = Challenge::of(&headers);
        (challenge.resource_metadata, challenge.scope)
    }

    #[test]
    fn the_bearer_challenge_is_found() {
        let url = Some("https://mcp.test/.well-known/oauth-protected-resource".to_owned());
        let line = r#"Bearer error="invalid_token", resource_metadata="https://mcp.test/.well-known/oauth-protected-resource", scope="a b""#;
        assert_eq!(of(&[line]), (url.clone(), Some("a b".to_owned())));
        let among = r#"Basic realm="x, Bearer y", bearer resource_metadata="https://mcp.test/.well-known/oauth-protected-resource""#;
        assert_eq!(of(&[among]), (url.clone(), None));
        assert_eq!(of(&["Basic realm=\"x\"", among]), (url, None));
    }

    #[test]
    fn what_says_nothing_or_nonsense_is_none() {
        for lines in [
            &[][..],
            &["Bearer"],
            &["Basic realm=\"x\""],
            &["\"\"\""],
            &["Bearer resource_metadata=\"\""],
        ] {
            assert_eq!(of(lines), (None, None), "{lines:?}");
        }
    }
}
