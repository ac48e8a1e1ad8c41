//! What the templates of a token request are filled in with, and the parts of a request that are made of them. Pure.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::RefreshError;
use super::request::JSON;
use crate::connections::Target;
use crate::credentials::{Secret, lookup};
use crate::model::JsonObject;
use crate::provider::template::{AwsScope, BodyTemplate, Template, TemplateError, UrlTemplate, Values};

pub(super) const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("nango-runtime/", env!("CARGO_PKG_VERSION")));

/// Where what an assertion is signed with is, until it was: `assertionOption`, as the browser's SDK has it.
pub(super) const ASSERTION_OPTION: &str = "assertionOption";

/// What makes one request unlike any other: its time and its randomness.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now_ms: i64,
    pub(super) random: [u8; 16],
}

/// A connection at a moment, and what was answered so far.
pub(super) struct TokenValues<'t> {
    pub(super) target: &'t Target,
    pub(super) moment: Moment,
    /// The answers of the steps before: `${step1.data.id}` is in the first.
    pub(super) answers: Vec<Secret<JsonObject>>,
    /// What was signed for this request, by the name that templates have for it.
    pub(super) signed: Vec<(&'static str, Secret<String>)>,
}

impl<'t> TokenValues<'t> {
    pub(super) fn new(target: &'t Target, moment: Moment) -> Self {
        Self {
            target,
            moment,
            answers: Vec::new(),
            signed: Vec::new(),
        }
    }

    pub(super) fn fill(&self, template: &str, key: &'static str) -> Result<String, RefreshError> {
        let template = Template::parse(template).map_err(|error| self.error(key, error))?;
        let filled = template.render(self).map_err(|error| self.error(key, error))?;
        Ok(filled.into_owned())
    }

    /// The object below `key` of an entry, its values filled in; those that are missing are left out.
    pub(super) fn object(&self, entry: &Value, key: &'static str) -> Result<JsonObject, RefreshError> {
        let Some(given) = entry.get(key).and_then(Value::as_object) else {
            return Ok(JsonObject::new());
        };
        let template = BodyTemplate::parse(given).map_err(|(_, error)| self.error(key, error))?;
        template.render(self).map_err(|error| self.error(key, error))
    }

    /// The provider's parameters below `section`, their values filled in; all must be there.
    pub(super) fn add(&self, section: &'static str, into: &mut JsonObject) -> Result<(), RefreshError> {
        let given = self.target.provider.json.get(section).and_then(Value::as_object);
        for (name, value) in given.into_iter().flatten() {
            let value = match value {
                Value::String(template) => self.fill(template, section)?.into(),
                other => other.clone(),
            };
            into.insert(name.clone(), value);
        }
        Ok(())
    }

    /// The URL below `key` of an entry, with the connection's values in it.
    pub(super) fn url(&self, entry: &Value, key: &'static str) -> Result<Url, RefreshError> {
        let template = entry.get(key).and_then(Value::as_str).unwrap_or_default();
        let template = UrlTemplate::parse(template).map_err(|error| self.error(key, error))?;
        let filled = template.render(self).map_err(|error| self.error(key, error))?;
        self.usable_url(&filled, key)
    }

    /// A URL that a request with secrets may go to.
    pub(super) fn usable_url(&self, filled: &str, key: &'static str) -> Result<Url, RefreshError> {
        let malformed = |reason: String| RefreshError::Url {
            provider: self.target.provider.name.clone(),
            key,
            reason,
        };
        let url = Url::parse(filled.trim()).map_err(|error| malformed(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(malformed("it is neither http nor https".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(malformed("it holds a user name or password".to_owned()));
        }
        Ok(url)
    }

    /// The provider's `token_headers`; all their values must be there.
    pub(super) fn headers(&self) -> Result<HeaderMap, RefreshError> {
        let mut filled = JsonObject::new();
        self.add("token_headers", &mut filled)?;
        header_map(&filled)
    }

    pub(super) fn error(&self, key: &'static str, error: TemplateError) -> RefreshError {
        let provider = self.target.provider.name.clone();
        match error {
            TemplateError::Missing { name } => RefreshError::MissingValue { provider, key, name },
            source @ (TemplateError::Malformed { .. }
            | TemplateError::NotInHost { .. }
            | TemplateError::Function { .. }) => RefreshError::Template { provider, key, source },
        }
    }
}

/// These headers and those of every token request.
pub(super) fn header_map(filled: &JsonObject) -> Result<HeaderMap, RefreshError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, JSON);
    headers.insert(header::USER_AGENT, USER_AGENT);
    for (name, value) in filled {
        let invalid = || RefreshError::Header { name: name.clone() };
        let mut value = HeaderValue::from_str(&text(value)).map_err(|_| invalid())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?, value);
    }
    Ok(headers)
}

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Values for TokenValues<'_> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        if let Some((_, signed)) = self.signed.iter().find(|(known, _)| *known == name) {
            return Some(Cow::Borrowed(signed.expose().as_str()));
        }
        let (scope, key) = name.split_once('.').unwrap_or(("", name));
        let value = match scope {
            "assertionOption" | "assertion_option" => {
                let name = format!("{ASSERTION_OPTION}.{key}");
                self.target.credentials.variable(&name)
            }
            "connectionConfig" | "connection_config" => lookup(&self.target.connection_config, key),
            "integrationConfig" | "integration_config" => lookup(&self.target.integration_config, key),
            _ => self
                .answer(scope)
                .map_or_else(|| self.target.credentials.variable(name), |answer| lookup(answer, key)),
        };
        value.filter(|value| !value.is_empty())
    }

    fn now_ms(&self) -> i64 {
        self.moment.now_ms
    }

    fn random(&self) -> Cow<'_, str> {
        let uuid = uuid::Builder::from_random_bytes(self.moment.random).into_uuid();
        Cow::Owned(uuid.to_string())
    }

    fn aws_authorization(&self, _scope: &AwsScope<'_>) -> Option<String> {
        None
    }
}

impl TokenValues<'_> {
    /// The answer that `step1`, `step2` … names.
    fn answer(&self, scope: &str) -> Option<&JsonObject> {
        let number: usize = scope.strip_prefix("step")?.parse().ok()?;
        self.answers.get(number.checked_sub(1)?).map(Secret::expose)
    }
}
