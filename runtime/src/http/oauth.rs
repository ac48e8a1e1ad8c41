//! The popup of an authorization: where it begins, and where providers send customers back to. Both are opened by browsers, so what
//! goes wrong is a page.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use url::form_urlencoded;

use super::error::ApiError;
use super::pages::{Connected, Failed, connected, failed};
use super::query::{PathParams, Query};
use super::session::SESSION_PARAMETER;
use crate::authorize::{Begin, Failure, Outcome, Returned};
use crate::connect::SessionError;
use crate::model::EnvironmentId;
use crate::runtime::Runtime;

/// Send a customer to a provider.
#[utoipa::path(
    get, path = "/oauth/connect/{provider_config_key}", tag = "connect",
    params(
        ("provider_config_key" = String, Path),
        ("connect_session_token" = String, Query),
        ("params[name]" = Option<String>, Query, description = "A value of connection_config; may be repeated with other names"),
        ("authorization_params[name]" = Option<String>, Query, description = "A parameter of the authorization URL; `undefined` takes one away"),
        ("credentials[name]" = Option<String>, Query, description = "`oauth_client_id_override`, `oauth_client_secret_override`, `oauth_refresh_token_override`"),
        ("user_scope" = Option<String>, Query, description = "Scopes of the user's own token, where a provider has such"),
        ("ws_client_id" = Option<String>, Query, description = "Whom to tell the outcome: what the WebSocket at `/` gave, or a name of one's own, which the outcome's page gives back"),
    ),
    security(("connect_session_in_query" = [])),
    responses(
        (status = 302, description = "To the provider"),
        (status = 400, description = "A page that says what is wrong", body = String, content_type = "text/html"),
    ),
)]
pub async fn start(
    State(runtime): State<Runtime>,
    PathParams(provider_config_key): PathParams<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let mut query = Query::parse(query.as_deref());
    let popup_id = query.optional("ws_client_id");
    let page = async |error_type: &str, message: &str| {
        let failure = Failed {
            error_type,
            message,
            provider_config_key: Some(&provider_config_key),
            client_id: popup_id.as_deref(),
        };
        // Strangers write nothing into the database.
        failure_page(&runtime, None, &failure).await
    };
    let Some(token) = query.optional(SESSION_PARAMETER) else {
        let message = "The address has no `connect_session_token`; the application's back end gets one from POST /connect/sessions.";
        return page("missing_connect_session_token", message).await;
    };
    let session = match runtime.connect_session(&token).await {
        Ok(session) => session,
        Err(error) => return page(session_error_type(&error), &error.to_string()).await,
    };
    let params = query.bracketed("params").into_iter();
    let begin = Begin {
        provider_config_key: provider_config_key.clone(),
        connection_id: query.optional("connection_id"),
        connection_config: params.map(|(name, value)| (name, Value::String(value))).collect(),
        authorization_params: query.bracketed("authorization_params").into_iter().collect(),
        user_scope: query.optional("user_scope"),
        credentials: query.bracketed("credentials").into_iter().collect(),
        popup_id: popup_id.clone(),
    };
    match runtime.begin_authorization(session, begin).await {
        Ok(begun) => redirect(&begun.location, begun.cookie.as_deref()),
        Err(failure) => came_to_nothing(&runtime, &failure).await,
    }
}

