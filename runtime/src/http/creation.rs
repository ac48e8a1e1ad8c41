//! The routes by which browsers make connections without a popup: one for each way in which a user gives credentials. They are the
//! requests of `@nangohq/frontend`. Whose connection it will be, and what else is decided, the connect session in the query says.

use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::body::{json_response, parse, read, require_media_type};
use super::error::{ApiError, ErrorEnvelope};
use super::query::{PathParams, Query};
use super::session::{QuerySession, SESSION_PARAMETER};
use crate::authorize::{Begin, FlowError};
use crate::connect::{CreateError, Creator};
use crate::connections::{ConnectionsError, NewConnection};
use crate::credentials::CredentialsType;
use crate::model::{ConnectSession, JsonObject};
use crate::runtime::Runtime;

/// What a form sends is no larger.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Parameters of clients that mean nothing here: a session needs no proof by HMAC, and nobody waits at a socket.
const IGNORED_PARAMETERS: [&str; 3] = ["hmac", "ws_client_id", "user_scope"];

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connected {
    connection_id: String,
    provider_config_key: String,
    /// The connection will be there when the customer has done his part at the provider.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_pending: bool,
}

/// Fields of the credentials by their names. An empty body is an empty object.
#[derive(Default, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct GivenCredentials {
    #[schema(value_type = Object)]
    fields: JsonObject,
}

macro_rules! handlers {
    ($($(#[$doc:meta])+ $name:ident $path:literal => $mode:ident, $body:literal;)+) => {$(
        $(#[$doc])+
        #[utoipa::path(
            post, path = $path, tag = "connect",
            params(
                ("provider_config_key" = String, Path),
                ("connect_session_token" = String, Query),
                ("params[name]" = Option<String>, Query, description = "A value of connection_config; may be repeated with other names"),
            ),
            request_body(content = GivenCredentials, description = $body),
            security(("connect_session_in_query" = [])),
            responses((status = 200, body = Connected), (status = "4XX", body = ErrorEnvelope)),
        )]
        pub async fn $name(
            State(runtime): State<Runtime>,
            QuerySession(session): QuerySession,
            PathParams(provider_config_key): PathParams<String>,
            request: Request,
        ) -> Result<Response, ApiError> {
            create(&runtime, session, CredentialsType::$mode, provider_config_key, request).await
        }
    )+};
}

handlers! {
    /// Connect with an API key.
    api_key "/api-auth/api-key/{provider_config_key}" => ApiKey, "`apiKey`";
    /// Connect with user name and password.
    basic "/api-auth/basic/{provider_config_key}" => Basic, "`username`, `password`; either may be absent";
    /// Connect with an OAuth 2 client of one's own.
    client_credentials "/oauth2/auth/{provider_config_key}" => OAuth2Cc,
        "`client_id`, `client_secret`, `client_certificate`, `client_private_key`";
    /// Connect with what a token is asked for with; each provider has its own fields.
    two_step "/auth/two-step/{provider_config_key}" => TwoStep, "The fields that the provider declares";
    /// Connect with a key that tokens are signed with.
    jwt "/auth/jwt/{provider_config_key}" => Jwt, "The fields that the provider declares";
    /// Connect with a BILL account.
    bill "/auth/bill/{provider_config_key}" => Bill, "`username`, `password`, `organization_id`, `dev_key`";
    /// Connect with a NetSuite token.
    tba "/auth/tba/{provider_config_key}" => Tba,
        "`token_id`, `token_secret`, `oauth_client_id_override`, `oauth_client_secret_override`";
    /// Connect with user name and secret that requests are signed with.
    signature "/auth/signature/{provider_config_key}" => Signature, "`username`, `password`";
    /// Connect with an AWS role.
    aws_sigv4 "/auth/aws-sigv4/{provider_config_key}" => AwsSigV4, "`role_arn`, `region`";
    /// Connect with nothing but the values of `params`.
    unauthenticated "/auth/unauthenticated/{provider_config_key}" => None, "Nothing";
}

async fn create(
    runtime: &Runtime,
    session: ConnectSession,
    mode: CredentialsType,
    provider_config_key: String,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let (connection_id, connection_config) = parameters(parts.uri.query())?;
    let body = read(body, BODY_BYTES_MAX).await?;
    let given = if body.is_empty() {
        GivenCredentials::default()
    } else {
        require_media_type(&parts.headers, &["application/json"])?;
        parse::<GivenCredentials>(&body)?
    };
    let new = NewConnection {
        provider_config_key,
        connection_id,
        credentials: credentials(mode, given.fields),
        connection_config,
        metadata: JsonObject::new(),
        tags: std::collections::BTreeMap::new(),
        end_user: None,
        webhook_url_override: None,
    };
    let by = Creator::session(session);
    let created = runtime.create_connection(by, new).await.map_err(refusal)?;
    let connection = &created.target.connection;
    let connected = Connected {
        connection_id: connection.connection_id.clone(),
        provider_config_key: connection.provider_config_key.clone(),
        is_pending: false,
    };
    Ok(json_response(StatusCode::OK, &connected))
}

