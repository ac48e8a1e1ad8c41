//! How tokens are revoked when their connection is deleted (`revocation`): RFC 7009, with the differences between providers. A key
//! of ours, not in Nango's schema.

use std::collections::BTreeMap;

use http::{HeaderName, Method};
use serde::Deserialize;
use serde_json::json;

use super::entry::EntryError;
use super::template::{BodyTemplate, Template, UrlTemplate};
use crate::model::JsonObject;

/// The requests that revoke tokens, one for each token. Templates may name `${token}`, `${tokenType}` and `${clientId}` besides
/// what those of token requests may name.
#[derive(Clone, Debug)]
pub struct RevocationSpec {
    pub method: Method,
    pub url: UrlTemplate,
    /// In this order; those that a connection does not have are left out.
    pub tokens: Vec<RevokedToken>,
    pub client: ClientProof,
    pub headers: Vec<(HeaderName, Template)>,
    pub format: ParameterFormat,
    pub params: BodyTemplate,
    /// The member of a successful answer that must be `true`, for providers that answer 200 to everything.
    pub success: Option<String>,
    /// Errors that say that the token is void already.
    pub gone: Vec<String>,
    /// Statuses that say it.
    pub gone_status: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokedToken {
    RefreshToken,
    AccessToken,
}

impl RevokedToken {
    /// Its `token_type_hint`.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::RefreshToken => "refresh_token",
            Self::AccessToken => "access_token",
        }
    }
}

/// How the request shows whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientProof {
    /// `client_id` and `client_secret` among the parameters.
    Body,
    /// HTTP Basic.
    Header,
    /// The token itself as bearer.
    Bearer,
    /// Not at all.
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterFormat {
    #[default]
    Form,
    Json,
    Query,
}

/// As it is written in an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocation {
    url: String,
    method: Option<String>,
    #[serde(default = "both")]
    tokens: Vec<RevokedToken>,
    /// As the token request does it when nothing is said.
    client: Option<ClientProof>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body_format: ParameterFormat,
    params: Option<JsonObject>,
    success: Option<String>,
    #[serde(default = "invalid_token")]
    gone: Vec<String>,
    #[serde(default)]
    gone_status: Vec<u16>,
}

fn both() -> Vec<RevokedToken> {
    vec![RevokedToken::RefreshToken, RevokedToken::AccessToken]
}

fn invalid_token() -> Vec<String> {
    vec!["invalid_token".to_owned()]
}

/// RFC 7009, section 2.1.
fn default_params() -> JsonObject {
    let params = json!({"token": "${token}", "token_type_hint": "${tokenType}"});
    params.as_object().cloned().unwrap_or_default()
}

/// `by_header` says that token requests show the client as HTTP Basic.
pub(super) fn revocation(given: Revocation, by_header: bool) -> Result<RevocationSpec, EntryError> {
    let template = |key: String, source| EntryError::Template { key, source };
    let method = given.method.unwrap_or_else(|| "POST".to_owned());
    let Ok(method) = Method::from_bytes(method.to_ascii_uppercase().as_bytes()) else {
        return Err(EntryError::RevocationMethod { value: method });
    };
    let mut headers = Vec::with_capacity(given.headers.len());
    for (name, source) in given.headers {
        let key = format!("revocation.headers.{name}");
        let parsed = Template::parse(&source).map_err(|error| template(key, error))?;
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(EntryError::HeaderName {
                key: "revocation.headers",
                value: name,
            });
        };
        headers.push((name, parsed));
    }
    let params = given.params.unwrap_or_else(default_params);
    Ok(RevocationSpec {
        method,
        url: UrlTemplate::parse(&given.url).map_err(|error| template("revocation.url".to_owned(), error))?,
        tokens: given.tokens,
        client: given.client.unwrap_or(if by_header {
            ClientProof::Header
        } else {
            ClientProof::Body
        }),
        headers,
        format: given.body_format,
        params: BodyTemplate::parse(&params)
            .map_err(|(path, error)| template(format!("revocation.params.{path}"), error))?,
        success: given.success,
        gone: given.gone,
        gone_status: given.gone_status,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::entry::provider;

    fn spec(mut entry: Value) -> RevocationSpec {
        entry["auth_mode"] = "OAUTH2".into();
        provider("acme", entry).unwrap().revocation.unwrap()
    }

    #[test]
    fn nothing_but_a_url_is_rfc_7009() {
        let plain = spec(json!({"revocation": {"url": "https://a.test/revoke"}}));
        assert_eq!(
            (plain.method, plain.client, plain.format),
            (Method::POST, ClientProof::Body, ParameterFormat::Form)
        );
        assert_eq!(plain.tokens, [RevokedToken::RefreshToken, RevokedToken::AccessToken]);
        assert_eq!((plain.gone, plain.success), (vec!["invalid_token".to_owned()], None));
        let basic = spec(json!({"authorization_method": "header", "revocation": {"url": "https://a.test/revoke"}}));
        assert_eq!(basic.client, ClientProof::Header, "as token requests");
    }

    #[test]
    fn malformed_ones_name_the_key() {
        for (revocation, message) in [
            (json!({}), "missing field `url`"),
            (json!({"url": "https://a.test/${"}), "`revocation.url` cannot be used"),
            (
                json!({"url": "https://a.test", "method": "D L"}),
                "\"D L\" is no HTTP method",
            ),
            (
                json!({"url": "https://a.test", "tokens": ["id_token"]}),
                "`revocation.tokens[0]` is not as expected",
            ),
            (json!({"url": "https://a.test", "hint": true}), "unknown field `hint`"),
            (
                json!({"url": "https://a.test", "headers": {"a b": "x"}}),
                "is no HTTP header name",
            ),
            (
                json!({"url": "https://a.test", "params": {"x": {"y": "${"}}}),
                "`revocation.params.x.y` cannot be used",
            ),
        ] {
            let error = provider("acme", json!({"auth_mode": "OAUTH2", "revocation": revocation})).unwrap_err();
            let error = crate::provider::tests::chain(&error);
            assert!(error.contains(message), "{error}");
        }
    }
}
