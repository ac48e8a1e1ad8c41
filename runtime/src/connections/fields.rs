//! Checks values against the fields a provider declares: `connection_config` of connections, `integration_config` of
//! integrations. The rules are the provider's data (`type`, `pattern`, `format`, `enum`, `optional` …).

use serde_json::{Value, json};

use super::ConnectionsError;
use super::incoming::WEBHOOK_SECRET;
use crate::model::JsonObject;
use crate::provider::template::Template;
use crate::provider::{AuthMode, Provider};

/// Values of a connection. What the provider does not declare is the customer's own and kept as it is; what is missing is
/// told when a template needs it.
pub(crate) fn connection_config(provider: &Provider, values: &JsonObject) -> Result<(), ConnectionsError> {
    for (name, rules) in provider.fields("connection_config") {
        if let Some(value) = values.get(name) {
            check(&format!("connection_config.{name}"), rules, value)?;
        }
    }
    Ok(())
}

/// Values of a connection that a browser gives. What a form would have asked for must be there; what it would have filled in
/// is filled in.
pub(crate) fn complete_config(provider: &Provider, values: &mut JsonObject) -> Result<(), ConnectionsError> {
    let is_open = |values: &JsonObject, name: &str, rules: &Value| {
        let given = values.get(name).filter(|value| !value.is_null() && **value != "");
        given.is_none() && !is_set(rules, "automated") && is_visible(rules, values)
    };
    // First: whether a field is asked for may depend on the value of another.
    for (name, rules) in provider.fields("connection_config") {
        if let Some(default) = rules.get("default_value")
            && is_open(values, name, rules)
        {
            values.insert(name.to_owned(), default.clone());
        }
    }
    for (name, rules) in provider.fields("connection_config") {
        if is_open(values, name, rules) && !is_set(rules, "optional") && !is_set(rules, "hidden") {
            let message = format!("is missing; provider {:?} needs it", provider.name);
            return Err(ConnectionsError::invalid(format!("connection_config.{name}"), message));
        }
    }
    Ok(())
}

/// Whether a form shows the field, which may depend on the value of another.
fn is_visible(rules: &Value, values: &JsonObject) -> bool {
    let Some(condition) = rules.get("visible_when") else {
        return true;
    };
    let field = condition.get("field").and_then(Value::as_str).unwrap_or_default();
    let equals = condition.get("equals");
    match (equals, values.get(field)) {
        (Some(Value::Array(any)), Some(value)) => any.contains(value),
        (equals, value) => equals == value,
    }
}

/// Credentials that somebody typed: what is there must fit. A back end may import others, since vendors change what their keys
/// look like before data says so.
pub(crate) fn check_typed(provider: &Provider, given: &Value) -> Result<(), ConnectionsError> {
    for (name, rules) in provider.fields("credentials") {
        if let Some(value) = given.get(name).filter(|value| !value.is_null()) {
            check(&format!("credentials.{name}"), rules, value)?;
        }
    }
    Ok(())
}

/// What a user gave to obtain a token with: all that the provider declares and that is not optional must be there.
pub(super) fn credentials(provider: &Provider, values: &JsonObject) -> Result<(), ConnectionsError> {
    for (name, rules) in provider.fields("credentials") {
        let field = format!("credentials.{name}");
        match values.get(name).filter(|value| !value.is_null()) {
            Some(value) => check(&field, rules, value)?,
            None if !is_needed(rules) => {}
            None => {
                let message = format!("is missing; provider {:?} needs it to obtain a token", provider.name);
                return Err(ConnectionsError::invalid(field, message));
            }
        }
    }
    Ok(())
}

/// Whether a token can be obtained with them, as far as fields that are missing go.
pub(super) fn has_credentials(provider: &Provider, values: &JsonObject) -> bool {
    let is_there = |name| values.get(name).is_some_and(|value| !value.is_null());
    let mut fields = provider.fields("credentials");
    fields.all(|(name, rules)| is_there(name) || !is_needed(rules))
}

fn is_needed(rules: &Value) -> bool {
    !is_set(rules, "optional") && !is_set(rules, "automated") && rules.get("default_value").is_none()
}

/// What a plugin's integration holds, whether or not the provider's data describes it. (Nango compatibility.)
const OF_PLUGINS: [&str; 4] = ["app_link", "appLink", "username", "password"];

