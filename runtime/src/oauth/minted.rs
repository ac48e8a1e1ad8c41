//! Tokens that nobody has to be asked for: they are signed with what the user gave. `JWT` and `SIGNATURE`, by the provider's
//! `signature` and `token`. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha1::{Digest as _, Sha1};

use super::jwt::{Algorithm, JwtError, SecretEncoding, SigningKey};
use super::request::unsupported;
use super::values::{Moment, TokenValues};
use super::{RefreshError, saml};
use crate::connections::Target;
use crate::credentials::Secret;

/// How long tokens live when the provider's `token` has no `expires_in_ms`.
const LIFETIME_MS: i64 = 5 * 60 * 1_000;

/// A token and when it ends, in milliseconds since 1970.
pub(super) struct Minted {
    pub(super) token: Secret<String>,
    pub(super) expires_at_ms: i64,
}

/// `signature.protocol` says which kind of key it is (`RSA`, `HMAC`, `EC`), `token` what is signed: `header` and `payload` are
/// templates, of which those without a value are left out; `iat` and `exp` are added.
pub(super) fn jwt(target: &Target, moment: Moment) -> Result<Minted, RefreshError> {
    let token = target.provider.json.get("token").unwrap_or(&Value::Null);
    let template = token.get("signing_key").and_then(Value::as_str).unwrap_or_default();
    let key = Secret::new(TokenValues::new(target, moment).fill(template, "token")?);
    let usual = match signature(target, "protocol") {
        Some("HMAC") => Algorithm::Hs256,
        Some("EC") => Algorithm::Es256,
        Some("RSA") | None => Algorithm::Rs256,
        Some(other) => return Err(unsupported(target, &format!("`signature.protocol: {other}`"))),
    };
    let encoding = match signature(target, "hmac_secret_encoding") {
        None | Some("hex") => SecretEncoding::Hex,
        Some("utf8") => SecretEncoding::Utf8,
        Some(other) => {
            return Err(unsupported(
                target,
                &format!("`signature.hmac_secret_encoding: {other}`"),
            ));
        }
    };
    signed(target, moment, token, (&key, usual, encoding), lifetime_ms(target))
}

/// The `assertion` of a token request, a JWT (RFC 7523): `header` and `payload` as those of a token, signed with `key` and good for
/// `lifetimeInSeconds`; or one of SAML. None where the provider has none, or where what it was signed with was not kept: then the one that was
/// made when the connection was is used again.
pub(super) fn assertion(target: &Target, moment: Moment) -> Result<Option<Secret<String>>, RefreshError> {
    let Some(assertion) = target.provider.json.get("assertion") else {
        return Ok(None);
    };
    let kind = assertion.get("type").and_then(Value::as_str).unwrap_or_default();
    if !matches!(kind, "jwt" | "saml") {
        return Err(unsupported(target, &format!("`assertion.type: {kind}`")));
    }
    let template = assertion.get("key").and_then(Value::as_str).unwrap_or_default();
    let key = match TokenValues::new(target, moment).fill(template, "assertion") {
        Ok(key) => Secret::new(key),
        Err(RefreshError::MissingValue { .. }) if target.credentials.variable("assertion").is_some() => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let seconds = assertion.get("lifetimeInSeconds").and_then(|seconds| {
        let text = seconds.as_str().and_then(|text| text.parse().ok());
        seconds.as_i64().or(text)
    });
    let lifetime_ms = seconds.map_or(LIFETIME_MS, |seconds| seconds.saturating_mul(1_000));
    if kind == "saml" {
        return saml::assertion(target, moment, "assertion", &key, lifetime_ms).map(Some);
    }
    let key = (&key, Algorithm::Rs256, SecretEncoding::Utf8);
    signed(target, moment, assertion, key, lifetime_ms).map(|minted| Some(minted.token))
}

/// Signs the `header` and `payload` of `description`, with its `alg` or the usual one.
fn signed(
    target: &Target,
    moment: Moment,
    description: &Value,
    (key, usual, encoding): (&Secret<String>, Algorithm, SecretEncoding),
    lifetime_ms: i64,
) -> Result<Minted, RefreshError> {
    let values = TokenValues::new(target, moment);
    let header = values.object(description, "header")?;
    let mut claims = values.object(description, "payload")?;
    let failed = |source: JwtError| RefreshError::Jwt {
        provider: target.provider.name.clone(),
        source,
    };
    let algorithm = match header.get("alg").and_then(Value::as_str) {
        Some(name) => Algorithm::named(name).map_err(failed)?,
        None => usual,
    };
    let expires_at_s = moment.now_ms.saturating_add(lifetime_ms) / 1_000;
    claims.insert("iat".to_owned(), (moment.now_ms / 1_000).into());
    claims.insert("exp".to_owned(), expires_at_s.into());
    let key = SigningKey::from_text(algorithm, key.expose(), encoding).map_err(failed)?;
    Ok(Minted {
        token: key.sign(header, claims).map_err(failed)?,
        expires_at_ms: expires_at_s.saturating_mul(1_000),
    })
}

/// A user name token of WSSE (`signature.protocol: WSSE`). Its digest is the base64 text of the hexadecimal SHA-1.
pub(super) fn wsse(target: &Target, moment: Moment) -> Result<Minted, RefreshError> {
    if let Some(other) = signature(target, "protocol").filter(|protocol| *protocol != "WSSE") {
        return Err(unsupported(target, &format!("`signature.protocol: {other}`")));
    }
    let values = TokenValues::new(target, moment);
    let (username, password) = (
        values.fill("${credentials.username}", "signature")?,
        Secret::new(values.fill("${credentials.password}", "signature")?),
    );
    let nonce = hex(&moment.random);
    let created = values.fill("${now}", "signature")?;
    let digest = Sha1::new()
        .chain_update(&nonce)
        .chain_update(&created)
        .chain_update(password.expose())
        .finalize();
    let digest = STANDARD.encode(hex(&digest));
    if username.contains(['"', '\\']) {
        return Err(RefreshError::Header {
            name: "username".to_owned(),
        });
    }
    let token = format!(
        "UsernameToken Username=\"{username}\", PasswordDigest=\"{digest}\", Nonce=\"{nonce}\", Created=\"{created}\""
    );
    Ok(Minted {
        token: Secret::new(token),
        expires_at_ms: moment.now_ms.saturating_add(lifetime_ms(target)),
    })
}

fn signature<'t>(target: &'t Target, key: &str) -> Option<&'t str> {
    target.provider.json.get("signature")?.get(key)?.as_str()
}

fn lifetime_ms(target: &Target) -> i64 {
    let token = target.provider.json.get("token");
    let lifetime_ms = token
        .and_then(|token| token.get("expires_in_ms"))
        .and_then(Value::as_i64);
    lifetime_ms
        .filter(|lifetime_ms| *lifetime_ms > 0)
        .unwrap_or(LIFETIME_MS)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
