//! Where a command takes JSON from: the command line itself, a file, standard input or an environment variable. The last
//! three keep secrets out of the process list and the shell's history.

use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;

use serde_json::Value;

/// Bytes read from a file or from standard input; more is refused.
pub const INPUT_BYTES_MAX: u64 = 64 << 20;

/// `JSON`, `@FILE`, `-` or `env:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputSource {
    Literal(String),
    File(PathBuf),
    Stdin,
    Variable(String),
}

/// What is wrong with input given to a command: its caller's mistake.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("{what}: the file {path:?} cannot be read")]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{what}: standard input cannot be read")]
    Stdin {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("{what}: the environment variable {name} is not set")]
    Variable { what: &'static str, name: String },
    #[error("{what}: more than {INPUT_BYTES_MAX} bytes")]
    TooLarge { what: &'static str },
    #[error("{what} is no JSON")]
    NotJson {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("{what} must be a JSON object")]
    NotAnObject { what: &'static str },
    #[error("{what} must be text in UTF-8")]
    NotText { what: &'static str },
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{message}")]
    Refused { message: String },
}

impl FromStr for InputSource {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match (text, text.strip_prefix('@'), text.strip_prefix("env:")) {
            ("-", _, _) => Self::Stdin,
            (_, Some(path), _) => Self::File(path.into()),
            (_, _, Some(name)) => Self::Variable(name.to_owned()),
            (literal, None, None) => Self::Literal(literal.to_owned()),
        })
    }
}

impl InputSource {
    /// The bytes as they are. `what` names the input in errors.
    pub fn bytes(&self, what: &'static str) -> Result<Vec<u8>, InputError> {
        match self {
            Self::Literal(text) => Ok(text.clone().into_bytes()),
            Self::File(path) => {
                let unreadable = |source| InputError::File {
                    what,
                    path: path.clone(),
                    source,
                };
                read_bounded(std::fs::File::open(path).map_err(unreadable)?, what, unreadable)
            }
            Self::Stdin => read_bounded(std::io::stdin().lock(), what, |source| InputError::Stdin {
                what,
                source,
            }),
            Self::Variable(name) => std::env::var(name)
                .map(String::into_bytes)
                .map_err(|_| InputError::Variable {
                    what,
                    name: name.clone(),
                }),
        }
    }

    /// The text without surrounding white space, for tokens and keys.
    pub fn text(&self, what: &'static str) -> Result<String, InputError> {
        let text = String::from_utf8(self.bytes(what)?).map_err(|_| InputError::NotText { what })?;
        match text.trim() {
            "" => Err(InputError::Empty { what }),
            text => Ok(text.to_owned()),
        }
    }

    pub fn json(&self, what: &'static str) -> Result<Value, InputError> {
        serde_json::from_slice(&self.bytes(what)?).map_err(|source| InputError::NotJson { what, source })
    }

    pub fn json_object(&self, what: &'static str) -> Result<Value, InputError> {
        match self.json(what)? {
            object @ Value::Object(_) => Ok(object),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(InputError::NotAnObject { what })
            }
        }
    }
}

fn read_bounded(
    reader: impl std::io::Read,
    what: &'static str,
    unreadable: impl Fn(std::io::Error) -> InputError,
) -> Result<Vec<u8>, InputError> {
    let mut bytes = Vec::new();
    reader
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(InputError::TooLarge { what });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> InputSource {
        text.parse().unwrap()
    }

    #[test]
    fn sources_are_told_apart_by_their_first_characters() {
        assert_eq!(source("-"), InputSource::Stdin);
        assert_eq!(source("@in.json"), InputSource::File("in.json".into()));
        assert_eq!(source("env:TOKEN"), InputSource::Variable("TOKEN".into()));
        assert_eq!(source(r#"{"a":1}"#), InputSource::Literal(r#"{"a":1}"#.into()));
        assert_eq!(source("-1"), InputSource::Literal("-1".into()));
    }

    #[test]
    fn errors_name_the_input_and_never_show_it() {
        let check = |error: InputError, expected: &str| assert_eq!(error.to_string(), expected);
        check(
            source("{secret").json("--credentials").unwrap_err(),
            "--credentials is no JSON",
        );
        check(
            source("[1]").json_object("--metadata").unwrap_err(),
            "--metadata must be a JSON object",
        );
        check(source("  ").text("--token").unwrap_err(), "--token is empty");
        check(
            source("@/does/not/exist").json("--input").unwrap_err(),
            "--input: the file \"/does/not/exist\" cannot be read",
        );
        check(
            source("env:NANGO_TEST_UNSET").json("--input").unwrap_err(),
            "--input: the environment variable NANGO_TEST_UNSET is not set",
        );
    }

    #[test]
    fn tokens_lose_their_line_end() {
        assert_eq!(source("ghp_x\n").text("--token").unwrap(), "ghp_x");
    }
}
