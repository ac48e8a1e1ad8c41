//! Builds the request for fresh credentials out of a connection and its provider's data: RFC 6749, sections 2.3.1, 4.4 and 6,
//! with the differences between providers that the schema of the catalogue knows. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use super::mcp::{self, ClientAuth as RegisteredAuth};
use super::values::{Moment, TokenValues, text};
use super::{RefreshError, client_assertion};
use crate::connections::Target;
use crate::credentials::{Credentials, OAuthClient, Secret, lookup};
use crate::model::JsonObject;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
pub(super) const XML: HeaderValue = HeaderValue::from_static("application/xml");

/// A request to a token endpoint.
#[derive(Debug)]
pub(super) struct TokenRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Secret<String>,
}

/// How the parameters travel: the provider's `body_format`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyFormat {
    Form,
    Json,
    Query,
}

/// How the client shows who it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientAuth {
    /// `client_id` and `client_secret` among the parameters.
    Body,
    /// HTTP Basic, and not among the parameters: `authorization_method: header`.
    Header,
    /// HTTP Basic, and among the parameters too: `token_request_auth_method: basic`.
    Both,
    /// The same two as `username` and `password`: `token_request_auth_method: custom`.
    Password,
    /// A token signed with the client's own key (RFC 7523, section 2.2): `token_request_auth_method: private_key_jwt`.
    PrivateKeyJwt,
    /// A public client, which has no secret (RFC 6749, section 2.1): `client_id` among the parameters, and no secret even where the
    /// integration has one: `token_request_auth_method: none`.
    Public,
    /// HTTP Basic with the secret as user name and no password: `token_request_auth_method: secret_as_username`.
    SecretAsUsername,
}

/// Builds the request as it is at `moment`.
pub(super) fn build(target: &Target, moment: Moment) -> Result<TokenRequest, RefreshError> {
    let values = &TokenValues::new(target, moment);
    let entry = &target.provider.json;
    match &target.credentials {
        Credentials::OAuth2 {
            refresh_token: Some(refresh_token),
            config_override,
            ..
        } => {
            let brought = mcp::client_info(target);
            let client = config_override.as_ref().or(brought.as_ref()).or(target.client.as_ref());
            let client = client.ok_or_else(|| RefreshError::NoClient {
                provider_config_key: target.integration.unique_key.clone(),
            })?;
            let url = if entry.get("refresh_url").is_some_and(Value::is_string) {
                "refresh_url"
            } else {
                "token_url"
            };
            let extra = if entry.get("refresh_params").is_some_and(Value::is_object) {
                "refresh_params"
            } else {
                "token_params"
            };
            let mut parameters = Map::new();
            values.add(extra, &mut parameters)?;
            // Whatever `token_params` say: they are those of the authorization code.
            parameters.insert("grant_type".to_owned(), "refresh_token".into());
            parameters.insert("refresh_token".to_owned(), refresh_token.expose().as_str().into());
            request(values, url, parameters, client)
        }
        Credentials::OAuth2Cc { client, .. } => {
            let mut parameters = Map::new();
            parameters.insert("grant_type".to_owned(), "client_credentials".into());
            if let Some(scopes) = lookup(&target.connection_config, "oauth_scopes").filter(|scopes| !scopes.is_empty())
            {
                parameters.insert("scope".to_owned(), scope(entry, &scopes).into());
            }
            values.add("token_params", &mut parameters)?;
            if let Some(Value::Object(given)) = target.connection_config.get("authorization_params") {
                parameters.append(&mut given.clone());
            }
            request(values, "token_url", parameters, client)
        }
        Credentials::OAuth2 {
            refresh_token: None, ..
        }
        | Credentials::ApiKey { .. }
        | Credentials::Basic { .. }
        | Credentials::OAuth1 { .. }
        | Credentials::Tba { .. }
        | Credentials::AwsSigV4(_)
        | Credentials::App { .. }
        | Credentials::Session { .. }
        | Credentials::None => Err(unsupported(target, "credentials without a refresh token")),
    }
}

