//! Builds the request for the provider out of a target and what the caller asks: URL, headers, credentials. Pure; built
//! anew for every attempt, so that credentials that were refreshed in between are used. What the caller wrote is never
//! evaluated as a template.

use std::borrow::Cow;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::authorization::{self, Unsigned};
use super::base_url::{self, Reach};
use super::url::{UpstreamUrl, append_query, retain_query};
use super::values::{Moment, RequestValues, TargetValues};
use super::{Body, ProxyError, ProxyOptions, ProxyRequest, body_template, values};
use crate::connections::Target;
use crate::credentials::Credentials;
use crate::provider::template::{Template, TemplateError};
use crate::provider::{HeaderTemplate, ProxySpec};

/// Who calls, unless the caller or the provider's data says otherwise.
pub(super) const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("nango-runtime/", env!("CARGO_PKG_VERSION")));

/// What is accepted, unless the caller or the provider's data says otherwise; JSON first, because some APIs choose by it.
pub(super) const ACCEPT: HeaderValue = HeaderValue::from_static("application/json, text/plain, */*");

/// The encodings that `response` decodes; asked for only when it is to decode.
pub(super) const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("gzip, br, deflate, zstd");

/// A request ready to be sent.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) url: UpstreamUrl,
    pub(super) reach: Reach,
    pub(super) headers: HeaderMap,
    /// The body to be sent in the place of the caller's.
    pub(super) body: Option<Bytes>,
    /// What was put in from the connection or integration: it never goes to another origin.
    pub(super) injected: Injected,
    /// Holds a signature over method, URL and body: what changes one of them within the origin is signed anew.
    pub(super) is_signed: bool,
    /// Decode the answer's content encoding.
    pub(super) decompress: bool,
    /// Keep injected headers when a redirect leads to another origin.
    pub(super) forward_headers: bool,
}

/// Names of what carries credentials.
#[derive(Clone, Debug, Default)]
pub(super) struct Injected {
    pub(super) headers: Vec<HeaderName>,
    pub(super) query: Vec<String>,
}

impl Built {
    /// Whether an answer to the request says something of the connection's credentials: they are there, the caller did not
    /// bring his own, and no redirect left them behind.
    pub(super) fn carries_credentials(&self, caller: &HeaderMap) -> bool {
        let Injected { headers, query } = &self.injected;
        let sent = |name: &HeaderName| self.headers.contains_key(name) && !caller.contains_key(name);
        let are_some = !headers.is_empty() || !query.is_empty();
        are_some && !caller.contains_key(header::AUTHORIZATION) && headers.iter().all(sent)
    }
}

/// Signs what a redirect within the origin has made of the request. `method` and `send_body` are those of the next hop.
pub(super) fn sign_again(
    target: &Target,
    request: &ProxyRequest,
    method: &Method,
    send_body: bool,
    moment: Moment,
    built: &mut Built,
) -> Result<(), ProxyError> {
    if !built.is_signed {
        return Ok(());
    }
    built.headers.remove(header::AUTHORIZATION);
    let unsigned = Unsigned {
        method,
        url: &built.url,
        body: if send_body {
            in_memory(built.body.as_ref(), &request.body)
        } else {
            Some(&NOTHING)
        },
        moment,
    };
    authorization::sign(target, &unsigned, &mut built.headers)?;
    Ok(())
}

/// The body as far as it is known: the one that takes the place of the caller's, or his.
fn in_memory<'a>(own: Option<&'a Bytes>, callers: &'a Body) -> Option<&'a Bytes> {
    match (own, callers) {
        (Some(bytes), _) | (None, Body::Bytes(bytes)) => Some(bytes),
        (None, Body::Empty) => Some(&NOTHING),
        (None, Body::Stream(_)) => None,
    }
}

