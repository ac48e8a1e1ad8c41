//! How a list is paged: what the function says over what the provider's data says, checked before the first request.

use serde_json::Value;

use super::error::PaginationError;

/// Everything optional; names and meanings are those of Nango.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) kind: Option<Kind>,
    pub(super) limit: Option<u32>,
    pub(super) limit_name_in_request: Option<String>,
    pub(super) response_path: Option<String>,
    pub(super) in_body: Option<bool>,
    pub(super) cursor_path_in_response: Option<String>,
    pub(super) cursor_name_in_request: Option<String>,
    pub(super) link_rel_in_response_header: Option<String>,
    pub(super) link_path_in_response_body: Option<String>,
    pub(super) offset_name_in_request: Option<String>,
    pub(super) offset_start_value: Option<u64>,
    pub(super) offset_calculation_method: Option<Calculation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cursor,
    Link,
    Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calculation {
    ByResponseSize,
    PerPage,
}

/// A pagination for which everything is said that it needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) way: Way,
    pub(super) limit: Option<u32>,
    pub(super) limit_name: Option<String>,
    pub(super) response_path: String,
    pub(super) in_body: bool,
}

/// What leads from page to page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    Cursor {
        path: String,
        name: String,
    },
    Link {
        relation: Option<String>,
        path: Option<String>,
    },
    Offset {
        name: String,
        start: u64,
        calculation: Calculation,
    },
}

impl Options {
    /// Reads what the host says of the provider; it has checked it. By hand, because a derived reader would be one of the larger
    /// parts of a small component.
    pub(super) fn read(provider: &Value) -> Self {
        let word = |name: &str| provider.get(name).and_then(Value::as_str);
        let text = |name: &str| word(name).map(str::to_owned);
        let number = |name: &str| provider.get(name).and_then(Value::as_u64);
        Self {
            kind: match word("type") {
                Some("cursor") => Some(Kind::Cursor),
                Some("link") => Some(Kind::Link),
                Some("offset") => Some(Kind::Offset),
                Some(_) | None => None,
            },
            limit: number("limit").and_then(|limit| u32::try_from(limit).ok()),
            limit_name_in_request: text("limit_name_in_request"),
            response_path: text("response_path"),
            in_body: provider.get("in_body").and_then(Value::as_bool),
            cursor_path_in_response: text("cursor_path_in_response"),
            cursor_name_in_request: text("cursor_name_in_request"),
            link_rel_in_response_header: text("link_rel_in_response_header"),
            link_path_in_response_body: text("link_path_in_response_body"),
            offset_name_in_request: text("offset_name_in_request"),
            offset_start_value: number("offset_start_value"),
            offset_calculation_method: match word("offset_calculation_method") {
                Some("per-page") => Some(Calculation::PerPage),
                Some("by-response-size") => Some(Calculation::ByResponseSize),
                Some(_) | None => None,
            },
        }
    }

    /// These, and for what they do not say `defaults`.
    pub(super) fn over(self, defaults: Self) -> Self {
        // Who names one place of the link does not mean the provider's other.
        let says_link = self.link_rel_in_response_header.is_some() || self.link_path_in_response_body.is_some();
        let link = |own: Option<String>, default: Option<String>| if says_link { own } else { default };
        Self {
            kind: self.kind.or(defaults.kind),
            limit: self.limit.or(defaults.limit),
            limit_name_in_request: self.limit_name_in_request.or(defaults.limit_name_in_request),
            response_path: self.response_path.or(defaults.response_path),
            in_body: self.in_body.or(defaults.in_body),
            cursor_path_in_response: self.cursor_path_in_response.or(defaults.cursor_path_in_response),
            cursor_name_in_request: self.cursor_name_in_request.or(defaults.cursor_name_in_request),
            link_rel_in_response_header: link(self.link_rel_in_response_header, defaults.link_rel_in_response_header),
            link_path_in_response_body: link(self.link_path_in_response_body, defaults.link_path_in_response_body),
            offset_name_in_request: self.offset_name_in_request.or(defaults.offset_name_in_request),
            offset_start_value: self.offset_start_value.or(defaults.offset_start_value),
            offset_calculation_method: self.offset_calculation_method.or(defaults.offset_calculation_method),
        }
    }

