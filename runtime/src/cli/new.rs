//! `nango-runtime new`: a project that builds and whose tests pass, to begin from. The files are those of `templates/`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::input::InputError;
use super::output::{self, Output};

const NAME_BYTES_MAX: usize = 64;
/// Names that are words of Rust or crates that every program has.
const RESERVED: [&str; 46] = [
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "const", "continue", "core", "crate", "do",
    "dyn", "else", "enum", "extern", "final", "fn", "for", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "std", "struct", "super", "test",
    "trait", "type", "unsafe", "use", "while",
];
const SDK_FOLDER: &str = "guest-sdk";

const CARGO_TOML: &str = include_str!("../../templates/rust/Cargo.toml.template");
const GITIGNORE: &str = include_str!("../../templates/rust/gitignore");
const README: &str = include_str!("../../templates/rust/README.md");
const ACTION: &str = include_str!("../../templates/rust/action/src/lib.rs");
const ACTION_FIXTURE: &str = include_str!("../../templates/rust/action/tests/fixture.test.json");
const ON_EVENT: &str = include_str!("../../templates/rust/on-event/src/lib.rs");
const ON_EVENT_FIXTURE: &str = include_str!("../../templates/rust/on-event/tests/fixture.test.json");
const SYNC: &str = include_str!("../../templates/rust/sync/src/lib.rs");
const SYNC_FIXTURE: &str = include_str!("../../templates/rust/sync/tests/fixture.test.json");

/// Makes the folder NAME; one that is there already is left alone.
#[derive(Debug, clap::Args)]
pub struct New {
    /// Of the project and its function: lower-case letters, digits and `-`
    name: String,
    /// What the function is
    #[arg(long, value_enum)]
    kind: Kind,
    /// What it is written in
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// Where the guest SDK comes from: a folder, a git URL, or a version of a registry
    ///
    /// Without it: the SDK of the repository that the project or this program lies in, else the one in nango-runtime's git repository.
    #[arg(long, value_name = "PATH|URL|VERSION")]
    sdk: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Action,
    Sync,
    OnEvent,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Language {
    Rust,
}

/// Where a project finds the guest SDK.
#[derive(Debug, PartialEq, Eq)]
enum Sdk {
    Path(PathBuf),
    Git(String),
    Version(String),
}

pub fn run(new: &New, output: Output) -> anyhow::Result<()> {
    let Language::Rust = new.lang;
    check_name(&new.name)?;
    let folder = Path::new(&new.name);
    if folder.exists() {
        return Err(usage(format!(
            "{} is there already; nothing was changed",
            folder.display()
        )));
    }
    let sdk = match &new.sdk {
        Some(text) => Sdk::parse(text)?,
        None => Sdk::found(),
    };
    let (source, fixture) = match new.kind {
        Kind::Action => (ACTION, ACTION_FIXTURE),
        Kind::Sync => (SYNC, SYNC_FIXTURE),
        Kind::OnEvent => (ON_EVENT, ON_EVENT_FIXTURE),
    };
    let fill = |text: &str| {
        text.replace("{{name}}", &new.name)
            .replace("{{function}}", &new.name)
            .replace("{{ident}}", &new.name.replace('-', "_"))
            .replace("{{sdk}}", &sdk.dependency())
            .replace("{{repository}}", env!("CARGO_PKG_REPOSITORY"))
    };
    let files = [
        ("Cargo.toml".to_owned(), fill(CARGO_TOML)),
        (".gitignore".to_owned(), fill(GITIGNORE)),
        ("README.md".to_owned(), fill(README)),
        ("src/lib.rs".to_owned(), fill(source)),
        (format!("tests/{}.test.json", new.name), fixture.to_owned()),
    ];
    for (name, text) in &files {
        let path = folder.join(name);
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
            std::fs::write(&path, text)
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
    }
    if output.json {
        output::print_json(&json!({"folder": new.name, "function": new.name, "sdk": sdk.to_string()}))?;
        return Ok(());
    }
    output::print(&format!(
        "Made {}; it takes the guest SDK from {sdk} (Cargo.toml says so)\n\n  cd {} && nango-runtime test\n",
        new.name, new.name
    ))?;
    Ok(())
}

fn usage(message: String) -> anyhow::Error {
    InputError::Refused { message }.into()
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    let allowed = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !begins || !allowed || name.ends_with('-') || name.contains("--") || name.len() > NAME_BYTES_MAX {
        return Err(usage(format!(
            "{name:?} is no name for a project: it has 1 to {NAME_BYTES_MAX} lower-case letters, digits and single `-`, and begins with a \
             letter, for example create-issue"
        )));
    }
    if RESERVED.contains(&name) {
        return Err(usage(format!(
            "{name:?} is a word of Rust or a crate of its own: choose another name"
        )));
    }
    Ok(())
}

impl Sdk {
    fn parse(text: &str) -> anyhow::Result<Self> {
        if text.contains("://") || text.starts_with("git@") || text.ends_with(".git") {
            return Ok(Self::Git(text.to_owned()));
        }
        if text.starts_with(|first: char| first.is_ascii_digit()) && !Path::new(text).exists() {
            return Ok(Self::Version(text.to_owned()));
        }
        let folder = Path::new(text);
        let folder = if is_sdk(&folder.join(SDK_FOLDER)) {
            folder.join(SDK_FOLDER)
        } else {
            folder.to_owned()
        };
        if !is_sdk(&folder) {
            return Err(usage(format!(
                "--sdk {text:?}: neither a folder with the guest SDK (the folder guest-sdk of nango-runtime's repository), nor a git URL, nor \
                 a version such as 0.1"
            )));
        }
        let full = folder
            .canonicalize()
            .with_context(|| format!("cannot read {}", folder.display()))?;
        Ok(Self::Path(full))
    }