pub(super) fn request(
    values: &TokenValues<'_>,
    url: &'static str,
    mut parameters: JsonObject,
    client: &OAuthClient,
) -> Result<TokenRequest, RefreshError> {
    let target = values.target;
    let entry = &target.provider.json;
    // A provider of apps that has users' tokens as well names both.
    let of_users = entry.get(url).and_then(|urls| urls.get("OAUTH2"));
    let mut url = match (mcp::endpoint(target, "token_endpoint")?, of_users) {
        (Some(url), _) => url,
        (None, Some(given)) => values.url(&json!({ (url): given }), url)?,
        (None, None) => values.url(entry, url)?,
    };
    if let Some(resource) = mcp::resource(target) {
        parameters.insert("resource".to_owned(), resource.into());
    }
    let mut headers = values.headers()?;
    let (id, secret) = (client.client_id.as_str(), client.client_secret.expose().as_str());
    let add = |parameters: &mut JsonObject, names: [&str; 2]| {
        for (name, value) in names.into_iter().zip([id, secret]) {
            // A public client has no secret.
            if !value.is_empty() {
                parameters.insert(name.to_owned(), value.into());
            }
        }
    };
    let auth = client_auth(target)?;
    match auth {
        ClientAuth::Body | ClientAuth::Both => add(&mut parameters, ["client_id", "client_secret"]),
        ClientAuth::Password => add(&mut parameters, ["username", "password"]),
        ClientAuth::Public => {
            parameters.insert("client_id".to_owned(), id.into());
        }
        ClientAuth::Header | ClientAuth::SecretAsUsername => {}
        ClientAuth::PrivateKeyJwt => client_assertion::add(values, &url, client, &mut parameters)?,
    }
    match auth {
        // RFC 6749, section 2.3.1: both are form-encoded first.
        ClientAuth::Header => authorize(&mut headers, &form_encoded(id), &form_encoded(secret))?,
        // These providers take them as they are.
        ClientAuth::Both => authorize(&mut headers, id, secret)?,
        ClientAuth::SecretAsUsername => authorize(&mut headers, secret, "")?,
        ClientAuth::Body | ClientAuth::Password | ClientAuth::PrivateKeyJwt | ClientAuth::Public => {}
    }
    let parameters = renamed(target, parameters)?;
    let body = match body_format(target)? {
        BodyFormat::Form => {
            headers.entry(header::CONTENT_TYPE).or_insert(FORM);
            form(&parameters)
        }
        BodyFormat::Json => {
            headers.entry(header::CONTENT_TYPE).or_insert(JSON);
            Value::Object(parameters).to_string()
        }
        BodyFormat::Query => {
            let mut query = url.query_pairs_mut();
            for (name, value) in &parameters {
                query.append_pair(name, &text(value));
            }
            drop(query);
            String::new()
        }
    };
    Ok(TokenRequest {
        method: Method::POST,
        url,
        headers,
        body: Secret::new(body),
    })
}

/// The parameters under the names that the provider has for them: `token_request_fields`, or those of a refresh
/// (`refresh_request_fields`) where there are any. A name that stands for null is left out.
fn renamed(target: &Target, parameters: JsonObject) -> Result<JsonObject, RefreshError> {
    let is_refresh = parameters.get("grant_type").and_then(Value::as_str) == Some("refresh_token");
    let of_refresh = is_refresh.then(|| target.provider.json.get("refresh_request_fields"));
    let fields = of_refresh
        .flatten()
        .or_else(|| target.provider.json.get("token_request_fields"));
    let Some(fields) = fields.and_then(Value::as_object) else {
        return Ok(parameters);
    };
    let mut renamed = JsonObject::new();
    for (name, value) in parameters {
        match fields.get(&name) {
            None => renamed.insert(name, value),
            Some(Value::Null) => None,
            Some(Value::String(other)) => renamed.insert(other.clone(), value),
            Some(other) => return Err(unsupported(target, &format!("`token_request_fields.{name}: {other}`"))),
        };
    }
    Ok(renamed)
}

pub(super) fn authorize(headers: &mut HeaderMap, id: &str, secret: &str) -> Result<(), RefreshError> {
    let value = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let mut value = HeaderValue::from_str(&value).map_err(|_| RefreshError::Header {
        name: header::AUTHORIZATION.to_string(),
    })?;
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

fn client_auth(target: &Target) -> Result<ClientAuth, RefreshError> {
    match mcp::client_auth(target) {
        // Without a secret only its id is sent.
        Some(RegisteredAuth::None | RegisteredAuth::Post) => return Ok(ClientAuth::Body),
        Some(RegisteredAuth::Basic) => return Ok(ClientAuth::Header),
        None => {}
    }
    let word = |key: &str| target.provider.json.get(key).and_then(Value::as_str);
    match (word("token_request_auth_method"), word("authorization_method")) {
        (Some("basic"), _) => Ok(ClientAuth::Both),
        (Some("custom"), _) => Ok(ClientAuth::Password),
        (Some("private_key_jwt"), _) => Ok(ClientAuth::PrivateKeyJwt),
        (Some("none"), _) => Ok(ClientAuth::Public),
        (Some("secret_as_username"), _) => Ok(ClientAuth::SecretAsUsername),
        (Some(other), _) => Err(unsupported(target, &format!("`token_request_auth_method: {other}`"))),
        (None, Some("header")) => Ok(ClientAuth::Header),
        (None, Some("body") | None) => Ok(ClientAuth::Body),
        (None, Some(other)) => Err(unsupported(target, &format!("`authorization_method: {other}`"))),
    }
}

fn body_format(target: &Target) -> Result<BodyFormat, RefreshError> {
    match target.provider.json.get("body_format").and_then(Value::as_str) {
        None | Some("form") => Ok(BodyFormat::Form),
        Some("json") => Ok(BodyFormat::Json),
        Some("query") => Ok(BodyFormat::Query),
        Some(other) => Err(unsupported(target, &format!("`body_format: {other}`"))),
    }
}

/// Scopes are written with commas or spaces between, and sent with the provider's separator.
fn scope(entry: &Value, scopes: &str) -> String {
    let separator = entry.get("scope_separator").and_then(Value::as_str).unwrap_or(" ");
    let scopes: Vec<&str> = scopes
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|scope| !scope.is_empty())
        .collect();
    scopes.join(separator)
}

pub(super) fn form(parameters: &JsonObject) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        form.append_pair(name, &text(value));
    }
    form.finish()
}

pub(super) fn form_encoded(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

pub(super) fn unsupported(target: &Target, what: &str) -> RefreshError {
    RefreshError::Unsupported {
        provider: target.provider.name.clone(),
        what: what.to_owned(),
    }
}

#[cfg(test)]
mod tests;
