//! The language as a whole: what templates become, and what is refused.

use std::borrow::Cow;

use super::*;

/// 2026-03-05T04:07:09.012Z
const NOW_MS: i64 = 1_772_683_629_012;

struct Sample;

impl Values for Sample {
    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let value = match name {
            "apiKey" => "k3y",
            "username" => "user",
            "password" => "p:w, too",
            "connectionConfig.subdomain" => "acme",
            "connectionConfig.url" => "https://eu.example.com/a b",
            "connectionConfig.accounts-server" => "https://accounts.example.eu",
            "evil" => "${apiKey} || x ${base64(y)}",
            "spaced" => "a b/c",
            "place" => "acme.example.com/main/a b/",
            "path" => "/main",
            "slashes" => "//evil.test/x",
            "schemed" => "https://evil.test/x",
            "user" => "acme.test/x@evil.test",
            "query" => "acme.test/x?y",
            "backslash" => "acme.test/x\\y",
            "fragment" => "acme.test#/x",
            _ => return None,
        };
        Some(Cow::Borrowed(value))
    }

    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    fn random(&self) -> Cow<'_, str> {
        Cow::Borrowed("00000000-0000-4000-8000-000000000000")
    }

    fn aws_authorization(&self, scope: &AwsScope<'_>) -> Option<String> {
        let host = scope.host.unwrap_or("own");
        Some(format!(
            "{}|{}|{}|{}|{host}",
            scope.access_key_id, scope.secret_access_key, scope.region, scope.service
        ))
    }
}

fn plain(template: &str) -> Result<String, TemplateError> {
    Template::parse(template)?.render(&Sample).map(Cow::into_owned)
}

fn url(template: &str) -> Result<String, TemplateError> {
    UrlTemplate::parse(template)?.render(&Sample).map(Cow::into_owned)
}

