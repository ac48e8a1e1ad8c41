//! Templates of provider data: `${connectionConfig.subdomain}`, `${apiKey}`, `${base64(${username}:${password})}`, `X || Y`.

/// Why a template has no value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    #[error("`{name}` has no value")]
    Missing { name: String },
    #[error("the template {template:?} is malformed: {reason}")]
    Malformed { template: String, reason: &'static str },
}

/// Fills in the template. `lookup` gives the value of a name such as `connectionConfig.subdomain`; an empty value counts as missing.
/// Values are put in as they are: what they hold is never evaluated again. `encode` is applied to each value (percent-encoding in URLs).
pub fn render(
    _template: &str,
    _lookup: &dyn Fn(&str) -> Option<String>,
    _encode: &dyn Fn(&str) -> String,
) -> Result<String, TemplateError> {
    todo!()
}
