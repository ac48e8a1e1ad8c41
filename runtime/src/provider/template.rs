//! Templates of provider data: `${connectionConfig.subdomain}`, `${apiKey}`, `${base64(${username}:${password})}`, `X || Y`.
//!
//! The language, in one paragraph: `${name}` is replaced by the value of that name; `${function(template)}` by what the
//! function makes of the inner template; `X || Y` is X if all its values are there, else Y (only in a template that has a
//! placeholder at all). Only the template's own text is read as language. Values are put in as they are and never looked at
//! again, so a value holding `${…}` or `||` is just text; nobody should pass a caller's text in as template. What needs a
//! clock, randomness or the whole request (`now`, `random`, `awsSigV4` …) is recognised and refused when rendered.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// Placeholders inside placeholders, at most.
pub const DEPTH_MAX: usize = 8;

/// Why a template has no value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    #[error("`{name}` has no value")]
    Missing { name: String },
    #[error("the template {template:?} is malformed: {reason}")]
    Malformed { template: String, reason: &'static str },
}

/// Fills in the template. `lookup` gives the value of a name such as `connectionConfig.subdomain`; an empty value counts as missing.
/// Values are put in as they are: what they hold is never evaluated again. `encode` is applied to each value (percent-encoding in URLs).
pub fn render(
    template: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    encode: &dyn Fn(&str) -> String,
) -> Result<String, TemplateError> {
    Template::parse(template)?.render(lookup, encode)
}

/// A parsed template, for rendering many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    /// At least one; the first whose values are all there is taken.
    alternatives: Vec<Vec<Part>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Name(Box<str>),
    Call(Function, Vec<Part>),
    /// Known to the language, not to this implementation.
    Unsupported,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Base64,
    Sha256Hex,
    Sha256Base64,
}

impl Template {
    /// Reads the language. Functions that are known but not supported are no error here, so that a catalogue using them
    /// loads; rendering them is.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser { source, rest: source };
        let alternatives = parser.alternatives()?;
        Ok(Self {
            source: source.into(),
            alternatives,
        })
    }

    /// See [`render`].
    pub fn render(
        &self,
        lookup: &dyn Fn(&str) -> Option<String>,
        encode: &dyn Fn(&str) -> String,
    ) -> Result<String, TemplateError> {
        let mut first_missing = None;
        for alternative in &self.alternatives {
            match self.fill(alternative, lookup, encode) {
                Err(missing @ TemplateError::Missing { .. }) => first_missing = first_missing.or(Some(missing)),
                done => return done,
            }
        }
        Err(first_missing.unwrap_or_else(|| malformed(&self.source, "it is empty")))
    }

    fn fill(
        &self,
        parts: &[Part],
        lookup: &dyn Fn(&str) -> Option<String>,
        encode: &dyn Fn(&str) -> String,
    ) -> Result<String, TemplateError> {
        let mut filled = String::with_capacity(self.source.len());
        for part in parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Name(name) => match lookup(name).filter(|value| !value.is_empty()) {
                    Some(value) => filled.push_str(&encode(&value)),
                    None => return Err(TemplateError::Missing { name: name.to_string() }),
                },
                Part::Call(function, inner) => {
                    // Encoding is for the place the result stands in, so it must not touch what the function reads.
                    let argument = self.fill(inner, lookup, &|value: &str| value.to_owned())?;
                    filled.push_str(&encode(&function.apply(&argument)));
                }
                Part::Unsupported => {
                    return Err(malformed(&self.source, "it uses a function that is not supported yet"));
                }
            }
        }
        Ok(filled)
    }
}

impl Function {
    fn apply(self, argument: &str) -> String {
        match self {
            Self::Base64 => STANDARD.encode(argument),
            Self::Sha256Hex => {
                let digest = Sha256::digest(argument);
                digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
                    // Writing to a String does not fail.
                    let _ = write!(hex, "{byte:02x}");
                    hex
                })
            }
            Self::Sha256Base64 => STANDARD.encode(Sha256::digest(argument)),
        }
    }
}

/// Where a run of parts ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The end of the template; `||` divides alternatives.
    Template,
    /// `)}`: the end of a function's argument; `||` is plain text.
    Argument,
}

