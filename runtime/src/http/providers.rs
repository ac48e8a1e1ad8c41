//! `/providers`: the catalogue, entry by entry as it is loaded.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::json_response;
use super::error::{ApiError, ErrorEnvelope};
use super::query::{PathParams, Query};
use super::session::{KeyOrSession, Visitor};
use crate::model::Integration;
use crate::provider::Provider;
use crate::runtime::Runtime;

#[derive(Serialize, ToSchema)]
pub struct ProviderList {
    #[schema(value_type = Vec<Object>)]
    data: Vec<Value>,
}

#[derive(Serialize, ToSchema)]
pub struct ProviderItem {
    #[schema(value_type = Object)]
    data: Value,
}

/// List the providers.
#[utoipa::path(
    get, path = "/providers", tag = "providers",
    params(("search" = Option<String>, Query, description = "A part of the name or of the display name")),
    responses((status = 200, body = ProviderList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(_, _): Key<need::ProvidersRead>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let search = query.optional("search").unwrap_or_default().to_lowercase();
    query.finish()?;
    let providers = runtime.providers().providers.values();
    let data = providers
        .filter(|provider| is_found(provider, &search))
        .map(|provider| entry(provider))
        .collect();
    Ok(json_response(StatusCode::OK, &ProviderList { data }))
}

/// Show one provider; with the token of a connect session, one of the integrations that it is for.
#[utoipa::path(
    get, path = "/providers/{provider}", tag = "providers", params(("provider" = String, Path)),
    security(("connect_session" = [])),
    responses((status = 200, body = ProviderItem), (status = 404, body = ErrorEnvelope)),
)]
pub async fn show(
    State(runtime): State<Runtime>,
    KeyOrSession(visitor, _): KeyOrSession<need::ProvidersRead>,
    PathParams(name): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    if let Visitor::Session(session) = visitor {
        let integrations = runtime.integrations(&session.environment_id).await?;
        let is_meant =
            |integration: &Integration| integration.provider == name && session.allows(&integration.unique_key);
        if !integrations.iter().any(is_meant) {
            let message = format!("The connect session is for no integration of the provider {name:?}");
            return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message));
        }
    }
    let data = entry(known(&runtime, &name)?);
    Ok(json_response(StatusCode::OK, &ProviderItem { data }))
}

/// Functions that come with a provider, ready to deploy. None are shipped: functions are components that users build.
#[utoipa::path(
    get, path = "/providers/{provider}/templates", tag = "providers", params(("provider" = String, Path)),
    responses((status = 200, body = ProviderList), (status = 404, body = ErrorEnvelope)),
)]
pub async fn templates(
    State(runtime): State<Runtime>,
    Key(_, _): Key<need::ProvidersRead>,
    PathParams(name): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    Query::parse(request.uri().query()).finish()?;
    known(&runtime, &name)?;
    Ok(json_response(StatusCode::OK, &ProviderList { data: Vec::new() }))
}

fn known<'a>(runtime: &'a Runtime, name: &str) -> Result<&'a Provider, ApiError> {
    let provider = runtime.providers().providers.get(name).ok_or_else(|| {
        let message = format!("There is no provider {name:?}; GET /providers lists all");
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
    })?;
    Ok(provider)
}

/// `search` is in lower case.
fn is_found(provider: &Provider, search: &str) -> bool {
    provider.name.to_lowercase().contains(search) || provider.display_name.to_lowercase().contains(search)
}

/// The entry with its name, which in the catalogue is its key.
fn entry(provider: &Provider) -> Value {
    let mut json = provider.json.clone();
    if let Value::Object(entry) = &mut json {
        entry.insert("name".to_owned(), Value::from(provider.name.as_str()));
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{AuthMode, ClientRegistration, SignatureMethod};

    #[test]
    fn entries_have_names_and_are_found_by_them() {
        let provider = Provider {
            name: "github".into(),
            display_name: "GitHub (User OAuth)".into(),
            auth_mode: AuthMode::OAuth2,
            signature_method: SignatureMethod::default(),
            revocation: None,
            webhook: None,
            client_registration: ClientRegistration::default(),
            proxy: None,
            json: serde_json::json!({"display_name": "GitHub (User OAuth)"}),
        };
        assert_eq!(
            entry(&provider),
            serde_json::json!({"display_name": "GitHub (User OAuth)", "name": "github"})
        );
        assert!(is_found(&provider, "user oauth"));
        assert!(is_found(&provider, ""));
        assert!(!is_found(&provider, "slack"));
    }
}
