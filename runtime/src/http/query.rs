//! Query parameters, strictly: what a route does not know is refused, because a misspelt filter that is ignored gives wrong data. Faults
//! are gathered while parameters are taken and reported together by [`Query::finish`]; until then a faulty parameter has a stand-in value.

use std::ops::RangeInclusive;

use axum::extract::FromRequestParts;
use axum::extract::rejection::PathRejection;
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::error::ApiError;
use super::fault::Fault;

/// The parameters not taken yet, and what was wrong so far.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl Query {
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self {
            pairs: pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            faults: Vec::new(),
        }
    }

    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Every value of a parameter that may be repeated.
    pub fn repeated(&mut self, name: &str) -> Vec<String> {
        let taken = self
            .pairs
            .extract_if(.., |(given, _)| given == name || given.strip_suffix("[]") == Some(name));
        taken.map(|(_, value)| value).collect()
    }

    /// The value of a parameter that may be given once.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        let mut values = self.repeated(name);
        if values.len() > 1 {
            self.fault(Fault::new(
                "invalid_type",
                "Invalid input: expected string, received array",
                name,
            ));
        }
        values.pop()
    }

    /// The value of a parameter that must be given once.
    pub fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.fault(Fault::missing(name));
            String::new()
        })
    }

    /// As [`Query::optional`], with a check of the value; `what` names what it should be.
    pub fn optional_name(&mut self, name: &str, what: &str, is_valid: fn(&str) -> bool) -> Option<String> {
        let value = self.optional(name)?;
        if !is_valid(&value) {
            self.fault(Fault::malformed_name(name, what));
        }
        Some(value)
    }

    /// As [`Query::required`], with a check of the value; `what` names what it should be.
    pub fn required_name(&mut self, name: &str, what: &str, is_valid: fn(&str) -> bool) -> String {
        let value = self.required(name);
        // An absent one is a fault already.
        if !value.is_empty() && !is_valid(&value) {
            self.fault(Fault::malformed_name(name, what));
        }
        value
    }

    /// Whether a parameter was given and not taken yet.
    pub fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(given, _)| given == name)
    }

    /// One of a few `words`, each of which is what `T` is called in JSON.
    pub fn word<T: DeserializeOwned>(&mut self, name: &str, words: &[&str]) -> Option<T> {
        let value = self.optional(name)?;
        let word = words
            .contains(&value.as_str())
            .then(|| serde_json::from_value(value.into()).ok());
        if word.is_none() {
            let message = format!("Invalid option: expected one of {}", words.join("|"));
            self.fault(Fault::new("invalid_value", message, name));
        }
        word.flatten()
    }

    pub fn integer(&mut self, name: &str, range: RangeInclusive<i64>, default: i64) -> i64 {
        let Some(value) = self.optional(name) else {
            return default;
        };
        if let Ok(number) = value.parse()
            && range.contains(&number)
        {
            return number;
        }
        let message = format!(
            "Invalid input: expected an integer from {} to {}",
            range.start(),
            range.end()
        );
        self.fault(Fault::new("invalid_type", message, name));
        default
    }

    pub fn boolean(&mut self, name: &str) -> bool {
        match self.optional(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.fault(Fault::new(
                    "invalid_value",
                    "Invalid input: expected \"true\" or \"false\"",
                    name,
                ));
                false
            }
        }
    }

    /// Keys and values of all `name[key]`, as they were given.
    pub fn bracketed(&mut self, name: &str) -> Vec<(String, String)> {
        let key = |given: &str| {
            let key = given.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            (!key.is_empty()).then(|| key.to_owned())
        };
        let taken = self.pairs.extract_if(.., |(given, _)| key(given).is_some());
        taken.filter_map(|(given, value)| Some((key(&given)?, value))).collect()
    }

    /// Refuses what is left and reports all faults.
    pub fn finish(mut self) -> Result<(), ApiError> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.fault(Fault {
                code: "unrecognized_keys",
                message: format!("Unrecognized key: {name:?}"),
                path: Vec::new(),
            });
        }
        if self.faults.is_empty() {
            return Ok(());
        }
        Err(ApiError::faults("invalid_query_params", self.faults))
    }
}

/// Parameters of the path, percent-decoded.
pub struct PathParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParams<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params: Result<_, PathRejection> = axum::extract::Path::from_request_parts(parts, state).await;
        let axum::extract::Path(params) = params
            .map_err(|rejection| ApiError::new(StatusCode::BAD_REQUEST, "invalid_uri_params", rejection.body_text()))?;
        Ok(Self(params))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::tests::rendered;

    #[tokio::test]
    async fn takes_what_is_known_and_refuses_the_rest() {
        let mut query = Query::parse(Some("ids=1&ids=2&ids[]=3&tags%5Bplan%5D=pro&limit=5&deep=true"));
        assert_eq!(query.repeated("ids"), ["1", "2", "3"]);
        assert_eq!(query.bracketed("tags"), [("plan".into(), "pro".into())]);
        assert_eq!(query.integer("limit", 1..=10, 1), 5);
        assert_eq!(query.integer("page", 0..=10, 0), 0);
        assert!(query.boolean("deep"));
        assert!(query.finish().is_ok());
    }

    #[tokio::test]
    async fn reports_every_fault_at_once() {
        let mut query = Query::parse(Some("limit=0&limit2=1&deep=yes&cursor=a&cursor=b"));
        query.required("model");
        query.integer("limit", 1..=10, 1);
        query.boolean("deep");
        query.optional("cursor");
        assert_eq!(
            rendered(query.finish().unwrap_err()).await,
            concat!(
                r#"400 {"error":{"code":"invalid_query_params","errors":["#,
                r#"{"code":"invalid_type","message":"Invalid input: expected string, received undefined","path":["model"]},"#,
                r#"{"code":"invalid_type","message":"Invalid input: expected an integer from 1 to 10","path":["limit"]},"#,
                r#"{"code":"invalid_value","message":"Invalid input: expected \"true\" or \"false\"","path":["deep"]},"#,
                r#"{"code":"invalid_type","message":"Invalid input: expected string, received array","path":["cursor"]},"#,
                r#"{"code":"unrecognized_keys","message":"Unrecognized key: \"limit2\"","path":[]}]}}"#
            )
        );
    }
}
