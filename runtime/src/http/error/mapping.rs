//! Which failure is which answer. Every variant is named, so that a new one stops the build until somebody has decided. Routes that
//! need another code for the same failure decide it in their own file.

use http::StatusCode;
use serde::Serialize;

use super::{ApiError, ErrorDetails};
use crate::connect::CreateError;
use crate::connections::ConnectionsError;
use crate::credentials::CredentialsType;
use crate::encryption::{EncryptionError, KeyError};
use crate::executor::PlayError;
use crate::http::fault::Fault;
use crate::model::RunError;
use crate::oauth::{NoCredentials, NotObtained, OAuthError, RefreshError};
use crate::proxy::{Phase, ProxyError};
use crate::recordings::RecordingError;
use crate::records::RecordsError;
use crate::runtime::{
    ActionError, ActionsError, Denied, DryRunError, InvokeError, KeysError, RecordsApiError, ReplayError, RotationError,
};
use crate::store::StoreError;
use crate::variables::VariablesError;

/// When it is worth asking again, where the runtime itself is busy.
const RETRY_AFTER_S: u64 = 1;

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            return Self::outage(error);
        }
        let message = error.to_string();
        match error {
            StoreError::Cursor { .. } => Self::faults(
                "invalid_query_params",
                vec![Fault::new("invalid_format", message, "cursor")],
            ),
            StoreError::NulCharacter(_) => Self::new(StatusCode::BAD_REQUEST, "invalid_body", message),
            StoreError::Taken { .. } => Self::new(StatusCode::BAD_REQUEST, "invalid_body", message),
            // Somebody else deleted it while this call was under way.
            StoreError::ParentGone(_) | StoreError::Superseded { .. } => {
                Self::new(StatusCode::CONFLICT, "conflict", message)
            }
            StoreError::Url { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Open { .. }
            | StoreError::NotADatabase { .. }
            | StoreError::Unreachable { .. }
            | StoreError::ConnectTimeout { .. }
            | StoreError::NoAnswer { .. }
            | StoreError::SchemaNewer { .. }
            | StoreError::Migration(_)
            | StoreError::Inconsistent { .. }
            | StoreError::Full(_)
            | StoreError::BecameReadOnly(_)
            | StoreError::Driver(_) => Self::internal(error),
        }
    }
}

impl From<Denied> for ApiError {
    fn from(error: Denied) -> Self {
        let message = error.to_string();
        match error {
            Denied::Scope { .. }
            | Denied::Limited { .. }
            | Denied::Integration { .. }
            | Denied::Connection { .. }
            | Denied::AllConnections { .. }
            | Denied::Session { .. }
            | Denied::NewConnections { .. }
            | Denied::Method { .. }
            | Denied::Path { .. }
            | Denied::Header { .. } => Self::new(StatusCode::FORBIDDEN, "forbidden", message),
        }
    }
}

impl From<KeysError> for ApiError {
    fn from(error: KeysError) -> Self {
        let message = error.to_string();
        match error {
            KeysError::Denied(error) => error.into(),
            KeysError::Invalid { field, message } => {
                let path = field.split('.').map(str::to_owned).collect();
                let code = "custom";
                Self::faults("invalid_body", vec![Fault { code, message, path }])
            }
            KeysError::TooMany => Self::new(StatusCode::BAD_REQUEST, "resource_capped", message),
            KeysError::Unknown { .. } => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            KeysError::Own => Self::new(StatusCode::CONFLICT, "conflict", message),
            KeysError::Store(error) => error.into(),
        }
    }
}

impl From<VariablesError> for ApiError {
    fn from(error: VariablesError) -> Self {
        let message = error.to_string();
        match error {
            VariablesError::Name { .. } => Self::faults(
                "invalid_uri_params",
                vec![Fault::new("invalid_format", message, "name")],
            ),
            VariablesError::Value { .. } => Self::faults("invalid_body", vec![Fault::new("custom", message, "value")]),
            VariablesError::TooMany => Self::new(StatusCode::BAD_REQUEST, "resource_capped", message),
            VariablesError::Unknown { .. } => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            VariablesError::Stored { .. } => Self::internal(error),
            VariablesError::Encryption(error) => error.into(),
            VariablesError::Store(error) => error.into(),
        }
    }
}

