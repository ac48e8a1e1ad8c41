//! TWO_STEP: what the user gave is exchanged for a token by a request, or several, that the provider's data describe; and so
//! it is renewed, unless there is a refresh token and `refresh_token_params` say what it is good for.

use http::Method;
use http::header::{self, HeaderMap};
use serde_json::Value;

use super::answer::{expires_at_ms_of_jwt, refusal};
use super::client::{Answer, TokenClient};
use super::request::{FORM, JSON, TokenRequest, XML, form, unsupported};
use super::token_response::{self, End};
use super::values::{ASSERTION_OPTION, Moment, TokenValues, header_map, text};
use super::{RefreshError, minted, xml};
use crate::connections::Target;
use crate::credentials::{Credentials, Secret, SessionKind};
use crate::model::JsonObject;

/// Requests after the first.
const ADDITIONAL_STEPS_MAX: usize = 8;
/// What templates call an assertion.
const ASSERTION: &str = "credentials.assertion";

/// Where one request is described: the provider's entry, one of its `additional_steps`, or its keys for refreshing.
struct Step<'e> {
    entry: &'e Value,
    url: &'static str,
    params: &'static str,
    headers: &'static str,
}

impl<'e> Step<'e> {
    fn new(entry: &'e Value) -> Self {
        Self {
            entry,
            url: "token_url",
            params: "token_params",
            headers: "token_headers",
        }
    }

    fn refresh(entry: &'e Value) -> Self {
        Self {
            entry,
            url: if entry.get("refresh_url").is_some_and(Value::is_string) {
                "refresh_url"
            } else {
                "token_url"
            },
            params: "refresh_token_params",
            headers: "refresh_token_headers",
        }
    }
}

/// The credentials in the place of `target`'s, with a fresh token.
pub(super) async fn obtain(client: &TokenClient, target: &Target, moment: Moment) -> Result<Credentials, RefreshError> {
    let entry = &target.provider.json;
    let mut values = signed(target, moment)?;
    if can_use_refresh_token(target) {
        let request = build(&values, &Step::refresh(entry))?;
        match client.send(request).await {
            // The refresh token has ended, or was taken back: from the start then.
            Err(RefreshError::Status { status: 400..=403, .. }) => {}
            answer => return credentials(&values, &answer?),
        }
    }
    let mut answer = client.send(build(&values, &Step::new(entry))?).await?;
    let additional = entry.get("additional_steps").and_then(Value::as_array);
    for step in additional.into_iter().flatten().take(ADDITIONAL_STEPS_MAX) {
        values.answers.push(answer.object);
        answer = client.send(build(&values, &Step::new(step))?).await?;
    }
    credentials(&values, &answer)
}

/// The values of a login, with what is signed for it: a JWT that is `${token}` (`signature`), and an `assertion`.
fn signed(target: &Target, moment: Moment) -> Result<TokenValues<'_>, RefreshError> {
    let mut values = TokenValues::new(target, moment);
    if target.provider.json.get("signature").is_some() {
        values.signed.push(("token", minted::jwt(target, moment)?.token));
    }
    if let Some(assertion) = minted::assertion(target, moment)? {
        values.signed.push((ASSERTION, assertion));
    }
    Ok(values)
}

fn can_use_refresh_token(target: &Target) -> bool {
    target
        .provider
        .json
        .get("refresh_token_params")
        .is_some_and(Value::is_object)
        && target
            .credentials
            .variable("refresh_token")
            .is_some_and(|token| !token.is_empty())
}