/// Builds the request as it is at `moment`.
pub(super) fn build(
    target: &Target,
    request: &ProxyRequest,
    options: &ProxyOptions,
    moment: Moment,
) -> Result<Built, ProxyError> {
    if target.provider.auth_mode.credentials_type().is_none() {
        return Err(ProxyError::UnsupportedAuth {
            provider: target.provider.name.clone(),
        });
    }
    let no_spec = ProxySpec::default();
    let spec = target.provider.proxy.as_ref().unwrap_or(&no_spec);
    let decompress = request.decompress || spec.decompress;
    let values = TargetValues { target, moment };
    let mut injected = Injected::default();
    let (base, reach) = base_url::resolve(&values, request.base_url_override.as_deref(), options)?;
    let mut text = join(&base, &request.endpoint)?;
    for (key, value) in &request.query {
        append_query(&mut text, key, value);
    }
    inject_query(&values, spec, &mut text, &mut injected)?;
    let url = UpstreamUrl::parse(&text).map_err(|reason| ProxyError::InvalidUrl {
        place: "the URL of the request",
        reason,
    })?;
    let told = content_type(request, spec);
    let (body, implied) = complete_body(&values, spec, request, &url, told)?;
    let content_type = told.or_else(|| implied.as_ref()?.to_str().ok());
    let unsigned = Unsigned {
        method: &request.method,
        url: &url,
        body: in_memory(body.as_ref(), &request.body),
        moment,
    };
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(header::ACCEPT, ACCEPT);
    headers.insert(header::USER_AGENT, USER_AGENT);
    if decompress {
        headers.insert(header::ACCEPT_ENCODING, ACCEPT_ENCODING);
    }
    if let Some(implied) = &implied {
        headers.insert(header::CONTENT_TYPE, implied.clone());
    }
    let seen = RequestValues {
        of: values,
        method: &request.method,
        endpoint: &request.endpoint,
        url: &url,
        content_type,
        body: unsigned.body,
    };
    inject_headers(&seen, spec, &mut headers, &mut injected)?;
    add_caller_headers(request, spec, &mut headers);
    if body.is_some() {
        // It said how long the caller's body is.
        headers.remove(header::CONTENT_LENGTH);
    }
    let signature = authorization::sign(target, &unsigned, &mut headers)?;
    let is_signed = !signature.is_empty();
    injected.headers.extend(signature);
    Ok(Built {
        url,
        reach,
        headers,
        body,
        injected,
        is_signed,
        decompress,
        forward_headers: request
            .forward_headers_on_redirect
            .unwrap_or(spec.forward_headers_on_redirect),
    })
}

/// An empty body, for what is signed.
static NOTHING: Bytes = Bytes::new();

/// The content type that is sent: the caller's, else the provider's.
fn content_type<'a>(request: &'a ProxyRequest, spec: &'a ProxySpec) -> Option<&'a str> {
    let provided = || spec.header("content-type")?.literal.as_ref();
    let value = request.headers.get(header::CONTENT_TYPE).or_else(provided)?;
    value.to_str().ok()
}

/// The body with the provider's fields in it and, if nobody told one, its content type; none when it stays as it is.
fn complete_body(
    values: &TargetValues<'_>,
    spec: &ProxySpec,
    request: &ProxyRequest,
    url: &UpstreamUrl,
    content_type: Option<&str>,
) -> Result<(Option<Bytes>, Option<HeaderValue>), ProxyError> {
    let Some(template) = spec.body.as_ref().filter(|_| body_template::applies(&request.method)) else {
        return Ok((None, None));
    };
    let seen = RequestValues {
        of: *values,
        method: &request.method,
        endpoint: &request.endpoint,
        url,
        content_type,
        body: None,
    };
    let fields = template
        .render(&seen)
        .map_err(|source| values::error(values.target, "the body", source))?;
    if fields.is_empty() {
        return Ok((None, None));
    }
    let merged = body_template::merge(values.target, &fields, &request.body, content_type)?;
    Ok(merged.map_or((None, None), |merged| (Some(merged.bytes), merged.content_type)))
}

/// Base and endpoint with one slash between. An endpoint may repeat the base URL, as `next` links of APIs do.
fn join(base: &str, endpoint: &str) -> Result<String, ProxyError> {
    let trimmed = endpoint.trim_start_matches('/');
    let below = trimmed
        .strip_prefix(base)
        .filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    let absolute =
        trimmed.len() == endpoint.len() && (trimmed.starts_with("https://") || trimmed.starts_with("http://"));
    if below.is_none() && absolute {
        return Err(ProxyError::InvalidUrl {
            place: "the endpoint",
            reason: "it names another host than the provider's base URL; give a path, and the host as `Base-Url-Override`",
        });
    }
    let path = below.unwrap_or(trimmed).trim_start_matches('/');
    let mut url = String::with_capacity(base.len() + path.len() + 1);
    url.push_str(base);
    if !path.is_empty() && !path.starts_with(['?', '#']) || endpoint.starts_with('/') {
        url.push('/');
    }
    url.push_str(path);
    Ok(url)
}

