//! What a token endpoint answers, made into credentials. Pure. RFC 6749, section 5, and the differences between providers that
//! the schema of the catalogue knows.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::token_response::{self, End};
use super::{RefreshError, values};
use crate::connections::Target;
use crate::credentials::{Credentials, Secret};
use crate::model::JsonObject;

/// How long client credentials' tokens are taken to live when nobody says. (Nango compatibility.)
const CLIENT_CREDENTIALS_LIFETIME_MS: i64 = 55 * 60 * 1_000;

/// Numbers above this are milliseconds, not seconds: as milliseconds it is in 1971, as seconds in the year 2969.
const EPOCH_SECONDS_MAX: f64 = 31_536_000_000.0;

/// A token that lives longer than this is one that somebody gave a nonsensical lifetime: a thousand years.
const LIFETIME_MS_MAX: f64 = 31_557_600_000_000.0;

/// The fresh credentials in the place of `target`'s. `answer` is the JSON that came with a 2xx.
pub(super) fn credentials(
    target: &Target,
    answer: Secret<JsonObject>,
    now_ms: i64,
) -> Result<Credentials, RefreshError> {
    let object = answer.expose();
    Ok(match &target.credentials {
        Credentials::OAuth2 {
            refresh_token,
            config_override,
            ..
        } => {
            let token = alternate(target, object)?;
            let named = |key: &str, name: &str| {
                token_response::text(target, object, key).or_else(|| text(token, name).map(str::to_owned))
            };
            let access_token = named("token", "access_token").ok_or_else(|| refusal(object))?;
            let kept = || refresh_token.as_ref().map(|token| token.expose().clone());
            let refresh_token = named("refresh_token", "refresh_token").or_else(kept);
            Credentials::OAuth2 {
                access_token: Secret::new(access_token),
                refresh_token: refresh_token.map(Secret::new),
                expires_at_ms: expires_at_ms(target, object, token, now_ms),
                config_override: config_override.clone(),
                raw: answer,
            }
        }
        Credentials::OAuth2Cc {
            client,
            client_certificate,
            client_private_key,
            ..
        } => {
            let data = object.get("data").and_then(Value::as_object);
            let named = token_response::text(target, object, "token");
            let token = named
                .as_deref()
                .or_else(|| text(object, "access_token"))
                .or_else(|| data.and_then(|data| text(data, "token")))
                .or_else(|| text(object, "jwt"))
                .ok_or_else(|| refusal(object))?;
            let expires_at_ms = expires_at_ms(target, object, object, now_ms);
            Credentials::OAuth2Cc {
                token: Some(Secret::new(token.to_owned())),
                expires_at_ms: Some(expires_at_ms.unwrap_or(now_ms.saturating_add(CLIENT_CREDENTIALS_LIFETIME_MS))),
                client: client.clone(),
                client_certificate: client_certificate.clone(),
                client_private_key: client_private_key.clone(),
                raw: answer,
            }
        }
        other => other.clone(),
    })
}

/// The credentials read back as they will be from the database: what could not be opened again is refused now.
pub(super) fn readable(credentials: &Credentials) -> Result<Credentials, RefreshError> {
    let json = Secret::new(credentials.to_json());
    Credentials::from_json(json.expose()).map_err(RefreshError::Unusable)
}

/// What the answer of a refusal says of it, as far as that is no secret: RFC 6749, section 5.2, and where other login endpoints
/// say it: in `message`, in an `error` that is an object, in the first of `errors`, in `oauth_problem`, or in an `errormessage`.
pub(super) fn refusal(object: &JsonObject) -> RefreshError {
    let word = |object: &JsonObject, names: &[&str]| {
        let said = names.iter().find_map(|name| text(object, name))?;
        Some(clipped(said))
    };
    if let Some(Value::Object(error)) = object.get("error") {
        return RefreshError::NoToken {
            error: word(error, &["summary", "code", "type"]),
            description: word(error, &["detail", "message"]),
        };
    }
    if let Some(Value::Object(error)) = object.get("errors").and_then(|errors| errors.get(0)) {
        return RefreshError::NoToken {
            error: error
                .get("code")
                .filter(|code| !code.is_object())
                .map(|code| clipped(&values::text(code))),
            description: word(error, &["message", "detail"]),
        };
    }
    if let Some(error) = errormessage(object, ERRORMESSAGE_DEPTH_MAX) {
        return RefreshError::NoToken {
            error: word(error, &["errorno"]),
            description: word(error, &["description2", "description"]),
        };
    }
    RefreshError::NoToken {
        error: word(object, &["error", "oauth_problem"]),
        description: word(object, &["error_description", "message", "detail"]),
    }
}

/// Objects within objects that an `errormessage` is looked for in.
const ERRORMESSAGE_DEPTH_MAX: usize = 4;

