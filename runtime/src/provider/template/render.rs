//! Filling templates in.

use std::borrow::Cow;

use super::{Function, Part, Template, TemplateError};

/// What a template is filled in with.
pub trait Values {
    /// The value of a name such as `connectionConfig.subdomain`; none when it is missing.
    fn value(&self, name: &str) -> Option<Cow<'_, str>>;

    /// What `${now}` is, in milliseconds since 1970: the same whenever it is asked.
    fn now_ms(&self) -> i64;

    /// What `${random}` is: the same whenever it is asked.
    fn random(&self) -> Cow<'_, str>;

    /// The `authorization` that signs the request at hand for AWS; none where there is no request to sign.
    fn aws_authorization(&self, scope: &AwsScope<'_>) -> Option<String>;
}

/// The arguments of `awsSigV4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwsScope<'a> {
    pub access_key_id: &'a str,
    pub secret_access_key: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    /// The request's own when none is given.
    pub host: Option<&'a str>,
}

/// What `fill` makes of the first alternative whose values are all there; else the error of the first.
pub(super) fn first<'a, T>(
    template: &'a Template,
    fill: impl Fn(usize, &'a [Part]) -> Result<T, TemplateError>,
) -> Result<T, TemplateError> {
    let mut first_missing = None;
    for (index, parts) in template.alternatives.iter().enumerate() {
        match fill(index, parts) {
            Err(missing @ TemplateError::Missing { .. }) => first_missing = first_missing.or(Some(missing)),
            done => return done,
        }
    }
    // A parsed template has an alternative.
    Err(first_missing.unwrap_or_else(|| super::malformed(&template.source, "it is empty")))
}

/// The parts one after the other; borrowed when there is only one.
pub(super) fn text<'a>(
    template: &'a Template,
    parts: &'a [Part],
    values: &'a dyn Values,
) -> Result<Cow<'a, str>, TemplateError> {
    match parts {
        [] => Ok(Cow::Borrowed("")),
        [part] => one(template, part, values),
        parts => {
            let mut filled = String::with_capacity(template.source.len() * 2);
            for part in parts {
                filled.push_str(&one(template, part, values)?);
            }
            Ok(Cow::Owned(filled))
        }
    }
}

pub(super) fn one<'a>(
    template: &'a Template,
    part: &'a Part,
    values: &'a dyn Values,
) -> Result<Cow<'a, str>, TemplateError> {
    match part {
        Part::Text(text) => Ok(Cow::Borrowed(text)),
        Part::Name(name) => values
            .value(name)
            .ok_or_else(|| TemplateError::Missing { name: name.to_string() }),
        Part::Now(now) => now
            .render(values.now_ms())
            .map(Cow::Owned)
            .ok_or_else(|| super::malformed(&template.source, "it names a time before year 1 or after year 9999")),
        Part::Random => Ok(values.random()),
        Part::Call(function, arguments) => {
            let mut filled = Vec::with_capacity(arguments.len());
            for argument in arguments {
                filled.push(text(template, argument, values)?);
            }
            call(template, *function, &filled, values).map(Cow::Owned)
        }
    }
}

fn call(
    template: &Template,
    function: Function,
    arguments: &[Cow<'_, str>],
    values: &dyn Values,
) -> Result<String, TemplateError> {
    if let (Function::AwsSigV4, [access_key_id, secret_access_key, region, service, host @ ..]) = (function, arguments)
    {
        let scope = AwsScope {
            access_key_id,
            secret_access_key,
            region,
            service,
            host: host.first().map(AsRef::as_ref),
        };
        return values
            .aws_authorization(&scope)
            .ok_or_else(|| super::malformed(&template.source, "only a header can sign the request"));
    }
    function.apply(arguments).map_err(|reason| TemplateError::Function {
        template: template.source.to_string(),
        reason,
    })
}
