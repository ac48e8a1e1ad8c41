//! Keys of a role of AWS: an endpoint of the integration's owner gives them, or the integration's own keys sign a request for them, AssumeRole of the Security Token Service
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>). They end after an hour and are replaced before, as
//! tokens are.

mod own_endpoint;

use http::header::{self, HeaderMap};
use http::{Method, Uri};
use roxmltree::Document;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::RefreshError;
use super::answer::{REASON_CHARS_MAX, moment_ms};
use super::client::{RawAnswer, TokenClient};
use super::request::{FORM, TokenRequest, unsupported};
use super::values::{Moment, TokenValues};
use crate::connections::{KeySource, Target};
use crate::credentials::{AwsCredentials, Credentials, Secret};
use crate::model::JsonObject;
use crate::signing::aws_sigv4::{self, Payload};

/// Where the service is in each region, unless the provider's `token_url` says otherwise. The endpoint for all regions is not used: its
/// keys do not work in all of them.
const STS_URL: &str = "https://sts.${credentials.region}.amazonaws.com";
const VERSION: &str = "2011-06-15";
/// How long the keys live unless `token_expires_in_ms` says otherwise: what every role allows.
const LIFETIME_S: i64 = 3_600;
/// What AWS allows at all.
const LIFETIME_S_MIN: i64 = 900;
const LIFETIME_S_MAX: i64 = 43_200;

/// Fresh keys of the connection's role.
pub(super) async fn obtain(client: &TokenClient, target: &Target, moment: Moment) -> Result<Credentials, RefreshError> {
    let Credentials::AwsSigV4(aws) = &target.credentials else {
        return Err(unsupported(target, "credentials of another mode"));
    };
    let Some(role_arn) = &aws.role_arn else {
        return Err(unsupported(target, "keys that are no role's"));
    };
    match KeySource::of(&target.integration_config)? {
        KeySource::Sts {
            access_key_id,
            secret_access_key,
        } => {
            let signer = AwsCredentials {
                region: aws.region.clone(),
                service: "sts".to_owned(),
                access_key_id,
                secret_access_key,
                session_token: None,
                expires_at_ms: None,
                role_arn: None,
                external_id: None,
                raw: Secret::new(JsonObject::new()),
            };
            let request = build(target, aws, role_arn, &signer, moment)?;
            credentials(aws, &client.send_raw(request).await?, moment)
        }
        KeySource::Endpoint { url, auth } => own_endpoint::obtain(client, target, aws, (&url, &auth), moment).await,
    }
}

/// The signed request. Pure.
fn build(
    target: &Target,
    aws: &AwsCredentials,
    role_arn: &str,
    signer: &AwsCredentials,
    moment: Moment,
) -> Result<TokenRequest, RefreshError> {
    let values = TokenValues::new(target, moment);
    let entry = &target.provider.json;
    let url = if entry.get("token_url").is_some_and(Value::is_string) {
        values.url(entry, "token_url")?
    } else {
        values.url(&json!({ "token_url": STS_URL }), "token_url")?
    };
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", "AssumeRole")
        .append_pair("Version", VERSION)
        .append_pair("RoleArn", role_arn)
        // What CloudTrail shows of the caller.
        .append_pair("RoleSessionName", &format!("nango-{}", target.connection.key))
        .append_pair("DurationSeconds", &lifetime_s(target).to_string());
    if let Some(external_id) = &aws.external_id {
        form.append_pair("ExternalId", external_id);
    }
    let body = Secret::new(form.finish());
    let uri: Uri = url
        .as_str()
        .parse()
        .map_err(|error: http::uri::InvalidUri| RefreshError::Url {
            provider: target.provider.name.clone(),
            key: "token_url",
            reason: error.to_string(),
        })?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, FORM);
    let payload = Payload::Bytes(body.expose().as_bytes());
    // Only a body that is a stream cannot be signed.
    aws_sigv4::sign(signer, moment.now_ms, &Method::POST, &uri, payload, &mut headers)
        .map_err(|aws_sigv4::PayloadNeeded| unsupported(target, "a body that is not there"))?;
    Ok(TokenRequest {
        method: Method::POST,
        url,
        headers,
        body,
    })
}

fn lifetime_s(target: &Target) -> i64 {
    let given_ms = target.provider.json.get("token_expires_in_ms").and_then(Value::as_i64);
    given_ms.map_or(LIFETIME_S, |given_ms| {
        (given_ms / 1_000).clamp(LIFETIME_S_MIN, LIFETIME_S_MAX)
    })
}

/// The keys of the answer in the place of `aws`'s. Pure.
fn credentials(aws: &AwsCredentials, answer: &RawAnswer, moment: Moment) -> Result<Credentials, RefreshError> {
    let text = std::str::from_utf8(answer.body.expose()).unwrap_or_default();
    let document = Document::parse(text).ok();
    let element = |name: &str| {
        let mut nodes = document.as_ref()?.descendants();
        let node = nodes.find(|node| node.is_element() && node.tag_name().name() == name)?;
        node.text().map(str::trim).filter(|text| !text.is_empty())
    };
    if !answer.status.is_success() {
        let told = |name| element(name).map(|text| text.chars().take(REASON_CHARS_MAX).collect());
        return Err(RefreshError::Status {
            host: answer.host.clone(),
            status: answer.status.as_u16(),
            error: told("Code"),
            description: told("Message"),
        });
    }
    let needed = |name: &str| {
        element(name).ok_or_else(|| RefreshError::NotXml {
            host: answer.host.clone(),
        })
    };
    let mut raw = Map::new();
    if let Some(arn) = element("Arn") {
        raw.insert("assumed_role_arn".to_owned(), arn.into());
    }
    let expires_at_ms = moment_ms(&needed("Expiration")?.into(), moment.now_ms);
    Ok(Credentials::AwsSigV4(Box::new(AwsCredentials {
        access_key_id: Secret::new(needed("AccessKeyId")?.to_owned()),
        secret_access_key: Secret::new(needed("SecretAccessKey")?.to_owned()),
        session_token: Some(Secret::new(needed("SessionToken")?.to_owned())),
        expires_at_ms: Some(expires_at_ms.ok_or_else(|| RefreshError::NotXml {
            host: answer.host.clone(),
        })?),
        raw: Secret::new(raw),
        ..aws.clone()
    })))
}

#[cfg(test)]
mod tests;
