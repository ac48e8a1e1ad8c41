//! The body of a patch: end user, tags, where webhooks go, values of `connection_config`, and other credentials.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::import::{ImportEndUser, checked_tags};
use crate::http::error::ApiError;
use crate::model::JsonObject;
use crate::runtime::ConnectionChange;
use crate::store::ConnectionPatch;

/// What is absent stays.
#[expect(
    clippy::option_option,
    reason = "absent, null and a value are three things to a patch"
)]
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchConnection {
    /// In the place of the one that was there; null takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<ImportEndUser>)]
    end_user: Option<Option<ImportEndUser>>,
    /// In the place of those that were there; null takes them away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    tags: Option<Option<BTreeMap<String, String>>>,
    /// Where webhooks about the connection go, in the place of the environment's URLs; empty or null takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    webhook_url_override: Option<Option<String>>,
    /// Values to be merged into those that are there; null takes one away.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    connection_config: Option<JsonObject>,
    /// In the place of those that were there, as an import has them. They are tried as those of an import.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    credentials: Option<JsonObject>,
}

/// Tells null, `Some(None)`, from what is absent.
#[expect(
    clippy::option_option,
    reason = "absent, null and a value are three things to a patch"
)]
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl PatchConnection {
    /// Whether values are to be changed that may say where requests go, without the credentials that these take along.
    pub fn may_lead_elsewhere(&self) -> bool {
        self.connection_config.is_some() && self.credentials.is_none()
    }

    pub fn into_change(self) -> Result<ConnectionChange, ApiError> {
        let mut faults = Vec::new();
        let tags = self
            .tags
            .map(|tags| checked_tags(tags.unwrap_or_default(), &mut faults));
        let end_user = self
            .end_user
            .map(|end_user| end_user.map(|end_user| end_user.into_model(&mut faults)));
        if !faults.is_empty() {
            return Err(ApiError::faults("invalid_body", faults));
        }
        let webhook_url_override = self.webhook_url_override.map(|url| url.filter(|url| !url.is_empty()));
        Ok(ConnectionChange {
            patch: ConnectionPatch {
                tags,
                end_user,
                webhook_url_override,
                connection_config: None,
            },
            connection_config: self.connection_config,
            credentials: self.credentials.map(Value::Object),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::body::parse;
    use crate::http::error::tests::rendered;

    fn patch(body: &str) -> Result<ConnectionPatch, ApiError> {
        Ok(parse::<PatchConnection>(body.as_bytes())?.into_change()?.patch)
    }

    #[test]
    fn absent_null_and_given_are_three_things() {
        let absent = patch("{}").unwrap();
        assert!(absent.tags.is_none() && absent.end_user.is_none());
        let null = patch(r#"{"tags":null,"end_user":null,"webhook_url_override":""}"#).unwrap();
        assert_eq!((null.tags, null.end_user), (Some(BTreeMap::new()), Some(None)));
        assert_eq!(
            (absent.webhook_url_override, null.webhook_url_override),
            (None, Some(None))
        );
        let url = patch(r#"{"webhook_url_override":"https://a.test"}"#)
            .unwrap()
            .webhook_url_override;
        assert_eq!(url, Some(Some("https://a.test".to_owned())));
        let given = patch(r#"{"tags":{"Plan":"pro"},"end_user":{"id":"u1","organization":{"id":"o1"}}}"#).unwrap();
        assert_eq!(given.tags.unwrap()["plan"], "pro");
        let end_user = given.end_user.unwrap().unwrap();
        assert_eq!(
            (end_user.id.as_str(), end_user.organization.unwrap().id.as_str()),
            ("u1", "o1")
        );
    }

    #[tokio::test]
    async fn refused_ones() {
        for (body, expected) in [
            (r#"{"credentials":1}"#, "invalid_body"),
            (r#"{"connection_config":[]}"#, "invalid_body"),
            (r#"{"metadata":{}}"#, "unrecognized_keys"),
            (r#"{"tags":{"1a":"x"}}"#, r#""path":["tags","1a"]"#),
            (r#"{"end_user":{"email":"a@b.co"}}"#, r#""path":["end_user","id"]"#),
        ] {
            let refusal = rendered(patch(body).err().unwrap()).await;
            assert!(refusal.contains(expected), "{body}: {refusal}");
        }
    }
}
