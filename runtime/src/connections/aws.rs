//! Roles of AWS: what the integration decides of them (`custom`: which service is signed for, where keys come from), and what of a
//! connection is completed with it. A customer gives no more than a role, and perhaps a region.

use serde_json::Value;

use super::{ConnectionsError, NewConnection, Target};
use crate::credentials::{Credentials, CredentialsType, Secret, lookup};
use crate::model::JsonObject;
use crate::provider::{AuthMode, Provider};

/// The header of an API key, unless `stsAuthHeader` says otherwise.
const AUTH_HEADER: &str = "x-api-key";

/// What is missing of a role, or of what its keys are asked for with. Codes are those of the public API. (Nango compatibility.)
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    #[error(
        "no service is given, which requests to AWS are signed for (`s3`); set `service` in the integration's `custom`"
    )]
    NoService,
    #[error("no region is given; give one as `region`, or set `defaultRegion` in the integration's `custom`")]
    NoRegion,
    #[error(
        "`stsMode` is `custom`, and `stsEndpointUrl` is not set; set it in the integration's `custom` to where keys are asked for"
    )]
    NoEndpoint,
    #[error(
        "the integration has no `awsAccessKeyId` and `awsSecretAccessKey`, which roles of AWS are assumed with; set them in its `custom`"
    )]
    NoKeys,
    #[error("{reason}; change the integration's `custom`")]
    Config { reason: &'static str },
}

impl AwsError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoService => "missing_aws_sigv4_service",
            Self::NoRegion => "missing_aws_sigv4_region",
            Self::NoEndpoint => "missing_aws_sigv4_sts_endpoint",
            Self::NoKeys => "missing_aws_sigv4_builtin_credentials",
            Self::Config { .. } => "invalid_aws_sigv4_config",
        }
    }
}

/// Where keys of roles come from.
#[derive(Debug)]
pub enum KeySource {
    /// AWS itself is asked with the integration's own keys.
    Sts {
        access_key_id: Secret<String>,
        secret_access_key: Secret<String>,
    },
    /// An endpoint of the integration's owner is asked, which has the keys.
    Endpoint { url: String, auth: EndpointAuth },
}

/// What an endpoint of one's own is shown.
#[derive(Debug)]
pub enum EndpointAuth {
    None,
    Header { name: String, value: Secret<String> },
    Basic { username: String, password: Secret<String> },
}

impl KeySource {
    /// Reads `custom` of an integration.
    ///
    /// # Errors
    /// [`AwsError`]: something that is needed is not there.
    pub fn of(custom: &JsonObject) -> Result<Self, AwsError> {
        let text = |name| {
            lookup(custom, name)
                .filter(|text| !text.is_empty())
                .map(std::borrow::Cow::into_owned)
        };
        match text("stsMode").as_deref() {
            None | Some("builtin") => {
                let keys = text("awsAccessKeyId").zip(text("awsSecretAccessKey"));
                let (access_key_id, secret_access_key) = keys.ok_or(AwsError::NoKeys)?;
                Ok(Self::Sts {
                    access_key_id: Secret::new(access_key_id),
                    secret_access_key: Secret::new(secret_access_key),
                })
            }
            Some("custom") => {
                let url = text("stsEndpointUrl").ok_or(AwsError::NoEndpoint)?;
                let auth = match text("stsAuthType").as_deref() {
                    None | Some("none") => EndpointAuth::None,
                    Some("api_key") => EndpointAuth::Header {
                        name: text("stsAuthHeader").unwrap_or_else(|| AUTH_HEADER.to_owned()),
                        value: Secret::new(text("stsApiKey").ok_or(AwsError::Config {
                            reason: "`stsAuthType` is `api_key`, and `stsApiKey` is not set",
                        })?),
                    },
                    Some("basic") => EndpointAuth::Basic {
                        username: text("stsAuthUsername").unwrap_or_default(),
                        password: Secret::new(text("stsAuthPassword").ok_or(AwsError::Config {
                            reason: "`stsAuthType` is `basic`, and `stsAuthPassword` is not set",
                        })?),
                    },
                    Some(_) => {
                        return Err(AwsError::Config {
                            reason: "`stsAuthType` is none of `none`, `api_key`, `basic`",
                        });
                    }
                };
                Ok(Self::Endpoint { url, auth })
            }
            Some(_) => Err(AwsError::Config {
                reason: "`stsMode` is neither `builtin` nor `custom`",
            }),
        }
    }
}

