//! The published providers of Nango: a user may bring that file, so all of it loads, and requests of every provider in it
//! arrive without a placeholder left.

use std::collections::BTreeSet;
use std::path::PathBuf;

use http::Method;
use nango_runtime::provider::{Catalogue, Provider};
use nango_runtime_tests::client::{json_body, send};
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Browser, Reply, TestRuntime, Upstream, repository, told};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// Fewer would mean that the wrong file was read.
const PROVIDERS_MIN: usize = 900;
const OAUTH2_PROVIDERS_MIN: usize = 300;

fn file() -> PathBuf {
    let package = "tests/node/node_modules/@nangohq/providers/providers.yaml";
    repository::require(repository::root().join(package), "node")
}

fn catalogue() -> Catalogue {
    Catalogue::load(&[file()]).unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
fn all_entries_load() {
    let catalogue = catalogue();
    assert!(
        catalogue.providers.len() >= PROVIDERS_MIN,
        "{}",
        catalogue.providers.len()
    );
    let text = std::fs::read_to_string(file()).expect("the file can be read");
    let begins_entry = |line: &&str| !line.starts_with([' ', '#', '-']);
    let names = text
        .lines()
        .filter(begins_entry)
        .filter_map(|line| line.split_once(':'));
    let missing: Vec<&str> = names
        .map(|(name, _)| name.trim_matches(['"', '\'']))
        .filter(|name| catalogue.get(name).is_none())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unsupported: Vec<&str> = catalogue
        .providers
        .values()
        .filter(|provider| provider.auth_mode.credentials_type().is_none())
        .map(|provider| provider.name.as_str())
        .collect();
    assert!(unsupported.is_empty(), "{unsupported:?}");
}

/// Customers of every provider with OAuth 2 are sent to an address in which all values are filled in.
#[tokio::test]
async fn a_customer_of_every_provider_is_sent_to_a_whole_address() {
    let catalogue = catalogue();
    let providers: Vec<&Provider> = catalogue
        .providers
        .values()
        .map(AsRef::as_ref)
        .filter(|provider| provider.auth_mode_name() == "OAUTH2" && provider.json["authorization_url"].is_string())
        .collect();
    assert!(providers.len() >= OAUTH2_PROVIDERS_MIN, "{}", providers.len());
    let entries: Map<String, Value> = providers
        .iter()
        .map(|provider| (provider.name.clone(), lenient(provider.json.clone())))
        .collect();
    let server = TestRuntime::new()
        .provider_yaml(&Value::Object(entries).to_string())
        .start();
    let client = server.client();
    let opened = client
        .post("/connect/sessions", &json!({"end_user": {"id": "u1"}}))
        .await
        .ok();
    let token = opened["data"]["token"].as_str().expect("a token").to_owned();
    let mut browser = Browser::new();
    let mut failures = Vec::new();
    for provider in &providers {
        let name = provider.name.as_str();
        let integration = json!({
            "unique_key": name, "provider": name, "credentials": app(provider), "custom": custom(provider),
        });
        let created = client.post("/integrations", &integration).await;
        if created.status >= 300 {
            failures.push(format!("{name}: integration: {}", created.text()));
            continue;
        }
        let mut url = format!(
            "{}/oauth/connect/{name}?connect_session_token={token}",
            server.base_url()
        );
        for (key, value) in connection_config(provider).as_object().into_iter().flatten() {
            let value = utf8_percent_encode(value.as_str().unwrap_or("1"), NON_ALPHANUMERIC);
            url.push_str(&format!("&params[{key}]={value}"));
        }
        let page = browser.step(&url, None).await;
        let location = page.location().unwrap_or_default();
        let is_whole = ["${", "%24%7B", "||", "undefined"]
            .iter()
            .all(|text| !location.contains(text));
        if page.status != 302 || !location.starts_with("https://") || !is_whole {
            let told = page.data("errorDescription").unwrap_or_default();
            failures.push(format!("{name}: {} {location} {told}", page.status));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Each provider's base URL is put behind the address of an upstream here, so that everything else is as published.
#[tokio::test]
async fn a_request_of_every_provider_arrives_with_all_values_filled_in() {
    let upstream = Upstream::handling(|_| Reply::json(200, &json!({}))).await;
    let catalogue = catalogue();
    let providers: Vec<&Provider> = catalogue
        .providers
        .values()
        .map(AsRef::as_ref)
        .filter(|provider| provider.proxy.is_some())
        .collect();
    let entries: Map<String, Value> = providers
        .iter()
        .map(|provider| (provider.name.clone(), moved(provider, &upstream.url())))
        .collect();
    // JSON is YAML.
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&Value::Object(entries).to_string())
        .start();
    let client = server.client();
    let mut failures = Vec::new();
    for provider in &providers {
        let name = provider.name.as_str();
        let integration = json!({
            "unique_key": name, "provider": name, "credentials": app(provider), "custom": custom(provider),
        });
        let created = client.post("/integrations", &integration).await;
        if created.status >= 300 {
            failures.push(format!("{name}: integration: {}", created.text()));
            continue;
        }
        let import = json!({
            "provider_config_key": name, "connection_id": "c", "credentials": credentials(provider),
            "connection_config": connection_config(provider),
        });
        let imported = client.post("/connections", &import).await;
        if imported.status >= 300 {
            failures.push(format!("{name}: connection: {}", imported.text()));
            continue;
        }
        let request = client.proxy(Method::POST, name, "c", "/things?a=1");
        let answer = send(json_body(request, &json!({"own": 1}))).await;
        if answer.status != 200 {
            failures.push(format!("{name}: {} {}", answer.status, answer.text()));
        }
    }
    // Its template asks client credentials for an API key, which they do not have.
    let (impossible, failures): (Vec<String>, Vec<String>) = failures
        .into_iter()
        .partition(|failure| failure.starts_with("certn-partner: ") && failure.contains("`apiKey` has no value"));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let received = upstream.received();
    let is_own = |request: &&Received| String::from_utf8_lossy(&request.body).contains("\"own\":1");
    assert_eq!(
        received.iter().filter(is_own).count(),
        providers.len() - impossible.len()
    );
    // The credentials of most that users type were tried before they were stored.
    let tried = received.len() - received.iter().filter(is_own).count();
    assert!(tried > 290, "{tried}");
    for request in received {
        let headers = format!("{:?}", request.headers);
        let body = String::from_utf8_lossy(&request.body);
        for text in [request.target.as_str(), headers.as_str(), &body] {
            assert!(
                !text.contains("${") && !text.contains("||"),
                "{}: {text}",
                request.target
            );
        }
    }
}

/// The entry with each alternative of its base URL below `/name/` of the upstream.
fn moved(provider: &Provider, upstream: &str) -> Value {
    let mut json = provider.json.clone();
    let base_url = json["proxy"]["base_url"].as_str().unwrap_or_default();
    let alternatives: Vec<String> = base_url
        .split("||")
        .map(|url| url.trim().trim_start_matches("https://").trim_start_matches("http://"))
        .map(|rest| format!("{upstream}/{}/{rest}", provider.name))
        .collect();
    json["proxy"]["base_url"] = alternatives.join(" || ").into();
    if let Some(elsewhere) = json.pointer_mut("/proxy/verification/base_url_override") {
        *elsewhere = format!("{upstream}/{}/elsewhere", provider.name).into();
    }
    let mut json = lenient(json);
    // Else the integration's own address would be asked.
    if let Some(fields) = json.get_mut("integration_config").and_then(Value::as_object_mut) {
        fields.remove("baseUrl");
    }
    json
}

/// Samples are no real values; how those are checked is tested elsewhere.
fn lenient(mut json: Value) -> Value {
    let fields = json.get_mut("connection_config").and_then(Value::as_object_mut);
    for rules in fields
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
    {
        rules.remove("pattern");
        rules.remove("format");
    }
    json
}

fn app(provider: &Provider) -> Value {
    let mut app = Map::new();
    if provider.auth_mode.has_client() {
        app.extend([
            ("client_id".into(), "an-id".into()),
            ("client_secret".into(), "a-secret".into()),
        ]);
    }
    if provider.auth_mode.has_app() {
        let fields = ["app_id", "app_link", "private_key"];
        app.extend(fields.map(|field| (field.to_owned(), "an-app".into())));
    }
    if app.is_empty() {
        return Value::Null;
    }
    app.insert("type".into(), provider.auth_mode_name().into());
    Value::Object(app)
}

/// Values of the declared fields, and of those that templates name without declaring them.
fn connection_config(provider: &Provider) -> Value {
    let mut config: Map<String, Value> = provider
        .fields("connection_config")
        .map(|(name, rules)| (name.to_owned(), sample(rules)))
        .collect();
    let text = provider.json.to_string();
    let named: BTreeSet<&str> = text
        .split("${connectionConfig.")
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
        .collect();
    for name in named {
        config.entry(name).or_insert_with(|| "sample".into());
    }
    config.entry("accountId").or_insert_with(|| "1234567".into());
    Value::Object(config)
}

fn custom(provider: &Provider) -> Value {
    let fields = provider.fields("integration_config");
    let values: Map<String, Value> = fields
        .filter(|(name, _)| *name != "baseUrl")
        .map(|(name, rules)| (name.to_owned(), sample(rules)))
        .collect();
    Value::Object(values)
}

fn sample(rules: &Value) -> Value {
    let first = |key: &str| rules[key].as_array().and_then(|values| values.first()).cloned();
    let candidates = [
        first("enum"),
        rules.get("example").cloned(),
        rules.get("default_value").cloned(),
    ];
    let mut candidates = candidates.into_iter().flatten();
    let sample = candidates.find(|value| value.as_str().is_some_and(|text| !text.is_empty()));
    let sample = sample.unwrap_or_else(|| "sample".into());
    // An example may be that of a key in one field, and of something else in another.
    told::is_public(sample.as_str().unwrap_or_default());
    sample
}

fn credentials(provider: &Provider) -> Value {
    let stored = provider.auth_mode.credentials_type().map_or("", |kind| kind.name());
    match stored {
        "API_KEY" => json!({"type": stored, "apiKey": "a-key"}),
        // The providers that sign with Ed25519 or for AWS take keys as passwords.
        "BASIC" => json!({"type": stored, "username": "a-user", "password": password(provider)}),
        "OAUTH2" => json!({"type": stored, "access_token": "a-token", "raw": raw()}),
        "APP" => json!({"type": stored, "access_token": "a-token"}),
        "OAUTH2_CC" => {
            let [certificate, key] = certificate(provider);
            json!({
                "type": stored, "token": "a-token", "client_id": "an-id", "client_secret": "a-secret", "raw": raw(),
                "client_certificate": certificate, "client_private_key": key,
            })
        }
        "OAUTH1" => json!({"type": stored, "oauth_token": "a-token", "oauth_token_secret": "a-secret"}),
        "TBA" => json!({"type": stored, "token_id": "a-token", "token_secret": "a-secret"}),
        "AWS_SIGV4" => json!({
            "type": stored, "region": "us-east-1", "service": "s3", "access_key_id": "a-key", "secret_access_key": "a-secret",
        }),
        "SIGNATURE" => json!({"type": stored, "username": "a-user", "password": "a-password", "token": "a-token"}),
        "BILL" => json!({
            "type": stored, "username": "a-user", "password": "a-password", "organization_id": "an-organization",
            "dev_key": "a-key", "session_id": "a-session",
        }),
        "NONE" => json!({"type": stored}),
        _ => {
            let mut given: Map<String, Value> = provider
                .fields("credentials")
                .map(|(name, _)| (name.to_owned(), "a-value".into()))
                .collect();
            given.insert("type".into(), stored.into());
            given.insert("token".into(), "a-token".into());
            given.insert("_cookies".into(), "a=cookie".into());
            given.insert("raw".into(), raw());
            Value::Object(given)
        }
    }
}

/// And its key, where a provider lets in nobody without.
fn certificate(provider: &Provider) -> [Option<&'static str>; 2] {
    let is_needed = provider.json["require_client_certificate"] == true;
    [
        include_str!("../../runtime/src/egress/test_certificates/client.pem"),
        include_str!("../../runtime/src/egress/test_certificates/client.key"),
    ]
    .map(|pem| is_needed.then_some(pem))
}

/// What token answers hold besides the token.
fn raw() -> Value {
    json!({"accountID": "an-account", "id_token": "an-id-token"})
}

fn password(provider: &Provider) -> &'static str {
    if provider.json["proxy"]["headers"].to_string().contains("ed25519Sign") {
        // RFC 8410, 10.3
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n"
    } else {
        "a-password"
    }
}