/// Values of an integration, given as `custom`. All must be declared, and what is not optional must be there.
pub(super) fn integration_config(provider: &Provider, values: &JsonObject) -> Result<(), ConnectionsError> {
    let declared: Vec<&str> = provider.fields("integration_config").map(|(name, _)| name).collect();
    let is_plugin = provider.auth_mode == AuthMode::InstallPlugin;
    let is_for_webhooks = |name: &str| name == WEBHOOK_SECRET && provider.webhook.is_some();
    let is_known =
        |name: &str| declared.contains(&name) || (is_plugin && OF_PLUGINS.contains(&name)) || is_for_webhooks(name);
    if let Some(unknown) = values.keys().find(|name| !is_known(name)) {
        let message = if declared.is_empty() {
            format!("provider {:?} has no values to configure", provider.name)
        } else {
            format!("provider {:?} knows only {}", provider.name, declared.join(", "))
        };
        return Err(ConnectionsError::invalid(format!("custom.{unknown}"), message));
    }
    if values.get(WEBHOOK_SECRET).is_some_and(|secret| !secret.is_string()) {
        return Err(ConnectionsError::invalid(
            format!("custom.{WEBHOOK_SECRET}"),
            "must be text",
        ));
    }
    for (name, rules) in provider.fields("integration_config") {
        let field = format!("custom.{name}");
        match values.get(name) {
            Some(value) => check(&field, rules, value)?,
            None if is_set(rules, "optional") || rules.get("default_value").is_some() => {}
            // A form would not have asked for it.
            None if !is_visible(rules, values) => {}
            None => {
                let message = format!("is missing; provider {:?} needs it", provider.name);
                return Err(ConnectionsError::invalid(field, message));
            }
        }
    }
    Ok(())
}

fn check(field: &str, rules: &Value, value: &Value) -> Result<(), ConnectionsError> {
    let Some(text) = value.as_str() else {
        // What the runtime or a customer's back end fills in may be a list or a number; people type text.
        return if is_set(rules, "automated") {
            Ok(())
        } else {
            Err(ConnectionsError::invalid(field, "must be text"))
        };
    };
    if text.is_empty() && is_set(rules, "optional") {
        return Ok(());
    }
    if let Some(allowed) = rules.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        return Err(ConnectionsError::invalid(
            field,
            format!("must be one of {}", allowed.join(", ")),
        ));
    }
    for keyword in ["pattern", "format"] {
        if let Some(rule) = rules.get(keyword).and_then(Value::as_str) {
            check_keyword(field, keyword, rule, rules, value)?;
        }
    }
    Ok(())
}

/// `pattern` and `format` mean what they mean in JSON Schema; `format: template` is the language of provider data.
fn check_keyword(field: &str, keyword: &str, rule: &str, rules: &Value, value: &Value) -> Result<(), ConnectionsError> {
    if (keyword, rule) == ("format", "template") {
        let parsed = Template::parse(value.as_str().unwrap_or_default());
        return parsed
            .map(|_| ())
            .map_err(|error| ConnectionsError::invalid(field, error.to_string()));
    }
    let schema = json!({ keyword: rule });
    let validator = jsonschema::options().should_validate_formats(true).build(&schema);
    // A rule that cannot be read, as some are that were written for another language, rules nothing out.
    if validator.map_or(true, |validator| validator.is_valid(value)) {
        return Ok(());
    }
    // The value is not repeated: it may be a secret.
    let example = match rules.get("example").and_then(Value::as_str) {
        Some(example) => format!(", for example {example}"),
        None => String::new(),
    };
    let message = match keyword {
        "format" => format!("must be a {rule}{example}"),
        _ => format!("must match {rule}{example}"),
    };
    Err(ConnectionsError::invalid(field, message))
}

