//! `/connect/sessions` for customers' back ends, which open sessions with their key; `/connect/session` for browsers, which have
//! the token of one.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::connections::EndUserItem;
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::query::Query;
use super::session::Session;
use super::timestamp::ms_utc;
use crate::connect::{NewConnectSession, OpenSession};
use crate::model::{
    ConnectSession, EndUser, IntegrationDefaults, IntegrationOverrides, JsonObject, Organization, Reconnect,
};
use crate::runtime::Runtime;

/// What stands in the place of a preset value, which the browser need not know.
const PRESET: &str = "***";

/// Either `tags` or `end_user` must be there.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateConnectSession {
    /// Of the connections that it makes.
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    /// Of the connections that it makes.
    #[serde(default)]
    end_user: Option<SessionEndUser>,
    /// The end user's.
    #[serde(default)]
    organization: Option<SessionOrganization>,
    /// Unique keys; all of the environment when absent.
    #[serde(default)]
    allowed_integrations: Option<Vec<String>>,
    /// By unique key. They win over what the browser says.
    #[serde(default)]
    integrations_config_defaults: Option<BTreeMap<String, SessionDefaults>>,
    /// By unique key.
    #[serde(default)]
    overrides: Option<BTreeMap<String, SessionOverrides>>,
    /// Where webhooks about its connections go, in the place of the environment's URLs.
    #[serde(default)]
    webhook_url_override: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateReconnectSession {
    /// The connection to authorise anew.
    connection_id: String,
    /// Its integration's unique key.
    integration_id: String,
    /// In the place of the connection's.
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    /// In the place of the connection's.
    #[serde(default)]
    end_user: Option<SessionEndUser>,
    /// The end user's.
    #[serde(default)]
    organization: Option<SessionOrganization>,
    #[serde(default)]
    integrations_config_defaults: Option<BTreeMap<String, SessionDefaults>>,
    #[serde(default)]
    overrides: Option<BTreeMap<String, SessionOverrides>>,
    #[serde(default)]
    webhook_url_override: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionEndUser {
    id: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionOrganization {
    id: String,
    #[serde(default)]
    display_name: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionDefaults {
    #[serde(default)]
    user_scopes: Option<String>,
    #[serde(default)]
    authorization_params: Option<BTreeMap<String, String>>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    connection_config: Option<JsonObject>,
}

#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionOverrides {
    /// URL of your own instructions for the integration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    docs_connect: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct NewConnectSessionAnswer {
    data: NewConnectSessionItem,
}

#[derive(Serialize, ToSchema)]
pub struct NewConnectSessionItem {
    /// For the browser. Shown only now.
    token: String,
    /// The connect page with this session.
    connect_link: String,
    expires_at: String,
}

#[derive(Serialize, ToSchema)]
pub struct ConnectSessionAnswer {
    data: ConnectSessionItem,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectSessionItem {
    end_user: Option<EndUserItem>,
    /// How Nango's connect page is to look.
    #[serde(rename = "connectUISettings")]
    #[schema(value_type = Object)]
    connect_ui_settings: Value,
    #[serde(rename = "allowed_integrations", skip_serializing_if = "Option::is_none")]
    allowed_integrations: Option<Vec<String>>,
    /// Which values are preset. Those of `connection_config` are not shown.
    #[serde(rename = "integrations_config_defaults", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    defaults: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    overrides: BTreeMap<String, SessionOverrides>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_reconnecting: Option<bool>,
    /// What the trust policy of a role of AWS is to have as `sts:ExternalId`, unless the session has another.
    #[serde(rename = "external_id", skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
}

/// Open a connect session, in which a browser may make connections.
#[utoipa::path(
    post, path = "/connect/sessions", tag = "connect", request_body = CreateConnectSession,
    responses((status = 201, body = NewConnectSessionAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn create(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectSessionsWrite>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let new = parse::<CreateConnectSession>(&body)?.into_open()?;
    let environment = caller.connect_session(new.allowed_integrations.as_deref())?;
    let opened = runtime.open_connect_session(environment, new).await?;
    Ok(answer(&runtime, &opened))
}

/// Open a connect session for a connection that is there, to authorise it anew.
#[utoipa::path(
    post, path = "/connect/sessions/reconnect", tag = "connect", request_body = CreateReconnectSession,
    responses((status = 201, body = NewConnectSessionAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn create_reconnect(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::ConnectSessionsWrite>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let body = parse::<CreateReconnectSession>(&body)?;
    let environment = caller.connection(&body.integration_id, &body.connection_id)?;
    let opened = runtime.open_connect_session(environment, body.into_open()?).await?;
    Ok(answer(&runtime, &opened))
}

/// Show the session of the token, as a connect page needs it.
#[utoipa::path(
    get, path = "/connect/session", tag = "connect", security(("connect_session" = [])),
    responses((status = 200, body = ConnectSessionAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn show(Session(session): Session, request: Request) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    let data = ConnectSessionItem::from(session);
    Ok(json_response(StatusCode::OK, &ConnectSessionAnswer { data }))
}

/// End the session of the token.
#[utoipa::path(
    delete, path = "/connect/session", tag = "connect", security(("connect_session" = [])),
    responses((status = 204, description = "It has ended"), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn end(State(runtime): State<Runtime>, Session(session): Session) -> Result<Response, ApiError> {
    runtime.end_connect_session(&session).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn answer(runtime: &Runtime, opened: &NewConnectSession) -> Response {
    let data = NewConnectSessionItem {
        token: opened.token.expose().clone(),
        connect_link: runtime.connect_link(opened),
        expires_at: ms_utc(opened.expires_at_ms),
    };
    json_response(StatusCode::CREATED, &NewConnectSessionAnswer { data })
}

impl CreateConnectSession {
    fn into_open(self) -> Result<OpenSession, ApiError> {
        if self.end_user.is_none() && self.tags.is_none() {
            let fault = Fault::new(
                "invalid_type",
                "Invalid input: expected object, received undefined; give tags or end_user, which say whose connection it will be",
                "end_user",
            );
            return Err(ApiError::faults("invalid_body", vec![fault]));
        }
        Ok(OpenSession {
            end_user: end_user(self.end_user, self.organization)?,
            tags: self.tags.unwrap_or_default(),
            allowed_integrations: self.allowed_integrations,
            defaults: defaults(self.integrations_config_defaults),
            overrides: overrides(self.overrides),
            webhook_url_override: self.webhook_url_override,
            reconnect: None,
        })
    }
}

impl CreateReconnectSession {
    fn into_open(self) -> Result<OpenSession, ApiError> {
        Ok(OpenSession {
            end_user: end_user(self.end_user, self.organization)?,
            tags: self.tags.unwrap_or_default(),
            allowed_integrations: None,
            defaults: defaults(self.integrations_config_defaults),
            overrides: overrides(self.overrides),
            webhook_url_override: self.webhook_url_override,
            reconnect: Some(Reconnect {
                connection_id: self.connection_id,
                provider_config_key: self.integration_id,
            }),
        })
    }
}

fn end_user(
    end_user: Option<SessionEndUser>,
    organization: Option<SessionOrganization>,
) -> Result<Option<EndUser>, ApiError> {
    if end_user.is_none() && organization.is_some() {
        let message = "An organization is an end user's: give end_user too, or tags in the place of both";
        let fault = Fault::new("custom", message, "organization");
        return Err(ApiError::faults("invalid_body", vec![fault]));
    }
    Ok(end_user.map(|end_user| EndUser {
        id: end_user.id,
        email: end_user.email,
        display_name: end_user.display_name,
        tags: end_user.tags.unwrap_or_default(),
        organization: organization.map(|organization| Organization {
            id: organization.id,
            display_name: organization.display_name,
        }),
    }))
}

fn defaults(given: Option<BTreeMap<String, SessionDefaults>>) -> BTreeMap<String, IntegrationDefaults> {
    let defaults = given.unwrap_or_default().into_iter().map(|(unique_key, given)| {
        let defaults = IntegrationDefaults {
            user_scopes: given.user_scopes,
            authorization_params: given.authorization_params.unwrap_or_default(),
            connection_config: given.connection_config.unwrap_or_default(),
        };
        (unique_key, defaults)
    });
    defaults.collect()
}

fn overrides(given: Option<BTreeMap<String, SessionOverrides>>) -> BTreeMap<String, IntegrationOverrides> {
    let overrides = given.unwrap_or_default().into_iter().map(|(unique_key, given)| {
        let docs_connect = given.docs_connect;
        (unique_key, IntegrationOverrides { docs_connect })
    });
    overrides.collect()
}

impl From<ConnectSession> for ConnectSessionItem {
    fn from(session: ConnectSession) -> Self {
        let (external_id, is_reconnecting) = (session.external_id(), session.reconnect.is_some());
        let overrides = session.overrides.into_iter().map(|(unique_key, overrides)| {
            let docs_connect = overrides.docs_connect;
            (unique_key, SessionOverrides { docs_connect })
        });
        Self {
            end_user: session.end_user.as_ref().map(EndUserItem::from),
            connect_ui_settings: json!({
                "showWatermark": false,
                "defaultTheme": "system",
                "theme": {"light": {"primary": "#1f4fd8"}, "dark": {"primary": "#9db6ff"}},
            }),
            allowed_integrations: session.allowed_integrations,
            defaults: session
                .defaults
                .into_iter()
                .map(|(unique_key, defaults)| (unique_key, shown(defaults)))
                .collect(),
            overrides: overrides.collect(),
            is_reconnecting: is_reconnecting.then_some(true),
            external_id: (!is_reconnecting).then_some(external_id),
        }
    }
}

fn shown(defaults: IntegrationDefaults) -> Value {
    let mut shown = JsonObject::new();
    if let Some(user_scopes) = defaults.user_scopes {
        shown.insert("user_scopes".to_owned(), user_scopes.into());
    }
    if !defaults.authorization_params.is_empty() {
        shown.insert("authorization_params".to_owned(), json!(defaults.authorization_params));
    }
    if !defaults.connection_config.is_empty() {
        let names = defaults.connection_config.into_iter();
        let masked: JsonObject = names.map(|(name, _)| (name, PRESET.into())).collect();
        shown.insert("connection_config".to_owned(), Value::Object(masked));
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    fn open(body: &str) -> Result<OpenSession, ApiError> {
        parse::<CreateConnectSession>(body.as_bytes())?.into_open()
    }

    #[test]
    fn deprecated_fields_are_taken() {
        let session = open(
            r#"{"end_user":{"id":"u1","email":"a@b.co","display_name":"A","tags":{"x":"y"}},
                "organization":{"id":"o1","display_name":"O"},"allowed_integrations":["github"],
                "integrations_config_defaults":{"github":{"user_scopes":"a,b","authorization_params":{"p":"q"},
                "connection_config":{"subdomain":"s","oauth_scopes_override":"c"}}},
                "overrides":{"github":{"docs_connect":"https://a.test"}},"webhook_url_override":"https://b.test"}"#,
        )
        .unwrap();
        let end_user = session.end_user.unwrap();
        assert_eq!(end_user.organization.unwrap().id, "o1");
        assert_eq!(session.defaults["github"].connection_config["subdomain"], "s");
        assert_eq!(
            session.overrides["github"].docs_connect.as_deref(),
            Some("https://a.test")
        );
    }

    #[tokio::test]
    async fn refused_ones() {
        for (body, expected) in [
            ("{}", r#""path":["end_user"]"#),
            (r#"{"tags":{},"bad":1}"#, "unrecognized_keys"),
            (r#"{"tags":{},"organization":{"id":"o"}}"#, r#""path":["organization"]"#),
            (r#"{"end_user":{"email":"a@b.co"}}"#, r#""path":["end_user","id"]"#),
            (
                r#"{"tags":{},"integrations_config_defaults":{"a":{"scopes":1}}}"#,
                "unrecognized_keys",
            ),
        ] {
            let refusal = rendered(open(body).err().unwrap()).await;
            assert!(
                refusal.starts_with("400 ") && refusal.contains(expected),
                "{body}: {refusal}"
            );
        }
    }

    #[test]
    fn browsers_see_which_values_are_preset_and_not_what_they_are() {
        let session = open(
            r#"{"tags":{"a":"b"},"integrations_config_defaults":{"x":{"user_scopes":"s","connection_config":{"secret":"hidden"}}}}"#,
        )
        .unwrap();
        let shown = shown(session.defaults.into_values().next().unwrap());
        assert_eq!(
            shown,
            json!({"user_scopes": "s", "connection_config": {"secret": "***"}})
        );
    }
}
