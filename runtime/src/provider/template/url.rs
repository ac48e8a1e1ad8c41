//! Templates of base URLs: values are encoded by where they stand, which is known once the template is read.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Part, Template, TemplateError, Values, render};

/// All but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path that a value brings along: its segments stay apart.
const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// A template of a base URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    template: Template,
    /// For each alternative, how its parts are to be put in.
    layouts: Box<[Layout]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Whether the template's own text has the scheme. Without, the first value is a URL or its beginning.
    has_scheme: bool,
    /// The first part that belongs to path or query.
    path_from: usize,
}

impl UrlTemplate {
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let template = Template::parse(source)?;
        let layouts = template.alternatives.iter().map(|parts| layout(parts)).collect();
        Ok(Self { template, layouts })
    }

    #[must_use]
    pub fn source(&self) -> &str {
        self.template.source()
    }

    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.template.is_plain()
    }

    /// The URL of the first alternative all of whose values are there. In the path and the query values are
    /// percent-encoded; in the authority they stay as they are and may not hold what would end it, unless nothing of the
    /// template's own follows there: such a value may bring a path. A value that brings the scheme along stays as it is.
    pub fn render<'a>(&'a self, values: &'a dyn Values) -> Result<Cow<'a, str>, TemplateError> {
        render::first(&self.template, |index, parts| {
            let layout = self.layouts.get(index).copied().unwrap_or(Layout {
                has_scheme: true,
                path_from: 0,
            });
            self.fill(layout, parts, values)
        })
    }

    fn fill<'a>(
        &'a self,
        layout: Layout,
        parts: &'a [Part],
        values: &'a dyn Values,
    ) -> Result<Cow<'a, str>, TemplateError> {
        if let [part] = parts {
            // Plain text, or a value that is the whole URL.
            return render::one(&self.template, part, values);
        }
        let mut url = String::with_capacity(self.template.source.len() * 2);
        for (index, part) in parts.iter().enumerate() {
            let value = render::one(&self.template, part, values)?;
            match part {
                Part::Text(_) => url.push_str(&value),
                _ if index >= layout.path_from => url.extend(utf8_percent_encode(&value, COMPONENT)),
                _ if !layout.has_scheme && index == 0 => url.push_str(&value),
                _ if layout.ends_authority(index, parts) => {
                    let is_all_of_it = url.ends_with("://");
                    let keeps_slash = index + 1 == parts.len();
                    let (host, path) = host_and_path(part, &value, is_all_of_it)?;
                    url.push_str(host);
                    let path = if keeps_slash { path } else { path.trim_end_matches('/') };
                    url.extend(utf8_percent_encode(path, PATH));
                }
                _ => url.push_str(within_host(part, &value)?),
            }
        }
        Ok(Cow::Owned(url))
    }
}

impl Layout {
    /// Whether the authority is over behind that part: the template goes on with a path or a query, or not at all.
    fn ends_authority(self, index: usize, parts: &[Part]) -> bool {
        let next = index + 1;
        next == self.path_from
            && match parts.get(next) {
                None => true,
                Some(Part::Text(text)) => text.starts_with(['/', '?']),
                Some(_) => false,
            }
    }
}

fn layout(parts: &[Part]) -> Layout {
    let has_scheme = parts
        .iter()
        .any(|part| matches!(part, Part::Text(text) if text.contains("://")));
    let mut scheme_seen = !has_scheme;
    for (index, part) in parts.iter().enumerate() {
        let Part::Text(text) = part else { continue };
        let after_scheme = match text.split_once("://") {
            Some((_, after)) if !scheme_seen => {
                scheme_seen = true;
                after
            }
            _ if !scheme_seen => continue,
            _ => text,
        };
        if after_scheme.contains(['/', '?', '#']) {
            return Layout {
                has_scheme,
                path_from: index,
            };
        }
    }
    Layout {
        has_scheme,
        path_from: parts.len(),
    }
}

fn within_host<'v>(part: &Part, value: &'v str) -> Result<&'v str, TemplateError> {
    match value.chars().find(|c| matches!(c, '/' | '?' | '#' | '\\' | '@')) {
        None => Ok(value),
        Some(character) => Err(not_in_host(part, character)),
    }
}

/// `acme.example.com/main` as host and path. It holds no user, no query and no scheme of its own.
fn host_and_path<'v>(
    part: &Part,
    value: &'v str,
    is_whole_authority: bool,
) -> Result<(&'v str, &'v str), TemplateError> {
    let (host, path) = value.split_at(value.find('/').unwrap_or(value.len()));
    // `https:///x` is read as the host `x`.
    if host.is_empty() && is_whole_authority && !path.is_empty() {
        return Err(not_in_host(part, '/'));
    }
    // A scheme: `https://x`.
    if host.ends_with(':') && path.starts_with("//") {
        return Err(not_in_host(part, ':'));
    }
    within_host(part, host)?;
    match path.chars().find(|c| matches!(c, '?' | '#' | '\\' | '@')) {
        None => Ok((host, path)),
        Some(character) => Err(not_in_host(part, character)),
    }
}

fn not_in_host(part: &Part, character: char) -> TemplateError {
    TemplateError::NotInHost {
        name: match part {
            Part::Name(name) => name.to_string(),
            Part::Text(_) | Part::Now(_) | Part::Random | Part::Call(..) => "a function".to_owned(),
        },
        character,
    }
}
