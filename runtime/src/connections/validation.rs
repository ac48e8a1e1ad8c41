//! Rules for keys, ids, names, tags and the like: charsets and lengths that clients of Nango's API rely on. Pure.

use std::collections::BTreeMap;

use url::Url;

use super::ConnectionsError;
use crate::model::{EndUser, JsonObject};

/// Longest key, id or name, in characters.
pub const NAME_CHARS_MAX: usize = 255;
pub const TAGS_MAX: usize = 10;
pub const TAG_KEY_CHARS_MAX: usize = 64;
/// Metadata of one connection as JSON.
pub const METADATA_BYTES_MAX: usize = 1024 * 1024;
/// The URL that webhooks of one connection go to.
pub const WEBHOOK_URL_CHARS_MAX: usize = 2_048;
/// `connection_config` of one connection, or `custom` of one integration, as JSON.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// A provider-config-key.
pub(crate) fn unique_key(field: &str, key: &str) -> Result<(), ConnectionsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "~:.@ _-".contains(c);
    name(field, key, allowed, "letters, digits, spaces and ~ : . @ _ -")
}

pub(crate) fn connection_id(field: &str, id: &str) -> Result<(), ConnectionsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || r#",.;:=+~[]|@${}"'\/_ -"#.contains(c);
    name(
        field,
        id,
        allowed,
        r#"letters, digits, spaces and , . ; : = + ~ [ ] | @ $ { } " ' \ / _ -"#,
    )
}

/// Text for people to read.
pub(super) fn display_name(field: &str, text: &str) -> Result<(), ConnectionsError> {
    name(field, text, |c| !c.is_control(), "printable text")
}

fn name(field: &str, text: &str, allowed: impl Fn(char) -> bool, described: &str) -> Result<(), ConnectionsError> {
    let chars = text.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX {
        let message = format!("must have 1 to {NAME_CHARS_MAX} characters, not {chars}");
        return Err(ConnectionsError::invalid(field, message));
    }
    match text.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(c) => Err(ConnectionsError::invalid(
            field,
            format!("{c:?} is not allowed; use {described}"),
        )),
    }
}

/// At most ten; keys are lower-cased.
pub(crate) fn tags(field: &str, tags: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ConnectionsError> {
    if tags.len() > TAGS_MAX {
        let message = format!("at most {TAGS_MAX} tags are allowed, not {}", tags.len());
        return Err(ConnectionsError::invalid(field, message));
    }
    let mut lower_cased = BTreeMap::new();
    for (key, value) in tags {
        tag(field, &key, &value)?;
        if lower_cased.insert(key.to_ascii_lowercase(), value).is_some() {
            let message = format!("the tag {key:?} is given twice in different case");
            return Err(ConnectionsError::invalid(field, message));
        }
    }
    Ok(lower_cased)
}

fn tag(field: &str, key: &str, value: &str) -> Result<(), ConnectionsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let well_formed = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(allowed);
    if !well_formed || key.len() > TAG_KEY_CHARS_MAX {
        let message = format!(
            "the tag {key:?} must start with a letter and have at most {TAG_KEY_CHARS_MAX} letters, digits and _ - . /"
        );
        return Err(ConnectionsError::invalid(field, message));
    }
    let chars = value.chars().count();
    if chars == 0 || chars > NAME_CHARS_MAX {
        let message = format!("the value of tag {key:?} must have 1 to {NAME_CHARS_MAX} characters, not {chars}");
        return Err(ConnectionsError::invalid(field, message));
    }
    if key.eq_ignore_ascii_case("end_user_email") && !is_email(value) {
        let message = format!("the tag {key:?} must be an e-mail address");
        return Err(ConnectionsError::invalid(field, message));
    }
    Ok(())
}

pub(crate) fn end_user(end_user: EndUser) -> Result<EndUser, ConnectionsError> {
    display_name("end_user.id", &end_user.id)?;
    if let Some(email) = &end_user.email
        && !is_email(email)
    {
        return Err(ConnectionsError::invalid("end_user.email", "must be an e-mail address"));
    }
    if let Some(name) = &end_user.display_name {
        display_name("end_user.display_name", name)?;
    }
    if let Some(organization) = &end_user.organization {
        display_name("end_user.organization.id", &organization.id)?;
        if let Some(name) = &organization.display_name {
            display_name("end_user.organization.display_name", name)?;
        }
    }
    let tags = tags("end_user.tags", end_user.tags)?;
    Ok(EndUser { tags, ..end_user })
}

/// A page for people.
pub(crate) fn link(field: &str, url: &str) -> Result<(), ConnectionsError> {
    let is_web = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if is_web && url.chars().count() <= WEBHOOK_URL_CHARS_MAX {
        return Ok(());
    }
    let message =
        format!("must be a URL that begins with https:// or http://, of at most {WEBHOOK_URL_CHARS_MAX} characters");
    Err(ConnectionsError::invalid(field, message))
}

