//! What a request becomes: URL, headers, query, override rules.

use super::super::testing::{MOMENT, api_key, bearer, header_template, options, provider, request, target, template};
use super::*;

fn built(target: &Target, request: &ProxyRequest) -> Built {
    build(target, request, &options(), MOMENT).unwrap()
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
        let error = build(&target, &request(endpoint), &options(), MOMENT).unwrap_err();
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
    spec.headers.push(header_template("x-api-key", "${apiKey}"));
    spec.headers.push(header_template("x-version", "2"));
    spec.headers
        .push(header_template("x-tenant", "${connectionConfig.tenant}"));
    spec.query.push(("key".into(), template("${apiKey}")));
    spec.query.push(("other".into(), template("${connectionConfig.other}")));
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
    let error = build(&target, &request("/"), &options(), MOMENT).unwrap_err();
    assert_eq!(error.code(), "missing_template_value");
    assert!(error.to_string().contains("`connectionConfig.subdomain`"), "{error}");
}

#[test]
fn a_value_cannot_break_out_of_the_host() {
    for value in ["evil.test/", "evil.test#", "evil.test?", "x@evil.test", "evil.test\\"] {
        let mut target = target(provider("https://${connectionConfig.sub}.api.test"), bearer("t"));
        target.connection_config.insert("sub".into(), value.into());
        let error = build(&target, &request("/"), &options(), MOMENT).unwrap_err();
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
    let spec = with_agent.proxy.as_mut().unwrap();
    spec.headers.push(header_template("user-agent", "prescribed"));
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
        build(&target, &request, &options, MOMENT)
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