    /// What is to be done for a request of that method, or none when nothing says how.
    pub(super) fn plan(self, method: &str) -> Result<Option<Plan>, PaginationError> {
        let Some(kind) = self.kind else { return Ok(None) };
        let (kind, way) = match kind {
            Kind::Cursor => {
                let needed = |option, value| needed("cursor", option, value);
                let path = needed("cursor_path_in_response", self.cursor_path_in_response)?;
                let name = needed("cursor_name_in_request", self.cursor_name_in_request)?;
                ("cursor", Way::Cursor { path, name })
            }
            Kind::Link => {
                let (relation, path) = (self.link_rel_in_response_header, self.link_path_in_response_body);
                if relation.is_none() {
                    let options = "link_rel_in_response_header` or `link_path_in_response_body";
                    let _ = needed("link", options, path.clone())?;
                }
                ("link", Way::Link { relation, path })
            }
            Kind::Offset => {
                let name = needed("offset", "offset_name_in_request", self.offset_name_in_request)?;
                let start = self.offset_start_value.unwrap_or(0);
                let calculation = self.offset_calculation_method.unwrap_or(Calculation::ByResponseSize);
                (
                    "offset",
                    Way::Offset {
                        name,
                        start,
                        calculation,
                    },
                )
            }
        };
        // With offsets a limit is of use without being sent: it tells the last page.
        if self.limit.is_some() && kind != "offset" {
            let _ = needed(kind, "limit_name_in_request", self.limit_name_in_request.clone())?;
        }
        Ok(Some(Plan {
            way,
            limit: self.limit,
            limit_name: self.limit_name_in_request,
            response_path: self.response_path.unwrap_or_default(),
            in_body: self.in_body.unwrap_or_else(|| {
                ["POST", "PUT", "PATCH"]
                    .iter()
                    .any(|one| one.eq_ignore_ascii_case(method))
            }),
        }))
    }
}

fn needed(kind: &'static str, option: &'static str, value: Option<String>) -> Result<String, PaginationError> {
    value
        .filter(|value| !value.is_empty())
        .ok_or(PaginationError::MissingOption { kind, option })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &str) -> Options {
        let json = serde_json::from_slice(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"));
        Options::read(&json)
    }

    fn error(json: &str) -> String {
        match options(json).plan("GET") {
            Err(error) => error.to_string(),
            Ok(plan) => panic!("{plan:?}"),
        }
    }

    #[test]
    fn the_functions_options_go_over_the_providers() {
        let provider = options(
            r#"{"type": "link", "link_rel_in_response_header": "next", "limit_name_in_request": "per_page", "new": 1}"#,
        );
        let plan = options(r#"{"limit": 10}"#).over(provider.clone()).plan("GET");
        let expected = Plan {
            way: Way::Link {
                relation: Some("next".to_owned()),
                path: None,
            },
            limit: Some(10),
            limit_name: Some("per_page".to_owned()),
            response_path: String::new(),
            in_body: false,
        };
        assert_eq!(plan.ok().flatten(), Some(expected));
        let by_path = options(r#"{"link_path_in_response_body": "next"}"#).over(provider);
        assert_eq!(by_path.link_rel_in_response_header, None);
    }

    #[test]
    fn defaults_are_those_of_nango() {
        let plan = options(r#"{"type": "offset", "offset_name_in_request": "skip"}"#).plan("post");
        let expected = Plan {
            way: Way::Offset {
                name: "skip".to_owned(),
                start: 0,
                calculation: Calculation::ByResponseSize,
            },
            limit: None,
            limit_name: None,
            response_path: String::new(),
            in_body: true,
        };
        assert_eq!(plan.ok().flatten(), Some(expected));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(matches!(options("{}").plan("GET"), Ok(None)));
        assert_eq!(
            error(r#"{"type": "cursor", "cursor_path_in_response": "next"}"#),
            "pagination by cursor needs `cursor_name_in_request`; neither the function nor the provider's data gives it"
        );
        assert!(error(r#"{"type": "link"}"#).contains("`link_rel_in_response_header` or `link_path_in_response_body`"));
        assert!(error(r#"{"type": "offset"}"#).contains("`offset_name_in_request`"));
        assert!(
            error(r#"{"type": "link", "link_rel_in_response_header": "next", "limit": 5}"#)
                .contains("`limit_name_in_request`")
        );
    }
}