/// The provider's query parameters; each takes the place of the caller's of the same name. One whose value is missing is
/// left out: that is how optional parameters are written.
fn inject_query(
    values: &TargetValues<'_>,
    spec: &ProxySpec,
    url: &mut String,
    injected: &mut Injected,
) -> Result<(), ProxyError> {
    let target = values.target;
    let mut pairs = Vec::new();
    for (key, template) in &spec.query {
        match values::fill(target, template, "a query parameter", values) {
            Ok(value) => pairs.push((Cow::Borrowed(key.as_str()), value)),
            Err(ProxyError::MissingValue { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some((name, value)) = custom_key(values, "query")? {
        pairs.push((name, Cow::Owned(value)));
    }
    if pairs.is_empty() {
        return Ok(());
    }
    if let Some((before, query)) = url.split_once('?') {
        let kept = retain_query(query, |key| !pairs.iter().any(|(name, _)| name == key));
        *url = if kept.is_empty() {
            before.to_owned()
        } else {
            format!("{before}?{kept}")
        };
    }
    for (key, value) in pairs {
        append_query(url, &key, &value);
        injected.query.push(key.into_owned());
    }
    Ok(())
}

/// Where an integration itself says how the key is sent (`private-api-generic`): name and value.
fn custom_key<'t>(values: &TargetValues<'t>, placement: &str) -> Result<Option<(Cow<'t, str>, String)>, ProxyError> {
    let target = values.target;
    if !matches!(target.credentials, Credentials::ApiKey { .. }) || !base_url::declares(target, "keyName") {
        return Ok(None);
    }
    let wanted = base_url::custom(target, "keyPlacement").unwrap_or(Cow::Borrowed("header"));
    if !wanted.eq_ignore_ascii_case(placement) {
        return Ok(None);
    }
    let name = base_url::custom(target, "keyName").ok_or_else(|| ProxyError::MissingValue {
        provider: target.provider.name.clone(),
        connection_id: target.connection.connection_id.clone(),
        place: "the place of the API key".to_owned(),
        name: "keyName".to_owned(),
    })?;
    let value = values::fill(target, value_template(target)?, "the API key", values)?.into_owned();
    Ok(Some((name, value)))
}

/// The integration's own text, not the catalogue's: read once for a target.
fn value_template(target: &Target) -> Result<&Template, ProxyError> {
    if let Some(template) = target.value_template.get() {
        return Ok(template);
    }
    let source = base_url::custom(target, "valueTemplate").unwrap_or(Cow::Borrowed("${apiKey}"));
    let template = Template::parse(&source).map_err(|source| values::error(target, "the API key", source))?;
    Ok(target.value_template.get_or_init(|| template))
}

/// The header that the credentials imply, then those of the provider's data over it.
fn inject_headers(
    values: &RequestValues<'_>,
    spec: &ProxySpec,
    headers: &mut HeaderMap,
    injected: &mut Injected,
) -> Result<(), ProxyError> {
    let target = values.of.target;
    let provided = spec.header("authorization").is_some_and(|header| !header.optional);
    if !provided && let Some(value) = authorization::default_header(target, spec) {
        insert_secret(headers, injected, header::AUTHORIZATION, &value)?;
    }
    for HeaderTemplate {
        name,
        template,
        literal,
        optional,
    } in &spec.headers
    {
        if let Some(literal) = literal {
            headers.insert(name, literal.clone());
            continue;
        }
        match template.render(values) {
            Ok(value) => insert_secret(headers, injected, name.clone(), &value)?,
            // A header that depends on connection_config is optional.
            Err(TemplateError::Missing { .. }) if *optional => {}
            Err(TemplateError::Missing { name }) if name == "bodyCanonicalParams" || name == "params" => {
                return Err(body_template::body_needed(target));
            }
            Err(error) => return Err(values::error(target, &format!("the header {:?}", name.as_str()), error)),
        }
    }
    if let Some((name, value)) = custom_key(&values.of, "header")? {
        let header = HeaderName::from_bytes(name.as_bytes());
        let header = header.map_err(|_| ProxyError::InvalidHeader {
            name: name.into_owned(),
        })?;
        insert_secret(headers, injected, header, &value)?;
    }
    Ok(())
}

fn insert_secret(
    headers: &mut HeaderMap,
    injected: &mut Injected,
    name: HeaderName,
    value: &str,
) -> Result<(), ProxyError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| ProxyError::InvalidHeader {
        name: name.as_str().to_owned(),
    })?;
    // Keeps HTTP/2 from putting it into its compression table.
    value.set_sensitive(true);
    injected.headers.push(name.clone());
    headers.insert(name, value);
    Ok(())
}

/// The caller's headers win over all others, but for a `user-agent` that the provider prescribes.
fn add_caller_headers(request: &ProxyRequest, spec: &ProxySpec, headers: &mut HeaderMap) {
    let streamed = matches!(request.body, Body::Stream(_));
    let passes = |name: &HeaderName| {
        // The length of a body in memory is known; of a streamed one only the caller knows it.
        (is_callers(name) || (*name == header::CONTENT_LENGTH && streamed))
            && (*name != header::USER_AGENT || spec.header("user-agent").is_none())
    };
    replace_headers(headers, &request.headers, passes);
}

/// Whether a header of a request whose body is in memory is for its caller to say.
pub(super) fn is_callers(name: &HeaderName) -> bool {
    !is_hop_by_hop(name) && ![header::HOST, header::EXPECT, header::CONTENT_LENGTH].contains(name)
}

/// Puts those of the caller's headers that pass in the place of those of the same names.
pub(super) fn replace_headers(headers: &mut HeaderMap, callers: &HeaderMap, passes: impl Fn(&HeaderName) -> bool) {
    for name in callers.keys().filter(|name| passes(name)) {
        headers.remove(name);
    }
    for (name, value) in callers.iter().filter(|(name, _)| passes(name)) {
        headers.append(name.clone(), value.clone());
    }
}

/// Headers that are about one connection, not about the message.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    const NAMES: [&str; 8] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name.as_str())
}

#[cfg(test)]
mod tests;