/// Where webhooks of one connection go. That the address may be reached is decided when one is sent.
pub(crate) fn webhook_url(field: &str, url: String) -> Result<String, ConnectionsError> {
    let chars = url.chars().count();
    if chars > WEBHOOK_URL_CHARS_MAX {
        let message = format!("must have at most {WEBHOOK_URL_CHARS_MAX} characters, not {chars}");
        return Err(ConnectionsError::invalid(field, message));
    }
    let parsed = Url::parse(&url).ok();
    let is_plain = |url: &Url| url.username().is_empty() && url.password().is_none();
    match parsed.filter(|url| matches!(url.scheme(), "http" | "https") && is_plain(url)) {
        Some(_) => Ok(url),
        // Not repeated: it may hold a secret.
        None => Err(ConnectionsError::invalid(
            field,
            "must be a URL that begins with https:// or http:// and names no user",
        )),
    }
}

/// That the JSON form is not larger than `bytes_max`.
pub(crate) fn size(field: &str, object: &JsonObject, bytes_max: usize) -> Result<(), ConnectionsError> {
    // Writing a JSON object to memory does not fail.
    let bytes = serde_json::to_vec(object).map_or(usize::MAX, |json| json.len());
    if bytes <= bytes_max {
        return Ok(());
    }
    let message = format!("has {bytes} bytes as JSON; at most {bytes_max} are allowed");
    Err(ConnectionsError::invalid(field, message))
}

/// Catches slips, does not prove that mail arrives.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let no_space = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let dotted = domain.split('.').count() > 1 && domain.split('.').all(|label| !label.is_empty());
    no_space && !local.is_empty() && dotted && text.chars().count() <= NAME_CHARS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<(), ConnectionsError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn keys_and_ids() {
        for key in ["github", "x y", "a~b:c.d@e_f-g", &"k".repeat(255)] {
            assert!(unique_key("unique_key", key).is_ok(), "{key}");
        }
        for id in [
            "user@example.com",
            r#"a,.;:=+~[]|@${}"'\/_ -"#,
            "550e8400-e29b-41d4-a716-446655440000",
        ] {
            assert!(connection_id("connection_id", id).is_ok(), "{id}");
        }
        assert_eq!(
            message(unique_key("unique_key", "a/b")),
            "unique_key: '/' is not allowed; use letters, digits, spaces and ~ : . @ _ -"
        );
        assert_eq!(
            message(unique_key("unique_key", "")),
            "unique_key: must have 1 to 255 characters, not 0"
        );
        assert!(connection_id("connection_id", &"c".repeat(256)).is_err());
        assert!(connection_id("connection_id", "a\nb").is_err());
        assert!(connection_id("connection_id", "ü").is_err());
    }

    #[test]
    fn tags_are_checked_and_lower_cased() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let lower = tags("tags", map(&[("Plan", "Pro"), ("end_user_email", "a@b.co")])).unwrap();
        assert_eq!(lower, map(&[("plan", "Pro"), ("end_user_email", "a@b.co")]));
        for (pairs, part) in [
            (map(&[("1x", "v")]), "must start with a letter"),
            (map(&[("a b", "v")]), "must start with a letter"),
            (map(&[("x", "")]), "1 to 255 characters, not 0"),
            (map(&[("A", "1"), ("a", "2")]), "given twice"),
            (map(&[("end_user_email", "nobody")]), "must be an e-mail address"),
            (
                (0..11).map(|n| (format!("k{n}"), "v".to_owned())).collect(),
                "at most 10 tags",
            ),
        ] {
            let message = tags("tags", pairs).unwrap_err().to_string();
            assert!(message.starts_with("tags: ") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn webhooks_go_to_urls() {
        let check = |url: &str| webhook_url("webhook_url_override", url.to_owned()).is_ok();
        assert!(check("https://a.test/hook?x=1") && check("http://127.0.0.1:9/"));
        let long = format!("https://a.test/{}", "x".repeat(WEBHOOK_URL_CHARS_MAX));
        for bad in [
            "",
            "a.test",
            "ftp://a.test",
            "https://",
            "https://u:p@a.test",
            "javascript:x",
            &long,
        ] {
            assert!(!check(bad), "{bad}");
        }
    }

    #[test]
    fn end_users() {
        let user = |id: &str, email: Option<&str>| EndUser {
            id: id.to_owned(),
            email: email.map(ToOwned::to_owned),
            display_name: None,
            tags: BTreeMap::new(),
            organization: None,
        };
        assert!(end_user(user("u1", Some("a.b@c.example"))).is_ok());
        for bad in [
            user("", None),
            user("u", Some("a@b")),
            user("u", Some("a b@c.de")),
            user("u", Some("@c.de")),
        ] {
            assert!(end_user(bad).is_err());
        }
    }
}
