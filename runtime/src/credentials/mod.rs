//! Credentials by type, and the type that keeps secrets out of logs. Pure: parsing, showing, looking up. It does not
//! encrypt (see `encryption`) and does not decide how a request is authenticated (see `proxy`).

mod client_identity;
mod fields;
mod json;
mod lookup;
mod mode;
mod parse;
mod pem;
mod redaction;
mod secret;
#[cfg(test)]
mod tests;

pub use client_identity::{ClientIdentity, IdentityError, IdentityHash};
pub use fields::{CLIENT_CHARS_MAX, CredentialsError, KEY_CHARS_MAX, PEM_CHARS_MAX, TOKEN_CHARS_MAX};
pub use lookup::lookup;
pub use mode::CredentialsType;
pub use pem::{pem_certificate, pem_der};
pub use redaction::{SECRET_BYTES_MIN, secret_fields};
pub use secret::{Secret, Wipe};

use crate::model::JsonObject;

/// What a connection authenticates with. Stored sealed, in the JSON shape of the public API (`{"type": "API_KEY", "apiKey": …}`).
#[derive(Clone, Debug)]
pub enum Credentials {
    ApiKey {
        api_key: Secret<String>,
    },
    /// Also what installing a plugin leaves behind.
    Basic {
        username: String,
        password: Secret<String>,
    },
    /// Also those of MCP servers.
    OAuth2 {
        access_token: Secret<String>,
        refresh_token: Option<Secret<String>>,
        expires_at_ms: Option<i64>,
        /// The token endpoint's answer, or what was imported.
        raw: Secret<JsonObject>,
        /// The client in the place of the integration's.
        config_override: Option<OAuthClient>,
    },
    /// OAuth 2 client credentials: the connection brings its own client.
    OAuth2Cc {
        /// None until one was obtained.
        token: Option<Secret<String>>,
        expires_at_ms: Option<i64>,
        client: OAuthClient,
        /// PEM, for mutual TLS.
        client_certificate: Option<Secret<String>>,
        /// PEM for mutual TLS, or a JWK for a signed client assertion.
        client_private_key: Option<Secret<String>>,
        raw: Secret<JsonObject>,
    },
    /// RFC 5849 token credentials; the client is the integration's.
    OAuth1 {
        oauth_token: Secret<String>,
        oauth_token_secret: Secret<String>,
        raw: Secret<JsonObject>,
    },
    /// NetSuite's token-based authentication.
    Tba {
        token_id: Secret<String>,
        token_secret: Secret<String>,
        config_override: Option<OAuthClient>,
    },
    AwsSigV4(Box<AwsCredentials>),
    /// A GitHub App's installation token; also the app's part of the mode CUSTOM.
    App {
        /// None until one was obtained.
        access_token: Option<Secret<String>>,
        expires_at_ms: Option<i64>,
        raw: Secret<JsonObject>,
        /// The app's own token, if it was kept.
        jwt_token: Option<Secret<String>>,
    },
    /// BILL, JWT, SIGNATURE and TWO_STEP: a token that was made of what the user gave.
    Session {
        kind: SessionKind,
        /// Under the name [`SessionKind::token_field`]; none until one was obtained.
        token: Option<Secret<String>>,
        expires_at_ms: Option<i64>,
        /// All other fields by their names: what the user gave, `refresh_token`, `raw`, `_cookies`.
        fields: Secret<JsonObject>,
    },
    None,
}

/// An OAuth client that a connection brings along.
#[derive(Clone, Debug)]
pub struct OAuthClient {
    pub client_id: String,
    pub client_secret: Secret<String>,
}

/// An app of an integration, which proves itself with tokens that it signs.
#[derive(Clone, Debug)]
pub struct AppKey {
    pub app_id: String,
    /// PEM, or base64 of it.
    pub private_key: Secret<String>,
}

/// Keys of AWS, usually the temporary ones of a role.
#[derive(Clone, Debug)]
pub struct AwsCredentials {
    pub region: String,
    /// The name for signing: `s3`, `execute-api` …
    pub service: String,
    /// Empty, as the secret one, until keys of the role were obtained.
    pub access_key_id: Secret<String>,
    pub secret_access_key: Secret<String>,
    pub session_token: Option<Secret<String>>,
    pub expires_at_ms: Option<i64>,
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    pub raw: Secret<JsonObject>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    Bill,
    Jwt,
    Signature,
    TwoStep,
}

impl SessionKind {
    /// The field that the public API shows the token in.
    #[must_use]
    pub fn token_field(self) -> &'static str {
        match self {
            Self::Bill => "session_id",
            Self::Jwt | Self::Signature | Self::TwoStep => "token",
        }
    }
}

impl Credentials {
    #[must_use]
    pub fn kind(&self) -> CredentialsType {
        match self {
            Self::ApiKey { .. } => CredentialsType::ApiKey,
            Self::Basic { .. } => CredentialsType::Basic,
            Self::OAuth2 { .. } => CredentialsType::OAuth2,
            Self::OAuth2Cc { .. } => CredentialsType::OAuth2Cc,
            Self::OAuth1 { .. } => CredentialsType::OAuth1,
            Self::Tba { .. } => CredentialsType::Tba,
            Self::AwsSigV4(_) => CredentialsType::AwsSigV4,
            Self::App { .. } => CredentialsType::App,
            Self::Session { kind, .. } => match kind {
                SessionKind::Bill => CredentialsType::Bill,
                SessionKind::Jwt => CredentialsType::Jwt,
                SessionKind::Signature => CredentialsType::Signature,
                SessionKind::TwoStep => CredentialsType::TwoStep,
            },
            Self::None => CredentialsType::None,
        }
    }

    /// The type as the public API names it.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        self.kind().name()
    }

    /// When they stop working, in milliseconds since 1970; none when nobody said, or never.
    #[must_use]
    pub fn expires_at_ms(&self) -> Option<i64> {
        match self {
            Self::OAuth2 { expires_at_ms, .. }
            | Self::OAuth2Cc { expires_at_ms, .. }
            | Self::App { expires_at_ms, .. }
            | Self::Session { expires_at_ms, .. } => *expires_at_ms,
            Self::AwsSigV4(aws) => aws.expires_at_ms,
            Self::ApiKey { .. } | Self::Basic { .. } | Self::OAuth1 { .. } | Self::Tba { .. } | Self::None => None,
        }
    }

    /// Whether they are only what a token will be obtained with.
    #[must_use]
    pub fn lacks_token(&self) -> bool {
        match self {
            Self::OAuth2Cc { token, .. } | Self::Session { token, .. } => token.is_none(),
            Self::App { access_token, .. } => access_token.is_none(),
            Self::AwsSigV4(aws) => aws.access_key_id.expose().is_empty(),
            Self::OAuth2 { .. }
            | Self::ApiKey { .. }
            | Self::Basic { .. }
            | Self::OAuth1 { .. }
            | Self::Tba { .. }
            | Self::None => false,
        }
    }

    /// The token that templates call `accessToken`, where there is one. Whether it goes into a header is the proxy's to say.
    #[must_use]
    pub fn access_token(&self) -> Option<&Secret<String>> {
        match self {
            Self::OAuth2 { access_token, .. } => Some(access_token),
            Self::App { access_token, .. } => access_token.as_ref(),
            Self::OAuth2Cc { token, .. } | Self::Session { token, .. } => token.as_ref(),
            Self::ApiKey { .. }
            | Self::Basic { .. }
            | Self::OAuth1 { .. }
            | Self::Tba { .. }
            | Self::AwsSigV4(_)
            | Self::None => None,
        }
    }
}
