//! `/integrations`: configured providers. Secrets go in; they come out only for who asks with `include=credentials`.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::audit::RequestId;
use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::names::is_provider_config_key;
use super::query::{PathParams, Query};
use super::session::{KeyOrSession, Visitor};
use super::timestamp::ms_utc;
use crate::connections::{IntegrationPatch, NewIntegration};
use crate::model::{CredentialReadKind, Integration, JsonObject, Scope};
use crate::provider::Catalogue;
use crate::runtime::{Caller, Noted, Reading, Runtime};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateIntegration {
    /// Its name in the catalogue.
    provider: String,
    /// The provider-config-key.
    unique_key: String,
    #[serde(default)]
    display_name: Option<String>,
    /// For OAuth: `{type, client_id, client_secret, scopes}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    credentials: Option<Value>,
    #[serde(default)]
    forward_webhooks: Option<bool>,
    /// What the provider's templates need, for example `baseUrl` of the generic providers.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    custom: Option<JsonObject>,
    /// Another name of `custom`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    integration_config: Option<JsonObject>,
}

/// What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateIntegration {
    #[serde(default)]
    unique_key: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    credentials: Option<Value>,
    #[serde(default)]
    forward_webhooks: Option<bool>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    custom: Option<JsonObject>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    integration_config: Option<JsonObject>,
}

#[derive(Serialize, ToSchema)]
pub struct IntegrationList {
    data: Vec<IntegrationItem>,
}

#[derive(Serialize, ToSchema)]
pub struct IntegrationAnswer {
    data: IntegrationItem,
}

#[derive(Serialize, ToSchema)]
pub struct IntegrationItem {
    unique_key: String,
    provider: String,
    display_name: String,
    /// Of the provider's logo, if the catalogue has one.
    logo: Option<String>,
    /// With `include=webhook`: where the provider may send webhooks; none for those that send none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    webhook_url: Option<Value>,
    /// With `include=credentials`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    credentials: Option<Value>,
    forward_webhooks: bool,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize, ToSchema)]
pub struct Success {
    pub success: bool,
}

