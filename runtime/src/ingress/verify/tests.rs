//! Each scheme with signatures that are right, wrong, missing and old. Where vendors publish an example, it is the one that is used.

use serde_json::{Value, json};

use super::*;
use crate::ingress::request::Incoming;
use crate::ingress::request::tests::incoming;
use crate::provider::of_entry;
use crate::provider::{Catalogue, WebhookSpec};

const URL: &str = "https://api.test/webhook/env_1/acme";
/// 2026-11-22 11:21:53 UTC.
const NOW_MS: i64 = 1_795_346_513_000;

fn shipped(provider: &str) -> WebhookSpec {
    let catalogue = Catalogue::load(&[]).unwrap();
    catalogue.get(provider).unwrap().webhook.clone().unwrap()
}

fn written(verification: &Value) -> WebhookSpec {
    let provider = of_entry(json!({"auth_mode": "NONE", "webhook": {"verification": verification}}));
    provider.webhook.unwrap()
}

/// What comes of it, in a word.
fn outcome(spec: &WebhookSpec, incoming: &Incoming, url: &str, secret: &str, now_ms: i64) -> &'static str {
    let secret = Secret::new(secret.to_owned());
    match verify(&spec.verification, &Reader::new(incoming), url, &secret, now_ms) {
        Ok(()) => "genuine",
        Err(IngressError::MissingSignature { .. }) => "unsigned",
        Err(IngressError::MissingToken { .. }) => "no token",
        Err(IngressError::InvalidSignature) => "wrong",
        Err(IngressError::Stale { .. }) => "old",
        Err(error) => panic!("{error}"),
    }
}