/// As `values` have it. Parameters and headers whose values are missing are left out. Pure.
fn build(values: &TokenValues<'_>, step: &Step<'_>) -> Result<TokenRequest, RefreshError> {
    let mut url = values.url(step.entry, step.url)?;
    let parameters = values.object(step.entry, step.params)?;
    let mut headers = header_map(&values.object(step.entry, step.headers)?)?;
    let word = |key: &str| step.entry.get(key).and_then(Value::as_str);
    let method = match word("token_request_method") {
        None | Some("POST") => Method::POST,
        Some("GET") => Method::GET,
        Some(other) => {
            return Err(unsupported(values.target, &format!("`token_request_method: {other}`")));
        }
    };
    let body = match word("body_format") {
        _ if method == Method::GET => {
            if !parameters.is_empty() {
                let mut query = url.query_pairs_mut();
                for (name, value) in &parameters {
                    query.append_pair(name, &text(value));
                }
            }
            String::new()
        }
        None | Some("json") => {
            headers.entry(header::CONTENT_TYPE).or_insert(JSON);
            Value::Object(parameters).to_string()
        }
        Some("form") => {
            headers.entry(header::CONTENT_TYPE).or_insert(FORM);
            form(&parameters)
        }
        Some("xml") => {
            headers.entry(header::CONTENT_TYPE).or_insert(XML);
            let order = step
                .entry
                .get(format!("{}_order", step.params))
                .and_then(Value::as_array);
            let order: Vec<&str> = order.into_iter().flatten().filter_map(Value::as_str).collect();
            xml::document(&parameters, &order).map_err(|source| RefreshError::Xml {
                provider: values.target.provider.name.clone(),
                key: step.params,
                source,
            })?
        }
        Some(other) => return Err(unsupported(values.target, &format!("`body_format: {other}`"))),
    };
    Ok(TokenRequest {
        method,
        url,
        headers,
        body: Secret::new(body),
    })
}

/// The user's fields with what the last answer says. Pure.
fn credentials(values: &TokenValues<'_>, answer: &Answer) -> Result<Credentials, RefreshError> {
    let (target, moment) = (values.target, values.moment);
    let Credentials::Session { fields, .. } = &target.credentials else {
        return Err(unsupported(target, "credentials of another mode"));
    };
    let object = answer.object.expose();
    let at = |key: &str| token_response::text(target, object, key);
    let token = Secret::new(at("token").ok_or_else(|| refusal(object))?);
    let refresh_token = at("refresh_token");
    let mut fields = JsonObject::clone(fields.expose());
    // What it was signed with is not kept; the assertion is, which the next token is asked for with.
    if fields.remove(ASSERTION_OPTION).is_some()
        && let Some((_, assertion)) = values.signed.iter().find(|(name, _)| *name == ASSERTION)
    {
        fields.insert("assertion".to_owned(), assertion.expose().as_str().into());
    }
    if let Some(refresh_token) = &refresh_token {
        fields.insert("refresh_token".to_owned(), refresh_token.as_str().into());
    }
    let expires_at_ms = match token_response::end(target, object, moment.now_ms) {
        End::At(at_ms) => Some(at_ms),
        End::Never => None,
        End::NotSaid => {
            expires_at_ms_of_jwt(token.expose()).or_else(|| token_response::fixed_end_ms(target, moment.now_ms))
        }
    };
    let cookies = cookies(target, &answer.headers);
    if !cookies.is_empty() {
        fields.insert("_cookies".to_owned(), cookies.into());
    }
    fields.insert("raw".to_owned(), Value::Object(object.clone()));
    Ok(Credentials::Session {
        kind: SessionKind::TwoStep,
        token: Some(token),
        expires_at_ms,
        fields: Secret::new(fields),
    })
}

/// What a browser would send back, where the provider wants it: `token_response_headers` with `set-cookie`.
fn cookies(target: &Target, headers: &HeaderMap) -> String {
    let wanted = target
        .provider
        .json
        .get("token_response_headers")
        .and_then(Value::as_array);
    let is_wanted = |name: &Value| {
        name.as_str()
            .is_some_and(|name| name.eq_ignore_ascii_case("set-cookie"))
    };
    if !wanted.is_some_and(|names| names.iter().any(is_wanted)) {
        return String::new();
    }
    let cookies = headers.get_all(header::SET_COOKIE).iter().filter_map(|cookie| {
        let pair = cookie.to_str().ok()?.split(';').next()?.trim();
        pair.contains('=').then_some(pair)
    });
    cookies.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
