//! What holds for every provider that ships: the rules of docs/providers.md, as far as a test can see.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

mod complete;

use super::FILES;
use crate::provider::template::Template;
use crate::provider::{Catalogue, Provider};

/// The keys of an entry, in the order they are written in.
const KEYS: &[&str] = &[
    "alias",
    "display_name",
    "categories",
    "docs",
    "setup_guide_url",
    "auth_mode",
    "auth_type",
    "installation",
    "authorization_url",
    "token_url",
    "refresh_url",
    "request_url",
    "registration_url",
    "client_registration",
    "signature_method",
    "scope_separator",
    "default_scopes",
    "disable_pkce",
    "authorization_method",
    "token_request_auth_method",
    "body_format",
    "authorization_params",
    "token_params",
    "refresh_params",
    "token_request_fields",
    "refresh_request_fields",
    "token_headers",
    "token_response",
    "token_response_metadata",
    "redirect_uri_metadata",
    "authorization_code_param_in_webhook",
    "webhook_response_metadata",
    "authorization_url_replacements",
    "token_expires_in_ms",
    "signature",
    "token",
    "revocation",
    "after_connect",
    "webhook",
    "proxy",
    "connection_config",
    "integration_config",
    "credentials",
];

/// The same for the maps inside, by where they are.
const INNER_KEYS: &[(&str, &[&str])] = &[
    ("/signature", &["protocol", "hmac_secret_encoding"]),
    ("/token", &["signing_key", "expires_in_ms", "header", "payload"]),
    (
        "/revocation",
        &[
            "url",
            "method",
            "tokens",
            "client",
            "headers",
            "body_format",
            "params",
            "success",
            "gone",
            "gone_status",
        ],
    ),
    (
        "/webhook",
        &[
            "verification",
            "handshakes",
            "empty_answer",
            "events",
            "connections",
            "installation",
        ],
    ),
    ("/webhook/installation", &["when", "by", "awaited"]),
    (
        "/webhook/verification",
        &[
            "scheme",
            "algorithm",
            "encoding",
            "proof",
            "prefix",
            "pair",
            "signed",
            "timestamp",
            "timestamp_unit",
            "tolerance_s",
            "secret",
            "secret_prefix",
            "secret_encoding",
            "or",
        ],
    ),
    ("/webhook/verification/or", &["scheme", "proof"]),
    (
        "/proxy",
        &[
            "base_url",
            "headers",
            "query",
            "retry",
            "rate_limit",
            "paginate",
            "verification",
        ],
    ),
    ("/proxy/retry", &["error_code", "after", "remaining", "at", "in_body"]),
    ("/proxy/rate_limit", &["scope"]),
    (
        "/proxy/paginate",
        &[
            "type",
            "cursor_path_in_response",
            "cursor_name_in_request",
            "link_rel_in_response_header",
            "link_path_in_response_body",
            "offset_name_in_request",
            "offset_start_value",
            "offset_calculation_method",
            "limit_name_in_request",
            "response_path",
        ],
    ),
    ("/proxy/verification", &["method", "endpoints", "headers", "data"]),
];

const FIELD_KEYS: &[&str] = &[
    "type",
    "title",
    "description",
    "example",
    "format",
    "pattern",
    "enum",
    "default_value",
    "hidden",
    "optional",
    "automated",
    "secret",
    "visible_when",
];

const CATEGORIES: &[&str] = &[
    "accounting",
    "analytics",
    "ats",
    "cms",
    "communication",
    "crm",
    "design",
    "dev-tools",
    "e-commerce",
    "erp",
    "gaming",
    "hr",
    "iam",
    "invoicing",
    "knowledge-base",
    "legal",
    "marketing",
    "mcp",
    "other",
    "payment",
    "productivity",
    "search",
    "social",
    "sports",
    "storage",
    "support",
    "surveys",
    "ticketing",
    "video",
];

