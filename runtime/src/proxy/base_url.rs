//! Which base URL a request starts from: the provider's, the integration's own, or the caller's `Base-Url-Override`, and
//! whether that override is permitted. An override may name the provider's own host or one below it, a host the operator
//! listed in `override_hosts`, or a host all of whose addresses are in `egress_allow`; anything else would hand the
//! connection's credentials to whom the caller likes.

use std::borrow::Cow;

use serde_json::Value;

use super::url::UpstreamUrl;
use super::values::TargetValues;
use super::{ProxyError, ProxyOptions, values};
use crate::connections::Target;
use crate::credentials::Credentials;
use crate::egress::EgressPolicy;

/// Which addresses a request may be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Public ones, and those of `egress_allow`.
    Public,
    /// Those of `egress_allow` only.
    AllowedOnly,
}

/// The base URL, without a trailing slash.
pub(super) fn resolve<'t>(
    values: &'t TargetValues<'t>,
    base_url_override: Option<&'t str>,
    options: &ProxyOptions,
) -> Result<(Cow<'t, str>, Reach), ProxyError> {
    let (base, reach) = match base_url_override.map(str::trim).filter(|url| !url.is_empty()) {
        Some(url) => permit(values, url, options)?,
        None => (own(values)?, Reach::Public),
    };
    Ok((without_slash(base), reach))
}

fn without_slash(base: Cow<'_, str>) -> Cow<'_, str> {
    match base {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix('/').unwrap_or(text)),
        Cow::Owned(mut text) => {
            if text.ends_with('/') {
                text.pop();
            }
            Cow::Owned(text)
        }
    }
}

/// The base URL that the integration, the connection or the provider's data gives.
fn own<'t>(values: &'t TargetValues<'t>) -> Result<Cow<'t, str>, ProxyError> {
    let target = values.target;
    if let Some(url) = custom(target, "baseUrl") {
        return Ok(url);
    }
    if matches!(target.credentials, Credentials::AwsSigV4(_))
        && let Some(url) = values::lookup(target, "connectionConfig.base_url")
    {
        return Ok(url);
    }
    let spec = target.provider.proxy.as_ref();
    match spec.and_then(|spec| spec.base_url.as_ref()) {
        Some(template) => template
            .render(values)
            .map_err(|source| values::error(target, "the base URL", source)),
        None => Err(ProxyError::MissingApiUrl {
            provider: target.provider.name.clone(),
        }),
    }
}

/// A setting of an integration whose provider leaves it open (`private-api-generic` and the like).
pub(super) fn custom<'t>(target: &'t Target, key: &str) -> Option<Cow<'t, str>> {
    let fields = target.provider.json.get("integration_config")?;
    let given = values::at(&target.integration_config, key).filter(|value| !value.is_empty());
    given.or_else(|| {
        let default = fields.get(key)?.get("default_value")?;
        default.as_str().map(Cow::Borrowed)
    })
}

/// An override as it is used and where it may lead, or why it may not be used.
fn permit<'t>(
    values: &TargetValues<'_>,
    base_url_override: &'t str,
    options: &ProxyOptions,
) -> Result<(Cow<'t, str>, Reach), ProxyError> {
    let url = UpstreamUrl::parse(base_url_override).map_err(|reason| ProxyError::InvalidUrl {
        place: "`Base-Url-Override`",
        reason,
    })?;
    let listed = options.override_hosts.iter().any(|rule| host_matches(rule, url.host()));
    if listed || is_own_host(values, &url) {
        return Ok((Cow::Borrowed(base_url_override), Reach::Public));
    }
    // APIs behind a gateway that ends TLS often write links to themselves with `http`.
    if let Some(upgraded) = upgraded(&url, base_url_override).filter(|(url, _)| is_own_host(values, url)) {
        return Ok((Cow::Owned(upgraded.1), Reach::Public));
    }
    let denied = options.egress_allow.is_empty()
        || url.address.is_some_and(|address| {
            let address = address.to_canonical();
            !options.egress_allow.iter().any(|net| net.contains(&address))
        });
    if denied {
        // An address that no host list would open says which network would.
        if let Some(address) = url.address {
            let public = EgressPolicy::public(options.egress_allow.clone());
            public.check(url.host(), address).map_err(ProxyError::EgressDenied)?;
        }
        return Err(ProxyError::OverrideNotAllowed {
            host: url.host().to_owned(),
            provider: values.target.provider.name.clone(),
        });
    }
    Ok((Cow::Borrowed(base_url_override), Reach::AllowedOnly))
}

/// The same URL with https, for one with http that names no port.
fn upgraded(url: &UpstreamUrl, text: &str) -> Option<(UpstreamUrl, String)> {
    if url.is_https() || url.uri.port().is_some() {
        return None;
    }
    let upgraded = format!("https://{}", text.split_once("://")?.1);
    Some((UpstreamUrl::parse(&upgraded).ok()?, upgraded))
}

/// `api.example.com`, `.example.com` (every host below it), or `*`.
fn host_matches(rule: &str, host: &str) -> bool {
    let rule = rule.trim().to_ascii_lowercase();
    rule == "*" || rule == host || (rule.starts_with('.') && host.ends_with(&rule))
}

/// The provider's own host or one below it, without a step from https down to http.
fn is_own_host(values: &TargetValues<'_>, url: &UpstreamUrl) -> bool {
    let Some(own) = own(values).ok().and_then(|own| UpstreamUrl::parse(&own).ok()) else {
        return false;
    };
    let below = || {
        own.address.is_none()
            && url
                .host()
                .strip_suffix(own.host())
                .is_some_and(|head| head.ends_with('.'))
    };
    (url.is_https() || !own.is_https()) && (url.host() == own.host() || below())
}

/// Whether the provider's integrations bring this setting themselves.
pub(super) fn declares(target: &Target, key: &str) -> bool {
    let fields = target
        .provider
        .json
        .get("integration_config")
        .and_then(Value::as_object);
    fields.is_some_and(|fields| fields.contains_key(key)) || custom(target, key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn override_rules() {
        assert!(host_matches("api.test", "api.test"));
        assert!(!host_matches("api.test", "evil-api.test"));
        assert!(host_matches(".test", "api.test"));
        assert!(!host_matches(".test", "test"));
        assert!(host_matches("*", "anything"));
    }
}