struct Parser<'a> {
    source: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn alternatives(&mut self) -> Result<Vec<Vec<Part>>, TemplateError> {
        if !self.source.contains("${") {
            return Ok(vec![vec![Part::Text(self.source.into())]]);
        }
        let mut alternatives = vec![self.parts(End::Template, 0)?];
        while let Some(rest) = self.rest.strip_prefix("||") {
            self.rest = rest;
            alternatives.push(self.parts(End::Template, 0)?);
        }
        if alternatives.len() > 1 {
            for parts in &mut alternatives {
                trim(parts);
            }
        }
        Ok(alternatives)
    }

    /// Parts up to `end`, or up to `||` where that divides; leaves `||` in place and eats `)}`.
    fn parts(&mut self, end: End, depth: usize) -> Result<Vec<Part>, TemplateError> {
        if depth > DEPTH_MAX {
            return Err(malformed(self.source, "its placeholders are nested too deep"));
        }
        let stop = match end {
            End::Template => "||",
            End::Argument => ")}",
        };
        let mut parts = Vec::new();
        loop {
            let placeholder_at = self.rest.find("${").unwrap_or(self.rest.len());
            let stop_at = self.rest.find(stop).unwrap_or(self.rest.len());
            let text = self.take(placeholder_at.min(stop_at));
            if !text.is_empty() {
                parts.push(Part::Text(text.into()));
            }
            if let Some(rest) = self.rest.strip_prefix("${") {
                self.rest = rest;
                parts.push(self.placeholder(depth)?);
            } else {
                match end {
                    End::Template => return Ok(parts),
                    End::Argument => match self.rest.strip_prefix(stop) {
                        Some(rest) => self.rest = rest,
                        None => return Err(malformed(self.source, "a function's `(` has no `)}`")),
                    },
                }
                return Ok(parts);
            }
        }
    }

    /// What follows `${`, with its `}`.
    fn placeholder(&mut self, depth: usize) -> Result<Part, TemplateError> {
        let word_len = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        if self.rest.get(word_len..).is_some_and(|after| after.starts_with('(')) {
            let word = self.take(word_len);
            self.take(1);
            let argument = self.parts(End::Argument, depth + 1)?;
            return match word {
                "base64" => Ok(Part::Call(Function::Base64, argument)),
                "sha256Hex" => Ok(Part::Call(Function::Sha256Hex, argument)),
                "sha256Base64" => Ok(Part::Call(Function::Sha256Base64, argument)),
                "hmacSha1Hex" | "ed25519Sign" | "awsSigV4" | "fingerprint" => Ok(Part::Unsupported),
                _ => Err(malformed(self.source, "it calls a function that does not exist")),
            };
        }
        let Some(name_len) = self.rest.find('}') else {
            return Err(malformed(self.source, "a `${` has no `}`"));
        };
        let name = self.take(name_len).trim();
        self.take(1);
        if name.is_empty() {
            return Err(malformed(self.source, "a `${}` names nothing"));
        }
        if name.contains("${") || name.contains('|') {
            return Err(malformed(self.source, "a name holds `${` or `|`; write `${a} || ${b}`"));
        }
        let generated = name.strip_prefix("now").or_else(|| name.strip_prefix("random"));
        if generated.is_some_and(|after| after.is_empty() || after.starts_with([':', '+', '-'])) {
            return Ok(Part::Unsupported);
        }
        Ok(Part::Name(name.into()))
    }

    /// The next `len` bytes. `len` comes from a search in `rest`, so it is within it and on a boundary.
    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

/// `X || Y` is written with spaces that belong to neither.
fn trim(parts: &mut [Part]) {
    if let Some(Part::Text(text)) = parts.first_mut() {
        *text = text.trim_start().into();
    }
    if let Some(Part::Text(text)) = parts.last_mut() {
        *text = text.trim_end().into();
    }
}