fn is_set(rules: &Value, flag: &str) -> bool {
    rules.get(flag).and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalogue;

    fn object(mut value: Value) -> JsonObject {
        std::mem::take(value.as_object_mut().unwrap())
    }

    #[test]
    fn connection_config_is_checked_where_the_provider_says_how() {
        let catalogue = Catalogue::shipped().unwrap();
        let bearer = catalogue.get("private-api-bearer").unwrap();
        let check = |value| connection_config(bearer, &object(value)).map_err(|error| error.to_string());
        assert_eq!(
            check(json!({"baseUrl": "https://a.test/v1", "own": {"x": [1]}})),
            Ok(())
        );
        assert_eq!(check(json!({})), Ok(()));
        assert_eq!(check(json!({"baseUrl": ""})), Ok(()));
        assert_eq!(
            check(json!({"baseUrl": "ftp://a.test"})),
            Err("connection_config.baseUrl: must match ^https?://, for example https://api.example.com/v1".to_owned())
        );
        assert_eq!(
            check(json!({"baseUrl": 5})),
            Err("connection_config.baseUrl: must be text".to_owned())
        );
        let github = catalogue.get("github").unwrap();
        assert!(connection_config(github, &object(json!({"sub": "x", "version": "2026-03-10"}))).is_ok());
        assert!(connection_config(github, &object(json!({"version": "newest"}))).is_err());
    }

    #[test]
    fn a_generic_api_says_where_it_is_and_where_its_key_goes() {
        let catalogue = Catalogue::shipped().unwrap();
        let generic = catalogue.get("private-api-generic").unwrap();
        let check = |value| integration_config(generic, &object(value)).map_err(|error| error.to_string());
        assert_eq!(
            check(json!({"baseUrl": "https://a.test", "keyName": "x-api-key"})),
            Ok(())
        );
        let all = json!({"baseUrl": "http://127.0.0.1:9/v1", "keyName": "key", "keyPlacement": "query",
            "valueTemplate": "Token ${base64(${apiKey})}"});
        assert_eq!(check(all), Ok(()));
        for (change, part) in [
            (json!({"keyName": null}), "custom.keyName: must be text"),
            (
                json!({"keyPlacement": "body"}),
                "custom.keyPlacement: must be one of header, query",
            ),
            (json!({"keyName": "a b"}), "custom.keyName: must match"),
            (json!({"baseUrl": "not a url"}), "custom.baseUrl: must match"),
            (json!({"valueTemplate": "plain"}), "custom.valueTemplate: must match"),
            (
                json!({"valueTemplate": "Token ${apiKey"}),
                "custom.valueTemplate: the template",
            ),
            (
                json!({"baseURL": "x"}),
                "custom.baseURL: provider \"private-api-generic\" knows only baseUrl, keyName,",
            ),
        ] {
            let mut values = object(json!({"baseUrl": "https://a.test", "keyName": "x-api-key"}));
            values.append(&mut object(change));
            let error = check(Value::Object(values)).unwrap_err();
            assert!(error.starts_with(part), "{error}");
        }
        assert_eq!(
            check(json!({"baseUrl": "https://a.test"})),
            Err("custom.keyName: is missing; provider \"private-api-generic\" needs it".to_owned())
        );
    }

    #[test]
    fn what_a_form_asks_for_must_be_there() {
        let catalogue = Catalogue::shipped().unwrap();
        let mut provider = Provider::clone(catalogue.get("private-api-bearer").unwrap());
        provider.name = "acme".to_owned();
        provider.json = json!({"connection_config": {
            "a_zone": {"type": "string", "visible_when": {"field": "region", "equals": "us"}},
            "id": {"type": "string", "automated": true},
            "note": {"type": "string", "optional": true},
            "region": {"type": "string", "default_value": "us"},
            "version": {"type": "string", "hidden": true},
        }});
        let complete = |given: Value| {
            let mut values = object(given);
            complete_config(&provider, &mut values).map_err(|error| error.to_string())?;
            Ok(Value::Object(values))
        };
        let missing: Result<Value, String> =
            Err("connection_config.a_zone: is missing; provider \"acme\" needs it".to_owned());
        assert_eq!(complete(json!({})), missing);
        assert_eq!(complete(json!({"region": "", "a_zone": null})), missing);
        assert_eq!(
            complete(json!({"a_zone": "z"})),
            Ok(json!({"a_zone": "z", "region": "us"}))
        );
        assert_eq!(
            complete(json!({"region": "eu", "own": 1})),
            Ok(json!({"region": "eu", "own": 1}))
        );
    }

    #[test]
    fn plugins_have_theirs_without_being_told() {
        let catalogue = Catalogue::shipped().unwrap();
        let mut plugin = Provider::clone(catalogue.get("crisp-plugin-install").unwrap());
        plugin.json = json!({});
        let own = json!({"app_link": "https://a.test/install", "username": "u", "password": "p"});
        assert!(integration_config(&plugin, &object(own)).is_ok());
        assert!(integration_config(&plugin, &object(json!({"x": 1}))).is_err());
    }

    #[test]
    fn other_providers_take_no_values() {
        let catalogue = Catalogue::shipped().unwrap();
        let github = catalogue.get("github").unwrap();
        let error = integration_config(github, &object(json!({"x": 1})))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "custom.x: provider \"github\" has no values to configure");
    }
}
