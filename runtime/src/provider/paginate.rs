//! How a provider gives lists page by page: the key `proxy.paginate`. Only its shape is checked here. Whether enough is said to
//! follow the pages depends on what the function adds, and is for the function's SDK to say.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// Defaults for functions that ask for all pages of a list. Shown as the JSON object that they get.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PaginateSpec {
    #[serde(rename = "type")]
    pub kind: PaginateKind,
    /// Items on a page.
    #[serde(default, deserialize_with = "count", skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_name_in_request: Option<String>,
    /// Where in the answer the items are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_path: Option<String>,
    /// Whether parameters go into the body rather than the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_body: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor_path_in_response: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor_name_in_request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_rel_in_response_header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_path_in_response_body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_name_in_request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_start_value: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_calculation_method: Option<OffsetCalculation>,
}

/// What leads to the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PaginateKind {
    Cursor,
    Link,
    Offset,
}

/// What an offset counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OffsetCalculation {
    /// Items.
    ByResponseSize,
    /// Pages.
    PerPage,
}

impl fmt::Display for PaginateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names, texts and numbers always are JSON.
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// A number, also one in quotes.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    deserializer.deserialize_any(CountVisitor).map(Some)
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of items on a page")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u32, E> {
        u32::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u32, E> {
        text.parse()
            .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn functions_get_what_the_entry_says_and_no_more() {
        let entry = json!({
            "type": "offset", "limit": "50", "limit_name_in_request": "count", "offset_name_in_request": "page",
            "offset_calculation_method": "per-page", "offset_start_value": 1, "unheard_of": true,
        });
        let spec: PaginateSpec = serde_json::from_value(entry).unwrap();
        assert_eq!(
            spec.to_string(),
            r#"{"type":"offset","limit":50,"limit_name_in_request":"count","offset_name_in_request":"page","offset_start_value":1,"offset_calculation_method":"per-page"}"#
        );
    }

    #[test]
    fn malformed_ones_are_refused() {
        let error = |entry| serde_json::from_value::<PaginateSpec>(entry).unwrap_err().to_string();
        assert_eq!(
            error(json!({"type": "pages"})),
            "unknown variant `pages`, expected one of `cursor`, `link`, `offset`"
        );
        assert_eq!(
            error(json!({"type": "link", "limit": "many"})),
            "invalid value: string \"many\", expected a number of items on a page"
        );
        assert_eq!(error(json!({"limit": 1})), "missing field `type`");
    }
}