/// List the integrations; with the token of a connect session, those that it is for.
#[utoipa::path(
    get, path = "/integrations", tag = "integrations", security(("connect_session" = [])),
    responses((status = 200, body = IntegrationList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    KeyOrSession(visitor, _): KeyOrSession<need::IntegrationsList>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let data = listed(&runtime, visitor, &uri).await?;
    Ok(json_response(StatusCode::OK, &IntegrationList { data }))
}

/// `GET /config`, Nango's older name of [`list`].
pub async fn list_configs(
    State(runtime): State<Runtime>,
    KeyOrSession(visitor, _): KeyOrSession<need::IntegrationsList>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let configs = listed(&runtime, visitor, &uri).await?;
    Ok(json_response(StatusCode::OK, &json!({ "configs": configs })))
}

async fn listed(runtime: &Runtime, visitor: Visitor, uri: &Uri) -> Result<Vec<IntegrationItem>, ApiError> {
    Query::parse(uri.query()).finish()?;
    let integrations = match visitor {
        Visitor::Key(caller) => runtime.integrations(caller.environment()?).await?,
        Visitor::Session(session) => {
            let mut integrations = runtime.integrations(&session.environment_id).await?;
            integrations.retain(|integration| session.allows(&integration.unique_key));
            integrations
        }
    };
    let items = integrations
        .iter()
        .map(|integration| IntegrationItem::new(integration, runtime.providers()));
    Ok(items.collect())
}

/// Create an integration.
#[utoipa::path(
    post, path = "/integrations", tag = "integrations", request_body = CreateIntegration,
    responses((status = 200, body = IntegrationAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn create(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::IntegrationsCreate>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_json(&parts.headers, body, runtime.config().limits.request_body_bytes).await?;
    let new = parse::<CreateIntegration>(&body)?.into_new()?;
    let environment = caller.whole_integration(&new.unique_key)?;
    let integration = runtime.create_integration(environment, new).await?;
    Ok(answer(IntegrationItem::new(&integration, runtime.providers())))
}

/// Show one integration.
#[utoipa::path(
    get, path = "/integrations/{unique_key}", tag = "integrations",
    params(
        ("unique_key" = String, Path),
        ("include" = Option<Vec<String>>, Query, description = "webhook, credentials; may be repeated"),
    ),
    responses((status = 200, body = IntegrationAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn show(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::IntegrationsRead>,
    PathParams(unique_key): PathParams<String>,
    request_id: RequestId,
    request: Request,
) -> Result<Response, ApiError> {
    let include = Include::parse(request.uri().query())?;
    Ok(answer(
        shown(&runtime, caller, &unique_key, &request_id, include).await?,
    ))
}

/// `GET /config/{unique_key}`, Nango's older name of [`show`]; `include_creds=true` has it show the credentials.
pub async fn show_config(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::IntegrationsRead>,
    PathParams(unique_key): PathParams<String>,
    request_id: RequestId,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let include = Include {
        webhook: false,
        credentials: query.boolean("include_creds"),
    };
    query.finish()?;
    let config = shown(&runtime, caller, &unique_key, &request_id, include).await?;
    Ok(json_response(StatusCode::OK, &json!({ "config": config })))
}

async fn shown(
    runtime: &Runtime,
    caller: Caller,
    unique_key: &str,
    request_id: &RequestId,
    include: Include,
) -> Result<IntegrationItem, ApiError> {
    let environment = if include.credentials {
        caller.require(Scope::IntegrationsReadCredentials)?;
        caller.whole_integration(unique_key)?
    } else {
        caller.integration(unique_key)?
    };
    let integration = runtime.integration(environment, unique_key).await?;
    let mut item = IntegrationItem::new(&integration, runtime.providers());
    if include.webhook {
        item.webhook_url = Some(runtime.webhook_url(&integration).into());
    }
    if include.credentials {
        let credentials = runtime.integration_credentials(&integration)?.unwrap_or_default();
        let reading = Reading {
            kind: CredentialReadKind::Integration,
            provider_config_key: Some(&integration.unique_key),
            connection_id: None,
            request_id: request_id.as_str(),
            forced: false,
            with_refresh_token: false,
        };
        let noted = runtime.note_credential_read(&caller, &reading).await?;
        item.show(credentials, noted);
    }
    Ok(item)
}

/// Change an integration.
#[utoipa::path(
    patch, path = "/integrations/{unique_key}", tag = "integrations",
    params(("unique_key" = String, Path)), request_body = UpdateIntegration,
    responses((status = 200, body = IntegrationAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn update(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::IntegrationsUpdate>,
    PathParams(unique_key): PathParams<String>,
    headers: HeaderMap,
    body: axum::body::Body,
) -> Result<Response, ApiError> {
    let body = read_json(&headers, body, runtime.config().limits.request_body_bytes).await?;
    let patch = parse::<UpdateIntegration>(&body)?.into_patch()?;
    let environment = caller.whole_integration(&unique_key)?;
    if let Some(renamed) = &patch.unique_key {
        caller.whole_integration(renamed)?;
    }
    let integration = runtime.update_integration(environment, &unique_key, patch).await?;
    Ok(answer(IntegrationItem::new(&integration, runtime.providers())))
}

/// Delete an integration with its connections and functions.
#[utoipa::path(
    delete, path = "/integrations/{unique_key}", tag = "integrations", params(("unique_key" = String, Path)),
    responses((status = 200, body = Success), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn remove(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::IntegrationsDelete>,
    PathParams(unique_key): PathParams<String>,
) -> Result<Response, ApiError> {
    let environment = caller.whole_integration(&unique_key)?;
    runtime.delete_integration(environment, &unique_key).await?;
    Ok(json_response(StatusCode::OK, &Success { success: true }))
}

fn answer(data: IntegrationItem) -> Response {
    json_response(StatusCode::OK, &IntegrationAnswer { data })
}

#[derive(Debug, PartialEq, Eq)]
struct Include {
    webhook: bool,
    credentials: bool,
}

impl Include {
    fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut query = Query::parse(query);
        let mut include = Self {
            webhook: false,
            credentials: false,
        };
        for part in query.repeated("include") {
            match part.as_str() {
                "webhook" => include.webhook = true,
                "credentials" => include.credentials = true,
                _ => query.fault(Fault::new(
                    "invalid_value",
                    "Invalid input: expected webhook or credentials",
                    "include",
                )),
            }
        }
        query.finish()?;
        Ok(include)
    }
}

impl CreateIntegration {
    fn into_new(self) -> Result<NewIntegration, ApiError> {
        check_unique_key(Some(&self.unique_key))?;
        Ok(NewIntegration {
            unique_key: self.unique_key,
            provider: self.provider,
            display_name: self.display_name,
            credentials: self.credentials,
            custom: custom(self.custom, self.integration_config)?.unwrap_or_default(),
            forward_webhooks: self.forward_webhooks.unwrap_or(true),
        })
    }
}

impl UpdateIntegration {
    fn into_patch(self) -> Result<IntegrationPatch, ApiError> {
        check_unique_key(self.unique_key.as_deref())?;
        Ok(IntegrationPatch {
            unique_key: self.unique_key,
            display_name: self.display_name,
            credentials: self.credentials,
            custom: custom(self.custom, self.integration_config)?,
            forward_webhooks: self.forward_webhooks,
        })
    }
}

fn check_unique_key(unique_key: Option<&str>) -> Result<(), ApiError> {
    if unique_key.is_none_or(is_provider_config_key) {
        return Ok(());
    }
    let fault = Fault::malformed_name("unique_key", "unique key: use letters, digits and ~ : . @ _ -");
    Err(ApiError::faults("invalid_body", vec![fault]))
}

fn custom(custom: Option<JsonObject>, integration_config: Option<JsonObject>) -> Result<Option<JsonObject>, ApiError> {
    if custom.is_some() && integration_config.is_some() {
        let fault = Fault::new(
            "custom",
            "Give either custom or integration_config: they are the same",
            "custom",
        );
        return Err(ApiError::faults("invalid_body", vec![fault]));
    }
    Ok(custom.or(integration_config))
}

impl IntegrationItem {
    fn new(integration: &Integration, catalogue: &Catalogue) -> Self {
        let provider = catalogue.providers.get(&integration.provider);
        let logo = provider
            .and_then(|provider| provider.json.get("logo_url"))
            .and_then(Value::as_str);
        Self {
            unique_key: integration.unique_key.clone(),
            provider: integration.provider.clone(),
            display_name: integration.display_name.clone(),
            logo: logo.map(str::to_owned),
            webhook_url: None,
            credentials: None,
            forward_webhooks: integration.forward_webhooks,
            created_at: ms_utc(integration.created_at_ms),
            updated_at: ms_utc(integration.updated_at_ms),
        }
    }

    fn show(&mut self, credentials: Value, _noted: Noted) {
        self.credentials = Some(credentials);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    #[test]
    fn as_listed() {
        let integration = Integration {
            id: "int_1".into(),
            environment_id: "env_1".into(),
            unique_key: "github".into(),
            provider: "github".into(),
            display_name: "GitHub bench".into(),
            secrets: None,
            forward_webhooks: true,
            created_at_ms: 1_795_346_209_746,
            updated_at_ms: 1_795_346_209_746,
        };
        let mut item = IntegrationItem::new(&integration, &Catalogue::default());
        let json = |item: &IntegrationItem| serde_json::to_string(item).unwrap();
        assert_eq!(
            json(&item),
            r#"{"unique_key":"github","provider":"github","display_name":"GitHub bench","logo":null,"forward_webhooks":true,"created_at":"2026-11-22T11:16:49.746Z","updated_at":"2026-11-22T11:16:49.746Z"}"#
        );
        item.webhook_url = Some(Value::Null);
        assert!(json(&item).contains(r#""webhook_url":null"#));
    }

    #[tokio::test]
    async fn bodies() {
        let new = |body: &str| parse::<CreateIntegration>(body.as_bytes()).and_then(CreateIntegration::into_new);
        let created =
            new(r#"{"provider":"private-api-generic","unique_key":"tmp","integration_config":{"baseUrl":"x"}}"#)
                .unwrap();
        assert_eq!(created.custom["baseUrl"], "x");
        assert!(created.forward_webhooks);
        for (body, path) in [
            (r#"{"provider":"a"}"#, r#""path":["unique_key"]"#),
            (r#"{"provider":"a","unique_key":"x/y"}"#, r#""path":["unique_key"]"#),
            (
                r#"{"provider":"a","unique_key":"x","custom":{},"integration_config":{}}"#,
                r#""path":["custom"]"#,
            ),
            (
                r#"{"provider":"a","unique_key":"x","secret":1}"#,
                r#""code":"unrecognized_keys""#,
            ),
        ] {
            let refusal = rendered(new(body).unwrap_err()).await;
            assert!(
                refusal.starts_with(r#"400 {"error":{"code":"invalid_body""#),
                "{refusal}"
            );
            assert!(refusal.contains(path), "{refusal}");
        }
    }

    #[test]
    fn what_to_include() {
        assert_eq!(
            Include::parse(None).unwrap(),
            Include {
                webhook: false,
                credentials: false
            }
        );
        assert_eq!(
            Include::parse(Some("include=webhook&include=credentials")).unwrap(),
            Include {
                webhook: true,
                credentials: true
            }
        );
        assert!(Include::parse(Some("include=secrets")).is_err());
        assert!(Include::parse(Some("includes=webhook")).is_err());
    }
}
