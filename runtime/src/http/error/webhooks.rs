//! What is told of webhooks: of those that come from providers, and of those to the application.

use http::StatusCode;

use super::ApiError;
use crate::connections::ConnectionsError;
use crate::http::fault::Fault;
use crate::ingress::IngressError;
use crate::webhooks::WebhooksError;

/// When it is worth sending a webhook again that found the queue full.
const RETRY_AFTER_S: u64 = 1;

impl From<WebhooksError> for ApiError {
    fn from(error: WebhooksError) -> Self {
        let message = error.to_string();
        match error {
            WebhooksError::Invalid { field, message } => {
                Self::faults("invalid_body", vec![Fault::new("invalid_string", message, field)])
            }
            WebhooksError::Unknown { .. } | WebhooksError::EnvironmentGone => {
                Self::new(StatusCode::NOT_FOUND, "not_found", message)
            }
            WebhooksError::UnderWay { .. } | WebhooksError::KeysChanged => {
                Self::new(StatusCode::CONFLICT, "conflict", message)
            }
            WebhooksError::Stored { .. } => Self::internal(error),
            WebhooksError::Encryption(error) => error.into(),
            WebhooksError::Store(error) => error.into(),
        }
    }
}

impl From<IngressError> for ApiError {
    fn from(error: IngressError) -> Self {
        let message = error.to_string();
        let unauthorized = |code: &str, message: String| Self::new(StatusCode::UNAUTHORIZED, code, message);
        match error {
            IngressError::UnknownEnvironment { .. } => Self::new(StatusCode::NOT_FOUND, "unknown_environment", message),
            IngressError::UnknownAddress | IngressError::ConnectionNeeded => {
                Self::new(StatusCode::NOT_FOUND, "not_found", message)
            }
            IngressError::OtherSecret => Self::new(StatusCode::CONFLICT, "conflict", message),
            IngressError::MissingSignature { .. } => unauthorized("webhook_missing_signature", message),
            IngressError::MissingToken { .. } => unauthorized("webhook_missing_token", message),
            IngressError::InvalidSignature | IngressError::Stale { .. } => {
                unauthorized("webhook_invalid_signature", message)
            }
            IngressError::NoSecret | IngressError::UnusableSecret { .. } => {
                unauthorized("webhook_missing_secret", message)
            }
            IngressError::TooFast { retry_after_s, .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_request", message).retry_after(Some(retry_after_s))
            }
            IngressError::QueueFull { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_request", message).retry_after(Some(RETRY_AFTER_S))
            }
            IngressError::Installation(error) if error.is_outage() => Self::outage(error),
            IngressError::Installation(error) => Self::new(StatusCode::BAD_REQUEST, error.kind(), message),
            IngressError::Connections(ConnectionsError::UnknownIntegration { .. }) => {
                Self::new(StatusCode::NOT_FOUND, "unknown_provider_config", message)
            }
            IngressError::Connections(error) => error.into(),
            IngressError::Store(error) => error.into(),
        }
    }
}
