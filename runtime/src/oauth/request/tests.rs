//! Requests for tokens, as they are sent.

use serde_json::json;

use super::super::testing::{moment, oauth2, target};
use http::header::HeaderName;

use super::*;

const URL: &str = "https://auth.test/token";

fn build(target: &Target) -> Result<TokenRequest, RefreshError> {
    super::build(target, moment())
}

fn sent(target: &Target) -> (String, String, String, String) {
    let request = build(target).unwrap();
    let header = |name: HeaderName| {
        let value = request
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    (
        request.url.to_string(),
        header(header::AUTHORIZATION),
        header(header::CONTENT_TYPE),
        request.body.expose().clone(),
    )
}

fn body(entry: Value) -> String {
    sent(&target(entry, &oauth2())).3
}

#[test]
fn a_refresh_is_a_form_with_the_client_in_it() {
    let (url, authorization, content_type, body) = sent(&target(json!({"token_url": URL}), &oauth2()));
    assert_eq!((url.as_str(), authorization.as_str()), (URL, ""));
    assert_eq!(content_type, "application/x-www-form-urlencoded");
    assert_eq!(
        body,
        "client_id=my+id&client_secret=s3cret%2B%2F&grant_type=refresh_token&refresh_token=old-refresh"
    );
}

#[test]
fn parameters_are_those_of_the_refresh_and_never_another_grant() {
    let of_code = json!({"grant_type": "authorization_code", "audience": "x"});
    let entry = json!({"token_url": URL, "token_params": of_code});
    assert_eq!(
        body(entry),
        "audience=x&client_id=my+id&client_secret=s3cret%2B%2F&grant_type=refresh_token&refresh_token=old-refresh"
    );
    let entry = json!({"token_url": URL, "token_params": of_code, "refresh_params": {"grant_type": "x", "b": "c"}});
    let body = body(entry);
    assert!(
        body.contains("grant_type=refresh_token") && body.contains("b=c"),
        "{body}"
    );
    assert!(!body.contains("audience"), "{body}");
}

#[test]
fn the_refresh_url_comes_first() {
    let entry = json!({"token_url": URL, "refresh_url": "https://auth.test/refresh?v=2"});
    assert_eq!(sent(&target(entry, &oauth2())).0, "https://auth.test/refresh?v=2");
}

#[test]
fn clients_show_who_they_are_as_the_provider_likes() {
    let with = |key: &str, value: &str| sent(&target(json!({"token_url": URL, key: value}), &oauth2()));
    // Encoded before: RFC 6749, section 2.3.1.
    let (_, authorization, _, body) = with("authorization_method", "header");
    assert_eq!(
        authorization,
        format!("Basic {}", STANDARD.encode("my+id:s3cret%2B%2F"))
    );
    assert!(!body.contains("client"), "{body}");
    let (_, authorization, _, body) = with("token_request_auth_method", "basic");
    assert_eq!(authorization, format!("Basic {}", STANDARD.encode("my id:s3cret+/")));
    assert!(body.contains("client_id=my+id"), "{body}");
    let (_, authorization, _, body) = with("token_request_auth_method", "custom");
    assert_eq!(authorization, "");
    assert!(
        body.contains("username=my+id") && body.contains("password=s3cret"),
        "{body}"
    );
    let other = target(
        json!({"token_url": URL, "token_request_auth_method": "private_key_jwt"}),
        &oauth2(),
    );
    assert!(matches!(build(&other), Err(RefreshError::MissingValue { .. })));
}

#[test]
fn bodies_are_json_or_in_the_query_where_the_provider_likes() {
    let with = |format: &str| sent(&target(json!({"token_url": URL, "body_format": format}), &oauth2()));
    let (_, _, content_type, body) = with("json");
    assert_eq!(content_type, "application/json");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&body["refresh_token"], &body["client_secret"]),
        (&json!("old-refresh"), &json!("s3cret+/"))
    );
    let (url, _, _, body) = with("query");
    assert!(
        url.starts_with(URL) && url.contains("refresh_token=old-refresh"),
        "{url}"
    );
    assert_eq!(body, "");
}

#[test]
fn a_connections_own_client_comes_before_the_integrations() {
    let mut credentials = oauth2();
    credentials["config_override"] = json!({"client_id": "own", "client_secret": "own-secret"});
    let body = sent(&target(json!({"token_url": URL}), &credentials)).3;
    assert!(body.starts_with("client_id=own&client_secret=own-secret&"), "{body}");
    let mut without = target(json!({"token_url": URL}), &oauth2());
    without.client = None;
    assert!(matches!(build(&without), Err(RefreshError::NoClient { .. })));
}

#[test]
fn a_public_client_has_no_secret() {
    let mut public = target(json!({"token_url": URL}), &oauth2());
    public.client = Some(OAuthClient {
        client_id: "public".to_owned(),
        client_secret: Secret::new(String::new()),
    });
    assert_eq!(
        sent(&public).3,
        "client_id=public&grant_type=refresh_token&refresh_token=old-refresh"
    );
}

