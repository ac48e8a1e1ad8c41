//! How connections of a provider come about, by the names of the schema. What is stored is fewer kinds: see
//! [`AuthMode::credentials_type`].

use serde::Deserialize;

use crate::credentials::CredentialsType;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthMode {
    ApiKey,
    App,
    #[serde(rename = "AWS_SIGV4")]
    AwsSigV4,
    Basic,
    Bill,
    Custom,
    InstallPlugin,
    Jwt,
    #[serde(rename = "MCP_OAUTH2")]
    McpOAuth2,
    #[serde(rename = "MCP_OAUTH2_GENERIC")]
    McpOAuth2Generic,
    None,
    #[serde(rename = "OAUTH1")]
    OAuth1,
    #[serde(rename = "OAUTH2")]
    OAuth2,
    #[serde(rename = "OAUTH2_CC")]
    OAuth2Cc,
    Signature,
    Tba,
    TwoStep,
    /// A mode of the schema that no provider uses; its entries load. The name is [`super::Provider::auth_mode_name`].
    #[serde(alias = "APP_STORE", alias = "TABLEAU")]
    Unsupported,
}

impl AuthMode {
    /// What connections of this mode store; none for a mode whose connections cannot be made.
    #[must_use]
    pub fn credentials_type(self) -> Option<CredentialsType> {
        Some(match self {
            Self::ApiKey => CredentialsType::ApiKey,
            // The user's part of CUSTOM is in the connection_config.
            Self::App | Self::Custom => CredentialsType::App,
            Self::AwsSigV4 => CredentialsType::AwsSigV4,
            Self::Basic | Self::InstallPlugin => CredentialsType::Basic,
            Self::Bill => CredentialsType::Bill,
            Self::Jwt => CredentialsType::Jwt,
            Self::None => CredentialsType::None,
            Self::OAuth1 => CredentialsType::OAuth1,
            Self::OAuth2 | Self::McpOAuth2 | Self::McpOAuth2Generic => CredentialsType::OAuth2,
            Self::OAuth2Cc => CredentialsType::OAuth2Cc,
            Self::Signature => CredentialsType::Signature,
            Self::Tba => CredentialsType::Tba,
            Self::TwoStep => CredentialsType::TwoStep,
            Self::Unsupported => return None,
        })
    }

    /// Whether an integration of this mode has an OAuth client of its own.
    #[must_use]
    pub fn has_client(self) -> bool {
        match self {
            Self::Custom | Self::McpOAuth2 | Self::McpOAuth2Generic | Self::OAuth1 | Self::OAuth2 | Self::Tba => true,
            Self::ApiKey
            | Self::App
            | Self::AwsSigV4
            | Self::Basic
            | Self::Bill
            | Self::InstallPlugin
            | Self::Jwt
            | Self::None
            | Self::OAuth2Cc
            | Self::Signature
            | Self::TwoStep
            | Self::Unsupported => false,
        }
    }

    /// Whether it is that of MCP servers, whose clients may register themselves.
    #[must_use]
    pub fn is_mcp(self) -> bool {
        matches!(self, Self::McpOAuth2 | Self::McpOAuth2Generic)
    }

    /// Whether an integration of this mode is an app with a private key.
    #[must_use]
    pub fn has_app(self) -> bool {
        matches!(self, Self::App | Self::Custom)
    }
}

/// How a provider gets to know a client.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClientRegistration {
    /// The client registers itself (RFC 7591) at the provider's `registration_url`.
    Dynamic,
    /// Somebody registers it, and gives it to the integration.
    #[default]
    Static,
    /// Its id is the URL of a document that says all about it (Client ID Metadata Document).
    Cimd,
}

/// How a provider signs OAuth 1.0a requests (RFC 5849, 3.4).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum SignatureMethod {
    #[default]
    #[serde(rename = "HMAC-SHA1")]
    HmacSha1,
    /// Not in the RFC; used by NetSuite and others in the same way.
    #[serde(rename = "HMAC-SHA256")]
    HmacSha256,
    /// With a private key, which is the client's secret.
    #[serde(rename = "RSA-SHA1")]
    RsaSha1,
    #[serde(rename = "PLAINTEXT")]
    Plaintext,
}
