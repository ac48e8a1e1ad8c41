//! Builds the request for the provider out of a target and what the caller asks: URL, headers, credentials. Pure; built
//! anew for every attempt, so that credentials that were refreshed in between are used. What the caller wrote is never
//! evaluated as a template.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::base_url::{self, Reach};
use super::url::{UpstreamUrl, append_query, retain_query};
use super::{Body, ProxyError, ProxyOptions, ProxyRequest, values};
use crate::connections::Target;
use crate::credentials::Credentials;
use crate::provider::ProxySpec;

/// Who calls, unless the caller or the provider's data says otherwise.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("nango-runtime/", env!("CARGO_PKG_VERSION")));

/// What is accepted, unless the caller or the provider's data says otherwise; JSON first, because some APIs choose by it.
const ACCEPT: HeaderValue = HeaderValue::from_static("application/json, text/plain, */*");

/// The encodings that `response` decodes; asked for only when it is to decode.
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("gzip, br, deflate, zstd");

/// A request ready to be sent.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) url: UpstreamUrl,
    pub(super) reach: Reach,
    pub(super) headers: HeaderMap,
    /// What was put in from the connection or integration: it never goes to another origin.
    pub(super) injected: Injected,
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
        !caller.contains_key(header::AUTHORIZATION)
            && !(headers.is_empty() && query.is_empty())
            && headers.iter().all(sent)
    }
}

