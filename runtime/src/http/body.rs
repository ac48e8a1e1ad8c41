//! JSON in and out. Bodies are read whole, up to a limit and within a time, and parsed once; only a body that does not parse is looked
//! at a second time, to say where it is wrong. `/proxy` streams its bodies and does not use this.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::fault::Fault;

/// A client may take this long to send a body that is read whole.
pub const BODY_READ_TIMEOUT_MS: u64 = 60_000;

pub const JSON: &str = "application/json; charset=utf-8";

/// An answer of JSON.
pub fn json_response(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(json) => raw_json_response(status, json),
        Err(error) => axum::response::IntoResponse::into_response(ApiError::internal(error)),
    }
}

/// An answer of bytes that are JSON already.
pub fn raw_json_response(status: StatusCode, json: impl Into<Body>) -> Response {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// Reads a JSON body: 415 when the request says it is something else, 413 when it is larger than `body_bytes_max`.
pub async fn read_json(headers: &HeaderMap, body: Body, body_bytes_max: usize) -> Result<Bytes, ApiError> {
    require_media_type(headers, &["application/json"])?;
    read(body, body_bytes_max).await
}

/// 415 unless the request's media type is one of `accepted`.
pub fn require_media_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), ApiError> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if accepted
        .iter()
        .any(|accepted| media_type.eq_ignore_ascii_case(accepted))
    {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "invalid_content_type",
        format!("The Content-Type is {media_type:?}; send {}", accepted.join(" or ")),
    ))
}

/// Reads a body whole.
pub async fn read(body: Body, body_bytes_max: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!("The request body is larger than {body_bytes_max} bytes"),
        )
    };
    // A body that says beforehand that it is too large is not read at all.
    if body.size_hint().lower() > u64::try_from(body_bytes_max).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let timeout = Duration::from_millis(BODY_READ_TIMEOUT_MS);
    match tokio::time::timeout(timeout, Limited::new(body, body_bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "incomplete_body",
            "The connection ended in the middle of the request body",
        )),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            format!("The request body did not come within {BODY_READ_TIMEOUT_MS} ms"),
        )),
    }
}

/// Parses a JSON body: 400 `invalid_json` when it is no JSON, 400 `invalid_body` when it is not the JSON that is asked for.
pub fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(json).map_err(|error| {
        if error.is_data() {
            ApiError::faults("invalid_body", vec![fault::<T>(json, &error)])
        } else {
            ApiError::new(
                StatusCode::BAD_REQUEST,
                "invalid_json",
                format!("The request body is no JSON: {error}"),
            )
        }
    })
}

/// Says where it is wrong; serde's own error knows line and column only.
fn fault<'a, T: Deserialize<'a>>(json: &'a [u8], error: &serde_json::Error) -> Fault {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let mut path = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => Vec::new(),
        Err(located) => located
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                serde_path_to_error::Segment::Enum { variant } => Some(variant.clone()),
                serde_path_to_error::Segment::Unknown => None,
            })
            .collect(),
    };
    let message = error.to_string();
    if let Some(field) = message
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next())
    {
        path.push(field.to_owned());
    }
    let code = if message.starts_with("unknown field") {
        "unrecognized_keys"
    } else if message.starts_with("unknown variant") || message.starts_with("invalid value") {
        "invalid_value"
    } else {
        "invalid_type"
    };
    Fault { code, message, path }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[expect(dead_code, reason = "only its parsing is tested")]
        name: String,
        #[serde(default)]
        #[expect(dead_code, reason = "only its parsing is tested")]
        sizes: Vec<u8>,
    }

    async fn refusal(json: &str) -> String {
        rendered(parse::<Example>(json.as_bytes()).unwrap_err()).await
    }

    #[tokio::test]
    async fn says_what_is_wrong_and_where() {
        assert_eq!(
            refusal("{").await,
            r#"400 {"error":{"code":"invalid_json","message":"The request body is no JSON: EOF while parsing an object at line 1 column 1"}}"#
        );
        assert_eq!(
            refusal("{}").await,
            r#"400 {"error":{"code":"invalid_body","errors":[{"code":"invalid_type","message":"missing field `name` at line 1 column 2","path":["name"]}]}}"#
        );
        assert_eq!(
            refusal(r#"{"name":"a","sizes":[1,-2]}"#).await,
            r#"400 {"error":{"code":"invalid_body","errors":[{"code":"invalid_value","message":"invalid value: integer `-2`, expected u8 at line 1 column 25","path":["sizes","1"]}]}}"#
        );
        assert_eq!(
            refusal(r#"{"name":"a","size":1}"#).await,
            r#"400 {"error":{"code":"invalid_body","errors":[{"code":"unrecognized_keys","message":"unknown field `size`, expected `name` or `sizes` at line 1 column 18","path":["size"]}]}}"#
        );
    }

    #[tokio::test]
    async fn bodies_have_a_limit() {
        assert_eq!(read(Body::from("four"), 4).await.unwrap(), "four");
        let error = read(Body::from("fives"), 4).await.unwrap_err();
        assert_eq!(
            rendered(error).await,
            r#"413 {"error":{"code":"request_too_large","message":"The request body is larger than 4 bytes"}}"#
        );
        let unannounced = Body::from_stream(futures_util::stream::iter(
            ["four", "five"].map(Ok::<_, std::io::Error>),
        ));
        assert!(
            rendered(read(unannounced, 7).await.unwrap_err())
                .await
                .starts_with("413 ")
        );
    }

    #[tokio::test]
    async fn only_json_is_json() {
        let mut headers = HeaderMap::new();
        assert!(require_media_type(&headers, &["application/json"]).is_err());
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("Application/JSON; charset=utf-8"),
        );
        assert!(require_media_type(&headers, &["application/json"]).is_ok());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert_eq!(
            rendered(require_media_type(&headers, &["application/json"]).unwrap_err()).await,
            r#"415 {"error":{"code":"invalid_content_type","message":"The Content-Type is \"text/plain\"; send application/json"}}"#
        );
    }
}
