//! One entry of a provider file, from JSON to [`Provider`]. Reads what is understood and reports what is malformed with the
//! place it is at; does not touch the keys that others understand.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use super::header::HeaderTemplate;
use super::revocation::{Revocation, revocation};
use super::template::{BodyTemplate, Template, TemplateError, UrlTemplate};
use super::webhook::{self, webhook};
use super::{
    AuthMode, ClientRegistration, InBody, PaginateSpec, Provider, ProxySpec, RateLimitScope, RetrySpec,
    SignatureMethod, VerificationSpec, WaitStrategy,
};
use crate::model::JsonObject;

/// What is malformed in an entry. The key is a path such as `proxy.retry.at`.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    #[error("`{key}` is not as expected")]
    Shape {
        key: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("`{key}` cannot be used")]
    Template {
        key: String,
        #[source]
        source: TemplateError,
    },
    #[error("`{key}`: {value:?} is no HTTP header name")]
    HeaderName { key: &'static str, value: String },
    #[error("`{key}` holds characters that a header cannot carry")]
    HeaderValue { key: String },
    #[error("`proxy.retry.error_code`: {value:?} is no status; write 429, 5xx or 500-502")]
    StatusRule { value: String },
    #[error(
        "`{key}`: {value:?} is no place in a request; write header.name, query.name, form.name, or body.path with dots between"
    )]
    Place { key: &'static str, value: String },
    #[error("`{key}`: {what}")]
    Webhook { key: &'static str, what: &'static str },
    #[error("`proxy.verification.method`: {value:?} is no HTTP method")]
    Method { value: String },
    #[error("`revocation.method`: {value:?} is no HTTP method")]
    RevocationMethod { value: String },
    #[error("`proxy.retry.in_body.value`: {value:?} is no pattern; write it as /retry after (.+)/")]
    Pattern {
        value: String,
        #[source]
        source: regex::Error,
    },
}

/// Makes a provider of an entry whose alias is resolved.
pub(super) fn provider(name: &str, mut json: Value) -> Result<Provider, EntryError> {
    let entry: Entry = serde_path_to_error::deserialize(&json).map_err(|error| EntryError::Shape {
        key: error.path().to_string(),
        source: error.into_inner(),
    })?;
    let by_header = json.get("authorization_method").and_then(Value::as_str) == Some("header");
    if let Value::Object(object) = &mut json {
        object.insert("name".to_owned(), Value::String(name.to_owned()));
    }
    Ok(Provider {
        name: name.to_owned(),
        display_name: entry.display_name.unwrap_or_else(|| name.to_owned()),
        auth_mode: entry.auth_mode,
        signature_method: entry.signature_method,
        client_registration: entry.client_registration.unwrap_or({
            // Who says where clients register themselves means that they do.
            match entry.registration_url {
                Some(_) => ClientRegistration::Dynamic,
                None => ClientRegistration::Static,
            }
        }),
        proxy: entry.proxy.map(proxy).transpose()?,
        revocation: match entry.revocation {
            Some(given) => Some(revocation(given, by_header)?),
            None => None,
        },
        webhook: entry.webhook.map(webhook).transpose()?,
        json,
    })
}

#[derive(Deserialize)]
struct Entry {
    display_name: Option<String>,
    auth_mode: AuthMode,
    #[serde(default)]
    signature_method: SignatureMethod,
    client_registration: Option<ClientRegistration>,
    registration_url: Option<String>,
    proxy: Option<Proxy>,
    revocation: Option<Revocation>,
    webhook: Option<webhook::Given>,
}

#[derive(Deserialize)]
struct Proxy {
    base_url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Scalar>,
    #[serde(default)]
    query: BTreeMap<String, Scalar>,
    #[serde(default)]
    body: JsonObject,
    #[serde(default)]
    retry: Retry,
    paginate: Option<PaginateSpec>,
    #[serde(default)]
    rate_limit: RateLimit,
    #[serde(default)]
    decompress: bool,
    #[serde(default)]
    forward_headers_on_redirect: bool,
    verification: Option<Verification>,
}

#[derive(Deserialize)]
struct Verification {
    method: Option<String>,
    #[serde(default)]
    endpoints: OneOrMany,
    base_url_override: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Scalar>,
    #[serde(default)]
    data: JsonObject,
}

