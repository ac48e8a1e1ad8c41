//! Credentials of the customer's own app at a provider: what an integration holds.

use serde_json::{Map, Value};

use super::ConnectionsError;
use crate::credentials::{AppKey, OAuthClient, Secret};
use crate::model::JsonObject;
use crate::provider::{AuthMode, Provider, SignatureMethod};

pub const CLIENT_ID_CHARS_MAX: usize = 255;
pub const CLIENT_SECRET_CHARS_MAX: usize = 2_048;
const SCOPES_CHARS_MAX: usize = 4_096;
const URL_CHARS_MAX: usize = 2_048;
const PRIVATE_KEY_CHARS_MAX: usize = 10_000;

/// A field of an app's credentials: name, longest value in characters, whether it must be there.
type Field = (&'static str, usize, bool);

const CLIENT_FIELDS: [Field; 4] = [
    ("client_id", CLIENT_ID_CHARS_MAX, true),
    ("client_secret", CLIENT_SECRET_CHARS_MAX, true),
    ("scopes", SCOPES_CHARS_MAX, false),
    ("webhook_secret", CLIENT_SECRET_CHARS_MAX, false),
];

/// Clients of MCP servers may register themselves; what they say of themselves then is here too.
const MCP_CLIENT_FIELDS: [Field; 7] = [
    ("client_id", CLIENT_ID_CHARS_MAX, false),
    ("client_secret", CLIENT_SECRET_CHARS_MAX, false),
    ("scopes", SCOPES_CHARS_MAX, false),
    ("webhook_secret", CLIENT_SECRET_CHARS_MAX, false),
    ("client_name", CLIENT_ID_CHARS_MAX, false),
    ("client_uri", URL_CHARS_MAX, false),
    ("client_logo_uri", URL_CHARS_MAX, false),
];

const APP_FIELDS: [Field; 3] = [
    ("app_id", CLIENT_ID_CHARS_MAX, true),
    ("app_link", URL_CHARS_MAX, true),
    ("private_key", PRIVATE_KEY_CHARS_MAX, true),
];

/// Checks what is given for an integration. A mode that has an app does without as long as tokens are imported; the other
/// modes know none.
pub(super) fn credentials(provider: &Provider, given: Option<Value>) -> Result<Option<Value>, ConnectionsError> {
    let mode = provider.auth_mode;
    if mode == AuthMode::Unsupported {
        return Err(ConnectionsError::UnsupportedAuthMode {
            provider: provider.name.clone(),
            auth_mode: provider.auth_mode_name().to_owned(),
        });
    }
    let Some(given) = given.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let mut fields = Vec::new();
    if mode.is_mcp() {
        fields.extend(MCP_CLIENT_FIELDS);
    } else if mode.has_client() {
        // A public client has no secret (RFC 6749, section 2.1).
        let is_public = provider.json.get("token_request_auth_method").and_then(Value::as_str) == Some("none");
        // With RSA-SHA1 it is a private key.
        let is_key = provider.signature_method == SignatureMethod::RsaSha1;
        let of_provider = |(name, chars_max, required): Field| match name {
            "client_secret" if is_key => (name, PRIVATE_KEY_CHARS_MAX, required),
            "client_secret" => (name, chars_max, required && !is_public),
            _ => (name, chars_max, required),
        };
        fields.extend(CLIENT_FIELDS.map(of_provider));
    }
    if mode.has_app() {
        fields.extend(APP_FIELDS);
    }
    if fields.is_empty() {
        let message = format!(
            "provider {:?} authenticates with {}: credentials belong to its connections, not to the integration",
            provider.name,
            provider.auth_mode_name()
        );
        return Err(ConnectionsError::invalid("credentials", message));
    }
    app(provider, given, &fields).map(Some)
}

/// The OAuth client in an integration's credentials.
pub(super) fn client(credentials: &Value) -> Option<OAuthClient> {
    let text = |field: &str| credentials.get(field).and_then(Value::as_str);
    Some(OAuthClient {
        client_id: text("client_id")?.to_owned(),
        client_secret: Secret::new(text("client_secret").unwrap_or_default().to_owned()),
    })
}

/// The app in an integration's credentials.
pub(super) fn app_key(credentials: &Value) -> Option<AppKey> {
    let text = |field: &str| credentials.get(field).and_then(Value::as_str);
    Some(AppKey {
        app_id: text("app_id")?.to_owned(),
        private_key: Secret::new(text("private_key")?.to_owned()),
    })
}

/// `type` and the fields; scopes are the provider's when none are given.
fn app(provider: &Provider, given: Value, fields: &[Field]) -> Result<Value, ConnectionsError> {
    let Value::Object(mut given) = given else {
        return Err(ConnectionsError::invalid("credentials", "must be a JSON object"));
    };
    match given.remove("type") {
        Some(Value::String(mode)) if mode == provider.auth_mode_name() => {}
        Some(Value::String(mode)) => {
            return Err(ConnectionsError::CredentialsType {
                provider: provider.name.clone(),
                auth_mode: provider.auth_mode_name().to_owned(),
                given: mode.chars().take(64).collect(),
            });
        }
        Some(_) | None => {
            let message = format!("must be {:?}", provider.auth_mode_name());
            return Err(ConnectionsError::invalid("credentials.type", message));
        }
    }
    let mut app = Map::new();
    app.insert("type".to_owned(), provider.auth_mode_name().into());
    for &(field, chars_max, required) in fields {
        if let Some(text) = app_field(&mut given, field, chars_max, required)? {
            app.insert(field.to_owned(), text.into());
        }
    }
    if let Some(unknown) = given.keys().next() {
        let known: Vec<&str> = fields.iter().map(|(field, ..)| *field).collect();
        let message = format!("is not known; known are type, {}", known.join(", "));
        return Err(ConnectionsError::invalid(format!("credentials.{unknown}"), message));
    }
    if provider.auth_mode.has_client() && !app.contains_key("scopes") {
        app.insert("scopes".to_owned(), provider.default_scopes().join(",").into());
    }
    Ok(Value::Object(app))
}

/// Takes one text out of the app's credentials; empty counts as not given.
fn app_field(
    given: &mut JsonObject,
    field: &str,
    chars_max: usize,
    required: bool,
) -> Result<Option<String>, ConnectionsError> {
    let path = || format!("credentials.{field}");
    match given.remove(field) {
        Some(Value::String(text)) if !text.is_empty() => {
            let chars = text.chars().count();
            if chars > chars_max {
                let message = format!("is {chars} characters long; at most {chars_max} are allowed");
                return Err(ConnectionsError::invalid(path(), message));
            }
            Ok(Some(text))
        }
        None | Some(Value::Null | Value::String(_)) if required => Err(ConnectionsError::invalid(path(), "is missing")),
        None | Some(Value::Null | Value::String(_)) => Ok(None),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(ConnectionsError::invalid(path(), "must be text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::Catalogue;

    fn check(provider: &str, given: Option<Value>) -> Result<Option<Value>, String> {
        let catalogue = Catalogue::shipped().unwrap();
        credentials(catalogue.get(provider).unwrap(), given).map_err(|error| error.to_string())
    }

    #[test]
    fn an_oauth2_integration_may_have_an_app() {
        let app = json!({"type": "OAUTH2", "client_id": "cid", "client_secret": "csecret", "scopes": "repo,user"});
        assert_eq!(check("github", Some(app.clone())), Ok(Some(app)));
        assert_eq!(check("github", None), Ok(None), "tokens can be imported without one");
        let without_scopes = json!({"type": "OAUTH2", "client_id": "cid", "client_secret": "s", "scopes": null});
        assert_eq!(check("github", Some(without_scopes)).unwrap().unwrap()["scopes"], "");
        for (given, message) in [
            (
                Some(json!({"type": "API_KEY"})),
                "provider \"github\" takes OAUTH2 credentials, not API_KEY",
            ),
            (Some(json!({"client_id": "x"})), "credentials.type: must be \"OAUTH2\""),
            (
                Some(json!({"type": "OAUTH2", "client_id": ""})),
                "credentials.client_id: is missing",
            ),
            (
                Some(json!({"type": "OAUTH2", "client_id": "c", "client_secret": 5})),
                "credentials.client_secret: must be text",
            ),
            (
                Some(json!({"type": "OAUTH2", "client_id": "c", "client_secret": "s", "x": 1})),
                "credentials.x: is not known",
            ),
            (Some(json!("x")), "credentials: must be a JSON object"),
        ] {
            let error = check("github", given).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn a_client_of_an_mcp_server_may_register_itself() {
        let app = json!({"type": "MCP_OAUTH2", "client_name": "Acme", "client_uri": "https://acme.test"});
        let checked = check("linear-mcp", Some(app)).unwrap().unwrap();
        assert_eq!(
            (&checked["client_name"], &checked["scopes"]),
            (&json!("Acme"), &json!(""))
        );
        assert!(client(&checked).is_none());
        let app = json!({"type": "MCP_OAUTH2", "client_id": "public"});
        assert_eq!(
            client(&check("linear-mcp", Some(app)).unwrap().unwrap())
                .unwrap()
                .client_id,
            "public"
        );
    }

    #[test]
    fn other_modes_have_no_app() {
        assert_eq!(check("unauthenticated", None), Ok(None));
        assert_eq!(check("github-pat", Some(Value::Null)), Ok(None));
        let error = check("github-pat", Some(json!({"type": "API_KEY"}))).unwrap_err();
        assert!(error.contains("credentials belong to its connections"), "{error}");
    }
}
