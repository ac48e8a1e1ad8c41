//! What a component can do, in words for those who let it in. Told from its imports alone: it has no other way to the world.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::model::{FetchHosts, FunctionManifest, host_covers};
use crate::spelling;

/// One thing a component can do, as in `requests:GET` or `fetch:api.example.com`. Ordered by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Capability(String);

/// What has to be given by name also to functions that are new: secrets, and the way out with them.
const GRANTED: [&str; 2] = ["token", FETCH];
/// To any public host; with one behind a colon, to that one.
const FETCH: &str = "fetch";
/// Interfaces that reach nothing of a customer's: time, the log, the run's own position, the address of webhooks.
const HARMLESS: [&str; 9] = [
    "clock",
    "random",
    "sleep",
    "log",
    "checkpoints",
    "pagination",
    "lifecycle",
    "webhook",
    "types",
];
/// What nobody can tell of a component whose types cannot be read.
const ANYTHING: &str = "anything";
/// All there are but `fetch:HOST`, as documentation has them.
const NAMES: [&str; 19] = [
    "requests:GET",
    "requests:POST",
    "requests:PUT",
    "requests:PATCH",
    "requests:DELETE",
    "requests:any",
    "records:read",
    "records:write",
    "metadata:read",
    "metadata:write",
    "invoke",
    "invoke-elsewhere",
    "environment",
    "locks",
    "connection-details",
    "integration",
    "token",
    FETCH,
    ANYTHING,
];
/// Characters of a name that there is not, to be shown.
const NAME_CHARS_MAX: usize = 64;

/// Why a name is no capability's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    #[error(
        "there is no capability {name:?}{}; there are {}, {FETCH}:HOST, and `all` for every one",
        spelling::nearest(name, NAMES).map_or_else(String::new, |meant| format!("; did you mean {meant:?}?")),
        NAMES.join(", ")
    )]
    Unknown { name: String },
    #[error("the capability {name:?}: {reason}")]
    Host { name: String, reason: String },
}

impl Capability {
    /// Of those functions of a component with those imports; none: of one that says nothing of itself.
    #[must_use]
    pub fn of<'a>(
        imports: Option<&BTreeSet<String>>,
        functions: impl IntoIterator<Item = &'a FunctionManifest>,
    ) -> BTreeSet<Self> {
        let Some(imports) = imports else {
            return BTreeSet::from([Self(ANYTHING.to_owned())]);
        };
        let mut all: BTreeSet<Self> = imports.iter().filter_map(|import| Self::of_import(import)).collect();
        // The host lets a function fetch from nothing but what it declares.
        if all.remove(&Self(FETCH.to_owned())) {
            for function in functions {
                let hosts = function.fetch.as_ref();
                if hosts.is_none() {
                    all.insert(Self(FETCH.to_owned()));
                }
                all.extend(hosts.into_iter().flat_map(FetchHosts::iter).map(Self::fetch_from));
            }
        }
        all
    }

    fn fetch_from(host: &str) -> Self {
        match host {
            "*" => Self(FETCH.to_owned()),
            host => Self(format!("{FETCH}:{host}")),
        }
    }

    /// The one of that name, as in `--allow`.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    pub fn named(name: &str) -> Result<Self, CapabilityError> {
        let shown = || name.chars().take(NAME_CHARS_MAX).collect::<String>();
        if let Some((FETCH, host)) = name.split_once(':') {
            return match FetchHosts::check_host(host) {
                Ok(()) => Ok(Self::fetch_from(host)),
                Err(reason) => Err(CapabilityError::Host { name: shown(), reason }),
            };
        }
        if NAMES.contains(&name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(CapabilityError::Unknown { name: shown() })
        }
    }

    /// Whether whoever was allowed this was allowed the other.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self == other
            || match (self.0.split_once(':'), other.0.split_once(':')) {
                (None, Some((FETCH, _))) => self.0 == FETCH,
                (Some((FETCH, allowed)), Some((FETCH, other))) => host_covers(allowed, other),
                _ => false,
            }
    }

    fn of_import(import: &str) -> Option<Self> {
        let (interface, function) = import.split_once('.')?;
        let name = match (interface, function) {
            // Methods of resources: what a response or a request under way is asked.
            _ if function.starts_with('[') => return None,
            ("nango", "get" | "post" | "put" | "patch" | "delete") => {
                format!("requests:{}", function.to_ascii_uppercase())
            }
            ("nango", _) => "requests:any".to_owned(),
            ("connection", "metadata") => "metadata:read".to_owned(),
            ("connection", "set-metadata" | "update-metadata") => "metadata:write".to_owned(),
            // Which connection it is, without its secrets.
            ("connection", _) => return None,
            ("records", "get-by-ids" | "list-records") => "records:read".to_owned(),
            ("records", _) => "records:write".to_owned(),
            (interface, _) if HARMLESS.contains(&interface) => return None,
            // Whatever comes later is named as it is.
            (interface, _) => interface.to_owned(),
        };
        Some(Self(name))
    }

    /// Whether a deploy has to name it, also where nothing was before.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        let name = self.0.split_once(':').map_or(self.as_str(), |(name, _)| name);
        GRANTED.contains(&name)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sentences for people: `may GET and POST through github`. `models` are those that its syncs declare.
