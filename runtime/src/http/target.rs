//! The two headers that say for which connection a call is: `Provider-Config-Key` and `Connection-Id`.

use http::HeaderMap;

use super::error::ApiError;
use super::fault::Fault;
use super::names::{is_connection_id, is_provider_config_key};

/// The connection a call is for, as its headers name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetHeaders<'a> {
    pub provider_config_key: &'a str,
    pub connection_id: &'a str,
}

impl<'a> TargetHeaders<'a> {
    /// 400 `invalid_headers` unless both are there and well-formed.
    pub fn parse(headers: &'a HeaderMap) -> Result<Self, ApiError> {
        let mut faults = Vec::new();
        let target = Self::parse_into(headers, &mut faults);
        if faults.is_empty() {
            Ok(target)
        } else {
            Err(ApiError::faults("invalid_headers", faults))
        }
    }

    /// For routes with more headers to check: adds to `faults`.
    pub fn parse_into(headers: &'a HeaderMap, faults: &mut Vec<Fault>) -> Self {
        Self {
            provider_config_key: provider_config_key(headers, faults),
            connection_id: name(headers, "connection-id", "connection id", is_connection_id, faults),
        }
    }
}

/// The integration a call is for; a fault unless it is there and well-formed.
pub fn provider_config_key<'a>(headers: &'a HeaderMap, faults: &mut Vec<Fault>) -> &'a str {
    name(
        headers,
        "provider-config-key",
        "provider config key",
        is_provider_config_key,
        faults,
    )
}

fn name<'a>(
    headers: &'a HeaderMap,
    header: &'static str,
    what: &str,
    is_valid: fn(&str) -> bool,
    faults: &mut Vec<Fault>,
) -> &'a str {
    let Some(value) = headers.get(header) else {
        faults.push(Fault::missing(header));
        return "";
    };
    match value.to_str() {
        Ok(name) if is_valid(name) => name,
        Ok(_) | Err(_) => {
            faults.push(Fault::malformed_name(header, what));
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::http::error::tests::rendered;

    #[tokio::test]
    async fn both_are_needed() {
        assert_eq!(
            rendered(TargetHeaders::parse(&HeaderMap::new()).unwrap_err()).await,
            r#"400 {"error":{"code":"invalid_headers","errors":[{"code":"invalid_type","message":"Invalid input: expected string, received undefined","path":["provider-config-key"]},{"code":"invalid_type","message":"Invalid input: expected string, received undefined","path":["connection-id"]}]}}"#
        );
        let mut headers = HeaderMap::new();
        headers.insert("provider-config-key", HeaderValue::from_static("github"));
        headers.insert("connection-id", HeaderValue::from_static("a<b"));
        assert_eq!(
            rendered(TargetHeaders::parse(&headers).unwrap_err()).await,
            r#"400 {"error":{"code":"invalid_headers","errors":[{"code":"invalid_format","message":"Invalid input: this is no connection id","path":["connection-id"]}]}}"#
        );
    }
}
