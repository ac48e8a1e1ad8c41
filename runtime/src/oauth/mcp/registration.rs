//! A client that registers itself (RFC 7591): what is asked, and what is made of the answer. It is asked once; who keeps the
//! client, and for whom, is not known here.

use http::Method;
use http::header::{self, HeaderMap};
use serde_json::{Value, json};
use url::Url;

use super::{RegistrationError, told};
use crate::connections::Target;
use crate::credentials::{CLIENT_CHARS_MAX, OAuthClient, Secret};
use crate::model::JsonObject;
use crate::oauth::answer::refusal;
use crate::oauth::client::{Limits, TOKEN_ANSWER_BYTES_MAX, TOKEN_TIMEOUT_MS};
use crate::oauth::request::{JSON, TokenRequest};
use crate::oauth::values::{Moment, TokenValues, USER_AGENT};
use crate::oauth::{OAuth, RefreshError};

/// How a client shows who it is at the token endpoint, by the names of RFC 7591.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// It has no secret.
    None,
    Post,
    Basic,
}

/// What a client is registered with.
#[derive(Debug)]
pub struct Registration {
    pub endpoint: Url,
    /// The metadata of the client, as it is sent.
    pub metadata: JsonObject,
}

/// A client as it was registered.
#[derive(Debug)]
pub struct RegisteredClient {
    pub client: OAuthClient,
    pub auth: ClientAuth,
    /// When the secret stops working; none when never.
    pub expires_at_ms: Option<i64>,
}

impl ClientAuth {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Post => "client_secret_post",
            Self::Basic => "client_secret_basic",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::None, Self::Post, Self::Basic]
            .into_iter()
            .find(|it| it.name() == name)
    }

    /// What to ask for, of what a server takes. A client without a secret comes first: proof is PKCE's, and a secret that ends takes
    /// every connection along. A server that does not say takes Basic (RFC 8414, section 2).
    #[must_use]
    pub fn preferred(supported: Option<&[String]>) -> Self {
        let takes = |auth: &Self| supported.is_some_and(|all| all.iter().any(|name| name == auth.name()));
        [Self::None, Self::Post].into_iter().find(takes).unwrap_or(Self::Basic)
    }
}

impl OAuth {
    /// `registration_url` of the provider, with the connection's values in it.
    ///
    /// # Errors
    /// A value that is missing, or data that makes no URL.
    pub fn registration_url(&self, target: &Target) -> Result<Url, RegistrationError> {
        let moment = Moment {
            now_ms: self.0.clock.now_ms(),
            random: self.0.entropy.bytes(),
        };
        let url = TokenValues::new(target, moment).url(&target.provider.json, "registration_url");
        url.map_err(|error| RegistrationError::Url {
            reason: error.to_string(),
        })
    }

    /// Registers a client.
    ///
    /// # Errors
    /// [`RegistrationError`]: the server does not answer, refuses, or gives nothing that can be used.
    pub async fn register(&self, registration: &Registration) -> Result<RegisteredClient, RegistrationError> {
        let host = registration.endpoint.host_str().unwrap_or_default().to_owned();
        let request = TokenRequest {
            method: Method::POST,
            url: registration.endpoint.clone(),
            headers: HeaderMap::from_iter([
                (header::ACCEPT, JSON),
                (header::CONTENT_TYPE, JSON),
                (header::USER_AGENT, USER_AGENT),
            ]),
            body: Secret::new(Value::Object(registration.metadata.clone()).to_string()),
        };
        let limits = Limits {
            timeout_ms: TOKEN_TIMEOUT_MS,
            bytes_max: Some(TOKEN_ANSWER_BYTES_MAX),
        };
        let answer = self.0.client.fetch(request, limits).await;
        let answer = answer.map_err(|source| RegistrationError::Fetch {
            host: host.clone(),
            source,
        })?;
        if answer.status.is_redirection() {
            return Err(RegistrationError::Redirect { host });
        }
        let object = match serde_json::from_slice(answer.body.expose()) {
            Ok(Value::Object(object)) => Some(Secret::new(object)),
            Ok(_) | Err(_) => None,
        };
        if !answer.status.is_success() {
            let (error, description) = match object.map(|object| refusal(object.expose())) {
                Some(RefreshError::NoToken { error, description }) => (error, description),
                Some(_) | None => (None, None),
            };
            return Err(RegistrationError::Refused {
                host,
                status: answer.status.as_u16(),
                error,
                description,
            });
        }
        let read = match &object {
            Some(object) => read(object.expose(), &registration.metadata),
            None => Err("it is no JSON object".to_owned()),
        };
        read.map_err(|reason| RegistrationError::Malformed { host, reason })
    }
}

