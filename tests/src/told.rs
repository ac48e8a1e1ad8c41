//! What the servers of a test were told or told themselves that nobody may read: credentials, secrets of clients, keys, tokens of
//! connect sessions, tokens that token endpoints gave. The harness notes each as it passes by, and when a server or a database
//! ends it looks through all that is left of it: the database, byte for byte, and what was written out. So every test that has a
//! server is also a test that no secret of it is in clear.
//!
//! Secrets are known by the names of their fields, wherever those are in a JSON body, but not in data that is a customer's own.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::leaks::{Finder, Secrets};
use crate::server::SECRET_KEY;

/// Fields whose text is secret, whoever sends it.
const SECRET_FIELDS: [&str; 27] = [
    "access_token",
    "apiKey",
    "awsSecretAccessKey",
    "client_private_key",
    "client_secret",
    "dev_key",
    "id_token",
    "jwtToken",
    "oauth_client_secret_override",
    "oauth_refresh_token_override",
    "oauth_token",
    "oauth_token_secret",
    "password",
    "privateKey",
    "private_key",
    "refresh_token",
    "secret_access_key",
    "secretAccessKey",
    "session_id",
    "session_token",
    "sessionId",
    "sessionToken",
    "stsApiKey",
    "stsAuthPassword",
    "token_secret",
    "webhook_secret",
    "app_secret",
];
/// Fields below which everything is the customer's own, and kept as it is.
const OWN_FIELDS: [&str; 6] = ["input", "metadata", "output", "records", "tags", "openapi"];
/// The beginning of tokens of connect sessions.
const SESSION_TOKEN: &str = "nango_connect_session_";
/// Texts that are shorter may be in a database for another reason: `password`, `access-1`. Those of three kinds of characters are not.
const SECRET_BYTES_MIN: usize = 14;
const MIXED_SECRET_BYTES_MIN: usize = 8;
/// Of a longer one that much is looked for, from its beginning.
const SECRET_BYTES_MAX: usize = 128;
/// Secrets that are noted. A test with more has them all of one kind, and thousands take a minute to look for.
const SECRETS_MAX: usize = 1_024;
/// A file that may hold encryption keys.
const KEY_FILE: &str = "encryption.key";
/// What components were compiled to: megabytes that are made of nothing else, and take seconds to look through.
const CODE_FOLDER: &str = "compiled";

/// Of the tests of this process; with nextest that is one.
static TOLD: Mutex<Option<Secrets>> = Mutex::new(None);
/// What tests say is no secret, whatever field it is in.
static PUBLIC: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Texts that are not secret although they stand where secrets do, such as examples that everybody can read.
pub fn is_public(text: &str) {
    PUBLIC
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(text.to_owned());
}

/// Notes the secrets of a JSON value.
pub fn heard(value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text)
                        if SECRET_FIELDS.contains(&name.as_str()) || text.starts_with(SESSION_TOKEN) =>
                    {
                        note(name, text);
                    }
                    _ if OWN_FIELDS.contains(&name.as_str()) => {}
                    _ => heard(value),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(heard),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Notes the secrets of a body, where that is JSON.
pub fn heard_body(body: &[u8]) {
    if let Ok(value) = serde_json::from_slice(body) {
        heard(&value);
    }
}

/// Notes a secret.
pub fn note(name: &str, secret: &str) {
    // Of a key in several lines it is the inner ones that are like no other.
    let secret = secret.lines().max_by_key(|line| line.len()).unwrap_or_default();
    let secret = secret.get(..SECRET_BYTES_MAX).unwrap_or(secret);
    // What is masked is shown so.
    let is_masked = secret.chars().all(|character| character == '*');
    let is_public = PUBLIC.lock().unwrap_or_else(PoisonError::into_inner).contains(secret);
    if is_distinct(secret) && !is_masked && !is_public {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        let told = told.get_or_insert_default();
        if told.len() < SECRETS_MAX {
            told.add(&format!("a secret ({name})"), secret);
        }
    }
}

/// Whether nothing else is likely to be spelled like that.
fn is_distinct(text: &str) -> bool {
    let kinds = [
        text.contains(|c: char| c.is_ascii_lowercase()),
        text.contains(|c: char| c.is_ascii_uppercase()),
        text.contains(|c: char| c.is_ascii_digit()),
        text.contains(|c: char| !c.is_ascii_alphanumeric()),
    ];
    let is_mixed = kinds.iter().filter(|kind| **kind).count() >= 3;
    text.len() >= SECRET_BYTES_MIN || (is_mixed && text.len() >= MIXED_SECRET_BYTES_MIN)
}

/// Finds all that were noted so far. Made anew only when there are more.
#[must_use]
pub fn finder() -> Arc<Finder> {
    static MADE: Mutex<Option<(usize, Arc<Finder>)>> = Mutex::new(None);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let told = told.get_or_insert_default();
    told.add("the API key of the server", SECRET_KEY);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    match &*made {
        Some((count, finder)) if *count == told.len() => Arc::clone(finder),
        Some(_) | None => {
            let finder = Arc::new(told.finder());
            *made = Some((told.len(), Arc::clone(&finder)));
            finder
        }
    }
}

/// Looks through what a server left: what it wrote out, and all files of its data folder but code, those of the database among them.
///
/// # Panics
///
/// When a secret is in there.
#[track_caller]
pub fn none_left(log: &str, data: &Path) {
    let finder = finder();
    finder.none_in("the server's output", log.as_bytes());
    none_below(&finder, data);
}

#[track_caller]
fn none_below(finder: &Finder, folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path
            .file_name()
            .is_some_and(|name| name == KEY_FILE || name == CODE_FOLDER)
        {
            continue;
        }
        if path.is_dir() {
            none_below(finder, &path);
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            finder.none_in(&path.display().to_string(), &bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_passed_by_is_found() {
        heard(
            &json!({"credentials": {"type": "API_KEY", "apiKey": "what-a-customer-typed"}, "tags": {"password": "of-the-customers-own"}}),
        );
        heard(&json!({"credentials": {"username": "u", "password": "p+s/ w%r7"}}));
        heard_body(br#"[{"data": {"token": "nango_connect_session_0123"}}]"#);
        heard(&json!({"credentials": {"password": "short"}, "access_token": "****************"}));
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::create_dir(folder.path().join("below")).expect("a folder can be made");
        let file = folder.path().join("below/nango.sqlite");
        std::fs::write(&file, "x of-the-customers-own short **************** x").expect("a file can be written");
        none_left("a log without", folder.path());
        for number in 0..200 {
            note("one of many", &format!("one-of-many-{number:04}"));
        }
        let many = ["one-of-many-0000", "one-of-many-0199"];
        let told = [
            "what-a-customer-typed",
            "nango_connect_session_0123",
            SECRET_KEY,
            "p+s/ w%r7",
        ];
        for secret in told.into_iter().chain(many) {
            assert!(std::panic::catch_unwind(|| none_left(&format!("a log with {secret}"), folder.path())).is_err());
            std::fs::write(&file, format!("\0{secret}\0")).expect("a file can be written");
            assert!(std::panic::catch_unwind(|| none_left("a log without", folder.path())).is_err());
            std::fs::write(&file, "").expect("a file can be written");
        }
    }
}
