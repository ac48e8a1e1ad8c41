//! What is told of components that are not taken, and of deploys that need a word.

use http::StatusCode;

use super::{ApiError, ErrorDetails};
use crate::deploy::{CanaryError, DeployError, SignatureError};
use crate::executor::ComponentError;

impl From<ComponentError> for ApiError {
    fn from(error: ComponentError) -> Self {
        let message = error.to_string();
        match error {
            ComponentError::NotWasm(_)
            | ComponentError::CoreModule
            | ComponentError::ForeignImports { .. }
            | ComponentError::MissingExports { .. }
            | ComponentError::WrongTypes { .. }
            | ComponentError::Invalid { .. }
            | ComponentError::Describe { .. }
            | ComponentError::Manifest { .. } => Self::new(StatusCode::BAD_REQUEST, "invalid_component", message),
            ComponentError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message),
            ComponentError::Missing { .. } | ComponentError::Unavailable { .. } => Self::internal(error),
        }
    }
}

impl From<DeployError> for ApiError {
    fn from(error: DeployError) -> Self {
        let message = error.to_string();
        match error {
            DeployError::Of { error, .. } => Self::from(*error).with_message(message),
            DeployError::Component(error) => error.into(),
            DeployError::Manifest { .. } => Self::new(StatusCode::BAD_REQUEST, "invalid_manifest", message),
            DeployError::Signature(SignatureError::Missing) => {
                Self::new(StatusCode::FORBIDDEN, "component_not_signed", message)
            }
            DeployError::Signature(SignatureError::Wrong) => {
                Self::new(StatusCode::FORBIDDEN, "invalid_component_signature", message)
            }
            DeployError::TooMany { .. } => Self::new(StatusCode::BAD_REQUEST, "invalid_body", message),
            DeployError::Widened { gained } => {
                let details = ErrorDetails {
                    message: Some(message),
                    ..ErrorDetails::code("capabilities_widened").with_payload(&gained)
                };
                Self::from_details(StatusCode::CONFLICT, details)
            }
            DeployError::Destructive { losses } => {
                let details = ErrorDetails {
                    message: Some(message),
                    ..ErrorDetails::code("destructive_change").with_payload(&losses)
                };
                Self::from_details(StatusCode::CONFLICT, details)
            }
            DeployError::Capability(_) => Self::new(StatusCode::BAD_REQUEST, "unknown_capability", message),
            DeployError::Canary(CanaryError::Running { .. }) => {
                Self::new(StatusCode::CONFLICT, "canary_running", message)
            }
            DeployError::Canary(_) => Self::new(StatusCode::BAD_REQUEST, "invalid_canary", message),
            DeployError::Concurrent => Self::new(StatusCode::CONFLICT, "concurrent_deployment", message),
            DeployError::Connections(error) => error.into(),
            DeployError::Store(error) => error.into(),
        }
    }
}
