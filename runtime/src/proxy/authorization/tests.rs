//! What each type of credentials makes of a request, and what providers' data and callers put over it.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::super::request::{Built, build};
use super::super::testing::{MOMENT, header_template, options, provider, request, target, template};
use super::super::{Body, ByteStream, ProxyError, ProxyRequest};
use super::*;
use crate::credentials::Secret;
use crate::provider::Provider;
use crate::provider::template::BodyTemplate;

fn credentials(value: &Value) -> Credentials {
    Credentials::from_json(value).unwrap()
}

fn with_client(provider: Provider, value: &Value) -> Target {
    let mut target = target(provider, credentials(value));
    target.client = Some(OAuthClient {
        client_id: "client".to_owned(),
        client_secret: Secret::new("client-secret".to_owned()),
    });
    target
}

fn built(target: &Target, request: &ProxyRequest) -> Built {
    build(target, request, &options(), MOMENT).unwrap()
}

fn header<'b>(built: &'b Built, name: &str) -> Option<&'b str> {
    built.headers.get(name).map(|value| value.to_str().unwrap())
}

fn provider_with(headers: &[(&'static str, &str)]) -> Provider {
    let mut provider = provider("https://api.test");
    let spec = provider.proxy.as_mut().unwrap();
    spec.headers = headers
        .iter()
        .map(|(name, source)| header_template(name, source))
        .collect();
    provider
}

fn post(body: &'static str, content_type: &str) -> ProxyRequest {
    let mut request = request("/things?b=2&a=1");
    request.method = Method::POST;
    request.body = Body::Bytes(Bytes::from_static(body.as_bytes()));
    request.headers.insert("content-type", content_type.parse().unwrap());
    request
}

#[test]
fn the_default_authorization_of_each_type() {
    for (value, expected) in [
        (json!({"type": "API_KEY", "apiKey": "k"}), None),
        (json!({"type": "APP", "access_token": "t"}), Some("Bearer t")),
        (
            json!({"type": "BASIC", "username": "u", "password": "p"}),
            Some("Basic dTpw"),
        ),
        (
            json!({"type": "BILL", "username": "u", "password": "p", "organization_id": "o", "dev_key": "d", "session_id": "t"}),
            None,
        ),
        (json!({"type": "JWT", "token": "t"}), Some("Bearer t")),
        (json!({"type": "OAUTH2", "access_token": "t"}), Some("Bearer t")),
        (
            json!({"type": "OAUTH2_CC", "client_id": "i", "client_secret": "s", "token": "t"}),
            Some("Bearer t"),
        ),
        (
            json!({"type": "SIGNATURE", "username": "u", "password": "p", "token": "t"}),
            Some("Bearer t"),
        ),
        (json!({"type": "TWO_STEP", "token": "t"}), Some("Bearer t")),
        (json!({}), None),
    ] {
        let built = built(
            &target(provider("https://api.test"), credentials(&value)),
            &request("/"),
        );
        assert_eq!(header(&built, "authorization"), expected, "{value}");
        assert_eq!(built.injected.headers.len(), usize::from(expected.is_some()));
    }
}

#[test]
fn the_token_of_two_steps_goes_where_the_provider_says() {
    let value = json!({"type": "TWO_STEP", "token": "t", "_cookies": "c=1", "user": "u"});
    for (headers, name, expected, default) in [
        (&[("x-session", "${accessToken}")][..], "x-session", "t", None),
        (&[("cookie", "${credentials._cookies}")], "cookie", "c=1", None),
        (&[("x-user", "${credentials.user}")], "x-user", "u", Some("Bearer t")),
        (
            &[("authorization", "Token ${base64(${accessToken})}")],
            "authorization",
            "Token dA==",
            Some("Token dA=="),
        ),
    ] {
        let built = built(&target(provider_with(headers), credentials(&value)), &request("/"));
        assert_eq!(header(&built, name), Some(expected));
        assert_eq!(header(&built, "authorization"), default, "{headers:?}");
    }
    let other = json!({"type": "JWT", "token": "t"});
    let built = built(
        &target(provider_with(&[("x-wsse", "${accessToken}")]), credentials(&other)),
        &request("/"),
    );
    assert_eq!(header(&built, "authorization"), Some("Bearer t"));
}

#[test]
fn oauth1_signs_with_the_integrations_client() {
    let value = json!({"type": "OAUTH1", "oauth_token": "tok", "oauth_token_secret": "tok-secret"});
    let mut plain = provider("https://api.test");
    plain.signature_method = SignatureMethod::Plaintext;
    let built_plain = built(&with_client(plain, &value), &request("/x"));
    let shown = header(&built_plain, "authorization").unwrap();
    assert!(
        shown.starts_with("OAuth oauth_consumer_key=\"client\"")
            && shown.contains("oauth_timestamp=\"1772683629\"")
            && shown.ends_with("oauth_signature=\"client-secret%26tok-secret\""),
        "{shown}"
    );
    let without = target(provider("https://api.test"), credentials(&value));
    let error = build(&without, &request("/x"), &options(), MOMENT).unwrap_err();
    assert_eq!(error.code(), "unsupported_auth");
    assert!(error.to_string().contains("`client_id` and `client_secret`"), "{error}");
    // Another attempt has another nonce, and so another signature.
    let mut later = MOMENT;
    later.random = [7; 16];
    let target = with_client(provider("https://api.test"), &value);
    let again = build(&target, &request("/x"), &options(), later).unwrap();
    assert_ne!(
        again.headers["authorization"],
        built(&target, &request("/x")).headers["authorization"]
    );
}

#[test]
fn netsuite_takes_its_client_from_the_nearest_place() {
    let own = json!({"type": "TBA", "token_id": "t", "token_secret": "s",
        "config_override": {"client_id": "own", "client_secret": "x"}});
    let plain = json!({"type": "TBA", "token_id": "t", "token_secret": "s"});
    let consumer = |target: &Target| {
        let built = built(target, &request("/x"));
        let shown = header(&built, "authorization").unwrap().to_owned();
        assert!(shown.starts_with("OAuth realm=\"12_SB1\", "), "{shown}");
        shown.split('"').nth(3).unwrap().to_owned()
    };
    let mut target = with_client(provider("https://api.test"), &own);
    target.connection_config.insert("accountId".into(), "12-sb1".into());
    assert_eq!(consumer(&target), "own");
    target.credentials = credentials(&plain);
    assert_eq!(consumer(&target), "client");
    target
        .connection_config
        .insert("oauth_client_id".into(), "configured".into());
    target
        .connection_config
        .insert("oauth_client_secret".into(), "x".into());
    assert_eq!(consumer(&target), "configured");
    target.connection_config.remove("accountId");
    let error = build(&target, &request("/x"), &options(), MOMENT).unwrap_err();
    assert!(
        error.to_string().contains("`connectionConfig.accountId` has no value"),
        "{error}"
    );
}

fn aws(service: &str) -> Target {
    let value = json!({"type": "AWS_SIGV4", "region": "eu-west-1", "service": service, "access_key_id": "AKID",
        "secret_access_key": "secret", "session_token": "session"});
    let provider = provider("https://${connectionConfig.service}.${connectionConfig.region}.amazonaws.com");
    target(provider, credentials(&value))
}

#[test]
fn aws_requests_are_signed_last() {
    let mut target = aws("sqs");
    let mut asked = post("Action=ListQueues", "application/x-www-form-urlencoded");
    asked.headers.insert("authorization", "Bearer mine".parse().unwrap());
    asked.headers.insert("x-amz-target", "T".parse().unwrap());
    let signed = built(&target, &asked);
    assert_eq!(signed.url.host(), "sqs.eu-west-1.amazonaws.com");
    let shown = header(&signed, "authorization").unwrap();
    assert!(
        shown.starts_with(
            "AWS4-HMAC-SHA256 Credential=AKID/20260305/eu-west-1/sqs/aws4_request, SignedHeaders=\
                           content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target, "
        ),
        "{shown}"
    );
    assert!(
        signed
            .injected
            .headers
            .contains(&HeaderName::from_static("x-amz-security-token"))
    );
    target
        .connection_config
        .insert("base_url".into(), "https://own.test/".into());
    assert_eq!(built(&target, &asked).url.host(), "own.test");
    asked.body = Body::Stream(ByteStream::once(Bytes::new()));
    let refused = build(&target, &asked, &options(), MOMENT).unwrap_err();
    assert!(matches!(refused, ProxyError::BodyNeeded { .. }), "{refused}");
    assert_eq!(
        header(&built(&aws("s3"), &asked), "x-amz-content-sha256"),
        Some("UNSIGNED-PAYLOAD")
    );
}

#[test]
fn headers_see_the_request() {
    let target = target(
        provider_with(&[
            ("x-endpoint", "${endpoint}"),
            ("x-line", "${method} ${host} ${path}"),
            ("x-type", "${contentType}"),
            ("x-params", "${params}"),
            ("x-url-params", "${urlCanonicalParams}"),
            ("x-body", "${sha256Hex(${bodyCanonicalParams})}"),
            ("x-id", "${random}"),
            ("x-at", "${now:X}"),
        ]),
        Credentials::None,
    );
    let form = built(&target, &post("z=1&y=a b", "application/x-www-form-urlencoded"));
    for (name, expected) in [
        ("x-endpoint", "/things?b=2&a=1"),
        ("x-line", "POST api.test /things"),
        ("x-type", "application/x-www-form-urlencoded"),
        ("x-params", "y=a%20b&z=1"),
        ("x-url-params", "a=1&b=2"),
        ("x-id", "00000000-0000-4000-8000-000000000000"),
        ("x-at", "1772683629"),
    ] {
        assert_eq!(header(&form, name), Some(expected), "{name}");
    }
    let json = built(&target, &post(r#"{"y":"a b","x":5,"w":[1]}"#, "application/json"));
    assert_eq!(header(&json, "x-params"), Some("x=5&y=a%20b"));
    // Nothing is a value too: this is the digest of no bytes.
    let get = built(&target, &request("/things?q=1"));
    assert_eq!(header(&get, "x-params"), Some("q=1"));
    assert_eq!(
        header(&get, "x-body"),
        Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    );
}

#[test]
fn bodies_get_the_providers_fields_before_they_are_signed() {
    let mut provider = provider_with(&[("x-digest", "${sha256Hex(${bodyCanonicalParams})}")]);
    let spec = provider.proxy.as_mut().unwrap();
    let fields = json!({"key": "${apiKey}", "missing": "${connectionConfig.nope}"});
    spec.body = Some(BodyTemplate::parse(fields.as_object().unwrap()).unwrap());
    let target = target(provider, credentials(&json!({"type": "API_KEY", "apiKey": "k"})));
    let asked = post(r#"{"a": 1}"#, "application/json");
    let merged = built(&target, &asked);
    assert_eq!(merged.body.as_deref(), Some(&br#"{"a":1,"key":"k"}"#[..]));
    let digest = aws_sigv4::hex(&<sha2::Sha256 as sha2::Digest>::digest(br#"{"a":1,"key":"k"}"#));
    assert_eq!(header(&merged, "x-digest"), Some(digest.as_str()));
    let mut empty = request("/x");
    assert!(built(&target, &empty).body.is_none(), "a GET has no body");
    empty.method = Method::POST;
    let made = built(&target, &empty);
    assert_eq!(made.body.as_deref(), Some(&br#"{"key":"k"}"#[..]));
    assert_eq!(header(&made, "content-type"), Some("application/json"));
}

#[test]
fn query_parameters_may_come_from_deep_in_the_credentials() {
    let mut provider = provider("https://api.test");
    let spec = provider.proxy.as_mut().unwrap();
    spec.query
        .push(("account_id".into(), template("${credentials.raw.accountID}")));
    let value = json!({"type": "OAUTH2", "access_token": "t", "raw": {"accountID": 7}});
    let built = built(&target(provider, credentials(&value)), &request("/x?account_id=mine"));
    assert_eq!(built.url.uri.to_string(), "https://api.test/x?account_id=7");
}

#[test]
fn the_client_is_there_for_headers() {
    let target = with_client(
        provider_with(&[("x-api-key", "${clientId}:${clientSecret}")]),
        &json!({"type": "OAUTH2", "access_token": "t"}),
    );
    assert_eq!(
        header(&built(&target, &request("/")), "x-api-key"),
        Some("client:client-secret")
    );
}

#[test]
fn a_key_that_cannot_sign_is_told_without_being_shown() {
    let target = target(
        provider_with(&[("signature", "${ed25519Sign(${method}, ${credentials.password})}")]),
        credentials(&json!({"type": "BASIC", "username": "u", "password": "s3cret"})),
    );
    let error = build(&target, &request("/"), &options(), MOMENT).unwrap_err();
    assert_eq!(error.code(), "invalid_template_value");
    let shown = error.to_string();
    assert!(
        shown.contains("the key is no PEM text") && !shown.contains("s3cret"),
        "{shown}"
    );
}