impl From<RotationError> for ApiError {
    fn from(error: RotationError) -> Self {
        let message = error.to_string();
        match error {
            RotationError::Unknown { .. } => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            RotationError::Waiting { .. }
            | RotationError::Raced
            | RotationError::Used
            | RotationError::Current { .. }
            | RotationError::StillSealing { .. }
            | RotationError::Settling { .. }
            | RotationError::InUse { .. }
            | RotationError::Key(KeyError::Fixed | KeyError::TooMany) => {
                Self::new(StatusCode::CONFLICT, "conflict", message)
            }
            RotationError::Missing { .. } | RotationError::Lost { .. } | RotationError::Key(_) => Self::internal(error),
            RotationError::Encryption(error) => error.into(),
            RotationError::Store(error) => error.into(),
        }
    }
}

impl From<EncryptionError> for ApiError {
    fn from(error: EncryptionError) -> Self {
        match error {
            EncryptionError::WrongKey { .. } | EncryptionError::Corrupt { .. } => Self::internal(error),
        }
    }
}

impl From<ConnectionsError> for ApiError {
    fn from(error: ConnectionsError) -> Self {
        let message = error.to_string();
        let fault = |message: String, path: &str| {
            Self::faults("invalid_body", vec![Fault::new("invalid_string", message, path)])
        };
        match error {
            ConnectionsError::UnknownIntegration { .. } => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            ConnectionsError::UnknownConnection { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "unknown_connection", message)
            }
            ConnectionsError::UnknownProvider { .. } => fault(message, "provider"),
            ConnectionsError::IntegrationExists { .. } => fault(message, "uniqueKey"),
            ConnectionsError::IntegrationInUse { .. } => fault(message, "unique_key"),
            ConnectionsError::CredentialsType { .. } => Self::new(StatusCode::BAD_REQUEST, "invalid_body", message),
            ConnectionsError::UnsupportedAuthMode { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_auth_mode", message)
            }
            ConnectionsError::Aws(error) => Self::new(StatusCode::BAD_REQUEST, error.code(), message),
            ConnectionsError::Invalid { field, message } => Self::from_details(
                StatusCode::BAD_REQUEST,
                ErrorDetails {
                    message: Some(format!("{field}: {message}")),
                    errors: vec![Fault {
                        code: "custom",
                        message,
                        path: field.split('.').map(str::to_owned).collect(),
                    }],
                    ..ErrorDetails::code("invalid_body")
                },
            ),
            ConnectionsError::StoredJson { .. } | ConnectionsError::StoredCredentials { .. } => Self::internal(error),
            ConnectionsError::Encryption(error) => error.into(),
            ConnectionsError::Store(error) => error.into(),
        }
    }
}

impl From<RecordsError> for ApiError {
    fn from(error: RecordsError) -> Self {
        let message = error.to_string();
        match error {
            RecordsError::MissingId { .. }
            | RecordsError::InvalidId { .. }
            | RecordsError::NoObject { .. }
            | RecordsError::RecordTooLarge { .. }
            | RecordsError::TooDeep { .. }
            | RecordsError::NoArray(_)
            | RecordsError::Unreadable { .. }
            | RecordsError::TooMany { .. }
            | RecordsError::BatchTooLarge { .. }
            | RecordsError::TooManyIds { .. } => Self::new(StatusCode::BAD_REQUEST, "invalid_body", message),
            // Only functions track.
            RecordsError::NotTracking { .. } => Self::new(StatusCode::CONFLICT, "track_deletes_not_started", message),
            RecordsError::Stored { .. } => Self::internal(error),
            RecordsError::Encryption(error) => error.into(),
            RecordsError::Store(error) => error.into(),
        }
    }
}

impl From<RecordsApiError> for ApiError {
    fn from(error: RecordsApiError) -> Self {
        match error {
            RecordsApiError::Connections(error) => error.into(),
            RecordsApiError::Records(error) => error.into(),
        }
    }
}

impl From<InvokeError> for ApiError {
    fn from(error: InvokeError) -> Self {
        let message = error.to_string();
        match error {
            InvokeError::Connections(error) => error.into(),
            InvokeError::UnknownFunction { .. } | InvokeError::UnknownVariant { .. } => {
                Self::new(StatusCode::NOT_FOUND, "not_found", message)
            }
            InvokeError::Disabled { .. } => Self::new(StatusCode::NOT_FOUND, "disabled_resource", message),
            InvokeError::InvalidInput { faults, .. } => {
                #[derive(Serialize)]
                struct InputFault {
                    message: String,
                }
                let faults: Vec<InputFault> = faults.into_iter().map(|message| InputFault { message }).collect();
                let details = ErrorDetails {
                    message: Some(message),
                    ..ErrorDetails::code("invalid_action_input").with_payload(&faults)
                };
                Self::from_details(StatusCode::BAD_REQUEST, details)
            }
            InvokeError::Actions(error) => error.into(),
            InvokeError::Run(error) => error.into(),
            InvokeError::Store(error) => error.into(),
        }
    }
}