/// RFC 7591, section 3.2.1. The reason may quote names, never values that could be secrets.
fn read(answer: &JsonObject, asked: &JsonObject) -> Result<RegisteredClient, String> {
    let text = |name: &str| {
        let text = answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        match text {
            // What is longer could not be stored with the connection.
            Some(text) if text.chars().count() > CLIENT_CHARS_MAX => {
                Err(format!("`{name}` is longer than {CLIENT_CHARS_MAX} characters"))
            }
            other => Ok(other.map(str::to_owned)),
        }
    };
    let client_id = text("client_id")?.ok_or("`client_id` is missing")?;
    let secret = text("client_secret")?;
    let method = |object: &JsonObject| {
        let name = object.get("token_endpoint_auth_method").and_then(Value::as_str);
        name.map(str::to_owned)
    };
    let auth = match (&secret, method(answer).or_else(|| method(asked))) {
        (None, _) => ClientAuth::None,
        (Some(_), None) => ClientAuth::Basic,
        (Some(_), Some(name)) => {
            let unknown = format!("it must show who it is by {:?}, which is not supported", told(&name));
            ClientAuth::named(&name).ok_or(unknown)?
        }
    };
    let expires_at_s = answer.get("client_secret_expires_at").and_then(Value::as_i64);
    let expires_at_ms = expires_at_s
        .filter(|at_s| *at_s > 0)
        .map(|at_s| at_s.saturating_mul(1_000));
    Ok(RegisteredClient {
        client: OAuthClient {
            client_id,
            // A secret that it is not to use is not kept.
            client_secret: Secret::new(secret.filter(|_| auth != ClientAuth::None).unwrap_or_default()),
        },
        expires_at_ms: expires_at_ms.filter(|_| auth != ClientAuth::None),
        auth,
    })
}

impl Registration {
    /// What a client that sends users to `redirect_uri` asks for.
    #[must_use]
    pub fn metadata(redirect_uri: &str, auth: ClientAuth) -> JsonObject {
        let metadata = json!({
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": auth.name(),
        });
        metadata.as_object().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(answer: &Value, asked: ClientAuth) -> Result<(String, String, ClientAuth, Option<i64>), String> {
        let asked = Registration::metadata("https://us.test/oauth/callback", asked);
        let client = read(answer.as_object().unwrap(), &asked)?;
        let secret = client.client.client_secret.expose().clone();
        Ok((client.client.client_id, secret, client.auth, client.expires_at_ms))
    }

    #[test]
    fn answers_are_read_as_they_are_meant() {
        let owned = |id: &str, secret: &str, auth, at| Ok((id.to_owned(), secret.to_owned(), auth, at));
        assert_eq!(
            registered(&json!({"client_id": "c"}), ClientAuth::Basic),
            owned("c", "", ClientAuth::None, None)
        );
        // What the answer says counts, then what was asked for.
        let secret = json!({"client_id": "c", "client_secret": "s", "client_secret_expires_at": 1_800_000_000});
        assert_eq!(
            registered(&secret, ClientAuth::Post),
            owned("c", "s", ClientAuth::Post, Some(1_800_000_000_000))
        );
        assert_eq!(
            registered(&secret, ClientAuth::None),
            owned("c", "", ClientAuth::None, None)
        );
        let says = json!({"client_id": "c", "client_secret": "s", "client_secret_expires_at": 0,
            "token_endpoint_auth_method": "client_secret_basic"});
        assert_eq!(
            registered(&says, ClientAuth::None),
            owned("c", "s", ClientAuth::Basic, None)
        );
        for (answer, part) in [
            (json!({}), "`client_id` is missing"),
            (json!({"client_id": "c".repeat(3_000)}), "longer than 2048"),
            (
                json!({"client_id": "c", "client_secret": "s", "token_endpoint_auth_method": "private_key_jwt"}),
                "\"private_key_jwt\", which is not supported",
            ),
        ] {
            let error = registered(&answer, ClientAuth::None).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_client_without_a_secret_is_preferred() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            ClientAuth::preferred(Some(&names))
        };
        assert_eq!(of(&["client_secret_basic", "none"]), ClientAuth::None);
        assert_eq!(of(&["client_secret_basic", "client_secret_post"]), ClientAuth::Post);
        assert_eq!(of(&["private_key_jwt"]), ClientAuth::Basic);
        assert_eq!(ClientAuth::preferred(None), ClientAuth::Basic);
    }
}
