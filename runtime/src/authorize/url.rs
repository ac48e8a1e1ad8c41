//! Where a customer is sent: the provider's authorization URL with its parameters, with the differences between providers that
//! the schema of the catalogue knows. Pure.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::Url;

use super::FlowError;
use crate::model::JsonObject;

/// All but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What would end the parameter that it stands in.
const DELIMITERS: &AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'&')
    .add(b'#')
    .add(b'"')
    .add(b'<')
    .add(b'>');

/// What an authorization is asked for with.
pub(super) struct Ask<'a> {
    /// The provider's entry.
    pub(super) entry: &'a Value,
    /// Its `authorization_url` with values filled in.
    pub(super) base: Url,
    pub(super) grant: Grant<'a>,
    pub(super) scope: &'a str,
    /// The provider's `authorization_params` with values filled in.
    pub(super) provider_params: JsonObject,
    /// Those of who begins; `undefined` takes a parameter away. (Nango compatibility.)
    pub(super) params: &'a BTreeMap<String, String>,
    /// Scopes of the user's own token, where a provider has such.
    pub(super) user_scope: Option<&'a str>,
}

/// What the customer comes back with.
#[derive(Clone, Copy)]
pub(super) enum Grant<'a> {
    /// A code: RFC 6749, section 4.1.1.
    Code {
        client_id: &'a str,
        redirect_uri: &'a str,
        state: &'a str,
        /// RFC 7636; none for a provider that does not know it.
        challenge: Option<&'a str>,
    },
    /// The temporary token, authorized: RFC 5849, section 2.2. Where he comes back to was said when it was asked for.
    Temporary { token: &'a str },
}

/// What the end is recognised by, which is nobody's to choose.
const FIXED: [&str; 7] = [
    "state",
    "redirect_uri",
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "oauth_token",
    "oauth_callback",
];

impl Ask<'_> {
    pub(super) fn url(&self) -> Result<String, FlowError> {
        let mut url = assembled(&self.base, self.word("authorization_url_fragment"), &self.query());
        let replacements = self
            .entry
            .get("authorization_url_replacements")
            .and_then(Value::as_object);
        for (from, to) in replacements.into_iter().flatten() {
            url = url.replacen(from.as_str(), to.as_str().unwrap_or_default(), 1);
        }
        match Url::parse(&url) {
            Ok(parsed) if parsed.origin() == self.base.origin() => Ok(url),
            Ok(_) | Err(_) => Err(FlowError::Url {
                reason: "`authorization_url_replacements` of the provider make another host of it".to_owned(),
            }),
        }
    }

    /// Names and values, encoded; later ones take the place of earlier ones.
    fn query(&self) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = self.base.query_pairs().into_owned().collect();
        let mut set = |name: &str, value: Option<String>| {
            let place = pairs.iter().position(|(given, _)| given == name);
            match (place, value) {
                (Some(place), Some(value)) => {
                    if let Some(pair) = pairs.get_mut(place) {
                        pair.1 = value;
                    }
                }
                (Some(place), None) => drop(pairs.remove(place)),
                (None, Some(value)) => pairs.push((name.to_owned(), value)),
                (None, None) => {}
            }
        };
        let scope = (!self.scope.is_empty()).then(|| self.scope.to_owned());
        match self.grant {
            Grant::Code {
                client_id,
                redirect_uri,
                state,
                challenge,
            } => {
                set("response_type", Some("code".to_owned()));
                set("client_id", Some(client_id.to_owned()));
                set("redirect_uri", Some(redirect_uri.to_owned()));
                if scope.is_some() {
                    set("scope", scope);
                }
                set("state", Some(state.to_owned()));
                if let Some(challenge) = challenge {
                    set("code_challenge", Some(challenge.to_owned()));
                    set("code_challenge_method", Some("S256".to_owned()));
                }
            }
            Grant::Temporary { token } => {
                set("oauth_token", Some(token.to_owned()));
                if scope.is_some() {
                    set("scope", scope);
                }
            }
        }
        for (name, value) in &self.provider_params {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            set(name, Some(text));
        }
        if let Some(scope) = self.user_scope {
            set("user_scope", Some(scope.to_owned()));
        }
        for (name, value) in self.params {
            if !FIXED.contains(&name.as_str()) {
                set(name, (value != "undefined").then(|| value.clone()));
            }
        }
        if self.entry.get("authorization_url_skip_empty") == Some(&Value::Bool(true)) {
            pairs.retain(|(_, value)| !value.is_empty());
        }
        let is_plain = |name: &str| name == "scope" && self.skips_encoding_of("scopes");
        let encode = |(name, value): (String, String)| {
            let set = if is_plain(&name) { DELIMITERS } else { COMPONENT };
            let value = utf8_percent_encode(&value, set).to_string();
            (utf8_percent_encode(&name, COMPONENT).to_string(), value)
        };
        pairs.into_iter().map(encode).collect()
    }

    fn skips_encoding_of(&self, what: &str) -> bool {
        let listed = self
            .entry
            .get("authorization_url_skip_encode")
            .and_then(Value::as_array);
        listed.is_some_and(|list| list.iter().any(|given| given == what))
    }

    fn word(&self, key: &str) -> Option<&str> {
        self.entry.get(key).and_then(Value::as_str)
    }
}

