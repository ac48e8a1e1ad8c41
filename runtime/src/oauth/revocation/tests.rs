//! Requests that revoke tokens, as several providers want them, and what is made of their answers.

use serde_json::json;

use super::*;
use crate::oauth::testing::{moment, oauth2, target};

fn requests(revocation: &Value) -> Vec<RevocationRequest> {
    let entry = json!({"token_url": "https://a.test/token", "revocation": revocation});
    build(&target(entry, &oauth2()), moment()).unwrap()
}

fn header<'a>(request: &'a RevocationRequest, name: &str) -> Option<&'a str> {
    let found = request.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

fn sent(request: &RevocationRequest) -> (&str, &str, &str) {
    (&request.method, &request.url, &request.body)
}

#[test]
fn both_tokens_are_revoked_as_rfc_7009_says() {
    let [refresh, access] = &requests(&json!({"url": "https://a.test/revoke"}))[..] else {
        panic!("two tokens")
    };
    assert_eq!(
        sent(refresh),
        (
            "POST",
            "https://a.test/revoke",
            "client_id=my+id&client_secret=s3cret%2B%2F&token=old-refresh&token_type_hint=refresh_token"
        )
    );
    assert_eq!(
        access.body,
        refresh
            .body
            .replace("old-refresh", "old-access")
            .replace("=refresh_token", "=access_token")
    );
    assert_eq!(
        header(refresh, "content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(header(refresh, "authorization"), None);
    assert!(requests(&json!({"url": "https://a.test/revoke", "tokens": ["access_token"]})).len() == 1);
}

#[test]
fn providers_have_it_otherwise() {
    let github = requests(&json!({
        "url": "https://a.test/applications/${clientId}/token", "method": "delete", "tokens": ["access_token"],
        "client": "header", "body_format": "json", "params": {"access_token": "${token}"},
    }));
    assert_eq!(
        sent(&github[0]),
        (
            "DELETE",
            "https://a.test/applications/my%20id/token",
            r#"{"access_token":"old-access"}"#
        )
    );
    // RFC 6749, section 2.3.1: form-encoded first.
    assert_eq!(
        header(&github[0], "authorization"),
        Some("Basic bXkraWQ6czNjcmV0JTJCJTJG")
    );
    let slack = requests(&json!({
        "url": "https://a.test/auth.revoke", "tokens": ["access_token"], "client": "bearer", "params": {},
    }));
    assert_eq!(sent(&slack[0]), ("POST", "https://a.test/auth.revoke", ""));
    assert_eq!(header(&slack[0], "authorization"), Some("Bearer old-access"));
    let query = requests(&json!({
        "url": "https://a.test/revoke", "tokens": ["refresh_token"], "client": "none", "body_format": "query",
        "params": {"token": "${token}"}, "headers": {"x-kind": "${tokenType}"},
    }));
    assert_eq!(sent(&query[0]), ("POST", "https://a.test/revoke?token=old-refresh", ""));
    assert_eq!(header(&query[0], "x-kind"), Some("refresh_token"));
}

#[test]
fn tokens_that_are_not_there_or_have_ended_are_left_alone() {
    let entry = json!({"token_url": "https://a.test/token", "revocation": {"url": "https://a.test/revoke"}});
    let kinds = |credentials: Value| {
        let requests = build(&target(entry.clone(), &credentials), moment()).unwrap();
        requests.into_iter().map(|request| request.token).collect::<Vec<_>>()
    };
    let ended = json!({"type": "OAUTH2", "access_token": "a", "refresh_token": "r", "expires_at": moment().now_ms});
    assert_eq!(kinds(ended), ["refresh_token"]);
    assert_eq!(kinds(json!({"type": "OAUTH2", "access_token": "a"})), ["access_token"]);
    assert_eq!(kinds(json!({"type": "API_KEY", "apiKey": "k"})), [""; 0]);
    let silent = target(json!({"token_url": "https://a.test/token"}), &oauth2());
    assert!(build(&silent, moment()).unwrap().is_empty(), "nobody says how");
    let mut without_client = target(entry, &oauth2());
    without_client.client = None;
    assert!(matches!(
        build(&without_client, moment()),
        Err(RefreshError::NoClient { .. })
    ));
}

#[test]
fn of_an_app_with_users_the_users_own_token_is_revoked() {
    let entry = json!({"auth_mode": "CUSTOM", "token_url": {"OAUTH2": "https://a.test/token"},
        "revocation": {"url": "https://a.test/revoke", "client": "none"}});
    let mut custom = target(entry, &json!({"type": "APP", "access_token": "of-the-app"}));
    std::sync::Arc::make_mut(&mut custom.provider).auth_mode = AuthMode::Custom;
    assert!(build(&custom, moment()).unwrap().is_empty(), "no user has signed in");
    let own = json!({"type": "OAUTH2", "access_token": "of-the-user", "refresh_token": "refresh-of-the-user"});
    custom.connection_config.insert("userCredentials".to_owned(), own);
    let told: Vec<String> = build(&custom, moment())
        .unwrap()
        .into_iter()
        .map(|request| request.body)
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("token=refresh-of-the-user") && told[1].contains("token=of-the-user"),
        "{told:?}"
    );
}

#[test]
fn of_tokens_of_which_one_has_ended_the_other_is_revoked() {
    let entry = json!({"token_url": "https://a.test/token", "revocation": {"url": "https://a.test/revoke"}});
    let ended = json!({"type": "OAUTH2", "access_token": "old-access", "refresh_token": "old-refresh",
        "expires_at": moment().now_ms - 1});
    let requests = build(&target(entry, &ended), moment()).unwrap();
    let tokens: Vec<&str> = requests.iter().map(|request| request.token.as_str()).collect();
    assert_eq!(tokens, ["refresh_token"]);
    // Of a void token a provider would say that it is void (RFC 7009, section 2.2): nobody is asked.
    let entry = json!({"token_url": "https://a.test/token",
        "revocation": {"url": "https://a.test/revoke", "tokens": ["access_token"]}});
    assert!(build(&target(entry, &ended), moment()).unwrap().is_empty());
}

#[test]
fn answers_are_understood() {
    let plain = &requests(&json!({"url": "https://a.test/revoke"}))[0];
    let verdict = |request: &RevocationRequest, status: u16, body: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        let error = request.verdict("a.test".to_owned(), status, body.as_bytes()).err()?;
        Some(
            (NotRevoked {
                error: super::super::error::retold(error, |text| request.without_secrets(text)),
            })
            .is_transient(),
        )
    };
    assert_eq!(verdict(plain, 200, ""), None);
    assert_eq!(
        verdict(plain, 400, r#"{"error":"invalid_token"}"#),
        None,
        "it is void already"
    );
    assert_eq!(verdict(plain, 400, r#"{"error":"invalid_request"}"#), Some(false));
    assert_eq!(verdict(plain, 401, r#"{"error":"invalid_client"}"#), Some(false));
    for status in [408, 429, 500, 503] {
        assert_eq!(verdict(plain, status, ""), Some(true), "{status}");
    }
    let slack = &requests(&json!({
        "url": "https://a.test/auth.revoke", "client": "bearer", "params": {}, "success": "ok", "gone": ["token_revoked"],
        "gone_status": [404],
    }))[1];
    assert_eq!(verdict(slack, 200, r#"{"ok":true,"revoked":true}"#), None);
    assert_eq!(
        verdict(slack, 200, r#"{"ok":false,"error":"fatal_error"}"#),
        Some(false)
    );
    assert_eq!(verdict(slack, 200, r#"{"ok":false,"error":"token_revoked"}"#), None);
    assert_eq!(verdict(slack, 404, ""), None);
    assert_eq!(verdict(slack, 401, ""), None, "the bearer is void");
}

#[test]
fn what_a_provider_repeats_is_masked() {
    let request = &requests(&json!({"url": "https://a.test/revoke"}))[0];
    let body = r#"{"error":"odd","error_description":"old-refresh of s3cret+/"}"#;
    let error = request
        .verdict("a.test".to_owned(), StatusCode::BAD_REQUEST, body.as_bytes())
        .unwrap_err();
    let error = NotRevoked {
        error: super::super::error::retold(error, |text| request.without_secrets(text)),
    };
    let text = error.to_string();
    assert!(text.contains("odd (REDACTED of REDACTED)"), "{text}");
    let sealed = serde_json::to_string(request).unwrap();
    let opened: RevocationRequest = serde_json::from_str(&sealed).unwrap();
    assert_eq!(sent(&opened), sent(request));
}