#[test]
fn urls_take_the_connections_values_but_not_other_hosts() {
    let with = |template: &str, value: &str| {
        let mut target = target(json!({"token_url": template}), &oauth2());
        target.connection_config.insert("where".to_owned(), value.into());
        build(&target).map(|request| request.url.to_string())
    };
    let sub = "https://${connectionConfig.where}.auth.test/token";
    assert_eq!(with(sub, "acme").unwrap(), "https://acme.auth.test/token");
    for value in [
        "evil.test/",
        "evil.test#",
        "evil.test?",
        "a@evil.test",
        "evil.test\\",
        "https://evil.test/",
    ] {
        let error = with(sub, value).unwrap_err();
        assert!(matches!(error, RefreshError::Template { .. }), "{value}: {error}");
    }
    let whole = "${connectionConfig.where}/token";
    assert_eq!(with(whole, "https://acme.test").unwrap(), "https://acme.test/token");
    assert!(with(whole, "ftp://acme.test").is_err());
    let missing = target(json!({"token_url": sub}), &oauth2());
    let error = build(&missing).unwrap_err().to_string();
    assert!(error.contains("connectionConfig.where"), "{error}");
}

#[test]
fn client_credentials_are_asked_for_with_scopes_and_headers() {
    let entry = json!({
        "token_url": URL, "scope_separator": ",", "token_headers": {"x-api-version": "7"},
        "token_params": {"audience": "https://${connectionConfig.sub}.test"},
    });
    let credentials = json!({"type": "OAUTH2_CC", "client_id": "c", "client_secret": "s"});
    let mut target = target(entry, &credentials);
    for (key, value) in [
        ("sub", json!("acme")),
        ("oauth_scopes", json!("read, write")),
        ("authorization_params", json!({"resource": "r"})),
    ] {
        target.connection_config.insert(key.to_owned(), value);
    }
    let request = build(&target).unwrap();
    assert_eq!(
        request.body.expose(),
        "audience=https%3A%2F%2Facme.test&client_id=c&client_secret=s&grant_type=client_credentials&resource=r&scope=read%2Cwrite"
    );
    assert_eq!(request.headers["x-api-version"], "7");
}

#[test]
fn debug_shows_no_secret() {
    let target = target(json!({"token_url": URL, "authorization_method": "header"}), &oauth2());
    let shown = format!("{:?}", build(&target).unwrap());
    assert!(
        !shown.contains("old-refresh") && !shown.contains(&STANDARD.encode("my+id")),
        "{shown}"
    );
}

#[test]
fn a_public_client_sends_no_secret_and_some_send_it_as_a_user_name() {
    let with = |method: &str| {
        sent(&target(
            json!({"token_url": URL, "token_request_auth_method": method}),
            &oauth2(),
        ))
    };
    let (_, authorization, _, body) = with("none");
    assert_eq!(
        (authorization.as_str(), body.as_str()),
        ("", "client_id=my+id&grant_type=refresh_token&refresh_token=old-refresh")
    );
    let (_, authorization, _, body) = with("secret_as_username");
    assert_eq!(authorization, format!("Basic {}", STANDARD.encode("s3cret+/:")));
    assert_eq!(body, "grant_type=refresh_token&refresh_token=old-refresh");
}

#[test]
fn parameters_have_the_names_that_the_provider_gave_them() {
    let mut entry = json!({
        "token_url": URL, "body_format": "json",
        "token_request_fields": {
            "client_id": "app_id", "client_secret": "secret", "code": "auth_code", "grant_type": null, "redirect_uri": null,
        },
    });
    let code = |entry: &Value| {
        let target = target(entry.clone(), &oauth2());
        let mut parameters = JsonObject::new();
        for (name, value) in [
            ("grant_type", "authorization_code"),
            ("code", "c0de"),
            ("redirect_uri", "https://us.test"),
        ] {
            parameters.insert(name.to_owned(), value.into());
        }
        let client = target.client.clone().unwrap();
        let request = request(&TokenValues::new(&target, moment()), "token_url", parameters, &client).unwrap();
        serde_json::from_str::<Value>(request.body.expose()).unwrap()
    };
    assert_eq!(
        code(&entry),
        json!({"app_id": "my id", "secret": "s3cret+/", "auth_code": "c0de"})
    );
    let refresh = |entry: &Value| serde_json::from_str::<Value>(&body(entry.clone())).unwrap();
    assert_eq!(
        refresh(&entry),
        json!({"app_id": "my id", "secret": "s3cret+/", "refresh_token": "old-refresh"})
    );
    entry["refresh_request_fields"] = json!({"client_secret": null, "refresh_token": "token"});
    assert_eq!(
        refresh(&entry),
        json!({"client_id": "my id", "grant_type": "refresh_token", "token": "old-refresh"})
    );
    assert!(code(&entry).get("auth_code").is_some());
    entry["refresh_request_fields"] = json!({"refresh_token": 1});
    let malformed = build(&target(entry, &oauth2()));
    assert!(matches!(malformed, Err(RefreshError::Unsupported { .. })));
}