/// In hex or base64, as the scheme has it.
fn sign(algorithm: hmac::Algorithm, secret: &str, content: &str, in_base64: bool) -> String {
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), content.as_bytes());
    if in_base64 {
        STANDARD.encode(tag)
    } else {
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[test]
fn github_as_its_documentation_shows() {
    let spec = shipped("github");
    let secret = "It's a Secret to Everybody";
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let one = incoming(&[("x-hub-signature-256", signature)], b"Hello, World!");
    assert_eq!(outcome(&spec, &one, URL, secret, NOW_MS), "genuine");
    assert_eq!(outcome(&spec, &one, URL, "another", NOW_MS), "wrong");
    let changed = incoming(&[("x-hub-signature-256", signature)], b"Hello, World?");
    assert_eq!(outcome(&spec, &changed, URL, secret, NOW_MS), "wrong");
    for absent in [
        incoming(&[], b"Hello, World!"),
        incoming(&[("x-hub-signature-256", &signature[7..])], b"Hello, World!"),
        incoming(&[("x-hub-signature-256", "sha256=none")], b"Hello, World!"),
        incoming(&[("x-hub-signature-256", "")], b"Hello, World!"),
    ] {
        assert_eq!(outcome(&spec, &absent, URL, secret, NOW_MS), "unsigned", "{absent:?}");
    }
    // Cut off, it is still compared whole.
    let short = incoming(&[("x-hub-signature-256", "sha256=7571")], b"Hello, World!");
    assert_eq!(outcome(&spec, &short, URL, secret, NOW_MS), "wrong");
}

#[test]
fn slack_as_its_documentation_shows() {
    let spec = shipped("slack");
    let secret = "8f742231b10e8888abcd99yyyzzz85a5";
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
                channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
                response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
                trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let at = |stamp: &str| {
        let headers = [("x-slack-signature", signature), ("x-slack-request-timestamp", stamp)];
        incoming(&headers, body.as_bytes())
    };
    let signed_ms = 1_531_420_618_000;
    assert_eq!(
        outcome(&spec, &at("1531420618"), URL, secret, signed_ms + 299_000),
        "genuine"
    );
    assert_eq!(
        outcome(&spec, &at("1531420618"), URL, secret, signed_ms + 301_000),
        "old"
    );
    assert_eq!(
        outcome(&spec, &at("1531420618"), URL, secret, signed_ms - 301_000),
        "old"
    );
    // Another time was not signed.
    assert_eq!(outcome(&spec, &at("1531420700"), URL, secret, signed_ms), "wrong");
    let timeless = incoming(&[("x-slack-signature", signature)], body.as_bytes());
    assert_eq!(outcome(&spec, &timeless, URL, secret, signed_ms), "unsigned");
}

#[test]
fn stripe_signs_time_and_body_with_several_secrets_while_they_change() {
    let spec = shipped("stripe");
    let body = r#"{"id":"evt_1"}"#;
    let at_s = NOW_MS / 1_000;
    let good = sign(hmac::HMAC_SHA256, "whsec_1", &format!("{at_s}.{body}"), false);
    let header = format!(
        "t={at_s},v1={},v1={good},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39",
        "0".repeat(64)
    );
    let one = incoming(&[("stripe-signature", &header)], body.as_bytes());
    assert_eq!(outcome(&spec, &one, URL, "whsec_1", NOW_MS), "genuine");
    assert_eq!(outcome(&spec, &one, URL, "whsec_2", NOW_MS), "wrong");
    assert_eq!(outcome(&spec, &one, URL, "whsec_1", NOW_MS + 301_000), "old");
    for header in [format!("v1={good}"), format!("t={at_s}"), format!("t={at_s},v0={good}")] {
        let one = incoming(&[("stripe-signature", &header)], body.as_bytes());
        assert_eq!(outcome(&spec, &one, URL, "whsec_1", NOW_MS), "unsigned", "{header}");
    }
    let endless = format!("t={at_s}{}", ",v1=00".repeat(50)) + &format!(",v1={good}");
    let one = incoming(&[("stripe-signature", &endless)], body.as_bytes());
    assert_eq!(
        outcome(&spec, &one, URL, "whsec_1", NOW_MS),
        "wrong",
        "only so many are looked at"
    );
}

#[test]
fn hubspot_signs_method_address_body_and_time() {
    let spec = shipped("hubspot");
    let (body, stamp) = (r#"[{"portalId":7}]"#, NOW_MS.to_string());
    let signature = sign(hmac::HMAC_SHA256, "client", &format!("POST{URL}{body}{stamp}"), true);
    let headers = [
        ("x-hubspot-signature-v3", signature.as_str()),
        ("x-hubspot-request-timestamp", stamp.as_str()),
    ];
    let one = incoming(&headers, body.as_bytes());
    assert_eq!(outcome(&spec, &one, URL, "client", NOW_MS + 1_000), "genuine");
    assert_eq!(
        outcome(&spec, &one, "https://elsewhere.test/", "client", NOW_MS),
        "wrong"
    );
    assert_eq!(outcome(&spec, &one, URL, "client", NOW_MS + 600_000), "old");
}

#[test]
fn twilio_as_its_documentation_shows() {
    let spec = shipped("twilio");
    let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
    let body = b"CallSid=CA1234567890ABCDE&Caller=%2B12349013030&Digits=1234&From=%2B12349013030&To=%2B18005551212";
    let headers = |signature| {
        [
            ("x-twilio-signature", signature),
            ("content-type", "application/x-www-form-urlencoded"),
        ]
    };
    let content = format!("{url}CallSidCA1234567890ABCDECaller+12349013030Digits1234From+12349013030To+18005551212");
    let signature = sign(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, "12345", &content, true);
    assert_eq!(signature, "0/KCTR6DLpKmkAf8muzZqo1nDgQ=", "the documented one");
    let one = incoming(&headers(&signature), body);
    assert_eq!(outcome(&spec, &one, url, "12345", NOW_MS), "genuine");
    assert_eq!(outcome(&spec, &one, url, "54321", NOW_MS), "wrong");
}

#[test]
fn times_are_within_bodies_or_written_out() {
    let linear = shipped("linear");
    let body = format!(r#"{{"webhookTimestamp":{NOW_MS}}}"#);
    let signature = sign(hmac::HMAC_SHA256, "s", &body, false);
    let one = incoming(&[("linear-signature", &signature)], body.as_bytes());
    assert_eq!(outcome(&linear, &one, URL, "s", NOW_MS + 59_000), "genuine");
    assert_eq!(outcome(&linear, &one, URL, "s", NOW_MS + 62_000), "old");
    let zendesk = shipped("zendesk");
    let stamp = "2026-11-22T11:21:53Z";
    let signature = sign(hmac::HMAC_SHA256, "s", &format!("{stamp}{{}}"), true);
    let headers = [
        ("x-zendesk-webhook-signature", signature.as_str()),
        ("x-zendesk-webhook-signature-timestamp", stamp),
    ];
    assert_eq!(
        outcome(&zendesk, &incoming(&headers, b"{}"), URL, "s", NOW_MS),
        "genuine"
    );
    let headers = [
        ("x-zendesk-webhook-signature", signature.as_str()),
        ("x-zendesk-webhook-signature-timestamp", "today"),
    ];
    assert_eq!(outcome(&zendesk, &incoming(&headers, b"{}"), URL, "s", NOW_MS), "wrong");
}

#[test]
fn tokens_are_the_secret_itself() {
    let gitlab = shipped("gitlab");
    let with = |token: &str| incoming(&[("x-gitlab-token", token)], b"{}");
    assert_eq!(outcome(&gitlab, &with("s3cret"), URL, "s3cret", NOW_MS), "genuine");
    assert_eq!(outcome(&gitlab, &with("s3cre"), URL, "s3cret", NOW_MS), "wrong");
    assert_eq!(outcome(&gitlab, &with(""), URL, "s3cret", NOW_MS), "wrong");
    assert_eq!(
        outcome(&gitlab, &incoming(&[], b"{}"), URL, "s3cret", NOW_MS),
        "no token"
    );
    let in_query = written(&json!({"scheme": "token", "proof": "query.key"}));
    let mut one = incoming(&[], b"{}");
    one.query = Some("key=s3cret".to_owned());
    assert_eq!(outcome(&in_query, &one, URL, "s3cret", NOW_MS), "genuine");
}

#[test]
fn gitlab_signs_or_sends_a_token() {
    let gitlab = shipped("gitlab");
    // A signing token as GitLab makes them, 32 bytes, and a signature made with it by another program.
    let secret = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=";
    let signature = "v1,NTYj9nKtg2MVLNNbQ39N3CCgyBFEDNv3eOL8D0P1qok=";
    let body = br#"{"object_kind":"push","project_id":15}"#;
    let with = |signature: &str, token: Option<&str>| {
        let mut headers = vec![
            ("webhook-id", "0a8b2cd1-6e4b-4d0b-9b60-3f8f0c1f7d52"),
            ("webhook-timestamp", "1795346513"),
            ("webhook-signature", signature),
        ];
        headers.extend(token.map(|token| ("x-gitlab-token", token)));
        incoming(&headers, body)
    };
    let one = with(signature, None);
    assert_eq!(outcome(&gitlab, &one, URL, secret, NOW_MS), "genuine");
    assert_eq!(outcome(&gitlab, &one, URL, secret, NOW_MS + 301_000), "old");
    // While the token is changed there are signatures of both.
    let two = with(&format!("v1,{} v1a,none {signature}", "A".repeat(43)), None);
    assert_eq!(outcome(&gitlab, &two, URL, secret, NOW_MS), "genuine");
    let other = with(&format!("v1,{}=", "A".repeat(43)), None);
    assert_eq!(outcome(&gitlab, &other, URL, secret, NOW_MS), "wrong");
    assert_eq!(outcome(&gitlab, &with("", None), URL, secret, NOW_MS), "no token");
    // Who knows only the secret token goes by that, also where there is a signature.
    let both = with(signature, Some("s3cret"));
    assert_eq!(outcome(&gitlab, &both, URL, "s3cret", NOW_MS), "genuine");
    assert_eq!(outcome(&gitlab, &both, URL, secret, NOW_MS), "genuine");
    assert_eq!(outcome(&gitlab, &both, URL, "another", NOW_MS), "wrong");
    assert_eq!(outcome(&gitlab, &both, URL, secret, NOW_MS + 301_000), "old");
}

#[test]
fn the_remaining_schemes() {
    // RFC 4231, test case 2, in both forms.
    let (secret, body) = ("Jefe", b"what do ya want for nothing?");
    let sha512 = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";
    let spec = written(&json!({"scheme": "hmac", "algorithm": "sha512", "proof": "header.x-s"}));
    assert_eq!(
        outcome(&spec, &incoming(&[("x-s", sha512)], body), URL, secret, NOW_MS),
        "genuine"
    );
    assert_eq!(
        outcome(
            &spec,
            &incoming(&[("x-s", &sha512.to_uppercase())], body),
            URL,
            secret,
            NOW_MS
        ),
        "genuine"
    );
    // A key in base64 behind a prefix, as Standard Webhooks has it, and a signature with its version in front.
    let svix = written(&json!({
        "scheme": "hmac", "encoding": "base64", "proof": "header.webhook-signature", "prefix": "v1,",
        "signed": "${header.webhook-id}.${timestamp}.${body}", "timestamp": "header.webhook-timestamp",
        "secret_prefix": "whsec_", "secret_encoding": "base64",
    }));
    // The example of the specification.
    let headers = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];
    let one = incoming(&headers, br#"{"test": 2432232314}"#);
    let now_ms = 1_614_265_330_000;
    assert_eq!(
        outcome(&svix, &one, URL, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now_ms),
        "genuine"
    );
    let secret = Secret::new("whsec_!".to_owned());
    let unusable = verify(&svix.verification, &Reader::new(&one), URL, &secret, now_ms).unwrap_err();
    assert!(matches!(unusable, IngressError::UnusableSecret { .. }), "{unusable}");
}