#[derive(Default, Deserialize)]
struct Retry {
    #[serde(default)]
    at: OneOrMany,
    #[serde(default)]
    after: OneOrMany,
    remaining: Option<String>,
    #[serde(default)]
    error_code: OneOrMany,
    in_body: Option<InBodyRule>,
}

#[derive(Deserialize)]
struct InBodyRule {
    path: String,
    value: String,
    strategy: WaitStrategy,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimit {
    #[serde(default)]
    scope: RateLimitScope,
}

fn proxy(proxy: Proxy) -> Result<ProxySpec, EntryError> {
    let base_url = proxy
        .base_url
        .as_deref()
        .map(|source| template("proxy.base_url", UrlTemplate::parse(source)));
    let mut headers = Vec::with_capacity(proxy.headers.len());
    for (name, Scalar(value)) in proxy.headers {
        headers.push(header("proxy.headers", &name, &value)?);
    }
    let mut query = Vec::with_capacity(proxy.query.len());
    for (name, Scalar(value)) in proxy.query {
        let key = format!("proxy.query.{name}");
        query.push((name, template(&key, Template::parse(&value))?));
    }
    let body = BodyTemplate::parse(&proxy.body).map_err(|(path, source)| EntryError::Template {
        key: format!("proxy.body.{path}"),
        source,
    })?;
    Ok(ProxySpec {
        base_url: base_url.transpose()?,
        headers,
        query,
        body: (!body.is_empty()).then_some(body),
        retry: retry(&proxy.retry)?,
        paginate: proxy.paginate,
        rate_limit: proxy.rate_limit.scope,
        decompress: proxy.decompress,
        forward_headers_on_redirect: proxy.forward_headers_on_redirect,
        verification: match proxy.verification {
            Some(given) => verification(given)?,
            None => None,
        },
    })
}

/// None when no endpoint is named.
fn verification(given: Verification) -> Result<Option<VerificationSpec>, EntryError> {
    if given.endpoints.0.is_empty() {
        return Ok(None);
    }
    let method = given.method.unwrap_or_else(|| "GET".to_owned());
    let Ok(method) = http::Method::from_bytes(method.to_ascii_uppercase().as_bytes()) else {
        return Err(EntryError::Method { value: method });
    };
    let endpoints = given.endpoints.0.iter();
    let endpoints = endpoints.map(|source| template("proxy.verification.endpoints", UrlTemplate::parse(source)));
    let base_url = given.base_url_override.as_deref();
    let base_url = base_url.map(|source| template("proxy.verification.base_url_override", UrlTemplate::parse(source)));
    let headers = given.headers.iter();
    let headers = headers.map(|(name, Scalar(value))| header("proxy.verification.headers", name, value));
    let data = BodyTemplate::parse(&given.data).map_err(|(path, source)| EntryError::Template {
        key: format!("proxy.verification.data.{path}"),
        source,
    })?;
    Ok(Some(VerificationSpec {
        method,
        endpoints: endpoints.collect::<Result<_, _>>()?,
        base_url: base_url.transpose()?,
        headers: headers.collect::<Result<_, _>>()?,
        data: (!data.is_empty()).then_some(data),
    }))
}

fn retry(retry: &Retry) -> Result<RetrySpec, EntryError> {
    let names = |key: &'static str, OneOrMany(names): &OneOrMany| -> Result<Vec<String>, EntryError> {
        names.iter().map(|name| header_name(key, name)).collect()
    };
    if let Some(value) = retry.error_code.0.iter().find(|rule| !is_status_rule(rule)) {
        return Err(EntryError::StatusRule { value: value.clone() });
    }
    Ok(RetrySpec {
        at: names("proxy.retry.at", &retry.at)?,
        after: names("proxy.retry.after", &retry.after)?,
        remaining: match &retry.remaining {
            Some(name) => Some(header_name("proxy.retry.remaining", name)?),
            None => None,
        },
        error_code: retry.error_code.0.clone(),
        in_body: retry.in_body.as_ref().map(in_body).transpose()?,
    })
}

fn in_body(rule: &InBodyRule) -> Result<InBody, EntryError> {
    InBody::new(&rule.path, &rule.value, rule.strategy).map_err(|source| EntryError::Pattern {
        value: rule.value.clone(),
        source,
    })
}

