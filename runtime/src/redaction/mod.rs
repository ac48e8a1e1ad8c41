//! Keeps secrets out of what is written down: finds them in text in the spellings in which they turn up, and puts a mask in
//! their place. It masks what is logged, never what is sent or answered, and does not decide what is a secret.
//!
//! Two halves meet here. [`forms`] lists what a secret turns into that only whoever knows it can recognise: itself, hex, and
//! base64 at each of the three alignments. [`views`] undoes what can be undone without knowing it: percent-encoding in any
//! mixture of spellings, and the escapes of JSON, also one within the other. Each view of a text is searched in one pass.

mod forms;
#[cfg(test)]
mod tests;
mod views;

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use serde_json::Value;

use crate::credentials::{SECRET_BYTES_MIN, Secret};
use forms::Form;
use views::View;

/// What stands in the place of a secret.
pub const MASK: &str = "REDACTED";

/// How much of a form is searched for; a match then reaches as far as text and form agree. It bounds the memory of the
/// search, for which a token may be long, and masks a secret that was cut off, too.
const PREFIX_BYTES_MAX: usize = 32;

/// Masks a set of secrets. Costs far more to build than to use: keep it.
pub struct Masker {
    forms: Vec<Form>,
    search: Search,
}

enum Search {
    /// There is nothing to hide.
    Nothing,
    /// Finds the first [`PREFIX_BYTES_MAX`] bytes of each form; the pattern's number is the form's.
    Prefixes(AhoCorasick),
    /// The search could not be built: all there is, is hidden.
    Everything,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Masker({} forms)", self.forms.len())
    }
}

impl Masker {
    /// Secrets shorter than [`SECRET_BYTES_MIN`] are not looked for: they are in half of all texts, and masking them would
    /// hide the log and still tell the secret by the gaps.
    #[must_use]
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret<String>>) -> Self {
        let forms = forms::of(
            secrets
                .into_iter()
                .map(|secret| secret.expose().as_str())
                .filter(|secret| secret.len() >= SECRET_BYTES_MIN),
        );
        if forms.is_empty() {
            return Self {
                forms,
                search: Search::Nothing,
            };
        }
        let prefixes = forms.iter().map(|form| {
            let bytes = form.bytes();
            bytes.get(..PREFIX_BYTES_MAX).unwrap_or(bytes)
        });
        // Every match is wanted, also those within or across others: of two secrets that overlap neither may show. Of the
        // automata this one is small, which counts with one for each connection in use.
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(prefixes)
            .map_or(Search::Everything, Search::Prefixes);
        Self { forms, search }
    }

    /// The text without secrets.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let search = match &self.search {
            Search::Nothing => return Cow::Borrowed(text),
            Search::Everything => return Cow::Borrowed(MASK),
            Search::Prefixes(search) => search,
        };
        let mut found = Vec::new();
        self.find(search, &View::of(text), &mut found);
        for view in views::decoded(text) {
            self.find(search, &view, &mut found);
        }
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(replace(text, found))
    }

    /// Masks the texts within a JSON value, names of fields included.
    pub fn mask_json(&self, value: &mut Value) {
        if matches!(self.search, Search::Nothing) {
            return;
        }
        match value {
            Value::String(text) => {
                if let Cow::Owned(masked) = self.mask(text) {
                    *text = masked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item)),
            Value::Object(object) => {
                object.values_mut().for_each(|item| self.mask_json(item));
                if object.keys().any(|name| self.mask(name) != *name) {
                    *object = std::mem::take(object)
                        .into_iter()
                        .map(|(name, item)| (self.mask(&name).into_owned(), item))
                        .collect();
                }
            }
            // A secret of digits alone may be given as a number.
            Value::Number(number) => {
                let text = number.to_string();
                if self.mask(&text) != text {
                    *value = Value::String(MASK.to_owned());
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Adds where in the original text the secrets of this view are.
    fn find(&self, search: &AhoCorasick, view: &View<'_>, found: &mut Vec<(usize, usize)>) {
        let text = view.bytes();
        // The kind of match and of automaton chosen above can do this; should they not, nothing may show.
        let Ok(matches) = search.try_find_overlapping_iter(Input::new(text)) else {
            found.push(view.whole());
            return;
        };
        for prefix in matches {
            let Some(form) = self.forms.get(prefix.pattern().as_usize()) else {
                continue;
            };
            let rest = text.get(prefix.end()..).unwrap_or_default();
            let expected = form.bytes().get(prefix.len()..).unwrap_or_default();
            let agreeing = rest.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let (start, end) = form.reach(text, prefix.start(), prefix.end() + agreeing);
            found.push(view.original(start, end));
        }
    }
}

/// Puts the mask in the place of each of the ranges; those that touch become one.
fn replace(text: &str, mut found: Vec<(usize, usize)>) -> String {
    found.sort_unstable();
    let mut masked = String::with_capacity(text.len());
    let mut copied = 0;
    let mut last_end = None;
    for (start, end) in found {
        let (start, end) = (text.floor_char_boundary(start), text.ceil_char_boundary(end));
        if last_end.is_none_or(|last_end| start > last_end) {
            masked.push_str(text.get(copied..start).unwrap_or_default());
            masked.push_str(MASK);
        }
        copied = copied.max(end);
        last_end = Some(copied);
    }
    masked.push_str(text.get(copied..).unwrap_or_default());
    masked
}
