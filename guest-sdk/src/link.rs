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

/// Path and query of an absolute or relative target. A path that ends with `request_path` loses what is before it: that
/// is the path of the base URL.
pub(crate) fn below_base_url(target: &str, request_path: &str) -> String {
    let after_authority = match target.split_once("://") {
        Some((_, rest)) => rest
            .find(['/', '?', '#'])
            .and_then(|start| rest.get(start..))
            .unwrap_or("/"),
        None => target,
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

/// Parameters of one link, and what follows the comma after it. A comma inside of quotes does not end a link.
fn split_link(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                // Both sides of an ASCII comma are boundaries.
                return (text.get(..index).unwrap_or(text), text.get(index + 1..).unwrap_or(""));
            }
            _ => {}
        }
    }
    (text, "")
}

fn has_relation(parameters: &str, relation: &str) -> bool {
    parameters.split(';').any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else {
            return false;
        };
        name.trim().eq_ignore_ascii_case("rel")
            && value
                .trim()
                .trim_matches('"')
                .split_ascii_whitespace()
                .any(|one| one.eq_ignore_ascii_case(relation))
    })
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
}