/// What an auth mode cannot do without, and the credentials that templates find in it.
const MODES: &[(&str, &[&str], &[&str])] = &[
    ("API_KEY", &["/proxy/base_url"], &["apiKey"]),
    ("APP", &["/token_url", "/proxy/base_url"], &["accessToken"]),
    ("AWS_SIGV4", &["/proxy/base_url"], &[]),
    ("BASIC", &["/proxy/base_url"], &["username", "password"]),
    ("BILL", &["/token_url", "/proxy/base_url"], &["credentials.session_id"]),
    (
        "CUSTOM",
        &["/token_url/OAUTH2", "/token_url/APP", "/proxy/base_url"],
        &["accessToken"],
    ),
    (
        "INSTALL_PLUGIN",
        &["/auth_type", "/redirect_uri_metadata", "/proxy/base_url"],
        &["username", "password"],
    ),
    (
        "JWT",
        &[
            "/signature/protocol",
            "/token/signing_key",
            "/token/expires_in_ms",
            "/proxy/base_url",
        ],
        &["accessToken"],
    ),
    (
        "MCP_OAUTH2",
        &[
            "/authorization_url",
            "/token_url",
            "/client_registration",
            "/proxy/base_url",
        ],
        &["accessToken"],
    ),
    ("MCP_OAUTH2_GENERIC", &["/proxy/base_url"], &["accessToken"]),
    ("NONE", &[], &[]),
    (
        "OAUTH1",
        &["/request_url", "/authorization_url", "/token_url", "/proxy/base_url"],
        &[],
    ),
    (
        "OAUTH2",
        &["/authorization_url", "/token_url", "/proxy/base_url"],
        &["accessToken", "clientId"],
    ),
    ("OAUTH2_CC", &["/token_url", "/proxy/base_url"], &["accessToken"]),
    (
        "SIGNATURE",
        &["/signature/protocol", "/token/expires_in_ms", "/proxy/base_url"],
        &["accessToken"],
    ),
    ("TBA", &["/proxy/base_url"], &[]),
    (
        "TWO_STEP",
        &[
            "/token_url",
            "/token_params",
            "/token_response/token",
            "/proxy/base_url",
        ],
        &["accessToken"],
    ),
];

/// What templates of `revocation` find besides.
const REVOCATION_NAMES: &[&str] = &["token", "tokenType", "clientId"];

/// Sections whose fields users or the runtime fill in.
const SECTIONS: &[&str] = &["connection_config", "integration_config", "credentials"];

#[test]
fn every_file_of_the_folder_is_listed_in_the_order_of_names() {
    let mut names: Vec<String> = folder()
        .read_dir()
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let listed: Vec<&str> = FILES
        .iter()
        .map(|(file, _)| file.strip_suffix(".yaml").unwrap())
        .collect();
    assert_eq!(names, listed);
}

#[test]
fn a_file_holds_the_provider_of_its_name_and_says_where_that_comes_from() {
    for (file, text) in FILES {
        let comment: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(
            comment.iter().any(|line| line.contains("https://")),
            "{file} links to no documentation"
        );
        let written: serde_norway::Mapping = serde_norway::from_str(text).unwrap();
        let names: Vec<&str> = written.keys().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(names, [file.strip_suffix(".yaml").unwrap()]);
    }
}

#[test]
fn the_folder_read_as_a_users_own_gives_the_same() {
    let shipped = Catalogue::shipped().unwrap();
    let read = Catalogue::load(&[folder()]).unwrap();
    assert_eq!(read.providers.len(), FILES.len());
    for (name, provider) in &read.providers {
        assert_eq!(provider.json, shipped.get(name).unwrap().json, "{name}");
    }
}

#[test]
fn the_readme_counts_right() {
    let readme = std::fs::read_to_string(folder().join("../../README.md")).unwrap();
    assert!(readme.contains(&format!("the data of {} providers", FILES.len())));
}

#[test]
fn keys_are_known_and_in_their_order() {
    for (file, text) in FILES {
        let written: serde_norway::Mapping = serde_norway::from_str(text).unwrap();
        let entry = written.values().next().unwrap();
        assert_order(file, entry, KEYS);
        for (place, keys) in INNER_KEYS {
            if let Some(map) = at(entry, place) {
                assert_order(&format!("{file}{place}"), map, keys);
            }
        }
        for section in SECTIONS {
            let fields = entry.get(section).and_then(|fields| fields.as_mapping());
            for (name, rules) in fields.into_iter().flatten() {
                assert_order(
                    &format!("{file}/{section}/{}", name.as_str().unwrap()),
                    rules,
                    FIELD_KEYS,
                );
            }
        }
    }
}

#[test]
fn what_every_entry_needs_is_there() {
    for provider in Catalogue::shipped().unwrap().providers.values() {
        let name = &provider.name;
        let entry = &provider.json;
        assert!(entry["display_name"].is_string(), "{name}");
        let categories = entry["categories"].as_array().unwrap_or_else(|| panic!("{name}"));
        assert!(!categories.is_empty(), "{name}");
        for category in categories {
            assert!(CATEGORIES.contains(&category.as_str().unwrap()), "{name}: {category}");
        }
        assert!(entry["docs"].is_string(), "{name}");
        let (_, needed, _) = mode(provider);
        // Nobody is sent to a provider that customers go to by themselves.
        let is_outbound = entry["installation"] == "outbound";
        for place in needed
            .iter()
            .filter(|place| !is_outbound || **place != "/authorization_url")
        {
            assert!(entry.pointer(place).is_some(), "{name}: {place} is missing");
        }
    }
}

