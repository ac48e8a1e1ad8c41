//! How every failure leaves the API. Expected failures carry a code a client can match on and a message a person can act on. The
//! unexpected ones leave as `generic_error_support` with the id of the request; what happened goes to the log only. So it does where the
//! database is away or full, which is nobody's mistake and passes: `database_unavailable`, worth asking again.

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

/// When it is worth asking again, where the database is away or full.
const OUTAGE_RETRY_AFTER_S: u64 = 5;

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
    /// The database is at fault; how, is told to nobody but the log.
    Outage(Arc<dyn Error + Send + Sync>),
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

/// The same of a database that does not answer, or takes nothing; the answer to the client is there.
#[derive(Clone, Debug)]
pub struct DatabaseOutage(pub Arc<dyn Error + Send + Sync>);

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

    /// The database cannot be reached or written at the moment, for which neither the request nor this program is to blame.
    pub fn outage(error: impl Error + Send + Sync + 'static) -> Self {
        Self {
            body: ErrorBody::Outage(Arc::new(error)),
            ..Self::known_outage()
        }
    }

    /// The same, of which the log knows already.
    pub fn known_outage() -> Self {
        Self::from_details(StatusCode::SERVICE_UNAVAILABLE, ErrorDetails::outage())
            .retry_after(Some(OUTAGE_RETRY_AFTER_S))
    }
}

impl ApiError {
    pub fn with_message(mut self, message: String) -> Self {
        // What is told to nobody stays so.
        if let ErrorBody::Envelope(details) = &mut self.body {
            details.message = Some(message);
        }
        self
    }

    /// Says when it is worth asking again.
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

    fn outage() -> Self {
        let message = "The server's database cannot be reached or written at the moment; ask again in a few seconds";
        Self {
            message: Some(message.to_owned()),
            ..Self::code("database_unavailable")
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
            ErrorBody::Outage(cause) => {
                let error = ErrorDetails::outage();
                let mut response = json_response(self.status, &ErrorEnvelope { error });
                response.extensions_mut().insert(DatabaseOutage(cause));
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
    async fn an_outage_says_when_to_ask_again_and_not_what_it_is() {
        let error = ApiError::outage(std::io::Error::other("a secret place"));
        let response = error.with_message("a secret message".to_owned()).into_response();
        assert!(response.extensions().get::<DatabaseOutage>().is_some());
        assert_eq!(response.headers()["retry-after"], "5");
        let told = rendered(ApiError::outage(std::io::Error::other("a secret place"))).await;
        assert_eq!(
            told,
            r#"503 {"error":{"code":"database_unavailable","message":"The server's database cannot be reached or written at the moment; ask again in a few seconds"}}"#
        );
        assert_eq!(rendered(ApiError::known_outage()).await, told);
    }

    #[tokio::test]
    async fn the_database_away_is_an_outage_wherever_it_shows() {
        use crate::authorize::FlowError;
        use crate::connections::ConnectionsError;
        use crate::credentials::CredentialsType;
        use crate::ingress::IngressError;
        use crate::oauth::{NoCredentials, NotObtained, OAuthError, RefreshError};
        use crate::proxy::ProxyError;
        use crate::store::StoreError;

        let away = || StoreError::NoAnswer { timeout_ms: 1 };
        let of_connections = || ConnectionsError::Store(away());
        let no_credentials = || OAuthError::NoCredentials {
            provider_config_key: "github".into(),
            connection_id: "c".into(),
            reason: NoCredentials::Refresh(Arc::new(RefreshError::Store(away()))),
        };
        let not_obtained = || NotObtained {
            provider_config_key: "github".into(),
            mode: CredentialsType::OAuth2Cc,
            error: RefreshError::Connections(of_connections()),
        };
        for error in [
            away().into(),
            of_connections().into(),
            ProxyError::from(of_connections()).into(),
            no_credentials().into(),
            ProxyError::from(no_credentials()).into(),
            not_obtained().into(),
            IngressError::Installation(Box::new(FlowError::from(not_obtained()))).into(),
        ] {
            let told = rendered(error).await;
            assert!(
                told.starts_with(r#"503 {"error":{"code":"database_unavailable""#),
                "{told}"
            );
        }
        let inconsistent = StoreError::Inconsistent {
            table: "syncs",
            column: "state",
            row: "syn_1".to_owned(),
            source: "it is \"odd\"".into(),
        };
        let response = ApiError::from(inconsistent).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn internals_stay_inside() {
        let response = ApiError::internal(std::io::Error::other("a secret place")).into_response();
        assert!(response.extensions().get::<InternalFailure>().is_some());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.is_empty(), "the edge writes the body");
    }
}