/// Await that a customer installs the integration's app at the provider.
///
/// The connection is made when the provider's webhook tells of the installation.
#[utoipa::path(
    post, path = "/auth/oauth-outbound/{provider_config_key}", tag = "connect",
    params(
        ("provider_config_key" = String, Path),
        ("connect_session_token" = String, Query),
        ("params[name]" = Option<String>, Query, description = "A value of connection_config; may be repeated with other names"),
    ),
    security(("connect_session_in_query" = [])),
    responses((status = 200, body = Connected), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn outbound(
    State(runtime): State<Runtime>,
    QuerySession(session): QuerySession,
    PathParams(provider_config_key): PathParams<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (connection_id, connection_config) = parameters(query.as_deref())?;
    let begin = Begin {
        provider_config_key,
        connection_id,
        connection_config,
        ..Begin::default()
    };
    let awaited = runtime.await_installation(session, begin).await.map_err(of_flow)?;
    let connected = Connected {
        connection_id: awaited.connection_id,
        provider_config_key: awaited.provider_config_key,
        is_pending: true,
    };
    Ok(json_response(StatusCode::OK, &connected))
}

fn of_flow(error: FlowError) -> ApiError {
    let message = error.to_string();
    match error {
        FlowError::IdGiven => refusal(CreateError::IdGiven),
        FlowError::NotAllowed { provider_config_key } => refusal(CreateError::IntegrationNotAllowed {
            unique_key: provider_config_key,
        }),
        FlowError::Connections(error) => refusal(error.into()),
        FlowError::NotOutbound { .. } => ApiError::new(StatusCode::BAD_REQUEST, "invalid_auth_mode", message),
        FlowError::AwaitedBySomebody { .. } => ApiError::new(StatusCode::CONFLICT, "conflict", message),
        FlowError::Encryption(error) => error.into(),
        FlowError::Store(error) => error.into(),
        error => ApiError::new(StatusCode::BAD_REQUEST, error.kind(), message),
    }
}

/// A connection id, which is not the browser's to give, and the values of `params`.
fn parameters(query: Option<&str>) -> Result<(Option<String>, JsonObject), ApiError> {
    let mut query = Query::parse(query);
    query.optional(SESSION_PARAMETER);
    for name in IGNORED_PARAMETERS {
        query.optional(name);
    }
    // Of popups.
    query.bracketed("authorization_params");
    let params = query.bracketed("params");
    let connection_id = query.optional("connection_id");
    query.finish()?;
    let params = params.into_iter().map(|(name, value)| (name, Value::String(value)));
    Ok((connection_id, params.collect()))
}

/// As an import has them.
fn credentials(mode: CredentialsType, mut fields: JsonObject) -> Value {
    if mode == CredentialsType::Basic {
        for name in ["username", "password"] {
            fields.entry(name).or_insert_with(|| Value::String(String::new()));
        }
    }
    fields.insert("type".to_owned(), mode.name().into());
    Value::Object(fields)
}

fn refusal(error: CreateError) -> ApiError {
    let message = error.to_string();
    let not_found = |code| ApiError::new(StatusCode::NOT_FOUND, code, message.clone());
    match &error {
        CreateError::Connections(ConnectionsError::UnknownIntegration { .. }) => not_found("unknown_provider_config"),
        CreateError::Connections(ConnectionsError::UnknownProvider { .. }) => not_found("unknown_provider_template"),
        CreateError::Connections(ConnectionsError::CredentialsType { .. }) => {
            ApiError::new(StatusCode::BAD_REQUEST, "invalid_auth_mode", message)
        }
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::error::tests::rendered;

    #[tokio::test]
    async fn what_clients_send_in_the_query() {
        let query = "connect_session_token=t&params[subdomain]=a%26b&params%5Bx%5D=1&user_scope=a,b&hmac=x&authorization_params[p]=q";
        let (connection_id, config) = parameters(Some(query)).unwrap();
        assert_eq!(connection_id, None);
        assert_eq!(Value::Object(config), json!({"subdomain": "a&b", "x": "1"}));
        assert_eq!(parameters(Some("connection_id=c")).unwrap().0.as_deref(), Some("c"));
        let refused = rendered(parameters(Some("param[x]=1")).unwrap_err()).await;
        assert!(refused.contains("invalid_query_params"), "{refused}");
    }

    #[test]
    fn the_route_says_which_mode_it_is() {
        let fields = |value: Value| JsonObject::clone(value.as_object().unwrap());
        assert_eq!(
            credentials(CredentialsType::ApiKey, fields(json!({"apiKey": "k", "type": "BASIC"}))),
            json!({"apiKey": "k", "type": "API_KEY"})
        );
        assert_eq!(
            credentials(CredentialsType::Basic, fields(json!({"username": "u"}))),
            json!({"username": "u", "password": "", "type": "BASIC"})
        );
    }

    #[tokio::test]
    async fn codes_of_these_routes() {
        let unknown = ConnectionsError::UnknownIntegration { unique_key: "x".into() };
        let wrong = ConnectionsError::CredentialsType {
            provider: "github".into(),
            auth_mode: "OAUTH2".into(),
            given: "API_KEY".into(),
        };
        for (error, expected) in [
            (
                CreateError::from(unknown),
                r#"404 {"error":{"code":"unknown_provider_config""#,
            ),
            (CreateError::from(wrong), r#"400 {"error":{"code":"invalid_auth_mode""#),
            (
                CreateError::IntegrationNotAllowed { unique_key: "x".into() },
                r#"400 {"error":{"code":"integration_not_allowed""#,
            ),
            (CreateError::IdGiven, r#"400 {"error":{"code":"invalid_query_params""#),
            (
                CreateError::ConnectionGone {
                    connection_id: "c".into(),
                },
                r#"400 {"error":{"code":"invalid_connection""#,
            ),
        ] {
            let text = rendered(refusal(error)).await;
            assert!(text.starts_with(expected), "{text}");
        }
    }
}
