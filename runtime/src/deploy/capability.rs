//! What a component can do, in words for those who let it in. Told from its imports alone: it has no other way to the world.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

/// One thing a component can do, as in `requests:GET`. Ordered by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Capability(String);

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

impl Capability {
    /// Of a component with those imports; none: of one that says nothing of itself.
    #[must_use]
    pub fn of(imports: Option<&BTreeSet<String>>) -> BTreeSet<Self> {
        match imports {
            Some(imports) => imports.iter().filter_map(|import| Self::of_import(import)).collect(),
            None => BTreeSet::from([Self(ANYTHING.to_owned())]),
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
            ("records", "get-by-ids") => "records:read".to_owned(),
            ("records", _) => "records:write".to_owned(),
            (interface, _) if HARMLESS.contains(&interface) => return None,
            // Whatever comes later is named as it is.
            (interface, _) => interface.to_owned(),
        };
        Some(Self(name))
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
    if has("environment") {
        sentences.push("may read the environment's variables".to_owned());
    }
    let told = ["requests:", "records:", "metadata:", "environment"];
    for other in capabilities {
        if !told.iter().any(|prefix| other.as_str().starts_with(prefix)) {
            sentences.push(format!("may use {other}"));
        }
    }
    if !has(ANYTHING) && !capabilities.iter().any(|it| it.as_str().starts_with("token")) {
        sentences.push("cannot read tokens".to_owned());
    }
    sentences
}

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
        Capability::of(Some(&imports.iter().map(|it| (*it).to_owned()).collect()))
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
            sentences(&of(&["nango.get", "nango.batch", "tokens.read"]), "github", &none),
            ["may send requests of any method through github", "may use tokens"]
        );
        assert_eq!(sentences(&Capability::of(None), "github", &none), ["may use anything"]);
    }
}
