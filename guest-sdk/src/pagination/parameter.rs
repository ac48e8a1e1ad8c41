//! Puts a parameter of the pagination into a request: into the query or the body, in place of one of the same name.

use serde_json::{Map, Value};

use super::error::PaginationError;
use crate::form;
use crate::request::Request;

/// A value as the answer or the options gave it: in a JSON body a number stays one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Text(String),
    /// As JSON writes it, so that no digit is lost in a query.
    Number(String),
}

impl Parameter {
    /// A cursor as it stands in an answer, as JSON text. Blank text and what is neither text nor number is none: so APIs say
    /// that there is no next page.
    pub(super) fn of_cursor(json: &str) -> Option<Self> {
        match json.bytes().next()? {
            b'"' => {
                let text: String = serde_json::from_slice(json.as_bytes()).ok()?;
                let text = text.trim();
                (!text.is_empty()).then(|| Self::Text(text.to_owned()))
            }
            b'-' | b'0'..=b'9' => Some(Self::Number(json.to_owned())),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            // It was read from JSON or written by an integer.
            Self::Number(text) => serde_json::from_slice(text.as_bytes()).unwrap_or_default(),
        }
    }

    /// Sets it in the body or the query of a request. In a JSON body dots in its name lead into objects.
    pub(super) fn set(&self, request: &mut Request, name: &str, in_body: bool) -> Result<(), PaginationError> {
        if !in_body {
            self.set_in_query(request, name);
            return Ok(());
        }
        let content_type = request.content_type().unwrap_or_default().to_ascii_lowercase();
        let refused = |reason| PaginationError::NoPlaceInBody {
            name: name.to_owned(),
            reason,
        };
        let body = request.inner.body.take().unwrap_or_default();
        if content_type.starts_with(form::CONTENT_TYPE) {
            let body = String::from_utf8(body).map_err(|_| refused("it is no form"))?;
            let mut pairs = form::without(&body, name);
            form::push_pair(&mut pairs, name, self.text());
            request.inner.body = Some(pairs.into_bytes());
            return Ok(());
        }
        let mut object = match body.as_slice() {
            [] => Map::new(),
            body => match serde_json::from_slice(body) {
                Ok(Value::Object(object)) => object,
                Ok(_) => return Err(refused("it is JSON, but no object")),
                Err(_) => return Err(refused("it is neither JSON nor a form")),
            },
        };
        let fits = insert(&mut object, name, self.json());
        if !fits {
            return Err(refused("something else than an object is on its way"));
        }
        // A map whose keys are text always can be written.
        request.inner.body = Some(Value::Object(object).to_string().into_bytes());
        if content_type.is_empty() {
            let header = ("content-type".to_owned(), "application/json".to_owned());
            request.inner.headers.push(header);
        }
        Ok(())
    }

    fn set_in_query(&self, request: &mut Request, name: &str) {
        let inner = &mut request.inner;
        if let Some((path, query)) = inner.path.split_once('?') {
            let kept = form::without(query, name);
            inner.path = if kept.is_empty() {
                path.to_owned()
            } else {
                format!("{path}?{kept}")
            };
        }
        inner.query.retain(|(known, _)| known != name);
        inner.query.push((name.to_owned(), self.text().to_owned()));
    }
}

impl From<u64> for Parameter {
    fn from(number: u64) -> Self {
        Self::Number(number.to_string())
    }
}

/// False when something else than an object is on the way.
fn insert(mut object: &mut Map<String, Value>, name: &str, value: Value) -> bool {
    let mut name = name;
    while let Some((step, rest)) = name.split_once('.') {
        let next = object.entry(step).or_insert_with(|| Value::Object(Map::new()));
        if next.is_null() {
            *next = Value::Object(Map::new());
        }
        let Value::Object(next) = next else { return false };
        (object, name) = (next, rest);
    }
    object.insert(name.to_owned(), value);
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request;

    fn body(request: &Request) -> String {
        String::from_utf8_lossy(request.inner.body.as_deref().unwrap_or_default()).into_owned()
    }

    #[test]
    fn reads_cursors() {
        let cursor = |json: &str| Parameter::of_cursor(json);
        assert_eq!(cursor(r#"" a\u0062 ""#), Some(Parameter::Text("ab".to_owned())));
        assert_eq!(cursor("0"), Some(Parameter::Number("0".to_owned())));
        let long = "12345678901234567890123";
        assert_eq!(cursor(long), Some(Parameter::Number(long.to_owned())));
        for end in [r#""""#, r#""  ""#, "null", "true", "[]", "{}", ""] {
            assert_eq!(cursor(end), None, "{end}");
        }
    }

    #[test]
    fn takes_the_place_of_the_same_name_in_the_query() -> Result<(), PaginationError> {
        let mut request = Request::new("GET", request::GET, "/x?page=1&a=b")
            .query("page", 2)
            .query("c", 3);
        Parameter::from(4).set(&mut request, "page", false)?;
        assert_eq!(request.inner.path, "/x?a=b");
        let query: Vec<_> = request
            .inner
            .query
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(query, [("c", "3"), ("page", "4")]);
        let mut request = Request::new("GET", request::GET, "/x?page=1");
        Parameter::from(2).set(&mut request, "page", false)?;
        assert_eq!(request.inner.path, "/x");
        Ok(())
    }

    #[test]
    fn goes_into_json_and_forms() -> Result<(), Box<dyn std::error::Error>> {
        let cursor = Parameter::Text("a b".to_owned());
        let mut request = Request::new("POST", request::POST, "/graphql")
            .json(&json!({"query": "q", "x.y": 1, "variables": null}))?;
        cursor.set(&mut request, "variables.after", true)?;
        Parameter::from(50).set(&mut request, "variables.first", true)?;
        let sent: Value = serde_json::from_str(&body(&request))?;
        let expected = json!({"query": "q", "x.y": 1, "variables": {"after": "a b", "first": 50}});
        assert_eq!(sent, expected);

        let mut request = Request::new("POST", request::POST, "/list").form([("cursor", "old"), ("types", "a,b")]);
        cursor.set(&mut request, "cursor", true)?;
        assert_eq!(body(&request), "types=a%2Cb&cursor=a+b");

        let mut request = Request::new("POST", request::POST, "/list");
        cursor.set(&mut request, "cursor", true)?;
        assert_eq!(body(&request), r#"{"cursor":"a b"}"#);
        assert_eq!(request.content_type(), Some("application/json"));
        Ok(())
    }

    #[test]
    fn has_no_place_in_other_bodies() -> Result<(), Box<dyn std::error::Error>> {
        let cursor = Parameter::from(1);
        let reason = |mut request: Request, name| match cursor.set(&mut request, name, true) {
            Err(error) => error.to_string(),
            Ok(()) => "no error".to_owned(),
        };
        assert_eq!(
            reason(Request::new("POST", request::POST, "/").json(&[1])?, "n"),
            "the parameter `n` has no place in the body of the request: it is JSON, but no object"
        );
        assert!(
            reason(Request::new("POST", request::POST, "/").body("<xml/>"), "n").contains("neither JSON nor a form")
        );
        assert!(
            reason(Request::new("POST", request::POST, "/").json(&json!({"a": 1}))?, "a.b").contains("something else")
        );
        Ok(())
    }
}