#[test]
fn all_auth_modes_are_there() {
    let catalogue = Catalogue::shipped().unwrap();
    let found: BTreeSet<&str> = catalogue.providers.values().map(|p| p.auth_mode_name()).collect();
    let modes: BTreeSet<&str> = MODES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(found, modes);
}

#[test]
fn a_fields_example_obeys_its_rules() {
    for provider in Catalogue::shipped().unwrap().providers.values() {
        for section in SECTIONS {
            for (field, rules) in provider.fields(section) {
                let place = format!("{}: {section}.{field}", provider.name);
                assert_eq!(rules["type"], "string", "{place}");
                for key in ["title", "description", "example"] {
                    assert!(rules[key].is_string(), "{place}: {key}");
                }
                let mut schema = json!({});
                for key in ["pattern", "format", "enum"] {
                    if let Some(rule) = rules.get(key).filter(|rule| **rule != "template") {
                        schema[key] = rule.clone();
                    }
                }
                let ruled = schema != json!({}) || rules["format"] == "template";
                assert!(ruled || *section == "credentials", "{place} takes any text");
                let validator = jsonschema::options()
                    .should_validate_formats(true)
                    .build(&schema)
                    .unwrap();
                assert!(
                    validator.is_valid(&rules["example"]),
                    "{place}: {} against {schema}",
                    rules["example"]
                );
            }
        }
    }
}

#[test]
fn templates_parse_and_name_only_what_is_declared() {
    for provider in Catalogue::shipped().unwrap().providers.values() {
        for (place, template) in templates(&provider.json) {
            let place = format!("{}{place}", provider.name);
            Template::parse(template).unwrap_or_else(|error| panic!("{place}: {error}"));
            for name in variables(template) {
                let of_revocation = place.contains("/revocation/") && REVOCATION_NAMES.contains(&name);
                assert!(
                    of_revocation || example(provider, name).is_some(),
                    "{place}: {name} is declared nowhere"
                );
            }
        }
    }
}

/// With the examples in the place of variables, both with and without those that are optional.
#[test]
fn addresses_are_https() {
    let places = [
        "/docs",
        "/setup_guide_url",
        "/authorization_url",
        "/token_url",
        "/token_url/OAUTH2",
        "/token_url/APP",
        "/refresh_url",
        "/request_url",
        "/registration_url",
        "/revocation/url",
        "/proxy/base_url",
    ];
    for provider in Catalogue::shipped().unwrap().providers.values() {
        for place in places {
            let Some(template) = provider.json.pointer(place).and_then(Value::as_str) else {
                continue;
            };
            for alternative in template.split(" || ") {
                let mut address = alternative.to_owned();
                for name in variables(alternative) {
                    let example = example(provider, name)
                        .or_else(|| REVOCATION_NAMES.contains(&name).then(|| "secret".to_owned()));
                    address = address.replace(&format!("${{{name}}}"), &example.unwrap());
                }
                let url = url::Url::parse(&address).unwrap_or_else(|error| panic!("{address}: {error}"));
                assert_eq!(url.scheme(), "https", "{}{place}", provider.name);
                assert!(
                    url.query().is_none() || place == "/setup_guide_url" || place == "/docs",
                    "{address}"
                );
                assert!(!address.ends_with('/') || place != "/proxy/base_url", "{address}");
            }
        }
    }
}

#[test]
fn pagination_is_complete() {
    for provider in Catalogue::shipped().unwrap().providers.values() {
        let Some(paginate) = provider.json.pointer("/proxy/paginate") else {
            continue;
        };
        let has = |key: &str| paginate.get(key).is_some();
        let complete = match paginate["type"].as_str() {
            Some("cursor") => has("cursor_path_in_response") && has("cursor_name_in_request"),
            Some("link") => has("link_rel_in_response_header") != has("link_path_in_response_body"),
            Some("offset") => {
                let method = &paginate["offset_calculation_method"];
                has("offset_name_in_request")
                    && paginate["offset_start_value"].is_u64()
                    && (method == "by-response-size" || method == "per-page")
            }
            _ => false,
        };
        assert!(complete, "{}: {paginate}", provider.name);
    }
}

