//! How each kind of credentials is made anew: by asking the provider, or by signing what the user gave. What is got is what
//! can be stored; who needs it, and who else is about it, is not known here.

use super::client::TokenClient;
use super::minted::{self, Minted};
use super::values::Moment;
use super::{Parts, RefreshError, answer, app, aws, bill, request, two_step};
use crate::connections::{Fresh, Target};
use crate::credentials::{Credentials, SessionKind};

/// Fresh credentials, and those of the user next to them.
pub(super) struct Obtained {
    pub(super) fresh: Fresh,
    /// Why the user's own are the old ones although they were due.
    pub(super) complaint: Option<RefreshError>,
}

/// As [`credentials`], and where the connection has credentials of the user next to its own, those too when they are due. What
/// requests use does not wait for the user's: an app works on when its user has gone.
pub(super) async fn all(parts: &Parts, target: &Target, is_forced: bool) -> Result<Obtained, RefreshError> {
    let credentials = credentials(parts, target).await?;
    let mut obtained = Obtained {
        fresh: Fresh {
            credentials,
            users_own: None,
        },
        complaint: None,
    };
    let is_due = is_forced || target.is_users_own_due(parts.clock.now_ms());
    if let Some(own) = target.users_own().filter(|_| is_due) {
        match users_own(parts, target.with(own)).await {
            Ok(own) => obtained.fresh.users_own = Some(own),
            Err(error) => obtained.complaint = Some(error),
        }
    }
    Ok(obtained)
}

async fn users_own(parts: &Parts, target: Target) -> Result<Credentials, RefreshError> {
    let moment = Moment {
        now_ms: parts.clock.now_ms(),
        random: parts.entropy.bytes(),
    };
    let fresh = by_oauth2(parts, &parts.client, &target, moment).await;
    let fresh = fresh.map_err(|error| super::error::without_secrets(&target, error))?;
    answer::readable(&fresh)
}

/// Fresh credentials in the place of `target`'s.
pub(super) async fn credentials(parts: &Parts, target: &Target) -> Result<Credentials, RefreshError> {
    let moment = Moment {
        now_ms: parts.clock.now_ms(),
        random: parts.entropy.bytes(),
    };
    let client = &parts.client;
    let fresh = match &target.credentials {
        Credentials::Session { kind, .. } => match kind {
            SessionKind::Jwt => with_token(target, minted::jwt(target, moment)?),
            SessionKind::Signature => with_token(target, minted::wsse(target, moment)?),
            SessionKind::TwoStep => two_step::obtain(client, target, moment).await?,
            SessionKind::Bill => bill::obtain(client, target, moment).await?,
        },
        Credentials::AwsSigV4(_) => aws::obtain(client, target, moment).await?,
        Credentials::App { .. } => app::obtain(client, target, moment).await?,
        Credentials::OAuth2 { .. } | Credentials::OAuth2Cc { .. } => by_oauth2(parts, client, target, moment).await?,
        Credentials::ApiKey { .. }
        | Credentials::Basic { .. }
        | Credentials::OAuth1 { .. }
        | Credentials::Tba { .. }
        | Credentials::None => return Err(request::unsupported(target, "a token for credentials that have none")),
    };
    answer::readable(&fresh)
}

async fn by_oauth2(
    parts: &Parts,
    client: &TokenClient,
    target: &Target,
    moment: Moment,
) -> Result<Credentials, RefreshError> {
    let identity = target.client_identity()?;
    let answer = client.send_as(identity, request::build(target, moment)?).await?;
    answer::credentials(target, answer.object, parts.clock.now_ms())
}

/// The same credentials with another token.
fn with_token(target: &Target, minted: Minted) -> Credentials {
    let mut credentials = target.credentials.clone();
    if let Credentials::Session {
        token, expires_at_ms, ..
    } = &mut credentials
    {
        *token = Some(minted.token);
        *expires_at_ms = Some(minted.expires_at_ms);
    }
    credentials
}
