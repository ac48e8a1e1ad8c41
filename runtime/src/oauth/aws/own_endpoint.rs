//! Keys of a role from an endpoint that the integration's owner runs: it holds the keys that roles are assumed with, so that this
//! process need not. It is asked with a JSON object and answers with one. (Nango compatibility.)

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use url::Url;

use super::super::RefreshError;
use super::super::answer::{moment_ms, refusal};
use super::super::client::TokenClient;
use super::super::request::{JSON, TokenRequest, authorize};
use super::super::values::Moment;
use crate::connections::{EndpointAuth, Target};
use crate::credentials::{AwsCredentials, Credentials, Secret};
use crate::model::JsonObject;

/// How long keys live whose end the endpoint does not say.
const LIFETIME_MS: i64 = 60 * 60 * 1_000;

pub(super) async fn obtain(
    client: &TokenClient,
    target: &Target,
    aws: &AwsCredentials,
    (url, auth): (&str, &EndpointAuth),
    moment: Moment,
) -> Result<Credentials, RefreshError> {
    let answer = client.send(build(target, aws, url, auth)?).await?;
    credentials(aws, answer.object.expose(), moment)
}

fn build(target: &Target, aws: &AwsCredentials, url: &str, auth: &EndpointAuth) -> Result<TokenRequest, RefreshError> {
    let url = Url::parse(url).map_err(|error| RefreshError::Url {
        provider: target.provider.name.clone(),
        key: "stsEndpointUrl",
        reason: error.to_string(),
    })?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::ACCEPT, JSON);
    match auth {
        EndpointAuth::None => {}
        EndpointAuth::Header { name, value } => {
            let invalid = || RefreshError::Header { name: name.clone() };
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| invalid())?;
            value.set_sensitive(true);
            headers.insert(parsed, value);
        }
        EndpointAuth::Basic { username, password } => authorize(&mut headers, username, password.expose())?,
    }
    let body = json!({
        "role_arn": aws.role_arn, "external_id": aws.external_id, "region": aws.region, "service": aws.service,
    });
    Ok(TokenRequest {
        method: Method::POST,
        url,
        headers,
        body: Secret::new(body.to_string()),
    })
}

/// The keys of the answer, or of `credentials` in it, in the place of `aws`'s. Pure.
fn credentials(aws: &AwsCredentials, answer: &JsonObject, moment: Moment) -> Result<Credentials, RefreshError> {
    let keys = answer.get("credentials").and_then(Value::as_object).unwrap_or(answer);
    let word = |names: [&str; 2]| {
        let mut values = names.iter().filter_map(|name| keys.get(*name)?.as_str());
        values.find(|text| !text.is_empty()).map(str::to_owned)
    };
    let needed = |names| word(names).map(Secret::new).ok_or_else(|| refusal(answer));
    let ends = ["expiresAt", "expires_at", "expiration"]
        .iter()
        .find_map(|name| keys.get(*name));
    let expires_at_ms = match ends {
        Some(at) => moment_ms(at, moment.now_ms).ok_or_else(|| refusal(answer))?,
        None => moment.now_ms.saturating_add(LIFETIME_MS),
    };
    Ok(Credentials::AwsSigV4(Box::new(AwsCredentials {
        access_key_id: needed(["accessKeyId", "access_key_id"])?,
        secret_access_key: needed(["secretAccessKey", "secret_access_key"])?,
        session_token: Some(needed(["sessionToken", "session_token"])?),
        expires_at_ms: Some(expires_at_ms),
        raw: Secret::new(Map::new()),
        ..aws.clone()
    })))
}