#[test]
fn templates_are_filled_in() {
    for (template, value) in [
        ("", ""),
        ("plain $text} with {braces}", "plain $text} with {braces}"),
        ("Bearer ${apiKey}", "Bearer k3y"),
        ("${ apiKey }${apiKey}", "k3yk3y"),
        ("Basic ${base64(${username}:${password})}", "Basic dXNlcjpwOncsIHRvbw=="),
        ("${base64(x(${apiKey})y)}", "eChrM3kpeQ=="),
        ("${base64(${base64(${apiKey})})}", "YXpONQ=="),
        (
            "${sha256Hex(abc)}",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        ("${sha256Base64(abc)}", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
        (
            "https://${connectionConfig.subdomain}.example.com",
            "https://acme.example.com",
        ),
        (
            "https://${connectionConfig.region}.example.com || https://example.com",
            "https://example.com",
        ),
        (
            "https://${connectionConfig.subdomain}.example.com || https://example.com",
            "https://acme.example.com",
        ),
        ("${connectionConfig.version} || 2022-11-28", "2022-11-28"),
        ("${nope}||${gone}||${apiKey}", "k3y"),
        (
            "${connectionConfig.accounts-server}/oauth || https://x",
            "https://accounts.example.eu/oauth",
        ),
        // Without a placeholder, `||` is text.
        ("a || b", "a || b"),
        // Inside a function too.
        ("${base64(a||b)}", "YXx8Yg=="),
        ("ünï ${apiKey} çødé", "ünï k3y çødé"),
    ] {
        assert_eq!(plain(template).as_deref(), Ok(value), "{template}");
    }
}

#[test]
fn values_are_never_evaluated() {
    assert_eq!(plain("a ${evil} b").unwrap(), "a ${apiKey} || x ${base64(y)} b");
    assert_eq!(plain("${evil} || other").unwrap(), "${apiKey} || x ${base64(y)}");
}

#[test]
fn values_in_urls_are_encoded_by_place() {
    for (template, expected) in [
        ("https://h.test/v1", "https://h.test/v1"),
        (
            "https://${connectionConfig.subdomain}.h.test/a b",
            "https://acme.h.test/a b",
        ),
        (
            "https://h.test/${spaced}?q=${spaced}",
            "https://h.test/a%20b%2Fc?q=a%20b%2Fc",
        ),
        (
            "https://${connectionConfig.subdomain}.h.test?x=${base64(${spaced})}",
            "https://acme.h.test?x=YSBiL2M%3D",
        ),
        // A value that is a URL, or begins one.
        ("${connectionConfig.url}", "https://eu.example.com/a b"),
        (
            "${connectionConfig.accounts-server}/oauth/${spaced}",
            "https://accounts.example.eu/oauth/a%20b%2Fc",
        ),
        (
            "https://${nope}/x || ${connectionConfig.url}",
            "https://eu.example.com/a b",
        ),
        (
            "https://${nope}.h.test || https://h.test/${spaced}",
            "https://h.test/a%20b%2Fc",
        ),
    ] {
        assert_eq!(url(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn a_value_may_bring_a_path_where_nothing_of_the_host_follows() {
    for (template, expected) in [
        ("https://${place}", "https://acme.example.com/main/a%20b/"),
        (
            "https://${place}/oauth/token",
            "https://acme.example.com/main/a%20b/oauth/token",
        ),
        ("https://${place}?x=1", "https://acme.example.com/main/a%20b?x=1"),
        ("https://h.test${path}", "https://h.test/main"),
        ("https://h.test:${path}/x", "https://h.test:/main/x"),
    ] {
        assert_eq!(url(template).as_deref(), Ok(expected), "{template}");
    }
    for (template, name, character) in [
        ("https://${spaced}.h.test", "spaced", '/'),
        ("https://${place}:443/x", "place", '/'),
        ("https://${path}", "path", '/'),
        ("https://${slashes}/x", "slashes", '/'),
        ("https://${schemed}/x", "schemed", ':'),
        ("https://${user}/x", "user", '@'),
        ("https://${query}/x", "query", '?'),
        ("https://${backslash}", "backslash", '\\'),
        ("https://${fragment}", "fragment", '#'),
    ] {
        let refusal = TemplateError::NotInHost {
            name: name.to_owned(),
            character,
        };
        assert_eq!(url(template), Err(refusal), "{template}");
    }
}

#[test]
fn functions_of_several_arguments_take_their_commas_from_the_template() {
    let hmac = plain("${hmacSha1Hex(a,b${now:ddd, DD}, ${apiKey})}").unwrap();
    let apart = Function::HmacSha1Hex
        .apply(&["a,bThu, 05".into(), "k3y".into()])
        .unwrap();
    assert_eq!(hmac, apart);
    // A comma in a value is part of the value.
    let by_value = plain("${hmacSha1Hex(x, ${password})}").unwrap();
    assert_eq!(
        by_value,
        Function::HmacSha1Hex.apply(&["x".into(), "p:w, too".into()]).unwrap()
    );
    assert_eq!(
        plain("${awsSigV4(${apiKey}, ${password}, us-east-1, iam)}").as_deref(),
        Ok("k3y|p:w, too|us-east-1|iam|own")
    );
    assert_eq!(
        plain("${awsSigV4(${apiKey},x,${connectionConfig.subdomain},s3,s3.${connectionConfig.subdomain}.test)}")
            .as_deref(),
        Ok("k3y|x|acme|s3|s3.acme.test")
    );
}

#[test]
fn time_and_randomness_are_those_of_the_request() {
    assert_eq!(
        plain("${random} ${now} ${now:X} ${now+1:minutes:X}").as_deref(),
        Ok("00000000-0000-4000-8000-000000000000 2026-03-05T04:07:09.012Z 1772683629 1772683689")
    );
    // Only in these forms are they words of the language.
    assert_eq!(
        plain("${nowhere}"),
        Err(TemplateError::Missing {
            name: "nowhere".to_owned()
        })
    );
}

#[test]
fn plain_text_is_borrowed() {
    for template in ["plain", "${nope} || 2022-11-28", "${apiKey}"] {
        let template = Template::parse(template).unwrap();
        assert!(matches!(template.render(&Sample), Ok(Cow::Borrowed(_))), "{template:?}");
    }
    assert!(Template::parse("a || b").unwrap().is_plain());
    assert!(!Template::parse("${a} || b").unwrap().is_plain());
}

#[test]
fn names_are_found_however_deep() {
    let template = Template::parse("x ${base64(${sha256Hex(${accessToken})})} || y").unwrap();
    assert!(template.names(&|name| name == "accessToken"));
    assert!(!template.names(&|name| name == "apiKey"));
}

#[test]
fn bodies_are_filled_in_and_missing_texts_left_out() {
    let given =
        serde_json::json!({"auth": {"key": "${apiKey}", "id": "${nope}"}, "list": ["${nope}", "${username}"], "n": 5});
    let body = BodyTemplate::parse(given.as_object().unwrap()).unwrap();
    let expected = serde_json::json!({"auth": {"key": "k3y"}, "list": ["user"], "n": 5});
    assert_eq!(serde_json::Value::Object(body.render(&Sample).unwrap()), expected);
    let malformed = serde_json::json!({"auth": {"key": "${apiKey"}});
    assert_eq!(
        BodyTemplate::parse(malformed.as_object().unwrap()).unwrap_err().0,
        "auth.key"
    );
}

#[test]
fn missing_values_are_named() {
    for (template, name) in [
        (
            "https://${connectionConfig.region}.example.com",
            "connectionConfig.region",
        ),
        ("${base64(${username}:${nope})}", "nope"),
        ("${first} || ${second}", "first"),
    ] {
        assert_eq!(
            plain(template),
            Err(TemplateError::Missing { name: name.to_owned() }),
            "{template}"
        );
    }
}

#[test]
fn malformed_templates_say_what_is_wrong() {
    for (template, reason) in [
        ("${apiKey", "a `${` has no `}`"),
        ("${}", "a `${}` names nothing"),
        ("${a || b}", "a name holds `${` or `|`; write `${a} || ${b}`"),
        ("${base64(${apiKey}", "a function's `(` has no `)}`"),
        ("${rot13(${apiKey})}", "it calls a function that does not exist"),
        ("${now+7}", "the offset of `now` has no unit; write ${now+7:days}"),
        (
            "${hmacSha1Hex(${apiKey})}",
            "it gives a function one argument that takes two, divided by a comma",
        ),
        (
            "${awsSigV4(${apiKey}, x, y)}",
            "`awsSigV4` takes access key, secret key, region, service and, if it is not the request's, host",
        ),
    ] {
        assert_eq!(plain(template), Err(malformed(template, reason)), "{template}");
    }
    let deep = format!("{}x{}", "${base64(".repeat(DEPTH_MAX + 1), ")}".repeat(DEPTH_MAX + 1));
    assert!(matches!(plain(&deep), Err(TemplateError::Malformed { .. })));
}

/// Any sequence of the language's own tokens is filled in or refused: nothing hangs, panics, or lets a value's text
/// be read as language.
#[test]
fn any_sequence_of_tokens_ends() {
    let tokens = [
        "${",
        "}",
        "(",
        ")}",
        "||",
        "base64(",
        "hmacSha1Hex(",
        "now:X",
        ",",
        "apiKey",
        "${evil}",
        "é",
        " ",
        "$",
        "${apiKey}",
    ];
    let entropy = crate::clock::Entropy::seeded(7);
    for _ in 0..20_000 {
        let picks: [u8; 9] = entropy.bytes();
        let template: String = picks
            .iter()
            .map(|pick| tokens[usize::from(*pick) % tokens.len()])
            .collect();
        if let Ok(filled) = plain(&template) {
            let literal = template.replace("${evil}", "\u{1}");
            let shown = filled.replace("${apiKey} || x ${base64(y)}", "\u{1}");
            let outside_functions = !template.contains('(');
            let one_alternative = !template.contains("||");
            if outside_functions && one_alternative {
                assert_eq!(
                    shown.matches('\u{1}').count(),
                    literal.matches('\u{1}').count(),
                    "{template}"
                );
            }
        }
    }
}
