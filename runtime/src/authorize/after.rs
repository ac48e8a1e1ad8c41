//! What a connection's configuration learns from an authorization, as the provider's data says: from the query that the customer
//! came back with, from the token's answer, and from a request with the fresh token.

use serde_json::Value;

use super::{AuthorizeParts, FlowError};
use crate::connections::Target;
use crate::credentials::{Credentials, lookup};

/// A learned value, in characters.
const VALUE_CHARS_MAX: usize = 2_048;

/// `redirect_uri_metadata`: parameters of the query. They come from the customer's browser, so what the session or the customer
/// said before counts more.
pub(super) fn from_query(target: &mut Target, query: &[(String, String)]) {
    for name in names(target, "redirect_uri_metadata") {
        let found = query.iter().find(|(given, _)| *given == name);
        if let Some((_, value)) = found {
            learn(target, name, value.clone().into());
        }
    }
}

/// `token_response_metadata`: paths in the answer of the token endpoint, texts and booleans.
pub(super) fn from_answer(target: &mut Target) {
    let (Credentials::OAuth2 { raw, .. } | Credentials::OAuth1 { raw, .. }) = &target.credentials else {
        return;
    };
    let raw = raw.clone();
    for path in names(target, "token_response_metadata") {
        let flag = raw.expose().get(&path).and_then(Value::as_bool).map(Value::Bool);
        let value = flag.or_else(|| lookup(raw.expose(), &path).map(|text| text.into_owned().into()));
        if let Some(value) = value {
            learn(target, path, value);
        }
    }
}

/// `after_connect`: a request with the token, and the claims of the token.
pub(super) async fn ask(parts: &AuthorizeParts, target: &mut Target) -> Result<(), FlowError> {
    let learned = parts.oauth.learn(target).await.map_err(|error| FlowError::After {
        reason: error.to_string(),
    })?;
    for (name, value) in learned {
        learn(target, name, value);
    }
    Ok(())
}

fn names(target: &Target, key: &str) -> Vec<String> {
    let listed = target.provider.json.get(key).and_then(Value::as_array);
    let names = listed.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

fn learn(target: &mut Target, name: String, value: Value) {
    let is_bounded = value
        .as_str()
        .is_none_or(|text| text.chars().count() <= VALUE_CHARS_MAX);
    let config = &mut target.connection_config;
    let is_empty = config.get(&name).is_none_or(|value| value.is_null() || *value == "");
    if is_bounded && is_empty {
        config.insert(name, value);
    }
}