#[must_use]
pub fn sentences(capabilities: &BTreeSet<Capability>, integration: &str, models: &BTreeSet<String>) -> Vec<String> {
    let has = |name: &str| capabilities.iter().any(|it| it.as_str() == name);
    let mut sentences = Vec::new();
    let methods: Vec<&str> = capabilities
        .iter()
        .filter_map(|it| it.as_str().strip_prefix("requests:"))
        .collect();
    if has("requests:any") {
        sentences.push(format!("may send requests of any method through {integration}"));
    } else if !methods.is_empty() {
        sentences.push(format!("may {} through {integration}", and(&methods)));
    } else if capabilities
        .iter()
        .any(|it| it.is_granted() && it.as_str().starts_with(FETCH))
    {
        sentences.push(format!("cannot send requests through {integration}"));
    } else if !has(ANYTHING) {
        sentences.push("cannot send requests".to_owned());
    }
    if has("records:write") && !models.is_empty() {
        let models: Vec<&str> = models.iter().map(String::as_str).collect();
        sentences.push(format!("may write records {}", and(&models)));
    }
    if has("metadata:write") {
        sentences.push("may change the connection's metadata".to_owned());
    } else if has("metadata:read") {
        sentences.push("may read the connection's metadata".to_owned());
    }
    let hosts: Vec<&str> = capabilities
        .iter()
        .filter_map(|it| it.as_str().strip_prefix("fetch:"))
        .collect();
    if !has(FETCH) && !hosts.is_empty() {
        sentences.push(format!(
            "may send requests without the connection's credentials to {}",
            and(&hosts)
        ));
    }
    for capability in capabilities {
        let name = capability.as_str();
        let is_told = ["requests:", "records:", "metadata:", "fetch:"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        match SENTENCES.iter().find(|(of, _)| *of == name) {
            Some((_, sentence)) => sentences.push((*sentence).to_owned()),
            None if is_told => {}
            None => sentences.push(format!("may use {name}")),
        }
    }
    if !has(ANYTHING) && !has("token") {
        sentences.push("cannot read tokens".to_owned());
    }
    sentences
}

/// What those that need no other words are told as.
const SENTENCES: [(&str, &str); 8] = [
    ("connection-details", "may read the connection's tags and end user"),
    ("environment", "may read the environment's variables"),
    (
        "fetch",
        "may send requests without the connection's credentials to any public host",
    ),
    ("integration", "may read the integration's public settings"),
    ("invoke", "may run the integration's other functions for its connection"),
    (
        "invoke-elsewhere",
        "may run functions of all integrations for all connections of the environment",
    ),
    ("locks", "may take locks"),
    ("token", "may read the connection's tokens"),
];

fn and(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(imports: &[&str]) -> BTreeSet<Capability> {
        of_functions(imports, &serde_json::json!([{"name": "a", "kind": "action"}]))
    }

    fn of_functions(imports: &[&str], functions: &serde_json::Value) -> BTreeSet<Capability> {
        let functions: Vec<FunctionManifest> = serde_json::from_value(functions.clone()).unwrap();
        let imports = imports.iter().map(|it| (*it).to_owned()).collect();
        Capability::of(Some(&imports), &functions)
    }

    #[test]
    fn hosts_are_named_as_far_as_they_are_declared() {
        let functions = serde_json::json!([
            {"name": "a", "kind": "action", "fetch": ["api.example.com", "*.example.org"]},
            {"name": "b", "kind": "action", "fetch": []},
        ]);
        let some = of_functions(&["fetch.send"], &functions);
        let names: Vec<&str> = some.iter().map(Capability::as_str).collect();
        assert_eq!(names, ["fetch:*.example.org", "fetch:api.example.com"]);
        assert!(some.iter().all(Capability::is_granted));
        assert_eq!(
            sentences(&some, "github", &BTreeSet::new()),
            [
                "cannot send requests through github",
                "may send requests without the connection's credentials to *.example.org and api.example.com",
                "cannot read tokens"
            ]
        );
        assert!(
            of_functions(&[], &functions).is_empty(),
            "what is declared and not imported cannot be done"
        );
        let all = of_functions(
            &["fetch.send"],
            &serde_json::json!([{"name": "a", "kind": "action", "fetch": ["*", "a.test"]}]),
        );
        assert_eq!(sentences(&all, "github", &BTreeSet::new()).len(), 3, "{all:?}");
        for (allowed, other, covers) in [
            ("fetch", "fetch:a.test", true),
            ("fetch:*.test", "fetch:a.test", true),
            ("fetch:a.test", "fetch:a.test", true),
            ("fetch:a.test", "fetch:b.test", false),
            ("fetch:a.test", "fetch", false),
            ("token", "fetch:a.test", false),
            ("requests", "requests:GET", false),
        ] {
            let [of_allowed, of_other] = [allowed, other].map(|name| Capability(name.to_owned()));
            assert_eq!(of_allowed.covers(&of_other), covers, "{allowed} {other}");
        }
    }

    #[test]
    fn every_capability_that_the_contract_gives_can_be_named() {
        let mut contract = wit_parser::Resolve::default();
        contract
            .push_source("functions.wit", include_str!("../../../wit/functions.wit"))
            .unwrap();
        let mut given = BTreeSet::from([ANYTHING.to_owned()]);
        for (_, interface) in &contract.interfaces {
            let functions = interface.functions.keys();
            let imports = functions.map(|function| format!("{}.{function}", interface.name.as_deref().unwrap()));
            given.extend(
                imports
                    .filter_map(|import| Capability::of_import(&import))
                    .map(|it| it.0),
            );
        }
        assert_eq!(given, NAMES.map(str::to_owned).into());
    }

    #[test]
    fn what_there_is_not_is_named_with_what_there_is() {
        let error = |name: &str| Capability::named(name).unwrap_err().to_string();
        assert_eq!(
            error("request:post"),
            "there is no capability \"request:post\"; did you mean \"requests:POST\"?; there are requests:GET, requests:POST, requests:PUT, \
             requests:PATCH, requests:DELETE, requests:any, records:read, records:write, metadata:read, metadata:write, invoke, \
             invoke-elsewhere, environment, locks, connection-details, integration, token, fetch, anything, fetch:HOST, and `all` for every one"
        );
        assert!(error("everything").starts_with("there is no capability \"everything\"; there are "));
        assert!(!error(&"x".repeat(100_000)).contains(&"x".repeat(65)));
        for name in ["fetch:", "fetch:https://a.test", "fetch:a.test/x", "fetch:A.test"] {
            assert!(error(name).contains("a host's name in lower case"), "{}", error(name));
        }
        assert_eq!(
            Capability::named("fetch:*").unwrap(),
            Capability::named("fetch").unwrap()
        );
    }

    #[test]
    fn imports_become_sentences() {
        let capabilities = of(&[
            "nango.get",
            "nango.post",
            "nango.[method]response.status",
            "records.batch-save",
            "log.write",
            "connection.connection-id",
            "connection.metadata",
        ]);
        let names: Vec<&str> = capabilities.iter().map(Capability::as_str).collect();
        assert_eq!(
            names,
            ["metadata:read", "records:write", "requests:GET", "requests:POST"]
        );
        let models = BTreeSet::from(["Issue".to_owned(), "Label".to_owned()]);
        assert_eq!(
            sentences(&capabilities, "github", &models),
            [
                "may GET and POST through github",
                "may write records Issue and Label",
                "may read the connection's metadata",
                "cannot read tokens"
            ]
        );
    }

    #[test]
    fn what_has_to_be_given_and_all_else_is_said() {
        let capabilities = of(&[
            "token.get",
            "fetch.send",
            "nango.[method]response.text",
            "invoke.trigger-action",
            "invoke.trigger-sync",
            "invoke-elsewhere.trigger-action",
            "locks.try-acquire",
            "integration.get",
            "connection-details.get",
        ]);
        let granted: Vec<&str> = capabilities
            .iter()
            .filter(|it| it.is_granted())
            .map(Capability::as_str)
            .collect();
        assert_eq!(granted, ["fetch", "token"]);
        assert_eq!(
            sentences(&capabilities, "github", &BTreeSet::new()),
            [
                "cannot send requests through github",
                "may read the connection's tags and end user",
                "may send requests without the connection's credentials to any public host",
                "may read the integration's public settings",
                "may run the integration's other functions for its connection",
                "may run functions of all integrations for all connections of the environment",
                "may take locks",
                "may read the connection's tokens",
            ]
        );
    }

    #[test]
    fn reading_variables_is_said() {
        let capabilities = of(&["environment.get", "environment.all", "connection.environment"]);
        let names: Vec<&str> = capabilities.iter().map(Capability::as_str).collect();
        assert_eq!(names, ["environment"]);
        assert_eq!(
            sentences(&capabilities, "github", &BTreeSet::new()),
            [
                "cannot send requests",
                "may read the environment's variables",
                "cannot read tokens"
            ]
        );
    }

    #[test]
    fn little_much_and_unknown() {
        let none = BTreeSet::new();
        assert_eq!(
            sentences(&of(&["clock.now-us"]), "github", &none),
            ["cannot send requests", "cannot read tokens"]
        );
        assert_eq!(
            sentences(&of(&["nango.get", "nango.batch", "later.read"]), "github", &none),
            [
                "may send requests of any method through github",
                "may use later",
                "cannot read tokens"
            ]
        );
        assert_eq!(
            sentences(&Capability::of(None, []), "github", &none),
            ["may use anything"]
        );
    }
}
