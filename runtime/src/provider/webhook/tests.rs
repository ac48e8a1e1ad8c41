//! What is written of webhooks, and what of it is refused.

use serde_json::{Value, json};

use super::*;
use crate::provider::entry::provider;

fn spec(webhook: &Value) -> Result<WebhookSpec, String> {
    match provider("p", json!({"auth_mode": "NONE", "webhook": webhook})) {
        Ok(provider) => Ok(provider.webhook.unwrap()),
        Err(error) => Err(crate::provider::tests::chain(&error)),
    }
}

#[test]
fn all_of_it() {
    let spec = spec(&json!({
        "verification": {
            "scheme": "hmac", "algorithm": "sha256", "encoding": "hex", "proof": "header.Acme-Signature", "pair": "v1",
            "signed": "v0:${timestamp}.${method}${url}${header.X-Id}${body}", "timestamp": "pair.t", "tolerance_s": 60,
            "secret": ["webhook_secret", "client_secret"],
        },
        "handshakes": [{"when": "body.type", "is": "hello", "json": {"challenge": "body.challenge"}}],
        "events": ["header.x-event", "body.*.type"],
        "connections": [{"from": "body.account.id", "equals": "${connectionConfig.account}"}],
        "installation": {"when": {"body.action": "created"}, "by": "body.actor.id", "awaited": "actor"},
    }))
    .unwrap();
    let Scheme::Hmac(hmac) = &spec.verification.scheme else {
        panic!("{spec:?}")
    };
    assert_eq!(
        hmac.signed,
        [
            SignedPart::Text("v0:".to_owned()),
            SignedPart::Timestamp,
            SignedPart::Text(".".to_owned()),
            SignedPart::Method,
            SignedPart::Url,
            SignedPart::Header("x-id".to_owned()),
            SignedPart::Body,
        ]
    );
    assert_eq!(hmac.timestamp.as_ref().unwrap().tolerance_s, 60);
    assert_eq!(spec.verification.proof, Place::Header("acme-signature".to_owned()));
    let installation = spec.installation.as_ref().unwrap();
    assert_eq!((installation.when.len(), installation.awaited.as_str()), (1, "actor"));
    let all = vec![PathStep::All, PathStep::Name("type".to_owned())];
    assert_eq!(spec.events[1], Place::Body(all));
}

#[test]
fn what_would_be_unsafe_or_means_nothing_is_refused() {
    let of = |verification: Value| spec(&json!({"verification": verification})).unwrap_err();
    for (verification, message) in [
        (
            json!({"scheme": "magic", "proof": "header.x"}),
            "unknown variant `magic`",
        ),
        (
            json!({"scheme": "hmac", "proof": "cookie.x"}),
            "\"cookie.x\" is no place in a request",
        ),
        (
            json!({"scheme": "hmac", "proof": "header.x", "signed": "${url}"}),
            "must hold the body",
        ),
        (
            json!({"scheme": "hmac", "proof": "header.x", "signed": "${body"}),
            "has no `}`",
        ),
        (
            json!({"scheme": "hmac", "proof": "header.x", "signed": "${body}${boby}"}),
            "knows `body`",
        ),
        (
            json!({"scheme": "hmac", "proof": "header.x", "timestamp": "header.t"}),
            "a timestamp is signed",
        ),
        (
            json!({"scheme": "hmac", "proof": "header.x", "signed": "${timestamp}${body}"}),
            "a timestamp is signed",
        ),
        (
            json!({"scheme": "token", "proof": "header.x", "signed": "${body}"}),
            "compares the secret itself",
        ),
        (
            json!({"scheme": "token", "proof": "header.x", "secret": []}),
            "names no secret",
        ),
        (
            json!({"scheme": "hmac", "proof": "header.x",
                   "or": {"scheme": "token", "proof": "header.y", "secret": ["client_secret"]}}),
            "`secret` stands beside `or`",
        ),
    ] {
        let error = of(verification);
        assert!(error.contains(message), "{error}");
    }
    let verification = json!({"scheme": "token", "proof": "header.x"});
    let handshake = json!({"when": "body.a", "signed": false, "json_hmac": {"a": "body.a"}});
    let error = spec(&json!({"verification": verification, "handshakes": [handshake]})).unwrap_err();
    assert!(error.contains("would sign whatever strangers ask for"), "{error}");
    for (installation, message) in [
        (json!({"when": {}, "by": "body.a", "awaited": "a"}), "it is empty"),
        (
            json!({"when": {"body.a": "b"}, "by": "header.x-actor", "awaited": "a"}),
            "`by` is in the body, which is signed",
        ),
    ] {
        let error = spec(&json!({"verification": verification, "installation": installation})).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}