fn malformed(template: &str, reason: &'static str) -> TemplateError {
    TemplateError::Malformed {
        template: template.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "apiKey" => "k3y",
            "username" => "user",
            "password" => "p:w",
            "connectionConfig.subdomain" => "acme",
            "connectionConfig.accounts-server" => "https://accounts.example.eu",
            "evil" => "${apiKey} || x ${base64(y)}",
            "spaced" => "a b/c",
            "empty" => "",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn plain(template: &str) -> Result<String, TemplateError> {
        render(template, &lookup, &|value| value.to_owned())
    }

    #[test]
    fn templates_are_filled_in() {
        for (template, value) in [
            ("", ""),
            ("plain $text} with {braces}", "plain $text} with {braces}"),
            ("Bearer ${apiKey}", "Bearer k3y"),
            ("${ apiKey }${apiKey}", "k3yk3y"),
            ("Basic ${base64(${username}:${password})}", "Basic dXNlcjpwOnc="),
            ("${base64(x(${apiKey})y)}", "eChrM3kpeQ=="),
            ("${base64(${base64(${apiKey})})}", "YXpONQ=="),
            (
                "${sha256Hex(abc)}",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            ("${sha256Base64(abc)}", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
            (
                "https://${connectionConfig.subdomain}.example.com",
                "https://acme.example.com",
            ),
            (
                "https://${connectionConfig.region}.example.com || https://example.com",
                "https://example.com",
            ),
            (
                "https://${connectionConfig.subdomain}.example.com || https://example.com",
                "https://acme.example.com",
            ),
            ("${connectionConfig.version} || 2022-11-28", "2022-11-28"),
            ("${nope}||${empty}||${apiKey}", "k3y"),
            (
                "${connectionConfig.accounts-server}/oauth || https://x",
                "https://accounts.example.eu/oauth",
            ),
            // Without a placeholder, `||` is text.
            ("a || b", "a || b"),
            // Inside a function too.
            ("${base64(a||b)}", "YXx8Yg=="),
            ("ünï ${apiKey} çødé", "ünï k3y çødé"),
        ] {
            assert_eq!(plain(template).as_deref(), Ok(value), "{template}");
        }
    }

    #[test]
    fn values_are_never_evaluated() {
        assert_eq!(plain("a ${evil} b").unwrap(), "a ${apiKey} || x ${base64(y)} b");
        assert_eq!(plain("${evil} || other").unwrap(), "${apiKey} || x ${base64(y)}");
    }

    #[test]
    fn values_are_encoded_by_place_and_text_is_not() {
        let encode = |value: &str| value.replace(' ', "%20").replace('/', "%2F").replace('=', "%3D");
        assert_eq!(render("/a b/${spaced}", &lookup, &encode).unwrap(), "/a b/a%20b%2Fc");
        // The function reads the value itself; its result is encoded.
        assert_eq!(
            render("${base64(${spaced})}?", &lookup, &encode).unwrap(),
            "YSBiL2M%3D?"
        );
    }

    #[test]
    fn missing_values_are_named() {
        for (template, name) in [
            (
                "https://${connectionConfig.region}.example.com",
                "connectionConfig.region",
            ),
            ("${empty}", "empty"),
            ("${base64(${username}:${nope})}", "nope"),
            ("${first} || ${second}", "first"),
        ] {
            assert_eq!(
                plain(template),
                Err(TemplateError::Missing { name: name.to_owned() }),
                "{template}"
            );
        }
    }

    #[test]
    fn malformed_templates_say_what_is_wrong() {
        for (template, reason) in [
            ("${apiKey", "a `${` has no `}`"),
            ("${}", "a `${}` names nothing"),
            ("${a || b}", "a name holds `${` or `|`; write `${a} || ${b}`"),
            ("${base64(${apiKey}", "a function's `(` has no `)}`"),
            ("${rot13(${apiKey})}", "it calls a function that does not exist"),
            ("${now:YYYY-MM-DD}", "it uses a function that is not supported yet"),
            ("${random}", "it uses a function that is not supported yet"),
            (
                "${awsSigV4(${a}, ${b}, r, s)}",
                "it uses a function that is not supported yet",
            ),
        ] {
            assert_eq!(plain(template), Err(malformed(template, reason)), "{template}");
        }
        let deep = format!("{}x{}", "${base64(".repeat(DEPTH_MAX + 1), ")}".repeat(DEPTH_MAX + 1));
        assert!(matches!(plain(&deep), Err(TemplateError::Malformed { .. })));
    }

    #[test]
    fn a_catalogue_may_hold_functions_that_are_not_supported() {
        assert!(Template::parse("${awsSigV4(${a}, ${b}, r, s)} ${now+7:days:X}").is_ok());
    }

    /// Any sequence of the language's own tokens is filled in or refused: nothing hangs, panics, or lets a value's text
    /// be read as language.
    #[test]
    fn any_sequence_of_tokens_ends() {
        let tokens = [
            "${",
            "}",
            "(",
            ")}",
            "||",
            "base64(",
            "apiKey",
            "${evil}",
            "é",
            " ",
            "$",
            "${apiKey}",
        ];
        let entropy = crate::clock::Entropy::seeded(7);
        for _ in 0..20_000 {
            let picks: [u8; 9] = entropy.bytes();
            let template: String = picks
                .iter()
                .map(|pick| tokens[usize::from(*pick) % tokens.len()])
                .collect();
            if let Ok(filled) = plain(&template) {
                let literal = template.replace("${evil}", "\u{1}");
                let shown = filled.replace("${apiKey} || x ${base64(y)}", "\u{1}");
                let outside_functions = !template.contains("base64(");
                let one_alternative = !template.contains("||");
                if outside_functions && one_alternative {
                    assert_eq!(
                        shown.matches('\u{1}').count(),
                        literal.matches('\u{1}').count(),
                        "{template}"
                    );
                }
            }
        }
    }
}
