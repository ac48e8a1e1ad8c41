//! A header that a provider wants, read once when the catalogue is loaded.

use http::{HeaderName, HeaderValue};

use super::template::Template;

#[derive(Clone, Debug)]
pub struct HeaderTemplate {
    pub name: HeaderName,
    pub template: Template,
    /// The value, when it is the same for every connection.
    pub literal: Option<HeaderValue>,
    /// Left out when a value is missing: one that depends on the connection_config is optional.
    pub optional: bool,
}

impl HeaderTemplate {
    /// None when the text cannot be a header's.
    #[must_use]
    pub fn new(name: HeaderName, template: Template) -> Option<Self> {
        let literal = match template.is_plain() {
            true => Some(HeaderValue::from_str(template.source()).ok()?),
            false => None,
        };
        let of_connection =
            |name: &str| name.starts_with("connectionConfig.") || name.starts_with("connection_config.");
        let optional = template.names(&of_connection);
        Some(Self {
            name,
            template,
            literal,
            optional,
        })
    }
}
