//! Which base URL a request starts from: the provider's, the integration's own, or the caller's `Base-Url-Override`, and
//! whether that override is permitted. An override may name the provider's own host or one below it, a host the operator
//! listed in `override_hosts`, or a host all of whose addresses are in `egress_allow`; anything else would hand the
//! connection's credentials to whom the caller likes.

use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use super::egress::EgressPolicy;
use super::url::{UpstreamUrl, VALUE};
use super::{ProxyError, ProxyOptions, values};
use crate::connections::Target;

/// Which addresses a request may be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Public ones, and those of `egress_allow`.
    Public,
    /// Those of `egress_allow` only.
    AllowedOnly,
}

/// The base URL, without a trailing slash.
pub(super) fn resolve(
    target: &Target,
    base_url_override: Option<&str>,
    options: &ProxyOptions,
) -> Result<(String, Reach), ProxyError> {
    let (mut base, reach) = match base_url_override.map(str::trim).filter(|url| !url.is_empty()) {
        Some(url) => (url.to_owned(), permit(target, url, options)?),
        None => (own(target)?, Reach::Public),
    };
    if base.ends_with('/') {
        base.pop();
    }
    Ok((base, reach))
}

/// The base URL that the integration or the provider's data gives.
fn own(target: &Target) -> Result<String, ProxyError> {
    if let Some(url) = custom(target, "baseUrl") {
        return Ok(url);
    }
    let spec = target.provider.proxy.as_ref();
    match spec.and_then(|spec| spec.base_url.as_deref()) {
        Some(template) => fill_url(target, template),
        None => Err(ProxyError::MissingApiUrl {
            provider: target.provider.name.clone(),
        }),
    }
}

/// A setting of an integration whose provider leaves it open (`private-api-generic` and the like).
pub(super) fn custom(target: &Target, key: &str) -> Option<String> {
    let fields = target.provider.json.get("integration_config")?;
    let given = values::at(&target.integration_config, key).filter(|value| !value.is_empty());
    given.or_else(|| {
        let default = fields.get(key)?.get("default_value")?;
        default.as_str().map(str::to_owned)
    })
}

/// The first alternative (`X || Y`) all of whose values are there.
fn fill_url(target: &Target, template: &str) -> Result<String, ProxyError> {
    let mut missing = None;
    for alternative in split_outside(template, "||") {
        match fill_alternative(target, alternative.trim()) {
            Ok(url) => return Ok(url),
            Err(error @ ProxyError::MissingValue { .. }) => missing = missing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(missing.unwrap_or_else(|| ProxyError::MissingApiUrl {
        provider: target.provider.name.clone(),
    }))
}

/// Values are encoded by their position. In the authority they stay as they are: whatever cannot stand in a host, or would
/// end it, makes the URL malformed. A value that brings the scheme along is a URL of its own.
fn fill_alternative(target: &Target, template: &str) -> Result<String, ProxyError> {
    const PLACE: &str = "the base URL";
    let escape = |value: &str| utf8_percent_encode(value, VALUE).to_string();
    let Some(scheme_end) = find_outside(template, "://").map(|at| at + "://".len()) else {
        return values::fill(target, template, PLACE, &|value: &str| value.to_owned())
            .map(std::borrow::Cow::into_owned);
    };
    let rest = template.get(scheme_end..).unwrap_or_default();
    let path_start = ["/", "?", "#"]
        .iter()
        .filter_map(|end| find_outside(rest, end))
        .min()
        .map_or(template.len(), |at| scheme_end + at);
    let (authority, path) = template.split_at_checked(path_start).unwrap_or((template, ""));
    let host_value = |value: &str| {
        // `%00` is refused by every URL parser.
        let fits = value
            .bytes()
            .all(|byte| !matches!(byte, b'/' | b'?' | b'#' | b'\\' | b'@'));
        if fits { value.to_owned() } else { "%00".to_owned() }
    };
    let mut url = values::fill(target, authority, PLACE, &host_value)?.into_owned();
    url.push_str(&values::fill(target, path, PLACE, &escape)?);
    Ok(url)
}

/// Where `needle` first stands in the literal text of a template, that is outside `${…}`.
fn find_outside(template: &str, needle: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut previous = b' ';
    for (at, byte) in template.bytes().enumerate() {
        match byte {
            b'{' if previous == b'$' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ if depth == 0 && template.get(at..).is_some_and(|rest| rest.starts_with(needle)) => return Some(at),
            _ => {}
        }
        previous = byte;
    }
    None
}

fn split_outside<'t>(template: &'t str, separator: &str) -> Vec<&'t str> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(at) = find_outside(rest, separator) {
        let (part, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
        parts.push(part);
        rest = tail.strip_prefix(separator).unwrap_or_default();
    }
    parts.push(rest);
    parts
}

/// Where an override may lead, or why it may not be used.
fn permit(target: &Target, base_url_override: &str, options: &ProxyOptions) -> Result<Reach, ProxyError> {
    let url = UpstreamUrl::parse(base_url_override).map_err(|reason| ProxyError::InvalidUrl {
        place: "`Base-Url-Override`",
        reason,
    })?;
    let listed = options.override_hosts.iter().any(|rule| host_matches(rule, url.host()));
    if listed || is_own_host(target, &url) {
        return Ok(Reach::Public);
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
            provider: target.provider.name.clone(),
        });
    }
    Ok(Reach::AllowedOnly)
}

/// `api.example.com`, `.example.com` (every host below it), or `*`.
fn host_matches(rule: &str, host: &str) -> bool {
    let rule = rule.trim().to_ascii_lowercase();
    rule == "*" || rule == host || (rule.starts_with('.') && host.ends_with(&rule))
}

/// The provider's own host or one below it, without a step from https down to http.
fn is_own_host(target: &Target, url: &UpstreamUrl) -> bool {
    let Some(own) = own(target).ok().and_then(|own| UpstreamUrl::parse(&own).ok()) else {
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
    fn literal_text_is_told_from_placeholders() {
        assert_eq!(find_outside("https://${a://b}.x/${c}/d", "/"), Some(6));
        assert_eq!(find_outside("${base64(${a}://${b})}://x", "://"), Some(22));
        assert_eq!(
            split_outside("https://${a||b}.x || https://y", "||"),
            ["https://${a||b}.x ", " https://y"]
        );
    }

    #[test]
    fn override_rules() {
        assert!(host_matches("api.test", "api.test"));
        assert!(!host_matches("api.test", "evil-api.test"));
        assert!(host_matches(".test", "api.test"));
        assert!(!host_matches(".test", "test"));
        assert!(host_matches("*", "anything"));
    }
}