/// Receive a customer from a provider.
#[utoipa::path(
    get, path = "/oauth/callback", tag = "connect", security(()),
    params(
        ("state" = String, Query, description = "As it was given to the provider"),
        ("code" = Option<String>, Query),
        ("error" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "A page that tells whoever opened the popup", body = String, content_type = "text/html"),
        (status = 400, description = "A page that says what is wrong", body = String, content_type = "text/html"),
    ),
)]
pub async fn callback(State(runtime): State<Runtime>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query: Vec<(String, String)> = form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .into_owned()
        .collect();
    let cookies = cookies(&headers);
    let returned = Returned {
        query: &query,
        cookies: &cookies,
    };
    match runtime.finish_authorization(&returned).await {
        Ok(finished) => {
            let connection_id = finished.target.as_ref().map(|target| &target.connection.connection_id);
            if let Some(popup_id) = &finished.popup_id {
                let outcome = Outcome::Connected {
                    provider_config_key: finished.provider_config_key.clone(),
                    connection_id: connection_id.cloned().unwrap_or_default(),
                    is_pending: connection_id.is_none(),
                };
                let environment_id = Some(&finished.environment_id);
                runtime.tell_outcome(popup_id, environment_id, outcome).await;
            }
            connected(&Connected {
                provider_config_key: &finished.provider_config_key,
                connection_id: connection_id.map_or("", String::as_str),
                display_name: &finished.display_name,
                is_pending: connection_id.is_none(),
                client_id: finished.popup_id.as_deref(),
            })
        }
        Err(failure) => came_to_nothing(&runtime, &failure).await,
    }
}

/// What the OAuth client of an integration says of itself.
///
/// An authorization server that takes the URL of this document as the client's id reads it here.
#[utoipa::path(
    get, path = "/oauth/client-metadata/{environment_id}/{provider_config_key}", tag = "connect", security(()),
    params(("environment_id" = String, Path), ("provider_config_key" = String, Path)),
    responses(
        (status = 200, description = "Client metadata (RFC 7591)", body = Value),
        (status = 404, description = "No integration with an MCP server's client"),
    ),
)]
pub async fn client_metadata(
    State(runtime): State<Runtime>,
    PathParams((environment_id, provider_config_key)): PathParams<(String, String)>,
) -> Response {
    match runtime.client_metadata(&environment_id, &provider_config_key).await {
        Ok(Some(metadata)) => Json(metadata).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            if error.is_outage() {
                return ApiError::outage(error).into_response();
            }
            tracing::warn!(%error, "The metadata of a client could not be given: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn came_to_nothing(runtime: &Runtime, failure: &Failure) -> Response {
    let environment_id = failure.environment_id.as_ref();
    let failure = Failed {
        error_type: failure.error.kind(),
        message: &failure.error.to_string(),
        provider_config_key: failure.provider_config_key.as_deref(),
        client_id: failure.popup_id.as_deref(),
    };
    failure_page(runtime, environment_id, &failure).await
}

/// The page, and word to who waits for it.
async fn failure_page(runtime: &Runtime, environment_id: Option<&EnvironmentId>, failure: &Failed<'_>) -> Response {
    if let Some(popup_id) = failure.client_id {
        let outcome = Outcome::Failed {
            error_type: failure.error_type.to_owned(),
            message: failure.message.to_owned(),
        };
        runtime.tell_outcome(popup_id, environment_id, outcome).await;
    }
    failed(failure)
}

fn session_error_type(error: &SessionError) -> &'static str {
    match error {
        SessionError::Format => "invalid_connect_session_token_format",
        SessionError::Unknown => "unknown_connect_session_token",
        SessionError::Stored { .. } | SessionError::Encryption(_) | SessionError::Store(_) => "unknown_err",
    }
}

/// To where the provider's data says; the address with the session's token is told to nobody.
fn redirect(location: &str, cookie: Option<&str>) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Both are made of encoded text.
    for (name, value) in [(header::LOCATION, Some(location)), (header::SET_COOKIE, cookie)] {
        if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    }
    response
}

/// RFC 6265, section 5.4: pairs with `; ` between.
fn cookies(headers: &HeaderMap) -> Vec<(String, String)> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_of_a_browser() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=1; __Host-nango-oauth-00=x=y"),
        );
        headers.append(header::COOKIE, HeaderValue::from_static("b"));
        let expected = [("a", "1"), ("__Host-nango-oauth-00", "x=y")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(cookies(&headers), expected);
    }
}
