//! The kinds of credentials that are stored, by the names of the public API.

/// What the `type` of stored credentials says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialsType {
    ApiKey,
    App,
    AwsSigV4,
    Basic,
    Bill,
    Jwt,
    None,
    OAuth1,
    OAuth2,
    OAuth2Cc,
    Signature,
    Tba,
    TwoStep,
}

impl CredentialsType {
    pub const ALL: [Self; 13] = [
        Self::ApiKey,
        Self::App,
        Self::AwsSigV4,
        Self::Basic,
        Self::Bill,
        Self::Jwt,
        Self::None,
        Self::OAuth1,
        Self::OAuth2,
        Self::OAuth2Cc,
        Self::Signature,
        Self::Tba,
        Self::TwoStep,
    ];

    /// As the public API spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "API_KEY",
            Self::App => "APP",
            Self::AwsSigV4 => "AWS_SIGV4",
            Self::Basic => "BASIC",
            Self::Bill => "BILL",
            Self::Jwt => "JWT",
            Self::None => "NONE",
            Self::OAuth1 => "OAUTH1",
            Self::OAuth2 => "OAUTH2",
            Self::OAuth2Cc => "OAUTH2_CC",
            Self::Signature => "SIGNATURE",
            Self::Tba => "TBA",
            Self::TwoStep => "TWO_STEP",
        }
    }

    /// None for a name that is none of them.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
