//! The body of an import. Names and tags are checked here; whether the credentials fit the provider is decided where they are sealed.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::connections::NewConnection;
use crate::http::error::ApiError;
use crate::http::fault::Fault;
use crate::http::names::{is_connection_id, is_provider_config_key};
use crate::model::{EndUser, JsonObject, Organization};

const TAGS_MAX: usize = 10;
const TAG_KEY_CHARS_MAX: usize = 64;
pub(super) const TAG_VALUE_CHARS_MAX: usize = 255;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportConnection {
    pub(super) provider_config_key: String,
    /// A UUID is made when absent.
    #[serde(default)]
    pub(super) connection_id: Option<String>,
    /// With a `type` that is the provider's: `{"type": "API_KEY", "apiKey": …}`, `{"type": "BASIC", "username": …, "password": …}`,
    /// `{"type": "OAUTH2", "access_token": …, "refresh_token": …, "expires_at": …}`, `{"type": "NONE"}` and so on for APP,
    /// AWS_SIGV4, BILL, JWT, OAUTH1, OAUTH2_CC, SIGNATURE, TBA and TWO_STEP, with the fields that they are shown with.
    #[schema(value_type = Object)]
    pub(super) credentials: Value,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(super) metadata: Option<JsonObject>,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(super) connection_config: Option<JsonObject>,
    #[serde(default)]
    pub(super) tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) end_user: Option<ImportEndUser>,
    /// Where webhooks about the connection go, in the place of the environment's URLs. Empty takes it away.
    #[serde(default)]
    pub(super) webhook_url_override: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportEndUser {
    id: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    organization: Option<ImportOrganization>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportOrganization {
    id: String,
    #[serde(default)]
    display_name: Option<String>,
}

impl ImportEndUser {
    pub(super) fn into_model(self, faults: &mut Vec<Fault>) -> EndUser {
        EndUser {
            id: self.id,
            email: self.email,
            display_name: self.display_name,
            tags: checked_tags(self.tags.unwrap_or_default(), faults),
            organization: self.organization.map(|organization| Organization {
                id: organization.id,
                display_name: organization.display_name,
            }),
        }
    }
}

impl ImportConnection {
    pub fn into_new(self) -> Result<NewConnection, ApiError> {
        let mut faults = Vec::new();
        if !is_provider_config_key(&self.provider_config_key) {
            faults.push(Fault::malformed_name("provider_config_key", "provider config key"));
        }
        if self.connection_id.as_deref().is_some_and(|id| !is_connection_id(id)) {
            faults.push(Fault::malformed_name("connection_id", "connection id"));
        }
        let tags = checked_tags(self.tags.unwrap_or_default(), &mut faults);
        let end_user = self.end_user.map(|end_user| end_user.into_model(&mut faults));
        if !faults.is_empty() {
            return Err(ApiError::faults("invalid_body", faults));
        }
        Ok(NewConnection {
            provider_config_key: self.provider_config_key,
            connection_id: self.connection_id,
            credentials: self.credentials,
            connection_config: self.connection_config.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default(),
            tags,
            end_user,
            webhook_url_override: self.webhook_url_override,
        })
    }
}

/// Tags with their keys in lower case.
pub(super) fn checked_tags(tags: BTreeMap<String, String>, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    if tags.len() > TAGS_MAX {
        faults.push(Fault::new(
            "too_big",
            format!("Too big: expected at most {TAGS_MAX} tags"),
            "tags",
        ));
    }
    for (key, value) in &tags {
        if !is_tag_key(key) || !(1..=TAG_VALUE_CHARS_MAX).contains(&value.chars().count()) {
            let message = format!(
                "Invalid input: expected a key of letters, digits and _ - . / that begins with a letter ({TAG_KEY_CHARS_MAX} at \
                 most), and a value of 1 to {TAG_VALUE_CHARS_MAX} characters"
            );
            faults.push(Fault {
                code: "invalid_format",
                message,
                path: vec!["tags".to_owned(), key.clone()],
            });
        }
    }
    let mut lower_cased = BTreeMap::new();
    for (key, value) in tags {
        let lower = key.to_ascii_lowercase();
        if lower_cased.insert(lower, value).is_some() {
            faults.push(Fault {
                code: "invalid_value",
                message: "Invalid input: this tag is given twice, in different case".to_owned(),
                path: vec!["tags".to_owned(), key],
            });
        }
    }
    lower_cased
}

pub(super) fn is_tag_key(key: &str) -> bool {
    key.len() <= TAG_KEY_CHARS_MAX
        && key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body::parse;
    use crate::http::error::tests::rendered;

    fn new(body: &str) -> Result<NewConnection, ApiError> {
        parse::<ImportConnection>(body.as_bytes())?.into_new()
    }

    #[test]
    fn an_import() {
        let body = r#"{"provider_config_key":"github","connection_id":"tmp-conn","credentials":{"type":"OAUTH2","access_token":"t"},
            "metadata":{"a":1},"connection_config":{"sub":"x"},"tags":{"End_User_Id":"u9"},"end_user":{"id":"u1","email":null}}"#;
        let new = new(body).unwrap();
        assert_eq!(new.connection_id.as_deref(), Some("tmp-conn"));
        assert_eq!(new.tags["end_user_id"], "u9");
        assert_eq!(new.metadata["a"], 1);
        assert_eq!(new.end_user.unwrap().id, "u1");
    }

    #[tokio::test]
    async fn refused_ones() {
        for (body, expected) in [
            (r#"{"provider_config_key":"g"}"#, r#""path":["credentials"]"#),
            (
                r#"{"provider_config_key":"g","credentials":{},"connection_id":""}"#,
                r#""path":["connection_id"]"#,
            ),
            (
                r#"{"provider_config_key":"g","credentials":{},"tags":{"1a":"x"}}"#,
                r#""path":["tags","1a"]"#,
            ),
            (
                r#"{"provider_config_key":"g","credentials":{},"tags":{"a":""}}"#,
                r#""path":["tags","a"]"#,
            ),
            (
                r#"{"provider_config_key":"g","credentials":{},"tags":{"A":"1","a":"2"}}"#,
                r#""path":["tags","a"]"#,
            ),
        ] {
            let refusal = rendered(new(body).err().unwrap()).await;
            assert!(refusal.contains(expected), "{body}: {refusal}");
        }
    }
}
