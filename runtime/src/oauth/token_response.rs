//! Where in an answer stand the token, its end and the refresh token: the provider's `token_response`, the names of RFC 6749 where
//! that does not say, and `token_expires_in_ms` for tokens of whose end nobody says anything. Pure.

use serde_json::Value;

use super::answer::{lifetime_ms, moment_ms};
use crate::connections::Target;
use crate::credentials::lookup;
use crate::model::JsonObject;

/// When a token ends, as far as its answer says.
pub(super) enum End {
    /// In milliseconds since 1970.
    At(i64),
    /// It is said, and means that the token does not end, or nothing that can be read.
    Never,
    NotSaid,
}

/// The text at the path below `key` of `token_response`; none when the provider names no path.
pub(super) fn text(target: &Target, object: &JsonObject, key: &str) -> Option<String> {
    let path = target.provider.json.get("token_response")?.get(key)?.as_str()?;
    lookup(object, path)
        .filter(|found| !found.is_empty())
        .map(std::borrow::Cow::into_owned)
}

/// What stands at `token_response.token_expiration`: a moment, or with `token_expiration_strategy: expireIn` a lifetime.
pub(super) fn end(target: &Target, object: &JsonObject, now_ms: i64) -> End {
    let Some(said) = text(target, object, "token_expiration") else {
        return End::NotSaid;
    };
    let strategy = target
        .provider
        .json
        .pointer("/token_response/token_expiration_strategy");
    let at_ms = if strategy.and_then(Value::as_str) == Some("expireIn") {
        lifetime_ms(&said).map(|lifetime_ms| now_ms.saturating_add(lifetime_ms))
    } else {
        moment_ms(&Value::String(said), now_ms)
    };
    at_ms.map_or(End::Never, End::At)
}

/// The end of a token that was given at `now_ms` by the provider's `token_expires_in_ms`, of which 0 means that it does not end.
pub(super) fn fixed_end_ms(target: &Target, now_ms: i64) -> Option<i64> {
    let lifetime_ms = target
        .provider
        .json
        .get("token_expires_in_ms")
        .and_then(Value::as_i64)?;
    (lifetime_ms > 0).then(|| now_ms.saturating_add(lifetime_ms))
}
