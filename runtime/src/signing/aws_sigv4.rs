//! AWS Signature Version 4
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use jiff::Timestamp;
use percent_encoding::{percent_decode_str, percent_encode};
use sha2::{Digest as _, Sha256};

use super::oauth1::hmac_sha256;
use super::query::{VALUE, canonical, encoded_pairs};
use crate::credentials::AwsCredentials;

/// What stands for the digest of a body that is not signed; only S3 knows it.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// The key and what it is for.
#[derive(Clone, Copy)]
pub(crate) struct Signer<'a> {
    pub(crate) access_key_id: &'a str,
    pub(crate) secret_access_key: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    pub(crate) now_ms: i64,
}

/// What is signed of a request.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    /// Names in lower case, each once.
    pub(crate) headers: Vec<(&'a str, String)>,
    /// The body's digest.
    pub(crate) payload: String,
}

/// The body, as far as it can be signed.
#[derive(Clone, Copy)]
pub(crate) enum Payload<'a> {
    Bytes(&'a [u8]),
    /// Not in memory.
    Stream,
}

/// The body is a stream, and the service asks for its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PayloadNeeded;

/// Puts `x-amz-date`, `x-amz-content-sha256`, `x-amz-security-token` and `authorization` into the headers; gives the names
/// of those that hold credentials. The request must not change afterwards.
pub(crate) fn sign(
    aws: &AwsCredentials,
    now_ms: i64,
    method: &Method,
    uri: &Uri,
    payload: Payload<'_>,
    headers: &mut HeaderMap,
) -> Result<Vec<HeaderName>, PayloadNeeded> {
    let payload = match payload {
        Payload::Bytes(bytes) => hex(&Sha256::digest(bytes)),
        Payload::Stream if aws.service == "s3" => UNSIGNED_PAYLOAD.to_owned(),
        Payload::Stream => return Err(PayloadNeeded),
    };
    let mut names = vec![http::header::AUTHORIZATION];
    headers.remove(&SECURITY_TOKEN);
    headers.remove(&http::header::AUTHORIZATION);
    insert(headers, DATE, &amz_date(now_ms));
    insert(headers, CONTENT_SHA256, &payload);
    if let Some(token) = &aws.session_token {
        insert(headers, SECURITY_TOKEN, token.expose());
        names.push(SECURITY_TOKEN);
    }
    let signer = Signer {
        access_key_id: aws.access_key_id.expose(),
        secret_access_key: aws.secret_access_key.expose(),
        region: &aws.region,
        service: &aws.service,
        now_ms,
    };
    let signed = Signed {
        method,
        uri,
        headers: signed_headers(uri, headers),
        payload,
    };
    let authorization = signer.authorization(&signed);
    insert(headers, http::header::AUTHORIZATION, &authorization);
    Ok(names)
}

/// Signed are the host, what is about the body and `x-amz-…`: nothing that is changed on the way.
fn signed_headers<'h>(uri: &Uri, headers: &'h HeaderMap) -> Vec<(&'h str, String)> {
    const NAMES: [&str; 4] = ["content-md5", "content-type", "date", "range"];
    let mut signed = vec![("host", host(uri))];
    for name in headers.keys().map(HeaderName::as_str) {
        if NAMES.contains(&name) || name.starts_with("x-amz-") {
            let values: Vec<String> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect();
            signed.push((name, values.join(",")));
        }
    }
    signed
}

/// As the client sends it: with the port unless it is the scheme's.
pub(crate) fn host(uri: &Uri) -> String {
    uri.authority().map(ToString::to_string).unwrap_or_default()
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Keys that are no header text make a request without a signature, which AWS refuses.
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(name == SECURITY_TOKEN || name == http::header::AUTHORIZATION);
        headers.insert(name, value);
    }
}

impl Signer<'_> {
    pub(crate) fn authorization(&self, signed: &Signed<'_>) -> String {
        let date_time = amz_date(self.now_ms);
        let date = date_time.get(..8).unwrap_or_default();
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let (canonical, names) = self.canonical_request(signed);
        let digest = hex(&Sha256::digest(canonical));
        let string_to_sign = format!("AWS4-HMAC-SHA256\n{date_time}\n{scope}\n{digest}");
        let start = format!("AWS4{}", self.secret_access_key);
        let key = [date, self.region, self.service, "aws4_request"]
            .iter()
            .fold(start.into_bytes(), |key, part| hmac_sha256(&key, part.as_bytes()));
        let signature = hex(&hmac_sha256(&key, string_to_sign.as_bytes()));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id
        )
    }

    /// The canonical request, and the names of the headers in it.
    fn canonical_request(&self, signed: &Signed<'_>) -> (String, String) {
        let mut headers = signed.headers.clone();
        headers.sort();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let path = self.canonical_path(signed.uri.path());
        let query = canonical(encoded_pairs(signed.uri.query().unwrap_or_default()));
        let mut text = format!("{}\n{path}\n{query}\n", signed.method);
        for (name, value) in headers {
            let words: Vec<&str> = value.split_ascii_whitespace().collect();
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name}:{}", words.join(" "));
        }
        let _ = write!(text, "\n{names}\n{}", signed.payload);
        (text, names)
    }

    /// S3 takes the path as its keys are, every segment encoded once. The other services normalise it and encode what
    /// stands in the URL once more.
    fn canonical_path(&self, path: &str) -> String {
        if self.service == "s3" {
            let encode =
                |segment: &str| percent_encode(&percent_decode_str(segment).collect::<Vec<u8>>(), VALUE).to_string();
            return path.split('/').map(encode).collect::<Vec<_>>().join("/");
        }
        let mut segments: Vec<String> = Vec::new();
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                segment => segments.push(percent_encode(segment.as_bytes(), VALUE).to_string()),
            }
        }
        let ends_open = path.ends_with('/') && !segments.is_empty();
        format!("/{}{}", segments.join("/"), if ends_open { "/" } else { "" })
    }
}

/// `20150830T123600Z`
pub(crate) fn amz_date(now_ms: i64) -> String {
    let now = Timestamp::from_millisecond(now_ms).unwrap_or_default();
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests;