/// Builds the request.
pub(super) fn build(target: &Target, request: &ProxyRequest, options: &ProxyOptions) -> Result<Built, ProxyError> {
    if target.provider.auth_mode.credentials_type().is_none() {
        return Err(ProxyError::UnsupportedAuth {
            provider: target.provider.name.clone(),
        });
    }
    let no_spec = ProxySpec::default();
    let spec = target.provider.proxy.as_ref().unwrap_or(&no_spec);
    let decompress = request.decompress || spec.decompress;
    let mut injected = Injected::default();
    let (base, reach) = base_url::resolve(target, request.base_url_override.as_deref(), options)?;
    let mut text = join(&base, &request.endpoint)?;
    for (key, value) in &request.query {
        append_query(&mut text, key, value);
    }
    inject_query(target, spec, &mut text, &mut injected)?;
    let url = UpstreamUrl::parse(&text).map_err(|reason| ProxyError::InvalidUrl {
        place: "the URL of the request",
        reason,
    })?;
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(header::ACCEPT, ACCEPT);
    headers.insert(header::USER_AGENT, USER_AGENT);
    if decompress {
        headers.insert(header::ACCEPT_ENCODING, ACCEPT_ENCODING);
    }
    inject_headers(target, spec, &mut headers, &mut injected)?;
    add_caller_headers(request, spec, &mut headers);
    Ok(Built {
        url,
        reach,
        headers,
        injected,
        decompress,
        forward_headers: request
            .forward_headers_on_redirect
            .unwrap_or(spec.forward_headers_on_redirect),
    })
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
    target: &Target,
    spec: &ProxySpec,
    url: &mut String,
    injected: &mut Injected,
) -> Result<(), ProxyError> {
    let verbatim = |value: &str| value.to_owned();
    let mut pairs = Vec::new();
    for (key, template) in &spec.query {
        match values::fill(target, template, "a query parameter", &verbatim) {
            Ok(value) => pairs.push((key.clone(), value.into_owned())),
            Err(ProxyError::MissingValue { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some((name, value)) = custom_key(target, "query")? {
        pairs.push((name, value));
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
        injected.query.push(key);
    }
    Ok(())
}

/// Where an integration itself says how the key is sent (`private-api-generic`): name and value.
fn custom_key(target: &Target, placement: &str) -> Result<Option<(String, String)>, ProxyError> {
    if !base_url::declares(target, "keyName") || !matches!(target.credentials, Credentials::ApiKey { .. }) {
        return Ok(None);
    }
    let wanted = base_url::custom(target, "keyPlacement").unwrap_or_else(|| "header".to_owned());
    if !wanted.eq_ignore_ascii_case(placement) {
        return Ok(None);
    }
    let name = base_url::custom(target, "keyName").ok_or_else(|| ProxyError::MissingValue {
        provider: target.provider.name.clone(),
        connection_id: target.connection.connection_id.clone(),
        place: "the place of the API key".to_owned(),
        name: "keyName".to_owned(),
    })?;
    let template = base_url::custom(target, "valueTemplate").unwrap_or_else(|| "${apiKey}".to_owned());
    let value = values::fill(target, &template, "the API key", &|value: &str| value.to_owned())?.into_owned();
    Ok(Some((name, value)))
}

/// The header that the credentials imply, then those of the provider's data over it.
fn inject_headers(
    target: &Target,
    spec: &ProxySpec,
    headers: &mut HeaderMap,
    injected: &mut Injected,
) -> Result<(), ProxyError> {
    if !spec.headers.contains_key("authorization")
        && let Some(value) = values::default_authorization(&target.credentials)
    {
        insert_secret(headers, injected, "authorization", &value)?;
    }
    let verbatim = |value: &str| value.to_owned();
    for (name, template) in &spec.headers {
        let place = format_place(name);
        match values::fill(target, template, &place, &verbatim) {
            Ok(value) if value == template.as_str() => {
                let (name, value) = parsed(name, &value)?;
                headers.insert(name, value);
            }
            Ok(value) => insert_secret(headers, injected, name, &value)?,
            // A header that depends on connection_config is optional.
            Err(ProxyError::MissingValue { .. }) if is_optional(template) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some((name, value)) = custom_key(target, "header")? {
        insert_secret(headers, injected, &name, &value)?;
    }
    Ok(())
}

fn format_place(name: &str) -> String {
    format!("the header {name:?}")
}

fn is_optional(template: &str) -> bool {
    template.contains("connectionConfig") || template.contains("connection_config")
}

fn insert_secret(headers: &mut HeaderMap, injected: &mut Injected, name: &str, value: &str) -> Result<(), ProxyError> {
    let (name, mut value) = parsed(name, value)?;
    // Keeps HTTP/2 from putting it into its compression table.
    value.set_sensitive(true);
    injected.headers.push(name.clone());
    headers.insert(name, value);
    Ok(())
}

fn parsed(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), ProxyError> {
    let invalid = || ProxyError::InvalidHeader { name: name.to_owned() };
    let value = HeaderValue::from_str(value).map_err(|_| invalid())?;
    Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?, value))
}

/// The caller's headers win over all others, but for a `user-agent` that the provider prescribes.
fn add_caller_headers(request: &ProxyRequest, spec: &ProxySpec, headers: &mut HeaderMap) {
    let streamed = matches!(request.body, Body::Stream(_));
    let passes = |name: &HeaderName| {
        !is_hop_by_hop(name)
            && *name != header::HOST
            && *name != header::EXPECT
            // The length of a body in memory is known; of a streamed one only the caller knows it.
            && (*name != header::CONTENT_LENGTH || streamed)
            && (*name != header::USER_AGENT || !spec.headers.contains_key("user-agent"))
    };
    for name in request.headers.keys().filter(|name| passes(name)) {
        headers.remove(name);
    }
    for (name, value) in request.headers.iter().filter(|(name, _)| passes(name)) {
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
mod tests {
    use super::super::testing::{api_key, bearer, options, provider, request, target};
    use super::*;

    fn built(target: &Target, request: &ProxyRequest) -> Built {
        build(target, request, &options()).unwrap()
    }

    fn url(target: &Target, endpoint: &str) -> String {
        built(target, &request(endpoint)).url.uri.to_string()
    }

    fn header<'b>(built: &'b Built, name: &str) -> Option<&'b str> {
        built.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn base_and_endpoint_are_joined_with_one_slash() {
        for (base, endpoint, expected) in [
            ("https://api.test", "/user", "https://api.test/user"),
            ("https://api.test/", "user", "https://api.test/user"),
            ("https://api.test/v1/", "//user", "https://api.test/v1/user"),
            ("https://api.test/v1", "?x=1", "https://api.test/v1?x=1"),
            ("https://api.test/v1", "/?x=1", "https://api.test/v1/?x=1"),
            ("https://api.test/v1", "", "https://api.test/v1"),
            (
                "https://api.test/v1",
                "https://api.test/v1/user?p=2",
                "https://api.test/v1/user?p=2",
            ),
            (
                "https://api.test/v1",
                "/https://api.test/v1?p=2",
                "https://api.test/v1/?p=2",
            ),
            (
                "https://api.test",
                "/a%2Fb?q=a+b%20c&x='y'",
                "https://api.test/a%2Fb?q=a+b%20c&x='y'",
            ),
            (
                "https://api.test",
                "/x?fallback=a||b",
                "https://api.test/x?fallback=a||b",
            ),
            ("https://api.test", "/@evil.test/x", "https://api.test/@evil.test/x"),
            (
                "https://api.test",
                "/https://site.test/x",
                "https://api.test/https://site.test/x",
            ),
        ] {
            let target = target(provider(base), bearer("t"));
            assert_eq!(url(&target, endpoint), expected, "{base} + {endpoint}");
        }
    }

    #[test]
    fn another_host_in_the_endpoint_is_refused() {
        let target = target(provider("https://api.test"), bearer("t"));
        for endpoint in [
            "https://evil.test/x",
            "https://api.test.evil.test/",
            "http://api.test/x",
        ] {
            let error = build(&target, &request(endpoint), &options()).unwrap_err();
            assert_eq!(error.code(), "invalid_url", "{endpoint}");
        }
    }

    #[test]
    fn the_callers_text_is_no_template() {
        let target = target(provider("https://api.test"), bearer("secret"));
        assert_eq!(url(&target, "/${accessToken}"), "https://api.test/${accessToken}");
    }

    #[test]
    fn parameters_are_percent_encoded() {
        let target = target(provider("https://api.test"), bearer("t"));
        let mut request = request("/x?a=1");
        request.query = vec![
            ("q".into(), "a b&c/é".into()),
            ("ids".into(), "1".into()),
            ("ids".into(), "2".into()),
        ];
        let built = built(&target, &request);
        assert_eq!(
            built.url.uri.to_string(),
            "https://api.test/x?a=1&q=a%20b%26c%2F%C3%A9&ids=1&ids=2"
        );
    }

    #[test]
    fn credentials_become_headers() {
        let provider = || provider("https://api.test");
        let token = built(&target(provider(), bearer("tok")), &request("/"));
        assert_eq!(header(&token, "authorization"), Some("Bearer tok"));
        let basic = Credentials::Basic {
            username: "ann".into(),
            password: crate::credentials::Secret::new("pw".into()),
        };
        let basic = built(&target(provider(), basic), &request("/"));
        assert_eq!(header(&basic, "authorization"), Some("Basic YW5uOnB3"));
        for credentials in [api_key("k"), Credentials::None] {
            let plain = built(&target(provider(), credentials), &request("/"));
            assert_eq!(header(&plain, "authorization"), None);
        }
    }

    #[test]
    fn templates_fill_url_headers_and_query() {
        let mut provider = provider("https://${connectionConfig.subdomain}.api.test/${connectionConfig.part}");
        let spec = provider.proxy.as_mut().unwrap();
        spec.headers.insert("x-api-key".into(), "${apiKey}".into());
        spec.headers.insert("x-version".into(), "2".into());
        spec.headers
            .insert("x-tenant".into(), "${connectionConfig.tenant}".into());
        spec.query.insert("key".into(), "${apiKey}".into());
        spec.query.insert("other".into(), "${connectionConfig.other}".into());
        let mut target = target(provider, api_key("s&cret"));
        target.connection_config.insert("subdomain".into(), "acme".into());
        target.connection_config.insert("part".into(), "a/b?c".into());
        let built = built(&target, &request("/x?key=mine&a=1"));
        assert_eq!(
            built.url.uri.to_string(),
            "https://acme.api.test/a%2Fb%3Fc/x?a=1&key=s%26cret"
        );
        assert_eq!(header(&built, "x-api-key"), Some("s&cret"));
        assert_eq!(header(&built, "x-tenant"), None);
        assert_eq!(built.injected.headers, ["x-api-key"]);
        assert_eq!(built.injected.query, ["key"]);
    }

    #[test]
    fn a_missing_value_is_named() {
        let target = target(provider("https://${connectionConfig.subdomain}.api.test"), bearer("t"));
        let error = build(&target, &request("/"), &options()).unwrap_err();
        assert_eq!(error.code(), "missing_template_value");
        assert!(error.to_string().contains("`connectionConfig.subdomain`"), "{error}");
    }

    #[test]
    fn a_value_cannot_break_out_of_the_host() {
        for value in ["evil.test/", "evil.test#", "evil.test?", "x@evil.test", "evil.test\\"] {
            let mut target = target(provider("https://${connectionConfig.sub}.api.test"), bearer("t"));
            target.connection_config.insert("sub".into(), value.into());
            let error = build(&target, &request("/"), &options()).unwrap_err();
            assert_eq!(error.code(), "invalid_url", "{value}");
        }
    }

    #[test]
    fn the_fallback_is_taken_when_a_value_is_missing() {
        let template = "https://${connectionConfig.host} || https://api.test";
        let mut target = target(provider(template), bearer("t"));
        assert_eq!(url(&target, "/x"), "https://api.test/x");
        target.connection_config.insert("host".into(), "eu.api.test".into());
        assert_eq!(url(&target, "/x"), "https://eu.api.test/x");
    }

    #[test]
    fn the_integration_says_where_a_private_api_is() {
        let mut provider = provider("https://unused.test");
        provider.json = serde_json::json!({ "integration_config": { "baseUrl": {}, "keyName": {} } });
        let mut target = target(provider, api_key("k"));
        let config = [
            ("baseUrl", "https://private.test/v2/"),
            ("keyName", "X-Key"),
            ("valueTemplate", "Key ${apiKey}"),
        ];
        for (key, value) in config {
            target.integration_config.insert(key.into(), value.into());
        }
        let in_header = built(&target, &request("/x"));
        assert_eq!(in_header.url.uri.to_string(), "https://private.test/v2/x");
        assert_eq!(header(&in_header, "x-key"), Some("Key k"));
        target.integration_config.insert("keyPlacement".into(), "query".into());
        let in_query = built(&target, &request("/x"));
        assert_eq!(in_query.url.uri.to_string(), "https://private.test/v2/x?X-Key=Key%20k");
        assert_eq!(header(&in_query, "x-key"), None);
    }

    #[test]
    fn the_caller_overrides_all_but_a_prescribed_user_agent() {
        let mut with_agent = provider("https://api.test");
        with_agent
            .proxy
            .as_mut()
            .unwrap()
            .headers
            .insert("user-agent".into(), "prescribed".into());
        let mut request = request("/");
        for (name, value) in [
            ("authorization", "Bearer mine"),
            ("user-agent", "mine"),
            ("accept", "text/csv"),
            ("host", "evil.test"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("content-length", "7"),
        ] {
            request.headers.insert(name, value.parse().unwrap());
        }
        let plain = built(&target(provider("https://api.test"), bearer("t")), &request);
        assert_eq!(header(&plain, "authorization"), Some("Bearer mine"));
        assert_eq!(header(&plain, "user-agent"), Some("mine"));
        assert_eq!(header(&plain, "accept"), Some("text/csv"));
        for name in [
            "host",
            "connection",
            "transfer-encoding",
            "content-length",
            "accept-encoding",
        ] {
            assert_eq!(header(&plain, name), None, "{name}");
        }
        let prescribed = built(&target(with_agent, bearer("t")), &request);
        assert_eq!(header(&prescribed, "user-agent"), Some("prescribed"));
    }

    #[test]
    fn an_override_stays_with_the_provider_or_the_operators_list() {
        let target = target(provider("https://api.test/v1"), bearer("t"));
        let check = |url: &str, hosts: &[&str], allow: &[&str]| {
            let mut request = request("/x");
            request.base_url_override = Some(url.to_owned());
            let options = ProxyOptions {
                override_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
                egress_allow: allow.iter().map(|net| net.parse().unwrap()).collect(),
                ..options()
            };
            build(&target, &request, &options)
                .map(|built| built.reach)
                .map_err(|error| error.code())
        };
        let denied = Err("base_url_override_not_allowed");
        assert_eq!(check("", &[], &[]), Ok(Reach::Public));
        assert_eq!(check("https://api.test/v2", &[], &[]), Ok(Reach::Public));
        assert_eq!(check("https://eu.api.test", &[], &[]), Ok(Reach::Public));
        assert_eq!(check("http://api.test", &[], &[]), denied);
        assert_eq!(check("https://evilapi.test", &[], &[]), denied);
        assert_eq!(check("https://other.test", &["other.test"], &[]), Ok(Reach::Public));
        assert_eq!(
            check("https://other.test", &[], &["10.0.0.0/8"]),
            Ok(Reach::AllowedOnly)
        );
        assert_eq!(
            check("http://127.0.0.1:1", &[], &["127.0.0.0/8"]),
            Ok(Reach::AllowedOnly)
        );
        assert_eq!(check("http://127.0.0.1:1", &[], &["10.0.0.0/8"]), denied);
        assert_eq!(check("http://127.0.0.1:1", &[], &[]), denied);
        assert_eq!(check("not a url", &[], &[]), Err("invalid_url"));
    }
}
