//! Who calls: the bearer key. Handlers take a [`Key`], which names the scope that the call needs; only `/health`,
//! `/health/ready` and `/openapi.json` go without. What else a key is limited to, its [`Caller`] knows.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};

use super::error::{ApiError, ErrorDetails};
use crate::model::Scope;
use crate::runtime::{Caller, Runtime};

/// A scope as a type, see [`need`].
pub trait Need: Send {
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($scope:ident)*) => {
        /// Every scope as a type: a handler cannot learn for whom it is called without one.
        pub mod need {
            $(
                pub struct $scope;

                impl super::Need for $scope {
                    const SCOPE: super::Scope = super::Scope::$scope;
                }
            )*
        }
    };
}

needs! {
    Proxy ActionsExecute SyncsExecute SyncsRead RecordsRead RecordsWrite
    ConnectionsList ConnectionsRead ConnectionsCreate ConnectionsUpdate ConnectionsDelete
    ConnectSessionsWrite
    IntegrationsList IntegrationsListFunctions IntegrationsRead IntegrationsCreate IntegrationsUpdate IntegrationsDelete
    FunctionsList FunctionsRead FunctionsDryRun RunsReplay Deploy LogsRead AuditRead VariablesRead VariablesWrite ProvidersRead MetricsRead
    ApiKeysList ApiKeysCreate ApiKeysDelete EncryptionKeysRead EncryptionKeysRotate
    WebhooksRead WebhooksUpdate WebhooksResend WebhookSigningKeyRead WebhookSigningKeyRotate
}

/// A request with a valid key that has the scope `N`.
pub struct Key<N: Need>(pub Caller, pub PhantomData<N>);

impl<N: Need> FromRequestParts<Runtime> for Key<N> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, runtime: &Runtime) -> Result<Self, ApiError> {
        let key = bearer_key(&parts.headers)?;
        let caller = runtime.authenticate(key).ok_or_else(|| {
            unauthorized(
                "unknown_account",
                "The secret key belongs to no environment of this server.",
            )
        })?;
        caller.require(N::SCOPE)?;
        Ok(Self(caller, PhantomData))
    }
}

/// The key of a request, well-formed: a UUID of version 4.
fn bearer_key(headers: &HeaderMap) -> Result<&str, ApiError> {
    let header = headers
        .get(header::AUTHORIZATION)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| unauthorized("missing_auth_header", "The request has no Authorization header."))?;
    let key = header
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| key.trim())
        .ok_or_else(|| {
            unauthorized(
                "malformed_auth_header",
                "The Authorization header is not of the form `Bearer <secret key>`.",
            )
        })?;
    if is_uuid_v4(key) {
        Ok(key)
    } else {
        Err(unauthorized(
            "invalid_secret_key_format",
            "The secret key is not a UUID v4.",
        ))
    }
}

/// Only the common spelling with four hyphens.
fn is_uuid_v4(key: &str) -> bool {
    key.len() == 36 && uuid::Uuid::try_parse(key).is_ok_and(|uuid| uuid.get_version_num() == 4)
}

pub(super) fn unauthorized(code: &str, reason: &str) -> ApiError {
    let details = ErrorDetails {
        message: Some(format!("Authentication failed. {reason}")),
        ..ErrorDetails::code(code).with_payload(&serde_json::Map::new())
    };
    ApiError::from_details(StatusCode::UNAUTHORIZED, details)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::http::error::tests::rendered;

    async fn check(authorization: Option<&str>, expected: &str) {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        match bearer_key(&headers) {
            Ok(key) => assert_eq!(key, expected),
            Err(error) => assert_eq!(rendered(error).await, expected),
        }
    }

    #[tokio::test]
    async fn keys_in_every_shape() {
        let missing = r#"401 {"error":{"code":"missing_auth_header","message":"Authentication failed. The request has no Authorization header.","payload":{}}}"#;
        let malformed = r#"401 {"error":{"code":"malformed_auth_header","message":"Authentication failed. The Authorization header is not of the form `Bearer <secret key>`.","payload":{}}}"#;
        let no_uuid = r#"401 {"error":{"code":"invalid_secret_key_format","message":"Authentication failed. The secret key is not a UUID v4.","payload":{}}}"#;
        check(None, missing).await;
        check(Some(""), missing).await;
        check(Some("Basic Zm9vOmJhcg=="), malformed).await;
        check(Some("13af84fa-536e-4181-953b-118bd1dc72f8"), malformed).await;
        check(Some("Bearer foo"), no_uuid).await;
        check(Some("Bearer "), no_uuid).await;
        check(Some("Bearer 13af84fa-536e-1181-953b-118bd1dc72f8"), no_uuid).await;
        check(Some("Bearer 13af84fa536e4181953b118bd1dc72f8"), no_uuid).await;
        let key = "13af84fa-536e-4181-953b-118bd1dc72f8";
        check(Some(&format!("bearer {key}")), key).await;
    }
}