impl From<DryRunError> for ApiError {
    fn from(error: DryRunError) -> Self {
        let message = error.to_string();
        match error {
            DryRunError::Invoke(error) => error.into(),
            DryRunError::Credentials(error) => error.into(),
            DryRunError::Deploy(error) => error.into(),
            DryRunError::NotInComponent { .. } => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            DryRunError::NoHandler { .. } | DryRunError::NotSubscribed { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_webhook", message)
            }
            DryRunError::Ingress(error) => error.into(),
            DryRunError::NoRecording => Self::internal(error),
        }
    }
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        let message = error.to_string();
        match error {
            ReplayError::Recording(RecordingError::Unknown { .. }) | ReplayError::ComponentGone { .. } => {
                Self::new(StatusCode::NOT_FOUND, "not_found", message)
            }
            ReplayError::Recording(RecordingError::Format { .. }) => {
                Self::new(StatusCode::CONFLICT, "conflict", message)
            }
            ReplayError::Recording(RecordingError::Encryption(error)) => error.into(),
            ReplayError::Recording(RecordingError::Store(error)) | ReplayError::Store(error) => error.into(),
            ReplayError::Component(error) => error.into(),
            ReplayError::Play(PlayError::Component(error)) => error.into(),
            ReplayError::Play(PlayError::NoFunction { .. }) => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            ReplayError::Play(PlayError::NoSlot(_)) => Self::internal(error),
        }
    }
}

impl From<ActionsError> for ApiError {
    fn from(error: ActionsError) -> Self {
        let message = error.to_string();
        match error {
            ActionsError::QueueFull { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_request", message).retry_after(Some(RETRY_AFTER_S))
            }
            // Both as draft-ietf-httpapi-idempotency-key-header says, 2.7.
            ActionsError::KeyReused { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", message)
            }
            ActionsError::KeyInFlight { .. } => {
                Self::new(StatusCode::CONFLICT, "idempotency_key_in_use", message).retry_after(Some(RETRY_AFTER_S))
            }
            ActionsError::Store(error) => error.into(),
        }
    }
}

impl From<ActionError> for ApiError {
    fn from(error: ActionError) -> Self {
        let message = error.to_string();
        match error {
            ActionError::Unknown { .. } => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            ActionError::Denied(error) => error.into(),
            ActionError::Store(error) => error.into(),
        }
    }
}

impl From<RunError> for ApiError {
    fn from(error: RunError) -> Self {
        let status = run_error_status(&error.code);
        // An upstream's answer comes without a message of ours.
        let message = error.upstream.is_none().then_some(error.message);
        let details = ErrorDetails {
            message,
            upstream: error.upstream,
            ..ErrorDetails::code(error.code).with_payload(&serde_json::Map::new())
        };
        let details = ErrorDetails {
            payload: error.payload.or(details.payload),
            ..details
        };
        let is_busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        Self::from_details(status, details).retry_after(is_busy.then_some(RETRY_AFTER_S))
    }
}

