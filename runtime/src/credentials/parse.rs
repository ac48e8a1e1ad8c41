//! Credentials out of the JSON of the public API, which is also what is sealed. Strict, so that a typing mistake in an import
//! is told at once instead of failing at the provider.

use serde_json::Value;

use super::fields::{CLIENT_CHARS_MAX, Fields, check_length};
use super::json::oauth2_fields;
use super::{
    AwsCredentials, Credentials, CredentialsError, CredentialsType, KEY_CHARS_MAX, PEM_CHARS_MAX, Secret, SessionKind,
    TOKEN_CHARS_MAX,
};

impl Credentials {
    /// Reads the shape of the public API. Without a `type` an empty object is [`Credentials::None`].
    pub fn from_json(value: &Value) -> Result<Self, CredentialsError> {
        let object = value.as_object().ok_or(CredentialsError::NotAnObject)?;
        let kind = match object.get("type") {
            None if object.is_empty() => return Ok(Self::None),
            None => return Err(CredentialsError::MissingType),
            Some(Value::String(name)) => {
                CredentialsType::named(name).ok_or_else(|| CredentialsError::UnsupportedType {
                    given: name.chars().take(64).collect(),
                })?
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(CredentialsError::Malformed {
                    field: "type",
                    expected: "text",
                });
            }
        };
        let fields = Fields(object);
        match kind {
            CredentialsType::ApiKey => fields.api_key(),
            CredentialsType::App => fields.app(),
            CredentialsType::AwsSigV4 => fields.aws(),
            CredentialsType::Basic => fields.basic(),
            CredentialsType::Bill => fields.bill(),
            CredentialsType::Jwt => fields.session(SessionKind::Jwt),
            CredentialsType::None => fields.only("NONE", &[]).map(|()| Self::None),
            CredentialsType::OAuth1 => fields.oauth1(),
            CredentialsType::OAuth2 => fields.oauth2(),
            CredentialsType::OAuth2Cc => fields.oauth2_cc(),
            CredentialsType::Signature => fields.signature(),
            CredentialsType::Tba => fields.tba(),
            CredentialsType::TwoStep => fields.session(SessionKind::TwoStep),
        }
    }
}