/// What a webhook is told by is declared, or comes with the token.
#[test]
fn webhooks_name_what_connections_have() {
    for provider in Catalogue::shipped().unwrap().providers.values() {
        let learned = provider.json.get("token_response_metadata").and_then(Value::as_array);
        let learned: Vec<&str> = learned.into_iter().flatten().filter_map(Value::as_str).collect();
        for rule in provider.webhook.iter().flat_map(|webhook| &webhook.connections) {
            for name in variables(rule.equals.source()) {
                let field = name.strip_prefix("connectionConfig.").unwrap_or(name);
                let is_known = learned.contains(&field) || example(provider, name).is_some();
                assert!(is_known, "{}: {name} is declared nowhere", provider.name);
            }
        }
    }
}

#[test]
fn verification_names_paths() {
    for provider in Catalogue::shipped().unwrap().providers.values() {
        let Some(verification) = provider.json.pointer("/proxy/verification") else {
            continue;
        };
        assert!(
            ["GET", "POST"].contains(&verification["method"].as_str().unwrap()),
            "{}",
            provider.name
        );
        let endpoints = verification["endpoints"].as_array().unwrap();
        assert!(!endpoints.is_empty(), "{}", provider.name);
        for endpoint in endpoints {
            let endpoint = endpoint.as_str().unwrap();
            assert!(endpoint.starts_with('/'), "{}: {endpoint}", provider.name);
            // It would stand in logs.
            assert!(!endpoint.contains("${apiKey}"), "{}: {endpoint}", provider.name);
        }
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("providers")
}

fn mode(provider: &Provider) -> &'static (&'static str, &'static [&'static str], &'static [&'static str]) {
    let name = provider.auth_mode_name();
    let found = MODES.iter().find(|(mode, ..)| *mode == name);
    found.unwrap_or_else(|| panic!("{}: the auth mode {name} is not in the table", provider.name))
}

/// The value at a path such as `/proxy/retry`.
fn at<'a>(entry: &'a serde_norway::Value, place: &str) -> Option<&'a serde_norway::Value> {
    place.split('/').skip(1).try_fold(entry, |value, key| value.get(key))
}

fn assert_order(place: &str, map: &serde_norway::Value, known: &[&str]) {
    let map = map.as_mapping().unwrap_or_else(|| panic!("{place} is no map"));
    let mut last = 0;
    for key in map.keys().map(|key| key.as_str().unwrap()) {
        let position = known.iter().position(|known| *known == key);
        let position = position.unwrap_or_else(|| panic!("{place}: the key {key} is not known"));
        assert!(position >= last, "{place}: {key} comes before {}", known[last]);
        last = position;
    }
}

/// All texts with a placeholder, outside of what describes fields.
fn templates(entry: &Value) -> Vec<(String, &str)> {
    fn collect<'a>(place: String, value: &'a Value, found: &mut Vec<(String, &'a str)>) {
        match value {
            Value::String(text) if text.contains("${") => found.push((place, text)),
            Value::Array(values) => {
                for value in values {
                    collect(place.clone(), value, found);
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    collect(format!("{place}/{key}"), value, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    for (key, value) in entry.as_object().unwrap() {
        // Webhooks have names of their own.
        if !SECTIONS.contains(&key.as_str()) && key != "webhook" {
            collect(format!("/{key}"), value, &mut found);
        }
    }
    found
}

/// The names that a template reads; what calls functions is looked into.
fn variables(template: &str) -> Vec<&str> {
    let starts = template.split("${").skip(1);
    starts
        .filter_map(|rest| {
            rest.split_once(['}', '('])
                .filter(|(name, _)| rest[name.len()..].starts_with('}'))
        })
        .map(|(name, _)| name)
        .collect()
}

/// What a variable stands for in the examples; none for one that is not there.
fn example(provider: &Provider, name: &str) -> Option<String> {
    let in_section = |section: &str, field: &str| {
        let rules = provider.fields(section).find(|(name, _)| *name == field)?.1;
        rules["example"].as_str().map(str::to_owned)
    };
    let (_, _, known) = mode(provider);
    if known.contains(&name) {
        return Some("secret".to_owned());
    }
    match name.split_once('.') {
        Some(("connectionConfig", field)) => in_section("connection_config", field),
        Some(("integrationConfig", field)) => in_section("integration_config", field),
        Some(("credentials", field)) => in_section("credentials", field),
        _ => None,
    }
}
