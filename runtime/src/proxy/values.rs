//! The names that a provider's templates may use, and what they stand for in one connection and one request. Knows nothing
//! of where the filled-in text goes.

use std::borrow::Cow;

use bytes::Bytes;
use http::Method;
use sha2::{Digest as _, Sha256};

use super::url::UpstreamUrl;
use super::{ProxyError, base_url, body_template};
use crate::connections::Target;
use crate::credentials::{self, Credentials};
use crate::model::JsonObject;
use crate::provider::template::{AwsScope, Template, TemplateError, Values};
use crate::signing::aws_sigv4::{self, Signed, Signer};
use crate::signing::query::{canonical, encode, encoded_pairs};

/// What makes one attempt unlike any other: its time and its randomness. Templates see the same throughout an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now_ms: i64,
    pub(super) random: [u8; 16],
}

impl Moment {
    pub(super) fn uuid(&self) -> String {
        uuid::Builder::from_random_bytes(self.random).into_uuid().to_string()
    }
}

/// What is known before there is a request: for URLs and queries.
#[derive(Clone, Copy)]
pub(super) struct TargetValues<'a> {
    pub(super) target: &'a Target,
    pub(super) moment: Moment,
}

/// The request as it will be sent, for headers and bodies.
#[derive(Clone, Copy)]
pub(super) struct RequestValues<'a> {
    pub(super) of: TargetValues<'a>,
    pub(super) method: &'a Method,
    /// What the caller asked for below the base URL.
    pub(super) endpoint: &'a str,
    pub(super) url: &'a UpstreamUrl,
    /// None when there is no body that has one.
    pub(super) content_type: Option<&'a str>,
    /// None when the body is not in memory.
    pub(super) body: Option<&'a Bytes>,
}

impl Values for TargetValues<'_> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        lookup(self.target, name)
    }

    fn now_ms(&self) -> i64 {
        self.moment.now_ms
    }

    fn random(&self) -> Cow<'_, str> {
        Cow::Owned(self.moment.uuid())
    }

    fn aws_authorization(&self, _scope: &AwsScope<'_>) -> Option<String> {
        None
    }
}

impl Values for RequestValues<'_> {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let uri = &self.url.uri;
        Some(match name {
            "endpoint" if self.endpoint.starts_with('/') => Cow::Borrowed(self.endpoint),
            "endpoint" => Cow::Owned(format!("/{}", self.endpoint)),
            "host" => Cow::Owned(aws_sigv4::host(uri)),
            "path" => Cow::Borrowed(uri.path()),
            "method" => Cow::Borrowed(self.method.as_str()),
            "contentType" => Cow::Borrowed(self.content_type.unwrap_or_default()),
            "params" => Cow::Owned(self.params()?),
            "urlCanonicalParams" => Cow::Owned(canonical(encoded_pairs(uri.query().unwrap_or_default()))),
            "bodyCanonicalParams" => Cow::Owned(String::from_utf8_lossy(self.body?).into_owned()),
            _ => return lookup(self.of.target, name),
        })
    }

    fn now_ms(&self) -> i64 {
        self.of.now_ms()
    }

    fn random(&self) -> Cow<'_, str> {
        self.of.random()
    }

    fn aws_authorization(&self, scope: &AwsScope<'_>) -> Option<String> {
        let signer = Signer {
            access_key_id: scope.access_key_id,
            secret_access_key: scope.secret_access_key,
            region: scope.region,
            service: scope.service,
            now_ms: self.of.moment.now_ms,
        };
        let host = scope.host.map_or_else(|| aws_sigv4::host(&self.url.uri), str::to_owned);
        let mut headers = vec![
            ("host", host),
            ("x-amz-date", aws_sigv4::amz_date(self.of.moment.now_ms)),
        ];
        headers.extend(self.content_type.map(|value| ("content-type", value.to_owned())));
        Some(signer.authorization(&Signed {
            method: self.method,
            uri: &self.url.uri,
            headers,
            payload: aws_sigv4::hex(&Sha256::digest(self.body?)),
        }))
    }
}