impl Fields<'_> {
    fn api_key(self) -> Result<Credentials, CredentialsError> {
        self.only("API_KEY", &["apiKey"])?;
        Ok(Credentials::ApiKey {
            api_key: self.secret("apiKey", KEY_CHARS_MAX)?,
        })
    }

    /// Either may be empty; some providers take a key as user name and nothing as password.
    fn basic(self) -> Result<Credentials, CredentialsError> {
        self.only("BASIC", &["username", "password"])?;
        Ok(Credentials::Basic {
            username: self.text("username", KEY_CHARS_MAX)?,
            password: Secret::new(self.optional_text("password", KEY_CHARS_MAX)?.unwrap_or_default()),
        })
    }

    fn oauth2(self) -> Result<Credentials, CredentialsError> {
        let known = ["access_token", "refresh_token", "expires_at", "raw", "config_override"];
        self.only("OAUTH2", &known)?;
        let access_token = self.secret("access_token", TOKEN_CHARS_MAX)?;
        let refresh_token = self.optional_secret("refresh_token", TOKEN_CHARS_MAX)?;
        let expires_at_ms = self.optional_time_ms("expires_at")?;
        let raw = match self.optional_object("raw")? {
            Some(raw) => raw.clone(),
            None => oauth2_fields(&access_token, refresh_token.as_ref(), expires_at_ms),
        };
        Ok(Credentials::OAuth2 {
            access_token,
            refresh_token,
            expires_at_ms,
            raw: Secret::new(raw),
            config_override: self.config_override()?,
        })
    }

    fn oauth2_cc(self) -> Result<Credentials, CredentialsError> {
        let known = [
            "token",
            "expires_at",
            "client_id",
            "client_secret",
            "client_certificate",
            "client_private_key",
            "raw",
        ];
        self.only("OAUTH2_CC", &known)?;
        let client = self.optional_client("client_id", "client_secret")?;
        Ok(Credentials::OAuth2Cc {
            token: self.optional_secret("token", TOKEN_CHARS_MAX)?,
            expires_at_ms: self.optional_time_ms("expires_at")?,
            client: client.ok_or(CredentialsError::Missing { field: "client_id" })?,
            client_certificate: self.optional_secret("client_certificate", PEM_CHARS_MAX)?,
            client_private_key: self.optional_secret("client_private_key", PEM_CHARS_MAX)?,
            raw: self.raw()?,
        })
    }

    fn oauth1(self) -> Result<Credentials, CredentialsError> {
        self.only("OAUTH1", &["oauth_token", "oauth_token_secret", "raw"])?;
        Ok(Credentials::OAuth1 {
            oauth_token: self.secret("oauth_token", CLIENT_CHARS_MAX)?,
            oauth_token_secret: self.secret("oauth_token_secret", CLIENT_CHARS_MAX)?,
            raw: self.raw()?,
        })
    }

    fn tba(self) -> Result<Credentials, CredentialsError> {
        let known = [
            "token_id",
            "token_secret",
            "config_override",
            "oauth_client_id_override",
            "oauth_client_secret_override",
        ];
        self.only("TBA", &known)?;
        // The two flat names are what forms send; the object is what is shown.
        let flat = self.optional_client("oauth_client_id_override", "oauth_client_secret_override")?;
        Ok(Credentials::Tba {
            token_id: self.secret("token_id", CLIENT_CHARS_MAX)?,
            token_secret: self.secret("token_secret", CLIENT_CHARS_MAX)?,
            config_override: match flat {
                Some(client) => Some(client),
                None => self.config_override()?,
            },
        })
    }

    fn config_override(self) -> Result<Option<super::OAuthClient>, CredentialsError> {
        match self.optional_object("config_override")? {
            Some(object) => Fields(object).optional_client("client_id", "client_secret"),
            None => Ok(None),
        }
    }

    fn aws(self) -> Result<Credentials, CredentialsError> {
        let known = [
            "region",
            "service",
            "access_key_id",
            "secret_access_key",
            "session_token",
            "expires_at",
            "role_arn",
            "external_id",
            "raw",
        ];
        self.only("AWS_SIGV4", &known)?;
        let scope = |field: &'static str| {
            let text = self.filled_text(field, KEY_CHARS_MAX)?;
            // The scope of a signature is made of them, divided by `/`.
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if text.len() <= 64 && text.bytes().all(allowed) {
                return Ok(text);
            }
            Err(CredentialsError::Malformed {
                field,
                expected: "1 to 64 lower-case letters, digits and hyphens, as AWS writes them in signatures",
            })
        };
        let role_arn = self.optional_text("role_arn", KEY_CHARS_MAX)?;
        let is_given = |field| self.0.get(field).is_some_and(|value| !value.is_null());
        // Those of a role can be obtained.
        let none_yet = role_arn.is_some() && !is_given("access_key_id") && !is_given("secret_access_key");
        let key = |field| {
            if none_yet {
                Ok(Secret::new(String::new()))
            } else {
                self.secret(field, KEY_CHARS_MAX)
            }
        };
        Ok(Credentials::AwsSigV4(Box::new(AwsCredentials {
            region: scope("region")?,
            service: scope("service")?,
            access_key_id: key("access_key_id")?,
            secret_access_key: key("secret_access_key")?,
            session_token: self.optional_secret("session_token", TOKEN_CHARS_MAX)?,
            expires_at_ms: self.optional_time_ms("expires_at")?,
            role_arn,
            external_id: self.optional_text("external_id", KEY_CHARS_MAX)?,
            raw: self.raw()?,
        })))
    }

    fn app(self) -> Result<Credentials, CredentialsError> {
        self.only("APP", &["access_token", "expires_at", "raw", "jwtToken"])?;
        Ok(Credentials::App {
            access_token: self.optional_secret("access_token", TOKEN_CHARS_MAX)?,
            expires_at_ms: self.optional_time_ms("expires_at")?,
            raw: self.raw()?,
            jwt_token: self.optional_secret("jwtToken", TOKEN_CHARS_MAX)?,
        })
    }

    fn bill(self) -> Result<Credentials, CredentialsError> {
        let texts = ["username", "password", "organization_id", "dev_key"];
        let known = [&texts[..], &["session_id", "user_id", "expires_at", "raw"]].concat();
        self.only("BILL", &known)?;
        for field in texts {
            self.text(field, KEY_CHARS_MAX)?;
        }
        self.optional_text("user_id", KEY_CHARS_MAX)?;
        self.raw()?;
        self.session(SessionKind::Bill)
    }

    fn signature(self) -> Result<Credentials, CredentialsError> {
        self.only("SIGNATURE", &["username", "password", "token", "expires_at"])?;
        for field in ["username", "password"] {
            self.text(field, KEY_CHARS_MAX)?;
        }
        self.session(SessionKind::Signature)
    }

    /// Whatever the user's fields are called; each provider has its own.
    fn session(self, kind: SessionKind) -> Result<Credentials, CredentialsError> {
        let mut fields = self.0.clone();
        for (name, value) in &fields {
            if let Value::String(text) = value {
                check_length(name, text, TOKEN_CHARS_MAX)?;
            }
        }
        for name in ["type", kind.token_field(), "expires_at"] {
            fields.remove(name);
        }
        Ok(Credentials::Session {
            kind,
            token: self.optional_secret(kind.token_field(), TOKEN_CHARS_MAX)?,
            expires_at_ms: self.optional_time_ms("expires_at")?,
            fields: Secret::new(fields),
        })
    }
}