/// The status that goes with the code of a failed run.
fn run_error_status(code: &str) -> StatusCode {
    match code {
        "script_http_error" | "script_api_rate_limit_error" => StatusCode::FAILED_DEPENDENCY,
        "script_aborted" => StatusCode::GONE,
        "too_many_request" => StatusCode::TOO_MANY_REQUESTS,
        "shutting_down" => StatusCode::SERVICE_UNAVAILABLE,
        // Of an action in the background whose connection or function went before its attempt.
        "not_found" | "disabled_resource" => StatusCode::NOT_FOUND,
        "script_output_too_large"
        | "unknown_connection"
        | "action_failure"
        | "invalid_action_output"
        | "invalid_action_input" => StatusCode::BAD_REQUEST,
        // Codes are text because functions of later versions bring new ones: those are failures of the function as well.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<ProxyError> for ApiError {
    fn from(error: ProxyError) -> Self {
        let (code, message, retry_after_s) = (error.code(), error.to_string(), error.retry_after_s());
        match error {
            ProxyError::Connections(ConnectionsError::UnknownConnection { .. }) => Self::new(
                StatusCode::BAD_REQUEST,
                "server_error",
                format!("Failed to get connection: {message}"),
            ),
            ProxyError::Connections(ConnectionsError::UnknownIntegration { .. }) => {
                Self::new(StatusCode::NOT_FOUND, "unknown_provider_config", message)
            }
            ProxyError::Connections(error) => error.into(),
            ProxyError::NoCredentials { reason, .. } if reason.is_outage() => Self::outage(reason),
            ProxyError::NoCredentials { reason, .. } => no_credentials(&reason, code, message),
            ProxyError::Identity(_)
            | ProxyError::MissingApiUrl { .. }
            | ProxyError::UnsupportedAuth { .. }
            | ProxyError::Signature { .. }
            | ProxyError::MissingValue { .. }
            | ProxyError::UnusableValue { .. }
            | ProxyError::MissingClient { .. }
            | ProxyError::InvalidUrl { .. }
            | ProxyError::InvalidHeader { .. }
            | ProxyError::EgressDenied(_)
            | ProxyError::OverrideNotAllowed { .. }
            | ProxyError::UrlNotAllowed(_)
            | ProxyError::HostNotDeclared { .. }
            | ProxyError::RequestBody(_) => Self::new(StatusCode::BAD_REQUEST, code, message),
            ProxyError::BodyNeeded { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, message),
            ProxyError::MethodNotAllowed { .. } => Self::new(StatusCode::METHOD_NOT_ALLOWED, code, message),
            ProxyError::Timeout {
                phase: Phase::Upload, ..
            } => Self::new(StatusCode::REQUEST_TIMEOUT, code, message),
            ProxyError::TooManyRedirects { .. }
            | ProxyError::InvalidRedirect { .. }
            | ProxyError::Dns { .. }
            | ProxyError::Connect { .. }
            | ProxyError::Tls { .. }
            | ProxyError::Timeout { .. }
            | ProxyError::Reset { .. }
            | ProxyError::InvalidAnswer { .. }
            | ProxyError::ResponseBody(_)
            | ProxyError::ResponseTooLarge { .. } => Self::new(StatusCode::BAD_GATEWAY, code, message),
            // As the provider would answer, and without asking it.
            ProxyError::RateLimited { .. } | ProxyError::RateLimitQueueFull { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, code, message).retry_after(retry_after_s)
            }
            // The catalogue is wrong, and only who runs the server can put it right.
            ProxyError::Template { .. } => Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, message),
            ProxyError::Setup(_) => Self::internal(error),
        }
    }
}

/// What `/proxy` says of a connection without usable credentials: but for the back-off, Nango's code for all of it.
fn no_credentials(reason: &NoCredentials, code: &'static str, message: String) -> ApiError {
    let message_of_all = format!("Failed to get connection credentials: '{message}'");
    match reason {
        NoCredentials::Backoff { .. } => ApiError::new(StatusCode::FAILED_DEPENDENCY, code, message),
        NoCredentials::Exhausted { .. } => ApiError::new(StatusCode::FAILED_DEPENDENCY, "server_error", message_of_all),
        NoCredentials::Refresh(_) => ApiError::new(StatusCode::BAD_REQUEST, "server_error", message_of_all),
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        let message = error.to_string();
        let refused = |code| Self::new(StatusCode::BAD_REQUEST, code, message.clone());
        match error {
            CreateError::Connections(error) => error.into(),
            CreateError::NotObtained(error) => error.into(),
            CreateError::NotVerified(_) => refused("connection_test_failed"),
            CreateError::Identity(_) => refused("invalid_certificate_or_key_format"),
            CreateError::IntegrationNotAllowed { .. } => refused("integration_not_allowed"),
            CreateError::IdGiven => Self::faults(
                "invalid_query_params",
                vec![Fault::new("custom", message, "connection_id")],
            ),
            CreateError::ConnectionGone { .. } => refused("invalid_connection"),
            CreateError::Refused(_) | CreateError::Overtaken { .. } => refused("connection_validation_failed"),
            CreateError::Interrupted => Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message),
        }
    }
}

