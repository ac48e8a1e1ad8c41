//! How every failure leaves the API. Expected failures carry a code a client can match on and a message a person can act on. The
//! unexpected ones leave as `generic_error_support` with the id of the request; what happened goes to the log only.

mod deploying;
mod mapping;
mod webhooks;

use std::error::Error;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::body::{JSON, json_response};
use super::fault::Fault;

/// An answer that is no success.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    body: ErrorBody,
    /// For the header `Retry-After`.
    retry_after_s: Option<u64>,
}

#[derive(Debug)]
enum ErrorBody {
    Envelope(Box<ErrorDetails>),
    /// The shape of network failures of the proxy, which has no envelope.
    Network(NetworkFailure),
    /// Told to nobody but the log.
    Internal(Arc<dyn Error + Send + Sync>),
}

/// Every error of the API but network failures of `/proxy`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorEnvelope {
    pub error: ErrorDetails,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetails {
    /// Stable; match on this.
    pub code: String,
    /// For people; may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What a function gave along, or more about the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Box<RawValue>>,
    /// What is wrong with the request, item by item.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// Of `script_http_error`: status, headers and body of the upstream's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub upstream: Option<Box<RawValue>>,
}

/// No answer came from the upstream.
#[derive(Debug, Serialize, ToSchema)]
pub struct NetworkFailure {
    pub message: String,
    /// For example `ECONNREFUSED`.
    pub code: &'static str,
    /// Of the request, in lower case.
    pub method: String,
}

/// Travels on the response to [`super::edge`], which knows the request id and answers and logs with it.
#[derive(Clone, Debug)]
pub struct InternalFailure(pub Arc<dyn Error + Send + Sync>);

impl ApiError {
    pub fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::from_details(
            status,
            ErrorDetails {
                message: Some(message.into()),
                ..ErrorDetails::code(code)
            },
        )
    }

    pub fn from_details(status: StatusCode, details: ErrorDetails) -> Self {
        Self {
            status,
            body: ErrorBody::Envelope(Box::new(details)),
            retry_after_s: None,
        }
    }

    /// A request with these faults; `code` says in which part: `invalid_body`, `invalid_headers`, `invalid_query_params`.
    pub fn faults(code: &'static str, errors: Vec<Fault>) -> Self {
        Self::from_details(
            StatusCode::BAD_REQUEST,
            ErrorDetails {
                errors,
                ..ErrorDetails::code(code)
            },
        )
    }

    pub fn network(failure: NetworkFailure) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            body: ErrorBody::Network(failure),
            retry_after_s: None,
        }
    }

    pub fn internal(error: impl Error + Send + Sync + 'static) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            body: ErrorBody::Internal(Arc::new(error)),
            retry_after_s: None,
        }
    }
}

impl ApiError {
    /// Says when it is worth asking again.
    pub fn with_message(mut self, message: String) -> Self {
        // What is told to nobody stays so.
        if let ErrorBody::Envelope(details) = &mut self.body {
            details.message = Some(message);
        }
        self
    }

    #[must_use]
    pub fn retry_after(self, retry_after_s: Option<u64>) -> Self {
        Self { retry_after_s, ..self }
    }
}

impl ErrorDetails {
    pub fn code(code: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: None,
            payload: None,
            errors: Vec::new(),
            upstream: None,
        }
    }

    /// Adds a payload.
    pub fn with_payload(mut self, payload: &impl Serialize) -> Self {
        self.payload = serde_json::value::to_raw_value(payload).ok();
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            ErrorBody::Envelope(error) => json_response(self.status, &ErrorEnvelope { error: *error }),
            ErrorBody::Network(failure) => json_response(self.status, &failure),
            ErrorBody::Internal(error) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = self.status;
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
                response.extensions_mut().insert(InternalFailure(error));
                response
            }
        };
        if let Some(retry_after_s) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
        }
        response
    }
}

#[cfg(test)]
pub mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// Status and body in one line.
    pub async fn rendered(error: ApiError) -> String {
        let response = error.into_response();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        format!("{status} {}", String::from_utf8_lossy(&body))
    }

    #[tokio::test]
    async fn network_failures_have_no_envelope() {
        let failure = NetworkFailure {
            message: "connection refused".into(),
            code: "ECONNREFUSED",
            method: "get".into(),
        };
        assert_eq!(
            rendered(ApiError::network(failure)).await,
            r#"500 {"message":"connection refused","code":"ECONNREFUSED","method":"get"}"#
        );
    }

    #[tokio::test]
    async fn internals_stay_inside() {
        let response = ApiError::internal(std::io::Error::other("a secret place")).into_response();
        assert!(response.extensions().get::<InternalFailure>().is_some());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty(), "the edge writes the body");
    }
}