impl Target {
    /// What the trust policy of a role of AWS has as `sts:ExternalId`.
    #[must_use]
    pub fn external_id(&self) -> Option<&str> {
        match &self.credentials {
            Credentials::AwsSigV4(aws) => aws.external_id.as_deref(),
            _ => None,
        }
    }
}

/// Completes what is given for a role: service and region from the integration where the connection does not say them, and an
/// external id, `external_id()`, where there is none. Does nothing to credentials of another mode.
pub(super) fn complete(
    provider: &Provider,
    custom: &JsonObject,
    new: &mut NewConnection,
    external_id: impl FnOnce() -> String,
) -> Result<(), ConnectionsError> {
    let Value::Object(given) = &mut new.credentials else {
        return Ok(());
    };
    if provider.auth_mode != AuthMode::AwsSigV4 || given.get("type") != Some(&CredentialsType::AwsSigV4.name().into()) {
        return Ok(());
    }
    let config = &mut new.connection_config;
    for (name, in_custom) in [("service", "service"), ("region", "defaultRegion")] {
        let is_given = |value: &&Value| value.as_str() != Some("") && !value.is_null();
        let value = given
            .get(name)
            .filter(is_given)
            .or_else(|| config.get(name).filter(is_given));
        let value = value.or_else(|| custom.get(in_custom).filter(is_given)).cloned();
        let value = value.ok_or(match name {
            "service" => AwsError::NoService,
            _ => AwsError::NoRegion,
        })?;
        // Addresses are made of what the provider declares.
        if provider.fields("connection_config").any(|(field, _)| field == name) {
            config.insert(name.to_owned(), value.clone());
        }
        given.insert(name.to_owned(), value);
    }
    let is_there = |name: &str| given.get(name).is_some_and(|value| !value.is_null());
    if is_there("role_arn") {
        if !is_there("access_key_id") {
            KeySource::of(custom)?;
        }
        if !is_there("external_id") {
            given.insert("external_id".to_owned(), external_id().into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(custom: Value) -> Result<KeySource, &'static str> {
        let Value::Object(custom) = custom else {
            panic!("an object")
        };
        KeySource::of(&custom).map_err(|error| error.code())
    }

    #[test]
    fn what_is_missing_has_a_code() {
        let keys = json!({"awsAccessKeyId": "a", "awsSecretAccessKey": "b"});
        assert!(matches!(source(keys), Ok(KeySource::Sts { .. })));
        for (custom, code) in [
            (json!({}), "missing_aws_sigv4_builtin_credentials"),
            (json!({"awsAccessKeyId": "a"}), "missing_aws_sigv4_builtin_credentials"),
            (json!({"stsMode": "custom"}), "missing_aws_sigv4_sts_endpoint"),
            (json!({"stsMode": "other"}), "invalid_aws_sigv4_config"),
            (
                json!({"stsMode": "custom", "stsEndpointUrl": "https://a.test", "stsAuthType": "api_key"}),
                "invalid_aws_sigv4_config",
            ),
        ] {
            assert_eq!(source(custom).unwrap_err(), code);
        }
    }

    #[test]
    fn an_endpoint_is_shown_a_key_or_a_password() {
        let own = json!({"stsMode": "custom", "stsEndpointUrl": "https://a.test", "stsAuthType": "api_key", "stsApiKey": "secret-k"});
        let Ok(KeySource::Endpoint { auth, .. }) = source(own) else {
            panic!("an endpoint")
        };
        assert!(matches!(&auth, EndpointAuth::Header { name, .. } if name == "x-api-key"));
        assert!(!format!("{auth:?}").contains("secret-k"));
        let own = json!({"stsMode": "custom", "stsEndpointUrl": "https://a.test", "stsAuthType": "basic",
            "stsAuthUsername": "u", "stsAuthPassword": "p"});
        assert!(matches!(
            source(own),
            Ok(KeySource::Endpoint {
                auth: EndpointAuth::Basic { .. },
                ..
            })
        ));
    }
}