impl From<NotObtained> for ApiError {
    fn from(error: NotObtained) -> Self {
        if error.error.is_outage() {
            return Self::outage(error);
        }
        let message = error.to_string();
        let code = match (NoCredentials::code_of(&error.error), error.mode) {
            ("server_error", _) => return Self::internal(error),
            (_, CredentialsType::OAuth2Cc) => match &error.error {
                RefreshError::MissingValue { name, .. } if name == "credentials.client_private_key" => {
                    "missing_client_private_key"
                }
                RefreshError::Jwt { .. } => "invalid_client_private_key_format",
                _ => "client_credentials_fetch_error",
            },
            ("refresh_token_external_error", CredentialsType::AwsSigV4) => {
                let code = "aws_sigv4_sts_request_failed";
                return Self::new(StatusCode::BAD_GATEWAY, code, message);
            }
            (_, CredentialsType::TwoStep) => "two_step_credentials_fetch_error",
            (_, CredentialsType::Signature) => "signature_token_generation_error",
            _ => "request_token_external_error",
        };
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

impl From<OAuthError> for ApiError {
    fn from(error: OAuthError) -> Self {
        let message = error.to_string();
        match error {
            OAuthError::Connections(error) => error.into(),
            OAuthError::NoCredentials { reason, .. } if reason.is_outage() => Self::outage(reason),
            OAuthError::NoCredentials { reason, .. } => {
                let status = match reason {
                    NoCredentials::Backoff { .. } | NoCredentials::Exhausted { .. } => StatusCode::FAILED_DEPENDENCY,
                    NoCredentials::Refresh(_) => StatusCode::BAD_REQUEST,
                };
                Self::new(status, reason.code(), message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::http::error::tests::rendered;

    fn unknown_connection() -> ConnectionsError {
        ConnectionsError::UnknownConnection {
            provider_config_key: "github".into(),
            connection_id: "nope".into(),
        }
    }

    fn raw(json: &str) -> Option<Box<RawValue>> {
        Some(RawValue::from_string(json.into()).unwrap())
    }

    #[tokio::test]
    async fn a_failed_run_in_its_own_words() {
        let error = RunError {
            code: "action_script_runtime_error".into(),
            message: "The action failed".into(),
            payload: raw(r#"{"code":42}"#),
            upstream: None,
        };
        assert_eq!(
            rendered(error.into()).await,
            r#"500 {"error":{"code":"action_script_runtime_error","message":"The action failed","payload":{"code":42}}}"#
        );
        let error = RunError {
            code: "script_http_error".into(),
            message: "not for the caller".into(),
            payload: raw(r#"{"error":"not found"}"#),
            upstream: raw(r#"{"status":404,"headers":{},"body":{"error":"not found"}}"#),
        };
        assert_eq!(
            rendered(error.into()).await,
            r#"424 {"error":{"code":"script_http_error","payload":{"error":"not found"},"upstream":{"status":404,"headers":{},"body":{"error":"not found"}}}}"#
        );
        let error = RunError {
            code: "function_runtime_timed_out".into(),
            message: "too slow".into(),
            payload: None,
            upstream: None,
        };
        assert_eq!(
            rendered(error.into()).await,
            r#"500 {"error":{"code":"function_runtime_timed_out","message":"too slow","payload":{}}}"#
        );
    }

    #[tokio::test]
    async fn input_that_does_not_fit() {
        let error = InvokeError::InvalidInput {
            function: "noop".into(),
            faults: vec!["/n: \"str\" is not of type \"number\"".into()],
        };
        assert_eq!(
            rendered(error.into()).await,
            r#"400 {"error":{"code":"invalid_action_input","message":"the input does not fit the schema of \"noop\": /n: \"str\" is not of type \"number\"","payload":[{"message":"/n: \"str\" is not of type \"number\""}]}}"#
        );
    }

    #[tokio::test]
    async fn a_full_line_is_a_429_that_says_when_to_come_back() {
        use axum::response::IntoResponse;
        let error = ProxyError::RateLimitQueueFull {
            of: "connection \"c1\"".into(),
            queue_max: 10,
            wait_ms: 1_200,
        };
        let response = ApiError::from(error).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "2");
        let error = ProxyError::RateLimited {
            of: "connection \"c1\"".into(),
            wait_ms: 90_000,
            budget_ms: 60_000,
        };
        assert_eq!(
            rendered(error.into()).await,
            r#"429 {"error":{"code":"rate_limited","message":"the provider's rate limit holds the requests of connection \"c1\" back for 90000 ms more, and this one may wait 60000 ms; ask again after that, or raise `limits.proxy_retry_wait_ms`"}}"#
        );
    }

    #[tokio::test]
    async fn the_proxy_has_codes_of_its_own() {
        assert_eq!(
            rendered(ProxyError::from(unknown_connection()).into()).await,
            r#"400 {"error":{"code":"server_error","message":"Failed to get connection: integration \"github\" has no connection \"nope\"; `GET /connections` lists them"}}"#
        );
        let error = ConnectionsError::UnknownIntegration {
            unique_key: "nope".into(),
        };
        assert_eq!(
            rendered(ProxyError::from(error).into()).await,
            r#"404 {"error":{"code":"unknown_provider_config","message":"there is no integration \"nope\" in this environment; `GET /integrations` lists them"}}"#
        );
    }
}
