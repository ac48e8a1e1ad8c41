//! Templates of provider data: `${connectionConfig.subdomain}`, `${apiKey}`, `${base64(${username}:${password})}`, `X || Y`.
//!
//! The language, in one paragraph: `${name}` is replaced by the value of that name; `${function(template, …)}` by what the
//! function makes of the inner templates (see [`Function`]); `${now}`, `${now+7:days:YYYY-MM-DD}` by the time of the request
//! (see [`Now`]) and `${random}` by a UUID, both the same throughout a request; `X || Y` is X if all its values are there, else
//! Y (only in a template that has a placeholder at all). Only the template's own text is read as language, once, when the
//! catalogue is loaded. Values are put in as they are and never looked at again, so a value holding `${…}` or `||` is just
//! text; nobody should pass a caller's text in as template. Nothing here reads a clock, draws randomness or sees a request:
//! all that comes from [`Values`].

mod body;
mod function;
mod now;
mod parser;
mod render;
#[cfg(test)]
mod tests;
mod url;

use std::borrow::Cow;

pub use body::BodyTemplate;
pub use function::{Function, FunctionError};
pub use now::Now;
pub use render::{AwsScope, Values};
pub use url::UrlTemplate;

/// Placeholders inside placeholders, at most.
pub const DEPTH_MAX: usize = 8;

/// Why a template has no value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    #[error("`{name}` has no value")]
    Missing { name: String },
    #[error("the template {template:?} is malformed: {reason}")]
    Malformed { template: String, reason: &'static str },
    /// A value that would end the host name it is put into. The value is not repeated: it may be a secret.
    #[error("the value of `{name}` holds {character:?}, which cannot stand in a host name")]
    NotInHost { name: String, character: char },
    #[error("the template {template:?} cannot be computed: {reason}")]
    Function { template: String, reason: FunctionError },
}

/// A parsed template, for rendering many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    /// At least one; the first whose values are all there is taken.
    alternatives: Box<[Parts]>,
}

type Parts = Box<[Part]>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Name(Box<str>),
    Now(Now),
    Random,
    Call(Function, Box<[Parts]>),
}

impl Template {
    /// Reads the language.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            alternatives: parser::alternatives(source)?,
            source: source.into(),
        })
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is plain text, without placeholders: the same for every connection.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(&*self.alternatives, [parts] if matches!(&**parts, [] | [Part::Text(_)]))
    }

    /// Whether a placeholder, however deep, names something that `is_wanted` accepts.
    pub fn names(&self, is_wanted: &dyn Fn(&str) -> bool) -> bool {
        self.alternatives.iter().any(|parts| names(parts, is_wanted))
    }

    /// The text with all values filled in, as they are.
    pub fn render<'a>(&'a self, values: &'a dyn Values) -> Result<Cow<'a, str>, TemplateError> {
        render::first(self, |_, parts| render::text(self, parts, values))
    }
}

fn names(parts: &[Part], is_wanted: &dyn Fn(&str) -> bool) -> bool {
    parts.iter().any(|part| match part {
        Part::Name(name) => is_wanted(name),
        Part::Call(_, arguments) => arguments.iter().any(|argument| names(argument, is_wanted)),
        Part::Text(_) | Part::Now(_) | Part::Random => false,
    })
}

fn malformed(template: &str, reason: &'static str) -> TemplateError {
    TemplateError::Malformed {
        template: template.to_owned(),
        reason,
    }
}