fn header(section: &'static str, name: &str, value: &str) -> Result<HeaderTemplate, EntryError> {
    let key = format!("{section}.{name}");
    let template = template(&key, Template::parse(value))?;
    let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) else {
        return Err(EntryError::HeaderName {
            key: section,
            value: name.to_owned(),
        });
    };
    HeaderTemplate::new(name, template).ok_or(EntryError::HeaderValue { key })
}

fn template<T>(key: &str, parsed: Result<T, TemplateError>) -> Result<T, EntryError> {
    parsed.map_err(|source| EntryError::Template {
        key: key.to_owned(),
        source,
    })
}

/// In lower case, as `http` keeps them.
fn header_name(key: &'static str, value: &str) -> Result<String, EntryError> {
    match http::HeaderName::from_bytes(value.as_bytes()) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err(EntryError::HeaderName {
            key,
            value: value.to_owned(),
        }),
    }
}

fn is_status_rule(rule: &str) -> bool {
    let is_status = |text: &str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    match rule.split_once('-') {
        Some((from, to)) => is_status(from) && is_status(to) && from <= to,
        None => is_status(rule) || matches!(rule.as_bytes(), [b'1'..=b'5', b'x', b'x']),
    }
}

/// Text, or a number or flag somebody wrote without quotes.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Scalar, E> {
        Ok(Scalar(flag.to_string()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }
}

