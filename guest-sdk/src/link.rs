//! The header `Link` (RFC 8288), as far as pagination needs it.

/// The target of the first link with that relation: `<https://host/items?page=2>; rel="next"`.
pub(crate) fn target<'a>(header: &'a str, relation: &str) -> Option<&'a str> {
    let mut rest = header;
    loop {
        let (_, from_target) = rest.split_once('<')?;
        let (target, from_parameters) = from_target.split_once('>')?;
        let (parameters, next) = split_link(from_parameters);
        if has_relation(parameters, relation) {
            return Some(target);
        }
        rest = next;
    }
}

/// Where a link leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Scheme and authority, of an absolute link.
    pub(crate) origin: Option<String>,
    /// Path and query below the origin, or below the base URL.
    pub(crate) path: String,
}

/// Where a link in the answer to a request leads; none when it is no http URL. Relative links are resolved as RFC 3986 says, but
/// for those that begin with `/` or repeat the request's path: APIs mean the base URL by them.
pub(crate) fn resolve(link: &str, request_path: &str) -> Option<Destination> {
    let link = link.trim();
    let link = link.split_once('#').map_or(link, |(before, _)| before);
    if let Some(rest) = link.strip_prefix("//") {
        return absolute("https", rest);
    }
    if let Some((scheme, rest)) = link.split_once("://")
        && !scheme.contains(['/', '?'])
    {
        return absolute(scheme, rest);
    }
    let request = request_path.split_once('?').map_or(request_path, |(path, _)| path);
    let path = match link.bytes().next()? {
        b'/' => below_base_url(link, request_path),
        b'?' => format!("{request}{link}"),
        _ => {
            let asked = link.split_once('?').map_or(link, |(path, _)| path);
            if asked == request.trim_start_matches('/') {
                format!("/{link}")
            } else {
                let folder = request.rfind('/').and_then(|end| request.get(..=end)).unwrap_or("/");
                format!("{folder}{link}")
            }
        }
    };
    Some(Destination { origin: None, path })
}

fn absolute(scheme: &str, rest: &str) -> Option<Destination> {
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    if authority.is_empty() {
        return None;
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(Destination {
        origin: Some(format!("{scheme}://{authority}")),
        path: format!("{slash}{path}"),
    })
}

/// Path and query of an absolute or relative target. A path that ends with `request_path` loses what is before it: that
/// is the path of the base URL.
pub(crate) fn below_base_url(target: &str, request_path: &str) -> String {
    let after_authority = match target.split_once("://") {
        // In a query a URL may stand as a value.
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#']) => rest
            .find(['/', '?', '#'])
            .and_then(|start| rest.get(start..))
            .unwrap_or("/"),
        Some(_) | None => target,
    };
    let without_fragment = after_authority
        .split_once('#')
        .map_or(after_authority, |(before, _)| before);
    let (path, query) = match without_fragment.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (without_fragment, None),
    };
    let asked = request_path.split_once('?').map_or(request_path, |(path, _)| path);
    let asked = asked.trim_start_matches('/');
    let path = match path.strip_suffix(asked) {
        Some(prefix) if !asked.is_empty() && prefix.ends_with('/') => path.get(prefix.len() - 1..).unwrap_or(path),
        _ if path.is_empty() => "/",
        _ => path,
    };
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// Parameters of one link, and what follows the comma after it.
fn split_link(text: &str) -> (&str, &str) {
    split_outside_quotes(text, b',').unwrap_or((text, ""))
}

/// What is before and after the first such byte that is not within a quoted string (RFC 9110, 5.6.4).
fn split_outside_quotes(text: &str, separator: u8) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            // Both sides of an ASCII byte are boundaries.
            _ if byte == separator && !quoted => return Some((text.get(..index)?, text.get(index + 1..)?)),
            _ => {}
        }
    }
    None
}

/// Of several `rel` the first one counts (RFC 8288, 3.3).
fn has_relation(mut parameters: &str, relation: &str) -> bool {
    loop {
        let (parameter, rest) = split_outside_quotes(parameters, b';').unwrap_or((parameters, ""));
        if let Some((name, value)) = parameter.split_once('=')
            && name.trim().eq_ignore_ascii_case("rel")
        {
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            return relations.any(|one| one.eq_ignore_ascii_case(relation));
        }
        if rest.is_empty() {
            return false;
        }
        parameters = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GITHUB: &str = "<https://api.github.com/repositories/1/issues?per_page=100&page=2>; rel=\"next\", \
                          <https://api.github.com/repositories/1/issues?per_page=100&page=5>; rel=\"last\"";

    #[test]
    fn finds_the_relation() {
        assert_eq!(
            target(GITHUB, "next"),
            Some("https://api.github.com/repositories/1/issues?per_page=100&page=2")
        );
        assert_eq!(
            target(GITHUB, "last"),
            Some("https://api.github.com/repositories/1/issues?per_page=100&page=5")
        );
        assert_eq!(target(GITHUB, "prev"), None);
        assert_eq!(
            target("</a>; title=\"x, <y>\"; rel=prev, </b,c>;rel=\"start NEXT\"", "next"),
            Some("/b,c")
        );
        assert_eq!(target("</a>; title=\"x; rel=next\"; rel=prev", "next"), None);
        assert_eq!(target("</a>; title=\"\\\", <b>\"; rel=next", "next"), Some("/a"));
        assert_eq!(target("</a>; rel=prev; rel=next", "next"), None);
        assert_eq!(target("nonsense", "next"), None);
        assert_eq!(target("<unclosed; rel=next", "next"), None);
    }

    #[test]
    fn gives_what_is_below_the_base_url() {
        let below = below_base_url;
        assert_eq!(
            below(
                "https://api.github.com/repositories/1/issues?page=2",
                "/repos/o/r/issues"
            ),
            "/repositories/1/issues?page=2"
        );
        assert_eq!(
            below("https://host/api/v3/items?page=2", "/items?page=1"),
            "/items?page=2"
        );
        assert_eq!(below("https://host/api/v3/items?page=2", "items"), "/items?page=2");
        assert_eq!(below("/items?page=2#top", "/items"), "/items?page=2");
        assert_eq!(below("https://host/sub-items?page=2", "items"), "/sub-items?page=2");
        assert_eq!(below("https://host?page=2", "/"), "/?page=2");
        assert_eq!(below("https://host", "/"), "/");
    }

    #[test]
    fn links_lead_to_an_origin_or_below_the_base_url() {
        let to = |link: &str, request: &str| {
            resolve(link, request).map(|to| format!("{} {}", to.origin.unwrap_or_default(), to.path))
        };
        for (link, request, expected) in [
            ("https://h.test/a?p=2#x", "/a", "https://h.test /a?p=2"),
            ("HTTP://h.test:81?p=2", "/a", "HTTP://h.test:81 /?p=2"),
            ("//h.test", "/a", "https://h.test /"),
            (" /v1/a?p=2 ", "/a?p=1", " /a?p=2"),
            ("?p=2", "/a/b?p=1", " /a/b?p=2"),
            ("b?p=2", "/a/b?p=1", " /a/b?p=2"),
            ("a/b?p=2", "/a/b", " /a/b?p=2"),
            ("c", "a", " /c"),
            ("/a?u=http://x", "/a", " /a?u=http://x"),
        ] {
            assert_eq!(to(link, request).as_deref(), Some(expected), "{link}");
        }
        for link in ["", "#top", "ftp://h.test/a", "https:///a"] {
            assert_eq!(to(link, "/a"), None, "{link}");
        }
    }
}