/// The first `error` of an `errormessage`, wherever that stands: answers in XML have it so.
fn errormessage(object: &JsonObject, depth_max: usize) -> Option<&JsonObject> {
    if let Some(error) = object.get("errormessage").and_then(|message| message.get("error")) {
        return error.as_object().or_else(|| error.get(0)?.as_object());
    }
    let depth_max = depth_max.checked_sub(1)?;
    let mut inner = object.values().filter_map(Value::as_object);
    inner.find_map(|inner| errormessage(inner, depth_max))
}

fn clipped(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}

/// Text of the provider that is repeated, in characters.
pub(super) const REASON_CHARS_MAX: usize = 300;

/// The part of the answer that holds the token: `alternate_access_token_response_path` where the provider has one and it is
/// there, else the whole.
fn alternate<'a>(target: &Target, object: &'a JsonObject) -> Result<&'a JsonObject, RefreshError> {
    let path = target.provider.json.get("alternate_access_token_response_path");
    let Some(path) = path.and_then(Value::as_str) else {
        return Ok(object);
    };
    if text(object, "access_token").is_some() || token_response::text(target, object, "token").is_some() {
        return Ok(object);
    }
    let mut found = object;
    for key in path.split('.') {
        match found.get(key).and_then(Value::as_object) {
            Some(inner) => found = inner,
            None => return Err(refusal(object)),
        }
    }
    Ok(found)
}

fn text<'a>(object: &'a JsonObject, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// What `token_response` names, else `expires_at`, else `expires_in`; the provider's fixed lifetime when none of them is there.
fn expires_at_ms(target: &Target, object: &JsonObject, token: &JsonObject, now_ms: i64) -> Option<i64> {
    match token_response::end(target, object, now_ms) {
        End::At(at_ms) => return Some(at_ms),
        End::Never => return None,
        End::NotSaid => {}
    }
    if let Some(at_ms) = token.get("expires_at").and_then(|value| moment_ms(value, now_ms)) {
        return Some(at_ms);
    }
    let Some(value) = token.get("expires_in").filter(|value| !value.is_null()) else {
        return token_response::fixed_end_ms(target, now_ms);
    };
    let in_milliseconds = target.provider.json.get("expires_in_unit") == Some(&json!("milliseconds"));
    let unit_ms = if in_milliseconds { 1.0 } else { 1_000.0 };
    let lifetime_ms = number(value)? * unit_ms;
    // 0 means that it does not end.
    (lifetime_ms > 0.0).then(|| now_ms.saturating_add(whole_ms(lifetime_ms)))
}

/// A moment as providers write it: epoch seconds or milliseconds, an ISO date, or `D:HH:MM` from now.
pub(super) fn moment_ms(value: &Value, now_ms: i64) -> Option<i64> {
    if let Some(number) = number(value) {
        let at_ms = if number > EPOCH_SECONDS_MAX {
            number
        } else {
            number * 1_000.0
        };
        return (at_ms > 0.0).then(|| whole_ms(at_ms));
    }
    let text = value.as_str()?;
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        return Some(jiff::tz::Offset::UTC.to_timestamp(civil).ok()?.as_millisecond());
    }
    let mut parts = text.split(':').map(|part| part.trim().parse::<u32>().ok());
    let (days, hours, minutes) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || hours > 23 || minutes > 59 {
        return None;
    }
    let minutes = (i64::from(days) * 24 + i64::from(hours)) * 60 + i64::from(minutes);
    Some(now_ms.saturating_add(minutes.saturating_mul(60_000)))
}

/// A lifetime as providers write it: seconds, or a number with its unit (`90s`, `30m`, `1h`, `7d`).
pub(super) fn lifetime_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    let (number, unit_ms) = match text.char_indices().next_back()? {
        (end, 's') => (text.get(..end)?, 1_000.0),
        (end, 'm') => (text.get(..end)?, 60_000.0),
        (end, 'h') => (text.get(..end)?, 3_600_000.0),
        (end, 'd') => (text.get(..end)?, 86_400_000.0),
        _ => (text, 1_000.0),
    };
    let lifetime_ms = number.trim().parse::<f64>().ok()? * unit_ms;
    (lifetime_ms.is_finite() && lifetime_ms > 0.0).then(|| whole_ms(lifetime_ms))
}

/// The `exp` of a token that is a JSON Web Token.
pub(super) fn expires_at_ms_of_jwt(token: &str) -> Option<i64> {
    let expires_at_s = claims(token)?.get("exp")?.as_f64()?;
    Some(whole_ms(expires_at_s * 1_000.0))
}

/// The claims of a token that is a JSON Web Token. Who signed it does not matter: it is the provider's own, got from him, and says
/// nothing that anybody is let in for.
pub(super) fn claims(token: &str) -> Option<JsonObject> {
    let mut parts = token.split('.');
    let (_header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&claims).ok()
}

/// A number, or one that somebody wrote as text.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number| number.is_finite())
}

fn whole_ms(ms: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded, and fractions of a millisecond do not matter"
    )]
    let whole = ms.clamp(0.0, LIFETIME_MS_MAX) as i64;
    whole
}

#[cfg(test)]
mod tests;