impl RequestValues<'_> {
    /// Sorted and percent-encoded: of the body for methods that have one, else of the query. A JSON body counts by the texts
    /// and numbers of its top level.
    fn params(&self) -> Option<String> {
        if !matches!(*self.method, Method::POST | Method::PUT | Method::PATCH) {
            return Some(canonical(encoded_pairs(self.url.uri.query().unwrap_or_default())));
        }
        let body = self.body?;
        if !self.content_type.is_some_and(body_template::is_json) {
            return Some(canonical(encoded_pairs(&String::from_utf8_lossy(body))));
        }
        let object: JsonObject = serde_json::from_slice(body).unwrap_or_default();
        let pairs = object.keys().filter_map(|key| {
            let value = credentials::lookup(&object, key)?;
            Some((encode(key), encode(&value)))
        });
        Some(canonical(pairs.collect()))
    }
}

/// Fills a template in; `place` says in errors what the template is for.
pub(super) fn fill<'a>(
    target: &Target,
    template: &'a Template,
    place: &str,
    values: &'a dyn Values,
) -> Result<Cow<'a, str>, ProxyError> {
    template.render(values).map_err(|source| error(target, place, source))
}

/// What an unfilled template means to who sends the request.
pub(super) fn error(target: &Target, place: &str, source: TemplateError) -> ProxyError {
    let (provider, place) = (target.provider.name.clone(), place.to_owned());
    let connection_id = target.connection.connection_id.clone();
    match source {
        TemplateError::Missing { name } => ProxyError::MissingValue {
            provider,
            connection_id,
            place,
            name,
        },
        source @ (TemplateError::NotInHost { .. } | TemplateError::Function { .. }) => ProxyError::UnusableValue {
            provider,
            connection_id,
            place,
            source,
        },
        source @ TemplateError::Malformed { .. } => ProxyError::Template {
            provider,
            place,
            source,
        },
    }
}

/// The value of a name in a template; an empty one counts as missing.
pub(super) fn lookup<'t>(target: &'t Target, name: &str) -> Option<Cow<'t, str>> {
    let scoped = |prefixes: [&str; 2]| prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
    let value = if let Some(key) = scoped(["connectionConfig.", "connection_config."]) {
        connection_config(target, key)
    } else if let Some(key) = scoped(["integrationConfig.", "integration_config."]) {
        at(&target.integration_config, key).or_else(|| base_url::custom(target, key))
    } else if let Some(key) = name.strip_prefix("metadata.") {
        at(&target.connection.metadata, key)
    } else if let Some(key) = name.strip_prefix("credentials.") {
        target.credentials.variable(key)
    } else {
        match name {
            "connectionId" | "connection_id" => Some(Cow::Borrowed(target.connection.connection_id.as_str())),
            "providerConfigKey" | "provider_config_key" => Some(Cow::Borrowed(target.integration.unique_key.as_str())),
            "clientId" => client_id(target),
            "clientSecret" => target
                .client
                .as_ref()
                .map(|client| Cow::Borrowed(client.client_secret.expose().as_str())),
            _ => target
                .credentials
                .variable(name)
                .or_else(|| at(&target.connection_config, name)),
        }
    };
    value.filter(|value| !value.is_empty())
}

/// Region and service of AWS are part of the credentials, and need not be said twice.
fn connection_config<'t>(target: &'t Target, key: &str) -> Option<Cow<'t, str>> {
    let given = at(&target.connection_config, key).filter(|value| !value.is_empty());
    match (&target.credentials, key) {
        (Credentials::AwsSigV4(aws), "region") => given.or(Some(Cow::Borrowed(aws.region.as_str()))),
        (Credentials::AwsSigV4(aws), "service") => given.or(Some(Cow::Borrowed(aws.service.as_str()))),
        _ => given,
    }
}

fn client_id(target: &Target) -> Option<Cow<'_, str>> {
    let client = target.client.as_ref();
    client
        .map(|client| Cow::Borrowed(client.client_id.as_str()))
        .or_else(|| {
            ["client_id", "clientId", "oauth_client_id"]
                .iter()
                .find_map(|key| at(&target.integration_config, key))
        })
}

/// The text or number at a dotted path, else under the flat key that holds the dots.
pub(super) fn at<'o>(object: &'o JsonObject, path: &str) -> Option<Cow<'o, str>> {
    credentials::lookup(object, path)
}
