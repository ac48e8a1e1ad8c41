//! The interface `token`: the connection's credentials, in clear, of components that were given it. What is told is in the audit
//! before it is told, and masked in all that is written of the run.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::bindings::nango::functions::token::Host;
use super::fault::Fault;
use super::state::{GuestState, RunFacts, Services};
use crate::connections::TOLD_TOKENS_MAX;
use crate::credentials::{Credentials, Secret};
use crate::model::{CredentialRead, CredentialReadId, CredentialReadKind, CredentialReader, ExecutionContext};
use crate::recording::import;
use crate::redaction::MASK;

/// Fields of credentials that are no secrets, and that functions go by.
const IN_CLEAR: [&str; 2] = ["type", "expires_at"];

impl Host for GuestState {
    async fn get(&mut self) -> Result<String, Fault> {
        let now_ms = self.clock.now_ms();
        let run = self.run(import::TOKEN)?;
        let RunFacts {
            reach,
            sender,
            chain,
            manifest,
            token_told,
            ..
        } = run;
        let ctx = sender.ctx();
        let live = async |services: &Services| {
            let target = services.proxy.target(ctx).await?;
            if !chain.told().tell(&target) {
                let message = format!("a run and those it calls may be told {TOLD_TOKENS_MAX} tokens");
                return Err(Fault::new("too_many_tokens", message));
            }
            // Once for all times that a run asks for the same.
            if !token_told.as_ref().is_some_and(|told| Arc::ptr_eq(told, &target)) {
                let read = read(ctx, &manifest.name, now_ms, services.entropy.bytes());
                services.store.insert_credential_read(&read).await?;
                *token_told = Some(Arc::clone(&target));
            }
            Ok(Told::of(&target.credentials))
        };
        let told = reach.ask(import::TOKEN, || Value::Null, live, |_, found| found).await?;
        Ok(told.text.expose().clone())
    }
}

fn read(ctx: &ExecutionContext, function: &str, now_ms: i64, random: [u8; 16]) -> CredentialRead {
    CredentialRead {
        id: CredentialReadId::new(now_ms, random),
        environment_id: ctx.environment_id.clone(),
        read_at_ms: now_ms,
        kind: CredentialReadKind::Token,
        provider_config_key: Some(ctx.provider_config_key.as_ref().to_owned()),
        connection_id: Some(ctx.connection_id.as_ref().to_owned()),
        by: CredentialReader::Function {
            name: function.to_owned(),
            run_id: ctx.run_id.clone(),
            operation_id: ctx.operation_id.clone(),
        },
        forced: false,
        with_refresh_token: false,
    }
}

/// What a client of Nango gets for a token.
fn token(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::OAuth2 { access_token, .. } => json!(access_token.expose()),
        Credentials::OAuth1 {
            oauth_token,
            oauth_token_secret,
            ..
        } => json!({"oAuthToken": oauth_token.expose(), "oAuthTokenSecret": oauth_token_secret.expose()}),
        others => others.to_public_json(false),
    }
}

/// Credentials on their way to the guest, JSON text: whoever writes them down gets masks.
struct Told {
    text: Secret<String>,
    masked: String,
}

impl Told {
    fn of(credentials: &Credentials) -> Self {
        let mut token = token(credentials);
        let text = Secret::new(token.to_string());
        mask(&mut token);
        Self {
            text,
            masked: token.to_string(),
        }
    }
}

/// Whatever is not known to be none may be a secret.
fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let hidden = fields.iter_mut().filter(|(name, _)| !IN_CLEAR.contains(&name.as_str()));
            hidden.for_each(|(_, field)| mask(field));
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(_) | Value::Number(_) => *value = Value::from(MASK),
        Value::Null | Value::Bool(_) => {}
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked)
    }
}

/// Of a recording, which holds masks, or of a fixture, which holds what its author gave.
impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self {
            masked: text.clone(),
            text: Secret::new(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(credentials: &Value) -> [String; 2] {
        let told = Told::of(&Credentials::from_json(credentials).unwrap());
        [told.text.expose().clone(), told.masked]
    }

    #[test]
    fn a_token_is_what_nango_gives() {
        let oauth2 = json!({"type": "OAUTH2", "access_token": "a", "refresh_token": "r", "raw": {}});
        assert_eq!(told(&oauth2), ["\"a\"", "\"REDACTED\""]);
        let oauth1 = json!({"type": "OAUTH1", "oauth_token": "t", "oauth_token_secret": "s", "raw": {}});
        assert_eq!(
            told(&oauth1),
            [
                r#"{"oAuthToken":"t","oAuthTokenSecret":"s"}"#,
                r#"{"oAuthToken":"REDACTED","oAuthTokenSecret":"REDACTED"}"#
            ]
        );
        let key = json!({"type": "API_KEY", "apiKey": "k"});
        assert_eq!(
            told(&key),
            [
                r#"{"apiKey":"k","type":"API_KEY"}"#,
                r#"{"apiKey":"REDACTED","type":"API_KEY"}"#
            ]
        );
    }

    #[test]
    fn what_is_told_is_written_down_masked() {
        let [_, masked] = told(&json!({
            "type": "TWO_STEP", "token": "t", "expires_at": "2030-01-01T00:00:00.000Z", "refresh_token": "r",
            "raw": {"list": [{"id": 4711, "ok": true}], "refresh_token": "r"}, "username": "somebody",
        }));
        for secret in ["4711", "somebody", "\"t\"", "\"r\""] {
            assert!(!masked.contains(secret), "{masked}");
        }
        assert!(masked.contains("2030-01-01") && masked.contains("TWO_STEP"), "{masked}");
    }
}