/// `x` or `[x, y]`.
#[derive(Default)]
struct OneOrMany(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text or a list of texts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany(vec![text.to_owned()]))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<OneOrMany, E> {
        Ok(OneOrMany(vec![number.to_string()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
        let mut many = Vec::new();
        while let Some(Scalar(item)) = items.next_element()? {
            many.push(item);
        }
        Ok(OneOrMany(many))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::credentials::CredentialsType;

    #[test]
    fn an_entry_is_read_and_kept() {
        let json = json!({
            "display_name": "Acme", "auth_mode": "API_KEY", "categories": ["crm"], "unheard_of": {"x": 1},
            "proxy": {
                "base_url": "https://${connectionConfig.subdomain}.acme.test || https://acme.test",
                "headers": {"X-API-Key": "${apiKey}", "Acme-Version": 2},
                "query": {"key": "${apiKey}"},
                "retry": {"at": "X-RateLimit-Reset", "after": ["Retry-After"], "remaining": "X-Remaining", "error_code": [403, "5xx", "500-502"]},
                "verification": {"method": "post", "endpoints": "/me/${credentials.apiKey}", "headers": {"x": 1}, "data": {"a": 1}},
                "paginate": {"type": "link"}, "decompress": true, "rate_limit": {"scope": "integration"},
            },
        });
        let provider = provider("acme", json.clone()).unwrap();
        let spec = provider.proxy.as_ref().unwrap();
        assert_eq!(provider.auth_mode, AuthMode::ApiKey);
        assert_eq!(spec.header("x-api-key").unwrap().template.source(), "${apiKey}");
        assert_eq!(spec.header("acme-version").unwrap().literal.as_ref().unwrap(), "2");
        assert_eq!(spec.retry.at, ["x-ratelimit-reset"]);
        assert_eq!(spec.retry.after, ["retry-after"]);
        assert_eq!(spec.retry.remaining.as_deref(), Some("x-remaining"));
        assert_eq!(spec.retry.error_code, ["403", "5xx", "500-502"]);
        assert_eq!(
            spec.paginate.as_ref().map(ToString::to_string).as_deref(),
            Some(r#"{"type":"link"}"#)
        );
        let verification = spec.verification.as_ref().unwrap();
        assert_eq!(
            (&verification.method, verification.endpoints.len()),
            (&http::Method::POST, 1)
        );
        assert!(verification.data.is_some() && verification.base_url.is_none() && verification.headers.len() == 1);
        assert_eq!(spec.rate_limit, RateLimitScope::Integration);
        assert!(spec.decompress && !spec.forward_headers_on_redirect);
        assert_eq!(provider.json["unheard_of"], json["unheard_of"]);
        assert_eq!(provider.json["proxy"], json["proxy"]);
        assert_eq!(provider.json["name"], "acme");
    }

    #[test]
    fn every_auth_mode_of_the_schema_loads() {
        for (mode, credentials) in [
            ("OAUTH2", Some(CredentialsType::OAuth2)),
            ("API_KEY", Some(CredentialsType::ApiKey)),
            ("OAUTH2_CC", Some(CredentialsType::OAuth2Cc)),
            ("BASIC", Some(CredentialsType::Basic)),
            ("TWO_STEP", Some(CredentialsType::TwoStep)),
            ("MCP_OAUTH2", Some(CredentialsType::OAuth2)),
            ("JWT", Some(CredentialsType::Jwt)),
            ("OAUTH1", Some(CredentialsType::OAuth1)),
            ("BILL", Some(CredentialsType::Bill)),
            ("MCP_OAUTH2_GENERIC", Some(CredentialsType::OAuth2)),
            ("NONE", Some(CredentialsType::None)),
            ("AWS_SIGV4", Some(CredentialsType::AwsSigV4)),
            ("INSTALL_PLUGIN", Some(CredentialsType::Basic)),
            ("SIGNATURE", Some(CredentialsType::Signature)),
            ("APP", Some(CredentialsType::App)),
            ("CUSTOM", Some(CredentialsType::App)),
            ("TBA", Some(CredentialsType::Tba)),
            ("APP_STORE", None),
            ("TABLEAU", None),
        ] {
            let provider = provider("p", json!({"auth_mode": mode})).unwrap();
            assert_eq!(
                (provider.auth_mode.credentials_type(), provider.auth_mode_name()),
                (credentials, mode)
            );
        }
    }

    #[test]
    fn clients_register_themselves_where_the_data_says_so() {
        let of = |entry| provider("p", entry).unwrap().client_registration;
        assert_eq!(of(json!({"auth_mode": "MCP_OAUTH2"})), ClientRegistration::Static);
        let with_url = json!({"auth_mode": "MCP_OAUTH2", "registration_url": "https://acme.test/register"});
        assert_eq!(of(with_url), ClientRegistration::Dynamic);
        let cimd = json!({"auth_mode": "MCP_OAUTH2", "client_registration": "cimd"});
        assert_eq!(of(cimd), ClientRegistration::Cimd);
    }

    #[test]
    fn malformed_entries_name_the_key() {
        for (json, message) in [
            (
                json!({"auth_mode": "MAGIC"}),
                "`auth_mode` is not as expected: unknown variant `MAGIC`",
            ),
            (json!({}), "missing field `auth_mode`"),
            (
                json!({"auth_mode": "NONE", "proxy": {"retry": {"at": {"x": 1}}}}),
                "`proxy.retry.at` is not as expected: invalid type: map, expected text or a list of texts",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"paginate": {"type": "pages"}}}),
                "`proxy.paginate.type` is not as expected: unknown variant `pages`",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"headers": {"a b": "x"}}}),
                "`proxy.headers`: \"a b\" is no HTTP header name",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"base_url": "https://${x"}}),
                "`proxy.base_url` cannot be used: the template \"https://${x\" is malformed",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"headers": {"x": "${base64(${apiKey}"}}}),
                "`proxy.headers.x` cannot be used: the template \"${base64(${apiKey}\" is malformed",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"headers": {"x": "a\nb"}}}),
                "`proxy.headers.x` holds characters that a header cannot carry",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"query": {"x": "${"}}}),
                "`proxy.query.x` cannot be used",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"verification": {"endpoints": ["/${"]}}}),
                "`proxy.verification.endpoints` cannot be used",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"verification": {"endpoints": ["/"], "method": "G T"}}}),
                "`proxy.verification.method`: \"G T\" is no HTTP method",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"body": {"auth": {"key": "${"}}}}),
                "`proxy.body.auth.key` cannot be used",
            ),
            (
                json!({"auth_mode": "OAUTH1", "signature_method": "ROT13"}),
                "`signature_method` is not as expected: unknown variant `ROT13`",
            ),
            (
                json!({"auth_mode": "MCP_OAUTH2", "client_registration": "magic"}),
                "`client_registration` is not as expected: unknown variant `magic`",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"retry": {"error_code": ["6xx"]}}}),
                "`proxy.retry.error_code`: \"6xx\" is no status",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"rate_limit": {"scope": "tenant"}}}),
                "`proxy.rate_limit.scope` is not as expected: unknown variant `tenant`, expected one of `connection`, `integration`, `none`",
            ),
            (
                json!({"auth_mode": "NONE", "proxy": {"retry": {"in_body": {"path": "a", "value": "/(/", "strategy": "at"}}}}),
                "`proxy.retry.in_body.value`: \"/(/\" is no pattern",
            ),
        ] {
            let error = crate::provider::tests::chain(&provider("p", json).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
    }
}