    /// The one nearest to where this runs.
    fn found() -> Self {
        let here = std::env::current_dir().ok();
        let program = std::env::current_exe().ok();
        let places = here.iter().chain(&program).flat_map(|path| path.ancestors());
        let found = places
            .map(|folder| folder.join(SDK_FOLDER))
            .find(|folder| is_sdk(folder));
        found.map_or_else(|| Self::Git(env!("CARGO_PKG_REPOSITORY").to_owned()), Self::Path)
    }

    fn dependency(&self) -> String {
        // A TOML basic string escapes what a Rust string does, as far as paths and URLs go.
        match self {
            Self::Path(path) => format!("{{ path = {:?} }}", path.display().to_string()),
            Self::Git(url) => format!("{{ git = {url:?} }}"),
            Self::Version(version) => format!("{version:?}"),
        }
    }
}

impl std::fmt::Display for Sdk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Git(url) => write!(f, "{url}"),
            Self::Version(version) => write!(f, "a registry, version {version}"),
        }
    }
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml"));
    manifest.is_ok_and(|text| text.contains("name = \"nango-guest-sdk\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_functions_and_crates() {
        for name in ["a", "create-issue", "sync2"] {
            check_name(name).unwrap();
        }
        for name in ["", "Create", "a_b", "1a", "a-", "a--b", "../x", "loop", &"a".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_sdk_is_a_folder_a_url_or_a_version() {
        assert_eq!(Sdk::parse("0.1").unwrap().dependency(), "\"0.1\"");
        let url = "https://example.com/nango-runtime";
        assert_eq!(Sdk::parse(url).unwrap().dependency(), format!("{{ git = {url:?} }}"));
        let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let Sdk::Path(path) = Sdk::parse(repository).unwrap() else {
            panic!("a folder")
        };
        assert!(path.ends_with(SDK_FOLDER));
        assert!(Sdk::parse("/no/such/folder").is_err());
    }
}
