//! What to list. Strict: a filter that is empty or misspelt would list more than was asked for, so it is refused.

use std::collections::BTreeMap;

use super::import::{TAG_VALUE_CHARS_MAX, is_tag_key};
use crate::http::error::ApiError;
use crate::http::fault::Fault;
use crate::http::names::{is_connection_id, is_provider_config_key};
use crate::http::query::Query;
use crate::store::ConnectionQuery;

/// Connections in one answer, and how many there are when no `limit` is given.
const LIMIT_MAX: i64 = 2_000;
const PAGE_MAX: i64 = 1_000_000;
/// Characters that `search` and the ids of end users and organizations may have.
const TEXT_CHARS_MAX: usize = 255;

pub(super) fn parse(query: Option<&str>) -> Result<ConnectionQuery, ApiError> {
    let mut query = Query::parse(query);
    let what = "text of 1 to 255 characters";
    let list = ConnectionQuery {
        connection_id: query.optional_name("connectionId", "connection id", is_connection_id),
        search: query.optional_name("search", what, is_text),
        end_user_id: query.optional_name("endUserId", what, is_text),
        organization_id: query.optional_name("endUserOrganizationId", what, is_text),
        integration_ids: query
            .optional_name(
                "integrationId",
                "unique key, nor several with commas between",
                is_list_of_keys,
            )
            .map(|ids| ids.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        tags: tags(&mut query),
        limit: query.integer("limit", 1..=LIMIT_MAX, LIMIT_MAX),
        page: query.integer("page", 0..=PAGE_MAX, 0),
    };
    query.finish()?;
    Ok(list)
}

fn is_text(text: &str) -> bool {
    (1..=TEXT_CHARS_MAX).contains(&text.chars().count()) && !text.contains('\0')
}

fn is_list_of_keys(keys: &str) -> bool {
    keys.split(',').all(is_provider_config_key)
}

/// Keys in lower case, as they are stored.
fn tags(query: &mut Query) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for (key, value) in query.bracketed("tags") {
        let path = format!("tags[{key}]");
        let is_value = (1..=TAG_VALUE_CHARS_MAX).contains(&value.chars().count()) && !value.contains('\0');
        if !is_tag_key(&key) || !is_value {
            query.fault(Fault::malformed_name(&path, "tag that a connection could have"));
        } else if tags.insert(key.to_ascii_lowercase(), value).is_some() {
            query.fault(Fault::new(
                "invalid_value",
                "Invalid input: this tag is given twice",
                &path,
            ));
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    #[test]
    fn what_the_node_client_asks_for() {
        let query = parse(Some(
            "integrationId=github,slack&tags%5BEnd_User_Id%5D=u9&limit=5&page=1&endUserOrganizationId=o1",
        ))
        .unwrap();
        assert_eq!(query.integration_ids, ["github", "slack"]);
        assert_eq!(query.tags["end_user_id"], "u9");
        assert_eq!((query.limit, query.page), (5, 1));
        assert_eq!(query.organization_id.as_deref(), Some("o1"));
        let query = parse(None).unwrap();
        assert_eq!((query.limit, query.page, query.integration_ids.len()), (2_000, 0, 0));
    }

    #[tokio::test]
    async fn what_would_list_too_much_is_refused() {
        let long = format!("search={}", "x".repeat(256));
        for (query, path) in [
            ("connectionId=", "connectionId"),
            ("connectionId=a&connectionId=b", "connectionId"),
            ("search=", "search"),
            (long.as_str(), "search"),
            ("endUserId=", "endUserId"),
            ("endUserOrganizationId=", "endUserOrganizationId"),
            ("integrationId=", "integrationId"),
            ("integrationId=github,", "integrationId"),
            ("tags[plan]=", "tags[plan]"),
            ("tags[1]=x", "tags[1]"),
            ("tags[plan]=a&tags[Plan]=b", "tags[Plan]"),
            ("limit=0", "limit"),
            ("limit=2001", "limit"),
            ("page=-1", "page"),
        ] {
            let refusal = rendered(parse(Some(query)).err().unwrap()).await;
            assert!(
                refusal.starts_with(r#"400 {"error":{"code":"invalid_query_params""#),
                "{refusal}"
            );
            assert!(refusal.contains(&format!(r#""path":["{path}"]"#)), "{query}: {refusal}");
        }
        for query in ["integration_id=github", "tags=x", "tags[]=x"] {
            let refusal = rendered(parse(Some(query)).err().unwrap()).await;
            assert!(refusal.contains("unrecognized_keys"), "{query}: {refusal}");
        }
    }
}