/// For a provider whose page is an application in the browser, all of it is behind the `#`.
fn assembled(base: &Url, fragment: Option<&str>, query: &[(String, String)]) -> String {
    let mut bare = base.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let query = query.join("&");
    match fragment {
        Some(fragment) => format!("{bare}#{fragment}?{query}"),
        None => format!("{bare}?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const fn code<'a>(client_id: &'a str, redirect_uri: &'a str, challenge: Option<&'a str>) -> Grant<'a> {
        Grant::Code {
            client_id,
            redirect_uri,
            state: "st4te",
            challenge,
        }
    }

    const CODE: Grant<'_> = code("my id", "https://us.test/oauth/callback", None);

    fn url(entry: &Value, base: &str, change: impl FnOnce(&mut Ask<'_>)) -> String {
        let params = BTreeMap::new();
        let mut ask = Ask {
            entry,
            base: Url::parse(base).unwrap(),
            grant: CODE,
            scope: "repo user:email",
            provider_params: JsonObject::new(),
            params: &params,
            user_scope: None,
        };
        change(&mut ask);
        ask.url().unwrap()
    }

    #[test]
    fn a_plain_provider() {
        assert_eq!(
            url(&json!({}), "https://acme.test/authorize", |_| {}),
            "https://acme.test/authorize?response_type=code&client_id=my%20id&redirect_uri=https%3A%2F%2Fus.test%2Foauth%2Fcallback&scope=repo%20user%3Aemail&state=st4te"
        );
        let with = url(&json!({}), "https://acme.test/a?tenant=7&scope=old", |ask| {
            ask.grant = code("my id", "https://us.test/oauth/callback", Some("ch"));
            ask.scope = "";
            ask.provider_params = json!({"access_type": "offline", "max": 3}).as_object().unwrap().clone();
            ask.user_scope = Some("chat:write");
        });
        assert_eq!(
            with,
            "https://acme.test/a?tenant=7&scope=old&response_type=code&client_id=my%20id&redirect_uri=https%3A%2F%2Fus.test%2Foauth%2Fcallback&state=st4te&code_challenge=ch&code_challenge_method=S256&access_type=offline&max=3&user_scope=chat%3Awrite"
        );
    }

    #[test]
    fn who_begins_may_change_parameters_but_not_what_the_end_is_recognised_by() {
        let params = BTreeMap::from(
            [
                ("prompt", "login"),
                ("access_type", "undefined"),
                ("state", "mine"),
                ("redirect_uri", "https://evil.test"),
                ("client_id", "x"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let text = url(&json!({}), "https://acme.test/a", |_| {});
        let entry = json!({});
        let ask = Ask {
            entry: &entry,
            base: Url::parse("https://acme.test/a").unwrap(),
            grant: CODE,
            scope: "repo user:email",
            provider_params: json!({"access_type": "offline"}).as_object().unwrap().clone(),
            params: &params,
            user_scope: None,
        };
        assert_eq!(ask.url().unwrap(), format!("{text}&prompt=login"));
    }

    #[test]
    fn temporary_tokens() {
        let params = [
            ("oauth_callback", "https://evil.test"),
            ("oauth_token", "mine"),
            ("expiration", "never"),
        ];
        let params = BTreeMap::from(params.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let entry = json!({});
        let ask = Ask {
            entry: &entry,
            base: Url::parse("https://acme.test/a").unwrap(),
            grant: Grant::Temporary { token: "t+1" },
            scope: "read,write",
            provider_params: json!({"name": "us"}).as_object().unwrap().clone(),
            params: &params,
            user_scope: None,
        };
        assert_eq!(
            ask.url().unwrap(),
            "https://acme.test/a?oauth_token=t%2B1&scope=read%2Cwrite&name=us&expiration=never"
        );
    }

    #[test]
    fn knobs_of_single_providers() {
        let short = |entry: Value| {
            url(&entry, "https://acme.test/a", |ask| {
                ask.grant = code("", "r", None);
                ask.scope = "a:b,c d";
            })
        };
        assert_eq!(
            short(json!({"authorization_url_skip_empty": true})),
            "https://acme.test/a?response_type=code&redirect_uri=r&scope=a%3Ab%2Cc%20d&state=st4te"
        );
        assert_eq!(
            short(json!({"authorization_url_skip_encode": ["scopes"]})),
            "https://acme.test/a?response_type=code&client_id=&redirect_uri=r&scope=a:b,c%20d&state=st4te"
        );
        assert_eq!(
            short(json!({"authorization_url_fragment": "oauth/authorize"})),
            "https://acme.test/a#oauth/authorize?response_type=code&client_id=&redirect_uri=r&scope=a%3Ab%2Cc%20d&state=st4te"
        );
        assert_eq!(
            short(
                json!({"authorization_url_replacements": {"client_id": "client_key", "redirect_uri": "redirect_url"}})
            ),
            "https://acme.test/a?response_type=code&client_key=&redirect_url=r&scope=a%3Ab%2Cc%20d&state=st4te"
        );
    }

    #[test]
    fn replacements_do_not_lead_elsewhere() {
        let entry = json!({"authorization_url_replacements": {"acme.test": "evil.test"}});
        let params = BTreeMap::new();
        let ask = Ask {
            entry: &entry,
            base: Url::parse("https://acme.test/a").unwrap(),
            grant: CODE,
            scope: "",
            provider_params: JsonObject::new(),
            params: &params,
            user_scope: None,
        };
        assert!(matches!(ask.url(), Err(FlowError::Url { .. })));
    }
}
